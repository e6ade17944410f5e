"""The colours of the suite: one palette, in a light and a dark theme."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Colours by what they say, as (red, green, blue) of 0-255.

    Attributes:
        background: behind everything.
        surface: panels and cards; `surface_strong` for what lies on them.
        line: thin separators and outlines.
        ink: text; `muted` for captions.
        accent: the thing that the agent controls.
        good, warning, bad: how well things go.
        others: further objects, told apart by hue.
    """

    background: Color
    surface: Color
    surface_strong: Color
    line: Color
    ink: Color
    muted: Color
    accent: Color
    good: Color
    warning: Color
    bad: Color
    others: tuple[Color, ...]


LIGHT = Palette(
    background=(245, 244, 240),
    surface=(255, 255, 253),
    surface_strong=(228, 226, 219),
    line=(203, 200, 192),
    ink=(38, 40, 46),
    muted=(118, 118, 122),
    accent=(29, 99, 201),
    good=(34, 139, 87),
    warning=(219, 140, 20),
    bad=(201, 58, 50),
    others=((128, 98, 173), (15, 139, 141), (176, 107, 64), (106, 118, 138), (189, 84, 132), (124, 141, 53)),
)

DARK = Palette(
    background=(24, 26, 31),
    surface=(35, 38, 45),
    surface_strong=(52, 56, 65),
    line=(76, 81, 92),
    ink=(236, 236, 232),
    muted=(154, 158, 168),
    accent=(98, 161, 255),
    good=(82, 196, 137),
    warning=(242, 178, 74),
    bad=(240, 104, 94),
    others=((176, 148, 226), (78, 196, 198), (224, 158, 112), (150, 163, 186), (232, 136, 181), (176, 196, 97)),
)

THEMES = {"light": LIGHT, "dark": DARK}
THEME_NAMES = tuple(THEMES)


def css_colors(palette: Palette) -> dict[str, str]:
    """A palette as CSS custom properties without their dashes: `surface-strong`, `accent`, `other-0` and so on."""
    named = {part.name.replace("_", "-"): getattr(palette, part.name) for part in fields(palette)}
    others = named.pop("others")
    named |= {f"other-{index}": color for index, color in enumerate(others)}
    return {name: hex_color(color) for name, color in named.items()}


def hex_color(color: Color) -> str:
    """A colour as matplotlib and CSS write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


@lru_cache(maxsize=4096)
def blend(color: Color, ground: Color, share: float) -> Color:
    """`share` (0 to 1) of one colour and the rest of another."""
    red, green, blue = (round(a * share + b * (1.0 - share)) for a, b in zip(color, ground, strict=True))
    return red, green, blue
