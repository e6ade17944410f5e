"""Shows how far a run is: a bar on a terminal, and a line now and then where the output goes to a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 30.0


class ProgressDisplay:
    """How many of a run's steps are done, with time left, and what it is doing.

    Args:
        total: steps of the whole run.
        console: where to show it.
    """

    def __init__(self, total: int, console: Console) -> None:
        self._total = total
        self._console = console
        self._completed = 0
        self._next_line_at = 0.0
        self._bar = Progress(
            TextColumn("{task.percentage:3.0f}%"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("collecting the first rollout", total=total)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it as long as the context lasts."""
        with self._bar:
            yield

    def update(self, description: str, completed: int | None = None) -> None:
        """Say what the run is doing.

        Args:
            description: a few words.
            completed: steps done so far; as before where None.
        """
        self._completed = self._completed if completed is None else completed
        self._bar.update(self._task, completed=self._completed, description=description)
        if not self._console.is_terminal and time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + _SECONDS_BETWEEN_LINES
            share = min(self._completed / self._total, 1.0)
            line = f"{share:4.0%} {self._completed:,} of {self._total:,} steps: {description}"
            self._console.print(line, highlight=False, soft_wrap=True)
