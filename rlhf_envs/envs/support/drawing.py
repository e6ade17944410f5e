"""How a support desk looks: the last turns of the chat, the customer's face, the evidence, and those who wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.support.customers import (
    ANGER,
    ANSWER,
    ESCALATE,
    ISSUES,
    NAME,
    REFUND,
    RETURNS,
    SOLVED,
)
from rlhf_envs.envs.support.faces import draw_face, mood_word, skin
from rlhf_envs.envs.support.wording import (
    CLOSED,
    CROSS,
    CUSTOMER_LINES,
    DESK_LINES,
    OPENINGS,
    PLEASED,
    name_of,
)

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.support.rules import Support

_CHAT = (16, 16, 348, 368)
_CUSTOMER = (376, 16, 208, 124)
_EVIDENCE = (376, 150, 208, 142)
_LINE = (376, 302, 208, 82)
_ROW, _BUBBLE = 44.0, 34.0
_TEXT = 16.0
_HUES = {ANSWER: 1, REFUND: 2, ESCALATE: 0}


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
    canvas.text(x + 16, y + 18, "What the issue may be", canvas.colors.muted, size=13)


def _draw_chat(row: SimpleNamespace, canvas: Canvas) -> None:
    steps = zip(row.past_said, row.past_heard, row.past_names, row.past_anger, strict=True)
    y = _CHAT[1] + 8 + _ROW / 2
    for said, heard, name, anger in steps:
        if said >= 0:
            _draw_desk_line(int(said), y, canvas)
        if heard >= 0:
            _draw_customer_line(int(heard), name, anger, y + _ROW, canvas)
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


def _draw_customer_line(heard: int, name: float, anger: float, y: float, canvas: Canvas) -> None:
    colors = canvas.colors
    x = _CHAT[0]
    words = CUSTOMER_LINES[heard]
    if heard in OPENINGS:
        words = f"{name_of(name)}: {words}"
    ink = colors.good if heard in PLEASED else colors.bad if heard in CROSS else colors.ink
    strong = heard in PLEASED or heard in CROSS
    canvas.rectangle(x + 42, y - _BUBBLE / 2, canvas.text_width(words, _TEXT, strong) + 24, _BUBBLE, colors.surface_strong, radius=13)
    canvas.text(x + 54, y, words, ink, size=_TEXT, bold=strong)
    draw_face(canvas, x + 25, y, 12, anger)


def _draw_customer(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, _, height = _CUSTOMER
    anger, returns = row.desk[ANGER], int(row.desk[RETURNS])
    middle = y + height / 2
    draw_face(canvas, x + 58, middle, 42, anger)
    canvas.text(x + 116, middle - 28, name_of(row.desk[NAME]), colors.ink, size=20, bold=True)
    canvas.text(x + 116, middle, mood_word(anger), skin(colors, round(anger, 1)), size=16, bold=True)
    visit = f"back {returns}x" if returns else "first visit"
    canvas.text(x + 116, middle + 26, visit, colors.bad if returns else colors.muted, size=15, bold=returns > 0)


def _draw_evidence(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, _ = _EVIDENCE
    likeliest = int(row.desk[: len(ISSUES)].argmax())
    for number, issue in enumerate(ISSUES):
        middle = y + 42 + 20 * number
        known = number == likeliest
        color = colors.muted if not known else colors.good if row.desk[SOLVED] else colors.others[_HUES[issue.remedy]]
        canvas.text(x + 16, middle, issue.name, colors.ink if known else colors.muted, size=14, bold=known)
        start, room = x + 92, width - 108
        canvas.rectangle(start, middle - 5, room, 10, colors.surface_strong, radius=5)
        share = round(float(row.desk[number]), 2) * room
        if share >= 1:
            canvas.rectangle(start, middle - 5, max(share, 10), 10, color, radius=5)


def _draw_line(task: Support, row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, height = _LINE
    pitch = 32
    for slot in range(task.caseload):
        served = slot == row.serving
        middle = x + 24 + pitch * slot
        draw_face(canvas, middle, y + 28, 13, row.desk[ANGER] if served else row.line[ANGER, slot])
        if served:
            canvas.circle(middle, y + 28, 16, colors.accent, outline=2)
    base = y + height - 20
    canvas.text(x + 16, base, f"closed {row.closed}", colors.muted, size=16)
    canvas.text(
        x + width - 16, base, f"solved {row.resolved}", colors.good if row.resolved else colors.bad, 16, "right", bold=True
    )
