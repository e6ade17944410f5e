"""The rewards of an episode as they come, drawn in strips below its picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color

Floats = NDArray[np.float64]

_MARGIN, _LABELS, _VALUES = 12, 124, 52
_GRAPH_HEIGHT, _LINE_HEIGHT, _ROW_HEIGHT, _GAP = 72, 17, 15, 9
_SMALLEST_RANGE = 1e-3


@dataclass
class Trace:
    """What was rewarded in each step so far.

    Attributes:
        true: the true reward.
        learned, spread: the learned reward and the ensemble's uncertainty; empty without a reward model.
        terms: what each named term adds to the true reward.
    """

    true: list[float] = field(default_factory=list)
    learned: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self, true: float, terms: Mapping[str, float], learned: float | None = None, spread: float | None = None
    ) -> None:
        """Append one step."""
        steps = len(self.true)
        self.true.append(true)
        if learned is not None and spread is not None:
            self.learned.append(learned)
            self.spread.append(spread)
        for name in dict.fromkeys([*self.terms, *terms]):
            # A term that the environment names only now and then was 0 in the other steps.
            self.terms.setdefault(name, [0.0] * steps).append(float(terms.get(name, 0.0)))


class StripChart:
    """Draws a trace: a graph of the rewards on top, and a strip of colour for each named term below.

    Lengths are in units of a picture 600 wide, as on `Canvas`.

    Args:
        horizon: how many steps the time axis holds; a longer trace scrolls.
        terms: the names of the strips, in order.
        learned: whether there is a learned reward to draw.
    """

    def __init__(self, horizon: int, terms: list[str], learned: bool) -> None:
        self.horizon = max(horizon, 2)
        self.terms = terms
        self.learned = learned
        self.height = 2 * _GAP + _GRAPH_HEIGHT + (_GAP + _ROW_HEIGHT * len(terms) if terms else 0)

    def draw(self, canvas: Canvas, top: float, trace: Trace) -> None:
        """Draw the trace with its upper edge at y = `top`, across the whole width of the canvas."""
        width = canvas.width / canvas.scale
        colors = canvas.colors
        canvas.rectangle(0, top, width, self.height, colors.surface)
        canvas.line((0, top), (width, top), colors.line)
        left, right = _LABELS, width - _VALUES - _MARGIN
        canvas.rectangle(left, top + _GAP, right - left, _GRAPH_HEIGHT, colors.background)
        steps = np.arange(max(len(trace.true) - self.horizon, 0), len(trace.true))
        places = left + (steps - (steps[0] if len(steps) else 0) + 0.5) / self.horizon * (right - left)
        self._draw_graph(canvas, top + _GAP, places, trace)
        y = top + 2 * _GAP + _GRAPH_HEIGHT
        largest = max((abs(value) for values in trace.terms.values() for value in values), default=0.0)
        for name in self.terms:
            self._draw_strip(canvas, y, places, name, trace.terms.get(name, []), max(largest, _SMALLEST_RANGE))
            y += _ROW_HEIGHT
        if len(places):
            bottom = y if self.terms else top + _GAP + _GRAPH_HEIGHT
            canvas.line((places[-1], top + _GAP), (places[-1], bottom - 3), colors.muted)

    def _draw_graph(self, canvas: Canvas, top: float, places: Floats, trace: Trace) -> None:
        colors = canvas.colors
        right = canvas.width / canvas.scale - _MARGIN
        rows = [("true reward", trace.true, colors.muted)]
        if self.learned:
            rows.insert(0, ("learned reward", trace.learned, colors.accent))
        for row, (label, values, color) in enumerate(rows):
            y = top + 12 + _LINE_HEIGHT * row
            canvas.text(_MARGIN, y, label, color, size=12)
            if values:
                canvas.text(right, y, _signed(values[-1]), color, size=12, anchor="right")
        if self.learned:
            canvas.text(_MARGIN, top + 10 + _LINE_HEIGHT * 2, "each to its own scale", colors.muted, size=10)
            y = top + 12 + _LINE_HEIGHT * 3 - 4
            canvas.text(_MARGIN, y, "spread", colors.muted, size=12)
            if trace.spread:
                canvas.text(right, y, f"±{trace.spread[-1]:.2f}", colors.muted, size=12, anchor="right")
        if len(places) < 2:
            return
        if self.learned:
            learned, spread = np.array(trace.learned), np.array(trace.spread)
            low, high = _range(np.concatenate([learned - spread, learned + spread]))
            shown = slice(-len(places), None)
            over = _heights(top, (learned + spread)[shown], low, high)
            under = _heights(top, (learned - spread)[shown], low, high)
            outline = [*zip(places, over, strict=True), *zip(places[::-1], under[::-1], strict=True)]
            canvas.polygon(outline, _between(colors.background, colors.accent, 0.25))
            line = _heights(top, learned[shown], low, high)
            canvas.polyline(list(zip(places, line, strict=True)), colors.accent, 2)
        # The true reward has a scale of its own: only how it rises and falls can be compared.
        true = np.array(trace.true)
        heights = _heights(top, true[-len(places) :], *_range(true))
        canvas.polyline(list(zip(places, heights, strict=True)), colors.muted, 1)

    def _draw_strip(
        self, canvas: Canvas, y: float, places: Floats, name: str, values: list[float], largest: float
    ) -> None:
        colors = canvas.colors
        left, right = _LABELS, canvas.width / canvas.scale - _VALUES - _MARGIN
        middle = y + _ROW_HEIGHT / 2 - 1
        canvas.text(_MARGIN, middle, name.replace("_", " "), colors.ink, size=12)
        canvas.rectangle(left, y, right - left, _ROW_HEIGHT - 3, colors.background)
        if not len(places) or not values:
            return
        canvas.text(right + _VALUES, middle, _signed(values[-1]), colors.muted, size=12, anchor="right")
        step = (right - left) / self.horizon
        for place, value in zip(places, values[-len(places) :], strict=True):
            if value:
                tint = colors.good if value > 0 else colors.bad
                # The square root lets small contributions be seen beside large ones.
                shade = _between(colors.background, tint, sqrt(abs(value) / largest))
                canvas.rectangle(place - step / 2, y, step, _ROW_HEIGHT - 3, shade)


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"


def _range(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = max(high - low, _SMALLEST_RANGE) * 0.08
    return low - room, high + room


def _heights(top: float, values: Floats, low: float, high: float) -> Floats:
    return top + _GRAPH_HEIGHT * (high - values) / (high - low)


def _between(start: Color, end: Color, share: float) -> Color:
    """A colour on the way from one to another, in 16 steps, so that few different ones are ever needed."""
    share = round(min(max(share, 0.0), 1.0) * 16) / 16
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    return red, green, blue
