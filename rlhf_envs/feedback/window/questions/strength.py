"""Which of two clips is better, slightly or clearly: an arrow key is slight, Shift with it is clear."""

from __future__ import annotations

import pygame

from rlhf_envs.feedback.outbox import Response
from rlhf_envs.feedback.window.questions import SKIP, Action, Control, KeyTable, Shift
from rlhf_envs.feedback.window.questions.comparison import SIDES, TIE, ComparisonQuestion
from rlhf_envs.kinds import strength_payload

_STRENGTHS = ("slightly", "clearly")


class StrengthQuestion(ComparisonQuestion):
    """A comparison whose answer says how strong the preference is. A click on a clip is slight."""

    keys: KeyTable = {
        pygame.K_LEFT: Action("slightly", 0),
        pygame.K_RIGHT: Action("slightly", 1),
        Shift(pygame.K_LEFT): Action("clearly", 0),
        Shift(pygame.K_RIGHT): Action("clearly", 1),
        pygame.K_UP: TIE,
        pygame.K_DOWN: SKIP,
    }

    def act(self, action: Action) -> Response | None:
        if action.name not in _STRENGTHS:
            return super().act(action) if action == TIE else None
        return Response(SIDES[action.value], strength_payload(action.name))

    def clip_action(self, clip: int) -> Action | None:
        return Action("slightly", clip)

    def caption(self, clip: int) -> tuple[Control, ...]:
        arrow = SIDES[clip].value
        return (
            Control((arrow,), "slightly better", Action("slightly", clip)),
            Control(("Shift", arrow), "clearly", Action("clearly", clip)),
        )

    def lit_clips(self, action: Action) -> tuple[int, ...]:
        return (action.value,) if action.name in _STRENGTHS else super().lit_clips(action)
