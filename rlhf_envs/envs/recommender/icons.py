"""The small pictures of the feed: topics, the clickbait burst, and the reader's face."""

from __future__ import annotations

from math import cos, pi, sin
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.palette import Color

_ACROSS = (-1, -0.6, -0.3, 0, 0.3, 0.6, 1)
_ANNOYED, _TIRED, _BORED, _CONTENT = 0.45, 0.7, -0.05, 0.25


def draw_topic(canvas: Canvas, topic: int, x: float, y: float, behind: Color) -> None:
    """A topic's sign around (x, y), about 60 units tall, cut out of its background colour."""
    _SIGNS[topic](canvas, x, y, canvas.colors.surface, behind)


def draw_burst(canvas: Canvas, x: float, y: float, radius: float, color: Color) -> None:
    """The jagged star of a sales sticker."""
    canvas.polygon([_around(x, y, radius * (1.0 if k % 2 else 0.76), k * pi / 12) for k in range(24)], color)


def draw_face(canvas: Canvas, x: float, y: float, radius: float, mood: float, annoyance: float, fatigue: float) -> None:
    """The reader on a panel: mouth and colour show mood (-1 to 1), brows annoyance, eyelids fatigue (0 to 1)."""
    colors = canvas.colors
    shade = round(min(max(mood * 1.4, -1.0), 1.0), 1)
    skin = _blend(colors.warning, colors.good if shade > 0 else colors.bad, abs(shade))
    dark = min(colors.background, colors.ink)
    area = (x - radius - 2, y - radius - 2, 2 * radius + 4, 2 * radius + 4)
    canvas.keep(f"face {shade}", area, lambda: _draw_head(canvas, area, skin))
    for side in (-1, 1):
        eye = x + side * radius * 0.36
        canvas.circle(eye, y - radius * 0.14, radius * 0.14, dark)
        canvas.rectangle(eye - radius * 0.18, y - radius * 0.3, radius * 0.36, radius * 0.3 * min(fatigue, 0.7), skin)
        tilt = side * -0.5 * annoyance
        canvas.turned_rectangle(eye, y - radius * 0.43, radius * 0.36, radius * 0.09, tilt, dark)
    bend = radius * 0.34 * min(max(mood * 1.6, -1.0), 1.0)
    upper = [(x + radius * 0.44 * at, y + radius * 0.42 + bend * (0.5 - at * at) - 2) for at in _ACROSS]
    canvas.polygon([*upper, *((left, top + 4) for left, top in reversed(upper))], dark)
    canvas.text(x, y + radius + 17, _word(mood, annoyance, fatigue), colors.ink, size=15, anchor="center", bold=True)


def _draw_head(canvas: Canvas, area: tuple[float, float, float, float], skin: Color) -> None:
    x, y, width, height = area
    canvas.rectangle(x, y, width, height, canvas.colors.surface)
    canvas.circle(x + width / 2, y + height / 2, width / 2 - 2, skin)


def _word(mood: float, annoyance: float, fatigue: float) -> str:
    if annoyance > _ANNOYED:
        return "annoyed"
    if fatigue > _TIRED:
        return "tired"
    if mood > _CONTENT:
        return "content"
    return "bored" if mood < _BORED else "calm"


def _around(x: float, y: float, radius: float, angle: float) -> tuple[float, float]:
    return x + radius * cos(angle), y + radius * sin(angle)


def _blend(first: Color, second: Color, share: float) -> Color:
    mixed = [round(a + (b - a) * share) for a, b in zip(first, second, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _science(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A ringed planet."""
    canvas.circle(x, y, 20, ink)
    canvas.line((x - 38, y + 11), (x + 38, y - 11), ink, 4)
    canvas.circle(x, y, 12, behind)


def _sport(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A football."""
    canvas.circle(x, y, 28, ink)
    canvas.polygon([_around(x, y, 11, -pi / 2 + k * 2 * pi / 5) for k in range(5)], behind)
    for k in range(5):
        angle = -pi / 2 + k * 2 * pi / 5
        canvas.line(_around(x, y, 10, angle), _around(x, y, 26, angle), behind, 3)


def _music(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A pair of notes."""
    canvas.circle(x - 16, y + 20, 9, ink)
    canvas.circle(x + 16, y + 14, 9, ink)
    canvas.polygon([(x - 12, y - 22), (x + 25, y - 30), (x + 25, y - 20), (x - 12, y - 12)], ink)
    canvas.line((x - 10, y - 20), (x - 10, y + 20), ink, 5)
    canvas.line((x + 22, y - 28), (x + 22, y + 14), ink, 5)


def _travel(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """Mountains and a sun."""
    canvas.polygon([(x - 46, y + 28), (x - 12, y - 22), (x + 22, y + 28)], ink)
    canvas.polygon([(x + 2, y + 28), (x + 24, y - 4), (x + 46, y + 28)], ink)
    canvas.circle(x + 28, y - 22, 8, ink)


def _food(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A plate between knife and fork."""
    canvas.circle(x, y, 28, ink)
    canvas.circle(x, y, 20, behind, outline=3)
    canvas.rectangle(x - 48, y - 26, 5, 52, ink, radius=2)
    canvas.rectangle(x + 43, y - 26, 5, 52, ink, radius=2)


def _film(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A strip of film."""
    canvas.rectangle(x - 40, y - 26, 80, 52, ink, radius=6)
    for column in range(5):
        canvas.rectangle(x - 34 + column * 15, y - 21, 8, 7, behind)
        canvas.rectangle(x - 34 + column * 15, y + 14, 8, 7, behind)


_SIGNS = (_science, _sport, _music, _travel, _food, _film)
