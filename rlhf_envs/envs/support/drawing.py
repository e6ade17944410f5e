"""The support desk: the last turns of the chat, the customer's face, the evidence, and the waiting line."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.palette import Color, Palette, blend
from rlhf_envs.envs.support.task import (
    ANGER,
    ANSWER,
    CLOSED,
    CROSS,
    CUSTOMER_LINES,
    DESK_LINES,
    ESCALATE,
    ESCALATED,
    ISSUES,
    NAME,
    OPENINGS,
    PLEASED,
    REFUND,
    REFUNDED,
    RETURNS,
    SOLVED,
    name_of,
)

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.support.task import Support

_CHAT = (16, 16, 348, 368)
_CUSTOMER = (376, 16, 208, 124)
_EVIDENCE = (376, 150, 208, 142)
_LINE = (376, 302, 208, 82)
_ROW, _BUBBLE = 44.0, 34.0
_TEXT = 16.0
_SIGNS = {REFUNDED: REFUND, ESCALATED: ESCALATE}
_HUES = {ANSWER: 1, REFUND: 2, ESCALATE: 0}
_MOODS = ((0.2, "content"), (0.45, "patient"), (0.7, "annoyed"), (1.01, "furious"))
_SMALL = 20


def draw(task: Support, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one desk, as `Task.draw` asks."""
    canvas.background("support", lambda: _draw_panels(canvas))
    _draw_chat(row, canvas)
    _draw_customer(row, canvas)
    _draw_evidence(row, canvas)
    _draw_line(task, row, canvas)


def _draw_panels(canvas: Canvas) -> None:
    for x, y, width, height in (_CHAT, _CUSTOMER, _EVIDENCE, _LINE):
        canvas.rectangle(x, y, width, height, canvas.colors.surface, radius=12)
    x, y, width, _ = _EVIDENCE
    canvas.text(x + 16, y + 18, "likely issue", canvas.colors.muted, size=13)
    for number, issue in enumerate(ISSUES):
        middle = y + 41 + 21 * number
        canvas.text(x + 16, middle, issue.name, canvas.colors.muted, size=14)
        canvas.rectangle(x + 92, middle - 5, width - 108, 10, canvas.colors.surface_strong, radius=5)


def _draw_chat(row: SimpleNamespace, canvas: Canvas) -> None:
    x, top, width, _ = _CHAT
    y, surface = top + 8 + _ROW / 2, canvas.colors.surface
    for said, heard, name, anger in zip(row.past_said, row.past_heard, row.past_names, row.past_anger, strict=True):
        if said >= 0:
            line = int(said)
            area = (x + 12, y - 18, width - 24, 36.0)
            canvas.cached(f"desk {line} {y}", area, partial(_draw_desk_line, line, y, canvas), surface)
        if heard >= 0:
            below = y + _ROW
            words = CUSTOMER_LINES[heard]
            if heard in OPENINGS:
                words = f"{name_of(name)}: {words}"
            area = (x + 40, below - 18, width - 52, 36.0)
            write = partial(_draw_customer_line, int(heard), words, below, canvas)
            canvas.cached(f"{words} {below}", area, write, surface)
            _cached_face(canvas, x + 25, below, 12, anger)
        y += 2 * _ROW


def _draw_desk_line(said: int, y: float, canvas: Canvas) -> None:
    colors = canvas.colors
    x, _, width, _ = _CHAT
    words = DESK_LINES[said]
    if said >= CLOSED:
        color = colors.good if said > CLOSED else colors.bad
        half = canvas.text_width(words, _TEXT, bold=True) / 2 + 16
        middle = x + width / 2
        canvas.rectangle(x + 16, y - 1, width - 32, 2, color)
        canvas.rectangle(middle - half, y - 13, 2 * half, 26, color, radius=13)
        canvas.text(middle, y, words, colors.surface, size=_TEXT, anchor="center", bold=True)
        return
    length = canvas.text_width(words, _TEXT) + 24
    canvas.rectangle(x + width - 12 - length, y - _BUBBLE / 2, length, _BUBBLE, colors.accent, radius=13)
    canvas.text(x + width - 24, y, words, colors.surface, size=_TEXT, anchor="right")
    if said in _SIGNS:
        _draw_sign(_SIGNS[said], x + width - 34 - length, y, canvas)


def _draw_sign(remedy: int, x: float, y: float, canvas: Canvas) -> None:
    """A coin for money, an arrow upwards for a hand-over."""
    ink = canvas.colors.surface
    canvas.circle(x, y, 13, canvas.colors.others[_HUES[remedy]])
    if remedy == REFUND:
        canvas.text(x, y, "$", ink, size=18, anchor="center", bold=True)
    else:
        canvas.polygon([(x - 7, y + 1), (x, y - 8), (x + 7, y + 1)], ink)
        canvas.rectangle(x - 2, y, 4, 8, ink)


def _draw_customer_line(heard: int, words: str, y: float, canvas: Canvas) -> None:
    colors = canvas.colors
    left = _CHAT[0] + 42
    ink = colors.good if heard in PLEASED else colors.bad if heard in CROSS else colors.ink
    bold = ink != colors.ink
    length = canvas.text_width(words, _TEXT, bold) + 24
    canvas.rectangle(left, y - _BUBBLE / 2, length, _BUBBLE, colors.surface_strong, radius=13)
    canvas.text(left + 12, y, words, ink, size=_TEXT, bold=bold)


def _cached_face(canvas: Canvas, x: float, y: float, radius: float, anger: float) -> None:
    shown = round(float(anger), 1)
    area = (x - radius - 1, y - radius - 1, 2 * radius + 2, 2 * radius + 2)
    paint = partial(_draw_face, canvas, x, y, radius, shown)
    canvas.cached(f"face {x} {y} {shown}", area, paint, canvas.colors.surface)


def _draw_customer(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, _, height = _CUSTOMER
    anger, returns = row.desk[ANGER], int(row.desk[RETURNS])
    middle = y + height / 2
    _cached_face(canvas, x + 58, middle, 42, anger)
    canvas.text(x + 116, middle - 28, name_of(row.desk[NAME]), colors.ink, size=20, bold=True)
    mood = next(word for limit, word in _MOODS if anger < limit)
    canvas.text(x + 116, middle, mood, _skin(colors, round(float(anger), 1)), size=16, bold=True)
    visit = f"back {returns}x" if returns else "first visit"
    canvas.text(x + 116, middle + 26, visit, colors.bad if returns else colors.muted, size=15, bold=returns > 0)


def _draw_evidence(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, _ = _EVIDENCE
    likeliest = int(row.desk[: len(ISSUES)].argmax())
    for number, issue in enumerate(ISSUES):
        middle = y + 41 + 21 * number
        likely = number == likeliest
        color = colors.good if row.desk[SOLVED] else colors.others[_HUES[issue.remedy]]
        share = round(float(row.desk[number]), 2) * (width - 108)
        if share >= 1:
            canvas.rectangle(x + 92, middle - 5, max(share, 10), 10, color if likely else colors.muted, radius=5)


def _draw_line(task: Support, row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, height = _LINE
    pitch = 32
    for slot in range(task.caseload):
        served = slot == row.serving
        middle = x + 24 + pitch * slot
        _cached_face(canvas, middle, y + 28, 13, row.desk[ANGER] if served else row.line[ANGER, slot])
        if served:
            canvas.circle(middle, y + 28, 16, colors.accent, outline=2)
    base = y + height - 20
    canvas.text(x + 16, base, f"closed {row.closed}", colors.muted, size=16)
    color = colors.muted if not row.closed else colors.good if 2 * row.resolved > row.closed else colors.bad
    canvas.text(x + width - 16, base, f"solved {row.resolved}", color, size=16, anchor="right", bold=True)


def _draw_face(canvas: Canvas, x: float, y: float, radius: float, anger: float) -> None:
    """A face around (x, y); `anger` is from 0 to 1."""
    ink = min(canvas.colors.background, canvas.colors.ink, key=sum)
    canvas.circle(x, y, radius, _skin(canvas.colors, anger))
    stroke = max(radius * 0.09, 2)
    for side in (-1, 1):
        canvas.circle(x + side * radius * 0.36, y - radius * 0.12, radius * 0.13, ink)
        if radius > _SMALL:
            inner, outer = y - radius * (0.5 - 0.22 * anger), y - radius * (0.46 + 0.12 * anger)
            canvas.line((x + side * radius * 0.18, inner), (x + side * radius * 0.56, outer), ink, stroke)
    bend = radius * 0.34 * (1 - 2 * anger)
    places = (-1, -0.7, -0.35, 0, 0.35, 0.7, 1) if radius > _SMALL else (-1, -0.4, 0.4, 1)
    mouth = [(x + radius * 0.46 * across, y + radius * 0.44 + bend * (0.5 - across * across)) for across in places]
    canvas.polyline(mouth, ink, stroke)


def _skin(colors: Palette, anger: float) -> Color:
    """The colour of a face: from calm over uneasy to angry."""
    if anger < 0.5:
        return blend(colors.warning, colors.good, anger * 2)
    return blend(colors.bad, colors.warning, anger * 2 - 1)
