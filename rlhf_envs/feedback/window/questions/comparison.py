"""Which of two clips is better: the arrow keys, or a click on the clip."""

from __future__ import annotations

from collections.abc import Hashable

import pygame

from rlhf_envs.envs.palette import Color, Palette
from rlhf_envs.feedback.outbox import Response
from rlhf_envs.feedback.window.questions import CONFIRM, SKIP, Action, Control, KeyTable, Question
from rlhf_envs.queries import Choice, Query

LEFT, RIGHT, TIE = Action("left"), Action("right"), Action("tie")
SIDES = (Choice.LEFT, Choice.RIGHT)
_CHOICES = {LEFT: Choice.LEFT, RIGHT: Choice.RIGHT, TIE: Choice.TIE}


class ComparisonQuestion(Question):
    """Any choice answers it."""

    keys: KeyTable = {pygame.K_LEFT: LEFT, pygame.K_RIGHT: RIGHT, pygame.K_UP: TIE, pygame.K_DOWN: SKIP}
    controls = (Control(("up",), "equally good", TIE), *Question.controls)
    columns = 2

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        self._revealed: tuple[Choice | None, Choice] | None = None

    def act(self, action: Action) -> Response | None:
        return Response(_CHOICES[action]) if action in _CHOICES else None

    def refusal(self, action: Action) -> str:
        if action == CONFIRM:
            return "Choose with the arrow keys: left or right for the better clip, up where both are equally good."
        return super().refusal(action)

    def clip_action(self, clip: int) -> Action | None:
        return (LEFT, RIGHT)[clip]

    def reveal(self, choice: Choice | None, known: Choice) -> None:
        self._revealed = choice, known

    @property
    def look(self) -> Hashable:
        return self._revealed

    def caption(self, clip: int) -> tuple[Control, ...]:
        return (Control((SIDES[clip].value,), "this one is better"),)

    def lit_clips(self, action: Action) -> tuple[int, ...]:
        return {LEFT: (0,), RIGHT: (1,), TIE: (0, 1)}.get(action, ())

    def clip_color(self, clip: int, colors: Palette) -> Color | None:
        if self._revealed is None:
            return None
        choice, known = self._revealed
        return colors.good if SIDES[clip] == known else colors.accent if SIDES[clip] == choice else None
