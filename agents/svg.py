"""Pictures from matplotlib as SVG that follows the page it stands in: its colours, light or dark, and its font."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rlhf_envs.envs.palette import LIGHT, Color, Palette

_STYLE = {
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "path.simplify": True,
}


def css_colors(palette: Palette) -> dict[str, str]:
    """A palette as CSS custom properties without their dashes: `surface-strong`, `accent`, `other-0` and so on."""
    named = {part.name.replace("_", "-"): getattr(palette, part.name) for part in fields(palette)}
    others = named.pop("others")
    named |= {f"other-{index}": color for index, color in enumerate(others)}
    return {name: hex_color(color) for name, color in named.items()}


def page_style() -> AbstractContextManager[None]:
    """The settings that charts are drawn with. Colours are those of the light theme; `to_svg` replaces them."""
    muted = hex_color(LIGHT.muted)
    colors = {"text.color": LIGHT.ink, "axes.labelcolor": LIGHT.ink, "axes.edgecolor": LIGHT.line}
    style: Any = {
        **_STYLE,
        **{name: hex_color(color) for name, color in colors.items()},
        "xtick.color": muted,
        "ytick.color": muted,
    }
    return rc_context(style)


def to_svg(figure: Figure, name: str, description: str) -> str:
    """A figure as an <svg> element whose colours are the page's custom properties (`css_colors`).

    Args:
        figure: drawn in the colours of the light theme.
        name: unlike that of any other picture on the page.
        description: for people who cannot see it.
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
    for color_name, value in css_colors(LIGHT).items():
        text = text.replace(value, f"var(--{color_name})")
    return text


def hex_color(color: Color) -> str:
    """A colour as matplotlib and CSS write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)
