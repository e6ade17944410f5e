"""Turns a state into a picture: frames for arrays, and a window for watching live."""

from __future__ import annotations

import os
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.state import State
from rlhf_envs.envs.task import Task

if TYPE_CHECKING:
    import pygame

    from rlhf_envs.envs.canvas import Canvas

FRAME_SIZE = (600, 400)
RENDER_MODES = ("human", "rgb_array")
_MOST_TILES = 16


class Painter:
    """Draws copies of one task, each as a frame of the same size and theme.

    Args:
        task: whose `draw` is called.
        frame_size: (width, height) in pixels.
        theme: "light" or "dark".

    pygame is imported when the first frame is drawn, so training without pictures never loads it.
    """

    def __init__(self, task: Task, frame_size: tuple[int, int] = FRAME_SIZE, theme: str = "light") -> None:
        from rlhf_envs.envs.palette import THEME_NAMES

        width, height = frame_size
        if width < 60 or height < 40:
            raise ValueError(f"A frame must be at least 60x40 pixels, not {width}x{height}.")
        if theme not in THEME_NAMES:
            raise ValueError(f"theme must be one of {', '.join(THEME_NAMES)}, not {theme!r}.")
        self.task = task
        self.frame_size = (int(width), int(height))
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


def open_display() -> None:
    """Start pygame's display.

    Raises:
        pygame.error: if there is no screen.
    """
    import pygame

    pygame.display.init()
    # Without a screen SDL falls back on a window that nobody can see.
    if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
        raise pygame.error("there is no screen")


class Window:
    """A pygame window that shows frames as they come, at a steady rate.

    Raises:
        RuntimeError: if no screen can be opened.
    """

    def __init__(self, title: str, size: tuple[int, int], frames_per_second: int) -> None:
        import pygame

        try:
            open_display()
            self._screen = pygame.display.set_mode(size)
        except pygame.error as error:
            raise RuntimeError(
                f"No window can be opened ({error}); on a machine without a screen use render_mode='rgb_array'."
            ) from error
        pygame.display.set_caption(title)
        self._clock = pygame.time.Clock()
        self._rate = frames_per_second

    def show(self, surface: pygame.Surface) -> None:
        """Put a surface on screen and wait until its time has passed."""
        import pygame

        pygame.event.pump()
        self._screen.blit(surface, (0, 0))
        pygame.display.flip()
        self._clock.tick(self._rate)

    def close(self) -> None:
        """Take the window away."""
        import pygame

        pygame.display.quit()


class WallPainter:
    """Draws the first copies of a vector environment as tiles of one picture, for its "human" mode."""

    def __init__(self, task: Task, copies: int, frame_size: tuple[int, int], theme: str) -> None:
        self.tiles = min(copies, _MOST_TILES)
        self.columns = ceil(sqrt(self.tiles))
        rows = ceil(self.tiles / self.columns)
        tile = (max(frame_size[0] // self.columns, 60), max(frame_size[1] // self.columns, 40))
        self._painter = Painter(task, tile, theme)
        self.size = (tile[0] * self.columns, tile[1] * rows)

    def surface(self, state: State) -> pygame.Surface:
        """All tiles on one new surface."""
        import pygame

        wall = pygame.Surface(self.size)
        width, height = self._painter.frame_size
        for tile in range(self.tiles):
            wall.blit(self._painter.surface(state, tile), (tile % self.columns * width, tile // self.columns * height))
        return wall
