"""Clips as pictures: painted ahead of time on a thread, and played in step."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import pygame

from rlhf_envs.clips import ClipPainter, clip_painter
from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.queries import Query
from rlhf_envs.segments import Segment

HOLD_SECONDS = 0.2
"""How long the last frame stands before the clips begin again, so that an end is seen as an end."""

SPEEDS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)

_MOST_BYTES = 400 * 2**20
_BYTES_PER_PIXEL = 4
_MOST_PAINTERS = 4
_FEWEST_QUERIES = 2
_YIELD_SECONDS = 0.002

Look = tuple[tuple[int, int], str]
"""The frame size and the theme that a clip is painted in."""

ClipRequest = tuple[Query, tuple[int, int]]
"""A query whose clips are to be painted, and the frame size."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A segment as pictures.

    Attributes:
        look: what it was painted in.
        frames: its pictures, none if it cannot be shown.
        frames_per_second: how fast it is played.
        problem: why it cannot be shown, or None.
    """

    look: Look
    frames: tuple[pygame.Surface, ...] = ()
    frames_per_second: float = 1.0
    problem: str | None = None


class ClipCache:
    """The clips of the queries that are on screen or come next, painted on a thread of its own.

    Args:
        environment: of the store.
        like: a surface in whose pixel format clips are stored, so that showing a frame is one copy.
    """

    def __init__(self, environment: StoredEnvironment, like: pygame.Surface) -> None:
        self._environment = environment
        # A surface of its own, because the window's goes away with its size.
        self._format = pygame.Surface((1, 1), 0, like)
        self._changed = threading.Condition()
        self._clips: dict[int, Clip] = {}
        self._requests: tuple[ClipRequest, ...] = ()
        self._requested: tuple[object, ...] = ()
        self._theme = "light"
        self._closing = False
        self._painters: OrderedDict[Look, ClipPainter] = OrderedDict()
        self._thread = threading.Thread(target=self._run, name="feedback-clips", daemon=True)
        self._thread.start()

    def request(self, requests: Sequence[ClipRequest], theme: str) -> None:
        """Have these painted in this theme, the first ones first, and forget all others; returns at once."""
        requested = (theme, *((query.id, size) for query, size in requests))
        with self._changed:
            if requested == self._requested:
                return
            self._requested, self._requests, self._theme = requested, _within_memory(requests), theme
            wanted = {id for query, _ in self._requests for id in query.segment_ids}
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
            clip = self._paint(*task)
            with self._changed:
                if any(task[0] in query.segment_ids for query, _ in self._requests):
                    self._clips[task[0]] = clip

    def _next_task(self) -> tuple[int, Segment, Look, bool] | None:
        """The id of a segment to paint, the segment, its look, and whether it is on screen now."""
        for place, (query, size) in enumerate(self._requests):
            look = (size, self._theme)
            for id, segment in zip(query.segment_ids, query.segments, strict=True):
                if id not in self._clips or self._clips[id].look != look:
                    return id, segment, look, place == 0
        return None

    def _paint(self, id: int, segment: Segment, look: Look, urgent: bool) -> Clip:
        try:
            painter = self._painter(look)
            frames = []
            for pixels in painter.each_frame(segment):
                if self._closing:
                    break
                if not urgent:
                    # Python runs one thread at a time: the one that draws on screen goes first.
                    time.sleep(_YIELD_SECONDS)
                frames.append(pygame.image.frombuffer(pixels.data, look[0], "RGB").convert(self._format))
            return Clip(look, tuple(frames), painter.frames_per_second)
        except Exception as problem:  # whatever a simulator does wrong, the person reads why and may skip
            return Clip(look, problem=str(problem) or type(problem).__name__)

    def _painter(self, look: Look) -> ClipPainter:
        if look not in self._painters:
            self._painters[look] = clip_painter(self._environment.required, *look)
            if len(self._painters) > _MOST_PAINTERS:
                self._painters.popitem(last=False)
        self._painters.move_to_end(look)
        return self._painters[look]


def _within_memory(requests: Sequence[ClipRequest]) -> tuple[ClipRequest, ...]:
    """As many of the requests as fit into memory once painted, but at least what is on screen and what comes next."""
    size = 0
    for count, (query, (width, height)) in enumerate(requests):
        size += sum(len(segment) for segment in query.segments) * width * height * _BYTES_PER_PIXEL
        if size > _MOST_BYTES and count >= _FEWEST_QUERIES:
            return tuple(requests[:count])
    return tuple(requests)


class Playback:
    """Plays clips in step: their common position over time.

    Args:
        frames: how many frames the longest clip has.
        frames_per_second: at which they look natural.
        speed: how many times as fast they are played.
        now: the time in seconds, of any clock that runs on.
        loops: whether they begin again after their end; otherwise they stop at the last frame.

    Attributes:
        paused: whether the person has stopped them.
    """

    def __init__(self, frames: int, frames_per_second: float, speed: float, now: float, loops: bool = True) -> None:
        self.frames = frames
        self.speed = speed
        self.loops = loops
        self.paused = False
        self._rate = frames_per_second
        self._started = now
        self._stopped_at = 0

    def index(self, now: float) -> int:
        """The frame to show, from 0."""
        if self.paused:
            return self._stopped_at
        position = max(now - self._started, 0.0) * self._rate * self.speed
        if self.loops:
            position %= self.frames + HOLD_SECONDS * self._rate * self.speed
        return min(int(position), self.frames - 1)

    def replay(self, now: float) -> None:
        """Go on where it was paused; otherwise play from the start."""
        self._begin_at(self._stopped_at if self.paused else 0, now)
        self.paused = False

    def step(self, direction: int, now: float) -> None:
        """Pause, and show the frame before (-1) or after (1)."""
        frame = self.index(now) + direction
        self.paused = True
        self._stopped_at = frame % self.frames if self.loops else min(max(frame, 0), self.frames - 1)

    def change_speed(self, speed: float, now: float) -> None:
        """Play at another speed from where it is."""
        frame = self.index(now)
        self.speed = speed
        if not self.paused:
            self._begin_at(frame, now)

    def _begin_at(self, frame: int, now: float) -> None:
        self._started = now - frame / (self._rate * self.speed)


def next_speed(speed: float, direction: int) -> float:
    """The speed above (1) or below (-1) this one; the fastest and the slowest stay as they are."""
    if direction > 0:
        return min((other for other in SPEEDS if other > speed), default=speed)
    return max((other for other in SPEEDS if other < speed), default=speed)
