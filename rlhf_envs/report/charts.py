"""The charts of the reports as SVG, and how their numbers are written."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from textwrap import fill, shorten
from typing import Any, ParamSpec

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from rlhf_envs.envs.palette import LIGHT, css_colors
from rlhf_envs.evaluation.judging.scores import Judgement, wilson_interval
from rlhf_envs.evaluation.reward_model import RewardAgreement, TermCorrelation
from rlhf_envs.evaluation.scores import Estimate
from rlhf_envs.observations import named_arrays
from rlhf_envs.queries import AccuracySource
from rlhf_envs.rewards.metrics import Calibration
from rlhf_envs.segments import Segment

Row = Mapping[str, str]
_Arguments = ParamSpec("_Arguments")

_COLORS = css_colors(LIGHT)
_OTHERS = [color for name, color in _COLORS.items() if name.startswith("other-")]
STYLE: Any = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": _COLORS["line"],
    "axes.labelcolor": _COLORS["ink"],
    "text.color": _COLORS["ink"],
    "xtick.color": _COLORS["muted"],
    "ytick.color": _COLORS["muted"],
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "path.simplify": True,
}
"""Settings of matplotlib for pictures in the colours of the light theme, which `to_svg` makes those of the page."""

_DASHED: dict[str, Any] = {"color": _COLORS["muted"], "linewidth": 0.8, "linestyle": (0, (4, 3))}
_DOTS: dict[str, Any] = {"markersize": 2.6, "alpha": 0.45, "markeredgewidth": 0}
_WIDE, _MEDIUM, _NARROW = 6.6, 4.9, 3.9
_MOST_POINTS = 700
_MOST_LINES = 6
_MOST_INPUTS = 10
_NAME_WIDTH = 28
_SIGNIFICANT_DIGITS = 3


def to_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as an <svg> element whose colours are the page's custom properties (`css_colors`), light or dark.

    Args:
        figure: drawn in the colours of the light theme.
        name: unlike that of any other picture on the page.
        description: its text alternative.
    """
    with rc_context({"svg.hashsalt": name}):
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Ids are unique within a picture only, and a page holds many.
    text = re.sub(r'\bid="(?![a-z][0-9a-f]{10}")[^"]*"', "", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', f'<svg role="img" aria-label="{description}" \\1', text, count=1)
    text = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1)
    for color_name, value in _COLORS.items():
        text = text.replace(value, f"var(--{color_name})")
    return text


def _chart(name: str, description: str) -> Callable[[Callable[_Arguments, Figure]], Callable[_Arguments, str]]:
    """Makes a function that draws a figure into one that returns it as SVG."""

    def as_svg(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, str]:
        @wraps(draw)
        def drawn(*arguments: _Arguments.args, **keywords: _Arguments.kwargs) -> str:
            with rc_context(STYLE):
                return to_svg(draw(*arguments, **keywords), name, description)

        return drawn

    return as_svg


@_chart("learning-curves", "True and learned return over environment steps")
def learning_curves(rows: Sequence[Row], levels: Mapping[str, float]) -> Figure:
    """True and, where there is one, learned return over timesteps, each on its own axis, and below them the labels.

    Args:
        rows: of progress.csv.
        levels: true returns to compare with, as dashed lines by name.
    """
    steps, true = _column(rows, "timesteps"), _column(rows, "true_return_mean")
    learned, labels = _column(rows, "learned_return_mean"), _column(rows, "labels")
    has_labels = bool(np.nansum(labels) > 0)
    figure = Figure(figsize=(_WIDE, 3.9 if has_labels else 3.1), layout="constrained")
    panels = figure.subplots(
        2 if has_labels else 1, 1, sharex=True, squeeze=False, height_ratios=[4, 1][: 1 + has_labels]
    )
    top: Axes = panels[0, 0]
    for name, level in levels.items():
        top.axhline(level, **_DASHED)
        top.annotate(
            name,
            (1, level),
            (-3, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            color=_COLORS["muted"],
            fontsize=7.5,
        )
    top.plot(steps, true, color=_COLORS["accent"])
    top.set_ylabel("true return", color=_COLORS["accent"])
    if has_labels:
        right = top.twinx()
        right.spines["right"].set_visible(True)
        right.plot(steps, learned, color=_OTHERS[0], linewidth=1.1)
        right.set_ylabel("learned return", color=_OTHERS[0])
        bottom: Axes = panels[1, 0]
        bottom.fill_between(steps, labels, step="post", color=_COLORS["surface-strong"], linewidth=0)
        bottom.step(steps, labels, where="post", color=_COLORS["muted"], linewidth=1.1)
        bottom.set_ylabel("answers")
        bottom.set_ylim(bottom=0)
        bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    panels[-1, 0].set_xlabel("environment steps")
    panels[-1, 0].xaxis.set_major_formatter(FuncFormatter(_thousands))
    return figure


@_chart("over-kl", "True and learned return over the divergence from the pretrained policy")
def over_kl(rows: Sequence[Row]) -> Figure:
    """True and, where there is one, learned return over KL from the reference policy, and that over timesteps.

    The returns are over the square root of the divergence, in which over-optimisation of a learned reward is the
    clearest (Gao, Schulman & Hilton 2023, "Scaling laws for reward model overoptimization").

    Args:
        rows: of progress.csv; those with a divergence count.
    """
    steps, kl, coefficient = (_column(rows, name) for name in ("timesteps", "kl", "kl_coef"))
    figure = Figure(figsize=(_WIDE, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, color in ((left, "true", _COLORS["accent"]), (left.twinx(), "learned", _OTHERS[0])):
        values = _column(rows, f"{name}_return_mean")
        known = np.isfinite(values) & np.isfinite(kl)
        if not known.any():
            axes.set_axis_off()
            continue
        axes.spines["right"].set_visible(axes is not left)
        # Every fit gives the learned return another scale.
        changed = np.flatnonzero(np.diff(np.nan_to_num(_column(rows, "labels")[known]))) + 1
        parts = np.split(np.arange(known.sum()), changed if name == "learned" else [])
        for part in parts:
            distance, value = np.sqrt(kl[known])[part], values[known][part]
            axes.plot(distance, value, "o-", color=color, markersize=2.5, linewidth=0.7)
        axes.set_ylabel(f"{name} return", color=color)
    left.set_xlabel("√KL from the pretrained policy, nats per step")
    right.plot(steps, kl, color=_COLORS["ink"])
    right.set(xlabel="environment steps", ylabel="KL, nats per step", ylim=(0, None))
    right.xaxis.set_major_formatter(FuncFormatter(_thousands))
    if np.nanmin(coefficient) != np.nanmax(coefficient):
        beside = right.twinx()
        beside.spines["right"].set_visible(True)
        beside.plot(steps, coefficient, color=_COLORS["muted"], linewidth=1.1)
        beside.set_ylabel("coefficient", color=_COLORS["muted"])
    return figure


@_chart("policy-returns", "True returns of several policies")
def policy_returns(entries: Sequence[tuple[str, float, float]], highlighted: str) -> Figure:
    """Returns of several policies, (name, mean, standard deviation), on one scale, best first."""
    ordered = sorted(entries, key=lambda entry: -entry[1])
    figure, axes = _labelled_rows([name for name, _, _ in ordered], _NARROW)
    places = decimals(mean for _, mean, _ in ordered)
    for row, (name, mean, std) in enumerate(ordered):
        _draw_interval(axes, row, mean, (mean - std, mean + std), name == highlighted, rounded(mean, places))
    axes.set_xlabel("true return, mean and standard deviation")
    return figure


@_chart("accuracy", "Accuracy of the reward model over the number of answers")
def accuracy_curve(rows: Sequence[Row], source: AccuracySource = AccuracySource.HELD_OUT) -> Figure:
    """How well the reward model predicted answers that it was not trained on, over the number of labels."""
    figure = Figure(figsize=(_NARROW, 3.2), layout="constrained")
    axes: Axes = figure.subplots()
    labels = _column(rows, "labels")
    lowest = 1.0
    curves = [("test_accuracy", str(source), _COLORS["accent"])]
    if source is AccuracySource.HELD_OUT:
        curves.append(("held_out_accuracy", "labels that a member did not train on", _COLORS["muted"]))
    for name, title, color in curves:
        values = _column(rows, name)
        known = np.isfinite(values) & (labels > 0)
        if known.any():
            # The last row of each number of labels counts.
            x, last = np.unique(labels[known][::-1], return_index=True)
            axes.plot(x, values[known][::-1][last], "o-", markersize=3, label=title, color=color)
            lowest = min(lowest, float(values[known].min()))
    axes.axhline(0.5, color=_COLORS["line"], linewidth=0.8)
    axes.set_ylim(min(0.4, lowest - 0.04), 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("answers")
    axes.set_ylabel("accuracy")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center")
    return figure


@_chart("reliability", "Reliability diagram of the reward model")
def reliability(calibration: Calibration, fewest: int = 1) -> Figure:
    """The reliability diagram: how often "right" was the answer, against how likely the model said it was.

    Args:
        calibration: of the model.
        fewest: answers that a bin needs to be drawn; with its 95% interval (Wilson).
    """
    figure = Figure(figsize=(_NARROW, 2.8), layout="constrained")
    axes: Axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_COLORS["line"], linewidth=0.8)
    most = max((one.count for one in calibration.bins), default=1)
    for one in calibration.bins:
        height, width = 0.18 * one.count / most, one.upper - one.lower
        axes.bar(one.lower, height, width, align="edge", color=_COLORS["surface-strong"], linewidth=0)
        axes.annotate(str(one.count), (one.lower + width / 2, height), ha="center", va="bottom", fontsize=7)
    bins = [one for one in calibration.bins if one.count >= fewest]
    for one in bins:
        ends = wilson_interval(one.observed, one.count)
        axes.plot([one.predicted] * 2, ends, color=_COLORS["accent"], linewidth=2.6, alpha=0.4)
    predicted, observed = [one.predicted for one in bins], [one.observed for one in bins]
    axes.plot(predicted, observed, "o-", color=_COLORS["accent"], markersize=4)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="predicted probability of “right”", ylabel="answered “right”")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def measured_terms(terms: Mapping[str, TermCorrelation]) -> dict[str, TermCorrelation]:
    """Those that `tracked_terms` can draw: what a term or a reward that never changes correlates with is no number."""
    return {name: one for name, one in terms.items() if math.isfinite(one.learned) and math.isfinite(one.true)}


@_chart("tracked-terms", "Correlation of the learned and of the true reward with each named term")
def tracked_terms(terms: Mapping[str, TermCorrelation]) -> Figure:
    """How far the learned reward rises and falls with each of these terms of the true reward, beside that."""
    figure, axes = _labelled_rows([name.replace("_", " ") for name in terms], _NARROW)
    axes.axvline(0.0, color=_COLORS["line"], linewidth=0.8)
    for row, one in enumerate(terms.values()):
        axes.plot([one.true, one.learned], [row, row], color=_COLORS["line"], linewidth=2)
        axes.plot([one.true], [row], "o", color=_COLORS["muted"], markersize=6, label=None if row else "true reward")
        axes.plot(
            [one.learned], [row], "o", color=_COLORS["accent"], markersize=6, label=None if row else "learned reward"
        )
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel("correlation with the term, over steps")
    figure.legend(loc="outside lower center", ncols=2, handletextpad=0.2)
    return figure


@_chart("input-shares", "How much each input moves the learned reward")
def input_shares(shares: Mapping[str, float]) -> Figure:
    """By how much each input moves the learned reward of a step from that of an average one, the largest first."""
    shown = dict(list(shares.items())[:_MOST_INPUTS])
    figure, axes = _labelled_rows(list(shown), _MEDIUM)
    axes.barh(range(len(shown)), list(shown.values()), 0.5, color=_COLORS["accent"], linewidth=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("mean absolute share of a step's learned reward")
    return figure


@_chart("agreement", "Learned against true reward on fresh rollouts")
def agreement(agreements: Mapping[str, RewardAgreement]) -> Figure:
    """Learned against true reward, per step and per segment, a random few hundred of each kind of rollout."""
    figure = Figure(figsize=(_WIDE, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    rng = np.random.default_rng(0)
    colors = {"mixture": _COLORS["muted"], "policy": _COLORS["accent"]}
    for name, found in sorted(agreements.items()):
        for axes, true, learned in (
            (left, found.true_steps, found.learned_steps),
            (right, found.true_segments, found.learned_segments),
        ):
            some = rng.permutation(len(true))[:_MOST_POINTS]
            axes.plot(true[some], learned[some], "o", color=colors.get(name, _OTHERS[0]), label=name, **_DOTS)
    left.set(xlabel="true reward of a step", ylabel="learned reward")
    right.set(xlabel="true return of a segment", ylabel="learned return")
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, markerscale=1.8, handletextpad=0.2)
    return figure


def observations(segment: Segment, name: str) -> str:
    """The observed quantities that vary most in a segment, for environments that cannot be drawn.

    Args:
        segment: whose observations.
        name: of the picture, see `to_svg`.
    """

    @_chart(name, "Observations over the steps of a segment")
    def draw() -> Figure:
        figure = Figure(figsize=(_NARROW, 1.3), layout="constrained")
        axes: Axes = figure.subplots()
        parts = [array.reshape(len(segment), -1) for _, array in named_arrays(segment.observations)]
        flat = np.concatenate(parts, axis=1, dtype=np.float64)
        varied = np.argsort(-flat.std(axis=0), kind="stable")[:_MOST_LINES]
        for index, column in enumerate(sorted(varied.tolist())):
            color = _OTHERS[index % len(_OTHERS)]
            axes.plot(flat[:, column], color=color, linewidth=1.1)
            end = (len(flat) - 1, flat[-1, column])
            axes.annotate(str(column), end, (4, 0), textcoords="offset points", va="center", color=color, fontsize=7)
        axes.set_ylabel("observation")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        return figure

    return draw()


@_chart("win-rates", "How often each policy was preferred to each other")
def win_rates(found: Judgement) -> Figure:
    """How often the first of each two policies was preferred, with 95% intervals, beside the line of chance."""
    rows = [
        (f"{found.name(pair.first)} over {found.name(pair.second)}", pair.rate, pair.interval)
        for pair in found.pairs
        if pair.rate is not None and pair.interval is not None
    ]
    figure, axes = _labelled_rows([name for name, _, _ in rows], _MEDIUM)
    axes.axvline(0.5, **_DASHED)
    for row, (_, rate, interval) in enumerate(rows):
        decided = not interval[0] <= 0.5 <= interval[1]
        _draw_interval(axes, row, rate, interval, decided, f"{rate:.0%}")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("preferred, with 95% interval")
    return figure


@_chart("scores", "Scores of all policies on one scale")
def policy_scores(found: Judgement) -> Figure:
    """All policies on one scale, best first, with 95% intervals."""
    figure, axes = _labelled_rows([policy.name for policy in found.policies], _MEDIUM)
    axes.axvline(0.0, **_DASHED)
    for row, policy in enumerate(found.policies):
        _draw_interval(axes, row, policy.score, policy.interval, row == 0, f"{policy.score:+.1f}")
    zero = "the mean of all" if found.reference is None else found.reference
    axes.set_xlabel(f"log-odds of being preferred to {zero}")
    return figure


def compared_returns(groups: Sequence[tuple[str, Sequence[float], Estimate]], number: int) -> str:
    """True returns of runs by group, (name, returns, their interquartile mean), each group a row.

    Args:
        groups: in order.
        number: of the picture on its page.
    """

    @_chart(f"compared-returns-{number}", "True returns of runs by their settings")
    def draw() -> Figure:
        figure, axes = _labelled_rows([fill(name, _NAME_WIDTH) for name, _, _ in groups], _MEDIUM)
        places = decimals(estimate.value for _, _, estimate in groups)
        for row, (_, returns, estimate) in enumerate(groups):
            axes.plot(returns, [row + 0.22] * len(returns), "o", color=_COLORS["muted"], markersize=3.5, alpha=0.7)
            _draw_interval(axes, row, estimate.value, estimate.ends, row == 0, rounded(estimate.value, places))
        axes.set_xlabel("true return")
        return figure

    return draw()


def compared_curves(curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]], number: int) -> str:
    """True returns of training episodes over timesteps, as mean and range over the runs of each group.

    Args:
        curves: (timesteps, true return) pairs of each run, by group.
        number: of the picture on its page.
    """

    @_chart(f"compared-curves-{number}", "True returns over environment steps by settings")
    def draw() -> Figure:
        figure = Figure(figsize=(_MEDIUM, 3.1), layout="constrained")
        axes: Axes = figure.subplots()
        colors = [_COLORS["accent"], *_OTHERS]
        for place, (name, runs) in enumerate(curves.items()):
            if not runs:
                continue
            first, last = max(run[0][0] for run in runs), min(run[-1][0] for run in runs)
            steps = np.linspace(first, max(last, first), 200)
            values = np.stack([np.interp(steps, *np.array(run).T) for run in runs])
            color = colors[place % len(colors)]
            axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)
            axes.plot(steps, values.mean(axis=0), color=color, label=shorten(name, 60, placeholder=" …"))
        axes.set(xlabel="environment steps", ylabel="true return")
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
        if len(curves) > 1:
            figure.legend(loc="outside lower center")
        return figure

    return draw()


def decimals(values: Iterable[float | None]) -> int:
    """How many decimals give the largest of some figures three significant digits; None and NaN do not count."""
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(sizes, default=0.0)
    if largest == 0:
        return 0
    # As it comes out when rounded: 99.96 is shown as 100.
    exponent = int(f"{largest:.{_SIGNIFICANT_DIGITS - 1}e}".partition("e")[2])
    return max(_SIGNIFICANT_DIGITS - 1 - exponent, 0)


def rounded(value: float | None, places: int) -> str:
    """A figure with so many decimals, such as "1,234" or "-0.25"; a dash where it is None or not finite."""
    if value is None or not math.isfinite(value):
        return "–"
    # Adding 0 turns a negative zero into a plain one.
    return f"{round(value, places) + 0.0:,.{places}f}"


def _labelled_rows(names: Sequence[str], width: float) -> tuple[Figure, Axes]:
    """A figure with one named row for each value, the first on top."""
    figure = Figure(figsize=(width, 0.7 + 0.4 * len(names)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.7)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _draw_interval(axes: Axes, row: int, value: float, ends: tuple[float, float], strong: bool, label: str) -> None:
    color = _COLORS["accent" if strong else "muted"]
    axes.plot(ends, [row, row], color=color, linewidth=2.6, alpha=0.4, solid_capstyle="round")
    axes.plot([value], [row], "o", color=color, markersize=6)
    axes.annotate(label, (value, row), (0, 6), textcoords="offset points", ha="center", color=color)


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([float(row[name]) if row.get(name) else np.nan for row in rows], dtype=np.float64)


def _thousands(value: float, position: int | None = None) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e3 else f"{value:g}"
