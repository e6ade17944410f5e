"""The quality report as a file: one page that loads nothing from elsewhere, or its picture alone."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rlhf_envs.envs.palette import THEMES, Palette, css_colors, hex_color
from rlhf_envs.feedback.quality.annotators import TOO_FAST, AnnotatorFigures, Share
from rlhf_envs.feedback.quality.report import (
    COLUMNS,
    NO_ANSWERS,
    NO_WARNINGS,
    QualityReport,
    agreement_sentence,
    cycle_lines,
    cycle_sentence,
    error_rate_sentence,
    errs_often,
    is_inconsistent,
    meanings,
    percent,
    prefers_a_side,
    quality_warnings,
    table_rows,
)
from rlhf_envs.files import write_atomically
from rlhf_envs.templates import render

MOST_ROWS = 24
"""Annotators that one picture shows, those with the most answers."""

_ROW_INCHES = 0.42
_MARGIN_INCHES = 1.25
_MOST_NUMBERS = 5
_MOST_NAMES_UPRIGHT = 5

_DOTS_PER_INCH = 144


def write_quality_report(report: QualityReport, path: str | os.PathLike[str]) -> Path:
    """Write a report as a page (.html, in light and dark), its picture alone (.png or .svg, light), or figures (.json).

    The file appears under its name only when it is complete.

    Returns:
        The path.

    Raises:
        ValueError: if the path ends in something else, or there are no answers to report on.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".html", ".png", ".svg", ".json"):
        raise ValueError(f"A quality report is written as .html, .png, .svg or .json, not as {path.name!r}.")
    if not report.answers:
        raise ValueError(NO_ANSWERS)
    if kind == ".json":
        return write_atomically(path, json.dumps(report.to_json(), indent=2) + "\n")
    return write_atomically(path, _page(report) if kind == ".html" else _picture(report, THEMES["light"], kind[1:]))


def _page(report: QualityReport) -> str:
    pictures = {name: base64.b64encode(_picture(report, palette, "svg")).decode() for name, palette in THEMES.items()}
    return render(
        "rlhf_envs.feedback.quality",
        "quality.html",
        themes={name: css_colors(palette) for name, palette in THEMES.items()},
        pictures=pictures,
        columns=COLUMNS,
        rows=table_rows(report),
        error_rates=error_rate_sentence(report),
        warnings=quality_warnings(report) or [NO_WARNINGS],
        agreement=agreement_sentence(report),
        cycles=cycle_sentence(report),
        cycle_lines=cycle_lines(report),
        meanings=meanings(report),
        answers=report.answers,
    )


def _picture(report: QualityReport, palette: Palette, kind: str) -> bytes:
    written = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    draw_quality(report, palette).savefig(written, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    return written.getvalue()


def draw_quality(report: QualityReport, palette: Palette) -> Figure:
    """Draw consistency, left share, pace, agreement and error rates of everybody.

    Raises:
        ValueError: if there are no answers.
    """
    if not report.answers:
        raise ValueError(NO_ANSWERS)
    with rc_context(_style(palette)):
        busiest = sorted(report.annotators, key=lambda name: -report.annotators[name].answers)[:MOST_ROWS]
        names = sorted(busiest)
        height = _MARGIN_INCHES + _ROW_INCHES * max(len(names), 3)
        figure = Figure(figsize=(12.5, height), layout="constrained", facecolor=hex_color(palette.background))
        panels = figure.subplots(1, 5, width_ratios=[3, 3, 3, 3, 3.4])
        figures = [report.annotators[name] for name in names]
        _shares(
            panels[0], "answered alike when repeated", [one.consistent for one in figures], is_inconsistent, palette
        )
        _shares(panels[1], "chose left", [one.left for one in figures], prefers_a_side, palette)
        _error_rates(panels[2], report, names, palette)
        _paces(panels[3], figures, palette)
        _matrix(panels[4], report, names, palette)
        for panel in panels[:4]:
            panel.set_ylim(len(names) - 0.5, -0.5)
            panel.set_yticks(range(len(names)), names if panel is panels[0] else [])
            panel.tick_params(axis="y", length=0)
        return figure


def _shares(
    panel: Axes, title: str, shares: Sequence[Share], is_unusual: Callable[[Share], bool], palette: Palette
) -> None:
    panel.axvline(0.5, color=hex_color(palette.line), linewidth=1, linestyle=(0, (4, 3)))
    for row, share in enumerate(shares):
        if share.value is None or share.interval is None:
            _not_known(panel, row, palette)
        else:
            _dot(panel, row, share.value, share.interval, is_unusual(share), palette)
    _percent_axis(panel, title, 1.0)


def _error_rates(panel: Axes, report: QualityReport, names: Sequence[str], palette: Palette) -> None:
    for row, name in enumerate(names):
        estimate = report.reliability.get(name)
        if estimate is None or estimate.measured_error_rate is None or estimate.error_interval is None:
            _not_known(panel, row, palette)
        else:
            _dot(panel, row, estimate.measured_error_rate, estimate.error_interval, errs_often(estimate), palette)
    _percent_axis(panel, "wrong about clear differences", 0.5)


def _dot(panel: Axes, row: int, value: float, ends: tuple[float, float], is_unusual: bool, palette: Palette) -> None:
    """A value with its 95% interval; a red ring where it deserves a look."""
    panel.plot(ends, [row, row], color=hex_color(palette.muted), linewidth=1.6, solid_capstyle="round")
    color = hex_color(palette.bad if is_unusual else palette.accent)
    face = hex_color(palette.background) if is_unusual else color
    panel.plot([value], [row], "o", markersize=7, color=color, markerfacecolor=face, markeredgewidth=2, clip_on=False)


def _not_known(panel: Axes, row: int, palette: Palette) -> None:
    across = panel.get_yaxis_transform()
    panel.text(
        0.5, row, "not known", color=hex_color(palette.muted), ha="center", va="center", fontsize=8, transform=across
    )


def _percent_axis(panel: Axes, title: str, top: float) -> None:
    panel.set_xlim(0, top)
    panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.set_title(title, loc="left")


def _paces(panel: Axes, figures: Sequence[AnnotatorFigures], palette: Palette) -> None:
    """How long answers took, as one small histogram for each annotator."""
    edges = np.arange(0, 10.5, 0.5)
    panel.axvspan(0, TOO_FAST, color=hex_color(palette.bad), alpha=0.12, linewidth=0)
    for row, one in enumerate(figures):
        counts = np.array(one.seconds_histogram[:-1], float)
        if one.seconds is None:
            continue
        panel.stairs(
            row + 0.4 - 0.8 * counts / max(counts.max(), 1),
            edges,
            baseline=row + 0.4,
            fill=True,
            color=hex_color(palette.others[1]),
            alpha=0.75,
        )
        panel.plot([min(one.seconds[1], 10)] * 2, [row - 0.4, row + 0.4], color=hex_color(palette.ink), linewidth=1.2)
    panel.set_xlim(0, 10)
    panel.set_title("seconds to answer", loc="left")


def _matrix(panel: Axes, report: QualityReport, names: Sequence[str], palette: Palette) -> None:
    """Share of shared pairs answered alike, for each two annotators."""
    shares, compared = np.full((len(names), len(names)), np.nan), np.zeros((len(names), len(names)), int)
    for pair in report.agreement.pairs:
        if pair.first in names and pair.second in names:
            row, column = names.index(pair.first), names.index(pair.second)
            shares[row, column] = shares[column, row] = pair.share
            compared[row, column] = compared[column, row] = pair.compared
    blend = LinearSegmentedColormap.from_list("agreement", [hex_color(palette.surface), hex_color(palette.good)])
    panel.imshow(np.ma.masked_invalid(shares), cmap=blend, vmin=0.4, vmax=1.25, aspect="auto")
    if len(names) <= _MOST_NUMBERS:
        for row, column in np.argwhere(np.isfinite(shares)):
            text = f"{percent(shares[row, column])}\nof {compared[row, column]}"
            panel.text(column, row, text, ha="center", va="center", fontsize=7.5)
    slanted = len(names) > _MOST_NAMES_UPRIGHT
    panel.set_xticks(range(len(names)), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    panel.set_yticks([])
    panel.tick_params(length=0)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    panel.set_title("agree with each other", loc="left")


def _style(palette: Palette) -> Any:
    return {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.facecolor": hex_color(palette.background),
        "axes.edgecolor": hex_color(palette.line),
        "axes.titlecolor": hex_color(palette.ink),
        "text.color": hex_color(palette.ink),
        "xtick.color": hex_color(palette.muted),
        "ytick.color": hex_color(palette.line),
        "ytick.labelcolor": hex_color(palette.ink),
        "text.parse_math": False,
        "svg.hashsalt": "quality",
    }
