"""How scripted teachers judge: from the true reward, erring in chosen ways (B-Pref, Lee et al. 2021, arXiv 2111.03026).

B-Pref has comparisons alone; what its deviations mean for the other kinds of feedback is chosen so that a ranking of
two is a comparison, and that of two ratings the higher one is the better segment as often as a comparison says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.queries import Choice, Query
from rlhf_envs.randomness import generator_by_name, uniforms_by_name

_SMALLEST = 1e-100


@dataclass(frozen=True)
class TeacherConfig:
    """How a scripted teacher judges. The defaults are the oracle; all deviations combine.

    Attributes:
        beta: rationality of the choice, P(right) = sigmoid(beta * (return_right - return_left)); inf always prefers
            the higher return and calls equal returns a tie, 0 tosses a coin.
        gamma: weight of the past: step t of H counts gamma^(H - t), so below 1 the teacher is myopic and judges by how
            a segment ends. Ratings judge every step for itself.
        mistake: probability that a preference is reported the wrong way round, that two neighbours in a ranking change
            places, that a rating is reported with its sign turned.
        skip: skips a query when all of its segments are worse than `skip` times an average stretch of that length;
            where the average is negative, worse than 1 / `skip` times it.
        equal: calls two segments a tie when their returns differ by less than `equal` times an average stretch. There
            is no tie in a ranking or a rating.
        habit: probability that a comparison is answered "left" without looking.
        seed: of the random choices. Two teachers that answer the same queries need different seeds to err apart.

    Raises:
        ValueError: if a figure is out of its range.
    """

    beta: float = math.inf
    gamma: float = 1.0
    mistake: float = 0.0
    skip: float = 0.0
    equal: float = 0.0
    habit: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError(f"A teacher's beta must be 0 (a coin) to inf (an oracle), not {self.beta}.")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"A teacher's gamma must be above 0 and at most 1, not {self.gamma}.")
        for name in ("mistake", "skip", "equal", "habit"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"A teacher's {name} must be between 0 and 1, not {share}.")


@dataclass(frozen=True)
class Judgement:
    """Judges the segments of queries by their true rewards.

    All that is random depends on the teacher's seed and the query alone, not on the order of queries: a run that is
    resumed gets the same answers again.

    Attributes:
        config: how the teacher judges.
    """

    config: TeacherConfig

    def true_rewards(self, query: Query) -> list[NDArray[np.float64]]:
        """Of each segment, (T,).

        Raises:
            ValueError: if they are not finite.
        """
        rewards = [segment.true_rewards.astype(np.float64) for segment in query.segments]
        if not all(np.isfinite(segment).all() for segment in rewards):
            raise ValueError(f"The true rewards of query {query.key!r} are not all finite; no one can judge them.")
        return rewards

    def returns(self, query: Query) -> list[float]:
        """Discounted sums of true rewards, one for each segment."""
        return [self._discounted_sum(rewards) for rewards in self.true_rewards(query)]

    def skips(self, query: Query) -> bool:
        """Whether all segments are too bad to be judged.

        Thresholds for `skip` and `equal` are (H / horizon) * average_return, H being the segment's length, with the
        two other figures from the query's context: the mean return of the current policy's episodes and their length.
        Returns are compared with them undiscounted.

        Raises:
            ValueError: if the threshold needs a figure that the context does not have.
        """
        if not self.config.skip:
            return False
        average, skip = _average_stretch(query), self.config.skip
        threshold = average * skip if average >= 0 else average / skip
        return max(map(math.fsum, self.true_rewards(query))) < threshold

    def compare(self, query: Query) -> Choice:
        """Which of two segments is better.

        Raises:
            ValueError: as `skips`.
        """
        if self.config.habit and self._uniforms(query, "habit")[0] < self.config.habit:
            return Choice.LEFT
        if self.config.equal:
            left, right = self.true_rewards(query)
            if abs(math.fsum(left) - math.fsum(right)) < abs(_average_stretch(query)) * self.config.equal:
                return Choice.TIE
        advantage = self.perceived_advantage(query)
        if advantage == 0:
            return Choice.TIE
        mistaken = self._uniforms(query, "mistake")[0] < self.config.mistake
        return Choice.RIGHT if (advantage > 0) != mistaken else Choice.LEFT

    def perceived_advantage(self, query: Query) -> float:
        """Return of the right segment less that of the left, with logistic noise of scale 1 / beta.

        That it is positive has the probability sigmoid(beta * difference), as in B-Pref, equation 1.
        """
        left, right = self.returns(query)
        if math.isinf(self.config.beta):
            return right - left
        draw = self._uniforms(query, "advantage")[0]
        noise = math.log(max(draw, _SMALLEST)) - math.log1p(-draw)
        return right - left + noise / max(self.config.beta, _SMALLEST)

    def generator(self, query: Query) -> np.random.Generator:
        """Random numbers for a query, the same whenever they are asked for."""
        return generator_by_name("scripted teacher", self.config.seed, query.key)

    def gumbel_noise(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """What beta adds to returns: Gumbel noise of mean 0 and scale 1 / beta, (count,)."""
        if math.isinf(self.config.beta):
            return np.zeros(count)
        return (rng.gumbel(size=count) - np.euler_gamma) / max(self.config.beta, _SMALLEST)

    def _uniforms(self, query: Query, purpose: str) -> tuple[float, ...]:
        return uniforms_by_name("scripted teacher", self.config.seed, query.key, purpose)

    def _discounted_sum(self, rewards: NDArray[np.float64]) -> float:
        # fsum rounds once, so that the same rewards in another order are an exact tie.
        if self.config.gamma == 1:
            return math.fsum(rewards)
        return math.fsum(rewards * self.config.gamma ** np.arange(len(rewards) - 1, -1, -1))


def _average_stretch(query: Query) -> float:
    average_return, horizon = query.context.get("average_return"), query.context.get("horizon")
    if not isinstance(average_return, int | float) or not isinstance(horizon, int | float) or horizon <= 0:
        raise ValueError(
            "A teacher that skips or ties needs the context of each query to give average_return and a positive "
            f"horizon, but query {query.key!r} has {dict(query.context)}."
        )
    return len(query.segments[0]) / horizon * average_return
