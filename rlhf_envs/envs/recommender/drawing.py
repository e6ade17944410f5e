"""How a reader with a feed looks: the card on show, the reader's face and gauges, and the items before."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.recommender.catalogue import FORMATS, PAST, TEASER, TOPICS, headline
from rlhf_envs.envs.recommender.icons import draw_burst, draw_face, draw_topic

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.palette import Color
    from rlhf_envs.envs.recommender.rules import RecommenderRules

_CARD = (24, 24, 328, 252)
_READER = (372, 24, 204, 252)
_HISTORY = (24, 292, 552, 84)
_PICTURE_HEIGHT = 96
_TEXT_LINES = (1, 3, 6)
_TEXT_HEIGHT = 4
_BAR_HEIGHTS = (22, 26, 50)
_GAUGE_LEFT, _GAUGE_WIDTH = 394, 160
_GAUGES = (("satisfaction", 190), ("annoyance", 224), ("fatigue", 258))
_WELL_READ = 0.55
_HUES = (0, 1, 2, 4, 5, 3)


def draw(task: RecommenderRules, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one reader, as `Task.draw` asks."""
    canvas.background("recommender", lambda: _draw_panels(canvas))
    newest = (row.elapsed - 1) % PAST
    item = int(row.past_items[newest])
    if item < 0:
        canvas.text(
            _CARD[0] + _CARD[2] / 2, _CARD[1] + _CARD[3] / 2, "Opening the feed", canvas.colors.muted, 16, "center"
        )
    else:
        _draw_card(row, *divmod(item, task.topics), canvas)
        _draw_history(task, row, newest, canvas)
    _draw_reader(row, canvas)


def _draw_panels(canvas: Canvas) -> None:
    for x, y, width, height in (_CARD, _READER, _HISTORY):
        canvas.rectangle(x, y, width, height, canvas.colors.surface, radius=12)
    for label, y in _GAUGES:
        # A little further above its bar than in `canvas.gauge`, so that they do not touch in half-size clips.
        canvas.text(_GAUGE_LEFT, y - 12, label, canvas.colors.muted, size=12)
        canvas.rectangle(_GAUGE_LEFT, y, _GAUGE_WIDTH, 8, canvas.colors.surface_strong, radius=4)


def _draw_card(row: SimpleNamespace, form: int, topic: int, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, height = _CARD
    bait = form == TEASER
    canvas.keep(f"card {form} {topic}", _CARD, lambda: _draw_unread_card(form, topic, canvas))
    title = headline(topic, form, row.story)
    color = colors.bad if bait else colors.ink
    _words(
        title,
        (x + 18, y + 126, width - 36, 26),
        lambda: canvas.text(x + 18, y + 139, title, color, 19, bold=True),
        canvas,
    )
    lines = _text_lines(form)
    for line, (left, top, length) in enumerate(lines):
        part = row.share_read * len(lines) - line
        if part > 0:
            canvas.rectangle(left, top, length * min(part, 1.0), _TEXT_HEIGHT, colors.ink)
    _draw_response(row, bait, x + 18, y + height - 20, canvas)


def _draw_unread_card(form: int, topic: int, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, height = _CARD
    bait = form == TEASER
    hue = colors.others[_HUES[topic]]
    middle = (x + width / 2, y + _PICTURE_HEIGHT / 2)
    canvas.rectangle(x, y, width, height, colors.surface, radius=12)
    canvas.rectangle(x, y, width, _PICTURE_HEIGHT, hue, radius=12)
    canvas.rectangle(x, y + _PICTURE_HEIGHT - 14, width, 14, hue)
    if bait:
        draw_burst(canvas, *middle, 42, colors.bad)
        canvas.text(*middle, "!", colors.surface, size=44, anchor="center", bold=True)
    else:
        draw_topic(canvas, topic, *middle, hue)
    canvas.text(x + 18, y + 114, TOPICS[topic].name, hue, size=13, bold=True)
    label = "clickbait" if bait else FORMATS[form]
    canvas.text(x + width - 18, y + 114, label, colors.bad if bait else colors.muted, 13, "right", bold=bait)
    for left, top, length in _text_lines(form):
        canvas.rectangle(left, top, length, _TEXT_HEIGHT, colors.surface_strong)
    canvas.rectangle(x, y, width, height, colors.accent, radius=12, outline=3)


def _text_lines(form: int) -> list[tuple[float, float, float]]:
    """Where an item's lines of text lie, (left, top, length) each; the last one is short."""
    x, y, width, _ = _CARD
    count = _TEXT_LINES[form]
    return [(x + 18, y + 158 + 9 * k, (width - 36) * (0.6 if k == count - 1 else 1.0)) for k in range(count)]


def _draw_response(row: SimpleNamespace, bait: bool, x: float, y: float, canvas: Canvas) -> None:
    colors = canvas.colors
    if not row.clicked:
        words, color = "scrolled past", colors.muted
    elif bait:
        words, color = "clicked, left at once", colors.bad
    else:
        words = f"clicked, read {round(row.share_read * 10) * 10}%"
        color = colors.good if row.share_read >= _WELL_READ else colors.warning
    _words(
        words, (x - 1, y - 11, 220, 22), lambda: _draw_verdict(words, color, bool(row.clicked), x, y, canvas), canvas
    )


def _draw_verdict(words: str, color: Color, clicked: bool, x: float, y: float, canvas: Canvas) -> None:
    canvas.circle(x + 6, y, 6, color, outline=0 if clicked else 2)
    canvas.text(x + 20, y, words, color, size=15, bold=clicked)


def _words(name: str, area: tuple[float, float, float, float], write: Callable[[], None], canvas: Canvas) -> None:
    """Words on a panel, kept with the panel behind them, since laying text over a picture takes long."""

    def paint() -> None:
        canvas.rectangle(*area, canvas.colors.surface)
        write()

    canvas.keep(f"words {name}", area, paint)


def _draw_reader(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, _ = _READER
    draw_face(canvas, x + width / 2, y + 62, 42, row.mood, row.annoyance, row.fatigue)
    shares = (row.mood / 2 + 0.5, row.annoyance, row.fatigue)
    for (_, top), share, color in zip(_GAUGES, shares, (colors.good, colors.bad, colors.muted), strict=True):
        if share * _GAUGE_WIDTH >= 1:
            canvas.rectangle(_GAUGE_LEFT, top, max(share * _GAUGE_WIDTH, 8), 8, color, radius=4)


def _draw_history(task: RecommenderRules, row: SimpleNamespace, newest: int, canvas: Canvas) -> None:
    x, y, width, height = _HISTORY
    pitch = (width - 24) / PAST
    base = y + height - 16
    for age in range(PAST):
        slot = (newest - age) % PAST
        item = int(row.past_items[slot])
        if item >= 0:
            left = x + 15 + pitch * (PAST - 1 - age)
            _draw_bar(*divmod(item, task.topics), float(row.past_shares[slot]), left, base, pitch - 6, canvas)
    canvas.rectangle(x + 15 + pitch * (PAST - 1), base + 5, pitch - 6, 3, canvas.colors.accent)


def _draw_bar(form: int, topic: int, share: float, x: float, base: float, width: float, canvas: Canvas) -> None:
    """A past item: as tall as it was long, filled as far as it was read, in its topic's colour; bait is an alarm."""
    colors = canvas.colors
    height = _BAR_HEIGHTS[form]
    if form == TEASER:
        canvas.rectangle(x, base - height, width, height, colors.bad if share else colors.surface_strong)
        canvas.text(x + width / 2, base - height / 2, "!", colors.surface if share else colors.bad, 16, "center", True)
        return
    hue = colors.others[_HUES[topic]]
    canvas.rectangle(x, base - height, width, height, colors.surface_strong)
    canvas.rectangle(x, base - height, width, 3, hue)
    if share:
        canvas.rectangle(x, base - height * share, width, height * share, hue)
