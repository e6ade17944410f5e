"""Which segments of the recent rollouts are asked about, and in which questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.feedback.selection import (
    SELECTIONS,
    Candidates,
    describe_segments,
    group_features,
    group_preferences,
    group_up,
)
from rlhf_envs.loop.config import FeedbackConfig
from rlhf_envs.loop.pool import SegmentPool
from rlhf_envs.queries import Kind, Purpose, Query
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.segments import Segment

_FEWEST_CANDIDATES = 64
_SPARE_TEST_PAIRS = 2
_RATED_BELOW, _RATED_ABOVE = 2.0, 6.0


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
        self._rating_scale: dict[str, float] = {}

    def choose(
        self,
        recorder: SegmentRecorder,
        ensemble: RewardEnsemble,
        has_labels: bool,
        round: int,
        wanted: Mapping[Kind, int],
        wanted_for_test: int,
    ) -> list[Query]:
        """The questions of a round.

        Args:
            recorder: the recent rollouts.
            ensemble: what the reward model thinks by now.
            has_labels: whether it has learned anything yet.
            round: the round's number.
            wanted: how many questions of each kind to train on; fewer where hardly any segment fits.
            wanted_for_test: how many comparisons to hold out.
        """
        rule = self.config.selection if has_labels or self.config.selection == "diverse" else "uniform"
        queries: list[Query] = []
        for kind, count in wanted.items():
            queries += self._queries(recorder, ensemble, round, count, Purpose.TRAIN, rule, kind)
        if queries:
            taken = [segment for query in queries for segment in query.segments]
            queries += self._queries(
                recorder, ensemble, round, wanted_for_test, Purpose.TEST, "uniform", Kind.COMPARISON, taken
            )
        return queries

    def remember(self, queries: Sequence[Query]) -> None:
        """Take note of what was asked: later rounds compare with it, and test pairs keep away from it."""
        for query in queries:
            if query.purpose is Purpose.TRAIN:
                self._asked_about += query.segments
                if query.kind is Kind.RATING and not self._rating_scale:
                    figures = ("reward_middle", "reward_scale")
                    self._rating_scale = {name: query.context[name] for name in figures if name in query.context}

    def forget(self) -> None:
        """Know of nothing that was asked."""
        self._asked_about = []
        self._rating_scale = {}

    def _queries(
        self,
        recorder: SegmentRecorder,
        ensemble: RewardEnsemble,
        round: int,
        count: int,
        purpose: Purpose,
        rule: str,
        kind: Kind,
        taken: Sequence[Segment] = (),
    ) -> list[Query]:
        if count <= 0:
            return []
        config = self.config
        shown = {Kind.COMPARISON: 2, Kind.RANKING: config.ranking_size, Kind.RATING: 1}[kind]
        size = shown * max(config.candidate_factor * count, _FEWEST_CANDIDATES)
        earlier = self._earlier(kind) if purpose is Purpose.TRAIN else []
        pool = SegmentPool(recorder, size, config.segment_length, earlier, config.earlier_share, self.rng)
        if len(pool) < shown:
            return []
        # A test pair must share no segment with those that the reward is trained on, so some are chosen to spare.
        spare = 1 if purpose is Purpose.TRAIN else _SPARE_TEST_PAIRS
        chosen = self._select(pool, ensemble, rule, spare * count, shown)
        groups = [tuple(pool.segment(int(index)) for index in group) for group in chosen]
        if purpose is Purpose.TEST:
            trained = {segment.digest for segment in [*self._asked_about, *taken]}
            groups = [group for group in groups if not trained & {segment.digest for segment in group}]
        context = {"average_return": pool.mean_reward * self.horizon, "horizon": self.horizon}
        if kind is Kind.RATING:
            context |= self._rating_scale or _scale_of_ratings(recorder)
        name = f"{round}/{purpose}" if kind is Kind.COMPARISON else f"{round}/{purpose}/{kind}"
        return [
            Query(f"{name}/{number}", round, group, kind, purpose, context)
            for number, group in enumerate(groups[:count])
        ]

    def _earlier(self, kind: Kind) -> list[Segment]:
        """What may be asked about again: nothing for ratings, each segment once for rankings, which show many."""
        if kind is Kind.RATING:
            return []
        if kind is Kind.RANKING:
            return list({segment.digest: segment for segment in self._asked_about}.values())
        return self._asked_about

    def _select(self, pool: SegmentPool, ensemble: RewardEnsemble, rule: str, count: int, shown: int) -> NDArray[Any]:
        described = describe_segments(pool.observations, pool.actions)
        groups = group_up(pool.windows, described, shown)
        if shown == 2:
            swapped = self.rng.random(len(groups)) < 0.5
            groups[swapped] = groups[swapped, ::-1]
        else:
            groups = self.rng.permuted(groups, axis=1)
        returns = ensemble.segment_returns(pool.observations, pool.actions)
        candidates = Candidates(groups, group_preferences(returns, groups), group_features(described, groups))
        chosen: NDArray[Any] = groups[SELECTIONS[rule](candidates, count, self.rng)]
        return chosen


def _scale_of_ratings(recorder: SegmentRecorder) -> dict[str, float]:
    """The true reward that a scripted teacher rates 0, and how far above that it rates 1.

    The scale stays as it is for the whole run, so that a rating means the same all along. The rollouts that it is taken
    from are those of the first policy, and most of it lies above their mean because better ones have to fit as well:
    scripted experts earn up to 6 standard deviations more at a step than random actions do.
    """
    _, _, true_rewards = recorder.latest()
    mean, spread = float(true_rewards.mean(dtype=np.float64)), float(true_rewards.std(dtype=np.float64))
    lowest, highest = mean - _RATED_BELOW * spread, mean + _RATED_ABOVE * spread
    return {"reward_middle": (lowest + highest) / 2, "reward_scale": (highest - lowest) / 2 or 1.0}
