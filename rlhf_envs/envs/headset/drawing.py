"""The view through the wearer's eyes (path, trees or rocks, vignette), and below it the wearer's face and gauges."""

from __future__ import annotations

from functools import cache
from math import tan, tau
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.headset.task import PATH_WIDTH, SIGHT_BESIDE, Scene, path_direction
from rlhf_envs.envs.palette import Color, blend
from rlhf_envs.envs.task import Array

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas
    from rlhf_envs.envs.headset.task import Headset

Place = tuple[float, float, float]
"""Across and down in the picture, and how many pixels a metre takes there: 0 for what lies behind the eyes."""

_VIEW = (0.0, 0.0, 600.0, 304.0)
_PANEL = (0.0, 304.0, 600.0, 96.0)
BAR_PLACES = (124.0, 244.0, 364.0, 484.0)
_BAR_LABELS = ("immersion", "sickness", "looks past", "jolts")
BAR_TOP, _BAR_HEIGHT = 356.0, 12.0
BAR_LENGTHS = (104.0, 104.0, 52.0, 26.0)
"""A full bar is as long as what it shows counts in the true reward, so that people weigh bars by what they see."""

_LABEL_SIZE = 17
_SICKNESS_LEVELS = 40
_MIDDLE, _HORIZON, _FOCAL, _EYE_HEIGHT = 300.0, 132.0, 330.0, 1.5
_SIGHT, _NEAREST = 36.0, 1.2
_HAZE_LEVELS = 6
_SHADES = 20
_GRID = np.arange(0.0, _SIGHT + 6.0, dtype=np.float32)
_BENDS = np.array([2.6, 4.5, 8.0, 14.0, 22.0, 36.0], dtype=np.float32)
_PLANK_SPACING = 4.0
_PLANK_EDGES = np.repeat(np.arange(4, dtype=np.float32) * np.float32(_PLANK_SPACING), 2)
_PLANK_EDGES[1::2] += 0.9

_PEAKS = (30, 12, 44, 20, 58, 26, 40, 10, 34, 18, 50, 24, 62, 30, 36, 14, 46, 22, 28, 8, 52, 20, 40, 26, 56, 16, 38, 12)
_SKY = (0.0, 28.0, 600.0, 104.0)
_AROUND = tau * _FOCAL
_SUN_PLACE = 420.0

_ROCK = ((-1.0, 0.0), (-0.75, 0.62), (-0.3, 1.0), (0.25, 0.94), (0.7, 0.5), (1.0, 0.0))
_WORDS = ((0.15, "well"), (0.35, "uneasy"), (0.6, "queasy"), (2.0, "sick"))


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
        sin, cos, right, ahead = before + (self._lines.take(cell + 1, axis=1) - before) * (along - cell)
        depth = ahead - beside * sin
        size = _FOCAL / np.maximum(depth, _NEAREST)
        x = _MIDDLE + (right + beside * cos) * size
        y = _HORIZON + _EYE_HEIGHT * size
        size *= depth > _NEAREST
        return list(zip(x.tolist(), y.tolist(), size.tolist(), strict=True))


@cache
def _in_sight(scene: Scene) -> int:
    """How many trees or rocks are drawn on each side."""
    return int(_SIGHT // scene.spacing)


@cache
def _beside(scene: Scene) -> Array:
    """How far beside the middle of the path all places lie that are drawn, the left ones first."""
    edges = [PATH_WIDTH / 2] * (len(_BENDS) + len(_PLANK_EDGES)) + [scene.distance] * _in_sight(scene)
    return np.array([-metres for metres in edges] + edges, dtype=np.float32)


def draw(task: Headset, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: the view with the gaze in it, and below it the wearer with three gauges."""
    canvas.background("headset", lambda: _land(canvas))
    canvas.backdrop("mountains", _SKY, _AROUND, row.view * _FOCAL, lambda: _mountains(canvas))
    scene = task.scenery
    first = int(row.travelled // scene.spacing) + 1
    numbers = range(first + _in_sight(scene) - 1, first - 1, -1)
    beside_path = [number * scene.spacing - row.travelled for number in numbers]
    planks = _PLANK_EDGES + np.float32(_PLANK_SPACING - row.travelled % _PLANK_SPACING)
    away = row.sight - row.travelled
    one_side = np.concatenate([_BENDS, planks, beside_path], dtype=np.float32)
    along = np.concatenate([one_side, one_side, np.array([min(away, _SIGHT)], dtype=np.float32)])
    beside = np.append(_beside(scene), np.float32(row.side * SIGHT_BESIDE))
    *places, sight = _Road(task, row).places(along, beside)
    left, right = places[: len(places) // 2], places[len(places) // 2 :]
    edges = len(_BENDS) + len(planks)
    _path(left[:edges], right[:edges], canvas)
    _surroundings(task.scene, numbers, beside_path, left[edges:], right[edges:], canvas)
    if away < _SIGHT and sight[2]:
        _sight(int(row.sight) % 2, sight, canvas)
    _vignette(row.vignette, canvas)
    _gaze(row.gaze, canvas)
    _readouts(row, canvas)


def _sky(canvas: Canvas) -> Color:
    return blend(canvas.colors.accent, canvas.colors.background, 0.16)


def _land(canvas: Canvas) -> None:
    left, top, width, height = _VIEW
    canvas.rectangle(left, top, width, height, _sky(canvas))
    ground = blend(canvas.colors.good, canvas.colors.background, 0.22)
    canvas.rectangle(left, _HORIZON, width, height - _HORIZON, ground)


def _mountains(canvas: Canvas) -> None:
    """All around the wearer and far away, so they only show how the view turns."""
    colors = canvas.colors
    bottom, width = _SKY[3], _AROUND + _SKY[2]
    canvas.rectangle(0, 0, width, bottom, _sky(canvas))
    for turn in (0.0, _AROUND):
        canvas.circle(turn + _SUN_PLACE, 24, 17, blend(colors.warning, _sky(canvas), 0.6))
    apart = _AROUND / len(_PEAKS)
    count = int(width / apart) + 2
    ridge = [(peak * apart, bottom - _PEAKS[peak % len(_PEAKS)]) for peak in range(count)]
    canvas.polygon([(0.0, bottom), *ridge, (count * apart, bottom)], blend(colors.others[3], _sky(canvas), 0.4))


def _path(left: list[Place], right: list[Place], canvas: Canvas) -> None:
    """The path, with planks across it that show how fast it passes."""
    seen = [n for n in range(len(_BENDS)) if left[n][2] and right[n][2]]
    if len(seen) > 1:
        outline = [left[n][:2] for n in seen] + [right[n][:2] for n in reversed(seen)]
        canvas.polygon(outline, blend(canvas.colors.warning, canvas.colors.background, 0.26))
    color = blend(canvas.colors.warning, canvas.colors.background, 0.5)
    for n in range(len(_BENDS), len(left), 2):
        corners = (left[n], left[n + 1], right[n + 1], right[n])
        if all(corner[2] for corner in corners) and left[n + 1][1] < _VIEW[3]:
            canvas.polygon([corner[:2] for corner in corners], color, smooth=False)


def _surroundings(
    scene: str, numbers: range, along: list[float], left: list[Place], right: list[Place], canvas: Canvas
) -> None:
    """Trees, bushes or rocks on both sides of the path, the farthest first, paler with distance."""
    for number, metres, *pair in zip(numbers, along, left, right, strict=True):
        haze = round(_HAZE_LEVELS * metres / _SIGHT) / _HAZE_LEVELS
        for side, (x, y, size) in enumerate(pair):
            if size and -0.75 * size < x < 600.0 + 0.75 * size:
                _grow(scene, (number * 7 + side * 3) % 5, (x, y), size, haze, canvas)


def _sight(kind: int, place: Place, canvas: Canvas) -> None:
    """A tower with a flag, or a fountain, whose foot is at a place."""
    colors = canvas.colors
    x, y, size = place
    stone, dark = blend(colors.others[3], colors.surface, 0.75), blend(colors.others[3], colors.ink, 0.7)
    if kind:
        canvas.rectangle(x - 0.7 * size, y - 4.2 * size, 1.4 * size, 4.2 * size, stone)
        for across in (-0.9, -0.25, 0.4):
            canvas.rectangle(x + across * size, y - 4.7 * size, 0.5 * size, 0.6 * size, stone)
        canvas.rectangle(x - 0.22 * size, y - 1.2 * size, 0.44 * size, 1.2 * size, dark)
        canvas.rectangle(x - 0.15 * size, y - 3.3 * size, 0.3 * size, 0.6 * size, dark)
        canvas.line((x, y - 4.7 * size), (x, y - 6.2 * size), dark, max(0.08 * size, 1))
        flag = [(x, y - 6.2 * size), (x + 1.1 * size, y - 5.9 * size), (x, y - 5.5 * size)]
        canvas.polygon(flag, colors.bad, smooth=False)
        return
    water, width = blend(colors.accent, colors.surface, 0.6), max(0.16 * size, 1)
    for reach, top in ((1.2, 3.0), (0.6, 3.5)):
        for side in (-reach, reach):
            jet = [(0.0, 2.2), (0.3, top - 0.2), (0.55, top), (0.8, top - 0.5), (1.0, 0.9)]
            canvas.polyline([(x + side * at * size, y - up * size) for at, up in jet], water, width)
    canvas.rectangle(x - 0.2 * size, y - 2.3 * size, 0.4 * size, 1.6 * size, dark)
    canvas.polygon(
        [(x + across * size, y - up * size) for across, up in ((-1.7, 0.9), (1.7, 0.9), (1.4, 0.0), (-1.4, 0.0))],
        stone,
        smooth=False,
    )
    canvas.rectangle(x - 1.8 * size, y - 1.1 * size, 3.6 * size, 0.3 * size, dark)


def _vignette(vignette: float, canvas: Canvas) -> None:
    level = round(vignette * _SHADES)
    if level:
        open_to = 1.36 - 0.95 * level / _SHADES
        canvas.shade(f"vignette {level}", _VIEW, lambda across, down: (open_to - np.hypot(across, down)) / 0.18 + 1.0)


def _gaze(gaze: float, canvas: Canvas) -> None:
    """A ring where the wearer's eyes rest; at the edge when they look out of the view."""
    x = min(max(_MIDDLE + _FOCAL * tan(gaze), 22.0), 578.0) if abs(gaze) < 1.2 else (22.0 if gaze < 0 else 578.0)
    canvas.circle(x, _HORIZON + 26, 11, canvas.colors.accent, outline=3)
    canvas.rectangle(x - 2, _HORIZON + 24, 4, 4, canvas.colors.accent)


def _readouts(row: SimpleNamespace, canvas: Canvas) -> None:
    level = round(row.sickness * _SICKNESS_LEVELS)
    canvas.cached(f"sickness {level}", _PANEL, lambda: _panel(level / _SICKNESS_LEVELS, canvas))
    colors = canvas.colors
    for x, length, share, color in zip(
        BAR_PLACES,
        BAR_LENGTHS,
        (row.immersion, row.sickness, row.astray, row.jolts),
        (colors.good, colors.bad, colors.bad, colors.bad),
        strict=True,
    ):
        if share * length >= 1:
            canvas.rectangle(x, BAR_TOP, share * length, _BAR_HEIGHT, color)


def _panel(sickness: float, canvas: Canvas) -> None:
    """The wearer, and empty bars that are filled in each frame."""
    _draw_face(canvas, 58, 346, 27, sickness)
    for x, length, label in zip(BAR_PLACES, BAR_LENGTHS, _BAR_LABELS, strict=True):
        canvas.text(x, BAR_TOP - 18, label, canvas.colors.ink, size=_LABEL_SIZE)
        canvas.rectangle(x, BAR_TOP, length, _BAR_HEIGHT, canvas.colors.surface_strong)


def _grow(scene: str, kind: int, foot: tuple[float, float], size: float, haze: float, canvas: Canvas) -> None:
    """A poplar, a bush or a pillar of rock whose foot is at (x, y), at `size` pixels per metre.

    `kind` of 0 to 4 varies its form; `haze` of 0 to 1 makes it paler.
    """
    colors = canvas.colors
    x, y = foot
    sky = blend(colors.accent, colors.background, 0.16)
    clear = 0.8 - 0.5 * haze
    if scene == "gorge":
        width, height = (0.8 + 0.1 * kind) * size, (2.4 + 0.7 * kind) * size
        rock = [(x + across * width, y - up * height) for across, up in _ROCK]
        canvas.polygon(rock, blend(colors.others[2], sky, clear), smooth=False)
        return
    leaf = blend(colors.good if kind % 2 else colors.others[5], sky, clear)
    if scene == "meadow":
        width, height = (1.3 + 0.2 * kind) * size, (0.8 + 0.15 * kind) * size
        canvas.ellipse(x - width / 2, y - height, width, height, leaf)
        return
    width, height = (1.1 + 0.12 * kind) * size, (4.0 + 0.5 * kind) * size
    canvas.rectangle(x - 0.1 * size, y - size, 0.2 * size, size, blend(colors.others[2], sky, clear))
    canvas.ellipse(x - width / 2, y - 0.5 * size - height, width, height, leaf)


def _draw_face(canvas: Canvas, x: float, y: float, radius: float, sickness: float) -> None:
    """A face around (x, y) with a headset on, for a sickness of 0 to 1, and below it the word for it."""
    colors = canvas.colors
    skin = blend(colors.others[5], colors.warning, min(round(sickness * 12) / 9, 1.0))
    dark = min(colors.background, colors.ink)
    canvas.circle(x, y, radius, skin)
    canvas.rectangle(x - radius * 1.08, y - radius * 0.32, radius * 2.16, radius * 0.2, dark)
    canvas.rectangle(x - radius * 0.78, y - radius * 0.56, radius * 1.56, radius * 0.66, dark, radius=radius * 0.24)
    canvas.rectangle(x - radius * 0.6, y - radius * 0.42, radius * 0.5, radius * 0.12, colors.accent, radius=2)
    bend = radius * (0.3 - 0.6 * min(sickness * 1.6, 1.0))
    mouth = [
        (x + radius * 0.42 * across, y + radius * 0.5 + bend * (0.5 - across * across))
        for across in (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)
    ]
    canvas.polyline(mouth, dark, 3)
    word = next(word for limit, word in _WORDS if sickness < limit)
    canvas.text(x, y + radius + 14, word, colors.ink, size=13, anchor="center", bold=True)
