"""Scripted teachers: annotators that know the true reward and err in chosen ways (B-Pref, Lee et al. 2021)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from rlhf_envs.feedback.queries import Choice, Kind, Query, Submission
from rlhf_envs.feedback.store import PreferenceStore

_AT_ONCE = 1000


@dataclass(frozen=True)
class TeacherConfig:
    """How a scripted teacher judges. The defaults are the oracle; all deviations combine.

    Attributes:
        beta: rationality of the choice, P(right) = sigmoid(beta * (return_right - return_left)); inf always prefers
            the higher return and calls equal returns a tie, 0 tosses a coin.
        gamma: weight of the past: step t of H counts gamma^(H - t), so below 1 the teacher is myopic and judges by how
            a segment ends.
        mistake: probability that a preference is reported the wrong way round.
        skip: skips a comparison when both segments are worse than `skip` times an average stretch of that length;
            where the average is negative, worse than 1 / `skip` times it.
        equal: calls two segments a tie when their returns differ by less than `equal` times an average stretch.
        seed: of the random choices. Two teachers that answer the same queries need different seeds to err apart.

    Raises:
        ValueError: if a figure is out of its range.
    """

    beta: float = math.inf
    gamma: float = 1.0
    mistake: float = 0.0
    skip: float = 0.0
    equal: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError(f"A teacher's beta must be 0 (a coin) to inf (an oracle), not {self.beta}.")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"A teacher's gamma must be above 0 and at most 1, not {self.gamma}.")
        for name, share in (("mistake", self.mistake), ("skip", self.skip), ("equal", self.equal)):
            if not 0 <= share <= 1:
                raise ValueError(f"A teacher's {name} must be between 0 and 1, not {share}.")


TEACHERS: dict[str, TeacherConfig] = {
    "oracle": TeacherConfig(),
    "boltzmann": TeacherConfig(beta=1.0),
    "myopic": TeacherConfig(gamma=0.9),
    "mistake": TeacherConfig(mistake=0.1),
    "skip": TeacherConfig(skip=0.1),
    "equal": TeacherConfig(equal=0.1),
}
"""The teachers that B-Pref compares, by name."""


class ScriptedTeacher:
    """An annotator that answers comparisons from the true reward.

    What it says to a query depends on its seed and the query alone, not on the order of queries: a run that is resumed
    gets the same answers again.

    Args:
        config: how it judges.
        name: the annotator that its answers are stored under.
    """

    def __init__(self, config: TeacherConfig, name: str = "oracle") -> None:
        self.config = config
        self.name = name

    def judge(self, query: Query) -> Choice:
        """The teacher's answer to a comparison.

        Thresholds for `skip` and `equal` are (H / horizon) * average_return, H being the segment's length, with the
        two other figures from the query's context: the mean return of the current policy's episodes and their length.
        Returns are compared with them undiscounted.

        Raises:
            ValueError: if the query is no comparison, its true rewards are not finite, or a threshold needs a figure
                that its context does not have.
        """
        if query.kind is not Kind.COMPARISON:
            raise ValueError(f"A scripted teacher answers comparisons, but query {query.key!r} is a {query.kind}.")
        left, right = (segment.true_rewards.astype(np.float64) for segment in query.segments)
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            raise ValueError(f"The true rewards of query {query.key!r} are not all finite; no one can compare them.")
        if self.config.skip or self.config.equal:
            sums = math.fsum(left), math.fsum(right)
            average = _average_stretch(query)
            if self.config.skip and max(sums) < _skip_threshold(average, self.config.skip):
                return Choice.SKIP
            if abs(sums[0] - sums[1]) < abs(average) * self.config.equal:
                return Choice.TIE
        return self._prefer(query.key, self._discounted_sum(right) - self._discounted_sum(left))

    def serve(self, store: PreferenceStore) -> int:
        """Answer everything that is open to this teacher; return how many queries that was."""
        served = 0
        while taken := store.take_many(self.name, _AT_ONCE):
            submissions = [
                Submission(query.id, self.name, self.judge(query)) for query in taken if query.id is not None
            ]
            served += len(store.answer_many(submissions))
        return served

    def _discounted_sum(self, rewards: np.ndarray) -> float:
        # fsum rounds once, so that the same rewards in another order are an exact tie.
        if self.config.gamma == 1:
            return math.fsum(rewards)
        return math.fsum(rewards * self.config.gamma ** np.arange(len(rewards) - 1, -1, -1))

    def _prefer(self, key: str, advantage: float) -> Choice:
        choose, err = _uniforms(self.config.seed, key)
        if math.isinf(self.config.beta):
            if advantage == 0:
                return Choice.TIE
            prefers_right = advantage > 0
        else:
            prefers_right = choose < 0.5 * (1 + math.tanh(0.5 * self.config.beta * advantage))
        return Choice.RIGHT if prefers_right != (err < self.config.mistake) else Choice.LEFT


def _average_stretch(query: Query) -> float:
    average_return, horizon = query.context.get("average_return"), query.context.get("horizon")
    if not isinstance(average_return, int | float) or not isinstance(horizon, int | float) or horizon <= 0:
        raise ValueError(
            "A teacher that skips or ties needs the context of each query to give average_return and a positive "
            f"horizon, but query {query.key!r} has {dict(query.context)}."
        )
    return len(query.segments[0]) / horizon * average_return


def _skip_threshold(average: float, skip: float) -> float:
    return average * skip if average >= 0 else average / skip


def _uniforms(seed: int, key: str) -> tuple[float, float]:
    """Two independent numbers in [0, 1), the same for the same seed and key."""
    drawn = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16, person=b"scripted teacher").digest()
    first, second = int.from_bytes(drawn[:8]), int.from_bytes(drawn[8:])
    return (first >> 11) * 2.0**-53, (second >> 11) * 2.0**-53
