"""What the keys mean."""

from typing import Any

import pygame
import pytest

from rlhf_envs.feedback import Query
from rlhf_envs.feedback.window import QUESTIONS
from rlhf_envs.feedback.window.questions import REPLAY, SKIP, UNDO, Action, Question, action_of_key


@pytest.fixture
def question(drives: Any) -> Any:
    """Makes a question of a kind."""

    def make(kind: str) -> Question:
        return QUESTIONS[kind](Query("a", 0, tuple(drives[:1])))

    return make


@pytest.mark.parametrize(
    ("key", "action"),
    [
        (pygame.K_LEFT, Action("left")),
        (pygame.K_RIGHT, Action("right")),
        (pygame.K_UP, Action("tie")),
        (pygame.K_DOWN, SKIP),
        (pygame.K_BACKSPACE, UNDO),
        (pygame.K_SPACE, REPLAY),
        (pygame.K_ESCAPE, Action("close")),
    ],
)
def test_a_comparison_is_answered_with_one_hand_on_the_arrows(question: Any, key: int, action: Action) -> None:
    assert action_of_key(question("comparison"), key) == action


def test_digits_give_reasons_and_in_a_ranking_place_clips(question: Any) -> None:
    assert action_of_key(question("comparison"), pygame.K_3) == Action("reason", 2)
    assert action_of_key(question("rating"), pygame.K_KP3) == Action("reason", 2)
    assert action_of_key(question("ranking"), pygame.K_1) == Action("place", 0)


def test_up_and_down_rate_while_they_are_held(question: Any) -> None:
    rating = question("rating")
    assert action_of_key(rating, pygame.K_UP) == Action("rate", 1)
    assert action_of_key(rating, pygame.K_DOWN) == Action("rate", -1)
    assert action_of_key(rating, pygame.K_UP, pressed=False) == Action("rate", 0)
    assert action_of_key(question("comparison"), pygame.K_UP, pressed=False) is None


@pytest.mark.parametrize("kind", QUESTIONS)
def test_an_unknown_key_means_nothing(question: Any, kind: str) -> None:
    for key in (pygame.K_a, pygame.K_q, pygame.K_0, pygame.K_F1, pygame.K_TAB, pygame.K_LSHIFT, pygame.K_UNKNOWN):
        assert action_of_key(question(kind), key, typed="a") is None


def test_keys_held_with_control_belong_to_the_system(question: Any) -> None:
    comparison = question("comparison")
    assert action_of_key(comparison, pygame.K_LEFT, modifiers=pygame.KMOD_LALT) is None
    assert action_of_key(question("rating"), pygame.K_r, modifiers=pygame.KMOD_LCTRL) is None
    assert action_of_key(comparison, pygame.K_EQUALS, modifiers=pygame.KMOD_LSHIFT) == Action("speed", 1)


def test_keyboards_where_digits_need_shift_can_give_reasons(question: Any) -> None:
    shifted = action_of_key(question("comparison"), pygame.K_AMPERSAND, typed="1", modifiers=pygame.KMOD_LSHIFT)
    assert shifted == Action("reason", 0)


def test_without_a_question_the_keys_of_the_window_still_work() -> None:
    assert action_of_key(None, pygame.K_BACKSPACE) == UNDO
    assert action_of_key(None, pygame.K_t) == Action("theme")
    assert action_of_key(None, pygame.K_LEFT) is None
