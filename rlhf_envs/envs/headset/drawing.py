"""Through the wearer's eyes: the path, what stands beside it, the vignette; and how the wearer feels."""

from __future__ import annotations

from math import tan, tau
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.headset.figures import blend, draw_face, grow
from rlhf_envs.envs.headset.scenery import PATH_WIDTH, Array, path_direction
from rlhf_envs.envs.palette import Color

if TYPE_CHECKING:
    from rlhf_envs.envs.headset.rules import Headset

Place = tuple[float, float, float]
"""Across and down in the picture, and how many pixels a metre takes there: 0 for what lies behind the eyes."""

_VIEW = (0.0, 0.0, 600.0, 304.0)
_MIDDLE, _HORIZON, _FOCAL, _EYE_HEIGHT = 300.0, 132.0, 330.0, 1.5
_SIGHT, _NEAREST = 40.0, 1.2
_HAZE_LEVELS = 6
_SHADES = 20
_GRID = np.arange(0.0, _SIGHT + 6.0, dtype=np.float32)
_SIDES = np.array([-1.0, 1.0], dtype=np.float32)
_PATH_EDGES = _SIDES * np.float32(PATH_WIDTH / 2)
_PATH_DISTANCES = np.array([1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 19.0, 28.0, 40.0], dtype=np.float32)
_PLANK_SPACING = 4.0
_PLANK_EDGES = np.repeat(np.arange(5, dtype=np.float32) * np.float32(_PLANK_SPACING), 2)
_PLANK_EDGES[1::2] += 0.9

_PEAKS = (30, 12, 44, 20, 58, 26, 40, 10, 34, 18, 50, 24, 62, 30, 36, 14, 46, 22, 28, 8, 52, 20, 40, 26, 56, 16, 38, 12)
_PEAK_ANGLE = tau / len(_PEAKS)
_SUN_ANGLE = 0.35


class _Road:
    """The path ahead, as seen: where a place so far along it and so far beside it appears."""

    def __init__(self, task: Headset, row: SimpleNamespace) -> None:
        angle = path_direction(task.scenery, row.phases, row.travelled + _GRID) - row.view
        sin, cos = np.sin(angle), np.cos(angle)
        self._lines = np.zeros((4, len(_GRID)), dtype=np.float32)
        self._lines[0], self._lines[1] = sin, cos
        np.cumsum(sin[:-1], out=self._lines[2, 1:])
        np.cumsum(cos[:-1], out=self._lines[3, 1:])

    def places(self, along: Array, beside: Array) -> list[Place]:
        """Where places on the ground appear, `along` the path and `beside` it in metres, both (P,)."""
        cell = along.astype(np.int32)
        before = self._lines.take(cell, axis=1)
        between = before + (self._lines.take(cell + 1, axis=1) - before) * (along - cell)
        ahead = between[3] - beside * between[0]
        size = _FOCAL / np.maximum(ahead, _NEAREST)
        x = _MIDDLE + (between[2] + beside * between[1]) * size
        y = _HORIZON + _EYE_HEIGHT * size
        size *= ahead > _NEAREST
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
    return blend(canvas.colors.accent, canvas.colors.background, 0.16)


def _ground(canvas: Canvas) -> Color:
    return blend(canvas.colors.good, canvas.colors.background, 0.22)


def _land(canvas: Canvas) -> None:
    left, top, width, height = _VIEW
    canvas.rectangle(left, top, width, height, _sky(canvas))
    canvas.rectangle(left, _HORIZON, width, height - _HORIZON, _ground(canvas))


def _mountains(view: float, canvas: Canvas) -> None:
    """Far away, so they only show how the view turns."""
    colors = canvas.colors
    sun = (_SUN_ANGLE - view + tau / 2) % tau - tau / 2
    if abs(sun) < 0.9:
        canvas.circle(_MIDDLE + _FOCAL * tan(sun), 52, 17, blend(colors.warning, _sky(canvas), 0.6))
    first = int((view - 0.95) // _PEAK_ANGLE)
    points = [(-5.0, _HORIZON)]
    for peak in range(first, first + 11):
        angle = min(max(peak * _PEAK_ANGLE - view, -1.2), 1.2)
        points.append((_MIDDLE + _FOCAL * tan(angle), _HORIZON - _PEAKS[peak % len(_PEAKS)]))
    points.append((605.0, _HORIZON))
    canvas.polygon(points, blend(colors.others[3], _sky(canvas), 0.4))


def _path(road: _Road, travelled: float, canvas: Canvas) -> None:
    """The path, with planks across it that show how fast it passes."""
    planks = _PLANK_EDGES + np.float32(_PLANK_SPACING - travelled % _PLANK_SPACING)
    along = np.concatenate([_PATH_DISTANCES, planks])
    edges = road.places(np.tile(along, 2), np.repeat(_PATH_EDGES, len(along)))
    left, right = edges[: len(along)], edges[len(along) :]
    bends = len(_PATH_DISTANCES)
    seen = [n for n in range(bends) if left[n][2] and right[n][2]]
    if len(seen) > 1:
        outline = [left[n][:2] for n in seen] + [right[n][:2] for n in reversed(seen)]
        canvas.polygon(outline, blend(canvas.colors.warning, canvas.colors.background, 0.26))
    color = blend(canvas.colors.warning, canvas.colors.background, 0.5)
    for n in range(bends, len(along), 2):
        corners = (left[n], left[n + 1], right[n + 1], right[n])
        if all(corner[2] for corner in corners) and left[n + 1][1] < _VIEW[3]:
            canvas.polygon([corner[:2] for corner in corners], color)


def _surroundings(task: Headset, road: _Road, travelled: float, canvas: Canvas) -> None:
    """Trees, bushes or rocks beside the path, the farthest first, paler with distance."""
    scene = task.scenery
    first = int(travelled // scene.spacing) + 1
    numbers = np.repeat(np.arange(first + int(_SIGHT // scene.spacing) - 1, first - 1, -1), 2)
    sides = np.tile(_SIDES, len(numbers) // 2)
    along = (numbers * scene.spacing - travelled).astype(np.float32)
    places = road.places(along, sides * np.float32(scene.distance))
    kinds = ((numbers * 7 + sides.astype(np.int64) * 3) % 5).tolist()
    for kind, metres, (x, y, size) in zip(kinds, along.tolist(), places, strict=True):
        if size and -size < x < 600.0 + size:
            grow(task.scene, kind, (x, y), size, round(_HAZE_LEVELS * metres / _SIGHT) / _HAZE_LEVELS, canvas)


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
