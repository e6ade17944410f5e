"""Draws controls: keys as they look on a keyboard, and what they do."""

from __future__ import annotations

from pygame import Rect

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.palette import Color
from rlhf_envs.feedback.window.controls import Control
from rlhf_envs.feedback.window.layout import KEY_TEXT, LABEL_TEXT, control_width, key_width, shorten

_AHEAD = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def fill(canvas: Canvas, box: Rect, color: Color, radius: float = 0.0) -> None:
    """A filled box."""
    canvas.rectangle(box.left, box.top, box.width, box.height, color, radius)


def draw_control(canvas: Canvas, control: Control, box: Rect, color: Color, s: float, centred: bool = False) -> None:
    """The keys of a control and its label, from the left of its box or in its middle; `s` is the layout's scale."""
    left = box.left + 7.0 * s
    if centred:
        left = box.centerx - control_width(control, s, canvas.text_width) / 2 + 7 * s
    for key in control.keys:
        left = _draw_key(canvas, key, left, box.centery, color, s) + 4 * s
    if control.label:
        label = shorten(control.label, LABEL_TEXT * s, max(box.right - left - 3 * s, 1), canvas.text_width)
        canvas.text(left + 3 * s, box.centery, label, color, LABEL_TEXT * s)


def _draw_key(canvas: Canvas, key: str, left: float, y: float, color: Color, s: float) -> float:
    """One key; where it ends."""
    width, height, border = key_width(key, s, canvas.text_width), 22 * s, max(round(1.2 * s), 1)
    top = y - height / 2
    canvas.rectangle(left, top, width, height, canvas.colors.line, radius=5 * s)
    inner = (width - 2 * border, height - 3 * border)
    canvas.rectangle(left + border, top + border, *inner, canvas.colors.surface, radius=4 * s)
    middle = left + width / 2
    if key in _AHEAD:
        _draw_arrow(canvas, middle, y - border / 2, _AHEAD[key], 4.4 * s, color)
    else:
        canvas.text(middle, y - border / 2, key, color, KEY_TEXT * s, "center")
    return left + width


def _draw_arrow(canvas: Canvas, x: float, y: float, ahead: tuple[int, int], size: float, color: Color) -> None:
    dx, dy = ahead
    tip = (x + dx * size, y + dy * size)
    back = (x - dx * size * 0.7, y - dy * size * 0.7)
    one, other = (back[0] + dy * size, back[1] + dx * size), (back[0] - dy * size, back[1] - dx * size)
    canvas.polygon([tip, one, other], color)
