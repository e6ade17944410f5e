"""The road from above, moving with the ego car: what a passenger would notice."""

from __future__ import annotations

from math import sin
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.driving.traffic import CAR_LENGTH
from rlhf_envs.envs.palette import Color

if TYPE_CHECKING:
    from rlhf_envs.envs.driving.rules import Driving

_PER_METRE = 7.0
_EGO_X = 200.0
_ROAD_MIDDLE = 232.0
_LANE = {2: 60.0, 3: 56.0, 4: 48.0}
_VERGE = 10.0
_DASH, _DASH_PERIOD = 4.0, 10.0
_BRAKES_SHOW = -0.7

# Where trees stand along a stretch of scenery (m), on which side of the road, how far from it and how large (pixels).
_TREES = (
    (6, -1, 30, 11), (21, 1, 26, 9), (33, -1, 48, 8), (47, 1, 44, 12), (58, -1, 26, 9), (70, 1, 24, 8),
    (84, -1, 40, 12), (97, 1, 36, 10), (112, -1, 24, 8), (126, 1, 50, 9), (139, -1, 44, 10), (151, 1, 28, 12),
    (166, -1, 28, 12), (178, 1, 42, 8), (190, -1, 50, 9),
)  # fmt: skip
_SCENERY = 200.0


def draw(task: Driving, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: the road and its cars, the safe distance ahead of the ego, and three quiet readouts."""
    lane_height = _LANE[task.lanes]
    top = _ROAD_MIDDLE - lane_height * task.lanes / 2
    bottom = _ROAD_MIDDLE + lane_height * task.lanes / 2
    canvas.background("road", lambda: _road(canvas, top, bottom))
    _markings(task, row, canvas, top, lane_height)
    _trees(row, canvas, top, bottom)
    ego_y = top + (row.lateral + 0.5) * lane_height
    _safe_distance(task, row, canvas, ego_y, lane_height)
    _others(row, canvas, top, lane_height)
    braking = row.acceleration < _BRAKES_SHOW
    angle = row.heading * 2.0
    _car(canvas, _EGO_X, ego_y, angle, canvas.colors.accent, braking)
    if row.collided:
        canvas.circle(_EGO_X, ego_y, 32, canvas.colors.bad, outline=4)
    _readouts(task, row, canvas)


def _road(canvas: Canvas, top: float, bottom: float) -> None:
    colors = canvas.colors
    grass = _mix(colors.good, colors.background, 0.16)
    canvas.rectangle(0, top - 70, 600, bottom - top + 140, grass)
    canvas.rectangle(0, top - _VERGE, 600, bottom - top + 2 * _VERGE, _asphalt(canvas))
    for y in (top, bottom):
        canvas.rectangle(0, y - 1, 600, 2, colors.surface)


def _markings(task: Driving, row: SimpleNamespace, canvas: Canvas, top: float, lane_height: float) -> None:
    color = _mix(canvas.colors.muted, _asphalt(canvas), 0.45)
    first = -((row.travelled - _EGO_X / _PER_METRE) % _DASH_PERIOD) * _PER_METRE
    for lane in range(1, task.lanes):
        x = first
        while x < 600:
            canvas.rectangle(x, top + lane * lane_height - 1, _DASH * _PER_METRE, 3, color)
            x += _DASH_PERIOD * _PER_METRE


def _trees(row: SimpleNamespace, canvas: Canvas, top: float, bottom: float) -> None:
    colors = canvas.colors
    leaf = _mix(colors.good, colors.background, 0.42)
    for place, side, distance, size in _TREES:
        metres = (place - row.travelled + _EGO_X / _PER_METRE + 5.0) % _SCENERY - 5.0
        x = metres * _PER_METRE
        if x < 620:
            canvas.circle(x, top - distance if side < 0 else bottom + distance, size, leaf)


def _safe_distance(task: Driving, row: SimpleNamespace, canvas: Canvas, ego_y: float, lane_height: float) -> None:
    """The stretch that should be free: the next 1.5 seconds; it turns amber and red as a car stands in it."""
    from rlhf_envs.envs.driving.rules import SAFE_TIME_GAP

    colors = canvas.colors
    needed = SAFE_TIME_GAP * row.speed
    missing = 1.0 - row.gaps[0, 1] / max(needed, 0.1)
    color, strength = (colors.good, 0.3) if missing <= 0.02 else (colors.warning, 0.45) if missing < 0.4 else (colors.bad, 0.5)
    start = _EGO_X + CAR_LENGTH / 2 * _PER_METRE
    height = lane_height * 0.6
    length = min(needed * _PER_METRE, 600 - start)
    if length > 4:
        canvas.rectangle(start, ego_y - height / 2, length, height, _mix(color, _asphalt(canvas), strength), radius=6)


def _others(row: SimpleNamespace, canvas: Canvas, top: float, lane_height: float) -> None:
    color = canvas.colors.others[3]
    along, lane, lateral, speed, _, acceleration = row.cars.tolist()
    for metres, aim, place, pace, change in zip(along, lane, lateral, speed, acceleration, strict=True):
        x = _EGO_X + metres * _PER_METRE
        if -20 < x < 620:
            angle = (aim - place) and (0.12 if aim > place else -0.12)
            _car(canvas, x, top + (place + 0.5) * lane_height, angle, color, change < _BRAKES_SHOW)


def _car(canvas: Canvas, x: float, y: float, angle: float, color: Color, braking: bool) -> None:
    """A car around its centre, 34 by 19; brake lights at its back."""
    colors = canvas.colors
    length, width = CAR_LENGTH * _PER_METRE, 19.0
    glass = _mix(color, colors.background, 0.35)
    if abs(angle) < 0.02:
        canvas.rectangle(x - length / 2, y - width / 2, length, width, color, radius=6)
        canvas.rectangle(x + 2, y - width / 2 + 3, 7, width - 6, glass, radius=2)
    else:
        canvas.turned_rectangle(x, y, length, width, angle, color)
        canvas.turned_rectangle(x + 5.5, y + 5.5 * sin(angle), 7, width - 6, angle, glass)
    if braking:
        back = y - length / 2 * sin(angle)
        for side in (-6.0, 6.0):
            canvas.rectangle(x - length / 2 - 2, back + side - 3, 5, 6, colors.bad, radius=2)


def _readouts(task: Driving, row: SimpleNamespace, canvas: Canvas) -> None:
    """Speed with its limit, time to the car ahead, and how smooth the ride has been in the last second."""
    colors = canvas.colors
    pace = row.speed / task.speed_limit
    speed_color = colors.bad if pace > 1.05 else colors.ink
    canvas.text(24, 34, f"{row.speed * 3.6:.0f}", speed_color, size=30, bold=True)
    canvas.text(88, 38, "km/h", colors.muted, size=13)
    canvas.text(24, 62, f"limit {task.speed_limit * 3.6:.0f}", colors.muted, size=13)
    bar, right = 150.0, 24 + 150.0 / 1.4
    canvas.rectangle(24, 78, bar, 6, colors.surface_strong, radius=3)
    canvas.rectangle(24, 78, max(bar * pace / 1.4, 6), 6, speed_color, radius=3)
    canvas.rectangle(right - 1, 74, 2, 14, colors.muted)
    smooth = 1.0 - row.roughness
    tone = colors.good if smooth > 0.85 else colors.warning if smooth > 0.6 else colors.bad
    canvas.gauge(456, 78, 120, "smooth ride", smooth, tone, height=6)


def _asphalt(canvas: Canvas) -> Color:
    return canvas.colors.surface_strong


def _mix(color: Color, ground: Color, share: float) -> Color:
    red, green, blue = (round(a * share + b * (1.0 - share)) for a, b in zip(color, ground, strict=True))
    return red, green, blue
