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
    from rlhf_envs.envs.writing.task import Writing

_BEFORE = (16, 14, 568, 96)
_PAGE = (16, 120, 568, 206)
_MARGIN = (16, 336, 568, 50)
_GAP = 0.28
_CHIPS, _CHIP_PITCH, _CHIP_WIDTH, _CHIP_HEIGHT = 24, 112, 108, 32
_LENGTH = (480, 366, 92, 10)

SIGNS = {
    "fluency": {1: "fits", -1: "misfit"},
    "topic": {1: "on topic", -1: "off topic"},
    "tone": {1: "in tone", -1: "off tone"},
    "repetition": {-1: "repeated"},
}
"""What the signs below the page say of the last word, by how it is judged."""

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
    request = f"{row.past_topic} {row.past_tone}"
    before = f"{row.stamp} {row.length == 0} {request} {row.past_words.tobytes()!r} {row.past_flaws.tobytes()!r}"
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
    y = _MARGIN[1]
    canvas.text(_LENGTH[0], y + 14, "length", canvas.colors.ink, size=15)
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
    if row.stamp == NONE:
        canvas.text(x + 18, y + 22, "no note yet", canvas.colors.muted, size=16)
        return
    color = (canvas.colors.good, canvas.colors.bad, canvas.colors.bad)[row.stamp]
    left, top = x + width - 120, y + 16
    new = row.length == 0
    canvas.rectangle(left, top, 106, 36, color, radius=8, outline=0 if new else 2)
    ink = canvas.colors.surface if new else color
    canvas.text(left + 53, top + 18, STAMPS[row.stamp], ink, size=18, anchor="center", bold=True)
    canvas.text(left + 53, y + height - 22, f"{row.past_length} words", canvas.colors.ink, size=16, anchor="center")
    note = Note(row.past_words, row.past_flaws, row.past_topic, row.past_tone)
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
    judged = (row.fluency, row.topic_mark, row.tone_mark, -row.repeats)
    for place, (sign, mark) in enumerate(zip(SIGNS, judged, strict=True)):
        x = _CHIPS + place * _CHIP_PITCH
        area = (x, _MARGIN[1] + (_MARGIN[3] - _CHIP_HEIGHT) / 2, _CHIP_WIDTH, _CHIP_HEIGHT)
        paint = partial(_paint_sign, area, sign, mark, canvas)
        canvas.cached(f"sign {sign} {mark}", area, paint, canvas.colors.surface)
    x, y, width, height = _LENGTH
    area = (x - 2, y - 6, width + 4, height + 12)
    canvas.cached(f"length {row.length}", area, partial(_draw_length, task, row.length, canvas), canvas.colors.surface)


def _paint_sign(area: Area, sign: str, mark: int, canvas: Canvas) -> None:
    """A sign with what it says of the last word, a tick or a cross with it; empty where there is nothing to say."""
    colors = canvas.colors
    x, y, width, height = area
    if not mark:
        canvas.rectangle(x, y, width, height, colors.surface_strong, radius=8, outline=2)
        return
    color = colors.good if mark > 0 else colors.bad
    canvas.rectangle(x, y, width, height, color, radius=8)
    left, middle = x + 12, y + height / 2
    if mark > 0:
        canvas.polyline([(left - 5, middle), (left - 2, middle + 4), (left + 5, middle - 5)], colors.surface, 2)
    else:
        canvas.line((left - 4, middle - 4), (left + 4, middle + 4), colors.surface, 2)
        canvas.line((left - 4, middle + 4), (left + 4, middle - 4), colors.surface, 2)
    canvas.text(left + 9, middle, SIGNS[sign][mark], colors.surface, size=14, bold=True)


def _draw_length(task: Writing, length: int, canvas: Canvas) -> None:
    """How far the page is filled, with a line at the limit."""
    colors = canvas.colors
    x, y, width, height = _LENGTH
    canvas.rectangle(x, y, width, height, colors.surface_strong, radius=height / 2)
    if length:
        color = colors.bad if length > task.max_words else colors.muted
        canvas.rectangle(x, y, max(width * length / task.page_words, height), height, color, radius=height / 2)
    canvas.rectangle(x + width * task.max_words / task.page_words - 1, y - 5, 2, height + 10, colors.ink)
