"""How a writer's desk looks: the note before with its stamp, the page in work, and what the margin says of it."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.writing.task import NONE, REPEATED, SQUIGGLE, STAMPS, STOP, TONES, TOPICS, WORDS

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Area, Canvas
    from rlhf_envs.envs.palette import Color
    from rlhf_envs.envs.writing.task import Writing

_BEFORE = (16, 14, 568, 96)
_PAGE = (16, 120, 568, 206)
_MARGIN = (16, 336, 568, 50)
_GAP = 0.28
_LENGTH = (424, 356, 144, 10)
_PITCH = 23

_widths: dict[tuple[float, float, int], float] = {}


class Note(NamedTuple):
    """The words of a page and their flaws, (places,) each, and what was asked for."""

    words: NDArray[np.int16]
    flaws: NDArray[np.int8]
    topic: int
    tone: int


def draw(task: Writing, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one writer's desk, as `Task.draw` asks."""
    canvas.background("writing", lambda: _draw_panels(task, canvas))
    before = f"{row.stamp} {row.past_topic} {row.past_tone} {row.past_words.tobytes()!r} {row.past_flaws.tobytes()!r}"
    canvas.cached_newest("note before", before, _BEFORE, lambda: _draw_note_before(row, canvas))
    _draw_request(row.topic, row.tone, canvas)
    x, y, width, _ = _PAGE
    size, pitch = (24, 32) if task.max_words <= 14 else (20, 26)
    note = Note(row.words, row.flaws, row.topic, row.tone)
    right, middle = _draw_text(note, (x + 18, y + 60, width - 32), size, pitch, canvas)
    canvas.rectangle(right, middle - 0.55 * size, 3, 1.1 * size, canvas.colors.accent)
    _draw_margin(task, row, canvas)


def _draw_panels(task: Writing, canvas: Canvas) -> None:
    for x, y, width, height in (_BEFORE, _PAGE, _MARGIN):
        canvas.rectangle(x, y, width, height, canvas.colors.surface, radius=12)
    x, y, _, height = _MARGIN
    for left, label in ((x + 18, "topic"), (x + 176, "tone"), (x + 322, "length")):
        canvas.text(left, y + height / 2, label, canvas.colors.muted, size=15)
    _draw_length(task, 0, canvas)


def _draw_request(topic: int, tone: int, canvas: Canvas) -> None:
    x, y, width, _ = _PAGE
    area = (x + 14, y + 10, width - 28, 32)
    paint = partial(_draw_chips, topic, tone, area, canvas)
    canvas.cached(f"request {topic} {tone}", area, paint, canvas.colors.surface)


def _draw_chips(topic: int, tone: int, area: Area, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, _, height = area
    middle = y + height / 2
    canvas.text(x + 4, middle, "asked for", colors.muted, size=15)
    left = x + 14 + canvas.text_width("asked for", 15)
    for label, ink in ((TOPICS[topic], colors.good), (TONES[tone], colors.others[0])):
        length = canvas.text_width(label, 17, bold=True) + 24
        canvas.rectangle(left, y + 2, length, height - 4, ink, radius=14)
        canvas.text(left + length / 2, middle, label, colors.surface, size=17, anchor="center", bold=True)
        left += length + 8


def _draw_note_before(row: SimpleNamespace, canvas: Canvas) -> None:
    x, y, width, height = _BEFORE
    canvas.rectangle(*_BEFORE, canvas.colors.surface, radius=12)
    color = (canvas.colors.good, canvas.colors.warning, canvas.colors.bad)[row.stamp]
    left, middle = x + width - 120, y + height / 2
    canvas.rectangle(left, middle - 18, 106, 36, color, radius=8, outline=3)
    canvas.text(left + 53, middle, STAMPS[row.stamp], color, size=18, anchor="center", bold=True)
    note = Note(row.past_words, row.past_flaws, row.past_topic, row.past_tone)
    if note.words[0] == NONE:
        canvas.text(x + 18, y + 22, "(somebody else's note)", canvas.colors.muted, size=16)
    size, pitch = (16, 26) if (note.words != NONE).sum() <= 18 else (14, 22)
    _draw_text(note, (x + 18, y + 22, width - 150), size, pitch, canvas, paint=True)


def _draw_text(
    note: Note, place: tuple[float, float, float], size: float, pitch: float, canvas: Canvas, paint: bool = False
) -> tuple[float, float]:
    """Write words from the middle of a left edge on, in lines of a width; returns where the next one would begin.

    `paint` draws them anew; else each word is cached.
    """
    left, middle, width = place
    lift, height = 2 * round(0.3 * size), 2 * round(0.66 * size)
    at = left
    for number, flaw in zip(note.words.tolist(), note.flaws.tolist(), strict=True):
        if number == NONE:
            break
        length = _width(number, size, canvas)
        if at > left and WORDS[number].word_class == STOP:
            at -= _GAP * size
        elif at + length > left + width:
            at, middle = left, middle + pitch
        look = _look(number, note)
        if paint:
            _paint_word(number, flaw, look, at, middle, size, canvas)
        else:
            area = (at, middle - lift, length + 1, height)
            painting = partial(_paint_word, number, flaw, look, at, middle, size, canvas)
            canvas.cached(f"word {number} {flaw} {look} {size}", area, painting)
        at += length + _GAP * size
    return at, middle


def _width(number: int, size: float, canvas: Canvas) -> float:
    key = (canvas.scale, size, number)
    if key not in _widths:
        _widths[key] = canvas.text_width(WORDS[number].text, size)
    return _widths[key]


def _look(number: int, note: Note) -> int:
    """0 for plain words, 1 on the topic, 2 in the tone, 3 for what was not asked for."""
    word = WORDS[number]
    if word.topic == NONE and word.tone == NONE:
        return 0
    if word.topic == note.topic:
        return 1
    return 2 if word.tone == note.tone else 3


def _paint_word(number: int, flaw: int, look: int, left: float, middle: float, size: float, canvas: Canvas) -> None:
    colors = canvas.colors
    length = _width(number, size, canvas)
    color = (colors.ink, colors.good, colors.others[0], colors.warning)[look]
    canvas.rectangle(left - 1, middle - 0.8 * size, length + 2, 1.7 * size, colors.surface)
    canvas.text(left, middle, WORDS[number].text, color, size=size)
    if flaw & SQUIGGLE:
        below, count = middle + 0.5 * size, max(round(length / (0.16 * size)), 2)
        points = [(left + length * k / count, below + (0.13 * size if k % 2 else 0)) for k in range(count + 1)]
        canvas.polyline(points, colors.bad, 2)
    if flaw & REPEATED:
        canvas.line((left, middle + 1), (left + length, middle + 1), colors.bad, 2)


def _draw_margin(task: Writing, row: SimpleNamespace, canvas: Canvas) -> None:
    x, y, _, height = _MARGIN
    middle = y + height / 2
    for left, marks, color in (
        (x + 74, row.topic_marks, canvas.colors.good),
        (x + 228, row.tone_marks, canvas.colors.others[0]),
    ):
        area = (left - 10, middle - 10, _PITCH * len(marks), 20)
        paint = partial(_paint_marks, marks, left, middle, color, canvas)
        canvas.cached(f"marks {left} {marks.tolist()}", area, paint, canvas.colors.surface)
    area = (_LENGTH[0] - 2, middle - 14, _LENGTH[2] + 4, 28)
    canvas.cached(f"length {row.length}", area, partial(_draw_length, task, row.length, canvas), canvas.colors.surface)


def _paint_marks(marks: NDArray[np.int8], left: float, middle: float, color: Color, canvas: Canvas) -> None:
    """The last marks, the newest on the right: full for right, a ring for wrong, a speck for none yet."""
    colors = canvas.colors
    for place, mark in enumerate(marks[::-1].tolist()):
        across = left + _PITCH * place
        if mark:
            canvas.circle(across, middle, 8, color if mark > 0 else colors.warning, outline=0 if mark > 0 else 3)
        else:
            canvas.circle(across, middle, 3, colors.surface_strong)


def _draw_length(task: Writing, length: int, canvas: Canvas) -> None:
    """How far the page is filled, with a line at the limit."""
    colors = canvas.colors
    x, y, width, height = _LENGTH
    canvas.rectangle(x, y, width, height, colors.surface_strong, radius=height / 2)
    if length:
        color = colors.bad if length > task.max_words else colors.muted
        canvas.rectangle(x, y, max(width * length / task.page_words, height), height, color, radius=height / 2)
    canvas.rectangle(x + width * task.max_words / task.page_words - 1, y - 6, 2, height + 12, colors.line)
