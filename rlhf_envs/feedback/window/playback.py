"""Which frame of the clips on screen is due."""

from __future__ import annotations

HOLD_SECONDS = 0.2
"""How long the last frame stands before the clips begin again, so that an end is seen as an end."""

SPEEDS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


class Playback:
    """Plays clips in step: their common position over time, whatever is done to it.

    Args:
        frames: how many frames the longest clip has.
        frames_per_second: at which they look natural.
        speed: how many times as fast they are played.
        now: the time in seconds, of any clock that runs on.
        loops: whether they begin again after their end; otherwise they stop at the last frame.

    Attributes:
        paused: whether they stand still at the person's wish.
        furthest: the latest frame shown so far.
    """

    def __init__(self, frames: int, frames_per_second: float, speed: float, now: float, loops: bool = True) -> None:
        self.frames = frames
        self.speed = speed
        self.loops = loops
        self.paused = False
        self.furthest = 0
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
        frame = min(int(position), self.frames - 1)
        self.furthest = max(self.furthest, frame)
        return frame

    @property
    def seen(self) -> bool:
        """Whether every frame has been shown."""
        return self.furthest == self.frames - 1

    def replay(self, now: float) -> None:
        """Go on where it was paused; otherwise play from the start."""
        if self.paused:
            self.paused = False
            self._begin_at(self._stopped_at, now)
        else:
            self._begin_at(0, now)

    def restart(self, now: float) -> None:
        """Play from the start as if nothing had been shown yet."""
        self.paused = False
        self.furthest = 0
        self._begin_at(0, now)

    def step(self, direction: int, now: float) -> None:
        """Pause, and show the frame before (-1) or after (1)."""
        frame = self.index(now) + direction
        self.paused = True
        self._stopped_at = frame % self.frames if self.loops else min(max(frame, 0), self.frames - 1)
        self.furthest = max(self.furthest, self._stopped_at)

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
