"""Which of two clips is better: the arrow keys, or a click on the clip."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

import pygame

from rlhf_envs.envs.palette import Palette
from rlhf_envs.feedback.outbox import Response
from rlhf_envs.feedback.window.questions import (
    AGAIN,
    CANNOT_TELL,
    SKIP,
    UNDO_CONTROL,
    Action,
    Control,
    KeyTable,
    Question,
)
from rlhf_envs.queries import Choice, Query

LEFT, RIGHT, TIE = Action("left"), Action("right"), Action("tie")
_CHOICES = {LEFT: Choice.LEFT, RIGHT: Choice.RIGHT, TIE: Choice.TIE}


class ComparisonQuestion(Question):
    """Any choice answers it."""

    keys: ClassVar[KeyTable] = {pygame.K_LEFT: LEFT, pygame.K_RIGHT: RIGHT, pygame.K_UP: TIE, pygame.K_DOWN: SKIP}
    controls: ClassVar[tuple[Control, ...]] = (Control(("up",), "equally good", TIE), CANNOT_TELL, UNDO_CONTROL, AGAIN)
    columns: ClassVar[int | None] = 2

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self._revealed: tuple[Choice | None, Choice] | None = None

    def act(self, action: Action) -> Response | None:
        """See `Question`."""
        return Response(_CHOICES[action]) if action in _CHOICES else None

    def clip_action(self, clip: int) -> Action | None:
        """See `Question`."""
        return (LEFT, RIGHT)[clip]

    def reveal(self, choice: Choice | None, known: Choice) -> None:
        """See `Question`."""
        self._revealed = choice, known

    @property
    def look(self) -> Hashable:
        """See `Question`."""
        return self._revealed

    def caption(self, clip: int) -> tuple[Control, ...]:
        """See `Question`."""
        return (Control((("left", "right")[clip],), "this one is better"),)

    def lit_clips(self, action: Action) -> tuple[int, ...]:
        """See `Question`."""
        return {LEFT: (0,), RIGHT: (1,), TIE: (0, 1)}.get(action, ())

    def clip_color(self, clip: int, colors: Palette) -> tuple[int, int, int] | None:
        """See `Question`."""
        if self._revealed is None:
            return None
        choice, known = self._revealed
        side = (Choice.LEFT, Choice.RIGHT)[clip]
        return colors.good if side == known else colors.accent if side == choice else None
