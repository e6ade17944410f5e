"""The quality report as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlhf_envs.feedback.quality.report import QualityReport
from rlhf_envs.feedback.quality.sentences import MEANINGS, NO_WORRY, worries
from rlhf_envs.feedback.quality.table import COLUMNS, UNKNOWN, alpha_sentence, cycle_lines, cycle_sentence, rows

_NARROWEST = 12
"""Characters in which the figures of an annotator can be read, most of them unbroken."""

_FRAME = 3
"""Characters that a column takes beside what stands in it."""


def print_quality(report: QualityReport, console: Console | None = None) -> None:
    """Print a report: a column for each annotator, what deserves a look, circles of preferences, what it all means."""
    console = console or Console()
    if not report.answers:
        console.print("Nobody has answered yet, so there is nothing to report on.")
        return
    annotators = len(report.annotators)
    console.print(
        f"{report.answers:,} answers by {annotators} annotator{'' if annotators == 1 else 's'}", highlight=False
    )
    for table in _tables(report, console.width):
        console.print(table)
    console.print(alpha_sentence(report), highlight=False)
    console.print()
    for sentence in worries(report) or [NO_WORRY]:
        console.print(f"- {escape(sentence)}", highlight=False)
    console.print()
    console.print(cycle_sentence(report), highlight=False)
    for line in cycle_lines(report):
        console.print(f"  {escape(line)}", highlight=False)
    console.print()
    for name, meaning in MEANINGS.items():
        console.print(f"[bold]{name}[/bold]  [dim]{escape(meaning)}[/dim]", highlight=False)


def _tables(report: QualityReport, width: int) -> list[Table]:
    """Figures as rows and annotators as columns, in as many tables as it takes to fit the width."""
    heading, *figures = zip(COLUMNS, *rows(report), strict=True)
    known = [figure for figure in figures if any(cell != UNKNOWN for cell in figure[1:])]
    names = max(len(figure[0]) for figure in (heading, *known))
    beside = max((width - names - _FRAME - 1) // (_NARROWEST + _FRAME), 1)
    return [_table(heading, known, slice(first, first + beside)) for first in range(1, len(heading), beside)]


def _table(heading: tuple[str, ...], figures: list[tuple[str, ...]], annotators: slice) -> Table:
    table = Table(heading[0])
    for name in heading[annotators]:
        table.add_column(escape(name), justify="right", overflow="fold")
    for figure in figures:
        table.add_row(figure[0], *(escape(cell) for cell in figure[annotators]))
    return table
