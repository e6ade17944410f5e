"""The segments that a round chooses from: recent ones, and some that were asked about before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.observations import Observations
from rlhf_envs.recording import SegmentRecorder, Windows
from rlhf_envs.segments import Segment


class SegmentPool:
    """Segments that could be asked about: windows of recent rollouts, and after them earlier segments.

    Where a policy has settled, its recent segments are all alike. Only beside earlier ones can a person say whether
    that is a good place to have settled, so some of the pool are segments that were asked about in earlier rounds.

    Args:
        recorder: the recent rollouts.
        size: how many segments; fewer where hardly any window fits.
        length: steps in a segment.
        earlier: segments that were asked about before; none to choose from recent ones alone.
        earlier_share: how much of the second half of the pool, whose segments are paired with those of the first, is
            made of them.
        rng: draws the segments.

    Attributes:
        observations, actions: of all segments, (M, T, *obs) and (M, T, *act).
        windows: where they lie; earlier segments have rows below 0, each its own.
        mean_reward: mean true reward of a step in the recent segments.
    """

    def __init__(
        self,
        recorder: SegmentRecorder,
        size: int,
        length: int,
        earlier: Sequence[Segment],
        earlier_share: float,
        rng: np.random.Generator,
    ) -> None:
        count = min(round(size / 2 * earlier_share), len(earlier))
        self._earlier = [earlier[index] for index in rng.permutation(len(earlier))[:count]]
        self._recorder = recorder
        recent = recorder.sample_windows(size - count, length, rng)
        self._recent = len(recent)
        observations, actions, true_rewards = recorder.gather(recent)
        self.observations = _joined(observations, [segment.observations for segment in self._earlier])
        self.actions: NDArray[Any] = np.concatenate([actions, *(segment.actions[None] for segment in self._earlier)])
        self.mean_reward = float(true_rewards.mean()) if len(recent) else 0.0
        self.windows = Windows(
            np.concatenate([recent.starts, np.zeros(count, dtype=np.intp)]),
            np.concatenate([recent.rows, -1 - np.arange(count)]),
            length,
        )

    def __len__(self) -> int:
        return len(self.windows)

    def segment(self, index: int) -> Segment:
        """One of the segments, with what is needed to show it."""
        if index < self._recent:
            return self._recorder.segment(self.windows, index)
        return self._earlier[index - self._recent]


def _joined(recent: Observations, earlier: Sequence[Any]) -> Observations:
    if isinstance(recent, dict):
        return {
            name: np.concatenate([array, *(each[name][None] for each in earlier)]) for name, array in recent.items()
        }
    return np.concatenate([recent, *(each[None] for each in earlier)])
