"""What is written to a terminal (safe text, counts, times, paths, tables), and what is done when it has gone."""

from __future__ import annotations

import io
import os
import re
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

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
    """A path or a name on as many lines as it takes, broken after separators and spaces only, so that words stay whole.

    Args:
        text: what to break.
        width: characters that a line has where a word is not longer than that.
    """
    lines = [""]
    for piece in re.findall(r"[^ /_.\-]*[ /_.\-]*", text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True)
class TextTable:
    """A table for terminal and page.

    Attributes:
        title: what it holds.
        texts: how many of the first columns hold text instead of numbers.
        columns: their headings.
        rows: the cells.
    """

    title: str
    texts: int
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def fitted(self, width: int) -> list[Table]:
        """For printing on so many characters: as many tables as it takes, each with the columns that hold text.

        Words and numbers stay whole, and a name goes on in the next line after a separator. Where a single word is
        wider than there is room for, it is folded.
        """
        from rich.markup import escape
        from rich.table import Table

        columns = [list(column) for column in zip(self.columns, *self.rows, strict=True)]
        wrapped = [
            [at_separators(cell, _NAME_WIDTH if n < self.texts or cell is column[0] else width) for cell in column]
            for n, column in enumerate(columns)
        ]
        tables: list[Table] = []
        for numbers in self._groups([max(map(_width, column)) for column in wrapped], width):
            table = Table(title=self.title if not tables else None, title_justify="left")
            for n in (*range(self.texts), *numbers):
                table.add_column(escape(wrapped[n][0]), justify="left" if n < self.texts else "right", overflow="fold")
            for row in zip(*(wrapped[n][1:] for n in (*range(self.texts), *numbers)), strict=True):
                table.add_row(*map(escape, row))
            tables.append(table)
        return tables

    def _groups(self, widths: Sequence[int], width: int) -> Iterator[range]:
        """Ranges of columns of numbers that fit beside those of text, at least one each."""
        frame = 3  # of a column: two spaces and a line
        room = width - 1 - sum(each + frame for each in widths[: self.texts])
        first = self.texts
        while True:
            end, taken = first, 0
            while end < len(widths) and (end == first or taken + widths[end] + frame <= room):
                taken += widths[end] + frame
                end += 1
            yield range(first, end)
            if end == len(widths):
                return
            first = end


_NAME_WIDTH = 16
"""Of a name in a table, where its words are not longer."""


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


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
