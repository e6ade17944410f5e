"""A judgement as tables on the terminal, and as a page that loads nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from markupsafe import Markup
from rich.console import Console

from rlhf_envs.envs.palette import DARK, LIGHT, css_colors
from rlhf_envs.evaluation.judging.scores import Judgement
from rlhf_envs.files import write_atomically
from rlhf_envs.report import charts
from rlhf_envs.templates import render
from rlhf_envs.terminal import TextTable, counted


def print_judgement(found: Judgement, console: Console | None = None) -> None:
    """Print win rates, scores, annotators, and how well the reward model predicts them."""
    console = console or Console()
    console.print(counts_sentence(found), highlight=False)
    if not found.answers:
        return
    sentences = {"scores": scale_sentence(found), "annotators": agreement_sentence(found)}
    for name, table in _tables(found).items():
        console.print(*table.fitted(console.width), sep="\n")
        if name in sentences:
            console.print(sentences[name], highlight=False)


def write_judgement(found: Judgement, path: Path) -> Path:
    """Write the page and return its path; an older one stays until the new one is complete."""
    judged = any(pair.rate is not None for pair in found.pairs)
    diagram = next(reversed(list(found.model.items())), None)
    page = render(
        "rlhf_envs.report",
        "judgement.html",
        light=css_colors(LIGHT),
        dark=css_colors(DARK),
        found=found,
        tables=_tables(found),
        counts=counts_sentence(found),
        scale=scale_sentence(found),
        agreement=agreement_sentence(found),
        win_rates=Markup(charts.win_rates(found)) if judged else None,
        scores=Markup(charts.policy_scores(found)) if judged else None,
        calibrated_on=None if diagram is None else diagram[0],
        reliability=None if diagram is None else Markup(charts.reliability(diagram[1].calibration)),
    )
    return write_atomically(path, page)


def counts_sentence(found: Judgement) -> str:
    """How many answers there are, by how many annotators, and how many are missing or not counted."""
    if not found.answers:
        return f"These policies have not been judged in {found.env} yet; {_comparisons(found.open)} open."
    people = f"{len(found.annotators)} annotator{'' if len(found.annotators) == 1 else 's'}"
    ties, skips = sum(pair.ties for pair in found.pairs), sum(pair.skips for pair in found.pairs)
    judged = f"{_answers(found.answers)} by {people} about {len(found.policies)} policies in {found.env}"
    parts = [f"{judged}: {ties} called both equally good, which counts as half a win for each, {skips} could not tell."]
    if found.open:
        parts.append(f"{_comparisons(found.open)} open.")
    if found.other_answers:
        verb = "is" if found.other_answers == 1 else "are"
        parts.append(f"{_answers(found.other_answers)} about other policies {verb} left out.")
    return " ".join(parts)


def scale_sentence(found: Judgement) -> str:
    """What a score means."""
    zero = "the mean of all" if found.reference is None else found.reference
    return (
        f"Scores are log-odds of being preferred, {zero} being 0: one that is 1 higher wins 73% of comparisons, 2 "
        "higher 88%, 3 higher 95%."
    )


def agreement_sentence(found: Judgement) -> str:
    """How far annotators agree."""
    agreed = found.agreement
    if not agreed.shared:
        return "No two annotators judged the same clips, so their agreement is not known (--overlap 2)."
    alike, compared = sum(pair.alike for pair in agreed.pairs), sum(pair.compared for pair in agreed.pairs)
    alpha = "" if agreed.alpha is None else f" Krippendorff's alpha is {agreed.alpha:.2f}, Gwet's AC1 {agreed.ac1:.2f}."
    return f"Where two annotators judged the same clips, they said the same in {alike} of {compared} cases.{alpha}"


def _tables(found: Judgement) -> dict[str, TextTable]:
    columns = ["preferred", "to", "rate", "95% interval", "won", "tied", "lost", "skipped"]
    tables = {"pairs": TextTable("Win rates", 2, columns, list(_pair_rows(found)))}
    columns = ["policy", "score", "std error", "95% interval"]
    tables["scores"] = TextTable("Bradley-Terry scores", 1, columns, list(_score_rows(found)))
    tables["annotators"] = _annotators(found)
    if found.model:
        names = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
        every = list(found.model.values())
        rows = [[title, *(_percent(getattr(one.scores, name)) for one in every)] for name, title in names.items()]
        rows.append(["expected calibration error", *(f"{one.calibration.expected_error:.3f}" for one in every)])
        counts = [f"{one.scores.decided}, {one.scores.ties}, {one.scores.skips}" for one in every]
        rows.append(["decided, ties, skips", *counts])
        tables["model"] = TextTable("The preference model", 1, ["figure", *found.model], rows)
        columns = ["on", "predicted “right”", "mean", "answered “right”", "answers"]
        tables["bins"] = TextTable("Its reliability", 2, columns, list(_bin_rows(found)))
    return tables


def _pair_rows(found: Judgement) -> Iterator[list[str]]:
    for pair in found.pairs:
        interval = "–" if pair.interval is None else f"{_percent(pair.interval[0])} to {_percent(pair.interval[1])}"
        counts = (pair.wins, pair.ties, pair.losses, pair.skips)
        yield [found.name(pair.first), found.name(pair.second), _percent(pair.rate), interval, *map(str, counts)]


def _score_rows(found: Judgement) -> Iterator[list[str]]:
    for policy in found.policies:
        if policy.name == found.reference:
            yield [policy.name, "0", "–", "–"]
        else:
            low, high = policy.interval
            yield [policy.name, f"{policy.score:+.2f}", f"{policy.std_error:.2f}", f"{low:+.2f} to {high:+.2f}"]


def _annotators(found: Judgement) -> TextTable:
    several = len(found.annotators) > 1
    rows = []
    for name, one in found.annotators.items():
        seconds = "–" if one.seconds is None else f"{one.seconds[1]:.1f}"
        row = [name, str(one.answers), _share(one.left.value, one.left.of), seconds]
        if several:
            pairs = [_share(pair.rate, pair.comparisons) for pair in found.pairs_by_annotator[name]]
            row += [_share(one.agrees.value, one.agrees.of), *pairs]
        rows.append(row)
    pairs = [f"{found.name(pair.first)} over {found.name(pair.second)}" for pair in found.pairs]
    columns = ["annotator", "answers", "left", "seconds", *(["agrees", *pairs] if several else [])]
    return TextTable("Who judged", 1, columns, rows)


def _bin_rows(found: Judgement) -> Iterator[list[str]]:
    for name, one in found.model.items():
        for bin in one.calibration.bins:
            between = f"{bin.lower:.0%} to {bin.upper:.0%}"
            yield [name, between, _percent(bin.predicted), _percent(bin.observed), str(bin.count)]


def _percent(share: float | None) -> str:
    return "–" if share is None or math.isnan(share) else f"{share:.0%}"


def _share(share: float | None, of: int) -> str:
    """A percentage with the number that it is of, which may be few."""
    return _percent(share) if share is None else f"{_percent(share)} of {of:,}"


def _answers(count: int) -> str:
    return counted(count, "answer")


def _comparisons(count: int) -> str:
    return "1 comparison is" if count == 1 else f"{count:,} comparisons are"
