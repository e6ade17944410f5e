"""Where policies play from equal starts, and what people are shown of it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import gymnasium as gym
import numpy as np
import pygame

from agents.configuration import RunConfig
from agents.copies import SeparateCopies
from agents.policies import AnyPolicy, bound
from rlhf_envs.clips import FrameCapture, clip_painter, snapshot_source
from rlhf_envs.envs.registration import is_native
from rlhf_envs.recording import SegmentRecorder, SnapshotSource, Windows
from rlhf_envs.sb3 import make_scalar_env
from rlhf_envs.sb3.making import LEAK, episode_length
from rlhf_envs.segments import Segment


class Arena:
    """One copy of a run's environment, in which a policy's clip begins at a chosen moment of an episode.

    Episodes that end before the horizon stand still from there on, so that the clips of two policies have the same
    length and show the same moment whatever became of each.

    Args:
        config: the run, for its environment.
        clip_seconds: how long a clip is, at the pace that looks natural.
        moments: at how many moments clips begin.
        needs_pictures: refuse an environment that cannot be shown.

    Attributes:
        length: steps in a clip.
        starts: the steps at which clips begin, from the first of the episode to the last at which one fits.
        environment: what an annotator has to know of the environment, as training describes it.

    Raises:
        ValueError: if the environment cannot be made, or cannot be shown although it should.
    """

    def __init__(self, config: RunConfig, clip_seconds: float, moments: int, needs_pictures: bool) -> None:
        native = is_native(config.env)
        self._env, self._snapshots = _recordable_environment(config)
        self._copies = SeparateCopies([self._env])
        self._frames = None
        if self._snapshots is None and self._env.render_mode == "rgb_array":
            self._frames = FrameCapture(lambda _: [self._env.render()], 1, 1)
        if needs_pictures and self._snapshots is None and self._frames is None:
            raise ValueError(
                f"{config.env} cannot be shown to people, because its states cannot be drawn and it does not render as "
                "'rgb_array'; --judge oracle judges it without pictures."
            )
        horizon = self._env.get_wrapper_attr("horizon") if native else episode_length(config.env, config.horizon)
        rate = clip_painter(config.env, config.env_kwargs).frames_per_second
        self.length = min(max(round(clip_seconds * rate), 1), int(horizon))
        self.starts = tuple(np.unique(np.linspace(0, horizon - self.length, moments).round().astype(int)).tolist())
        self.environment: dict[str, Any] = {
            "id": config.env,
            "kwargs": config.env_kwargs,
            "segment_length": self.length,
            "horizon": config.horizon,
            "on_termination": config.on_termination,
        }

    def clip(self, policy: AnyPolicy, seed: int, start: int) -> Segment:
        """What a policy does in the `length` steps after step `start` of the episode that begins with `seed`."""
        spaces = (self._copies.observation_space, self._copies.action_space)
        recorder = SegmentRecorder(*spaces, 1, self.length, self._snapshots, self._frames)
        act = bound(policy, self._copies)
        running = np.ones(1, dtype=np.bool_)
        observations = self._copies.reset(seed)
        for step in range(start + self.length):
            if step >= start:
                recorder.capture()
            actions = act(observations)
            outcome = self._copies.step(actions, running)
            if step >= start:
                recorder.record(observations, actions, outcome.true_rewards, outcome.over)
            observations = outcome.observations
        first = np.zeros(1, dtype=np.intp)
        return recorder.segment(Windows(first, first, self.length), 0)

    def close(self) -> None:
        """Let go of the environment."""
        # One of classic control's kind would shut pygame down for the whole process, whatever window is to open.
        if not isinstance(getattr(self._env.unwrapped, "screen", None), pygame.Surface):
            self._copies.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _recordable_environment(config: RunConfig) -> tuple[gym.Env[Any, Any], SnapshotSource | None]:
    """The environment, reset once, and where its states come from; where they cannot be had, it renders if it can."""
    after_termination = "absorb" if config.on_termination == LEAK else config.on_termination
    task = (config.env, config.env_kwargs, config.horizon, after_termination)
    env = make_scalar_env(*task)
    env.reset(seed=0)
    source = snapshot_source(env)
    if source is not None or "rgb_array" not in (env.metadata.get("render_modes") or ()):
        return env, source
    env.close()
    env = make_scalar_env(*task, render_mode="rgb_array")
    env.reset(seed=0)
    return env, None
