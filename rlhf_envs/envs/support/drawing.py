"""The support desk: the last turns of the chat, the customer's face, the evidence, and the waiting line."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.palette import Color, blend
from rlhf_envs.envs.support.task import (
    ANGER,
    ANSWER,
    CLOSED,
    CLOSED_SOLVED,
    CROSS,
    CUSTOMER_LINES,
    DESK_LINES,
    ESCALATE,
    ESCALATED,
    ISSUES,
    NAME,
    OPENINGS,
    PAST,
    PLEASED,
    REFUND,
    REFUNDED,
    RETURNS,
    SOLVED,
    WASTED,
    name_of,
)

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.support.task import Support

_CHAT = (16, 16, 348, 368)
_CUSTOMER = (376, 16, 208, 124)
_EVIDENCE = (376, 150, 208, 142)
LINE = (376, 302, 208, 82)
_ROW, _BUBBLE = 44.0, 34.0
NEWEST_TURN = _CHAT[1] + 8 + (2 * PAST - 1.5) * _ROW
"""The middle of the line that the desk has said last."""

_TEXT = 16.0
_SIGNS = {REFUNDED: REFUND, ESCALATED: ESCALATE, WASTED: REFUND, WASTED + 1: ESCALATE}
_HUES = {ANSWER: 1, REFUND: 2, ESCALATE: 0}
_MOODS = ((0.2, "content"), (0.45, "patient"), (0.7, "annoyed"), (1.01, "furious"))
_BENDS = (0.34, 0.14, -0.14, -0.34)
"""How far each mood bends the mouth, up where positive, as a share of the face's radius."""

_BROWS = ((0.5, 0.5), (0.5, 0.5), (0.42, 0.54), (0.36, 0.6))
"""How high the inner and the outer ends of the brows lie in each mood, likewise."""

_SMALL = 20
BAR_LEFT, _BAR_WIDTH, _BAR_HEIGHT = 472, 96, 12
ANGER_BAR, WAITING_BAR = 114, 362
"""The upper edges of the bars that show the anger of the customer at the desk, and of those who wait."""


def draw(task: Support, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one desk, as `Task.draw` asks."""
    canvas.background("support", lambda: _draw_panels(canvas))
    _draw_chat(row, canvas)
    _draw_customer(row, canvas)
    _draw_evidence(row, canvas)
    _draw_line(task, row, canvas)


def _draw_panels(canvas: Canvas) -> None:
    for x, y, width, height in (_CHAT, _CUSTOMER, _EVIDENCE, LINE):
        canvas.rectangle(x, y, width, height, canvas.colors.surface, radius=12)
    x, y, _, _ = _EVIDENCE
    canvas.text(x + 16, y + 18, "likely issue", canvas.colors.ink, size=16, bold=True)
    for number, issue in enumerate(ISSUES):
        middle = y + 41 + 21 * number
        canvas.text(x + 16, middle, issue.name, canvas.colors.ink, size=16)
        canvas.rectangle(BAR_LEFT, middle - 5, _BAR_WIDTH, 10, canvas.colors.surface_strong)
    for label, top in (("anger", ANGER_BAR), ("waiting", WAITING_BAR)):
        canvas.text(x + 16, top + _BAR_HEIGHT / 2, label, canvas.colors.ink, size=16)
        _draw_bar(top, 1.0, canvas.colors.surface_strong, canvas)


def _draw_bar(top: float, share: float, color: Color, canvas: Canvas) -> None:
    if share * _BAR_WIDTH >= 1:
        canvas.rectangle(BAR_LEFT, top, share * _BAR_WIDTH, _BAR_HEIGHT, color)


def _draw_chat(row: SimpleNamespace, canvas: Canvas) -> None:
    """The last turns, the newest below in full colours, the earlier ones pale: only the newest is paid for."""
    x, top, width, _ = _CHAT
    y, surface = top + 8 + _ROW / 2, canvas.colors.surface
    turns = zip(row.past_said, row.past_heard, row.past_names, row.past_anger, strict=True)
    for age, (said, heard, name, anger) in enumerate(turns, start=1 - PAST):
        pale = age < 0
        if said >= 0:
            line = int(said)
            area = (x + 12, y - 18, width - 24, 36.0)
            canvas.cached(f"desk {line} {y}", area, partial(_draw_desk_line, line, y, pale, canvas), surface)
        if heard >= 0:
            below = y + _ROW
            words = CUSTOMER_LINES[heard]
            if heard in OPENINGS:
                words = f"{name_of(name)}: {words}"
            area = (x + 40, below - 18, width - 52, 36.0)
            write = partial(_draw_customer_line, int(heard), words, below, pale, canvas)
            canvas.cached(f"{words} {below}", area, write, surface)
            _cached_face(canvas, x + 25, below, 12, anger)
        y += 2 * _ROW


def _draw_desk_line(said: int, y: float, pale: bool, canvas: Canvas) -> None:
    colors = canvas.colors
    x, _, width, _ = _CHAT
    words = DESK_LINES[said]
    if CLOSED <= said < WASTED:
        color = colors.good if said == CLOSED_SOLVED else colors.bad
        half = canvas.text_width(words, _TEXT, bold=True) / 2 + 26
        middle = x + width / 2
        canvas.rectangle(x + 16, y - 1, width - 32, 2, blend(color, colors.surface, 0.4) if pale else color)
        if pale:
            canvas.rectangle(middle - half, y - 13, 2 * half, 26, colors.surface)
        else:
            canvas.rectangle(middle - half, y - 13, 2 * half, 26, color, radius=13)
        ink = color if pale else colors.surface
        _draw_verdict(said == CLOSED_SOLVED, middle - half + 14, y, ink, canvas)
        canvas.text(middle + 8, y, words, ink, size=_TEXT, anchor="center", bold=True)
        return
    length = canvas.text_width(words, _TEXT) + 24
    left = x + width - 12 - length
    if pale:
        canvas.rectangle(left, y - _BUBBLE / 2, length, _BUBBLE, colors.accent, radius=13, outline=2)
    else:
        canvas.rectangle(left, y - _BUBBLE / 2, length, _BUBBLE, colors.accent, radius=13)
    canvas.text(x + width - 24, y, words, colors.accent if pale else colors.surface, size=_TEXT, anchor="right")
    if said in _SIGNS:
        _draw_sign(_SIGNS[said], x + width - 34 - length, y, canvas)
    if said >= WASTED:
        canvas.text(left - 40, y, "not due", colors.bad, size=_TEXT, anchor="right", bold=True)


def _draw_verdict(good: bool, x: float, y: float, color: Color, canvas: Canvas) -> None:
    """A tick or a cross, so that good and bad endings differ without colour."""
    if good:
        canvas.polyline([(x - 6, y), (x - 2, y + 5), (x + 6, y - 6)], color, 3)
    else:
        canvas.line((x - 5, y - 5), (x + 5, y + 5), color, 3)
        canvas.line((x - 5, y + 5), (x + 5, y - 5), color, 3)


def _draw_sign(remedy: int, x: float, y: float, canvas: Canvas) -> None:
    """A coin for money, an arrow upwards for a hand-over."""
    ink = canvas.colors.surface
    canvas.circle(x, y, 13, canvas.colors.others[_HUES[remedy]])
    if remedy == REFUND:
        canvas.text(x, y, "$", ink, size=18, anchor="center", bold=True)
    else:
        canvas.polygon([(x - 7, y + 1), (x, y - 8), (x + 7, y + 1)], ink)
        canvas.rectangle(x - 2, y, 4, 8, ink)


def _draw_customer_line(heard: int, words: str, y: float, pale: bool, canvas: Canvas) -> None:
    colors = canvas.colors
    left = _CHAT[0] + 42
    ink = colors.good if heard in PLEASED else colors.bad if heard in CROSS else colors.ink
    bold = ink != colors.ink
    length = canvas.text_width(words, _TEXT, bold) + 24
    if pale:
        canvas.rectangle(left, y - _BUBBLE / 2, length, _BUBBLE, colors.surface_strong, radius=13, outline=2)
    else:
        canvas.rectangle(left, y - _BUBBLE / 2, length, _BUBBLE, colors.surface_strong, radius=13)
    canvas.text(left + 12, y, words, ink, size=_TEXT, bold=bold)


def _mood(anger: float) -> int:
    """The place in `_MOODS` of an anger from 0 to 1."""
    return next(place for place, (limit, _) in enumerate(_MOODS) if anger < limit)


def _cached_face(canvas: Canvas, x: float, y: float, radius: float, anger: float) -> None:
    mood = _mood(float(anger))
    area = (x - radius - 1, y - radius - 1, 2 * radius + 2, 2 * radius + 2)
    paint = partial(_draw_face, canvas, x, y, radius, mood)
    canvas.cached(f"face {x} {y} {mood}", area, paint, canvas.colors.surface)


def _draw_customer(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, _, _ = _CUSTOMER
    anger, returns = row.desk[ANGER], int(row.desk[RETURNS])
    _cached_face(canvas, x + 52, y + 48, 34, anger)
    canvas.text(x + 104, y + 24, name_of(row.desk[NAME]), colors.ink, size=20, bold=True)
    canvas.text(x + 104, y + 48, _MOODS[_mood(anger)][1], colors.ink, size=17)
    visit = f"back {returns}x" if returns else "first visit"
    canvas.text(x + 104, y + 72, visit, colors.bad if returns else colors.ink, size=16, bold=returns > 0)
    _draw_bar(ANGER_BAR, float(anger), colors.bad, canvas)


def _draw_evidence(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    y = _EVIDENCE[1]
    likeliest = int(row.desk[: len(ISSUES)].argmax())
    for number, issue in enumerate(ISSUES):
        middle = y + 41 + 21 * number
        likely = number == likeliest
        color = colors.good if row.desk[SOLVED] else colors.others[_HUES[issue.remedy]]
        share = round(float(row.desk[number]), 2) * _BAR_WIDTH
        if share >= 1:
            canvas.rectangle(BAR_LEFT, middle - 5, share, 10, color if likely else colors.muted)


def _draw_line(task: Support, row: SimpleNamespace, canvas: Canvas) -> None:
    """The waiting customers, a ring where the one at the desk has sat, and a cross where one has just left."""
    colors = canvas.colors
    x, y, _, _ = LINE
    pitch, middle = 32, y + 28
    for slot in range(task.caseload):
        across = x + 24 + pitch * slot
        if slot == row.serving:
            canvas.circle(across, middle, 13, colors.accent, outline=2)
            continue
        _cached_face(canvas, across, middle, 13, row.line[ANGER, slot])
        if slot == row.left:
            for side in (-1, 1):
                canvas.line((across - 11, middle - 11 * side), (across + 11, middle + 11 * side), colors.bad, 5)
    _draw_bar(WAITING_BAR, float(task.waiting_anger(row.line[ANGER])), colors.bad, canvas)


def _draw_face(canvas: Canvas, x: float, y: float, radius: float, mood: int) -> None:
    """A face around (x, y) in a mood, a place in `_MOODS`: colour, brows and mouth say the same."""
    colors = canvas.colors
    ink = min(colors.background, colors.ink, key=sum)
    skin = (colors.good, blend(colors.good, colors.warning, 0.5), colors.warning, colors.bad)[mood]
    canvas.circle(x, y, radius, skin)
    stroke = max(radius * 0.09, 2)
    for side in (-1, 1):
        canvas.circle(x + side * radius * 0.36, y - radius * 0.12, radius * 0.13, ink)
        if radius > _SMALL:
            inner, outer = (y - radius * height for height in _BROWS[mood])
            canvas.line((x + side * radius * 0.18, inner), (x + side * radius * 0.56, outer), ink, stroke)
    bend = radius * _BENDS[mood]
    places = (-1, -0.7, -0.35, 0, 0.35, 0.7, 1) if radius > _SMALL else (-1, -0.4, 0.4, 1)
    mouth = [(x + radius * 0.46 * across, y + radius * 0.44 + bend * (0.5 - across * across)) for across in places]
    canvas.polyline(mouth, ink, stroke)
