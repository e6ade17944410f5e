"""What is written to a terminal (safe text, counts, times, paths), and what is done when it has gone."""

from __future__ import annotations

import io
import os
import re
import signal
import stat
import sys
from contextlib import suppress

_STDOUT, _STDERR = 1, 2


def printable(text: str) -> str:
    """A text on one line, in which whatever a terminal would act upon is escaped."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun, such as "1 answer" and "2,000 answers".

    Args:
        count: the number.
        noun: what is counted, in the singular.
        plural: of the noun, where it takes more than an s.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def time_left(seconds: float, done: int, total: int) -> str:
    """How much longer something takes at the pace that it had, such as "1:05 left"; empty while no pace is known.

    Args:
        seconds: that it has taken.
        done: how much has been done in them.
        total: how much was to be done in all when they began.
    """
    if done <= 0:
        return ""
    left = round(seconds * max(total - done, 0) / done)
    hours, minutes = left // 3600, left // 60 % 60
    return f"{hours}:{minutes:02}:{left % 60:02} left" if hours else f"{minutes}:{left % 60:02} left"


def at_separators(text: str, width: int) -> str:
    """A path or a name on as many lines as it takes, broken after separators only, so that words stay whole.

    Args:
        text: what to break.
        width: characters that a line has where a word is not longer than that.
    """
    lines = [""]
    for piece in re.findall(r"[^/_.\-]*[/_.\-]*", text):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


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
