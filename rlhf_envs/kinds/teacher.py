"""How scripted teachers judge: from the true reward, erring in chosen ways (B-Pref, Lee et al. 2021, arXiv 2111.03026).

B-Pref has comparisons alone; what its deviations mean for the other kinds of feedback is chosen so that a ranking of
two is a comparison, and that of two ratings the higher one is the better segment as often as a comparison says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.observations import Observations, map_observations
from rlhf_envs.queries import Choice, Query
from rlhf_envs.randomness import generator_by_name, uniform_by_name
from rlhf_envs.segments import Segment

JudgedBy = Literal["return", "regret", "value"]
"""What a teacher compares segments by, see `TeacherConfig`."""

_SMALLEST = 1e-100


class Critic(Protocol):
    """A value function of the true reward, such as that of a policy that was trained on it."""

    gamma: float
    """The discount that it was learned with."""

    def values(self, observations: Observations) -> NDArray[np.float64]:
        """How much reward is to come, (B,), after each of B observations (B, *obs), or a dict of such arrays."""


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
        judged_by: what the teacher compares. "return": what a segment earns, which says nothing where a reward comes
            only at the goal. "regret": how far its actions fall short of the best that a critic knows of (Knox et al.
            2022, arXiv 2206.02231, equation 4): the sum of r + gamma * V(next) - V over its steps, 0 at most for a
            perfect critic; after a termination V is 0. "value": V where the segment ends, and after a termination what
            the last step earned, as nothing is to come: a goal that is reached counts with its reward. A segment does
            not hold the observation after its last step, so regret leaves that step out unless it terminated the
            episode, and value is that of the last observation. Ratings judge every step by its part of the regret, or
            its value. The thresholds of `skip` and `equal` remain about returns.
        critic: the folder of the run whose critic gives V, finished with --reward true in the same environment.
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
    judged_by: JudgedBy = "return"
    critic: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError(f"A teacher's beta must be 0 (a coin) to inf (an oracle), not {self.beta}.")
        if self.judged_by not in get_args(JudgedBy):
            raise ValueError(f"A teacher judges by {', '.join(get_args(JudgedBy))}, not by {self.judged_by!r}.")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"A teacher's gamma must be above 0 and at most 1, not {self.gamma}.")
        for name in ("mistake", "skip", "equal", "habit"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"A teacher's {name} must be between 0 and 1, not {share}.")


@dataclass(frozen=True)
class Judgement:
    """Judges the segments of queries by their true rewards, and where a teacher wants it by a critic of these.

    All that is random depends on the teacher's seed and the query alone, not on the order of queries: a run that is
    resumed gets the same answers again.

    Attributes:
        config: how the teacher judges.
        critic: gives values, for a teacher that judges by them.

    Raises:
        ValueError: if such a teacher has no critic.
    """

    config: TeacherConfig
    critic: Critic | None = None

    def __post_init__(self) -> None:
        if self.critic is None and self.config.judged_by != "return":
            raise ValueError(
                f"A teacher that judges by {self.config.judged_by} needs the critic of a finished run of the same "
                "environment on the true reward; name its folder with --teacher.critic, or in code give "
                "critic=RunDirectory(folder).load_critic()."
            )

    def true_rewards(self, query: Query) -> list[NDArray[np.float64]]:
        """Of each segment, (T,).

        Raises:
            ValueError: if they are not finite.
        """
        rewards = [segment.true_rewards.astype(np.float64) for segment in query.segments]
        if not all(np.isfinite(segment).all() for segment in rewards):
            raise ValueError(f"The true rewards of query {query.key!r} are not all finite; no one can judge them.")
        return rewards

    def merits(self, query: Query) -> list[NDArray[np.float64]]:
        """What the teacher thinks of each step of each segment, (T,): its reward, part of the regret, or value.

        Raises:
            ValueError: as `true_rewards`.
        """
        rewards = self.true_rewards(query)
        if self.critic is None or self.config.judged_by == "return":
            return rewards
        return [self._by_values(*each, self.critic) for each in zip(query.segments, rewards, strict=True)]

    def returns(self, query: Query) -> list[float]:
        """What the teacher compares, one number for each segment: discounted sums of `merits`, or the last value."""
        if self.config.judged_by == "value":
            return [float(values[-1]) for values in self.merits(query)]
        return [self._discounted_sum(merits) for merits in self.merits(query)]

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
        if self.config.habit and self._uniform(query, "habit") < self.config.habit:
            return Choice.LEFT
        if self.config.equal:
            left, right = self.true_rewards(query)
            if abs(math.fsum(left) - math.fsum(right)) < abs(_average_stretch(query)) * self.config.equal:
                return Choice.TIE
        advantage = self.perceived_advantage(query)
        if advantage == 0:
            return Choice.TIE
        mistaken = self._uniform(query, "mistake") < self.config.mistake
        return Choice.RIGHT if (advantage > 0) != mistaken else Choice.LEFT

    def perceived_advantage(self, query: Query) -> float:
        """Return of the right segment less that of the left, with logistic noise of scale 1 / beta.

        That it is positive has the probability sigmoid(beta * difference), as in B-Pref, equation 1.
        """
        left, right = self.returns(query)
        if math.isinf(self.config.beta):
            return right - left
        draw = self._uniform(query, "advantage")
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

    def _by_values(self, segment: Segment, rewards: NDArray[np.float64], critic: Critic) -> NDArray[np.float64]:
        lived, merits = segment.lived, np.zeros(len(segment))
        observations: Observations = map_observations(lambda array: array[:lived], segment.observations)
        values = critic.values(observations)
        if self.config.judged_by == "value":
            merits[:lived] = values
            merits[lived:] = rewards[lived - 1]
        else:
            # After a termination nothing is to come; what follows the last step of another segment is not known.
            following = np.append(values[1:], 0.0 if lived < len(segment) else np.nan)
            merits[:lived] = np.nan_to_num(rewards[:lived] + critic.gamma * following - values, nan=0.0)
        return merits

    def _uniform(self, query: Query, purpose: str) -> float:
        return uniform_by_name("scripted teacher", self.config.seed, query.key, purpose)

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
