"""Ends a run between two rollouts when somebody asks for it, so that it can be resumed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class RunInterrupted(Exception):
    """The run was asked to stop; what has been done until then can be resumed."""


class StopRequest:
    """Whether somebody pressed Ctrl-C. The first asks for a stop between rollouts, the second stops at once."""

    def __init__(self) -> None:
        self.requested = False

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
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
