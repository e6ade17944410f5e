"""What `python -m scripts.benchmark` measures: benchmarks are dataclasses of settings that measure and tabulate.

Their tables are Markdown; how numbers are written in them is defined here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from rlhf_envs.envs.palette import DARK, LIGHT, css_colors

Log = Callable[[str], None]
"""Is called with a line of text now and then, about how far a measurement is."""


class Benchmark(Protocol):
    """A frozen dataclass whose fields are the settings, named on the command line.

    Attributes:
        name: of the subcommand, of the section in results.json and of the place in docs/benchmarks.md.
    """

    name: ClassVar[str]

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Do the work and return every number as JSON values. Files go into the folder `out`.

        Raises:
            ValueError: if a setting is not possible; before any work is done.
        """
        ...

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """What `measure` returned, as Markdown."""
        ...


@runtime_checkable
class Illustrated(Protocol):
    """A benchmark with pictures for docs/benchmarks.md."""

    @staticmethod
    def draw(measured: dict[str, Any], folder: Path) -> dict[str, str]:
        """Write pictures of what `measure` returned into a folder; what each shows, by the name of its file."""
        ...


def require_positive(settings: object, *names: str) -> None:
    """Raise `ValueError` if one of these settings is less than 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(settings, name)}.")


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


def in_both_themes(svg: str) -> str:
    """A picture of `to_svg` as a file of its own, light or dark as its reader's system is."""
    light, dark = (";".join(f"--{name}:{value}" for name, value in css_colors(of).items()) for of in (LIGHT, DARK))
    style = f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}svg{{background:var(--surface)}}"
    return svg.replace(">", f"><style>{style}</style>", 1)


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
