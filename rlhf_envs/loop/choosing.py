"""Which segments of the recent rollouts are asked about, and in which questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.feedback.queries import Purpose, Query
from rlhf_envs.feedback.selection import SELECTIONS, Candidates, describe_segments, pair_features, pair_up
from rlhf_envs.loop.config import FeedbackConfig
from rlhf_envs.loop.pool import SegmentPool
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.segments import Segment

_FEWEST_CANDIDATES = 64
_SPARE_TEST_PAIRS = 2


class QueryChooser:
    """Cuts segments out of recent rollouts and chooses which of them to ask about.

    Args:
        config: what to ask.
        horizon: steps in an episode, for the thresholds of scripted teachers.
        seed: of the candidates that are drawn.

    Attributes:
        rng: what draws them; a checkpoint keeps its state.
    """

    def __init__(self, config: FeedbackConfig, horizon: int, seed: int) -> None:
        self.config = config
        self.horizon = horizon
        self.rng = np.random.default_rng(seed)
        self._asked_about: list[Segment] = []

    def choose(
        self,
        recorder: SegmentRecorder,
        ensemble: RewardEnsemble,
        has_labels: bool,
        round: int,
        counts: dict[Purpose, int],
    ) -> list[Query]:
        """The questions of a round.

        Args:
            recorder: the recent rollouts.
            ensemble: what the reward model thinks by now.
            has_labels: whether it has learned anything yet.
            round: the round's number.
            counts: how many comparisons of each purpose are wanted; fewer where hardly any segment fits.
        """
        rule = self.config.selection if has_labels or self.config.selection == "diverse" else "uniform"
        queries = self._pairs(recorder, ensemble, round, counts[Purpose.TRAIN], Purpose.TRAIN, rule)
        if queries:
            taken = [segment for query in queries for segment in query.segments]
            queries += self._pairs(recorder, ensemble, round, counts[Purpose.TEST], Purpose.TEST, "uniform", taken)
        return queries

    def remember(self, queries: Sequence[Query]) -> None:
        """Take note of what was asked: later rounds compare with it, and test pairs keep away from it."""
        for query in queries:
            if query.purpose is Purpose.TRAIN:
                self._asked_about += query.segments

    def forget(self) -> None:
        """Know of nothing that was asked."""
        self._asked_about = []

    def _pairs(
        self,
        recorder: SegmentRecorder,
        ensemble: RewardEnsemble,
        round: int,
        count: int,
        purpose: Purpose,
        rule: str,
        taken: Sequence[Segment] = (),
    ) -> list[Query]:
        if count <= 0:
            return []
        config = self.config
        size = 2 * max(config.candidate_factor * count, _FEWEST_CANDIDATES)
        earlier = self._asked_about if purpose is Purpose.TRAIN else []
        pool = SegmentPool(recorder, size, config.segment_length, earlier, config.earlier_share, self.rng)
        if len(pool) < 2:
            return []
        # A test pair must share no segment with those that the reward is trained on, so some are chosen to spare.
        spare = 1 if purpose is Purpose.TRAIN else _SPARE_TEST_PAIRS
        left, right = self._select(pool, ensemble, rule, spare * count)
        shown = [(pool.segment(int(one)), pool.segment(int(other))) for one, other in zip(left, right, strict=True)]
        if purpose is Purpose.TEST:
            trained = {segment.digest for segment in [*self._asked_about, *taken]}
            shown = [pair for pair in shown if not trained & {segment.digest for segment in pair}]
        context = {"average_return": pool.mean_reward * self.horizon, "horizon": self.horizon}
        return [
            Query(f"{round}/{purpose}/{number}", round, pair, purpose=purpose, context=context)
            for number, pair in enumerate(shown[:count])
        ]

    def _select(
        self, pool: SegmentPool, ensemble: RewardEnsemble, rule: str, count: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        described = describe_segments(pool.observations, pool.actions)
        first, second = pair_up(pool.windows, described)
        swapped = self.rng.random(len(first)) < 0.5
        left, right = np.where(swapped, second, first), np.where(swapped, first, second)
        returns = ensemble.segment_returns(pool.observations, pool.actions)
        with np.errstate(over="ignore"):
            preferences = 1 / (1 + np.exp(returns[:, left] - returns[:, right]))
        candidates = Candidates(left, right, preferences, pair_features(described, left, right))
        chosen = SELECTIONS[rule](candidates, count, self.rng)
        return left[chosen], right[chosen]
