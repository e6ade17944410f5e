"""How a text looks: the prompt faint, the continuation strong, a caret, and how much there is to come."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.prose.language_model import text_of
from rlhf_envs.envs.prose.task import PROMPT

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.palette import Color
    from rlhf_envs.envs.prose.task import Prose

_PAGE = (16, 16, 568, 346)
_LEFT, _TOP, _WIDTH = 40, 58, 520
_LINE = (40, 378, 520, 6)
_SIZES = ((30, 46), (25, 38), (20, 31), (16, 25))
"""Size of letters and pitch of lines; the first that has room."""
_LINES_HIGH = 320
_MOST_LETTERS = 26


def draw(task: Prose, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one text, as `Task.draw` asks."""
    canvas.background("prose", lambda: canvas.rectangle(*_PAGE, canvas.colors.surface, radius=12))
    words = _words(task, row)
    # All texts of an environment are typeset alike, so that the size does not jump while one is written.
    letters = 4.2 * task.window
    size, pitch = next(((s, p) for s, p in _SIZES if letters * 0.5 * s / _WIDTH * p < _LINES_HIGH), _SIZES[-1])
    lines = _lines(words, size, canvas)
    while len(lines) * pitch > _LINES_HIGH and (size, pitch) != _SIZES[-1]:
        size, pitch = _SIZES[_SIZES.index((size, pitch)) + 1]
        lines = _lines(words, size, canvas)
    end = (float(_LEFT), float(_TOP))
    for number, line in enumerate(lines):
        middle = _TOP + number * pitch
        for left, text, color, width in line:
            area = (left, middle - 2 * round(0.34 * size), width + 1, 4 * round(0.34 * size))
            paint = partial(canvas.text, left, middle, text, color, size)
            canvas.cached(f"{text} {color} {size} {left:.2f} {middle}", area, paint, canvas.colors.surface)
            end = (left + width, middle)
    canvas.rectangle(end[0] + 3, end[1] - 0.5 * size, 2, size, canvas.colors.accent)
    _draw_line(task, row.length - PROMPT, canvas)


def _words(task: Prose, row: SimpleNamespace) -> list[list[tuple[str, bool]]]:
    """Words as their parts, each with whether it is of the continuation; a word may begin in the prompt."""
    words: list[list[tuple[str, bool]]] = []
    for place, token in enumerate(np.asarray(row.tokens)[: row.length].tolist()):
        piece, written = text_of([token], task.pieces), place >= PROMPT
        for part in piece.replace(" ", "\0 ").split("\0"):
            shown = "".join(letter if letter.isprintable() else "?" for letter in part.strip())
            long = words and sum(len(text) for text, _ in words[-1]) + len(shown) > _MOST_LETTERS
            if part.startswith(" ") or not words or long:
                words.append([])
            if shown:
                words[-1].append((shown, written))
    return [word for word in words if word]


def _lines(
    words: list[list[tuple[str, bool]]], size: float, canvas: Canvas
) -> list[list[tuple[float, str, Color, float]]]:
    """The parts of words on each line: left edge, text, colour and width."""
    gap, lines, left = 0.28 * size, [[]], float(_LEFT)  # type: ignore[var-annotated]
    for word in words:
        widths = [canvas.text_width(text, size) for text, _ in word]
        if left > _LEFT and left + sum(widths) > _LEFT + _WIDTH:
            lines.append([])
            left = float(_LEFT)
        for (text, written), width in zip(word, widths, strict=True):
            lines[-1].append((left, text, canvas.colors.ink if written else canvas.colors.muted, width))
            left += width
        left += gap
    return lines


def _draw_line(task: Prose, written: int, canvas: Canvas) -> None:
    x, y, width, height = _LINE
    canvas.rectangle(x, y, width, height, canvas.colors.surface_strong, radius=height / 2)
    if written > 0:
        canvas.rectangle(x, y, max(width * written / task.horizon, height), height, canvas.colors.muted, radius=3)
