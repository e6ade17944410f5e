"""What a picture says: the texts, bars and shapes that a task hands to the drawing code, read instead of drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rlhf_envs.envs.canvas import Area, Canvas, Point
from rlhf_envs.envs.palette import Color


class Text(NamedTuple):
    """A line of text: its place, its words and its colour."""

    x: float
    y: float
    words: str
    color: Color


class Box(NamedTuple):
    """A rectangle from its top left corner; `filled` or only an outline."""

    x: float
    y: float
    width: float
    height: float
    color: Color
    filled: bool


class Line(NamedTuple):
    """A straight line and its colour."""

    start: Point
    end: Point
    color: Color


class Drawn(Canvas):
    """A canvas that notes what is drawn in one frame; nothing is cached, so that every frame is complete.

    Attributes:
        texts, boxes, lines: in the order in which they were drawn, in units of a 600x400 picture.
        shapes: circles, ellipses, polygons, polylines and stamps, each as its kind and what it was drawn with.
    """

    def __init__(self) -> None:
        super().__init__(600, 400)
        self.clear()

    def clear(self) -> None:
        """Forget the last frame."""
        self.texts: list[Text] = []
        self.boxes: list[Box] = []
        self.lines: list[Line] = []
        self.shapes: list[tuple[str, tuple[Any, ...]]] = []

    def says(self, words: str, y: float | None = None) -> bool:
        """Whether a text with exactly these words is drawn, at this height if one is given."""
        return any(text.words == words and (y is None or abs(text.y - y) < 1) for text in self.texts)

    def bar(self, x: float, y: float) -> float:
        """How far a bar is filled whose corner is there, from 0 to 1: the filled part over the whole."""
        widths = [(box.width, box.color) for box in self.boxes if abs(box.x - x) < 0.5 and abs(box.y - y) < 0.5]
        whole = max(width for width, _ in widths)
        width, color = widths[-1]
        return 0.0 if color == self.colors.surface_strong else width / whole

    def background(self, name: str, paint: Callable[[], None]) -> None:
        self.clear()
        paint()

    def cached(self, name: str, area: Area, paint: Callable[[], None], ground: Color | None = None) -> None:
        paint()

    def cached_newest(self, place: str, name: str, area: Area, paint: Callable[[], None]) -> None:
        paint()

    def backdrop(
        self, name: str, area: Area, length: float, shift: float, paint: Callable[[], None], *bent: Any
    ) -> None:
        self.shapes.append(("backdrop", (name, area, length, shift)))

    def panorama(self, name: str, area: Area, size: Point, corner: Point, paint: Callable[[], None]) -> None:
        self.shapes.append(("panorama", (name, area, size, corner)))

    def stamp(self, name: str, x: float, y: float, size: Point, ground: Color, paint: Callable[[], None]) -> None:
        self.shapes.append(("stamp", (name, x, y, size)))

    def shade(self, name: str, area: Area, light: Any) -> None:
        self.shapes.append(("shade", (name, area)))

    def rectangle(
        self, x: float, y: float, width: float, height: float, color: Color, radius: float = 0, outline: float = 0
    ) -> None:
        self.boxes.append(Box(x, y, width, height, color, not outline))

    def circle(self, x: float, y: float, radius: float, color: Color, outline: float = 0) -> None:
        self.shapes.append(("circle", (x, y, radius, color, outline)))

    def ellipse(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        self.shapes.append(("ellipse", (x, y, width, height, color)))

    def line(self, start: Point, end: Point, color: Color, width: float = 1) -> None:
        self.lines.append(Line(start, end, color))

    def polyline(self, points: Any, color: Color, width: float = 1) -> None:
        self.shapes.append(("polyline", (tuple(points), color)))

    def polygon(self, points: Any, color: Color, smooth: bool = True) -> None:
        self.shapes.append(("polygon", (tuple(points), color)))

    def text(
        self, x: float, y: float, text: str, color: Color, size: float = 14, anchor: str = "left", bold: bool = False
    ) -> None:
        self.texts.append(Text(x, y, text, color))

    def texts_on(self, ground: Color, places: Iterable[tuple[float, float, str, Color]], size: float) -> None:
        for x, y, text, color in places:
            self.text(x, y, text, color, size)

    def image(self, x: float, y: float, width: float, height: float, pixels: Any) -> None:
        self.shapes.append(("image", (x, y, width, height)))
