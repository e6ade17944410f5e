"""What the keys mean."""

import pygame
import pytest

from rlhf_envs.feedback import Kind
from rlhf_envs.feedback.window.intents import Action, Intent, intent_of


@pytest.mark.parametrize(
    ("key", "action"),
    [
        (pygame.K_LEFT, Action.LEFT),
        (pygame.K_RIGHT, Action.RIGHT),
        (pygame.K_UP, Action.TIE),
        (pygame.K_DOWN, Action.SKIP),
        (pygame.K_BACKSPACE, Action.UNDO),
        (pygame.K_SPACE, Action.REPLAY),
        (pygame.K_ESCAPE, Action.LEAVE),
    ],
)
def test_a_comparison_is_answered_with_one_hand_on_the_arrows(key: int, action: Action) -> None:
    assert intent_of(Kind.COMPARISON, key) == Intent(action)


def test_digits_give_reasons_and_in_a_ranking_place_clips() -> None:
    assert intent_of(Kind.COMPARISON, pygame.K_3) == intent_of(Kind.RATING, pygame.K_KP3) == Intent(Action.REASON, 2)
    assert intent_of(Kind.RANKING, pygame.K_1) == Intent(Action.PLACE, 0)


def test_up_and_down_rate_while_they_are_held() -> None:
    assert intent_of(Kind.RATING, pygame.K_UP) == Intent(Action.RATE, 1)
    assert intent_of(Kind.RATING, pygame.K_DOWN) == Intent(Action.RATE, -1)
    assert intent_of(Kind.RATING, pygame.K_UP, pressed=False) == Intent(Action.RATE, 0)
    assert intent_of(Kind.COMPARISON, pygame.K_UP, pressed=False) is None


@pytest.mark.parametrize("kind", Kind)
def test_an_unknown_key_means_nothing(kind: Kind) -> None:
    for key in (pygame.K_a, pygame.K_q, pygame.K_0, pygame.K_F1, pygame.K_TAB, pygame.K_LSHIFT, pygame.K_UNKNOWN):
        assert intent_of(kind, key, typed="a") is None


def test_keys_held_with_control_belong_to_the_system() -> None:
    assert intent_of(Kind.COMPARISON, pygame.K_LEFT, modifiers=pygame.KMOD_LALT) is None
    assert intent_of(Kind.RATING, pygame.K_r, modifiers=pygame.KMOD_LCTRL) is None
    assert intent_of(Kind.COMPARISON, pygame.K_EQUALS, modifiers=pygame.KMOD_LSHIFT) == Intent(Action.PACE, 1)


def test_keyboards_where_digits_need_shift_can_give_reasons() -> None:
    assert intent_of(Kind.COMPARISON, pygame.K_AMPERSAND, typed="1") == Intent(Action.REASON, 0)
