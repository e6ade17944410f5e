"""Several clips in order, the best first: number keys or clicks place them, dragging moves them, Enter confirms."""

from __future__ import annotations

import math
from collections.abc import Hashable

import pygame

from rlhf_envs.feedback.outbox import Response
from rlhf_envs.feedback.window.questions import (
    CONFIRM,
    DONE,
    MOVE,
    PRESS,
    SKIP,
    Action,
    Arrangement,
    Control,
    Picture,
    Question,
    digit_keys,
)
from rlhf_envs.kinds import ranking_payload
from rlhf_envs.queries import Query

_PLACES = ("best", "2nd", "3rd", "4th", "5th")
_CLICK_PIXELS = 8
"""How far a hand may slip during a click."""


class RankingQuestion(Question):
    """Clips in order.

    Attributes:
        order: the screen positions that have been placed, best first. The last clip places itself.
        dragged: the clip that the mouse drags, and where it is; or None.
    """

    keys = {**digit_keys("place"), pygame.K_DOWN: SKIP}
    controls = (DONE, *Question.controls)
    reason_keys = False

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self.order: tuple[int, ...] = ()
        self.dragged: tuple[int, tuple[int, int]] | None = None
        self._pressed: tuple[int, tuple[int, int]] | None = None
        self._placed_itself: int | None = None

    @property
    def ready(self) -> bool:
        return len(self.order) == self.clips

    def act(self, action: Action) -> Response | None:
        if action.name == "place":
            self._place(action.value)
        elif action.name == "move":
            self._move(*action.value)
        elif action == CONFIRM and self.ready:
            return Response(None, ranking_payload(self.order))
        return None

    def refusal(self, action: Action) -> str:
        if action == CONFIRM:
            missing = [str(clip + 1) for clip in range(self.clips) if clip not in self.order]
            if len(missing) == 1:
                return f"Clip {missing[0]} has no place yet: type its number."
            clips = f"{', '.join(missing[:-1])} and {missing[-1]}"
            return f"Clips {clips} have no place yet: type their numbers, the best first."
        if action.name == "place":
            return f"There are only {self.clips} clips."
        return "The number keys put the clips in order, the best first; Enter confirms it."

    def undo(self) -> bool:
        if not self.order:
            return False
        # The last place was filled in together with the one before it.
        self.order = self.order[: -2 if self.ready else -1]
        self._placed_itself = None
        return True

    def point(self, event: str, place: tuple[int, int], clip: int | None, arrangement: Arrangement) -> Action | None:
        if event == PRESS:
            self._pressed = None if clip is None else (clip, place)
        elif event == MOVE:
            if self._pressed is not None and math.dist(place, self._pressed[1]) > _CLICK_PIXELS:
                self.dragged = self._pressed[0], place
        else:
            pressed, self._pressed, self.dragged = self._pressed, None, None
            if pressed is not None and clip is not None:
                return Action("place", clip) if clip == pressed[0] else Action("move", (pressed[0], clip))
        return None

    @property
    def look(self) -> Hashable:
        return self.order

    @property
    def floating(self) -> Hashable:
        return self.dragged

    def caption(self, clip: int) -> tuple[Control, ...]:
        if clip not in self.order:
            return (Control((str(clip + 1),), "next?" if self.order else "best?"),)
        place = self.order.index(clip)
        return (Control((), "worst" if place == self.clips - 1 else _PLACES[place], filled=True),)

    def lit_clips(self, action: Action) -> tuple[int, ...]:
        return (action.value,) if action.name == "place" else ()

    def draw(self, target: pygame.Surface, picture: Picture) -> None:
        """The dragged clip, small enough to see where it would be put."""
        frames = () if self.dragged is None else picture.clips[self.dragged[0]].frames
        if self.dragged is None or not frames:
            return
        frame = frames[min(picture.frame, len(frames) - 1)]
        small = pygame.transform.smoothscale(frame, (frame.get_width() // 2, frame.get_height() // 2))
        box = small.get_rect(center=self.dragged[1])
        pygame.draw.rect(target, picture.colors.accent, box.inflate(6, 6), border_radius=4)
        target.blit(small, box)

    def _place(self, clip: int) -> None:
        if clip == self._placed_itself:
            # Who types the whole order types what stands there already.
            self._placed_itself = None
        elif clip in self.order:
            self._placed_itself = None
            self.order = tuple(placed for placed in self.order if placed != clip)
        elif clip < self.clips:
            self._fill((*self.order, clip))

    def _move(self, clip: int, onto: int) -> None:
        rest = [placed for placed in self.order if placed != clip]
        place = self.order.index(onto) if onto in self.order else len(rest)
        self._fill((*rest[:place], clip, *rest[place:]))

    def _fill(self, order: tuple[int, ...]) -> None:
        last = set(range(self.clips)) - set(order)
        [self._placed_itself] = last if len(last) == 1 else [None]
        self.order = (*order, *last) if len(last) == 1 else order
