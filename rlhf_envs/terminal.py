"""What may be written to a terminal, and what is done when it has gone."""

from __future__ import annotations

import io
import os
import signal
import stat
import sys
from contextlib import suppress

_STDOUT, _STDERR = 1, 2


def printable(text: str) -> str:
    """A text on one line, in which whatever a terminal would act upon is escaped."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def show_what_can_be_shown() -> None:
    """Let this process write a question mark for what its terminal has no sign for, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def with_hangup(*numbers: signal.Signals) -> list[signal.Signals]:
    """These signals, and that of the end of the terminal unless it is ignored, as under nohup."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [*numbers] if ignored else [*numbers, signal.SIGHUP]


def leave_terminal() -> None:
    """Let what is still said go nowhere, because the terminal has gone and writing to it would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (_STDOUT, _STDERR):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)
