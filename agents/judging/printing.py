"""A judgement as tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agents.judging.judgement import Judgement
from agents.judging.pairs import PairFigures
from agents.judging.wording import agreement_sentence, counts_sentence, percent, scale_sentence


def print_judgement(found: Judgement, console: Console | None = None) -> None:
    """Print who was preferred to whom, the scores of all, who said so, and how well the reward model foresaw it."""
    console = console or Console()
    console.print(counts_sentence(found), highlight=False)
    if not found.answers:
        return
    console.print(_pairs(found))
    console.print(_scores(found))
    console.print(scale_sentence(found), highlight=False)
    console.print(_annotators(found))
    console.print(agreement_sentence(found), highlight=False)
    if found.model:
        console.print(_model(found))
        console.print(_reliability(found))


def _pairs(found: Judgement) -> Table:
    table = _table("Win rates", ("preferred", "to"), "rate", "95% interval", "won", "tied", "lost", "skipped")
    for pair in found.pairs:
        counts = (pair.wins, pair.ties, pair.losses, pair.skips)
        names = (escape(found.name(pair.first)), escape(found.name(pair.second)))
        table.add_row(*names, percent(pair.rate), _interval(pair), *(str(count) for count in counts))
    return table


def _scores(found: Judgement) -> Table:
    table = _table("Bradley-Terry scores", ("policy",), "score", "std error", "95% interval")
    for policy in found.policies:
        low, high = policy.interval
        if policy.name == found.reference:
            table.add_row(escape(policy.name), "0", "–", "–")
            continue
        table.add_row(
            escape(policy.name), f"{policy.score:+.2f}", f"{policy.std_error:.2f}", f"{low:+.2f} to {high:+.2f}"
        )
    return table


def _annotators(found: Judgement) -> Table:
    several = len(found.annotators) > 1
    pairs = found.pairs if several else ()
    headings = [f"{found.name(pair.first)} over {found.name(pair.second)}" for pair in pairs]
    table = _table(
        "Who judged", ("annotator",), "answers", "left", "seconds", *(["agrees"] if several else []), *headings
    )
    for name, one in found.annotators.items():
        seconds = "–" if one.figures.seconds is None else f"{one.figures.seconds[1]:.1f}"
        cells = [escape(name), str(one.figures.answers), percent(one.figures.left.value), seconds]
        if several:
            cells += [percent(one.figures.agrees.value), *(percent(pair.rate) for pair in one.pairs)]
        table.add_row(*cells)
    return table


def _model(found: Judgement) -> Table:
    every = found.model.values()
    table = _table("The preference model", ("",), *found.model)
    for name in ("accuracy", "precision", "recall", "f1"):
        label = "F1" if name == "f1" else name
        table.add_row(label, *(percent(getattr(one.scores, name)) for one in every))
    table.add_row("expected calibration error", *(f"{one.calibration.expected_error:.3f}" for one in every))
    table.add_row(
        "decided, ties, skips", *(f"{one.scores.decided}, {one.scores.ties}, {one.scores.skips}" for one in every)
    )
    return table


def _reliability(found: Judgement) -> Table:
    table = _table("Its reliability", ("on", "predicted “right”"), "mean", "answered “right”", "answers")
    for name, figures in found.model.items():
        for one in figures.calibration.bins:
            between = f"{one.lower:.0%} to {one.upper:.0%}"
            table.add_row(name, between, percent(one.predicted), percent(one.observed), str(one.count))
    return table


def _table(title: str, names: tuple[str, ...], *figures: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    for figure in figures:
        table.add_column(escape(figure), justify="right")
    return table


def _interval(pair: PairFigures) -> str:
    return "–" if pair.interval is None else f"{percent(pair.interval[0])} to {percent(pair.interval[1])}"
