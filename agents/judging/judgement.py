"""What was said about policies that met side by side, in one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agents.judging.bradley_terry import bradley_terry
from agents.judging.contenders import Contender
from agents.judging.pairs import PairFigures, concerned, pair_figures, win_matrix
from agents.judging.reward_model import ModelFigures
from rlhf_envs.feedback import LiveAnswer
from rlhf_envs.feedback.quality import Agreement, AnnotatorFigures, agreement, annotator_figures

REFERENCE = "random"
"""The policy whose score is 0 where it is among those compared; otherwise the mean of all is."""


@dataclass(frozen=True)
class PolicyScore:
    """A policy's place on the scale of `bradley_terry`.

    Attributes:
        name: of the policy.
        key: names it in the store.
        score: log-odds of being preferred to the reference.
        std_error, interval: how sure that is; the interval with 95% confidence.
    """

    name: str
    key: str
    score: float
    std_error: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class AnnotatorJudgement:
    """What one annotator said, and what that says of their work.

    Attributes:
        figures: choices, side, pace, and how often others said the same.
        pairs: how often they preferred each policy to each other.
    """

    figures: AnnotatorFigures
    pairs: tuple[PairFigures, ...]


@dataclass(frozen=True)
class Judgement:
    """How policies compare.

    Attributes:
        env: where they acted.
        clip_steps: steps in a clip.
        policies: best first.
        reference: whose score is 0; None where the mean of all is.
        pairs: each two policies.
        annotators: by name.
        agreement: how far they agree about clips that several of them judged.
        model: how well the run's preference model predicts them (`model_figures`), by set of answers.
        open: comparisons that nobody, or not enough, have answered.
        elsewhere: answers in the same store about other policies, which count nowhere here.
    """

    env: str
    clip_steps: int
    policies: tuple[PolicyScore, ...]
    reference: str | None
    pairs: tuple[PairFigures, ...]
    annotators: Mapping[str, AnnotatorJudgement]
    agreement: Agreement
    model: Mapping[str, ModelFigures]
    open: int
    elsewhere: int

    @property
    def answers(self) -> int:
        """How many answers count, skips included."""
        return sum(annotator.figures.answers for annotator in self.annotators.values())

    def name(self, key: str) -> str:
        """The name of the policy with this key."""
        return next(policy.name for policy in self.policies if policy.key == key)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; numbers that are not known are NaN or None."""
        return {**asdict(self), "answers": self.answers}


def judgement(
    env: str,
    clip_steps: int,
    contenders: Sequence[Contender],
    answers: Sequence[LiveAnswer],
    model: Mapping[str, ModelFigures],
    open_comparisons: int,
) -> Judgement:
    """Everything that the answers say.

    Args:
        env, clip_steps: what was shown.
        contenders: the policies.
        answers: all judgements in the store, oldest first.
        model: see `Judgement`.
        open_comparisons: how many are open.
    """
    keys = [contender.key for contender in contenders]
    about_them = concerned(answers, keys)
    pairs = pair_figures(about_them, keys)
    reference = keys.index(REFERENCE) if REFERENCE in keys else None
    scores = bradley_terry(win_matrix(pairs, keys), reference)
    policies = [
        PolicyScore(one.name, one.key, float(scores.values[i]), float(scores.std_errors[i]), scores.interval(i))
        for i, one in enumerate(contenders)
    ]
    agreed = agreement(about_them)
    annotators = {
        name: AnnotatorJudgement(figures, pair_figures([live for live in about_them if live.annotator == name], keys))
        for name, figures in annotator_figures(about_them, agreed).items()
    }
    return Judgement(
        env,
        clip_steps,
        tuple(sorted(policies, key=lambda policy: -policy.score)),
        None if reference is None else contenders[reference].name,
        pairs,
        annotators,
        agreed,
        model,
        open_comparisons,
        len(answers) - len(about_them),
    )
