"""How much is asked, when, and what."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

from rlhf_envs.kinds import LONGEST_RANKING
from rlhf_envs.loop.selection import SELECTION_RULES

LONGEST_RUBRIC = 200
"""Characters that every screen has room for."""

_HALF_RATE_AT = 0.25


def constant(progress: float) -> float:
    """The share of the labels asked so far when they come at one rate; progress and share run from 0 to 1."""
    return progress


def hyperbolic(progress: float) -> float:
    """The share asked so far when the rate falls as T0 / (t + T0) (Christiano et al. 2017, appendix A.1).

    The paper gives T0, where the rate has halved, as 2e6 steps; here it is a quarter of the time in which labels are
    asked, so that it fits trainings of any length. The share is the integral, log(1 + t / T0), scaled to end at 1.
    """
    return math.log1p(progress / _HALF_RATE_AT) / math.log1p(1 / _HALF_RATE_AT)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "hyperbolic": hyperbolic}
"""Label schedules by name. Each rises from 0 at 0 to 1 at 1."""


def due(
    schedule: str,
    timesteps: int,
    total_timesteps: int,
    comparisons: int,
    initial_share: float = 0.25,
    finish_by: float = 0.7,
) -> int:
    """How many comparisons should have been asked once `timesteps` of training are done.

    Args:
        schedule: a name in `SCHEDULES`.
        timesteps: environment steps so far.
        total_timesteps: environment steps of the whole training.
        comparisons: the label budget.
        initial_share: the part of the budget that is asked before training, rounded up to a whole label.
        finish_by: the part of training by which the whole budget has been asked, so that the policy still has time to
            learn from the last labels.

    Returns:
        A number that never falls as `timesteps` rises: ceil(comparisons * initial_share) at 0, `comparisons` from
        `finish_by * total_timesteps` on.

    Raises:
        ValueError: if the schedule is unknown or a figure is out of its range.
    """
    if schedule not in SCHEDULES:
        near = difflib.get_close_matches(schedule, SCHEDULES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(SCHEDULES)}."
        raise ValueError(f"There is no label schedule {schedule!r}; {hint}")
    if timesteps < 0 or total_timesteps < 1 or comparisons < 0:
        raise ValueError(
            "A label schedule needs timesteps and comparisons of at least 0 and total_timesteps of at least 1, "
            f"not {timesteps}, {comparisons} and {total_timesteps}."
        )
    if not 0 <= initial_share <= 1:
        raise ValueError(f"initial_share is a part of the label budget between 0 and 1, not {initial_share}.")
    if not 0 < finish_by <= 1:
        raise ValueError(f"finish_by is a part of training above 0 and at most 1, not {finish_by}.")
    progress = timesteps / (finish_by * total_timesteps)
    if progress >= 1:
        return comparisons
    share = initial_share + (1 - initial_share) * SCHEDULES[schedule](progress)
    # Without the small step back, a product such as 0.1 * 30 = 3.0000000000000004 would round up to 4.
    return min(comparisons, math.ceil(comparisons * share - 1e-9))


@dataclass(frozen=True)
class FeedbackConfig:
    """How much is asked, when, and what.

    Attributes:
        comparisons: the label budget: questions that train the reward model. They are comparisons but for the shares
            below.
        test_comparisons: further ones, held out to test it; a fifth of `comparisons` where None.
        segment_length: steps in a segment.
        rating_share: the part of the budget that is asked as ratings of a single segment, from 0 to 1.
        ranking_share: the part that is asked as rankings of several.
        ranking_size: how many segments a ranking shows, from 2 to 5.
        selection: which segments are asked about: any ("uniform"), those on which the reward model's members differ
            most ("disagreement"), those whose answer is least certain ("entropy"), or those on which the members differ
            spread out, so that a batch does not ask the same again and again ("diverse").
        candidate_factor: how many times more pairs are considered than asked.
        earlier_share: how much of what recent segments may be paired with are segments that were asked about before,
            from 0 to 1.
        batch: how many comparisons are asked at a time after the first ones; a tenth of `comparisons` where None.
        schedule: how the rate of questions falls over training: not at all ("constant"), or quickly at first and then
            ever more slowly ("hyperbolic").
        initial_share: the part of the budget that is asked after the first rollout.
        finish_by: the part of training by which the whole budget has been asked.
        reliability: estimate how often each annotator errs, and believe them accordingly; of use where several answer.
        demonstrated: comparisons of a demonstration with what the agent does that are added to those asked, spread
            alike, and answered in favour of the demonstration without asking anybody.
        wait: whether training waits until people have answered everything that it asked. Otherwise it goes on with the
            reward that it has while they answer, but not further ahead of them than `open_limit`.
        open_limit: how many comparisons may be open while training goes on; a batch where None. There is always
            something learned before the policy is trained: training waits for the first answer in any case.
        overlap: how many annotators should answer each query.
        rubric: one sentence that tells people what to look for, with a tie-breaker; the environment's own, or a general
            one, where empty.
        target_accuracy: ask no more once the reward model predicts this share of the held-out answers rightly.
    """

    comparisons: int = 200
    test_comparisons: int | None = None
    segment_length: int = 15
    rating_share: float = 0.0
    ranking_share: float = 0.0
    ranking_size: int = 4
    selection: str = "diverse"
    candidate_factor: int = 10
    earlier_share: float = 0.3
    batch: int | None = None
    schedule: str = "hyperbolic"
    initial_share: float = 0.25
    finish_by: float = 0.5
    reliability: bool = False
    demonstrated: int = 0
    wait: bool = False
    open_limit: int | None = None
    overlap: int = 1
    rubric: str = ""
    target_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.comparisons < 1:
            raise ValueError(f"At least 1 comparison is needed to learn a reward, not {self.comparisons}.")
        if self.test_comparisons is not None and self.test_comparisons < 0:
            raise ValueError(f"test_comparisons must be 0 or more, not {self.test_comparisons}.")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"A batch must have at least 1 comparison, not {self.batch}.")
        if self.open_limit is not None and self.open_limit < 0:
            raise ValueError(f"open_limit must be 0 or more, not {self.open_limit}.")
        if self.demonstrated < 0:
            raise ValueError(f"demonstrated must be 0 or more comparisons, not {self.demonstrated}.")
        if len(self.rubric) > LONGEST_RUBRIC or not (self.rubric.isprintable() and self.rubric == self.rubric.strip()):
            raise ValueError(f"A rubric is one sentence of at most {LONGEST_RUBRIC} characters, not {self.rubric!r}.")
        if self.overlap < 1:
            raise ValueError(f"overlap is how many annotators answer each query, at least 1, not {self.overlap}.")
        if self.segment_length < 1 or self.candidate_factor < 1:
            raise ValueError(
                "segment_length and candidate_factor must be at least 1, not "
                f"{self.segment_length} and {self.candidate_factor}."
            )
        if not 0 <= self.earlier_share <= 1:
            raise ValueError(f"earlier_share is a share from 0 to 1, not {self.earlier_share}.")
        shares = (self.rating_share, self.ranking_share)
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise ValueError(
                "rating_share and ranking_share are shares from 0 to 1, and at most 1 together, not "
                f"{self.rating_share} and {self.ranking_share}."
            )
        if not 2 <= self.ranking_size <= LONGEST_RANKING:
            raise ValueError(f"ranking_size must be 2 to {LONGEST_RANKING} segments, not {self.ranking_size}.")
        SELECTION_RULES.resolve(self.selection)
        if self.target_accuracy is not None and not 0.5 < self.target_accuracy <= 1:
            raise ValueError(f"target_accuracy is a share above 0.5 and at most 1, not {self.target_accuracy}.")
        if self.target_accuracy is not None and self.test_budget == 0:
            raise ValueError("target_accuracy needs held-out answers; set test_comparisons to 1 or more.")
        due(self.schedule, 0, 1, self.comparisons, self.initial_share, self.finish_by)

    @property
    def test_budget(self) -> int:
        """Comparisons that are held out."""
        return self.comparisons // 5 if self.test_comparisons is None else self.test_comparisons

    @property
    def batch_size(self) -> int:
        """Comparisons that are asked at a time."""
        return max(self.comparisons // 10, 1) if self.batch is None else self.batch

    @property
    def most_open(self) -> int:
        """Comparisons that may be open while training goes on."""
        return self.batch_size if self.open_limit is None else self.open_limit

    def kinds(self, asked: int, count: int) -> dict[str, int]:
        """How many of the next `count` questions, after `asked` ones, are of each kind.

        Each question is of the kind that is farthest behind its share, so that the shares hold all along.
        """
        compared = 1 - self.ranking_share - self.rating_share
        shares = {"comparison": compared, "ranking": self.ranking_share, "rating": self.rating_share}
        order: list[str] = []
        behind = dict.fromkeys(shares, 0.0)
        for _ in range(asked + count):
            behind = {kind: behind[kind] + share for kind, share in shares.items()}
            order.append(max(behind, key=behind.__getitem__))
            behind[order[-1]] -= 1
        return {kind: order[asked:].count(kind) for kind in shares}

    def check_fits(self, horizon: int, copies: int) -> None:
        """Refuse segments that no episode can hold, or of which a single copy cannot give as many as a question shows.

        Raises:
            ValueError: if a segment is longer than an episode, or with one copy than its part of one.
        """
        if self.segment_length > horizon:
            raise ValueError(
                f"Segments of {self.segment_length} steps do not fit into episodes of {horizon}; "
                f"set segment_length to {horizon} or less."
            )
        most_shown = self.ranking_size if self.ranking_share else 2
        if copies == 1 and most_shown * self.segment_length > horizon:
            raise ValueError(
                f"One copy with episodes of {horizon} steps cannot give {most_shown} segments of {self.segment_length} "
                "to compare; use more copies or shorter segments."
            )
