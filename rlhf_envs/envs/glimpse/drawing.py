"""The reader of digits: what it has seen, the true digit, its answer, and how earlier answers turned out."""

from __future__ import annotations

from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.glimpse.task import (
    CANNOT_TELL,
    CELL,
    CELLS,
    ENOUGH,
    GAVE_UP,
    HONEST,
    ILLEGIBLE,
    IN_WINDOW,
    LOOKING,
    PAPER,
    PAST,
    PLACES,
    READ,
    REMEMBERED,
    SIDE,
    SILENT,
)

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.glimpse.task import Glimpse
    from rlhf_envs.envs.palette import Color, Palette

_LEFT, _TOP, _SIZE = 24, 24, 288
_WINDOW = _SIZE // CELLS
_PANEL = (332, 24, 244, 288)
_TRUTH, _TRUTH_TOP, _TRUTH_SIZE = 352, 62, 96
_TRUTH_WORDS = (464, 98, 104, 24)
_SAID = (352, 194, 204, 62)
_LOOKS_Y, _LOOK_WIDTH = 290, 36
_HISTORY_Y, _BOX, _BOX_PITCH = 336, 40, 73


def draw(task: Glimpse, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one reader, as `Task.draw` asks."""
    canvas.background("glimpse", lambda: _draw_panel(canvas))
    _draw_view(task, row, canvas)
    ink = np.rint(task.pictures.ink[row.picture] * (255 - PAPER) + PAPER).astype(np.uint8)
    canvas.image(_TRUTH, _TRUTH_TOP, _TRUTH_SIZE, _TRUTH_SIZE, _shades(canvas.colors)[ink])
    _draw_answer(row, canvas)
    _draw_looks(row, canvas)
    for age in range(min(row.answered, PAST)):
        slot = (row.answered - 1 - age) % PAST
        past = int(row.past_answers[slot]), int(row.past_verdicts[slot]), age
        area = (_past_x(age) - 1, _HISTORY_Y - 1, _BOX + 2, _BOX + 2)
        canvas.cached(f"glimpse past {past}", area, partial(_paint_past, *past, canvas))


def _draw_panel(canvas: Canvas) -> None:
    colors = canvas.colors
    canvas.rectangle(*_PANEL, colors.surface, radius=12)
    canvas.text(_TRUTH, 45, "really there", colors.muted, size=14)
    canvas.text(_TRUTH, 180, "says", colors.muted, size=14)
    canvas.text(_TRUTH, _LOOKS_Y - 12, "looked", colors.muted, size=14)
    for age in range(PAST):
        canvas.rectangle(_past_x(age), _HISTORY_Y, _BOX, _BOX, colors.surface, radius=8)


def _draw_view(task: Glimpse, row: SimpleNamespace, canvas: Canvas) -> None:
    """What was seen of the digit, the window around where it looks now; the rest pale once the answer was marked."""
    marked = row.verdict > LOOKING
    level = row.seen * IN_WINDOW if marked else row.seen * REMEMBERED
    level = np.maximum(level, REMEMBERED * marked)
    level[row.place] = IN_WINDOW
    indices = (level * len(task.pictures.labels) + row.picture) * PLACES + np.arange(PLACES)
    tiles = task.pictures.tiles[indices].reshape(CELLS, CELLS, CELL, CELL)
    view = tiles.transpose(0, 2, 1, 3).reshape(SIDE, SIDE)
    canvas.image(_LEFT, _TOP, _SIZE, _SIZE, _shades(canvas.colors)[view])
    if marked:
        color, _ = _judgement(row.verdict, canvas)
        canvas.rectangle(_LEFT - 3, _TOP - 3, _SIZE + 6, _SIZE + 6, color, radius=3, outline=6)
    else:
        down, across = divmod(row.place, CELLS)
        x, y = _LEFT + across * _WINDOW, _TOP + down * _WINDOW
        canvas.rectangle(x - 3, y - 3, _WINDOW + 6, _WINDOW + 6, canvas.colors.accent, radius=3, outline=6)


def _draw_answer(row: SimpleNamespace, canvas: Canvas) -> None:
    """The true digit and the answer; both have few variants, so each is painted once and cached."""
    colors = canvas.colors
    x, y, _, height = _TRUTH_WORDS
    truth = "illegible" if row.label == ILLEGIBLE else f"a {row.label}"
    write = partial(canvas.text, x, y + height / 2, truth, colors.ink, 18, bold=True)
    canvas.cached(f"glimpse truth {row.label}", _TRUTH_WORDS, write, colors.surface)
    said = (row.answer, row.verdict)
    canvas.cached(f"glimpse said {said}", _SAID, lambda: _paint_said(*said, canvas), colors.surface)


def _paint_said(answer: int, verdict: int, canvas: Canvas) -> None:
    x, y, width, height = _SAID
    middle = y + height / 2
    if verdict == LOOKING:
        for dot in range(3):
            canvas.circle(x + 6 + dot * 18, middle, 4, canvas.colors.line)
        return
    color, sign = _judgement(verdict, canvas)
    words = "cannot tell" if answer == CANNOT_TELL else "nothing" if answer == SILENT else str(answer)
    canvas.text(x, middle, words, color, size=22 if len(words) > 1 else 54, bold=True)
    _draw_sign(sign, x + width - 18, middle, 16, color, canvas)


def _draw_looks(row: SimpleNamespace, canvas: Canvas) -> None:
    """One bar for each place that was looked at."""
    looked = int(row.seen.sum())
    for look in range(ENOUGH):
        color = canvas.colors.accent if look < looked else canvas.colors.surface_strong
        canvas.rectangle(_TRUTH + look * (_LOOK_WIDTH + 6), _LOOKS_Y, _LOOK_WIDTH, 8, color)


def _paint_past(answer: int, verdict: int, age: int, canvas: Canvas) -> None:
    color, sign = _judgement(verdict, canvas)
    x = _past_x(age)
    canvas.rectangle(x, _HISTORY_Y, _BOX, _BOX, canvas.colors.surface, radius=8)
    canvas.rectangle(x, _HISTORY_Y, _BOX, _BOX, color, radius=8, outline=2)
    text = "?" if answer == CANNOT_TELL else "-" if answer == SILENT else str(answer)
    canvas.text(x + 13, _HISTORY_Y + _BOX / 2, text, color, size=20, anchor="center", bold=True)
    _draw_sign(sign, x + 28, _HISTORY_Y + _BOX / 2, 5, color, canvas)


def _draw_sign(sign: str, x: float, y: float, size: float, color: Color, canvas: Canvas) -> None:
    """A tick or a cross around its centre."""
    width = max(size / 2.8, 2)
    if sign == "tick":
        canvas.polyline([(x - size, y), (x - size / 3, y + size * 0.7), (x + size, y - size * 0.8)], color, width)
    else:
        canvas.line((x - size * 0.8, y - size * 0.8), (x + size * 0.8, y + size * 0.8), color, width)
        canvas.line((x - size * 0.8, y + size * 0.8), (x + size * 0.8, y - size * 0.8), color, width)


def _judgement(verdict: int, canvas: Canvas) -> tuple[Color, str]:
    """The colour and the sign of how an answer turned out."""
    if verdict in (READ, HONEST):
        return canvas.colors.good, "tick"
    return (canvas.colors.warning if verdict == GAVE_UP else canvas.colors.bad), "cross"


def _past_x(age: int) -> float:
    """The newest is on the right."""
    return _LEFT + (PAST - 1 - age) * _BOX_PITCH


@cache
def _shades(colors: Palette) -> NDArray[np.uint8]:
    """The colour of every grey: of what is not seen, of paper, and of ink, (256, 3)."""
    known = np.array([colors.line, colors.surface, colors.ink], dtype=np.float64)
    greys = np.arange(256)
    channels = [np.interp(greys, [0, PAPER, 255], known[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)
