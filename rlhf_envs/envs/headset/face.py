"""The wearer's face under the headset: the colour and the mouth say how the stomach is."""

from __future__ import annotations

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color

_WORDS = ((0.15, "well"), (0.35, "uneasy"), (0.6, "queasy"), (2.0, "sick"))


def draw_face(canvas: Canvas, x: float, y: float, radius: float, sickness: float) -> None:
    """A face around (x, y) with a headset on, for a sickness of 0 to 1, and below it the word for it."""
    colors = canvas.colors
    skin = mix(colors.others[5], colors.warning, min(round(sickness * 12) / 9, 1.0))
    dark = min(colors.background, colors.ink)
    canvas.circle(x, y, radius, skin)
    canvas.rectangle(x - radius * 1.08, y - radius * 0.32, radius * 2.16, radius * 0.2, dark)
    canvas.rectangle(x - radius * 0.78, y - radius * 0.56, radius * 1.56, radius * 0.66, dark, radius=radius * 0.24)
    canvas.rectangle(x - radius * 0.6, y - radius * 0.42, radius * 0.5, radius * 0.12, colors.accent, radius=2)
    bend = radius * (0.3 - 0.6 * min(sickness * 1.6, 1.0))
    mouth = [
        (x + radius * 0.42 * across, y + radius * 0.5 + bend * (0.5 - across * across))
        for across in (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)
    ]
    canvas.polyline(mouth, dark, 3)
    word = next(word for limit, word in _WORDS if sickness < limit)
    canvas.text(x, y + radius + 14, word, colors.ink, size=13, anchor="center", bold=True)


def mix(color: Color, ground: Color, share: float) -> Color:
    """`share` of one colour and the rest of another."""
    red, green, blue = (round(a * share + b * (1.0 - share)) for a, b in zip(color, ground, strict=True))
    return red, green, blue
