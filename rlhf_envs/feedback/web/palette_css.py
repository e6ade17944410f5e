"""The suite's palette as a style sheet, so that page and clips are of one colour."""

from __future__ import annotations

from dataclasses import fields

from rlhf_envs.envs.palette import DARK, LIGHT, Palette


def palette_css() -> str:
    """Custom properties such as `--surface-strong`: light, or dark where the visitor or their system prefers that."""
    light, dark = _properties(LIGHT, "light"), _properties(DARK, "dark")
    return (
        f":root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme='light']) {{ {dark} }} }}\n"
        f":root[data-theme='dark'] {{ {dark} }}\n"
    )


def _properties(palette: Palette, scheme: str) -> str:
    named = {
        each.name.replace("_", "-"): getattr(palette, each.name) for each in fields(palette) if each.name != "others"
    }
    named |= {f"other-{number}": color for number, color in enumerate(palette.others, 1)}
    colors = " ".join(f"--{name}: rgb({red} {green} {blue});" for name, (red, green, blue) in named.items())
    return f"color-scheme: {scheme}; {colors}"
