"""How a reader with a feed looks: the card on show, the reader's face and gauges, and the items before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.recommender.catalogue import FORMATS, PAST, TEASER, TOPICS, headline
from rlhf_envs.envs.recommender.icons import draw_burst, draw_face, draw_topic

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.palette import Color
    from rlhf_envs.envs.recommender.rules import Recommender

_CARD = (24, 24, 328, 252)
_READER = (372, 24, 204, 252)
_HISTORY = (24, 292, 552, 84)
_PICTURE_HEIGHT = 96
_TEXT_LINES = (1, 3, 6)
_TALL = 48
_BAR_HEIGHTS = (20, 26, _TALL)
_WELL_READ = 0.55
_HUES = (0, 1, 2, 4, 5, 3)


def draw(task: Recommender, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one reader, as `Task.draw` asks."""
    canvas.background("recommender", lambda: _draw_panels(canvas))
    if row.past_items.max() < 0:
        canvas.text(_CARD[0] + _CARD[2] / 2, _CARD[1] + _CARD[3] / 2, "Opening the feed", canvas.colors.muted, 16, "center")
    else:
        newest = (row.elapsed - 1) % PAST
        _draw_card(task, row, int(row.past_items[newest]), canvas)
        _draw_history(task, row, newest, canvas)
    _draw_reader(row, canvas)


def _draw_panels(canvas: Canvas) -> None:
    for x, y, width, height in (_CARD, _READER, _HISTORY):
        canvas.rectangle(x, y, width, height, canvas.colors.surface, radius=12)


def _draw_card(task: Recommender, row: SimpleNamespace, item: int, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, height = _CARD
    form, topic = divmod(item, task.topics)
    bait = form == TEASER
    hue = colors.others[_HUES[topic]]

    canvas.rectangle(x, y, width, _PICTURE_HEIGHT, hue, radius=12)
    canvas.rectangle(x, y + _PICTURE_HEIGHT - 14, width, 14, hue)
    if bait:
        draw_burst(canvas, x + width / 2, y + _PICTURE_HEIGHT / 2, 44, colors.bad)
        canvas.text(x + width / 2, y + _PICTURE_HEIGHT / 2, "!", colors.surface, size=44, anchor="center", bold=True)
    else:
        draw_topic(canvas, topic, x + width / 2, y + _PICTURE_HEIGHT / 2, hue)

    canvas.text(x + 18, y + 114, TOPICS[topic].name, hue, size=13, bold=True)
    label = "clickbait" if bait else FORMATS[form]
    canvas.text(x + width - 18, y + 114, label, colors.bad if bait else colors.muted, size=13, anchor="right", bold=bait)
    title = headline(topic, form, row.story)
    canvas.text(x + 18, y + 139, title, colors.bad if bait else colors.ink, size=19, bold=True)
    _draw_text_lines(row, form, x + 18, y + 158, width - 36, canvas)
    _draw_response(row, bait, x + 18, y + height - 20, canvas)
    canvas.rectangle(x, y, width, height, colors.accent, radius=12, outline=3)


def _draw_text_lines(row: SimpleNamespace, form: int, x: float, y: float, width: float, canvas: Canvas) -> None:
    lines = _TEXT_LINES[form]
    read = row.share_read * lines
    for line in range(lines):
        length = width * (0.6 if line == lines - 1 else 1.0)
        canvas.rectangle(x, y + 9 * line, length, 4, canvas.colors.surface_strong, radius=2)
        part = min(max(read - line, 0.0), 1.0)
        if part > 0:
            canvas.rectangle(x, y + 9 * line, length * part, 4, canvas.colors.ink, radius=2)


def _draw_response(row: SimpleNamespace, bait: bool, x: float, y: float, canvas: Canvas) -> None:
    colors = canvas.colors
    if not row.clicked:
        words, color = "scrolled past", colors.muted
    elif bait:
        words, color = "clicked, left at once", colors.bad
    else:
        words = f"clicked, read {round(row.share_read * 10) * 10}%"
        color = colors.good if row.share_read >= _WELL_READ else colors.warning
    canvas.circle(x + 6, y, 6, color, outline=0 if row.clicked else 2)
    canvas.text(x + 20, y, words, color, size=15, bold=bool(row.clicked))


def _draw_reader(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, _ = _READER
    draw_face(canvas, x + width / 2, y + 62, 42, row.mood, row.annoyance, row.fatigue)
    left, gauge = x + 22, width - 44
    canvas.gauge(left, y + 166, gauge, "satisfaction", _rounded(row.mood / 2 + 0.5), colors.good)
    canvas.gauge(left, y + 200, gauge, "annoyance", _rounded(row.annoyance), colors.bad)
    canvas.gauge(left, y + 234, gauge, "fatigue", _rounded(row.fatigue), colors.others[3])


def _rounded(share: float) -> float:
    return round(share, 2)


def _draw_history(task: Recommender, row: SimpleNamespace, newest: int, canvas: Canvas) -> None:
    x, y, width, height = _HISTORY
    pitch = (width - 24) / PAST
    base = y + height - 16
    for age in range(PAST):
        slot = (newest - age) % PAST
        item = int(row.past_items[slot])
        if item >= 0:
            left = x + 12 + pitch * (PAST - 1 - age) + 3
            _draw_bar(task, item, row.past_shares[slot], left, base, pitch - 6, canvas)
    canvas.rectangle(x + 12 + pitch * (PAST - 1) + 3, base + 5, pitch - 6, 4, canvas.colors.accent, radius=2)


def _draw_bar(
    task: Recommender, item: int, share: float, x: float, base: float, width: float, canvas: Canvas
) -> None:
    """A past item: as tall as it was long, filled as far as it was read, in its topic's colour; bait is an alarm."""
    colors = canvas.colors
    form, topic = divmod(item, task.topics)
    height = _BAR_HEIGHTS[form]
    hue: Color = colors.others[_HUES[topic]]
    if form == TEASER:
        color = colors.bad if share else colors.surface_strong
        canvas.rectangle(x, base - height, width, height, color, radius=4)
        canvas.text(
            x + width / 2, base - height / 2, "!", colors.surface if share else colors.bad, 15, "center", bold=True
        )
        return
    canvas.rectangle(x, base - height, width, height, colors.surface_strong, radius=4)
    if share:
        canvas.rectangle(x, base - height * share, width, height * share, hue, radius=4)
    else:
        canvas.rectangle(x, base - height, width, height, hue, radius=4, outline=1)
