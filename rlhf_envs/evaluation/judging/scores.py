"""What the answers say about policies that were compared side by side: win rates, scores on one scale, agreement."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rlhf_envs.evaluation.reward_model import ModelScores
from rlhf_envs.feedback.quality import Agreement, AnnotatorFigures, agreement, annotator_figures
from rlhf_envs.queries import Choice, LiveAnswer

if TYPE_CHECKING:
    from rlhf_envs.evaluation.judging.session import Participant

REFERENCE = "random"
"""The policy whose score is 0 where it is among those compared; otherwise their mean is."""

PRIOR_STD = 3.0
"""Of the prior of Bradley-Terry scores, which gives a policy that never lost a finite one: scores then lie within some
6 of their mean, and at a difference of 6 one policy wins 399 of 400."""

_TWO_SIDED_95 = 1.959964
_MOST_STEPS = 100
_CLOSE = 1e-10
_WINS_OF_LEFT = {Choice.LEFT: 1.0, Choice.TIE: 0.5, Choice.RIGHT: 0.0}


@dataclass(frozen=True)
class PairResult:
    """How two policies compare.

    Attributes:
        first, second: keys of the policies.
        comparisons: different pairs of clips that were judged; skips are not.
        wins, losses, ties, skips: answers that prefer the first, the second, neither, or cannot tell.
        rate: how often the first was preferred, a tie counted half; several annotators' answers about the same clips
            count as one. None before any answer.
        interval: its 95% confidence interval; None as `rate`.
    """

    first: str
    second: str
    comparisons: int
    wins: int
    losses: int
    ties: int
    skips: int
    rate: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class PolicyScore:
    """The Bradley-Terry score of a policy.

    Attributes:
        name: of the policy.
        key: identifies it in the store.
        score: log-odds of being preferred to the reference.
        std_error: its standard error.
    """

    name: str
    key: str
    score: float
    std_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the score."""
        margin = _TWO_SIDED_95 * self.std_error
        return self.score - margin, self.score + margin


@dataclass(frozen=True)
class Judgement:
    """How policies compare.

    Attributes:
        env: the environment's id.
        clip_steps: steps in a clip.
        policies: best first.
        reference: name of the policy whose score is 0; None where the mean of all is.
        pairs: each two policies.
        annotators: choices, side, pace, and how often others gave the same answer, by name.
        pairs_by_annotator: how often each of them preferred each policy to each other, by name.
        agreement: how far they agree about clips that several of them judged.
        model: how well the run's reward model predicts the answers, by set of answers.
        open: comparisons that lack answers.
        other_answers: answers in the same store about other policies, which are not counted.
    """

    env: str
    clip_steps: int
    policies: tuple[PolicyScore, ...]
    reference: str | None
    pairs: tuple[PairResult, ...]
    annotators: Mapping[str, AnnotatorFigures]
    pairs_by_annotator: Mapping[str, tuple[PairResult, ...]]
    agreement: Agreement
    model: Mapping[str, ModelScores]
    open: int
    other_answers: int

    @property
    def answers(self) -> int:
        """How many answers count, skips included."""
        return sum(annotator.answers for annotator in self.annotators.values())

    def name(self, key: str) -> str:
        """The name of the policy with this key."""
        return next(policy.name for policy in self.policies if policy.key == key)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; numbers that are not known are NaN or None."""
        policies = [{**asdict(policy), "interval": policy.interval} for policy in self.policies]
        return {**asdict(self), "policies": policies, "answers": self.answers}


def summarise(
    env: str,
    clip_steps: int,
    participants: Sequence[Participant],
    answers: Sequence[LiveAnswer],
    model: Mapping[str, ModelScores],
    open_comparisons: int,
) -> Judgement:
    """Everything that the answers say.

    Args:
        env, clip_steps: of the clips.
        participants: the policies.
        answers: all judgements in the store, oldest first.
        model: see `Judgement`.
        open_comparisons: how many are open.
    """
    keys = [participant.key for participant in participants]
    counted = answers_about(answers, keys)
    pairs = pair_results(counted, keys)
    reference = keys.index(REFERENCE) if REFERENCE in keys else None
    scores = np.stack(bradley_terry(win_matrix(pairs, keys), reference), axis=1).tolist()
    policies = [PolicyScore(one.name, one.key, *score) for one, score in zip(participants, scores, strict=True)]
    agreed = agreement(counted)
    annotators = annotator_figures(counted, agreed)
    by_annotator = {
        name: pair_results([live for live in counted if live.annotator == name], keys) for name in annotators
    }
    return Judgement(
        env,
        clip_steps,
        tuple(sorted(policies, key=lambda policy: -policy.score)),
        None if reference is None else participants[reference].name,
        pairs,
        annotators,
        by_annotator,
        agreed,
        model,
        open_comparisons,
        len(answers) - len(counted),
    )


def answers_about(answers: Sequence[LiveAnswer], keys: Sequence[str]) -> list[LiveAnswer]:
    """The judgements about policies of these keys."""
    return [live for live in answers if live.context.get("left") in keys and live.context.get("right") in keys]


def pair_results(answers: Sequence[LiveAnswer], keys: Sequence[str]) -> tuple[PairResult, ...]:
    """The result of each two policies.

    Args:
        answers: judgements about policies of these keys (`answers_about`).
        keys: the policies, in the order of the results.
    """
    return tuple(_pair_result(answers, first, second) for first, second in combinations(keys, 2))


def win_matrix(pairs: Sequence[PairResult], keys: Sequence[str]) -> NDArray[np.float64]:
    """(K, K), how many comparisons i won against j, ties counted half."""
    wins = np.zeros((len(keys), len(keys)))
    for pair in pairs:
        if pair.rate is not None:
            first, second = keys.index(pair.first), keys.index(pair.second)
            wins[first, second] = pair.rate * pair.comparisons
            wins[second, first] = (1 - pair.rate) * pair.comparisons
    return wins


def bradley_terry(
    wins: NDArray[np.float64], reference: int | None = None, prior_std: float = PRIOR_STD
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores on one scale from how often each policy was preferred to each other (Bradley and Terry 1952).

    P(i is preferred to j) = sigmoid(score_i - score_j).

    They maximise the posterior: the likelihood of the comparisons times normal priors of mean 0. It is log-concave, so
    Newton's method finds its peak; standard errors come from its curvature there. Maximum likelihood alone (Hunter
    2004, "MM algorithms for generalized Bradley-Terry models") is the limit of a wide prior.

    Args:
        wins: (K, K), how often i was preferred to j; a tie is half a win for each.
        reference: the policy whose score is 0; None has the mean be 0.
        prior_std: standard deviation of the priors.

    Returns:
        The scores, (K,), log-odds against the reference or the mean; and their standard errors, (K,).
    """
    played = wins + wins.T
    precision = np.eye(len(wins)) / prior_std**2
    scores = np.zeros(len(wins))
    for _ in range(_MOST_STEPS):
        expected = expit(scores[:, None] - scores[None, :])
        gradient = (wins - played * expected).sum(axis=1) - precision @ scores
        curvature = played * expected * (1 - expected)
        information = np.diag(curvature.sum(axis=1)) - curvature + precision
        step = np.linalg.solve(information, gradient)
        scores += step
        if np.abs(step).max() < _CLOSE:
            break
    contrasts = np.eye(len(wins))
    contrasts -= 1 / len(wins) if reference is None else contrasts[reference]
    covariance = contrasts @ np.linalg.inv(information) @ contrasts.T
    return contrasts @ scores, np.sqrt(np.maximum(np.diag(covariance), 0.0))


def wilson_interval(rate: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a rate over `count` cases (Wilson 1927), which need not be whole: ties are half wins.

    Half wins vary less than whole ones, so that with ties the interval is rather too wide than too narrow.
    """
    square = _TWO_SIDED_95**2
    middle = (rate + square / (2 * count)) / (1 + square / count)
    margin = _TWO_SIDED_95 / (1 + square / count) * math.sqrt(rate * (1 - rate) / count + square / (4 * count**2))
    # Rounding may miss the rate where an end is the rate itself, at 0 and 1.
    return max(min(middle - margin, rate), 0.0), min(max(middle + margin, rate), 1.0)


def _pair_result(answers: Sequence[LiveAnswer], first: str, second: str) -> PairResult:
    counts: Counter[str] = Counter()
    by_query: dict[int, list[float]] = defaultdict(list)
    for live in answers:
        if {live.context["left"], live.context["right"]} != {first, second} or live.choice is None:
            continue
        won = _WINS_OF_LEFT.get(live.choice)
        if won is None:
            counts["skips"] += 1
            continue
        won = won if live.context["left"] == first else 1 - won
        by_query[live.query_id].append(won)
        counts["wins" if won == 1 else "losses" if won == 0 else "ties"] += 1
    judged = len(by_query)
    rate = float(np.mean([np.mean(each) for each in by_query.values()])) if judged else None
    interval = None if rate is None else wilson_interval(rate, judged)
    return PairResult(
        first, second, judged, counts["wins"], counts["losses"], counts["ties"], counts["skips"], rate, interval
    )
