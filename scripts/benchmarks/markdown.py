"""Tables in Markdown, and how numbers are written in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

NOTHING = "–"
"""Is shown where there is no figure."""


def figure(value: float | None) -> str:
    """A number with about three significant digits."""
    if value is None:
        return NOTHING
    size = abs(value)
    return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


def mean_and_spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation of the values that are there; only the mean where they do not differ."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    mean, deviation = float(np.mean(known)), float(np.std(known))
    return figure(mean) if deviation == 0 else f"{figure(mean)} ± {figure(deviation)}"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table of rows, each its cells by column; the first column is aligned to the left, all others to the right."""
    columns = list(rows[0])
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *([row[name] for name in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_between_markers(path: Path, name: str, content: str) -> None:
    """Replace the text of a file between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: if the file is not there, or lacks the markers.
    """
    before, after = around_markers(path, name)
    path.write_text(f"{before}{content}\n{after}", encoding="utf-8")


def around_markers(path: Path, name: str) -> tuple[str, str]:
    """The text of a file before and after the place between these markers, the markers included.

    Raises:
        ValueError: if the file is not there, or lacks the markers.
    """
    if not path.is_file():
        raise ValueError(f"There is no {path} to write the tables into.")
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, opened, rest = path.read_text(encoding="utf-8").partition(start)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"{path} needs a line {start.strip()} and after it a line {end}; the table goes between them.")
    return before + start, end + after
