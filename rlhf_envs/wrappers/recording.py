"""Records what happens in a vector environment, so that segments of it can be shown and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from rlhf_envs.recording import FrameSource, SegmentRecorder, SnapshotSource
from rlhf_envs.wrappers.rewards import require_same_step


class RecordSegments(gym.vector.VectorWrapper):
    """Remembers the last steps of every copy in a `SegmentRecorder`. Changes nothing that is seen or paid.

    Recorded are observations and actions as they pass here, and the rewards that the wrapped environment pays: the true
    ones, unless it was made with another objective, or a wrapper inside this one hides them.

    Args:
        env: a vector environment that begins new episodes in SAME_STEP mode and returns new arrays from each step.
        capacity_steps: how many steps of every copy are remembered.
        snapshots: where simulator states come from, see `rlhf_envs.clips.snapshot_source`; None for segments without.
        frames: gives a source of pictures for so many steps that are remembered, such as
            `partial(rlhf_envs.clips.FrameCapture, render, copies)`; None for segments without pictures.

    Attributes:
        recorder: what is remembered, from which windows are drawn and segments are cut.

    Raises:
        ValueError: for another mode, an environment that returns the same array each time, or a space that cannot be
            recorded.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        capacity_steps: int = 512,
        snapshots: SnapshotSource | None = None,
        frames: Callable[[int], FrameSource] | None = None,
    ) -> None:
        require_same_step(env)
        if getattr(env.unwrapped, "copy", True) is False:
            raise ValueError(
                f"{env} writes every observation into the same array; make it with copy=True, so that they can be "
                "recorded."
            )
        super().__init__(env)
        self._snapshots, self._frames = snapshots, frames
        self.recorder = self._new_recorder(capacity_steps)
        self.observations: Any = None

    @property
    def takes_pictures(self) -> bool:
        """Whether pictures are recorded."""
        return self._frames is not None

    def remember(self, steps: int) -> None:
        """Make sure that at least this many steps of every copy are remembered; forgets what is there if not."""
        if steps > self.recorder.capacity:
            self.recorder = self._new_recorder(steps)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every copy, or in those of `options["reset_mask"]`; no segment reaches across it."""
        mask = (options or {}).get("reset_mask")
        rows = np.ones(self.num_envs, dtype=np.bool_) if mask is None else np.array(mask, dtype=np.bool_)
        self.observations, info = self.env.reset(seed=seed, options=options)
        self.recorder.episodes_begin(rows)
        return self.observations, info

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Act for one step in every copy and record it.

        Raises:
            ValueError: if a reward is not a finite number.
        """
        if self.observations is None:
            raise ResetNeeded("Call reset() before the first step().")
        self.recorder.capture()
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        self.recorder.record(self.observations, np.asarray(actions), rewards, terminated | truncated, terminated)
        self.observations = observations
        return observations, rewards, terminated, truncated, info

    def _new_recorder(self, capacity_steps: int) -> SegmentRecorder:
        return SegmentRecorder(
            self.single_observation_space,
            self.single_action_space,
            self.num_envs,
            capacity_steps,
            self._snapshots,
            None if self._frames is None else self._frames(capacity_steps),
        )
