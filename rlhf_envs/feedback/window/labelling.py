"""Opens the window and keeps it going until the person leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pygame

from rlhf_envs.envs.palette import THEME_NAMES
from rlhf_envs.envs.rendering import open_display
from rlhf_envs.feedback.guidance import guidance
from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.window.desk import Desk
from rlhf_envs.feedback.window.gallery import Gallery
from rlhf_envs.feedback.window.layout import USUAL_SIZE
from rlhf_envs.feedback.window.playback import SPEEDS
from rlhf_envs.feedback.window.show import Show
from rlhf_envs.feedback.window.sitting import Sitting
from rlhf_envs.feedback.window.timing import WindowFigures

SMALLEST_SIZE = (640, 440)


def label_in_window(
    session: AnnotatorSession, *, theme: str = "light", size: tuple[int, int] = USUAL_SIZE, speed: float = 1.0
) -> WindowFigures:
    """Show an annotator's queries in a window and store what they answer, until they close it.

    Answers are stored while the next clips play. Where the store cannot do its work, the window says why, keeps the
    answers and stores them as soon as it can.

    Args:
        session: whose queries and answers these are.
        theme: "light" or "dark", to begin with.
        size: (width, height) of the window in pixels, to begin with.
        speed: how many times as fast as natural clips are played, to begin with.

    Returns:
        What the window measured of itself.

    Raises:
        RuntimeError: if no window can be opened.
        ValueError: if a setting is out of its range.
        gymnasium.error.Error: if the environment cannot be made with the arguments that the store names.
    """
    with open_window(session, theme=theme, size=size, speed=speed) as show:
        show.run()
    return show.figures


@contextmanager
def open_window(
    session: AnnotatorSession, *, theme: str = "light", size: tuple[int, int] = USUAL_SIZE, speed: float = 1.0
) -> Iterator[Show]:
    """The window of `label_in_window`, open as long as the context; whoever opens it keeps it going."""
    if theme not in THEME_NAMES:
        raise ValueError(f"theme must be one of {', '.join(THEME_NAMES)}, not {theme!r}.")
    if size[0] < SMALLEST_SIZE[0] or size[1] < SMALLEST_SIZE[1]:
        raise ValueError(f"A window must be at least {SMALLEST_SIZE[0]}x{SMALLEST_SIZE[1]}, not {size[0]}x{size[1]}.")
    if not SPEEDS[0] <= speed <= SPEEDS[-1]:
        raise ValueError(f"speed must be between {SPEEDS[0]} and {SPEEDS[-1]:g} times the natural one, not {speed}.")
    environment = session.store.environment
    told = guidance(environment)
    window = _shown(str(environment["id"]), size)
    gallery = Gallery(environment, window.get_surface())
    desk = Desk(session)
    show = Show(window, Sitting(desk, gallery, told, theme, speed))
    try:
        yield show
    finally:
        show.figures.unsaved = desk.close()
        gallery.close()
        window.destroy()
        pygame.display.quit()


def _shown(title: str, size: tuple[int, int]) -> pygame.Window:
    # On Windows a program that does not ask for real pixels is shown enlarged, and blurred.
    os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")
    try:
        open_display()
        window = pygame.Window(title, size, resizable=True, allow_high_dpi=True)
        window.minimum_size = SMALLEST_SIZE
        return window
    except pygame.error as error:
        raise RuntimeError(
            f"No window can be opened ({error}); on a machine without a screen answer in a browser with --web."
        ) from error
