"""The recorder inside the recording wrappers: it minds resets, and cuts out segments."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space

from rlhf_envs.clips import snapshot_source
from rlhf_envs.recording import SegmentRecorder, Windows
from rlhf_envs.segments import Segment


class EpisodeRecorder(SegmentRecorder):
    """A recorder for environments that are reset at any time, and that gives out segments rather than windows.

    Args:
        env: whose simulators' states are recorded where they can be taken. It must have been reset once.
        observation_space, action_space: of a single copy.
        copies: N.
        capacity: how many steps of every copy are remembered.
    """

    def __init__(
        self, env: Any, observation_space: Space[Any], action_space: Space[Any], copies: int, capacity: int
    ) -> None:
        super().__init__(observation_space, action_space, copies, capacity, snapshot_source(env))

    def tile(self, length: int) -> list[Segment]:
        """All remembered segments of `length` steps that begin a multiple of `length` after their episode's start."""
        age = self._age[self._places(np.arange(len(self)))]
        ends, rows = np.nonzero((age > 0) & (age % length == 0))
        starts = ends - length + 1
        remembered = starts >= 0
        return self._cut(Windows(starts[remembered], rows[remembered], length))

    def draw(self, count: int, length: int, rng: np.random.Generator) -> list[Segment]:
        """Up to `count` segments, drawn uniformly with replacement."""
        return self._cut(self.sample_windows(count, length, rng))

    def _cut(self, windows: Windows) -> list[Segment]:
        return [self.segment(windows, index) for index in range(len(windows))]
