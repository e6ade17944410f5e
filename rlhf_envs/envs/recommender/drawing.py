"""A reader and their feed: the current card, the reader's face and gauges, and the earlier items."""

from __future__ import annotations

from functools import partial
from math import cos, pi, sin
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.palette import Color, blend
from rlhf_envs.envs.recommender.task import FORMATS, PAST, TEASER, TOPIC_NAMES

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.recommender.task import Recommender

_CARD = (24, 24, 328, 252)
_READER = (372, 24, 204, 252)
_HISTORY = (24, 292, 552, 84)
_PICTURE_HEIGHT = 96
_TEXT_LINES = (1, 3, 6)
_TEXT_HEIGHT = 4
_BAR_HEIGHTS = (22, 26, 50)
GAUGE_LEFT, GAUGE_WIDTH = 394, 160
GAUGES = {"mood": 186, "variety": 222, "fatigue": 258}
"""The bars of the reader's panel, and their upper edges."""

ENJOYED = (264, 251, 72)
"""The bar of how much the item was enjoyed: left edge, upper edge and width; its middle is neither way."""

_BAR_HEIGHT = 10
_WELL_READ = 0.55
_HUES = (0, 1, 2, 4, 5, 3)

_ACROSS = (-1, -0.6, -0.3, 0, 0.3, 0.6, 1)
_MOODS = ((-0.4, "fed up"), (-0.1, "bored"), (0.1, "so-so"), (0.4, "content"), (1.1, "happy"))

_TOPICS = {
    "Science": (
        ("A new moon for Saturn", "Bees can count to five", "Warmest March on record"),
        ("How whales name friends", "The ice that remembers", "A clock made of light"),
    ),
    "Sport": (
        ("Home side wins at last", "Marathon route changed", "Cup draw: who meets whom"),
        ("The coach who listens", "A season on one knee", "Why rowers never look back"),
    ),
    "Music": (
        ("Festival names its stars", "New record out on Friday", "Choir seeks tenors"),
        ("The last cello maker", "A summer of one song", "How a city learned jazz"),
    ),
    "Travel": (
        ("Night trains are back", "Three quiet islands", "Old bridge reopens"),
        ("On foot across the Alps", "The harbour at the end", "A year of slow roads"),
    ),
    "Food": (
        ("Soup for four in ten minutes", "Plum harvest begins", "Bread prices fall"),
        ("The baker of the north", "What salt has seen", "One recipe, five families"),
    ),
    "Film": (
        ("Old cinema saved", "Jury picks a first film", "Tickets from Monday"),
        ("The man who cut the film", "Shot in one long night", "A script found twice"),
    ),
}
"""Each topic's headlines, of briefs and of long reads."""

_TEASERS = (
    "You WON'T believe this!",
    "Doctors HATE this trick!",
    "Number 7 will SHOCK you!",
    "What she did NEXT...!",
    "You need to see THIS!",
)


def draw(task: Recommender, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one reader, as `Task.draw` asks."""
    canvas.background("recommender", lambda: _draw_panels(canvas))
    newest = (row.elapsed - 1) % PAST
    item = int(row.past_items[newest])
    if item < 0:
        x, y, width, height = _CARD
        canvas.text(x + width / 2, y + height / 2, "Opening the feed", canvas.colors.muted, 16, "center")
    else:
        _draw_card(row, *divmod(item, task.topics), canvas)
        _draw_history(task, row, newest, canvas)
    _draw_reader(row, canvas)


def _draw_panels(canvas: Canvas) -> None:
    for x, y, width, height in (_CARD, _READER, _HISTORY):
        canvas.rectangle(x, y, width, height, canvas.colors.surface, radius=12)
    for label, y in GAUGES.items():
        canvas.text(GAUGE_LEFT, y - 13, label, canvas.colors.ink, size=16)
        canvas.rectangle(GAUGE_LEFT, y, GAUGE_WIDTH, _BAR_HEIGHT, canvas.colors.surface_strong)


def _draw_card(row: SimpleNamespace, form: int, topic: int, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, height = _CARD
    bait = form == TEASER
    canvas.cached(f"card {form} {topic}", _CARD, lambda: _draw_unread_card(form, topic, canvas))
    title = _headline(topic, form, row.story)
    color = colors.bad if bait else colors.ink
    place = (x + 18, y + 126, width - 36, 26)
    write = partial(canvas.text, x + 18, y + 139, title, color, 17, bold=True)
    canvas.cached(f"words {title}", place, write, colors.surface)
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
        star = [_around(*middle, 42 if k % 2 else 0.76 * 42, k * pi / 12) for k in range(24)]
        canvas.polygon(star, colors.bad)
        canvas.text(*middle, "!", colors.surface, size=44, anchor="center", bold=True)
    else:
        _SIGNS[topic](canvas, *middle, colors.surface, hue)
    canvas.text(x + 18, y + 114, TOPIC_NAMES[topic], hue, size=13, bold=True)
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


def _headline(topic: int, form: int, pick: float) -> str:
    """The headline of an item; `pick` in [0, 1) chooses among those there are."""
    choices = (_TEASERS, *list(_TOPICS.values())[topic])[form]
    return choices[int(pick * len(choices))]


def _draw_response(row: SimpleNamespace, bait: bool, x: float, y: float, canvas: Canvas) -> None:
    colors = canvas.colors
    if not row.clicked:
        words, color = "scrolled past", colors.muted
    elif bait:
        words, color = "left at once", colors.bad
    else:
        words = f"clicked, read {round(row.share_read * 10) * 10}%"
        color = colors.good if row.share_read >= _WELL_READ else colors.warning

    def paint() -> None:
        canvas.circle(x + 6, y, 6, color, outline=0 if row.clicked else 2)
        canvas.text(x + 20, y, words, color, size=15, bold=bool(row.clicked))

    canvas.cached(f"words {words}", (x - 1, y - 11, 220, 22), paint, colors.surface)
    left, top, length = ENJOYED
    middle, reach = left + length / 2, row.satisfaction * length / 2
    canvas.rectangle(left, top, length, _BAR_HEIGHT, colors.surface_strong)
    if abs(reach) >= 1:
        color = colors.good if reach > 0 else colors.bad
        canvas.rectangle(min(middle, middle + reach), top, abs(reach), _BAR_HEIGHT, color)
    canvas.rectangle(middle - 1, top - 3, 2, _BAR_HEIGHT + 6, colors.ink)


def _draw_reader(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    x, y, width, _ = _READER
    _draw_face(canvas, x + width / 2, y + 56, 40, row.mood, row.fatigue)
    shares = (row.mood / 2 + 0.5, row.variety, row.fatigue)
    for top, share, color in zip(GAUGES.values(), shares, (colors.good, colors.accent, colors.bad), strict=True):
        if share * GAUGE_WIDTH >= 1:
            canvas.rectangle(GAUGE_LEFT, top, share * GAUGE_WIDTH, _BAR_HEIGHT, color)


def _draw_history(task: Recommender, row: SimpleNamespace, newest: int, canvas: Canvas) -> None:
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


def _draw_face(canvas: Canvas, x: float, y: float, radius: float, mood: float, fatigue: float) -> None:
    """The reader on a panel: colour, mouth, brows and word show mood (-1 to 1), eyelids fatigue (0 to 1)."""
    colors = canvas.colors
    shade = round(min(max(mood * 2.0, -1.0), 1.0), 1)
    skin = blend(colors.good if shade > 0 else colors.bad, colors.warning, abs(shade))
    dark = min(colors.background, colors.ink)
    area = (x - radius - 2, y - radius - 2, 2 * radius + 4, 2 * radius + 4)
    canvas.cached(f"face {shade}", area, lambda: canvas.circle(x, y, radius, skin), colors.surface)
    for side in (-1, 1):
        eye = x + side * radius * 0.36
        canvas.circle(eye, y - radius * 0.14, radius * 0.14, dark)
        canvas.rectangle(eye - radius * 0.18, y - radius * 0.3, radius * 0.36, radius * 0.3 * min(fatigue, 0.7), skin)
        tilt = side * 0.6 * min(shade + 0.5, 0.0)
        canvas.turned_rectangle(eye, y - radius * 0.43, radius * 0.36, radius * 0.09, tilt, dark)
    bend = radius * 0.34 * shade
    upper = [(x + radius * 0.44 * at, y + radius * 0.42 + bend * (0.5 - at * at) - 2) for at in _ACROSS]
    canvas.polygon([*upper, *((left, top + 4) for left, top in reversed(upper))], dark)
    word = next(word for limit, word in _MOODS if mood < limit)
    canvas.text(x, y + radius + 17, word, colors.ink, size=18, anchor="center", bold=True)


def _around(x: float, y: float, radius: float, angle: float) -> tuple[float, float]:
    return x + radius * cos(angle), y + radius * sin(angle)


def _science(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A ringed planet."""
    canvas.circle(x, y, 20, ink)
    canvas.line((x - 38, y + 11), (x + 38, y - 11), ink, 4)
    canvas.circle(x, y, 12, behind)


def _sport(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A football."""
    canvas.circle(x, y, 28, ink)
    canvas.polygon([_around(x, y, 11, -pi / 2 + k * 2 * pi / 5) for k in range(5)], behind)
    for k in range(5):
        angle = -pi / 2 + k * 2 * pi / 5
        canvas.line(_around(x, y, 10, angle), _around(x, y, 26, angle), behind, 3)


def _music(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A pair of notes."""
    canvas.circle(x - 16, y + 20, 9, ink)
    canvas.circle(x + 16, y + 14, 9, ink)
    canvas.polygon([(x - 12, y - 22), (x + 25, y - 30), (x + 25, y - 20), (x - 12, y - 12)], ink)
    canvas.line((x - 10, y - 20), (x - 10, y + 20), ink, 5)
    canvas.line((x + 22, y - 28), (x + 22, y + 14), ink, 5)


def _travel(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """Mountains and a sun."""
    canvas.polygon([(x - 46, y + 28), (x - 12, y - 22), (x + 22, y + 28)], ink)
    canvas.polygon([(x + 2, y + 28), (x + 24, y - 4), (x + 46, y + 28)], ink)
    canvas.circle(x + 28, y - 22, 8, ink)


def _food(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A plate between knife and fork."""
    canvas.circle(x, y, 28, ink)
    canvas.circle(x, y, 20, behind, outline=3)
    canvas.rectangle(x - 48, y - 26, 5, 52, ink, radius=2)
    canvas.rectangle(x + 43, y - 26, 5, 52, ink, radius=2)


def _film(canvas: Canvas, x: float, y: float, ink: Color, behind: Color) -> None:
    """A strip of film."""
    canvas.rectangle(x - 40, y - 26, 80, 52, ink, radius=6)
    for column in range(5):
        canvas.rectangle(x - 34 + column * 15, y - 21, 8, 7, behind)
        canvas.rectangle(x - 34 + column * 15, y + 14, 8, 7, behind)


_SIGNS = (_science, _sport, _music, _travel, _food, _film)
"""The sign of each topic, about 60 units tall around (x, y), in one colour on another that is `behind`."""
