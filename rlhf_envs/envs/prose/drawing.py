"""How a text looks: the prompt faint, the continuation strong, a caret, and how much there is to come."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

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
    places = [
        (left, float(_TOP + number * pitch), text, color, width)
        for number, line in enumerate(lines)
        for left, text, color, width in line
    ]
    canvas.texts_on(canvas.colors.surface, [place[:4] for place in places], size)
    left, middle, _, _, width = places[-1] if places else (float(_LEFT), float(_TOP), "", canvas.colors.ink, 0.0)
    canvas.rectangle(left + width + 3, middle - 0.5 * size, 2, size, canvas.colors.accent)
    _draw_line(task, row.length - PROMPT, canvas)


def _words(task: Prose, row: SimpleNamespace) -> list[list[tuple[str, bool]]]:
    """Words as their parts, each with whether it is of the continuation; a word may begin in the prompt."""
    words: list[list[tuple[str, bool]]] = []
    pieces, letters = task.pieces, 0
    for place, token in enumerate(row.tokens[: row.length].tolist()):
        for begins, shown in _parts(pieces[token]) if token < len(pieces) else ():
            if begins or not words or letters + len(shown) > _MOST_LETTERS:
                words.append([])
                letters = 0
            if shown:
                words[-1].append((shown, place >= PROMPT))
                letters += len(shown)
    return [word for word in words if word]


@lru_cache(maxsize=100_000)
def _parts(piece: str) -> tuple[tuple[bool, str], ...]:
    """What a token adds to a text: whether a word begins, and what is shown of it."""
    parts = piece.replace(" ", "\0 ").split("\0")
    return tuple(
        (part.startswith(" "), "".join(letter if letter.isprintable() else "?" for letter in part.strip()))
        for part in parts
    )


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
