"""How good each step of one clip is: keys or the mouse move a bar while the clip plays, Enter confirms."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pygame
from pygame import Rect

from rlhf_envs.envs.palette import Palette
from rlhf_envs.feedback.outbox import Response
from rlhf_envs.feedback.window.clips import Playback
from rlhf_envs.feedback.window.questions import (
    AGAIN,
    CONFIRM,
    DONE,
    MOVE,
    PRESS,
    REPLAY,
    SKIP,
    UNDO_CONTROL,
    Action,
    Arrangement,
    Control,
    Picture,
    Placed,
    Question,
    clip_grid,
)
from rlhf_envs.kinds import rating_payload
from rlhf_envs.queries import Query

_START = Control(("Space",), "start", REPLAY)
_SKIP = Control(("S",), "cannot tell", SKIP)
_LEVELS_PER_SECOND = 2.0
"""How fast a held key moves a rating, which goes from -1 to 1."""


class RatingQuestion(Question):
    """A rating from -1 to 1 for each step. The clip waits for the first key, and plays at half its natural speed.

    Attributes:
        level: what is being said.
        ratings: what was said of the steps shown so far.
    """

    keys = {pygame.K_UP: Action("rate", 1), pygame.K_DOWN: Action("rate", -1), pygame.K_r: REPLAY, pygame.K_s: SKIP}
    released = dict.fromkeys((pygame.K_UP, pygame.K_DOWN), Action("rate", 0))
    controls: tuple[Control, ...] = (_START, _SKIP, UNDO_CONTROL)
    loops = False
    pace = 0.5

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self.steps = len(query.segments[0])
        self.level = 0.0
        self.ratings: list[float] = []
        self._direction = 0
        self._dragging = False
        self._started = False
        self._shown = -1
        self._then: float | None = None

    @property
    def ready(self) -> bool:
        return len(self.ratings) == self.steps

    def act(self, action: Action) -> Response | None:
        if action.name == "rate":
            self._direction = action.value
        elif action.name == "level":
            self.level = min(max(action.value, -1.0), 1.0)
            self._rate_shown()
        elif action == CONFIRM and self.ready:
            return Response(None, rating_payload([round(rating, 3) for rating in self.ratings]))
        return None

    def refusal(self, action: Action) -> str:
        if not self._started:
            return "Space starts the clip; hold up or down while it plays."
        if action == CONFIRM:
            return "Rate the clip to its end first: hold up or down while it plays."
        return "Hold up or down while the clip plays; Enter keeps the rating."

    def point(self, event: str, place: tuple[int, int], clip: int | None, arrangement: Arrangement) -> Action | None:
        bar = arrangement.boxes["level"]
        if event == PRESS:
            self._dragging = bool(bar.inflate(bar.width, bar.width).collidepoint(place))
        elif event != MOVE:
            self._dragging = False
        return Action("level", 1 - 2 * (place[1] - bar.top) / bar.height) if self._dragging else None

    def follow(self, playback: Playback, now: float) -> None:
        """A held key moves the level; the steps passed since the last call get it. Steps seen again show their own."""
        if not self._started:
            if not self._direction and not self._dragging:
                if not playback.paused:
                    playback.step(0, now)
                return
            self._start(playback, now)
        passed = 0.0 if self._then is None else now - self._then
        self._then = now
        frame = playback.index(now)
        if frame != self._shown and frame < len(self.ratings) and self._direction == 0:
            self.level = self.ratings[frame]
        self.level = min(max(self.level + self._direction * _LEVELS_PER_SECOND * passed, -1.0), 1.0)
        self._shown = frame
        while len(self.ratings) <= frame:
            self.ratings.append(self.level)
        if self._direction:
            self._rate_shown()

    def replay(self, playback: Playback, now: float) -> None:
        """From a pause the clip goes on; otherwise it is rated again from the start."""
        if not self._started:
            self._start(playback, now)
            return
        if not playback.paused:
            self.level, self.ratings, self._shown = 0.0, [], -1
        playback.replay(now)

    def _start(self, playback: Playback, now: float) -> None:
        self._started = True
        self.controls = (DONE, _SKIP, UNDO_CONTROL, AGAIN, *self.controls[3:])
        playback.paused = False
        playback.replay(now)

    @property
    def look(self) -> Hashable:
        return self.ready, self._started

    @property
    def motion(self) -> Hashable:
        return self.level, tuple(self.ratings)

    def arrange(self, area: Rect, scale: float, width_of: Callable[[Control], float]) -> Arrangement:
        s = scale
        clips, captions = clip_grid(area, 1, s, right=104, bottom=96)
        [clip] = clips
        bar = Rect(clip.right + round(38 * s), clip.top + round(26 * s), round(40 * s), clip.height - round(52 * s))
        curve = Rect(clip.left, clip.bottom + round(14 * s), clip.width, round(96 * s) - round(18 * s))
        ends = []
        for key, word, y in (("up", "good", bar.top - 15 * s), ("down", "bad", bar.bottom + 15 * s)):
            box = Rect(0, 0, round(bar.width + 60 * s), round(22 * s))
            box.center = (bar.centerx, round(y))
            ends.append(Placed(Control((key,), word), box, centred=True))
        return Arrangement(s, clips, captions, tuple(ends), {"level": bar, "curve": curve})

    def draw(self, target: pygame.Surface, picture: Picture) -> None:
        """The level, and below the clip what was said of each step so far."""
        boxes = picture.arrangement.boxes
        self._draw_level(target, boxes["level"], picture.arrangement.scale, picture.colors)
        self._draw_curve(target, boxes["curve"], picture.arrangement.scale, picture)

    def _rate_shown(self) -> None:
        if 0 <= self._shown < len(self.ratings):
            self.ratings[self._shown] = self.level

    def _draw_level(self, target: pygame.Surface, box: Rect, s: float, colors: Palette) -> None:
        """A bar from the middle up or down."""
        radius = round(6 * s)
        pygame.draw.rect(target, colors.surface_strong, box, border_radius=radius)
        reach = round(abs(self.level) * box.height / 2)
        if reach:
            color = colors.good if self.level > 0 else colors.bad
            top = box.centery - reach if self.level > 0 else box.centery
            pygame.draw.rect(target, color, (box.left, top, box.width, reach), border_radius=min(radius, reach // 2))
        pygame.draw.rect(target, colors.muted, (box.left, box.centery - 1, box.width, max(round(2 * s), 1)))

    def _draw_curve(self, target: pygame.Surface, box: Rect, s: float, picture: Picture) -> None:
        """A bar per step, up or down from a line in the middle."""
        colors = picture.colors
        pygame.draw.rect(target, colors.surface, box, border_radius=round(6 * s))
        step = box.width / picture.frames
        for number, rating in enumerate(self.ratings):
            left, right = box.left + number * step, box.left + (number + 1) * step
            reach = round(abs(rating) * (box.height / 2 - 6 * s))
            if reach:
                top = box.centery - reach if rating > 0 else box.centery
                width = max(round(right) - round(left) - max(round(2 * s), 1), 1)
                color = colors.good if rating > 0 else colors.bad
                pygame.draw.rect(target, color, (round(left) + 1, top, width, reach), border_radius=round(2 * s))
        pygame.draw.line(target, colors.line, (box.left, box.centery), (box.right - 1, box.centery), max(round(s), 1))
        x = round(box.left + (picture.frame + 0.5) * step)
        pygame.draw.line(target, colors.muted, (x, box.top), (x, box.bottom - 1), max(round(1.5 * s), 1))
