"""What environments draw on: a surface in logical units of 600x400, scaled to any size, without opening a display."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import pairwise
from math import cos, sin
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from rlhf_envs.envs.palette import THEMES, Color, text_colors

LOGICAL_WIDTH, LOGICAL_HEIGHT = 600, 400
_SMALLEST_TEXT = 9
_OVERSAMPLED = 4
"""Text is drawn so many times larger and scaled down: at its own size each letter would be moved to a whole pixel,
which spaces small letters unevenly."""

_MOST_CACHED_TEXTS, _MOST_CACHED_BENDS = 4000, 500

_STRIP = 8

Point = tuple[float, float]
Area = tuple[float, float, float, float]
"""Left and upper edge, width and height."""
Strip = tuple[pygame.Surface, tuple[int, int]]
Light = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


class Canvas:
    """A picture of (width, height) pixels; every coordinate and length below is in units of a 600x400 picture.

    The pixels are laid out as red, green, blue bytes, so that `pixels` is one memory copy (no conversion), and texts
    and backgrounds are drawn once and cached.

    Args:
        width, height: of the picture in pixels.
        theme: "light" or "dark".

    Attributes:
        colors: the theme's `Palette`: `colors.background`, `colors.ink`, `colors.accent` and so on, each (red, green,
            blue). Any other colour is such a triple as well, but the same in both themes.
        scale: pixels in a unit.
    """

    def __init__(self, width: int, height: int, theme: str = "light") -> None:
        pygame.font.init()
        self.width, self.height = width, height
        self.scale = min(width / LOGICAL_WIDTH, height / LOGICAL_HEIGHT)
        self.colors = THEMES[theme]
        self._text_colors = text_colors(self.colors)
        self.surface = _rgb_surface(width, height)
        self._target = self.surface
        self._fonts: dict[tuple[int, bool], pygame.font.Font] = {}
        self._texts: dict[tuple[str, int, Color, bool], pygame.Surface] = {}
        self._labels: dict[tuple[str, float, Color, Color], pygame.Surface] = {}
        self._widths: dict[tuple[str, float, bool], float] = {}
        self._backgrounds: dict[str, pygame.Surface] = {}
        self._newest: dict[str, str] = {}
        self._bends: dict[tuple[tuple[float, ...], int, int], list[tuple[int, int, int]]] = {}
        self._shades: dict[str, tuple[list[Strip], list[Strip]]] = {}

    def pixels(self) -> NDArray[np.uint8]:
        """A copy of the picture, (height, width, 3) uint8."""
        pitch = self.surface.get_pitch()
        buffer: Any = self.surface.get_buffer()
        rows = np.frombuffer(buffer, dtype=np.uint8).reshape(self.height, pitch)
        return rows[:, : self.width * 3].reshape(self.height, self.width, 3).copy()

    def background(self, name: str, paint: Callable[[], None]) -> None:
        """Begin a picture with what never changes: `paint` is called once per name, then its result is reused."""
        self.surface.blit(self._painted_once(name, paint), (0, 0))

    def cached(self, name: str, area: Area, paint: Callable[[], None], ground: Color | None = None) -> None:
        """Blit a part that has few variants onto an area: painted once per name, on `ground`, then reused.

        Text is so drawn together with what is behind it, since blitting with transparency is slow.
        """
        left, top, width, height = (round(value * self.scale) for value in area)
        if name not in self._backgrounds:
            self._backgrounds[name] = self._painted(paint, ground=ground).subsurface((left, top, width, height)).copy()
        self.surface.blit(self._backgrounds[name], (left, top))

    def cached_newest(self, place: str, name: str, area: Area, paint: Callable[[], None]) -> None:
        """`cached` for a part with many variants that seldom changes: only the newest one of each place is cached."""
        if self._newest.get(place) != name:
            self._newest[place] = name
            self._backgrounds.pop(place, None)
        self.cached(place, area, paint)

    def _painted_once(self, name: str, paint: Callable[[], None], width: int = 0, height: int = 0) -> pygame.Surface:
        if name not in self._backgrounds:
            self._backgrounds[name] = self._painted(paint, width, height)
        return self._backgrounds[name]

    def _painted(
        self, paint: Callable[[], None], width: int = 0, height: int = 0, ground: Color | None = None
    ) -> pygame.Surface:
        painted = _rgb_surface(width or self.width, height or self.height)
        painted.fill(ground or self.colors.background)
        self._target = painted
        try:
            paint()
        finally:
            self._target = self.surface
        return painted

    def backdrop(
        self,
        name: str,
        area: Area,
        length: float,
        shift: float,
        paint: Callable[[], None],
        bends: tuple[float, ...] = (),
        column: int = 0,
        margin: float = 0.0,
    ) -> None:
        """Scenery that passes sideways: an endless strip, moved to the left by `shift`, seen in an area.

        `paint` is called once per name, with the strip's top left corner at (0, 0), and draws `length` of it and as
        much again as the area is wide, which should look like its beginning.

        Args:
            name: of the strip.
            area: where it is seen.
            length: after which it repeats.
            shift: how far it has moved.
            paint: draws it.
            bends: how far down each column of the area is moved, so that what runs along the strip winds.
            column: how wide those columns are.
            margin: by how much the strip reaches beyond the area above and below, which is the most that it bends.
        """
        s = self.scale
        left, top, width, height = (round(value * s) for value in area)
        around, above = round(length * s), round(margin * s)
        strip = self._painted_once(name, paint, around + width, height + 2 * above)
        first = round(shift * s) % around
        if not bends:
            self.surface.blit(strip, (left, top), (first, above, width, height))
            return
        parts = [
            (strip, (left + x, top), (first + x, above - down, wide, height))
            for x, wide, down in self._columns(bends, column, width)
        ]
        self.surface.blits(parts, doreturn=False)

    def _columns(self, bends: tuple[float, ...], column: int, width: int) -> list[tuple[int, int, int]]:
        """Runs of columns that lie equally far down: where each begins, how wide it is and how far down, in pixels."""
        key = (bends, column, width)
        if key not in self._bends:
            if len(self._bends) >= _MOST_CACHED_BENDS:
                self._bends.clear()
            edges = [min(round(column * self.scale * number), width) for number in range(len(bends) + 1)]
            downs = [round(down * self.scale) for down in bends]
            starts = [number for number, down in enumerate(downs) if number == 0 or down != downs[number - 1]]
            ends = [*starts[1:], len(bends)]
            runs = (
                (edges[start], edges[end] - edges[start], downs[start]) for start, end in zip(starts, ends, strict=True)
            )
            self._bends[key] = [run for run in runs if run[1]]
        return self._bends[key]

    def panorama(self, name: str, area: Area, size: Point, corner: Point, paint: Callable[[], None]) -> None:
        """A view of a larger picture, whose point `corner` lies in the top left corner of the view's area.

        `paint` is called once per name and draws a picture of `size` (width, height); the view stays within it.
        """
        left, top, width, height = (round(value * self.scale) for value in area)
        across, down = (round(value * self.scale) for value in size)
        x = min(max(round(corner[0] * self.scale), 0), across - width)
        y = min(max(round(corner[1] * self.scale), 0), down - height)
        self.surface.blit(self._painted_once(name, paint, across, down), (left, top), (x, y, width, height))

    def stamp(self, name: str, x: float, y: float, size: Point, ground: Color, paint: Callable[[], None]) -> None:
        """Blit a small picture of `size` (width, height) with its middle on (x, y): painted once per name, then reused.

        `paint` draws it with its top left corner at (0, 0), on `ground`, which is then see-through: a colour that the
        picture itself does not use, and like what it will be drawn on, since smooth edges fade into it.
        """
        width, height = (max(round(value * self.scale), 1) for value in size)
        if name not in self._backgrounds:
            painted = self._painted(paint, width, height, ground)
            painted.set_colorkey(ground, pygame.RLEACCEL)
            self._backgrounds[name] = painted
        place = (round(x * self.scale - width / 2), round(y * self.scale - height / 2))
        self.surface.blit(self._backgrounds[name], place)

    def rectangle(
        self, x: float, y: float, width: float, height: float, color: Color, radius: float = 0, outline: float = 0
    ) -> None:
        """A rectangle from its top left corner; filled, or with `outline` that thick a border only."""
        s = self.scale
        left, top = round(x * s), round(y * s)
        area = (left, top, max(round((x + width) * s) - left, 1), max(round((y + height) * s) - top, 1))
        if radius or outline:
            pygame.draw.rect(self._target, color, area, self._thickness(outline), border_radius=round(radius * s))
        else:
            self._target.fill(color, area)

    def circle(self, x: float, y: float, radius: float, color: Color, outline: float = 0) -> None:
        """A smooth-edged circle, filled or as a ring of thickness `outline`."""
        s = self.scale
        centre = (round(x * s), round(y * s))
        pygame.draw.aacircle(self._target, color, centre, max(radius * s, 1.0), self._thickness(outline))

    def ellipse(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """A filled ellipse from the top left corner of the box around it; the quickest of the round shapes."""
        s = self.scale
        area = (round(x * s), round(y * s), max(round(width * s), 1), max(round(height * s), 1))
        pygame.draw.ellipse(self._target, color, area)

    def line(self, start: Point, end: Point, color: Color, width: float = 1) -> None:
        """A straight line."""
        s = self.scale
        a, b = (start[0] * s, start[1] * s), (end[0] * s, end[1] * s)
        if width * s <= 1.5:
            pygame.draw.aaline(self._target, color, a, b)
        else:
            pygame.draw.line(self._target, color, a, b, round(width * s))

    def polyline(self, points: Sequence[Point], color: Color, width: float = 1) -> None:
        """Connected straight lines through at least two points."""
        s = self.scale
        scaled = [(x * s, y * s) for x, y in points]
        if width * s <= 1.5:
            pygame.draw.aalines(self._target, color, False, scaled)
        else:
            pygame.draw.lines(self._target, color, False, scaled, round(width * s))

    def polygon(self, points: Sequence[Point], color: Color, smooth: bool = True) -> None:
        """A filled polygon with smooth edges; without them it is drawn in half the time."""
        s = self.scale
        scaled = [(x * s, y * s) for x, y in points]
        pygame.draw.polygon(self._target, color, scaled)
        if smooth:
            pygame.draw.aalines(self._target, color, True, scaled)

    def turned_rectangle(self, x: float, y: float, length: float, width: float, angle: float, color: Color) -> None:
        """A filled rectangle around its centre, turned by `angle` radians (0 points right, up is negative)."""
        c, s = cos(angle) / 2, sin(angle) / 2
        along, across = (length * c, length * s), (-width * s, width * c)
        self.polygon(
            [
                (x + along[0] + across[0], y + along[1] + across[1]),
                (x + along[0] - across[0], y + along[1] - across[1]),
                (x - along[0] - across[0], y - along[1] - across[1]),
                (x - along[0] + across[0], y - along[1] + across[1]),
            ],
            color,
        )

    def text(
        self, x: float, y: float, text: str, color: Color, size: float = 14, anchor: str = "left", bold: bool = False
    ) -> None:
        """A line of text, vertically centred on y; `anchor` says what x is: "left", "center" or "right".

        A hue of the palette comes out as dark, or in the dark theme as pale, as it takes to read it.
        """
        if not text:
            return
        color = self._text_colors.get(color, color)
        drawn = self._drawn(text, max(round(size * self.scale), _SMALLEST_TEXT), color, bold)
        shift = {"left": 0.0, "center": 0.5, "right": 1.0}[anchor]
        left = round(x * self.scale - drawn.get_width() * shift)
        self._target.blit(drawn, (left, round(y * self.scale - drawn.get_height() / 2)))

    def texts_on(self, ground: Color, places: Iterable[tuple[float, float, str, Color]], size: float) -> None:
        """Many short texts, (x, y, text, colour), each as `text` draws it, on a ground of one colour.

        Each is painted with the ground once, wherever it stands, since blitting with transparency is slow.
        """
        scale, parts = self.scale, []
        for x, y, text, color in places:
            key = (text, size, color, ground)
            label = self._labels.get(key)
            if label is None:
                if len(self._labels) >= _MOST_CACHED_TEXTS:
                    self._labels.clear()
                shown, pixels = self._text_colors.get(color, color), max(round(size * scale), _SMALLEST_TEXT)
                width, height = self._drawn(text, pixels, shown, bold=False).get_size()
                paint = partial(self.text, 0, height / 2 / scale, text, color, size)
                label = self._labels[key] = self._painted(paint, width, height, ground)
            parts.append((label, (round(x * scale), round(y * scale - label.get_height() / 2))))
        self._target.blits(parts, doreturn=False)

    def text_width(self, text: str, size: float = 14, bold: bool = False) -> float:
        """How wide a line of text comes out."""
        key = (text, size, bold)
        width = self._widths.get(key)
        if width is None:
            if len(self._widths) >= _MOST_CACHED_TEXTS:
                self._widths.clear()
            font = self._font(max(round(size * self.scale), _SMALLEST_TEXT), bold)
            width = self._widths[key] = font.size(text)[0] / (_OVERSAMPLED * self.scale)
        return width

    def gauge(
        self, x: float, y: float, width: float, label: str, share: float, color: Color, height: float = 8
    ) -> None:
        """A quiet bar from 0 to 1 with its label above: for mood, sickness, fatigue and the like."""
        share = min(max(share, 0.0), 1.0)
        self.text(x, y - 9, label, self.colors.muted, size=12)
        self.rectangle(x, y, width, height, self.colors.surface_strong, radius=height / 2)
        if share * width >= 1:
            self.rectangle(x, y, max(share * width, height), height, color, radius=height / 2)

    def image(self, x: float, y: float, width: float, height: float, pixels: NDArray[np.uint8]) -> None:
        """A small picture (rows, columns, 3) uint8, enlarged with hard edges so that its pixels can be seen."""
        s = self.scale
        small = pygame.image.frombuffer(np.ascontiguousarray(pixels).tobytes(), pixels.shape[1::-1], "RGB")
        size = (max(round(width * s), 1), max(round(height * s), 1))
        self._target.blit(pygame.transform.scale(small, size), (round(x * s), round(y * s)))

    def shade(self, name: str, area: Area, light: Light) -> None:
        """Darken an area softly, by a picture of light that is made once per name.

        `light` takes places across and down, both from -1 to 1 over the area, and gives how much light is left there,
        from 0 (black) to 1; what keeps all its light costs no time.
        """
        if name not in self._shades:
            self._shades[name] = self._shade_strips(area, light)
        dim, black = self._shades[name]
        self._target.fblits(dim, pygame.BLEND_MULT)
        self._target.fblits(black)

    def _shade_strips(self, area: Area, light: Light) -> tuple[list[Strip], list[Strip]]:
        """Strips to multiply a picture with, and black strips for where nothing can be seen."""
        left, top, width, height = (round(value * self.scale) for value in area)
        across = (np.arange(width) + 0.5) * 2.0 / width - 1.0
        dim: list[Strip] = []
        black: list[Strip] = []
        for start in range(0, height, _STRIP):
            down = (np.arange(start, min(start + _STRIP, height)) + 0.5) * 2.0 / height - 1.0
            share = np.clip(light(across[:, None], down[None, :]), 0.0, 1.0) * np.ones((width, len(down)))
            levels = np.rint(share * 255.0).astype(np.uint8)
            kind = np.where(levels.min(axis=1) == 255, 0, np.where(levels.max(axis=1) == 0, 2, 1))
            edges = [0, *(np.flatnonzero(np.diff(kind)) + 1).tolist(), width]
            for first, last in pairwise(edges):
                if kind[first]:
                    strip = _rgb_surface(last - first, len(down))
                    pygame.surfarray.blit_array(strip, np.repeat(levels[first:last, :, None], 3, axis=2))
                    (dim if kind[first] == 1 else black).append((strip, (left + first, top + start)))
        return dim, black

    def _thickness(self, outline: float) -> int:
        return max(round(outline * self.scale), 1) if outline else 0

    def _font(self, pixels: int, bold: bool) -> pygame.font.Font:
        key = (pixels, bold)
        if key not in self._fonts:
            self._fonts[key] = pygame.font.Font(_font_file(bold), _OVERSAMPLED * pixels)
        return self._fonts[key]

    def _drawn(self, text: str, pixels: int, color: Color, bold: bool) -> pygame.Surface:
        key = (text, pixels, color, bold)
        drawn = self._texts.get(key)
        if drawn is None:
            if len(self._texts) >= _MOST_CACHED_TEXTS:
                self._texts.clear()
            large = self._font(pixels, bold).render(text, True, color)
            size = (max(round(side / _OVERSAMPLED), 1) for side in large.get_size())
            drawn = self._texts[key] = pygame.transform.smoothscale(large, tuple(size))
        return drawn


@lru_cache
def _font_file(bold: bool) -> str:
    """DejaVu Sans, which matplotlib brings along; found without importing matplotlib, which takes a while."""
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        raise RuntimeError("matplotlib, whose font pictures are labelled in, is not installed.")
    fonts = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return str(fonts / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


def _rgb_surface(width: int, height: int) -> pygame.Surface:
    return pygame.Surface((width, height), depth=24, masks=(0x0000FF, 0x00FF00, 0xFF0000, 0))
