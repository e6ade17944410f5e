"""Draws the states of a segment when its clip is shown; nothing is rendered during training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlhf_envs.clips.frames import CLIP_SIZE, letterbox, render_picture
from rlhf_envs.clips.snapshots import StateAdapter, state_adapter
from rlhf_envs.environment import EnvironmentRef, picture_rate
from rlhf_envs.envs.palette import THEMES
from rlhf_envs.envs.rendering import Painter, checked_frame_size
from rlhf_envs.envs.task import State
from rlhf_envs.envs.views import TaskEnv
from rlhf_envs.segments import Segment

_MAX_RATE = 40.0
_DEFAULT_RATE = 15.0

OVER = "The episode is over"
"""What the frames of absorbing steps say."""

_OVER_SIZE = 34.0
_LEFT_OF_PICTURE = 0.4

Draw = Callable[[NDArray[Any]], NDArray[np.uint8]]
"""Draws states (T, size) as frames (T, height, width, 3)."""


class ClipPainter:
    """Turns segments of one environment into frames of one size; `clip_painter` makes it.

    Args:
        environment_id: whose segments.
        frame_size: (width, height) in pixels.
        theme: "light" or "dark", whose background surrounds captured frames.
        frames_per_second: the rate at which the environment looks natural, one frame a step.
        draw: draws states at this size; None where only captured frames can be shown.

    Attributes:
        environment_id, frame_size, theme: as given.
        frames_per_second: at most 40, as people cannot follow faster clips.
    """

    def __init__(
        self,
        environment_id: str,
        frame_size: tuple[int, int],
        theme: str,
        frames_per_second: float,
        draw: Draw | None = None,
    ) -> None:
        self.environment_id = environment_id
        self.frame_size = frame_size
        self.frames_per_second = min(frames_per_second, _MAX_RATE)
        self.theme = theme
        self._draw = draw

    def frames(self, segment: Segment) -> NDArray[np.uint8]:
        """The segment's clip, (T, height, width, 3) uint8: drawn from its states, or else its captured frames.

        Raises:
            ValueError: if the segment holds neither, or states of another environment.
        """
        return np.stack(list(self.each_frame(segment)))

    def each_frame(self, segment: Segment) -> Iterator[NDArray[np.uint8]]:
        """The same frame by frame, each drawn when it is asked for.

        Absorbing steps show the last state, dimmed, and that the episode is over.

        Raises:
            ValueError: as `frames`.
        """
        pictures = segment.frames if segment.states is None else segment.states
        show = self._fitted if segment.states is None else self.frame
        if pictures is None:
            raise ValueError(
                f"This segment of {self.environment_id} cannot be shown, because it was recorded with neither "
                "simulator states nor frames; make the environment that is trained on with "
                "rlhf_envs.sb3.make_vec_env(..., frames=True)."
            )
        for picture in pictures[: segment.lived]:
            yield show(picture)
        if segment.lived < len(segment):
            over = draw_over(show(pictures[-1]), self.theme)
            for _ in range(segment.lived, len(segment)):
                yield over

    def _fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return letterbox(picture, self.frame_size, THEMES[self.theme].background)

    def frame(self, state: NDArray[Any]) -> NDArray[np.uint8]:
        """One state (size,) drawn, (height, width, 3) uint8."""
        return self.paint(np.asarray(state)[None])[0]

    def paint(self, states: NDArray[Any]) -> NDArray[np.uint8]:
        """States (T, size) drawn, (T, height, width, 3) uint8.

        Raises:
            ValueError: if they are not states of this environment, or there is no adapter for its simulator.
        """
        if self._draw is None:
            raise ValueError(
                f"{self.environment_id} cannot be drawn from states, because there is no adapter for its simulator; "
                f"record frames instead."
            )
        return self._draw(states)


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
    size = checked_frame_size(frame_size, theme)
    ref = EnvironmentRef.of(environment)
    draw: Draw | None = None
    try:
        env = ref.make("rgb_array", limited=False)
    except ValueError:
        # Perhaps it takes no render mode and cannot be drawn; segments may still have captured frames.
        env = ref.make(limited=False)
    else:
        if isinstance(env.unwrapped, TaskEnv):
            draw = _task_drawing(Painter(env.unwrapped.task, size, theme))
        elif (adapter := state_adapter(env)) is not None:
            draw = _simulator_drawing(ref.id, env, adapter, size, theme)
    return ClipPainter(ref.id, size, theme, picture_rate(env) or _DEFAULT_RATE, draw)


def draw_over(frame: NDArray[np.uint8], theme: str) -> NDArray[np.uint8]:
    """A frame (height, width, 3) uint8 as it is shown once the episode has ended: dimmed, and saying so."""
    from rlhf_envs.envs.canvas import Canvas

    height, width = frame.shape[:2]
    canvas = Canvas(width, height, theme)
    colors = canvas.colors
    across, down = width / canvas.scale, height / canvas.scale
    dimmed = _LEFT_OF_PICTURE * frame + (1 - _LEFT_OF_PICTURE) * np.array(colors.background)
    canvas.image(0, 0, across, down, np.rint(dimmed).astype(np.uint8))
    room, tall = canvas.text_width(OVER, _OVER_SIZE) + 2 * _OVER_SIZE, 2 * _OVER_SIZE
    # At the top it hides little of how the episode ended.
    canvas.rectangle((across - room) / 2, _OVER_SIZE, room, tall, colors.ink, radius=_OVER_SIZE / 2)
    canvas.text(across / 2, _OVER_SIZE + tall / 2, OVER, colors.background, size=_OVER_SIZE, anchor="center")
    return canvas.pixels()


def _task_drawing(painter: Painter) -> Draw:
    """Drawing through the task itself."""

    def draw(states: NDArray[Any]) -> NDArray[np.uint8]:
        state = State.unpack(painter.task.layout, states)
        return np.stack([painter.frame(state, row) for row in range(state.copies)])

    return draw


def _simulator_drawing(
    environment_id: str, env: gym.Env[Any, Any], adapter: StateAdapter, size: tuple[int, int], theme: str
) -> Draw:
    """Drawing by setting the states of a simulator that renders them.

    The simulator is never closed: closing one of classic control's shuts pygame down for the whole process, the
    labelling window included.
    """
    env.reset(seed=0)
    width = len(adapter.get_state(env.unwrapped))

    def picture(state: NDArray[np.float64]) -> NDArray[np.uint8]:
        adapter.set_state(env.unwrapped, state)
        return letterbox(render_picture(env, environment_id), size, THEMES[theme].background)

    def draw(states: NDArray[Any]) -> NDArray[np.uint8]:
        states = np.asarray(states)
        if states.ndim != 2 or states.shape[1] != width or states.dtype != np.float64:
            raise ValueError(
                f"A state of {environment_id} is {width} numbers of float64, not {states.dtype} of shape "
                f"{states.shape[1:]}; it was recorded from another environment."
            )
        return np.stack([picture(state) for state in states])

    return draw


class Redrawing:
    """Lets segments of one environment be shown by another one, such as a variant with another scene.

    Args:
        drawn_by: the environment that the segments are from.
        shown_by: the environment whose painter shows them.
    """

    def __init__(self, drawn_by: EnvironmentRef, shown_by: EnvironmentRef) -> None:
        self._drawn_by, self._shown_by = drawn_by, shown_by

    def __call__(self, segment: Segment) -> Segment:
        """The segment with pictures in place of its states, if the other environment draws it wrongly."""
        if segment.states is None or self._drawn_by == self._shown_by:
            return segment
        own, other = self._painters
        frames = own.frames(segment)
        with suppress(ValueError):  # of states of another size
            if np.array_equal(frames, other.frames(segment)):
                return segment
        return replace(segment, states=None, frames=frames)

    @cached_property
    def _painters(self) -> tuple[ClipPainter, ClipPainter]:
        return clip_painter(self._drawn_by), clip_painter(self._shown_by)
