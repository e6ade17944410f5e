"""How a text looks: the prompt faint, the continuation strong, what counts underlined, and how fluent it is."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

from rlhf_envs.envs.prose.task import PROMPT, USUAL

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.prose.task import Prose

_PAGE = (16, 16, 568, 346)
_LEFT, _TOP, _WIDTH = 40, 58, 520
_WRITTEN, _READS = (40, 384, 240), (320, 384, 240)
_WORST, _BEST = -1.0, 0.8
"""What a token pays for being fluent, on average over the text, from an empty bar to a full one."""
_SIZES = ((30, 46), (25, 38), (20, 31), (16, 25))
"""Size of letters and pitch of lines; the first that has room."""
_LINES_HIGH = 320
_MOST_LETTERS = 26
_LETTERS_A_TOKEN = 5.5
"""Of long texts, so that two clips are typeset alike, and none changes its size while it is written."""


class Part(NamedTuple):
    """A part of a word: its text, whether it is of the continuation, what its word is worth, whether it was said."""

    text: str
    written: bool
    worth: float
    again: bool


def draw(task: Prose, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one text, as `Task.draw` asks."""
    canvas.background("prose", lambda: canvas.rectangle(*_PAGE, canvas.colors.surface, radius=12))
    words = _words(task, row)
    letters = _LETTERS_A_TOKEN * task.window
    size, pitch = next(((s, p) for s, p in _SIZES if letters * 0.5 * s / _WIDTH * p < _LINES_HIGH), _SIZES[-1])
    lines = _lines(words, size, canvas)
    while len(lines) * pitch > _LINES_HIGH and (size, pitch) != _SIZES[-1]:
        size, pitch = _SIZES[_SIZES.index((size, pitch)) + 1]
        lines = _lines(words, size, canvas)
    colors = canvas.colors
    places = [
        (left, float(_TOP + number * pitch), part, width)
        for number, line in enumerate(lines)
        for left, part, width in line
    ]
    texts = [
        (left, middle, part.text, colors.ink if part.written else colors.muted) for left, middle, part, _ in places
    ]
    canvas.texts_on(colors.surface, texts, size)
    end = (float(_LEFT), float(_TOP))
    for left, middle, part, width in places:
        if part.worth or part.again:
            _mark(part, left, middle, width, size, canvas)
        end = (left + width, middle)
    canvas.rectangle(end[0] + 3, end[1] - 0.5 * size, 2, size, colors.accent)
    written = int(row.length) - PROMPT
    canvas.gauge(*_WRITTEN, "written", written / task.horizon, colors.muted, height=6)
    reads = 1.0 - float(row.surprise) / (USUAL * written) if written else _WORST
    canvas.gauge(*_READS, "reads well", (reads - _WORST) / (_BEST - _WORST), colors.accent, height=6)


def _mark(part: Part, left: float, middle: float, width: float, size: float, canvas: Canvas) -> None:
    """Below a part of a word a line where it is warm, a zigzag where it is cold, dots where it was said before."""
    colors, below, strength = canvas.colors, middle + 0.46 * size, 1.5 + 6.0 * abs(part.worth)
    if part.worth > 0:
        canvas.rectangle(left, below, width, strength, colors.good)
    elif part.worth < 0:
        teeth = max(round(width / 5), 2)
        zigzag = [(left + width * at / teeth, below + (strength if at % 2 else 0.0)) for at in range(teeth + 1)]
        canvas.polyline(zigzag, colors.bad, 1.5 + 2.5 * abs(part.worth))
    if part.again:
        dots = max(round(width / 8), 1)
        for dot in range(dots):
            canvas.rectangle(left + width * (dot + 0.5) / dots - 1.5, middle + 0.63 * size, 3, 3, colors.ink)


def _words(task: Prose, row: SimpleNamespace) -> list[list[Part]]:
    """Words as their parts; a word may begin in the prompt."""
    words: list[list[Part]] = []
    pieces, letters = task.pieces, 0
    tokens = row.tokens[: row.length].tolist()
    for place, (token, (worth, again)) in enumerate(zip(tokens, task.marks(tokens), strict=True)):
        for begins, shown in _parts(pieces[token]) if token < len(pieces) else ():
            if begins or not words or letters + len(shown) > _MOST_LETTERS:
                words.append([])
                letters = 0
            if shown:
                words[-1].append(Part(shown, place >= PROMPT, worth, again))
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


def _lines(words: list[list[Part]], size: float, canvas: Canvas) -> list[list[tuple[float, Part, float]]]:
    """The parts of words on each line: left edge, part and width."""
    gap, lines, left = 0.28 * size, [[]], float(_LEFT)  # type: ignore[var-annotated]
    for word in words:
        widths = [canvas.text_width(part.text, size) for part in word]
        if left > _LEFT and left + sum(widths) > _LEFT + _WIDTH:
            lines.append([])
            left = float(_LEFT)
        for part, width in zip(word, widths, strict=True):
            lines[-1].append((left, part, width))
            left += width
        left += gap
    return lines
