"""The colours of the suite: one palette, in a light and a dark theme.

Text in `ink` and `muted` stands out from `background`, `surface` and `surface_strong` by at least `LEAST_CONTRAST`; the
hues are for areas, and `text_colors` makes of each the nearest one that text can be drawn in. Good and bad differ for
people who do not tell red from green, too, and wherever it matters a shape says the same as the colour.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

Color = tuple[int, int, int]

LEAST_CONTRAST = 4.5
"""Of text to what is behind it: WCAG 2.2, success criterion 1.4.3, for text of ordinary size."""


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
    muted=(98, 98, 102),
    accent=(29, 99, 201),
    good=(10, 125, 92),
    warning=(219, 140, 20),
    bad=(201, 58, 50),
    others=((128, 98, 173), (15, 139, 141), (160, 97, 58), (106, 118, 138), (189, 84, 132), (124, 141, 53)),
)

DARK = Palette(
    background=(24, 26, 31),
    surface=(35, 38, 45),
    surface_strong=(52, 56, 65),
    line=(76, 81, 92),
    ink=(236, 236, 232),
    muted=(162, 166, 176),
    accent=(98, 161, 255),
    good=(70, 205, 160),
    warning=(246, 186, 78),
    bad=(255, 110, 90),
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


def contrast(first: Color, second: Color) -> float:
    """From 1 (the same) to 21 (black on white): the ratio of two colours' luminances, as WCAG 2.2 defines it."""
    darker, lighter = sorted(map(_luminance, (first, second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    shares = (part / 255.0 for part in color)
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def text_colors(palette: Palette) -> dict[Color, Color]:
    """For each hue of a palette the nearest colour, towards its ink, in which text on its surfaces can be read."""
    hues = (palette.accent, palette.good, palette.warning, palette.bad, *palette.others)
    return {hue: _legible(hue, palette) for hue in hues}


def _legible(hue: Color, palette: Palette) -> Color:
    shades = (blend(hue, palette.ink, 1.0 - step / 50.0) for step in range(51))
    return next(shade for shade in shades if contrast(shade, palette.surface_strong) >= LEAST_CONTRAST)
