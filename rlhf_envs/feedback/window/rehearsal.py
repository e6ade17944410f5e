"""Answers by itself in a real window, to measure how quickly that follows."""

from __future__ import annotations

import time

import pygame

from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.window.labelling import open_window
from rlhf_envs.feedback.window.layout import USUAL_SIZE
from rlhf_envs.feedback.window.timing import WindowFigures


def rehearse(
    session: AnnotatorSession, answers: int, *, pause: float = 0.8, size: tuple[int, int] = USUAL_SIZE
) -> WindowFigures:
    """Open the window, press the left arrow some times, and close it; what the window measured meanwhile.

    The answers are stored: give it a store of its own, with comparisons enough.

    Args:
        session: whose queries these are.
        answers: how many to give.
        pause: seconds from one to the next; people take about 3.
        size: (width, height) of the window in pixels.

    Raises:
        RuntimeError: if no window can be opened.
        TimeoutError: if for 10 seconds there is nothing to answer.
    """
    with open_window(session, size=size) as show:
        press_at = time.perf_counter() + pause
        while show.sitting.given < answers:
            show.tick()
            now = time.perf_counter()
            if now >= press_at and show.sitting.clips is not None:
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
                press_at = now + pause
            elif now >= press_at + 10.0:
                raise TimeoutError(f"Only {show.sitting.given} of {answers} comparisons could be answered.")
        while show.sitting.answered_at is not None:
            show.tick()
    return show.figures
