"""A customer's face, large at the desk and small in the line: its colour, mouth and brows show how angry they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.palette import Color, Palette

_MOODS = ((0.2, "content"), (0.45, "patient"), (0.7, "annoyed"), (1.01, "furious"))
_SMALL = 20


def draw_face(canvas: Canvas, x: float, y: float, radius: float, anger: float) -> None:
    """A face around (x, y); `anger` is from 0 to 1."""
    anger = round(float(anger), 1)
    ink = _ink(canvas.colors)
    canvas.circle(x, y, radius, skin(canvas.colors, anger))
    stroke = max(radius * 0.09, 2)
    for side in (-1, 1):
        canvas.circle(x + side * radius * 0.36, y - radius * 0.12, radius * 0.13, ink)
        if radius > _SMALL:
            inner, outer = y - radius * (0.5 - 0.22 * anger), y - radius * (0.46 + 0.12 * anger)
            canvas.line((x + side * radius * 0.18, inner), (x + side * radius * 0.56, outer), ink, stroke)
    bend = radius * 0.34 * (1 - 2 * anger)
    places = (-1, -0.7, -0.35, 0, 0.35, 0.7, 1) if radius > _SMALL else (-1, -0.4, 0.4, 1)
    mouth = [(x + radius * 0.46 * across, y + radius * 0.44 + bend * (0.5 - across * across)) for across in places]
    canvas.polyline(mouth, ink, stroke)


def skin(colors: Palette, anger: float) -> Color:
    """The colour of a face: from calm over uneasy to angry."""
    if anger < 0.5:
        return _blend(colors.good, colors.warning, anger * 2)
    return _blend(colors.warning, colors.bad, anger * 2 - 1)


def mood_word(anger: float) -> str:
    """How a person would call it."""
    return next(word for limit, word in _MOODS if anger < limit)


def _ink(colors: Palette) -> Color:
    return min(colors.background, colors.ink, key=sum)


def _blend(first: Color, second: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
