"""Scripted teachers: annotators that know the true reward and err in chosen ways (B-Pref, Lee et al. 2021).

B-Pref has comparisons alone; what its deviations mean for rankings and ratings is chosen so that a ranking of two is a
comparison, and that of two ratings the higher one is the better segment as often as a comparison says so.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlhf_envs.feedback.payloads import ranking_payload, rating_payload
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.queries import Choice, Kind, Query, Submission

_AT_ONCE = 1000
_SMALLEST = 1e-100


@dataclass(frozen=True)
class TeacherConfig:
    """How a scripted teacher judges. The defaults are the oracle; all deviations combine.

    Attributes:
        beta: rationality of the choice, P(right) = sigmoid(beta * (return_right - return_left)); inf always prefers
            the higher return and calls equal returns a tie, 0 tosses a coin. Rankings are drawn from Plackett-Luce with
            beta times the returns. A rating is too high or too low at every step alike: in sum by Gumbel noise of scale
            1 / beta.
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
    """An annotator that answers from the true reward.

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
        left, right = _true_rewards(query, Kind.COMPARISON)
        if self.config.habit and _uniforms(self.config.seed, f"habit/{query.key}")[0] < self.config.habit:
            return Choice.LEFT
        if self._skips(query, [left, right]):
            return Choice.SKIP
        if self.config.equal:
            threshold = abs(_average_stretch(query)) * self.config.equal
            if abs(math.fsum(left) - math.fsum(right)) < threshold:
                return Choice.TIE
        return self._prefer(query.key, self._discounted_sum(right) - self._discounted_sum(left))

    def rank(self, query: Query) -> tuple[int, ...] | None:
        """The teacher's answer to a ranking: screen positions, the best first; equal ones in screen order. None: skip.

        With finite beta the order is drawn from Plackett-Luce, which is to sort by returns with Gumbel noise of scale
        1 / beta (Yellott 1977).

        Raises:
            ValueError: if the query is no ranking, or as in `judge`.
        """
        rewards = _true_rewards(query, Kind.RANKING)
        if self._skips(query, rewards):
            return None
        rng = _generator(self.config.seed, query.key)
        noise = self._noise(rng, len(rewards))
        scores = np.array([self._discounted_sum(segment) for segment in rewards])
        best_first = np.argsort(-(scores + noise), kind="stable")
        if rng.random() < self.config.mistake:
            upper = int(rng.random() * (len(best_first) - 1))
            best_first[[upper, upper + 1]] = best_first[[upper + 1, upper]]
        return tuple(int(position) for position in best_first)

    def rate(self, query: Query) -> tuple[float, ...] | None:
        """The teacher's answer to a rating, one number from -1 to 1 for every step, or None: skip.

        The query's context gives the scale: true rewards of reward_middle become 0, those reward_scale above it 1.

        Raises:
            ValueError: if the query is no rating, its context lacks a figure, or as in `judge`.
        """
        [rewards] = _true_rewards(query, Kind.RATING)
        if self._skips(query, [rewards]):
            return None
        middle, scale = _reward_scale(query)
        rng = _generator(self.config.seed, query.key)
        error = float(self._noise(rng, 1)[0]) / len(rewards)
        ratings = np.clip((rewards + error - middle) / scale, -1, 1)
        if rng.random() < self.config.mistake:
            ratings = -ratings
        return tuple(float(rating) for rating in ratings)

    def answer(self, query: Query) -> Submission:
        """What the teacher submits to a query of any kind.

        Raises:
            ValueError: if the store does not know the query, or as in `judge`, `rank` and `rate`.
        """
        if query.id is None:
            raise ValueError(f"Query {query.key!r} must be asked in a store before it is answered.")
        if query.kind is Kind.COMPARISON:
            return Submission(query.id, self.name, self.judge(query))
        if query.kind is Kind.RANKING:
            ranking = self.rank(query)
            payload = None if ranking is None else ranking_payload(ranking)
        else:
            ratings = self.rate(query)
            payload = None if ratings is None else rating_payload(ratings)
        return Submission(query.id, self.name, Choice.SKIP if payload is None else None, payload=payload)

    def serve(self, store: PreferenceStore) -> int:
        """Answer everything that is open to this teacher; return how many queries that was."""
        served = 0
        while taken := store.take_many(self.name, _AT_ONCE):
            served += len(store.answer_many([self.answer(query) for query in taken]))
        return served

    def _skips(self, query: Query, rewards: Sequence[np.ndarray]) -> bool:
        if not self.config.skip:
            return False
        return max(map(math.fsum, rewards)) < _skip_threshold(_average_stretch(query), self.config.skip)

    def _noise(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """What beta adds to returns: Gumbel noise of mean 0 and scale 1 / beta."""
        if math.isinf(self.config.beta):
            return np.zeros(count)
        # 1 - u lies in (0, 1], whose logarithm is finite.
        noise: np.ndarray = -np.log(np.maximum(-np.log1p(-rng.random(count)), _SMALLEST)) - np.euler_gamma
        return noise / max(self.config.beta, _SMALLEST)

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


def _true_rewards(query: Query, kind: Kind) -> list[np.ndarray]:
    if query.kind is not kind:
        raise ValueError(f"This asks for a {kind}, but query {query.key!r} is a {query.kind}.")
    rewards = [segment.true_rewards.astype(np.float64) for segment in query.segments]
    if not all(np.isfinite(segment).all() for segment in rewards):
        raise ValueError(f"The true rewards of query {query.key!r} are not all finite; no one can judge them.")
    return rewards


def _reward_scale(query: Query) -> tuple[float, float]:
    middle, scale = query.context.get("reward_middle"), query.context.get("reward_scale")
    if not isinstance(middle, int | float) or not isinstance(scale, int | float) or scale <= 0:
        raise ValueError(
            "A teacher that rates needs the context of each query to give reward_middle and a positive reward_scale, "
            f"but query {query.key!r} has {dict(query.context)}."
        )
    return middle, scale


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
    drawn = _digest(seed, key)
    first, second = int.from_bytes(drawn[:8]), int.from_bytes(drawn[8:])
    return (first >> 11) * 2.0**-53, (second >> 11) * 2.0**-53


def _generator(seed: int, key: str) -> np.random.Generator:
    """Random numbers for a query that needs more than two, the same for the same seed and key."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(seed, key))))


def _digest(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16, person=b"scripted teacher").digest()
