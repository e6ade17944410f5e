"""What stands beside the path, and the wearer's face under the headset."""

from __future__ import annotations

from functools import lru_cache

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color

_ROCK = ((-1.0, 0.0), (-0.75, 0.62), (-0.3, 1.0), (0.25, 0.94), (0.7, 0.5), (1.0, 0.0))
_WORDS = ((0.15, "well"), (0.35, "uneasy"), (0.6, "queasy"), (2.0, "sick"))


def grow(scene: str, kind: int, foot: tuple[float, float], size: float, haze: float, canvas: Canvas) -> None:
    """A poplar, a bush or a pillar of rock whose foot is at (x, y), at `size` pixels per metre.

    `kind` of 0 to 4 varies its form; `haze` of 0 to 1 makes it paler.
    """
    colors = canvas.colors
    x, y = foot
    sky = blend(colors.accent, colors.background, 0.16)
    clear = 0.8 - 0.5 * haze
    if scene == "gorge":
        width, height = (0.8 + 0.1 * kind) * size, (2.4 + 0.7 * kind) * size
        rock = [(x + across * width, y - up * height) for across, up in _ROCK]
        canvas.polygon(rock, blend(colors.others[2], sky, clear), smooth=False)
        return
    leaf = blend(colors.good if kind % 2 else colors.others[5], sky, clear)
    if scene == "meadow":
        width, height = (1.3 + 0.2 * kind) * size, (0.8 + 0.15 * kind) * size
        canvas.ellipse(x - width / 2, y - height, width, height, leaf)
        return
    width, height = (1.1 + 0.12 * kind) * size, (4.0 + 0.5 * kind) * size
    canvas.rectangle(x - 0.1 * size, y - size, 0.2 * size, size, blend(colors.others[2], sky, clear))
    canvas.ellipse(x - width / 2, y - 0.5 * size - height, width, height, leaf)


def draw_face(canvas: Canvas, x: float, y: float, radius: float, sickness: float) -> None:
    """A face around (x, y) with a headset on, for a sickness of 0 to 1, and below it the word for it."""
    colors = canvas.colors
    skin = blend(colors.others[5], colors.warning, min(round(sickness * 12) / 9, 1.0))
    dark = min(colors.background, colors.ink)
    canvas.circle(x, y, radius, skin)
    canvas.rectangle(x - radius * 1.08, y - radius * 0.32, radius * 2.16, radius * 0.2, dark)
    canvas.rectangle(x - radius * 0.78, y - radius * 0.56, radius * 1.56, radius * 0.66, dark, radius=radius * 0.24)
    canvas.rectangle(x - radius * 0.6, y - radius * 0.42, radius * 0.5, radius * 0.12, colors.accent, radius=2)
    bend = radius * (0.3 - 0.6 * min(sickness * 1.6, 1.0))
    mouth = [
        (x + radius * 0.42 * across, y + radius * 0.5 + bend * (0.5 - across * across))
        for across in (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)
    ]
    canvas.polyline(mouth, dark, 3)
    word = next(word for limit, word in _WORDS if sickness < limit)
    canvas.text(x, y + radius + 14, word, colors.ink, size=13, anchor="center", bold=True)


@lru_cache(maxsize=1024)
def blend(color: Color, ground: Color, share: float) -> Color:
    """`share` of one colour and the rest of another."""
    red, green, blue = (round(a * share + b * (1.0 - share)) for a, b in zip(color, ground, strict=True))
    return red, green, blue
