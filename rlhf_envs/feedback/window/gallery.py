"""Paints the clips of the next queries on a thread of its own, so that they are there when they are wanted."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray

from rlhf_envs.clips import ClipPainter, clip_painter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.queries import Query
from rlhf_envs.segments import Segment

_MOST_BYTES = 400 * 2**20
_BYTES_PER_PIXEL = 4
_MOST_PAINTERS = 4
_FEWEST_QUERIES = 2
_BREATH_SECONDS = 0.002


@dataclass(frozen=True, eq=False)
class Clip:
    """A segment as pictures.

    Attributes:
        look: the frame size and the theme it was painted in.
        frames: its pictures, none if it cannot be shown.
        frames_per_second: how fast it is played.
        problem: why it cannot be shown, or None.
    """

    look: tuple[tuple[int, int], str]
    frames: tuple[pygame.Surface, ...] = ()
    frames_per_second: float = 1.0
    problem: str | None = None


@dataclass(frozen=True, eq=False)
class Wish:
    """A query whose clips will be wanted, in which size."""

    query: Query
    frame_size: tuple[int, int]

    @property
    def name(self) -> tuple[int | None, tuple[int, int]]:
        """What tells wishes apart."""
        return self.query.id, self.frame_size


@dataclass(frozen=True, eq=False)
class _Task:
    """A segment to paint, and whether somebody is waiting for it."""

    id: int
    segment: Segment
    look: tuple[tuple[int, int], str]
    urgent: bool


class Gallery:
    """The clips of the queries that are on screen or come next.

    Args:
        environment: what the store says about the environment.
        like: a surface in whose pixel format clips are kept, so that showing a frame is one copy.
    """

    def __init__(self, environment: Mapping[str, Any], like: pygame.Surface) -> None:
        self._environment = environment
        # A surface of its own, because the window's goes away with its size.
        self._format = pygame.Surface((1, 1), 0, like)
        self._changed = threading.Condition()
        self._clips: dict[int, Clip] = {}
        self._wishes: tuple[Wish, ...] = ()
        self._theme = "light"
        self._closing = False
        self._painters: OrderedDict[tuple[tuple[int, int], str], ClipPainter] = OrderedDict()
        self._thread = threading.Thread(target=self._run, name="feedback-gallery", daemon=True)
        self._thread.start()

    def want(self, wishes: Sequence[Wish], theme: str) -> None:
        """Have these painted in this theme, the first ones first, and forget all others; returns at once."""
        wishes = _within_memory(wishes)
        with self._changed:
            if theme == self._theme and [wish.name for wish in wishes] == [wish.name for wish in self._wishes]:
                return
            self._wishes, self._theme = wishes, theme
            wanted = {id for wish in wishes for id in wish.query.segment_ids}
            self._clips = {id: clip for id, clip in self._clips.items() if id in wanted}
            self._changed.notify()

    def clips(self, query: Query) -> tuple[Clip, ...] | None:
        """The clips of a query in screen order, in whatever look they were painted last; None until they all are."""
        with self._changed:
            found = tuple(self._clips.get(id) for id in query.segment_ids)
        return None if None in found else tuple(clip for clip in found if clip is not None)

    def close(self) -> None:
        """Stop painting."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                task = self._next_task()
                while task is None and not self._closing:
                    self._changed.wait()
                    task = self._next_task()
                if task is None or self._closing:
                    return
            clip = self._paint(task)
            with self._changed:
                if any(task.id in wish.query.segment_ids for wish in self._wishes):
                    self._clips[task.id] = clip

    def _next_task(self) -> _Task | None:
        for place, wish in enumerate(self._wishes):
            look = (wish.frame_size, self._theme)
            for id, segment in zip(wish.query.segment_ids, wish.query.segments, strict=True):
                if id not in self._clips or self._clips[id].look != look:
                    return _Task(id, segment, look, urgent=place == 0)
        return None

    def _paint(self, task: _Task) -> Clip:
        try:
            painter = self._painter(task.look)
            frames = []
            for pixels in _frames(painter, task.segment):
                if self._closing:
                    break
                if not task.urgent:
                    # Python runs one thread at a time: the one that draws on screen goes first.
                    time.sleep(_BREATH_SECONDS)
                frames.append(pygame.image.frombuffer(pixels.data, task.look[0], "RGB").convert(self._format))
            return Clip(task.look, tuple(frames), painter.frames_per_second)
        except Exception as problem:  # whatever a simulator does wrong, the person is told and may skip
            return Clip(task.look, problem=str(problem) or type(problem).__name__)

    def _painter(self, look: tuple[tuple[int, int], str]) -> ClipPainter:
        if look not in self._painters:
            environment = EnvironmentRef(str(self._environment["id"]), self._environment.get("kwargs") or {})
            self._painters[look] = clip_painter(environment, *look)
            if len(self._painters) > _MOST_PAINTERS:
                self._painters.popitem(last=False)
        self._painters.move_to_end(look)
        return self._painters[look]


def _frames(painter: ClipPainter, segment: Segment) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a segment, each painted when it is asked for, where there are states to paint it from."""
    if segment.states is None:
        yield from painter.frames(segment)
    else:
        for state in segment.states:
            yield painter.frame(state)


def _within_memory(wishes: Sequence[Wish]) -> tuple[Wish, ...]:
    """As many of the wishes as can be kept painted, but at least what is on screen and what comes next."""
    size = 0
    for count, wish in enumerate(wishes):
        frames = sum(len(segment) for segment in wish.query.segments)
        size += frames * wish.frame_size[0] * wish.frame_size[1] * _BYTES_PER_PIXEL
        if size > _MOST_BYTES and count >= _FEWEST_QUERIES:
            return tuple(wishes[:count])
    return tuple(wishes)
