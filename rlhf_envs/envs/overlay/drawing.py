"""Through the glasses: the scene as the head turns, the objects in it, and their labels."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlhf_envs.envs.overlay.task import COVERING, CROWDING, HALF_LABEL, READABLE, TREMBLING
from rlhf_envs.envs.palette import Color, blend
from rlhf_envs.envs.task import Array

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas, Point
    from rlhf_envs.envs.overlay.task import Overlay

Sign = Callable[["Canvas", float, float, float, float], None]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in the picture."""

PER_DEGREE = 12.0
"""Units of the picture in a degree."""
VIEW = (30.0, 12.0, 540.0, 360.0)
"""The display within the picture."""
_MIDDLE, _CENTRE = VIEW[0] + VIEW[2] / 2, VIEW[1] + VIEW[3] / 2
_BEYOND = (130.0, 90.0)
_WORLD = (VIEW[2] + 2 * _BEYOND[0], VIEW[3] + 2 * _BEYOND[1])
_FLOOR = _WORLD[1] / 2 + 100.0
_BRIGHT: Color = (255, 250, 228)
_KEY: Color = (255, 0, 254)
_LABEL_HALF = (HALF_LABEL[0, 0].item() * PER_DEGREE, HALF_LABEL[1, 0].item() * PER_DEGREE)
_GAUGES = ((60.0, "steady"), (338.0, "clear"))
_CAPTION, _GAUGE_Y, GAUGE_LENGTH = 66.0, 386.0, 140.0
STEADY = (_GAUGES[0][0] + _CAPTION, _GAUGE_Y - 3)
"""The upper left corner of the bar of steadiness."""
_FADES = 5
_HIDDEN, _BLURRED = 0.12, 0.2
_ARM = 9.0
OBJECT_MARGIN = 4.0
"""From an object to its brackets."""


def draw(task: Overlay, row: SimpleNamespace, canvas: Canvas) -> None:
    """Draw one copy: scenery, glare, objects in brackets, labels, and two gauges on the rim of the glasses."""
    yaw, pitch = (row.head * PER_DEGREE).tolist()
    corner = (_BEYOND[0] + yaw, _BEYOND[1] + pitch)
    paint = _workshop if task.scene == "workshop" else _street
    canvas.panorama(f"overlay {task.scene}", VIEW, _WORLD, corner, lambda: paint(canvas))
    halves = [_LABEL_HALF] * task.objects
    labels = [_box(*each) for each in zip(_in_picture(row.labels), halves, strict=False)]
    places = _in_picture(row.seen)
    halves = [_scaled(half) for half in (task.scenery.glare, *task.scenery.halves)]
    _glare(places[0], halves[0], canvas)
    objects = [_box(*each) for each in zip(places[1 : task.objects + 1], halves[1:], strict=False)]
    for number, thing in enumerate(objects):
        hidden = max(_overlap(thing, label) for label in labels)
        _object(task.scene, number, places[number + 1], halves[number + 1], hidden > _HIDDEN, canvas)
    for thing, label in zip(objects, labels, strict=True):
        _leader(thing, label, canvas)
    for number, place in enumerate(_in_picture(row.labels[: task.objects])):
        _label(task.scenery.names[number], place, row, number, canvas)
    width, height = canvas.width / canvas.scale, canvas.height / canvas.scale
    canvas.stamp("rim", width / 2, height / 2, (width, height), _KEY, lambda: _rim(canvas))
    _readouts(task, row, canvas)


def _in_picture(places: Array) -> list[Point]:
    """Places in degrees from the middle of the display, (K, 2), as points of the picture."""
    return [(_MIDDLE + PER_DEGREE * x, _CENTRE + PER_DEGREE * y) for x, y in places.tolist()]


def _scaled(half: Point) -> Point:
    return half[0] * PER_DEGREE, half[1] * PER_DEGREE


def _box(place: Point, half: Point) -> Box:
    return place[0] - half[0], place[1] - half[1], place[0] + half[0], place[1] + half[1]


def _overlap(first: Box, second: Box) -> float:
    """What two boxes share, as a share of the first."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0) / ((first[2] - first[0]) * (first[3] - first[1]))


def _workshop(canvas: Canvas) -> None:
    """A wall with pipes, tool boards and shelves, and a tiled floor."""
    colors = canvas.colors
    width, height = _WORLD
    wall = blend(colors.others[3], colors.background, 0.2)
    mark, deep = blend(colors.others[3], colors.background, 0.32), blend(colors.others[3], colors.background, 0.42)
    canvas.rectangle(0, 0, width, height, wall)
    for panel in range(9):
        canvas.rectangle(panel * 100.0 + 40, 0, 2, _FLOOR, mark)
    for y, thick in ((62.0, 12.0), (86.0, 6.0)):
        canvas.rectangle(0, y, width, thick, deep)
        for joint in range(6):
            canvas.rectangle(joint * 150.0 + 60, y - 3, 10, thick + 6, mark)
    for board, x in enumerate((80.0, 360.0, 620.0)):
        canvas.rectangle(x, 190, 120, 76, mark, radius=4)
        for tool in range(5):
            long = 26 + 9 * ((tool * 3 + board) % 4)
            canvas.rectangle(x + 14 + 21 * tool, 200, 6, long, deep, radius=3)
    floor = blend(colors.others[2], colors.background, 0.2)
    canvas.rectangle(0, _FLOOR, width, height - _FLOOR, floor)
    canvas.rectangle(0, _FLOOR, width, 5, deep)
    _tiles(canvas, blend(colors.others[2], colors.background, 0.3))


def _street(canvas: Canvas) -> None:
    """House fronts with windows above a pavement."""
    colors = canvas.colors
    width, height = _WORLD
    canvas.rectangle(0, 0, width, height, blend(colors.accent, colors.background, 0.16))
    x, house = -20.0, 0
    while x < width:
        wide, top = 130.0 + 25.0 * (house * 2 % 3), 40.0 + 34.0 * (house * 3 % 4)
        hue = colors.others[(2, 3, 5)[house % 3]]
        canvas.rectangle(x, top, wide - 4, _FLOOR - top, blend(hue, colors.background, 0.26))
        for floor in range(int((_FLOOR - top - 60) / 56)):
            for window in range(int(wide // 42)):
                tone = blend(hue, colors.background, 0.42)
                canvas.rectangle(x + 16 + 42 * window, top + 22 + 56 * floor, 22, 30, tone)
        x, house = x + wide, house + 1
    canvas.rectangle(0, _FLOOR, width, height - _FLOOR, blend(colors.others[3], colors.background, 0.3))
    _tiles(canvas, blend(colors.others[3], colors.background, 0.4))


def _tiles(canvas: Canvas, color: Color) -> None:
    """Lines on the ground that run towards where the wearer walks."""
    width, height = _WORLD
    for line in range(-8, 9):
        canvas.line((width / 2 + 42 * line, _FLOOR), (width / 2 + 130 * line, height), color, 2)
    for y in (34.0, 82.0, 150.0):
        canvas.rectangle(0, _FLOOR + y, width, 2, color)


def _glare(place: Point, half: Point, canvas: Canvas) -> None:
    """A window with the sun behind it."""
    width, height = 2 * half[0], 2 * half[1]
    edge = blend(_BRIGHT, canvas.colors.warning, 0.75)

    def paint() -> None:
        canvas.rectangle(0, 0, width + 12, height + 12, edge, radius=8)
        canvas.rectangle(6, 6, width, height, _BRIGHT, radius=4)
        canvas.rectangle(width / 2 + 4, 6, 4, height, edge)
        canvas.rectangle(6, height / 2 + 4, width, 4, edge)

    canvas.stamp(f"glare {half}", *place, (width + 12, height + 12), _KEY, paint)


def _object(scene: str, number: int, place: Point, half: Point, hidden: bool, canvas: Canvas) -> None:
    """An object's sign within brackets, which close to a red frame where a label hides it."""
    across, down = half[0] + OBJECT_MARGIN, half[1] + OBJECT_MARGIN
    color = canvas.colors.bad if hidden else canvas.colors.ink

    def paint() -> None:
        _SIGNS[scene][number](canvas, across, down, *half)
        if hidden:
            canvas.rectangle(1, 1, 2 * across - 2, 2 * down - 2, color, outline=3)
            return
        for x, along in ((0.0, 0.0), (2 * across - _ARM, 2 * across - 2)):
            for y, upright in ((0.0, 0.0), (2 * down - 2, 2 * down - _ARM)):
                canvas.rectangle(x, y, _ARM, 2, color)
                canvas.rectangle(along, upright, 2, _ARM, color)

    ground = blend(canvas.colors.others[3], canvas.colors.background, 0.21)
    canvas.stamp(f"{scene} {number} {hidden}", *place, (2 * across, 2 * down), ground, paint)


def _leader(thing: Box, label: Box, canvas: Canvas) -> None:
    """From the object's edge to the label's, where there is anything between them."""
    start = _nearest(thing, label)
    end = _nearest(label, thing)
    if abs(start[0] - end[0]) + abs(start[1] - end[1]) > 6:
        canvas.line(start, end, canvas.colors.accent, 2)
        canvas.rectangle(start[0] - 3, start[1] - 3, 6, 6, canvas.colors.accent, radius=3)


def _nearest(box: Box, other: Box) -> tuple[float, float]:
    """The point of a box that is nearest to the middle of another."""
    x, y = (other[0] + other[2]) / 2, (other[1] + other[3]) / 2
    return min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])


def _label(text: str, place: Point, row: SimpleNamespace, number: int, canvas: Canvas) -> None:
    """A tag; it fades in glare, and smears where it has just moved against its object."""
    colors = canvas.colors
    if row.qualities[TREMBLING, number] > _BLURRED:
        across, down = _scaled(row.slip[number].tolist())
        for share, strength in ((1.0, 0.25), (0.5, 0.45)):
            smear = blend(colors.accent, colors.surface_strong, strength)
            _tag(f"smear {strength}", (place[0] - share * across, place[1] - share * down), smear, "", smear, canvas)
    fade = round((1.0 - row.qualities[READABLE, number]) * _FADES) / _FADES
    paper = blend(_BRIGHT, colors.accent, 0.8 * fade)
    ink = blend(_BRIGHT, colors.background, fade)
    _tag(f"{text} {fade}", place, paper, text, ink, canvas)


def _tag(name: str, place: Point, paper: Color, text: str, ink: Color, canvas: Canvas) -> None:
    width, height = 2 * _LABEL_HALF[0] + 3, 2 * _LABEL_HALF[1] + 3

    def paint() -> None:
        if text:
            canvas.rectangle(0, 0, width, height, canvas.colors.background, radius=9)
        canvas.rectangle(1.5, 1.5, width - 3, height - 3, paper, radius=8)
        canvas.text(width / 2, height / 2, text, ink, size=14, anchor="center", bold=canvas.scale > 0.8)

    canvas.stamp(name, *place, (width, height), _KEY, paint)


def _rim(canvas: Canvas) -> None:
    """The frame of the glasses, over whatever reaches out of the view, with the captions on it."""
    colors = canvas.colors
    canvas.rectangle(0, 0, canvas.width / canvas.scale, canvas.height / canvas.scale, colors.background)
    canvas.rectangle(*VIEW, _KEY, radius=26)
    for x, word in _GAUGES:
        canvas.text(x, _GAUGE_Y, word, colors.muted, size=14)
        canvas.rectangle(x + _CAPTION, _GAUGE_Y - 3, GAUGE_LENGTH, 7, colors.surface_strong)


def _readouts(task: Overlay, row: SimpleNamespace, canvas: Canvas) -> None:
    """How steady the labels are, and how much of the objects and of one another they leave free."""
    means = row.qualities[:, : task.objects].mean(axis=1).tolist()
    free = 1.0 - min(means[COVERING] + means[CROWDING], 1.0)
    for (x, _), share in zip(_GAUGES, (1.0 - means[TREMBLING], free), strict=True):
        color = canvas.colors.good if share > 0.8 else canvas.colors.warning if share > 0.5 else canvas.colors.bad
        canvas.rectangle(x + _CAPTION, _GAUGE_Y - 3, max(GAUGE_LENGTH * share, 3), 7, color)


def _pump(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A round housing on a pipe and a foot."""
    body, dark, pale = _tones(canvas, 1)
    canvas.rectangle(x - across, y - 0.2 * down, 2 * across, 0.5 * down, dark)
    canvas.rectangle(x - 0.7 * across, y + 0.78 * down, 1.4 * across, 0.22 * down, dark)
    canvas.ellipse(x - 0.85 * down, y - 0.85 * down, 1.7 * down, 1.7 * down, body)
    canvas.ellipse(x - 0.42 * down, y - 0.42 * down, 0.84 * down, 0.84 * down, pale)
    for blade in range(3):
        angle = 0.3 + blade * pi / 3
        step = (0.34 * down * cos(angle), 0.34 * down * sin(angle))
        canvas.line((x - step[0], y - step[1]), (x + step[0], y + step[1]), dark, 3)


def _tank(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A standing tank with a glass that shows its level."""
    body, dark, pale = _tones(canvas, 2)
    canvas.rectangle(x - 0.25 * across, y - down, 0.5 * across, 0.3 * down, dark)
    canvas.rectangle(x - 0.9 * across, y - 0.82 * down, 1.8 * across, 1.82 * down, body, radius=9)
    for height in (-0.5, 0.66):
        canvas.rectangle(x - 0.9 * across, y + height * down, 1.8 * across, 3, dark)
    canvas.rectangle(x - 0.2 * across, y - 0.34 * down, 0.4 * across, 0.86 * down, dark)
    canvas.rectangle(x - 0.2 * across, y - 0.06 * down, 0.4 * across, 0.58 * down, pale)


def _motor(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A finned housing with a shaft."""
    body, dark, pale = _tones(canvas, 3)
    canvas.rectangle(x + 0.6 * across, y - 0.15 * down, 0.4 * across, 0.3 * down, dark)
    canvas.rectangle(x - 0.6 * across, y + 0.7 * down, 1.1 * across, 0.3 * down, dark)
    canvas.rectangle(x - across, y - 0.8 * down, 1.7 * across, 1.55 * down, body, radius=7)
    canvas.rectangle(x - 0.35 * across, y - down, 0.6 * across, 0.36 * down, pale)
    for fin in range(4):
        canvas.rectangle(x - 0.75 * across, y + (0.33 * fin - 0.5) * down, 1.2 * across, 2, dark)


def _valve(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A hand wheel above a pipe."""
    body, dark, pale = _tones(canvas, 4)
    canvas.rectangle(x - across, y + 0.4 * down, 2 * across, 0.55 * down, dark)
    canvas.rectangle(x - 3, y - 0.3 * down, 6, 0.8 * down, pale)
    canvas.rectangle(x - 0.4 * across, y + 0.3 * down, 0.8 * across, 0.7 * down, body)
    middle, radius = y - 0.36 * down, 0.62 * down
    canvas.line((x - radius, middle), (x + radius, middle), body, 3)
    canvas.circle(x, middle, radius, body, outline=5)


def _bus(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A city bus from its side."""
    body, dark, pale = _tones(canvas, 4)
    canvas.rectangle(x - across, y - 0.95 * down, 2 * across, 1.65 * down, body, radius=6)
    for window in range(4):
        canvas.rectangle(x + (0.47 * window - 0.9) * across, y - 0.7 * down, 0.38 * across, 0.62 * down, pale)
    for wheel in (-0.55, 0.55):
        canvas.ellipse(x + wheel * across - 0.32 * down, y + 0.36 * down, 0.64 * down, 0.64 * down, dark)


def _cafe(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A shop front under a striped awning."""
    body, dark, pale = _tones(canvas, 2)
    canvas.rectangle(x - 0.9 * across, y - 0.6 * down, 1.8 * across, 1.6 * down, body)
    canvas.rectangle(x - 0.7 * across, y - 0.1 * down, 0.75 * across, 0.65 * down, pale)
    canvas.rectangle(x + 0.25 * across, y - 0.1 * down, 0.45 * across, 1.1 * down, dark)
    for stripe in range(5):
        tone = pale if stripe % 2 else dark
        canvas.rectangle(x + (0.4 * stripe - 1.0) * across, y - down, 0.41 * across, 0.6 * down, tone)


def _bike(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """A bicycle from its side."""
    body, dark, _ = _tones(canvas, 1)
    radius, axle = 0.44 * across, y + 0.95 * down - 0.44 * across
    left, right, seat, bar = x - 0.54 * across, x + 0.54 * across, x - 0.2 * across, x + 0.36 * across
    for wheel in (left, right):
        canvas.circle(wheel, axle, radius, dark, outline=3)
    high = y - 0.5 * down
    canvas.polyline([(left, axle), (seat, high), (bar, high), (x, axle), (left, axle)], body, 3)
    canvas.polyline([(right, axle), (bar, y - 0.9 * down), (bar - 8, y - 0.9 * down)], body, 3)
    canvas.rectangle(seat - 8, y - 0.72 * down, 15, 4, dark)


def _lift(canvas: Canvas, x: float, y: float, across: float, down: float) -> None:
    """Sliding doors with an arrow above."""
    body, dark, pale = _tones(canvas, 3)
    canvas.rectangle(x - 0.95 * across, y - down, 1.9 * across, 2 * down, body, radius=4)
    canvas.polygon([(x - 7, y - 0.62 * down), (x + 7, y - 0.62 * down), (x, y - 0.88 * down)], pale, smooth=False)
    canvas.rectangle(x - 0.7 * across, y - 0.45 * down, 1.4 * across, 1.45 * down, pale)
    canvas.rectangle(x - 1, y - 0.45 * down, 2, 1.45 * down, dark)


_SIGNS: dict[str, tuple[Sign, ...]] = {
    "workshop": (_pump, _tank, _motor, _valve),
    "street": (_bus, _cafe, _bike, _lift),
}
"""How the objects of each scene look, in the order of their names: drawn around (x, y) with half their size."""


def _tones(canvas: Canvas, hue: int) -> tuple[Color, Color, Color]:
    """A hue of the palette for the body of a thing, a darker and a paler one for its parts."""
    colors = canvas.colors
    body = blend(colors.others[hue], colors.surface, 0.72)
    return body, blend(colors.others[3], (20, 22, 28), 0.55), blend(colors.others[hue], (255, 255, 250), 0.3)
