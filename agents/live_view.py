"""A window that plays frames at a steady rate and can be paused and stepped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pygame
from numpy.typing import NDArray

from rlhf_envs.envs.rendering import open_display


class LiveView:
    """Plays frames in a window: space pauses, the right arrow steps while paused, escape or closing it ends.

    Args:
        title: of the window.
        frames_per_second: how fast frames are played.

    Raises:
        RuntimeError: if no window can be opened.
    """

    def __init__(self, title: str, frames_per_second: float) -> None:
        self.paused = False
        self._title = title
        self._rate = frames_per_second
        self._screen: pygame.Surface | None = None
        self._clock = pygame.time.Clock()
        try:
            open_display()
        except pygame.error as error:
            raise _no_window(error) from error

    def play(self, frames: Iterator[NDArray[np.uint8]]) -> bool:
        """Show frames (height, width, 3) uint8 until there are no more; False if the person has ended it before."""
        for frame in frames:
            self._show(frame)
            if not self._may_go_on():
                return False
        return True

    def close(self) -> None:
        """Take the window away."""
        pygame.display.quit()

    def _show(self, frame: NDArray[np.uint8]) -> None:
        size = (frame.shape[1], frame.shape[0])
        if self._screen is None:
            try:
                self._screen = pygame.display.set_mode(size)
            except pygame.error as error:
                raise _no_window(error) from error
            self._caption()
        self._screen.blit(pygame.image.frombuffer(frame.tobytes(), size, "RGB"), (0, 0))
        pygame.display.flip()

    def _may_go_on(self) -> bool:
        """Wait until the next frame is due, or while paused until a person wants it; False to end."""
        self._clock.tick(self._rate)
        while True:
            for event in pygame.event.get():
                if event.type == pygame.QUIT:
                    return False
                if event.type != pygame.KEYDOWN:
                    continue
                if event.key == pygame.K_ESCAPE:
                    return False
                if event.key == pygame.K_SPACE:
                    self.paused = not self.paused
                    self._caption()
                elif event.key == pygame.K_RIGHT and self.paused:
                    return True
            if not self.paused:
                return True
            self._clock.tick(self._rate)

    def _caption(self) -> None:
        pygame.display.set_caption(
            f"{self._title} (paused: space goes on, right steps)" if self.paused else self._title
        )


def _no_window(error: pygame.error) -> RuntimeError:
    return RuntimeError(f"No window can be opened ({error}); on a machine without a screen make a film with --film.")
