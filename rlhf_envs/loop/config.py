"""How much is asked, when, and what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any, get_args

import tyro

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.kinds import KINDS, Comparison, FeedbackKind, find_kind
from rlhf_envs.loop.alarm import AlarmAction
from rlhf_envs.loop.clip_length import clip_length
from rlhf_envs.loop.selection import SELECTION_RULES, SelectionRule
from rlhf_envs.registry import Registry
from rlhf_envs.terminal import counted

LONGEST_RUBRIC = 200
"""Characters that every screen has room for."""

_HALF_RATE_AT = 0.25

_RULE_FLAG = tyro.constructors.PrimitiveConstructorSpec[Any](
    nargs=1,
    metavar=SELECTION_RULES.choices(),
    instance_from_str=lambda words: words[0],
    is_instance=lambda value: isinstance(value, str),
    str_from_instance=lambda value: [value],
)
"""The command line names a selection rule; code may give a function."""


def constant(progress: float) -> float:
    """The share of the answers asked for so far when they come at one rate; progress and share run from 0 to 1."""
    return progress


def hyperbolic(progress: float) -> float:
    """The share asked so far when the rate falls as T0 / (t + T0) (Christiano et al. 2017, appendix A.1).

    The paper gives T0, where the rate has halved, as 2e6 steps; here it is a quarter of the time in which queries are
    asked, so that it fits trainings of any length. The share is the integral, log(1 + t / T0), scaled to end at 1.
    """
    return math.log1p(progress / _HALF_RATE_AT) / math.log1p(1 / _HALF_RATE_AT)


SCHEDULES: Registry[Callable[[float], float]] = Registry("schedule")
"""Label schedules by name. Each rises from 0 at 0 to 1 at 1."""

SCHEDULES.register("constant", constant)
SCHEDULES.register("hyperbolic", hyperbolic)


def due(
    schedule: str,
    timesteps: int,
    total_timesteps: int,
    answers: int,
    initial_share: float = 0.25,
    ask_until: float = 0.7,
) -> int:
    """How many answers should have been asked for once `timesteps` of training are done.

    Args:
        schedule: a name in `SCHEDULES`.
        timesteps: environment steps so far.
        total_timesteps: environment steps of the whole training.
        answers: the budget.
        initial_share: the part of the budget that is asked before training, rounded up to a whole answer.
        ask_until: the part of training by which the whole budget has been asked, so that the policy still has time to
            learn from the last answers.

    Returns:
        A number that never falls as `timesteps` rises: ceil(answers * initial_share) at 0, `answers` from
        `ask_until * total_timesteps` on.

    Raises:
        ValueError: if the schedule is unknown or a figure is out of its range.
    """
    share_asked = SCHEDULES.named(schedule)
    if timesteps < 0 or total_timesteps < 1 or answers < 0:
        raise ValueError(
            "A schedule needs timesteps and answers of at least 0 and total_timesteps of at least 1, "
            f"not {timesteps}, {answers} and {total_timesteps}."
        )
    if not 0 <= initial_share <= 1:
        raise ValueError(f"initial_share is a part of the budget between 0 and 1, not {initial_share}.")
    if not 0 < ask_until <= 1:
        raise ValueError(f"ask_until is a part of training above 0 and at most 1, not {ask_until}.")
    progress = timesteps / (ask_until * total_timesteps)
    if progress >= 1:
        return answers
    share = initial_share + (1 - initial_share) * share_asked(progress)
    # Without the small step back, a product such as 0.1 * 30 = 3.0000000000000004 would round up to 4.
    return min(answers, math.ceil(answers * share - 1e-9))


@dataclass(frozen=True)
class FeedbackConfig:
    """How much is asked, when, and what.

    Attributes:
        answers: the budget: everything that people are asked to answer, whatever it is used for: to train the reward
            model, to test it, to check an annotator with a repeated pair, to practise. A query that several are asked
            (`overlap`) costs as many answers. With 0 nothing is asked, which needs a reward model that was learned
            before.
        held_out_share: the part of the queries, from 0 to below 1, whose answers test the reward model instead of
            training it. With 0 it is tested on the answers that it was trained on: each is predicted by the members of
            the ensemble that were not trained on it.
        clip_seconds: how long a clip is when it is shown at the environment's own rate, which decides how many steps a
            segment has. Where None, 1.5 seconds, but 15 to 60 steps and at most a quarter of an episode; 15 steps in
            the suite's environments.
        segment_length: steps in a segment, in place of `clip_seconds`.
        kinds: the share of the queries that are of each kind of feedback, such as {"ranking": 0.3, "strength": 0.5}, on
            the command line `ranking 0.3 strength 0.5`; the others are comparisons. A kind of one's own is named as
            "module:Name".
        kind_settings: settings of the kinds, such as "ranking.size=5" or "rating.gamma=0.9".
        selection: which segments are asked about: any ("uniform"), those on which the reward model's members differ
            most ("disagreement"), those whose answer is least certain ("entropy"), those on which the members differ
            spread out, so that a batch does not ask the same again and again ("diverse"), those whose answers would
            tell how much better the policy has become ("value"), those whose answers are expected to tell most about
            the reward ("information"), or a rule of one's own as "module:Name", or in code as the function itself.
        candidates_per_query: how many times more candidates are considered than asked.
        near_ties: which share of the candidates, from 0 to below 1, is left out once there was an answer, because all
            of the reward model's members take them for ties.
        past_segment_share: which share, from 0 to 1, of the segments that recent ones may be compared with were asked
            about before.
        variant: arguments of the environment that are other than in training, such as {"traffic": "dense"}; repeatable.
            Before each round of queries the policy acts for some episodes in each variant, so that the reward learns
            of what it will be used for but not trained in.
        variant_share: which share of the segments that may be asked about are from the variants, if there are any.
        queries_per_round: how many queries are asked at a time after the first ones; a tenth of all where None.
        schedule: how the rate of queries falls over training: not at all ("constant"), or quickly at first and then
            ever more slowly ("hyperbolic").
        initial_share: the part of the budget that is asked after the first rollout, or after `explore_share`.
        explore_share: the part of training, from 0 to below `ask_until`, that comes before the first question.
            Meanwhile the policy is paid for states that are unlike those it has visited (`loop.exploration`; PEBBLE,
            Lee et al. 2021, arXiv 2106.05091), so that the first questions show behaviour that differs. 0 asks after
            the first rollout.
        ask_until: the part of training by which the whole budget has been asked. Late questions are about what the
            policy has made of the reward by then, which is where the reward is wrong.
        reliability: estimate how often each annotator errs, and trust them accordingly; of use where several answer.
        demonstration_comparisons: comparisons of a demonstration with what the agent does that are added to those
            asked, spread alike, and answered in favour of the demonstration without asking anybody.
        wait_for_answers: whether training waits until people have answered everything that it asked. Otherwise it goes
            on with the reward that it has while they answer, but not further ahead of them than `max_open`.
        max_open: how many queries may be open while training goes on; a round's where None. There is always something
            learned before the policy is trained: training waits for the first answer in any case.
        visit_every: environment steps, over all copies, between two visits to the feedback loop at least; a hundredth
            of the training, but no more than 1,000, where None. A rollout of an on-policy learner is never cut.
        overlap: how many annotators should answer each query.
        rubric: one sentence that tells people what to look for, with a tie-breaker; the environment's own, or a general
            one, where empty.
        target_accuracy: ask no more once the reward model predicts this share of the answers that it is tested on
            rightly, of at least 10.
        on_alarm: what to do where the policy seems to hack the learned reward, besides saying so: nothing
            ("continue"), ask next about the segments that gave rise to it, a round at most of what is left of the
            budget ("ask"), or end training with the policy as it is ("stop").
    """

    answers: int = 100
    held_out_share: float = 0.0
    clip_seconds: float | None = None
    segment_length: int | None = None
    kinds: dict[str, float] = field(default_factory=dict)
    kind_settings: tuple[str, ...] = ()
    selection: Annotated[str | SelectionRule, _RULE_FLAG] = "diverse"
    candidates_per_query: int = 10
    near_ties: float = 0.0
    past_segment_share: float = 0.3
    variant: tyro.conf.UseAppendAction[tuple[dict[str, Any], ...]] = ()
    variant_share: float = 0.3
    queries_per_round: int | None = None
    schedule: Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(SCHEDULES)}}}")] = "hyperbolic"
    initial_share: float = 0.25
    explore_share: float = 0.0
    ask_until: float = 0.8
    reliability: bool = False
    demonstration_comparisons: int = 0
    wait_for_answers: bool = False
    max_open: int | None = None
    visit_every: int | None = None
    overlap: int = 1
    rubric: str = ""
    target_accuracy: float | None = None
    on_alarm: AlarmAction = "ask"

    def __post_init__(self) -> None:
        for name, least in (
            ("answers", 0),
            ("segment_length", 1),
            ("candidates_per_query", 1),
            ("queries_per_round", 1),
            ("demonstration_comparisons", 0),
            ("max_open", 0),
            ("visit_every", 1),
            ("overlap", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}.")
        if self.clip_seconds is not None and not 0 < self.clip_seconds < math.inf:
            raise ValueError(f"clip_seconds must be positive and finite, not {self.clip_seconds}.")
        if self.overlap > self.answers > 0:
            raise ValueError(
                f"{counted(self.answers, 'answer')} {'is' if self.answers == 1 else 'are'} not enough for an overlap "
                f"of {self.overlap} on any query."
            )
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share is a share from 0 to below 1, not {self.held_out_share}.")
        if not 0 <= self.near_ties < 1:
            raise ValueError(f"near_ties is a share from 0 to below 1, not {self.near_ties}.")
        for name in ("past_segment_share", "variant_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}.")
        if len(self.rubric) > LONGEST_RUBRIC or not (self.rubric.isprintable() and self.rubric == self.rubric.strip()):
            raise ValueError(f"A rubric is one sentence of at most {LONGEST_RUBRIC} characters, not {self.rubric!r}.")
        if self.kinds and not (min(self.kinds.values()) >= 0 and sum(self.kinds.values()) <= 1 + 1e-9):
            raise ValueError(f"kinds gives shares from 0 to 1, and at most 1 together, not {self.kinds}.")
        if self.target_accuracy is not None and not 0.5 < self.target_accuracy <= 1:
            raise ValueError(f"target_accuracy is a share above 0.5 and at most 1, not {self.target_accuracy}.")
        if self.on_alarm not in get_args(AlarmAction):
            raise ValueError(f"on_alarm is one of {', '.join(get_args(AlarmAction))}, not {self.on_alarm!r}.")
        SELECTION_RULES.resolve(self.selection)
        self.resolved_kinds()
        due(self.schedule, 0, 1, self.answers, self.initial_share, self.ask_until)
        if not 0 <= self.explore_share < self.ask_until:
            raise ValueError(
                f"explore_share is a part of training from 0 to below ask_until, {self.ask_until}, by when everything "
                f"has been asked, not {self.explore_share}."
            )

    @property
    def queries(self) -> int:
        """How many queries the budget is enough for."""
        return self.answers // self.overlap

    @property
    def held_out_queries(self) -> int:
        """How many of them are held out to test the reward model."""
        return self.held_out(self.queries)

    def held_out(self, queries: int) -> int:
        """How many of the first so many queries are held out, rounded down."""
        return int(self.held_out_share * queries + 1e-9)

    @property
    def round_size(self) -> int:
        """Queries that are asked at a time."""
        return max(self.queries // 10, 1) if self.queries_per_round is None else self.queries_per_round

    @property
    def most_open(self) -> int:
        """Queries that may be open while training goes on."""
        return self.round_size if self.max_open is None else self.max_open

    def resolved_kinds(self) -> dict[str, FeedbackKind]:
        """Every kind of feedback by name, with its settings; kinds of one's own are registered by this.

        Raises:
            ValueError: if there is no such kind or setting, or a value is out of range.
        """
        for name in self.kinds:
            find_kind(name)
        kinds = dict(KINDS)
        for setting in self.kind_settings:
            name, _, value = setting.partition("=")
            wanted, _, attribute = name.rpartition(".")
            if not wanted:
                raise ValueError(f'A setting of a kind of feedback is written as "KIND.NAME=VALUE", not {setting!r}.')
            registered = find_kind(wanted)
            kind = kinds.get(registered.name, registered)
            known: list[str] = [each.name for each in fields(kind)] if is_dataclass(kind) else []
            if attribute not in known or not value:
                names = f"where NAME is one of {', '.join(known)}" if known else "but this kind has no settings"
                raise ValueError(
                    f'{setting!r} is no setting of a kind of feedback; write it as "{wanted}.NAME=VALUE", {names}.'
                )
            try:
                number = type(getattr(kind, attribute))(value)
                kinds[kind.name] = replace(kind, **{attribute: number})  # type: ignore[type-var]
            except (TypeError, ValueError) as error:
                raise ValueError(f"{setting!r} cannot be set: {error}") from error
        return kinds

    def kind_counts(self, asked: int, count: int) -> dict[str, int]:
        """How many of the next `count` queries to train on, after `asked` ones, are of each kind.

        Each query is of the kind that is farthest behind its share, so that the shares hold all along.
        """
        shares = {Comparison.name: 0.0}
        for name, share in self.kinds.items():
            kind = find_kind(name).name
            shares[kind] = shares.get(kind, 0.0) + share
        shares[Comparison.name] += 1 - sum(shares.values())
        order: list[str] = []
        behind = dict.fromkeys(shares, 0.0)
        for _ in range(asked + count):
            behind = {kind: behind[kind] + share for kind, share in shares.items()}
            order.append(max(behind, key=behind.__getitem__))
            behind[order[-1]] -= 1
        return {kind: order[asked:].count(kind) for kind in shares}

    def check_annotator(self, annotator: object) -> None:
        """Refuse an annotator that says that it does not answer all kinds that are asked.

        Args:
            annotator: code that answers (`rlhf_envs.feedback.Annotator`), or None for people.

        Raises:
            ValueError: if there is such a kind: its queries would be asked, cost answers, and stay open.
        """
        answered = getattr(annotator, "kinds", None)
        counts = self.kind_counts(0, self.queries - self.held_out_queries)
        counts[Comparison.name] += self.held_out_queries
        if answered is not None and (
            missing := [kind for kind, count in counts.items() if count and kind not in answered]
        ):
            name = getattr(annotator, "name", type(annotator).__name__)
            raise ValueError(
                f"The annotator {name} answers {' and '.join(answered)} queries only, but {' and '.join(missing)} "
                "queries are asked as well; change kinds, or write an annotator with serve(store) that answers them."
            )

    def for_environment(self, environment: EnvironmentRef) -> FeedbackConfig:
        """These settings with the `segment_length` that fits an environment, unless they give one.

        Raises:
            ValueError: if there is no such environment, or its horizon is not known.
        """
        if self.segment_length is not None:
            return self
        return replace(self, segment_length=clip_length(environment, self.clip_seconds).steps)

    @property
    def steps(self) -> int:
        """Steps in a segment.

        Raises:
            ValueError: if that is left to the environment (`for_environment`).
        """
        if self.segment_length is None:
            raise ValueError("Set segment_length, or let FeedbackConfig.for_environment find what fits an environment.")
        return self.segment_length

    def check_fits(self, horizon: int, copies: int) -> None:
        """Refuse segments that no episode can hold, or of which a single copy cannot give as many as a query shows.

        Raises:
            ValueError: if a segment is longer than an episode, or with one copy than its part of one.
        """
        if self.steps > horizon:
            raise ValueError(
                f"Segments of {self.steps} steps do not fit into episodes of {horizon}; "
                f"set segment_length to {horizon} or less."
            )
        kinds = self.resolved_kinds()
        shown = max(kinds[kind].segments for kind in self.kind_counts(0, 0))
        if copies == 1 and shown * self.steps > horizon:
            raise ValueError(
                f"One copy with episodes of {horizon} steps cannot give {shown} segments of {self.steps} "
                "to compare; use more copies or shorter segments."
            )
