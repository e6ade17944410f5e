"""What a person can want, and which keys say so; a click means the same as the key of what was clicked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pygame

from rlhf_envs.queries import Kind


class Action(StrEnum):
    """What can be wanted.

    `PLACE` puts a clip of a ranking into the next place, or takes it out of its own, and `MOVE` gives it the place of
    another; `RATE` begins or ends to raise or
    lower a rating and `LEVEL` sets it; `STEP` shows the frame before or after.
    """

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    SKIP = "skip"
    PLACE = "place"
    MOVE = "move"
    CONFIRM = "confirm"
    UNDO = "undo"
    REASON = "reason"
    RATE = "rate"
    LEVEL = "level"
    REPLAY = "replay"
    PACE = "pace"
    STEP = "step"
    THEME = "theme"
    LEAVE = "leave"


@dataclass(frozen=True)
class Intent:
    """An action and which one: the number of a clip or a reason from 0, a direction of -1, 0 or 1, or a level.

    `onto` is the clip whose place a moved one takes.
    """

    action: Action
    value: float = 0
    onto: int = 0


Table = dict[int, Intent]

_TOP_ROW = (pygame.K_1, pygame.K_2, pygame.K_3, pygame.K_4, pygame.K_5, pygame.K_6, pygame.K_7, pygame.K_8, pygame.K_9)
_KEYPAD = tuple(getattr(pygame, f"K_KP{digit}") for digit in range(1, 10))


def _digits(action: Action) -> Table:
    return {key: Intent(action, number) for keys in (_TOP_ROW, _KEYPAD) for number, key in enumerate(keys)}


_ANYWHERE: Table = {
    pygame.K_BACKSPACE: Intent(Action.UNDO),
    pygame.K_SPACE: Intent(Action.REPLAY),
    pygame.K_PLUS: Intent(Action.PACE, 1),
    pygame.K_EQUALS: Intent(Action.PACE, 1),
    pygame.K_KP_PLUS: Intent(Action.PACE, 1),
    pygame.K_MINUS: Intent(Action.PACE, -1),
    pygame.K_KP_MINUS: Intent(Action.PACE, -1),
    pygame.K_COMMA: Intent(Action.STEP, -1),
    pygame.K_PERIOD: Intent(Action.STEP, 1),
    pygame.K_t: Intent(Action.THEME),
    pygame.K_ESCAPE: Intent(Action.LEAVE),
}

_CONFIRM: Table = {pygame.K_RETURN: Intent(Action.CONFIRM), pygame.K_KP_ENTER: Intent(Action.CONFIRM)}

PRESSED: dict[Kind, Table] = {
    Kind.COMPARISON: {
        **_ANYWHERE,
        **_digits(Action.REASON),
        pygame.K_LEFT: Intent(Action.LEFT),
        pygame.K_RIGHT: Intent(Action.RIGHT),
        pygame.K_UP: Intent(Action.TIE),
        pygame.K_DOWN: Intent(Action.SKIP),
    },
    Kind.RANKING: {**_ANYWHERE, **_CONFIRM, **_digits(Action.PLACE), pygame.K_DOWN: Intent(Action.SKIP)},
    Kind.RATING: {
        **_ANYWHERE,
        **_CONFIRM,
        **_digits(Action.REASON),
        pygame.K_UP: Intent(Action.RATE, 1),
        pygame.K_DOWN: Intent(Action.RATE, -1),
        pygame.K_r: Intent(Action.REPLAY),
        pygame.K_s: Intent(Action.SKIP),
    },
}
"""What a key means when it goes down, by the kind of question on screen."""

RELEASED: dict[Kind, Table] = {
    Kind.COMPARISON: {},
    Kind.RANKING: {},
    Kind.RATING: {pygame.K_UP: Intent(Action.RATE), pygame.K_DOWN: Intent(Action.RATE)},
}
"""What it means when it comes up again."""

# Where a character needs Shift, or stands on another key than in America, the key's code is not the character's.
_TYPED = {
    **{str(digit): key for digit, key in enumerate(_TOP_ROW, start=1)},
    "+": pygame.K_PLUS,
    "-": pygame.K_MINUS,
    ",": pygame.K_COMMA,
    ".": pygame.K_PERIOD,
}
_NOT_FOR_US = pygame.KMOD_CTRL | pygame.KMOD_ALT | pygame.KMOD_META


def intent_of(kind: Kind, key: int, pressed: bool = True, typed: str = "", modifiers: int = 0) -> Intent | None:
    """What a key means to a question of this kind; None for a key that means nothing.

    Args:
        kind: of the question on screen.
        key: pygame's code of the key.
        pressed: whether it went down or came up.
        typed: the character it typed, if any.
        modifiers: pygame's bits of the modifier keys held; with Control, Alt or the system's key nothing is meant.
    """
    if not pressed:
        return RELEASED[kind].get(key)
    if modifiers & _NOT_FOR_US:
        return None
    table = PRESSED[kind]
    return table.get(key) or table.get(_TYPED.get(typed, pygame.K_UNKNOWN))
