"""A window that answers by itself and writes down which answers it was told are stored: `STORE ANNOTATOR FILE`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pygame

from rlhf_envs.feedback import AnnotatorSession, PreferenceStore
from rlhf_envs.feedback.window.labelling import SMALLEST_SIZE, open_window

_PACE_SECONDS = 0.15


class NotingSession(AnnotatorSession):
    """Notes each answer in a file once the store has acknowledged it.

    Attributes:
        file: descriptor of a file that is open for appending; each answer is a line with its query's number.
    """

    file: int

    def answer(self, query_id: int, *arguments: Any, **named: Any) -> int:
        """Store an answer, note it, and return its id."""
        id = super().answer(query_id, *arguments, **named)
        os.write(self.file, f"{query_id}\n".encode())
        return id


def answer_until_closed(place: str, annotator: str, file: str) -> None:
    """Press the left arrow whenever there is something to answer, until somebody closes the window."""
    with PreferenceStore.open(place) as store:
        session = NotingSession(store, annotator)
        session.file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with open_window(session, size=SMALLEST_SIZE) as show:
            press_at = 0.0
            while not show.sitting.left:
                show.tick()
                if show.sitting.clips is not None and time.perf_counter() >= press_at:
                    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
                    press_at = time.perf_counter() + _PACE_SECONDS


if __name__ == "__main__":
    answer_until_closed(*sys.argv[1:])
