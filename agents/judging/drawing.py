"""The charts of a judgement as SVG text that follows the page: its colours, light or dark, and its font."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from agents.judging.judgement import Judgement
from agents.svg import hex_color, page_style, to_svg
from rlhf_envs.envs.palette import LIGHT

WIDTH = 4.9
_ROW = 0.4


def win_rates(found: Judgement) -> str:
    """How often the first of each two policies was preferred, with 95% intervals, beside the line of chance."""
    rows = [
        (f"{found.name(pair.first)} over {found.name(pair.second)}", pair.rate, pair.interval)
        for pair in found.pairs
        if pair.rate is not None and pair.interval is not None
    ]
    with page_style():
        figure, axes = _rows([name for name, _, _ in rows])
        axes.axvline(0.5, color=hex_color(LIGHT.muted), linewidth=0.8, linestyle=(0, (4, 3)))
        for place, (_, rate, interval) in enumerate(rows):
            decided = not interval[0] <= 0.5 <= interval[1]
            _mark(axes, place, rate, interval, decided, f"{rate:.0%}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("preferred, with 95% interval")
        return to_svg(figure, "win-rates", "How often each policy was preferred to each other")


def scores(found: Judgement) -> str:
    """All policies on one scale, best first, with 95% intervals."""
    with page_style():
        figure, axes = _rows([policy.name for policy in found.policies])
        axes.axvline(0.0, color=hex_color(LIGHT.muted), linewidth=0.8, linestyle=(0, (4, 3)))
        for place, policy in enumerate(found.policies):
            _mark(axes, place, policy.score, policy.interval, place == 0, f"{policy.score:+.1f}")
        beside = "the mean of all" if found.reference is None else found.reference
        axes.set_xlabel(f"log-odds of being preferred to {beside}")
        return to_svg(figure, "scores", "Scores of all policies on one scale")


def _rows(names: Sequence[str]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 0.7 + _ROW * len(names)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.7)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _mark(axes: Axes, place: int, value: float, interval: tuple[float, float], strong: bool, label: str) -> None:
    color = hex_color(LIGHT.accent if strong else LIGHT.muted)
    axes.plot(interval, [place, place], color=color, linewidth=2.6, alpha=0.4, solid_capstyle="round")
    axes.plot([value], [place], "o", color=color, markersize=6)
    axes.annotate(label, (value, place), (0, 6), textcoords="offset points", ha="center", color=color)
