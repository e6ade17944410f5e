"""The quality report as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlhf_envs.feedback.quality.report import QualityReport
from rlhf_envs.feedback.quality.sentences import MEANINGS, NO_WORRY, worries
from rlhf_envs.feedback.quality.table import COLUMNS, alpha_sentence, cycle_lines, cycle_sentence, rows


def print_quality(report: QualityReport, console: Console | None = None) -> None:
    """Print a report: a row for each annotator, what deserves a look, circles of preferences, and what it all means."""
    console = console or Console()
    if not report.answers:
        console.print("Nobody has answered yet, so there is nothing to report on.")
        return
    table = Table(title=f"{report.answers:,} answers by {len(report.annotators)}", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right")
    for row in rows(report):
        table.add_row(*(escape(cell) for cell in row))
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
