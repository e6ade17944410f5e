"""What the mouse means: clicks on what can be clicked, and dragging on the bar of a rating or of a ranked clip."""

from __future__ import annotations

import math

import pygame

from rlhf_envs.feedback.window.intents import Action, Intent
from rlhf_envs.feedback.window.layout import Layout
from rlhf_envs.feedback.window.sitting import Sitting
from rlhf_envs.queries import Kind

_LEFT_BUTTON = 1
_A_CLICK = 8
"""Pixels that a hand may slip during a click."""


class Mouse:
    """Follows the mouse over the window.

    Args:
        sitting: what is going on there; it is told what is pointed at and what is carried.
    """

    def __init__(self, sitting: Sitting) -> None:
        self._sitting = sitting
        self._rating = False
        self._held: tuple[int, tuple[int, int]] | None = None

    def intent(self, event: pygame.Event, place: tuple[int, int], layout: Layout) -> Intent | None:
        """What an event of the mouse means, which happened at that place, in pixels."""
        if event.type == pygame.MOUSEMOTION:
            return self._moved(place, layout)
        if event.button != _LEFT_BUTTON:
            return None
        return self._pressed(place, layout) if event.type == pygame.MOUSEBUTTONDOWN else self._released(place, layout)

    def _moved(self, place: tuple[int, int], layout: Layout) -> Intent | None:
        self._sitting.pointed = layout.intent_at(self._sitting.kind, place)
        if self._rating:
            return Intent(Action.LEVEL, layout.level_at(place[1]))
        if self._held is not None and math.dist(place, self._held[1]) > _A_CLICK:
            self._sitting.carried = (self._held[0], place)
        return None

    def _pressed(self, place: tuple[int, int], layout: Layout) -> Intent | None:
        bar = layout.level
        if bar is not None and bar.inflate(bar.width, bar.width).collidepoint(place):
            self._rating = True
            return Intent(Action.LEVEL, layout.level_at(place[1]))
        intent = layout.intent_at(self._sitting.kind, place)
        if self._sitting.kind is Kind.RANKING and intent is not None and intent.action is Action.PLACE:
            self._held = (int(intent.value), place)
            return None
        return intent

    def _released(self, place: tuple[int, int], layout: Layout) -> Intent | None:
        held, self._held, self._rating, self._sitting.carried = self._held, None, False, None
        target = layout.intent_at(self._sitting.kind, place)
        if held is None or target is None or target.action is not Action.PLACE:
            return None
        return target if target.value == held[0] else Intent(Action.MOVE, held[0], int(target.value))
