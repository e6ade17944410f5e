"""The objects that are labelled, as plain signs: machines in a workshop, what one looks for in a street."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import cos, pi, sin

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color

Sign = Callable[[Canvas, float, float, float, float], None]


def pump(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A round housing on a pipe and a foot."""
    body, dark, pale = _tones(canvas, 1)
    canvas.rectangle(x - across, y - 0.2 * down, 2 * across, 0.5 * down, dark)
    canvas.rectangle(x - 0.7 * across, y + 0.78 * down, 1.4 * across, 0.22 * down, dark)
    canvas.ellipse(x - 0.85 * down, y - 0.85 * down, 1.7 * down, 1.7 * down, body)
    canvas.ellipse(x - 0.42 * down, y - 0.42 * down, 0.84 * down, 0.84 * down, pale)
    for blade in range(3):
        angle = 0.3 + blade * pi / 3
        step = (0.34 * down * cos(angle), 0.34 * down * sin(angle))
        canvas.line((x - step[0], y - step[1]), (x + step[0], y + step[1]), dark, 3)


def tank(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A standing tank with a glass that shows its level."""
    body, dark, pale = _tones(canvas, 2)
    canvas.rectangle(x - 0.25 * across, y - down, 0.5 * across, 0.3 * down, dark)
    canvas.rectangle(x - 0.9 * across, y - 0.82 * down, 1.8 * across, 1.82 * down, body, radius=9)
    for height in (-0.5, 0.66):
        canvas.rectangle(x - 0.9 * across, y + height * down, 1.8 * across, 3, dark)
    canvas.rectangle(x - 0.2 * across, y - 0.34 * down, 0.4 * across, 0.86 * down, dark)
    canvas.rectangle(x - 0.2 * across, y - 0.06 * down, 0.4 * across, 0.58 * down, pale)


def motor(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A finned housing with a shaft."""
    body, dark, pale = _tones(canvas, 3)
    canvas.rectangle(x + 0.6 * across, y - 0.15 * down, 0.4 * across, 0.3 * down, dark)
    canvas.rectangle(x - 0.6 * across, y + 0.7 * down, 1.1 * across, 0.3 * down, dark)
    canvas.rectangle(x - across, y - 0.8 * down, 1.7 * across, 1.55 * down, body, radius=7)
    canvas.rectangle(x - 0.35 * across, y - down, 0.6 * across, 0.36 * down, pale)
    for fin in range(4):
        canvas.rectangle(x - 0.75 * across, y + (0.33 * fin - 0.5) * down, 1.2 * across, 2, dark)


def valve(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A hand wheel above a pipe."""
    body, dark, pale = _tones(canvas, 4)
    canvas.rectangle(x - across, y + 0.4 * down, 2 * across, 0.55 * down, dark)
    canvas.rectangle(x - 3, y - 0.3 * down, 6, 0.8 * down, pale)
    canvas.rectangle(x - 0.4 * across, y + 0.3 * down, 0.8 * across, 0.7 * down, body)
    middle, radius = y - 0.36 * down, 0.62 * down
    canvas.line((x - radius, middle), (x + radius, middle), body, 3)
    canvas.circle(x, middle, radius, body, outline=5)


def bus(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A city bus from its side."""
    body, dark, pale = _tones(canvas, 4)
    canvas.rectangle(x - across, y - 0.95 * down, 2 * across, 1.65 * down, body, radius=6)
    for window in range(4):
        canvas.rectangle(x + (0.47 * window - 0.9) * across, y - 0.7 * down, 0.38 * across, 0.62 * down, pale)
    for wheel in (-0.55, 0.55):
        canvas.ellipse(x + wheel * across - 0.32 * down, y + 0.36 * down, 0.64 * down, 0.64 * down, dark)


def cafe(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A shop front under a striped awning."""
    body, dark, pale = _tones(canvas, 2)
    canvas.rectangle(x - 0.9 * across, y - 0.6 * down, 1.8 * across, 1.6 * down, body)
    canvas.rectangle(x - 0.7 * across, y - 0.1 * down, 0.75 * across, 0.65 * down, pale)
    canvas.rectangle(x + 0.25 * across, y - 0.1 * down, 0.45 * across, 1.1 * down, dark)
    for stripe in range(5):
        tone = pale if stripe % 2 else dark
        canvas.rectangle(x + (0.4 * stripe - 1.0) * across, y - down, 0.41 * across, 0.6 * down, tone)


def bike(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A bicycle from its side."""
    body, dark, _ = _tones(canvas, 1)
    radius, axle = 0.44 * across, y + 0.95 * down - 0.44 * across
    left, right, seat, bar = x - 0.54 * across, x + 0.54 * across, x - 0.2 * across, x + 0.36 * across
    for wheel in (left, right):
        canvas.circle(wheel, axle, radius, dark, outline=3)
    high = y - 0.5 * down
    canvas.polyline([(left, axle), (seat, high), (bar, high), (x, axle), (left, axle)], body, 3)
    canvas.polyline([(right, axle), (bar, y - 0.9 * down), (bar - 8, y - 0.9 * down)], body, 3)
    canvas.rectangle(seat - 8, y - 0.72 * down, 15, 4, dark)


def lift(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """Sliding doors with an arrow above."""
    body, dark, pale = _tones(canvas, 3)
    canvas.rectangle(x - 0.95 * across, y - down, 1.9 * across, 2 * down, body, radius=4)
    canvas.polygon([(x - 7, y - 0.62 * down), (x + 7, y - 0.62 * down), (x, y - 0.88 * down)], pale, smooth=False)
    canvas.rectangle(x - 0.7 * across, y - 0.45 * down, 1.4 * across, 1.45 * down, pale)
    canvas.rectangle(x - 1, y - 0.45 * down, 2, 1.45 * down, dark)


SIGNS: dict[str, tuple[Sign, ...]] = {"workshop": (pump, tank, motor, valve), "street": (bus, cafe, bike, lift)}
"""How the objects of each scene look, in the order of their names: drawn around (x, y) with half their size."""


def _tones(canvas: Canvas, hue: int) -> tuple[Color, Color, Color]:
    """A hue of the palette for the body of a thing, a darker and a paler one for its parts."""
    colors = canvas.colors
    body = blend(colors.others[hue], colors.surface, 0.72)
    return body, blend(colors.others[3], (20, 22, 28), 0.55), blend(colors.others[hue], (255, 255, 250), 0.3)


@lru_cache(maxsize=1024)
def blend(color: Color, ground: Color, share: float) -> Color:
    """`share` of one colour and the rest of another."""
    red, green, blue = (round(a * share + b * (1.0 - share)) for a, b in zip(color, ground, strict=True))
    return red, green, blue
