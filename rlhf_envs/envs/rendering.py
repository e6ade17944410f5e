"""Turns a state into a picture: frames as arrays, a window for watching live, and a picture for tasks without one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil, sqrt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.palette import THEMES
from rlhf_envs.envs.simulation import space_bounds
from rlhf_envs.envs.task import State, Task

if TYPE_CHECKING:
    import pygame

    from rlhf_envs.envs.canvas import Canvas

FRAME_SIZE, SMALLEST_FRAME = (600, 400), (60, 40)
RENDER_MODES = ("human", "rgb_array")
_MOST_TILES = 16


def checked_frame_size(frame_size: Sequence[int], theme: str) -> tuple[int, int]:
    """(width, height) of a frame in pixels.

    Raises:
        ValueError: if that is too small, or there is no such theme.
    """
    width, height = int(frame_size[0]), int(frame_size[1])
    if width < SMALLEST_FRAME[0] or height < SMALLEST_FRAME[1]:
        raise ValueError(f"A frame must be at least 60x40 pixels, not {width}x{height}.")
    if theme not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}, not {theme!r}.")
    return width, height


class Painter:
    """Draws copies of one task, each as a frame of the same size and theme.

    Args:
        task: whose `draw` is called.
        frame_size: (width, height) in pixels.
        theme: "light" or "dark".

    pygame is imported when the first frame is drawn, so training without pictures never loads it.
    """

    def __init__(self, task: Task, frame_size: Sequence[int] = FRAME_SIZE, theme: str = "light") -> None:
        self.task = task
        self.frame_size = checked_frame_size(frame_size, theme)
        self.theme = theme
        self._canvas: Canvas | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_canvas": None}

    @property
    def canvas(self) -> Canvas:
        """What the frames are drawn on."""
        if self._canvas is None:
            from rlhf_envs.envs.canvas import Canvas

            self._canvas = Canvas(*self.frame_size, theme=self.theme)
        return self._canvas

    def surface(self, state: State, row: int = 0) -> pygame.Surface:
        """One copy drawn, as a surface that the next call overwrites."""
        self.task.draw(state.row(row), self.canvas)
        return self.canvas.surface

    def frame(self, state: State, row: int = 0) -> NDArray[np.uint8]:
        """One copy drawn, (height, width, 3) uint8."""
        self.surface(state, row)
        return self.canvas.pixels()


@contextmanager
def opening_window(otherwise: str) -> Iterator[None]:
    """Start pygame's display for a window that is opened within.

    Args:
        otherwise: the end of the sentence that is the error: what to do where there is no screen.

    Raises:
        RuntimeError: if there is no screen.
    """
    import pygame

    try:
        pygame.display.init()
        # Without a screen SDL falls back on an invisible window.
        if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
            raise pygame.error("there is no screen")
        yield
    except pygame.error as error:
        raise RuntimeError(f"No window can be opened ({error}){otherwise}.") from error


class Window:
    """A pygame window that shows the first copies of an environment as tiles, at a steady rate: its "human" mode.

    Args:
        painter: of whole frames, whose task and theme the tiles have too.
        copies: how many there are.
        title: of the window.
        frames_per_second: how often it is drawn.

    Raises:
        RuntimeError: if no screen can be opened.
    """

    def __init__(self, painter: Painter, copies: int, title: str, frames_per_second: int) -> None:
        import pygame

        self._tiles = min(copies, _MOST_TILES)
        self._columns = ceil(sqrt(self._tiles))
        width = max(painter.frame_size[0] // self._columns, SMALLEST_FRAME[0])
        height = max(painter.frame_size[1] // self._columns, SMALLEST_FRAME[1])
        self._painter = Painter(painter.task, (width, height), painter.theme)
        with opening_window("; on a machine without a screen use render_mode='rgb_array'"):
            size = (width * self._columns, height * ceil(self._tiles / self._columns))
            self._screen = pygame.display.set_mode(size)
        pygame.display.set_caption(title)
        self._clock, self._rate = pygame.time.Clock(), frames_per_second

    def show(self, state: State) -> None:
        """Draw the copies and wait until their time has passed."""
        import pygame

        width, height = self._painter.frame_size
        pygame.event.pump()
        for tile in range(self._tiles):
            place = (tile % self._columns * width, tile // self._columns * height)
            self._screen.blit(self._painter.surface(state, tile), place)
        pygame.display.flip()
        self._clock.tick(self._rate)

    def close(self) -> None:
        """Close the window."""
        import pygame

        pygame.display.quit()


_MOST_BARS, _MOST_NUMBERS = 20, 14
_BAR_LEFT, _BAR_WIDTH = 84.0, 250.0
_NUMBERS_LEFT, _NUMBERS_RIGHT = 366.0, 570.0
_TOP, _HEIGHT, _HIGHEST_ROW = 76.0, 304.0, 34.0


def draw_numbers(task: Task, row: SimpleNamespace, canvas: Canvas) -> None:
    """A picture of any task, for those that define none: the observation, the state's numbers, and the time.

    An observation that is an image is shown as one; any other as bars between the bounds of its space, the first 20
    numbers of it. Beside it are the state's fields that are single numbers, by name.
    """
    colors = canvas.colors
    canvas.background("numbers", lambda: _draw_number_panel(canvas))
    canvas.text(30, 30, f"step {row.elapsed} of {task.horizon}", colors.muted)
    canvas.rectangle(170, 27, 400, 8, colors.surface_strong, radius=4)
    canvas.rectangle(170, 27, max(400 * row.elapsed / task.horizon, 8), 8, colors.accent, radius=4)
    state = State(task.layout, 1)
    for name in task.layout.fields:
        getattr(state, name)[..., 0] = getattr(row, name)
    observation = np.asarray(task.observe(state))[0]
    if observation.dtype == np.uint8 and observation.ndim in (2, 3) and observation.shape[2:] in ((), (1,), (3,)):
        pixels = np.broadcast_to(observation.reshape(*observation.shape[:2], -1), (*observation.shape[:2], 3))
        side = _HEIGHT / max(pixels.shape[:2])
        canvas.image(30, _TOP - 6, pixels.shape[1] * side, pixels.shape[0] * side, pixels)
    else:
        _draw_bars(task, observation.reshape(-1)[:_MOST_BARS].astype(np.float64), canvas)
    numbers = [name for name, field in task.fields.items() if not field.shape]
    numbers = numbers[:_MOST_NUMBERS]
    pitch = min(_HEIGHT / max(len(numbers), 1), _HIGHEST_ROW)
    for line, name in enumerate(numbers):
        y = _TOP + pitch * (line + 0.5)
        canvas.text(_NUMBERS_LEFT, y, name.replace("_", " "), colors.muted, size=16)
        canvas.text(_NUMBERS_RIGHT, y, f"{getattr(row, name):.3g}", colors.ink, size=18, anchor="right", bold=True)


def _draw_number_panel(canvas: Canvas) -> None:
    canvas.rectangle(12, 12, 576, 376, canvas.colors.surface, radius=12)
    canvas.text(30, 60, "observation", canvas.colors.muted, size=13)
    canvas.text(_NUMBERS_LEFT, 60, "state", canvas.colors.muted, size=13)


def _draw_bars(task: Task, values: NDArray[np.float64], canvas: Canvas) -> None:
    low, high = (
        np.broadcast_to(bound, task.observation_space.shape or (1,)).reshape(-1)[: len(values)].astype(np.float64)
        for bound in space_bounds(task.observation_space)
    )
    bounded = np.isfinite(low) & np.isfinite(high)
    squashed = 0.5 + 0.5 * values / (1.0 + np.abs(values))
    width = np.maximum(np.where(bounded, high - low, 1.0), 1e-9)
    shares = np.clip(np.where(bounded, (values - np.where(bounded, low, 0.0)) / width, squashed), 0.0, 1.0)
    pitch = min(_HEIGHT / len(values), _HIGHEST_ROW)
    for number, (value, share) in enumerate(zip(values.tolist(), shares.tolist(), strict=True)):
        y = _TOP + pitch * number
        canvas.text(30, y + pitch / 2, f"{number}", canvas.colors.muted)
        canvas.text(_BAR_LEFT - 6, y + pitch / 2, f"{value:.2g}", canvas.colors.ink, size=12, anchor="right")
        canvas.rectangle(_BAR_LEFT, y + 0.2 * pitch, _BAR_WIDTH, 0.6 * pitch, canvas.colors.surface_strong)
        canvas.rectangle(_BAR_LEFT, y + 0.2 * pitch, max(share * _BAR_WIDTH, 1.0), 0.6 * pitch, canvas.colors.accent)
