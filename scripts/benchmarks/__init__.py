"""What `python -m scripts.benchmark` measures: benchmarks are dataclasses of settings that measure and tabulate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

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
