"""The road from above, moving with the ego car: what a passenger would notice."""

from __future__ import annotations

from math import cos, sin
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.driving.task import CAR_LENGTH, SCENERY_LENGTH, TOP_SPEED, room_ahead, room_behind
from rlhf_envs.envs.palette import Color, blend

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.driving.task import Driving

_PER_METRE = 5.5
_EGO_X = 210.0
_CAR = CAR_LENGTH * _PER_METRE
_CAR_WIDTH = 16.0
_HEADER = 84.0
_ROAD_MIDDLE = 242.0
_LANE_HEIGHT = {2: 62.0, 3: 58.0, 4: 50.0}
_VERGE = 8.0
_DASH, _DASH_PERIOD = 4.0, 10.0
_BRAKES_SHOW = -0.7

# The roadside repeats after so many metres; a tree: where it stands (m), on which side, how far off and how large (px).
_SCENERY = SCENERY_LENGTH / 2
_TREES = (
    (6, -1, 30, 10), (24, 1, 28, 9), (33, -1, 40, 8), (47, 1, 40, 10), (58, -1, 26, 9), (84, -1, 38, 10),
    (97, 1, 34, 10), (112, -1, 26, 8), (126, 1, 42, 9), (139, -1, 40, 10), (151, 1, 28, 10), (166, -1, 28, 10),
    (178, 1, 40, 8),
)  # fmt: skip


def draw(task: Driving, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: the road and its cars, whether there is room ahead of and behind the ego, and three readouts."""
    lane_height = _LANE_HEIGHT[task.lanes]
    top = _ROAD_MIDDLE - lane_height * task.lanes / 2
    bottom = _ROAD_MIDDLE + lane_height * task.lanes / 2
    canvas.background(f"driving {task.lanes} {task.speed_limit}", lambda: _road(task, canvas, top, bottom))
    _trees(row, canvas, top, bottom)
    _markings(task, row, canvas, top, lane_height)
    ego_y = top + (row.lateral + 0.5) * lane_height
    _room(row, canvas, ego_y, lane_height * 0.6)
    _others(row, canvas, top, lane_height)
    # Cars turn by so little that it is shown twice as large.
    _car(canvas, _EGO_X, ego_y, 2.0 * row.heading, canvas.colors.accent, row.acceleration < _BRAKES_SHOW)
    if row.collided:
        canvas.circle(_EGO_X, ego_y, 32, canvas.colors.bad, outline=4)
    _readouts(task, row, canvas)


def _road(task: Driving, canvas: Canvas, top: float, bottom: float) -> None:
    """What stays where it is: grass, asphalt, the edges, and the captions."""
    colors = canvas.colors
    canvas.rectangle(0, _HEADER, 600, 400 - _HEADER, blend(colors.good, colors.background, 0.16))
    canvas.rectangle(0, top - _VERGE, 600, bottom - top + 2 * _VERGE, colors.surface_strong)
    for y in (top, bottom):
        canvas.rectangle(0, y - 1, 600, 2, _paint(canvas))
    canvas.text(236, 60, f"limit {task.speed_limit * 3.6:.0f}", colors.muted, size=13)
    canvas.text(324, 33, "in its lane", colors.muted, size=13)
    canvas.text(456, 33, "smooth ride", colors.muted, size=13)


def _markings(task: Driving, row: SimpleNamespace, canvas: Canvas, top: float, lane_height: float) -> None:
    """The dashed lines, which pass by; they look one of 70 ways, so each is painted once and cached."""
    first = round((_EGO_X / _PER_METRE - row.travelled) % _DASH_PERIOD * _PER_METRE)
    for lane in range(1, task.lanes):
        y = top + lane * lane_height - 1
        name, area = f"driving line {lane} of {task.lanes} at {first}", (0.0, y, 600.0, 2.0)
        canvas.cached(name, area, lambda y=y: _dashes(canvas, first, y))  # type: ignore[misc]


def _dashes(canvas: Canvas, first: int, y: float) -> None:
    canvas.rectangle(0, y - 1, 600, 4, canvas.colors.surface_strong)
    for number in range(-1, round(600 / (_DASH_PERIOD * _PER_METRE)) + 1):
        x = first + number * _DASH_PERIOD * _PER_METRE
        canvas.rectangle(x, y - 1, _DASH * _PER_METRE, 4, _paint(canvas))


def _trees(row: SimpleNamespace, canvas: Canvas, top: float, bottom: float) -> None:
    leaf = blend(canvas.colors.good, canvas.colors.background, 0.4)
    for place, side, distance, size in _TREES:
        x = ((place - row.travelled + 5.0) % _SCENERY - 5.0) * _PER_METRE
        if x < 620:
            canvas.circle(x, top - distance if side < 0 else bottom + distance, size, leaf)


def _room(row: SimpleNamespace, canvas: Canvas, ego_y: float, height: float) -> None:
    """The stretch ahead that should be free, amber and then red as a car stands in it; and so behind, if one is."""
    gap_ahead, gap_behind = row.gaps[:, 1].tolist()
    needed = float(room_ahead(row.speed))
    length = min(needed * _PER_METRE, 620 - _EGO_X)
    if length > 4:
        color = _verdict(canvas, gap_ahead, needed)
        canvas.rectangle(_EGO_X + _CAR / 2, ego_y - height / 2, length, height, color, radius=6)
    wanted_behind = float(room_behind(row.speed, row.speeds[1, 1]))
    if gap_behind < 0.95 * wanted_behind:
        length = min(max(gap_behind, 1.0) * _PER_METRE, _EGO_X)
        color = _verdict(canvas, gap_behind, wanted_behind)
        canvas.rectangle(_EGO_X - _CAR / 2 - length, ego_y - height / 2, length, height, color, radius=6)


def _verdict(canvas: Canvas, gap: float, needed: float) -> Color:
    colors = canvas.colors
    if gap >= 0.98 * needed:
        return blend(colors.good, colors.surface_strong, 0.3)
    if gap >= 0.6 * needed:
        return blend(colors.warning, colors.surface_strong, 0.45)
    return blend(colors.bad, colors.surface_strong, 0.5)


def _others(row: SimpleNamespace, canvas: Canvas, top: float, lane_height: float) -> None:
    color = canvas.colors.others[3]
    along, lane, lateral, _, _, acceleration, _ = row.cars.tolist()
    for metres, aim, place, change in zip(along, lane, lateral, acceleration, strict=True):
        x = _EGO_X + metres * _PER_METRE
        if -20 < x < 620:
            angle = 0.0 if aim == place else 0.12 if aim > place else -0.12
            _car(canvas, x, top + (place + 0.5) * lane_height, angle, color, change < _BRAKES_SHOW)


def _car(canvas: Canvas, x: float, y: float, angle: float, color: Color, braking: bool) -> None:
    """A car around its centre, pointing right; brake lights at its back."""
    glass = blend(color, canvas.colors.background, 0.35)
    if abs(angle) < 0.03:
        canvas.rectangle(x - _CAR / 2, y - _CAR_WIDTH / 2, _CAR, _CAR_WIDTH, color, radius=5)
        canvas.rectangle(x + 2, y - _CAR_WIDTH / 2 + 3, 7, _CAR_WIDTH - 6, glass, radius=2)
    else:
        _turned_body(canvas, x, y, angle, color)
        canvas.turned_rectangle(x + 5.5 * cos(angle), y + 5.5 * sin(angle), 7, _CAR_WIDTH - 6, angle, glass)
    if braking:
        back = y - _CAR / 2 * sin(angle)
        for side in (-6.0, 6.0):
            canvas.rectangle(x - _CAR / 2 - 2, back + side - 3.5, 5, 7, canvas.colors.bad, radius=2)


def _turned_body(canvas: Canvas, x: float, y: float, angle: float, color: Color) -> None:
    c, s = cos(angle), sin(angle)
    long, wide, cut = _CAR / 2, _CAR_WIDTH / 2, 3.0
    half = [(long - cut, -wide), (long, cut - wide), (long, wide - cut), (long - cut, wide)]
    outline = half + [(-along, -across) for along, across in half]
    canvas.polygon([(x + along * c - across * s, y + along * s + across * c) for along, across in outline], color)


def _readouts(task: Driving, row: SimpleNamespace, canvas: Canvas) -> None:
    """How well it keeps its lane, how smooth the last second was, and the speed with a mark at the limit."""
    colors = canvas.colors
    lane = min(max(round(row.lateral), 0), task.lanes - 1)
    centred = 1.0 - min((2.0 * (row.lateral - lane)) ** 2, 1.0)
    for x, share in ((324, centred), (456, 1.0 - row.roughness)):
        tone = colors.good if share > 0.85 else colors.warning if share > 0.6 else colors.bad
        _bar(canvas, x, 120, share, tone)
    pace = row.speed / task.speed_limit
    tone = colors.bad if pace > 1.05 else colors.ink
    figure = f"{row.speed * 3.6:.0f}"
    canvas.text(24, 30, figure, tone, size=28, bold=True)
    canvas.text(32 + canvas.text_width(figure, size=28, bold=True), 33, "km/h", colors.muted, size=13)
    _bar(canvas, 24, 200, pace / TOP_SPEED, tone)
    canvas.rectangle(24 + 200 / TOP_SPEED - 1, 52, 2, 16, colors.muted)


def _bar(canvas: Canvas, x: float, width: float, share: float, color: Color) -> None:
    canvas.rectangle(x, 57, width, 6, canvas.colors.surface_strong, radius=3)
    if share > 0.0:
        canvas.rectangle(x, 57, max(min(share, 1.0) * width, 6), 6, color, radius=3)


def _paint(canvas: Canvas) -> Color:
    return blend(canvas.colors.muted, canvas.colors.surface_strong, 0.45)
