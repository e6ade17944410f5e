"""Through the wearer's eyes: the path, what stands beside it, the vignette; and how the wearer feels."""

from __future__ import annotations

from math import tan, tau
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.headset.face import draw_face, mix
from rlhf_envs.envs.headset.scenery import PATH_WIDTH, path_direction
from rlhf_envs.envs.palette import Color

if TYPE_CHECKING:
    from rlhf_envs.envs.headset.rules import Headset

_VIEW = (0.0, 0.0, 600.0, 304.0)
_MIDDLE, _HORIZON, _FOCAL, _EYE_HEIGHT = 300.0, 132.0, 330.0, 1.5
_SIGHT, _NEAREST = 52.0, 1.1
_HAZE_LEVELS = 6
_PATH_DISTANCES = (1.3, 2.0, 3.0, 4.5, 6.5, 9.0, 12.5, 18.0, 26.0, 38.0, 52.0)
_PLANK_SPACING, _PLANK_LENGTH = 4.0, 0.9
_SHADES = 20
_PEAK_ANGLE = tau / 28
_PEAKS = (30, 12, 44, 20, 58, 26, 40, 10, 34, 18, 50, 24, 62, 30, 36, 14, 46, 22, 28, 8, 52, 20, 40, 26, 56, 16, 38, 12)
_SUN_ANGLE = 0.35

_GRID = np.arange(0.0, _SIGHT + 1.5)


class _Road:
    """The path ahead, as seen: where a place so far along it and so far beside it appears."""

    def __init__(self, task: Headset, row: SimpleNamespace) -> None:
        angle = path_direction(task.scenery, row.phases, row.travelled + _GRID) - row.view
        self._sin, self._cos = np.sin(angle), np.cos(angle)
        self._right = np.concatenate([[0.0], np.cumsum(self._sin[:-1] + self._sin[1:]) * 0.5])
        self._ahead = np.concatenate([[0.0], np.cumsum(self._cos[:-1] + self._cos[1:]) * 0.5])

    def places(self, along: list[float], beside: float) -> list[tuple[float, float, float]]:
        """(x, y, pixels per metre) of places on the ground; pixels per metre is 0 for what lies behind the eyes."""
        where = np.array(along)
        cos, sin = np.interp(where, _GRID, self._cos), np.interp(where, _GRID, self._sin)
        right = np.interp(where, _GRID, self._right) + beside * cos
        ahead = np.interp(where, _GRID, self._ahead) - beside * sin
        size = np.where(ahead > _NEAREST, _FOCAL / np.maximum(ahead, _NEAREST), 0.0)
        x, y = _MIDDLE + right * size, _HORIZON + _EYE_HEIGHT * size
        return list(zip(x.tolist(), y.tolist(), size.tolist(), strict=True))


def draw(task: Headset, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: the view with the gaze in it, and below it the wearer with three gauges."""
    canvas.background("headset", lambda: _land(canvas))
    _mountains(row.view, canvas)
    road = _Road(task, row)
    _path(road, row.travelled, canvas)
    _surroundings(task, road, row.travelled, canvas)
    _vignette(row.vignette, canvas)
    _gaze(row.gaze, canvas)
    _readouts(row, canvas)


def _sky(canvas: Canvas) -> Color:
    return mix(canvas.colors.accent, canvas.colors.background, 0.16)


def _ground(canvas: Canvas) -> Color:
    return mix(canvas.colors.good, canvas.colors.background, 0.22)


def _land(canvas: Canvas) -> None:
    left, top, width, height = _VIEW
    canvas.rectangle(left, top, width, height, _sky(canvas))
    canvas.rectangle(left, _HORIZON, width, height - _HORIZON, _ground(canvas))


def _mountains(view: float, canvas: Canvas) -> None:
    """Far away, so they only show how the view turns."""
    colors = canvas.colors
    sun = (_SUN_ANGLE - view + tau / 2) % tau - tau / 2
    if abs(sun) < 0.9:
        canvas.circle(_MIDDLE + _FOCAL * tan(sun), 52, 17, mix(colors.warning, _sky(canvas), 0.6))
    first = int((view - 0.95) // _PEAK_ANGLE)
    points = [(-5.0, _HORIZON)]
    for peak in range(first, first + 11):
        angle = min(max(peak * _PEAK_ANGLE - view, -1.2), 1.2)
        points.append((_MIDDLE + _FOCAL * tan(angle), _HORIZON - _PEAKS[peak % len(_PEAKS)]))
    points.append((605.0, _HORIZON))
    canvas.polygon(points, mix(colors.others[3], _sky(canvas), 0.4))


def _path(road: _Road, travelled: float, canvas: Canvas) -> None:
    """The path, with planks across it that show how fast it passes."""
    colors = canvas.colors
    sand = mix(colors.warning, colors.background, 0.26)
    along = list(_PATH_DISTANCES)
    left, right = _edges(road, along)
    kept = [(a, b) for a, b in zip(left, right, strict=True) if a[2] and b[2]]
    if len(kept) < 2:
        return
    canvas.polygon([a[:2] for a, _ in kept] + [b[:2] for _, b in reversed(kept)], sand)
    planks = [n * _PLANK_SPACING + _PLANK_SPACING - travelled % _PLANK_SPACING for n in range(6)]
    ends = [place for start in planks for place in (start, start + _PLANK_LENGTH)]
    left, right = _edges(road, ends)
    color = mix(colors.warning, colors.background, 0.5)
    for n in range(0, len(ends), 2):
        corners = (left[n], left[n + 1], right[n + 1], right[n])
        if all(corner[2] for corner in corners):
            canvas.polygon([corner[:2] for corner in corners], color)


def _edges(road: _Road, along: list[float]) -> tuple[list[tuple[float, float, float]], list[tuple[float, float, float]]]:
    return road.places(along, -PATH_WIDTH / 2), road.places(along, PATH_WIDTH / 2)


def _surroundings(task: Headset, road: _Road, travelled: float, canvas: Canvas) -> None:
    """Trees or rocks beside the path, the farthest first, paler with distance."""
    scene = task.scenery
    first = int(travelled // scene.spacing) + 1
    numbers = range(first + int(_SIGHT // scene.spacing) - 1, first - 1, -1)
    along = [number * scene.spacing - travelled for number in numbers]
    for side in (-1, 1):
        for number, metres, (x, y, size) in zip(numbers, along, road.places(along, side * scene.distance), strict=True):
            if size:
                kind = (number * 7 + side * 3) % 5
                _grown(task.scene, kind, x, y, size, metres, canvas)


def _grown(scene: str, kind: int, x: float, y: float, size: float, metres: float, canvas: Canvas) -> None:
    """A poplar, a bush or a pillar of rock that stands at (x, y), at `size` pixels per metre."""
    colors = canvas.colors
    haze = 0.3 + 0.5 * int(_HAZE_LEVELS * max(1.0 - metres / _SIGHT, 0.0)) / _HAZE_LEVELS
    if scene == "gorge":
        width, height = (1.9 + 0.2 * kind) * size, (3.2 + 0.9 * kind) * size
        canvas.rectangle(x - width / 2, y - height, width, height, mix(colors.others[2], _sky(canvas), haze), 0.25 * width)
        return
    leaf = mix(colors.good if kind % 2 else colors.others[5], _sky(canvas), haze)
    if scene == "meadow":
        width, height = (1.2 + 0.2 * kind) * size, (0.8 + 0.15 * kind) * size
        canvas.rectangle(x - width / 2, y - height, width, height, leaf, 0.5 * height)
        return
    width, height, trunk = (1.2 + 0.12 * kind) * size, (3.4 + 0.5 * kind) * size, 0.8 * size
    canvas.rectangle(x - 0.12 * size, y - trunk - 0.3 * size, 0.24 * size, trunk + 0.3 * size, mix(colors.others[2], _sky(canvas), haze))
    canvas.rectangle(x - width / 2, y - trunk - height, width, height, leaf, 0.5 * width)


def _vignette(vignette: float, canvas: Canvas) -> None:
    level = round(vignette * _SHADES)
    if level:
        open_to = 1.3 - 0.95 * level / _SHADES
        canvas.shade(f"vignette {level}", _VIEW, lambda across, down: (open_to - np.hypot(across, down)) / 0.3 + 1.0)


def _gaze(gaze: float, canvas: Canvas) -> None:
    """A ring where the wearer's eyes rest; at the edge when they look out of the view."""
    x = min(max(_MIDDLE + _FOCAL * tan(gaze), 22.0), 578.0) if abs(gaze) < 1.2 else (22.0 if gaze < 0 else 578.0)
    canvas.circle(x, _HORIZON + 26, 11, canvas.colors.accent, outline=3)
    canvas.rectangle(x - 2, _HORIZON + 24, 4, 4, canvas.colors.accent, radius=2)


def _readouts(row: SimpleNamespace, canvas: Canvas) -> None:
    colors = canvas.colors
    canvas.rectangle(0, _VIEW[3], 600, 400 - _VIEW[3], colors.background)
    draw_face(canvas, 58, 346, 27, row.sickness)
    y, width = 354.0, 132.0
    canvas.gauge(124, y, width, "immersion", round(row.immersion, 2), colors.good)
    canvas.gauge(284, y, width, "comfort", round(1.0 - row.conflict, 2), colors.others[1])
    canvas.gauge(444, y, width, "sickness", round(row.sickness, 2), colors.bad)
