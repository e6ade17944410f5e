"""Draws the strip at the bottom: how far things are, what training is doing, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from pygame import Rect

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.feedback.window.keycaps import fill
from rlhf_envs.feedback.window.layout import BANNER_TEXT, STATUS_TEXT, Layout, wrap
from rlhf_envs.feedback.window.view import Scene

_SEPARATOR = "  ·  "
_BANNER_LINES = 2


def draw_footer(canvas: Canvas, scene: Scene, layout: Layout) -> None:
    """Draw the strip at the bottom."""
    colors, s, box = canvas.colors, layout.scale, layout.footer
    fill(canvas, box, colors.surface if scene.banner is None else colors.bad)
    if scene.banner is not None:
        lines = wrap(scene.banner, BANNER_TEXT * s, box.width - 48 * s, canvas.text_width, _BANNER_LINES)
        for number, line in enumerate(lines):
            y = box.centery + (number - (len(lines) - 1) / 2) * 20 * s
            canvas.text(24 * s, y, line, colors.surface, BANNER_TEXT * s)
        return
    height = max(round(3 * s), 2)
    canvas.rectangle(box.left, box.top, box.width, height, colors.surface_strong)
    if scene.share > 0:
        canvas.rectangle(box.left, box.top, max(box.width * scene.share, 1), height, colors.accent)
    middle = box.centery + height / 2
    left_text = _SEPARATOR.join(scene.status)
    canvas.text(24 * s, middle, left_text, colors.ink, STATUS_TEXT * s)
    right = box.right - 24 * s
    if len(scene.curve) > 1:
        spark = Rect(round(right - 96 * s), round(middle - 13 * s), round(96 * s), round(26 * s))
        _sparkline(canvas, scene.curve, spark, s)
        right = spark.left - 14 * s
    room = right - (24 * s + canvas.text_width(left_text, STATUS_TEXT * s) + 30 * s)
    canvas.text(right, middle, _fitting(scene.training, room, canvas, s), colors.muted, STATUS_TEXT * s, "right")


def _fitting(pieces: Sequence[str], room: float, canvas: Canvas, s: float) -> str:
    """As many of the pieces, from the first on, as there is room for."""
    while pieces and canvas.text_width(_SEPARATOR.join(pieces), STATUS_TEXT * s) > room:
        pieces = pieces[:-1]
    return _SEPARATOR.join(pieces)


def _sparkline(canvas: Canvas, values: Sequence[float], box: Rect, s: float) -> None:
    """A curve without axes, its last point marked: whether things go up is all it says."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = [
        (
            box.left + box.width * number / (len(values) - 1),
            box.bottom - box.height * ((value - low) / span if high > low else 0.5),
        )
        for number, value in enumerate(values)
    ]
    canvas.polyline(points, canvas.colors.good, 1.4)
    canvas.circle(*points[-1], 2.6 * s, canvas.colors.good)
