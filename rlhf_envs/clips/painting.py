"""Draws the states of a segment when its clip is shown; nothing is rendered during training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlhf_envs.clips.frames import CLIP_SIZE, letterbox
from rlhf_envs.clips.snapshots import StateAdapter, state_adapter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.palette import THEMES, Color
from rlhf_envs.envs.rendering import Painter
from rlhf_envs.envs.task import State
from rlhf_envs.envs.views import TaskEnv
from rlhf_envs.segments import Segment

_MAX_RATE = 40.0
_DEFAULT_RATE = 15.0


class ClipPainter(ABC):
    """Turns segments of one environment into frames of one size.

    Attributes:
        environment_id: whose segments.
        frame_size: (width, height) in pixels.
        frames_per_second: the rate at which the environment says it looks natural, one frame a step; at most 40, as
            people cannot follow faster ones.
    """

    def __init__(
        self, environment_id: str, frame_size: tuple[int, int], background: Color, frames_per_second: float
    ) -> None:
        self.environment_id = environment_id
        self.frame_size = frame_size
        self.frames_per_second = min(frames_per_second, _MAX_RATE)
        self._background = background

    def frames(self, segment: Segment) -> NDArray[np.uint8]:
        """The segment's clip, (T, height, width, 3) uint8: drawn from its states, or else its captured frames.

        Raises:
            ValueError: if the segment holds neither, or states of another environment.
        """
        if segment.states is not None:
            return self.paint(segment.states)
        if segment.frames is not None:
            return np.stack([letterbox(frame, self.frame_size, self._background) for frame in segment.frames])
        raise ValueError(
            f"This segment of {self.environment_id} cannot be shown, because it was recorded with neither simulator "
            f"states nor frames; record it from an environment made with render_mode='rgb_array'."
        )

    def frame(self, state: NDArray[Any]) -> NDArray[np.uint8]:
        """One state (size,) drawn, (height, width, 3) uint8."""
        return self.paint(np.asarray(state)[None])[0]

    @abstractmethod
    def paint(self, states: NDArray[Any]) -> NDArray[np.uint8]:
        """States (T, size) drawn, (T, height, width, 3) uint8.

        Raises:
            ValueError: if they are not states of this environment.
        """


class _TaskClipPainter(ClipPainter):
    """Draws through the task itself."""

    def __init__(self, environment_id: str, env: TaskEnv, frame_size: tuple[int, int], theme: str) -> None:
        rate = float(env.metadata["render_fps"])
        super().__init__(environment_id, frame_size, THEMES[theme].background, rate)
        self._painter = Painter(env.task, frame_size, theme)

    def paint(self, states: NDArray[Any]) -> NDArray[np.uint8]:
        state = State.unpack(self._painter.task.layout, states)
        return np.stack([self._painter.frame(state, row) for row in range(state.copies)])


class _SimulatorClipPainter(ClipPainter):
    """Sets the states of a simulator that renders them.

    The simulator is never closed: closing one of classic control's shuts pygame down for the whole process, the
    labelling window included.
    """

    def __init__(
        self,
        environment_id: str,
        env: gym.Env[Any, Any],
        adapter: StateAdapter,
        frame_size: tuple[int, int],
        background: Color,
    ) -> None:
        super().__init__(environment_id, frame_size, background, _rate(env))
        self._adapter = adapter
        self._env = env
        env.reset(seed=0)
        self._size = len(adapter.get_state(env.unwrapped))

    def paint(self, states: NDArray[Any]) -> NDArray[np.uint8]:
        states = np.asarray(states)
        if states.ndim != 2 or states.shape[1] != self._size or states.dtype != np.float64:
            raise ValueError(
                f"A state of {self.environment_id} is {self._size} numbers of float64, not {states.dtype} of shape "
                f"{states.shape[1:]}; it was recorded from another environment."
            )
        return np.stack([letterbox(self._picture(state), self.frame_size, self._background) for state in states])

    def _picture(self, state: NDArray[np.float64]) -> NDArray[np.uint8]:
        self._adapter.set_state(self._env.unwrapped, state)
        try:
            picture: Any = self._env.render()
        except Exception as error:
            raise RuntimeError(
                f"{self.environment_id} cannot be drawn on this machine ({type(error).__name__}: {error}); MuJoCo "
                f"without a screen needs the environment variable MUJOCO_GL=egl or osmesa, and that library."
            ) from error
        return np.asarray(picture)


class _FrameClipPainter(ClipPainter):
    """Shows captured frames only, because nothing is known of the simulator."""

    def paint(self, states: NDArray[Any]) -> NDArray[np.uint8]:
        raise ValueError(
            f"{self.environment_id} cannot be drawn from states, because there is no adapter for its simulator; "
            f"record frames instead."
        )


def clip_painter(
    environment: str | EnvironmentRef, frame_size: tuple[int, int] = CLIP_SIZE, theme: str = "light"
) -> ClipPainter:
    """The painter for the segments of an environment.

    The suite's own environments are drawn at the wanted size; pictures of others are scaled into it, keeping their
    proportions, on the theme's background.

    Args:
        environment: that the segments are from; how it was rendered then does not matter.
        frame_size: (width, height) in pixels.
        theme: "light" or "dark".

    Raises:
        ValueError: for an unknown theme, a frame size below 60x40, or an environment that cannot be made.
    """
    width, height = int(frame_size[0]), int(frame_size[1])
    if width < 60 or height < 40:
        raise ValueError(f"A frame must be at least 60x40 pixels, not {width}x{height}.")
    if theme not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}, not {theme!r}.")
    ref, background = EnvironmentRef.of(environment), THEMES[theme].background
    try:
        env = ref.make("rgb_array", fixed_length=False)
    except ValueError:
        # Perhaps it takes no render mode and cannot be drawn; segments may still have captured frames.
        return _FrameClipPainter(ref.id, (width, height), background, _rate(ref.make(fixed_length=False)))
    if isinstance(env.unwrapped, TaskEnv):
        return _TaskClipPainter(ref.id, env.unwrapped, (width, height), theme)
    adapter = state_adapter(env)
    if adapter is None:
        return _FrameClipPainter(ref.id, (width, height), background, _rate(env))
    return _SimulatorClipPainter(ref.id, env, adapter, (width, height), background)


def _rate(env: gym.Env[Any, Any]) -> float:
    return float(env.metadata.get("render_fps") or _DEFAULT_RATE)
