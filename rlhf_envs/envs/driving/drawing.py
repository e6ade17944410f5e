"""The road from above, moving with the ego car: what a passenger would notice."""

from __future__ import annotations

from functools import lru_cache
from math import cos, sin
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.driving.task import (
    CAR_LENGTH,
    SCENERY_LENGTH,
    SLOW_VAN,
    TOP_SPEED,
    bend_pull,
    room_ahead,
    room_behind,
)
from rlhf_envs.envs.palette import Color, blend

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas, Point
    from rlhf_envs.envs.driving.task import Driving

_PER_METRE = 5.5
CAR_X = 210.0
"""Where the middle of the ego is drawn."""
CAR_PIXELS, _CAR_WIDTH = CAR_LENGTH * _PER_METRE, 17.0
_HEADER = 84.0
_WIDTH, _HEIGHT = 600.0, 400.0
_ROAD_MIDDLE = 242.0
_LANE_HEIGHT = {2: 62.0, 3: 58.0, 4: 50.0}
_VERGE = 8.0
_DASH, _DASH_PERIOD = 4.0, 10.0
_BRAKES_SHOW = -0.7
_BAR = 120.0

# The road bends in the picture by at most so much, and is moved in columns so wide, each as far as it bends there.
_MOST_BEND, _COLUMN = 36.0, 6
_TURNS = 0.06
"""Cars are drawn turned by multiples of this angle (rad)."""

# The roadside repeats after so many metres.
_ROADSIDE = SCENERY_LENGTH / 2
# A tree: where it stands (m), on which side, how far from the road and how large (px).
_TREES = (
    (6, -1, 30, 11), (24, 1, 28, 9), (33, -1, 46, 8), (47, 1, 44, 11), (58, -1, 26, 9), (84, -1, 40, 12),
    (97, 1, 34, 10), (112, -1, 26, 8), (126, 1, 48, 9), (139, -1, 50, 11), (151, 1, 28, 11), (166, -1, 28, 10),
    (178, 1, 42, 8), (189, -1, 60, 12), (70, 1, 62, 12), (16, 1, 66, 9), (108, 1, 70, 11), (48, -1, 70, 10),
)  # fmt: skip
# A field: from where to where (m), on which side, and which hue it has.
_FIELDS = ((10, 42, 1, 5), (66, 96, -1, 2), (112, 148, 1, 2), (150, 186, -1, 5))
_HOUSES = ((56, 1, 54), (122, -1, 62))


class Shown(NamedTuple):
    """What the picture shows of one copy: the numbers that everything in it is drawn from.

    Attributes:
        speed: as the speedometer has it, in km/h.
        limit: in km/h.
        lane_offset: the ego's distance from the middle of its lane, in lanes.
        smooth: the share of the gauge of that name.
        room_ahead, room_behind: which share of the wanted room is free, from 0 to 1; 1 where nothing is drawn.
        touching: whether the ego is circled because it touches another car.
    """

    speed: int
    limit: int
    lane_offset: float
    smooth: float
    room_ahead: float
    room_behind: float
    touching: bool


def shown(task: Driving, row: SimpleNamespace) -> Shown:
    """What `draw` shows of one copy."""
    gap_ahead, gap_behind = row.gaps[:, 1].tolist()
    wanted_ahead = max(float(room_ahead(row.speed)), 0.1)
    wanted_behind = max(float(room_behind(row.speed, row.speeds[1, 1])), 0.1)
    lane = min(max(round(row.lateral), 0), task.lanes - 1)
    return Shown(
        speed=round(row.speed * 3.6),
        limit=round(task.speed_limit * 3.6),
        lane_offset=row.lateral - lane,
        smooth=1.0 - min(row.roughness, 1.0),
        room_ahead=min(max(gap_ahead / wanted_ahead, 0.0), 1.0),
        room_behind=min(max(gap_behind / wanted_behind, 0.0), 1.0),
        touching=bool(row.collided),
    )


def draw(task: Driving, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: the road and its cars, whether there is room ahead of and behind the ego, and three readouts."""
    seen = shown(task, row)
    lane_height = _LANE_HEIGHT[task.lanes]
    top = _ROAD_MIDDLE - lane_height * task.lanes / 2
    course = _course(int(row.travelled))
    # A frame of another shape than 3:2 is a little larger on one side, or much, and then plain there.
    width, height = canvas.width / canvas.scale, canvas.height / canvas.scale
    if width > _WIDTH + _COLUMN or height > _HEIGHT + 1:
        canvas.background("driving", lambda: None)
        width, height = min(width, _WIDTH), min(height, _HEIGHT)
    name = f"driving {task.lanes} {task.speed_limit}"
    canvas.cached(f"{name} header", (0, 0, width, _HEADER), lambda: _captions(task, canvas))
    canvas.backdrop(
        name,
        (0, _HEADER, width, height + 1 - _HEADER),
        _ROADSIDE * _PER_METRE,
        (row.travelled - CAR_X / _PER_METRE) * _PER_METRE,
        lambda: _scenery(task, canvas, height + 1 - _HEADER),
        course,
        _COLUMN,
        _MOST_BEND,
    )
    ego_y = top + (row.lateral + 0.5) * lane_height
    _room(row, seen, canvas, course, ego_y, lane_height * 0.6)
    _others(task, row, canvas, course, top, lane_height)
    # Cars turn by so little that it is shown twice as large.
    _car(canvas, CAR_X, ego_y, 2.0 * row.heading, "ego", row.acceleration < _BRAKES_SHOW)
    if seen.touching:
        canvas.circle(CAR_X, ego_y, 32, canvas.colors.bad, outline=4)
    _readouts(row, task, seen, canvas)


@lru_cache(maxsize=512)
def _course(metre: int) -> tuple[float, ...]:
    """How far down each column of the picture lies, in units of the picture, with the ego `metre` along the bends.

    The road's curvature is that whose pull a driver has to steer against; its sideways place is the double integral.
    """
    x = (np.arange(0.0, _WIDTH + 1.0, _COLUMN) - CAR_X) / _PER_METRE
    return tuple(_sideways(metre + x, float(metre)).tolist())


def _sideways(along: NDArray[Any], origin: float) -> NDArray[Any]:
    scale, grid, once, twice = _integrals()
    moved = np.interp(along, grid, twice) - np.interp(origin, grid, twice)
    return scale * (moved - (along - origin) * np.interp(origin, grid, once))


@lru_cache(maxsize=1)
def _integrals() -> tuple[float, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The scale of the bends; metres along the road, and over them the curvature summed up once and twice."""
    grid = np.arange(-100.0, SCENERY_LENGTH + 100.0, 0.5)
    # A bend to the left, up in the picture, pulls a car to the right.
    curve = -bend_pull(grid).astype(np.float64)
    once = np.cumsum(curve) * 0.5
    twice = np.cumsum(once) * 0.5
    ahead = (_WIDTH - CAR_X) / _PER_METRE
    most = np.abs(
        np.interp(grid + ahead, grid, twice) - np.interp(grid, grid, twice) - ahead * np.interp(grid, grid, once)
    )[200 : 200 + int(2 * SCENERY_LENGTH)].max()
    return _MOST_BEND / float(most), grid, once, twice


def _down(course: tuple[float, ...], x: float) -> float:
    """How far the road has bent at x, in units of the picture."""
    return course[min(max(round(x / _COLUMN), 0), len(course) - 1)]


def _scenery(task: Driving, canvas: Canvas, height: float) -> None:
    """The roadside and the road as an endless strip, so long that the picture fits in at its end, too."""
    colors = canvas.colors
    lane_height = _LANE_HEIGHT[task.lanes]
    top = _ROAD_MIDDLE - _HEADER - lane_height * task.lanes / 2 + _MOST_BEND
    bottom = top + lane_height * task.lanes
    length = _ROADSIDE * _PER_METRE
    tall = height + 2 * _MOST_BEND
    grass = blend(colors.good, colors.background, 0.2)
    canvas.rectangle(0, 0, length + 600, tall, grass)
    for stripe in range(0, int(length + 600), 110):
        canvas.rectangle(stripe, 0, 55, tall, blend(colors.good, colors.background, 0.235))
    for turn in (0.0, length):
        for first, last, side, hue in _FIELDS:
            y = top - 200 if side < 0 else bottom + 30
            _field(canvas, turn + first * _PER_METRE, y, (last - first) * _PER_METRE, 170, colors.others[hue])
    canvas.rectangle(0, top - 15, length + 600, bottom - top + 30, blend(colors.others[2], colors.background, 0.22))
    canvas.rectangle(0, top - _VERGE, length + 600, bottom - top + 2 * _VERGE, colors.surface_strong)
    worn = blend(colors.ink, colors.surface_strong, 0.035)
    for lane in range(task.lanes):
        for track in (0.32, 0.68):
            canvas.rectangle(0, top + (lane + track) * lane_height - 4, length + 600, 8, worn)
    paint = _paint(canvas)
    for y in (top, bottom):
        canvas.rectangle(0, y - 1, length + 600, 3, paint)
    for lane in range(1, task.lanes):
        for dash in range(round((length + 600) / (_DASH_PERIOD * _PER_METRE)) + 1):
            y = top + lane * lane_height
            canvas.rectangle(dash * _DASH_PERIOD * _PER_METRE, y - 2, _DASH * _PER_METRE, 4, paint)
    for post in range(round((length + 600) / 110) + 1):
        for y in (top - 14, bottom + 8):
            canvas.rectangle(post * 110 + 30, y, 4, 6, colors.surface)
            canvas.rectangle(post * 110 + 30, y + 2, 4, 2, colors.bad)
    for turn in (-length, 0.0, length):
        for place, side, distance in _HOUSES:
            _house(canvas, turn + place * _PER_METRE, top - distance if side < 0 else bottom + distance)
        for place, side, distance, size in _TREES:
            _tree(canvas, turn + place * _PER_METRE, top - distance if side < 0 else bottom + distance, size)


def _field(canvas: Canvas, x: float, y: float, width: float, height: float, hue: Color) -> None:
    colors = canvas.colors
    canvas.rectangle(x, y, width, height, blend(hue, colors.background, 0.3), radius=4)
    for furrow in range(int(height / 12)):
        canvas.rectangle(x + 4, y + 6 + 12 * furrow, width - 8, 3, blend(hue, colors.background, 0.4))


def _tree(canvas: Canvas, x: float, y: float, size: float) -> None:
    colors = canvas.colors
    leaf = blend(colors.good, colors.background, 0.55)
    canvas.ellipse(x - 0.7 * size, y - 0.5 * size, 2.1 * size, 1.9 * size, blend(colors.ink, colors.background, 0.22))
    canvas.circle(x, y, size, leaf)
    canvas.circle(x - 0.2 * size, y - 0.25 * size, 0.7 * size, blend(leaf, colors.surface, 0.82))
    canvas.circle(x - 0.35 * size, y - 0.4 * size, 0.32 * size, blend(leaf, colors.surface, 0.62))


def _house(canvas: Canvas, x: float, y: float) -> None:
    colors = canvas.colors
    roof = blend(colors.others[2], colors.background, 0.75)
    canvas.rectangle(x + 4, y - 11, 52, 32, blend(colors.ink, colors.background, 0.25))
    canvas.rectangle(x, y - 16, 50, 16, roof)
    canvas.rectangle(x, y, 50, 15, blend(roof, colors.ink, 0.78))
    canvas.rectangle(x + 34, y - 10, 8, 8, blend(colors.ink, colors.background, 0.6))


def _captions(task: Driving, canvas: Canvas) -> None:
    colors = canvas.colors
    canvas.text(234, 60, f"limit {task.speed_limit * 3.6:.0f}", colors.muted, size=13)
    canvas.text(324, 33, "in its lane", colors.muted, size=14)
    canvas.text(456, 33, "smooth ride", colors.muted, size=14)
    for x, width in ((324, _BAR), (456, _BAR), (24, 200)):
        canvas.rectangle(x, 57, width, 6, colors.surface_strong, radius=3)


def _room(
    row: SimpleNamespace, seen: Shown, canvas: Canvas, course: tuple[float, ...], ego_y: float, height: float
) -> None:
    """The stretch ahead that should be free, amber and then red as a car stands in it; and so behind, if one does.

    A "!" says so as well: one where it is close, two where it is too close.
    """
    length = float(room_ahead(row.speed)) * _PER_METRE
    if length > 4:
        _stretch(canvas, course, (CAR_X + CAR_PIXELS / 2, min(length, 600 - CAR_X)), ego_y, height, seen.room_ahead)
    if seen.room_behind < 0.95:
        length = max(float(row.gaps[1, 1]), 1.0) * _PER_METRE
        _stretch(canvas, course, (CAR_X - CAR_PIXELS / 2 - length, length), ego_y, height, seen.room_behind)


def _stretch(canvas: Canvas, course: tuple[float, ...], along: Point, y: float, height: float, share: float) -> None:
    start, length = along
    ends = [start + length * part / 4 for part in range(5)]
    upper = [(x, y + _down(course, x) - height / 2) for x in ends]
    canvas.polygon([*upper, *((x, z + height) for x, z in reversed(upper))], _verdict(canvas, share), smooth=False)
    if share < 0.98:
        mark = "!" if share >= 0.6 else "!!"
        x = min(start + 9.0, start + length / 2)
        canvas.text(x, y + _down(course, x), mark, canvas.colors.ink, size=16, anchor="center", bold=True)


def _verdict(canvas: Canvas, share: float) -> Color:
    colors = canvas.colors
    if share >= 0.98:
        return blend(colors.good, colors.surface_strong, 0.3)
    if share >= 0.6:
        return blend(colors.warning, colors.surface_strong, 0.36)
    return blend(colors.bad, colors.surface_strong, 0.45)


def _others(
    task: Driving, row: SimpleNamespace, canvas: Canvas, course: tuple[float, ...], top: float, lane_height: float
) -> None:
    along, lane, lateral, _, desired, acceleration, _ = row.cars.tolist()
    for metres, aim, place, wish, change in zip(along, lane, lateral, desired, acceleration, strict=True):
        x = CAR_X + metres * _PER_METRE
        if -20 < x < 620:
            angle = (_down(course, x + 12) - _down(course, x - 12)) / 24
            angle += 0.0 if aim == place else 0.12 if aim > place else -0.12
            kind = "van" if wish < SLOW_VAN * task.speed_limit else f"car {int(wish * 1000) % 3}"
            y = top + (place + 0.5) * lane_height + _down(course, x)
            _car(canvas, x, y, angle, kind, change < _BRAKES_SHOW)


def _car(canvas: Canvas, x: float, y: float, angle: float, kind: str, braking: bool) -> None:
    """A car around its centre, pointing right; brake lights at its back."""
    turn = round(angle / _TURNS)
    size = CAR_PIXELS + 16
    canvas.stamp(
        f"{kind} {turn} {braking}", x, y, (size, size), canvas.colors.surface_strong,
        lambda: _body(canvas, size / 2, turn * _TURNS, kind, braking),
    )  # fmt: skip


def _body(canvas: Canvas, middle: float, angle: float, kind: str, braking: bool) -> None:
    colors = canvas.colors
    hues = {"ego": colors.accent, "van": blend(colors.surface, colors.others[3], 0.72)}
    shades = (colors.others[3], blend(colors.others[3], colors.ink, 0.72), blend(colors.others[3], colors.surface, 0.7))
    hue = hues.get(kind) or shades[int(kind[-1])]
    c, s = cos(angle), sin(angle)
    glass = blend((20, 26, 36), hue, 0.75)
    long, wide = CAR_PIXELS / 2, _CAR_WIDTH / 2

    def patch(x: float, y: float, along: float, across: float, color: Color, cut: float = 0.0) -> None:
        """A rectangle around (x, y) in the car, its front narrowed by `cut`."""
        corners = ((-1, -1, 0.0), (1, -1, cut), (1, 1, -cut), (-1, 1, 0.0))
        points = [(x + a * along / 2, y + b * across / 2 + narrow) for a, b, narrow in corners]
        canvas.polygon([(middle + px * c - py * s, middle + px * s + py * c) for px, py in points], color)

    patch(1.5, 2.5, CAR_PIXELS, _CAR_WIDTH, blend(colors.ink, colors.surface_strong, 0.3))
    for x in (-0.58 * long, 0.58 * long):
        patch(x, 0, 6, _CAR_WIDTH + 2, (24, 25, 30))
    patch(-1.5, 0, CAR_PIXELS - 3, _CAR_WIDTH, hue)
    patch(long - 3, 0, 6, _CAR_WIDTH, hue, cut=2.5)
    if kind == "van":
        patch(0.62 * long, 0, 4, _CAR_WIDTH - 4, glass, cut=1.0)
        patch(-3.5, 0, CAR_PIXELS - 10, _CAR_WIDTH - 4, blend(hue, colors.ink, 0.86))
        patch(-3.5, 0, CAR_PIXELS - 14, 2, hue)
    else:
        patch(0.28 * long, 0, 5, _CAR_WIDTH - 3, glass, cut=1.0)
        patch(-0.66 * long, 0, 3.5, _CAR_WIDTH - 4, glass)
        patch(-0.2 * long, 0, 7, _CAR_WIDTH - 5, blend(hue, (255, 255, 255), 0.78))
    for side in (-1.0, 1.0):
        patch(long - 1, side * (wide - 3), 2, 3, (255, 244, 200))
        lit = colors.bad if braking else blend(colors.bad, hue, 0.4)
        patch(-long - 0.5 * braking, side * (wide - 2.5), 5 if braking else 2, 5 if braking else 3, lit)


def _readouts(row: SimpleNamespace, task: Driving, seen: Shown, canvas: Canvas) -> None:
    """How well it keeps its lane, how smooth the ride is, and the speed with a mark at the limit."""
    colors = canvas.colors
    for x, share in ((324, 1.0 - min((2.0 * seen.lane_offset) ** 2, 1.0)), (456, seen.smooth)):
        tone = colors.good if share > 0.85 else colors.warning if share > 0.6 else colors.bad
        _bar(canvas, x, _BAR, share, tone)
    pace = row.speed / task.speed_limit
    tone = colors.bad if pace > 1.05 else colors.ink
    figure = f"{seen.speed}"
    canvas.text(24, 30, figure, tone, size=28, bold=True)
    canvas.text(32 + canvas.text_width(figure, size=28, bold=True), 33, "km/h", colors.muted, size=14)
    _bar(canvas, 24, 200, pace / TOP_SPEED, tone)
    canvas.rectangle(24 + 200 / TOP_SPEED - 1, 52, 2, 16, colors.muted)


def _bar(canvas: Canvas, x: float, width: float, share: float, color: Color) -> None:
    if share > 0.0:
        canvas.rectangle(x, 57, max(min(share, 1.0) * width, 6), 6, color, radius=3)


def _paint(canvas: Canvas) -> Color:
    return blend(canvas.colors.muted, canvas.colors.surface_strong, 0.5)
