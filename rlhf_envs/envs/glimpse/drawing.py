"""A reader at a desk: the sheet under the lens, the answer and how it turned out, the true digit, earlier answers."""

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
    UNANSWERED,
    WRONG,
)
from rlhf_envs.envs.palette import blend

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.glimpse.task import Glimpse
    from rlhf_envs.envs.palette import Color, Palette

_LEFT, _TOP, _SIZE = 26, 22, 288
_WINDOW = _SIZE // CELLS
_PANEL = (336, 18, 248, 296)
_HEAD = (382, 76, 34)
_HEAD_AREA = (342, 36, 78, 82)
_BUBBLE = (428, 34, 142, 74)
_VERDICT = (352, 124, 216, 32)
_TRUTH, _TRUTH_TOP, _TRUTH_SIZE = 352, 168, 96
_TRUTH_WORDS = (458, 206, 112, 26)
LOOKS_X, LOOKS_Y, LOOK_WIDTH, LOOK_PITCH = 424, 284, 22, 29
_HISTORY_Y, _BOX, _BOX_PITCH = 338, 44, 73
_LENS, _LENS_SIZE = 52, (168, 168)

VERDICTS = {
    READ: "right",
    HONEST: "right: illegible",
    WRONG: "wrong",
    GAVE_UP: "it can be read",
    UNANSWERED: "no answer",
}
"""How an answer turned out, in words."""


def draw(task: Glimpse, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one reader, as `Task.draw` asks."""
    canvas.background("glimpse", lambda: _draw_desk(canvas))
    _draw_sheet(task, row, canvas)
    ink = np.rint(task.pictures.ink[row.picture] * (255 - PAPER) + PAPER).astype(np.uint8)
    canvas.image(_TRUTH, _TRUTH_TOP, _TRUTH_SIZE, _TRUTH_SIZE, _shades(canvas.colors)[ink])
    _draw_answer(row, canvas)
    _draw_looks(row, canvas)
    for age in range(min(row.answered, PAST)):
        slot = (row.answered - 1 - age) % PAST
        past = int(row.past_answers[slot]), int(row.past_verdicts[slot]), age
        area = (_past_x(age) - 1, _HISTORY_Y - 1, _BOX + 2, _BOX + 2)
        canvas.cached(f"glimpse past {past}", area, partial(_paint_past, *past, canvas), _wood(canvas.colors))


def _wood(colors: Palette) -> Color:
    return blend(colors.others[2], colors.background, 0.28)


def _draw_desk(canvas: Canvas) -> None:
    """A desk of planks, the sheet's shadow, and the panel with its captions."""
    colors = canvas.colors
    wood, grain = _wood(colors), blend(colors.others[2], colors.background, 0.4)
    canvas.rectangle(0, 0, 600, 400, wood)
    for plank in range(5):
        y = 80 * plank
        canvas.rectangle(0, y, 600, 2, grain)
        for streak in range(3):
            left = (plank * 173 + streak * 217) % 520
            canvas.rectangle(left, y + 20 + 19 * streak, 90, 1, grain)
    canvas.rectangle(
        _LEFT + 5, _TOP + 6, _SIZE, _SIZE, blend(colors.others[2], min(colors.background, colors.ink), 0.4)
    )
    canvas.rectangle(*_PANEL, colors.surface, radius=12)
    canvas.text(_TRUTH_WORDS[0], _TRUTH_TOP + 20, "really there", colors.ink, size=16)
    canvas.text(_TRUTH, LOOKS_Y + 7, "looked", colors.ink, size=16)
    for age in range(PAST):
        canvas.rectangle(_past_x(age), _HISTORY_Y, _BOX, _BOX, grain, radius=4, outline=1)


def _draw_sheet(task: Glimpse, row: SimpleNamespace, canvas: Canvas) -> None:
    """What was seen of the digit, the lens over where it looks now; the whole, once the answer was marked."""
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
        x, y = _LEFT + (across + 0.5) * _WINDOW, _TOP + (down + 0.5) * _WINDOW
        # Behind the smooth edges of the lens there is paper or what was not seen: a colour between both.
        ground = blend(canvas.colors.line, canvas.colors.surface, 0.5)
        canvas.stamp("glimpse lens", x, y, _LENS_SIZE, ground, lambda: _paint_lens(canvas))


def _paint_lens(canvas: Canvas) -> None:
    """A magnifying glass whose middle is that of the stamp."""
    colors = canvas.colors
    middle = _LENS_SIZE[0] / 2
    edge = middle + 0.707 * _LENS
    canvas.line((edge, edge), (_LENS_SIZE[0] - 8, _LENS_SIZE[1] - 8), colors.others[2], 12)
    canvas.circle(middle, middle, _LENS + 3, colors.accent, outline=7)


def _draw_answer(row: SimpleNamespace, canvas: Canvas) -> None:
    """The reader, the answer and the true digit; each has few variants, so it is painted once and cached."""
    colors = canvas.colors
    x, y, _, height = _TRUTH_WORDS
    truth = "illegible" if row.label == ILLEGIBLE else f"a {row.label}"
    write = partial(canvas.text, x, y + height / 2, truth, colors.ink, 22, bold=True)
    canvas.cached(f"glimpse truth {row.label}", _TRUTH_WORDS, write, colors.surface)
    place = row.place if row.verdict == LOOKING else PLACES
    head = partial(_paint_head, place, row.verdict, canvas)
    canvas.cached(f"glimpse head {place} {row.verdict}", _HEAD_AREA, head, colors.surface)
    said = partial(_paint_said, row.answer, row.verdict, canvas)
    area = (_BUBBLE[0] - 12, _BUBBLE[1], _BUBBLE[2] + 12, _BUBBLE[3])
    canvas.cached(f"glimpse said {row.answer} {row.verdict}", area, said, colors.surface)
    if row.verdict != LOOKING:
        judged = partial(_paint_verdict, row.verdict, canvas)
        canvas.cached(f"glimpse verdict {row.verdict}", _VERDICT, judged, colors.surface)


def _paint_head(place: int, verdict: int, canvas: Canvas) -> None:
    """The reader with glasses, whose eyes are where the lens is, and whose mouth says how the answer turned out."""
    colors = canvas.colors
    x, y, radius = _HEAD
    right = verdict in (READ, HONEST)
    skin = blend(colors.warning, colors.surface, 0.55)
    if verdict != LOOKING:
        skin = blend(colors.good if right else colors.bad, colors.surface, 0.6)
    dark, white = sorted((colors.background, colors.ink))
    canvas.circle(x, y, radius, skin)
    down, across = divmod(place, CELLS) if place < PLACES else (1, 1)
    for side in (-1, 1):
        eye = x + side * 14
        canvas.circle(eye, y - 6, 11, white)
        canvas.circle(eye, y - 6, 11, dark, outline=3)
        canvas.circle(eye + 4 * (across - 1), y - 6 + 4 * (down - 1), 4, dark)
    canvas.line((x - 4, y - 6), (x + 4, y - 6), dark, 3)
    bend = 0.0 if verdict == LOOKING else 9.0 if right else -9.0
    mouth = [(x + 14 * at, y + 18 + bend * (0.5 - at * at)) for at in (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)]
    canvas.polyline(mouth, dark, 3)


def _paint_said(answer: int, verdict: int, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, height = _BUBBLE
    middle = y + height / 2
    canvas.rectangle(x, y, width, height, colors.surface_strong, radius=14)
    canvas.polygon([(x + 2, middle - 8), (x - 12, middle + 4), (x + 2, middle + 10)], colors.surface_strong)
    if verdict == LOOKING:
        for dot in range(3):
            canvas.circle(x + width / 2 + (dot - 1) * 22, middle, 5, colors.muted)
        return
    words = "cannot tell" if answer == CANNOT_TELL else "..." if answer == SILENT else str(answer)
    size = 20 if len(words) > 1 else 50
    canvas.text(x + width / 2, middle, words, colors.ink, size=size, anchor="center", bold=True)


def _paint_verdict(verdict: int, canvas: Canvas) -> None:
    color, sign = _judgement(verdict, canvas)
    x, y, width, height = _VERDICT
    canvas.rectangle(x, y, width, height, color, radius=10)
    _draw_sign(sign, x + 22, y + height / 2, 9, canvas.colors.surface, canvas)
    canvas.text(x + 44, y + height / 2, VERDICTS[verdict], canvas.colors.surface, size=18, bold=True)


def _draw_looks(row: SimpleNamespace, canvas: Canvas) -> None:
    """One bar for each place that was looked at."""
    looked = int(row.seen.sum())
    for look in range(ENOUGH):
        color = canvas.colors.accent if look < looked else canvas.colors.surface_strong
        canvas.rectangle(LOOKS_X + look * LOOK_PITCH, LOOKS_Y, LOOK_WIDTH, 14, color)


def _paint_past(answer: int, verdict: int, age: int, canvas: Canvas) -> None:
    """An earlier sheet with its answer and a sign of how that turned out."""
    color, sign = _judgement(verdict, canvas)
    x = _past_x(age)
    canvas.rectangle(x, _HISTORY_Y, _BOX, _BOX, canvas.colors.surface, radius=4)
    canvas.rectangle(x, _HISTORY_Y + _BOX - 5, _BOX, 5, color)
    text = "?" if answer == CANNOT_TELL else "-" if answer == SILENT else str(answer)
    canvas.text(x + 14, _HISTORY_Y + 19, text, canvas.colors.ink, size=22, anchor="center", bold=True)
    _draw_sign(sign, x + 32, _HISTORY_Y + 19, 6, color, canvas)


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
    return (canvas.colors.good, "tick") if verdict in (READ, HONEST) else (canvas.colors.bad, "cross")


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
