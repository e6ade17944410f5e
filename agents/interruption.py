"""Ends a run between two rollouts when somebody asks for it, so that it can be resumed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class RunInterrupted(Exception):
    """The run was asked to stop; what has been done until then can be resumed."""


class StopRequest:
    """Whether the run should stop: somebody pressed Ctrl-C, or a condition holds, such as a window that was closed.

    The first Ctrl-C asks for a stop between rollouts, the second stops at once.
    """

    def __init__(self) -> None:
        self._noted = False
        self._conditions: list[Callable[[], bool]] = []

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._noted or any(condition() for condition in self._conditions)

    def request(self) -> None:
        """Ask for a stop between rollouts."""
        self._noted = True

    def also_when(self, condition: Callable[[], bool]) -> None:
        """Stop as well once a condition holds."""
        self._conditions.append(condition)

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Take Ctrl-C and termination requests as requests to stop."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise `RunInterrupted` if a stop was requested."""
        if self.requested:
            raise RunInterrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted:
            raise KeyboardInterrupt
        self._noted = True
