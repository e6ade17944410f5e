"""What a person at the window does to show what the agent should have done."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pygame
import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import Choice, PreferenceStore, Purpose, Query
from tests.feedback.test_correcting import recorded
from tests.feedback.window.conftest import LENGTH, WindowUser
from tests.gamepad import plugged_in

Ask = Callable[..., list[int]]


@pytest.fixture(scope="module")
def drives() -> list[Any]:
    """Stretches of driving as a training records them, with observations and actions."""
    return [recorded("rlhf/Driving-v1", seed, LENGTH) for seed in range(5)]


def chooses(user: WindowUser, *keys: int) -> None:
    """Press C and then these keys, and wait until the clip that is taken over is drawn."""
    user.press(pygame.K_c, *keys)
    user.until(lambda: user.window.screen.correction is not None)
    user.ticks(2)


def phase(user: WindowUser) -> str | None:
    correction = user.window.screen.correction
    return None if correction is None else str(correction.phase)


def stored_correction(user: WindowUser) -> tuple[Any, Any, Any]:
    """The one correction that is stored: its answer, the original segment and the corrected one."""
    [answer] = user.stored(1)
    one, other = user.session.store.segments(answer.segment_ids)
    return (answer, one, other) if answer.choice is Choice.RIGHT else (answer, other, one)


def test_by_keys_alone_a_clip_is_taken_over_acted_looked_at_and_stored(
    ask: Ask, open_for_user: Any, drives: list[Any]
) -> None:
    ask("a", "b")
    user = open_for_user("a")
    user.press(pygame.K_PERIOD)
    frame = user.window.screen.moment(0.0).frame
    chooses(user)
    assert phase(user) == "choose" and "take over the clip" in user.view.rubric
    user.press(pygame.K_COMMA if frame > 1 else pygame.K_PERIOD)
    step = user.window.screen.moment(0.0).frame
    user.press(pygame.K_RIGHT)
    user.ticks(3)
    assert phase(user) == "ready" and "W faster" in user.view.rubric
    user.ticks(20)
    assert phase(user) == "ready"  # nothing moves before a key is pressed
    user.press(pygame.K_UP)
    user.until(lambda: phase(user) == "review")
    user.release(pygame.K_UP)
    assert user.answers() == []
    user.ticks(5)
    user.press(pygame.K_RETURN)
    answer, original, own = stored_correction(user)
    assert phase(user) is None and user.query == "a"  # which is still to be answered
    assert answer.context["step"] == step and answer.context["position"] == 1
    assert original.digest == drives[1].digest
    assert (own.actions[step:, 0] > 0.5).all() and (own.states[: step + 1] == original.states[: step + 1]).all()
    assert 0 < answer.answered_at - answer.shown_at < 30
    assert "Stored" in user.view.hint
    user.until(lambda: user.window.screen.view(0.0).progress.own_answers == 1)
    user.sees("a")
    user.press(pygame.K_LEFT)
    user.sees("b")
    assert [each.purpose for each in user.stored(2)] == [Purpose.TRAIN] * 2


def test_with_a_gamepad_a_clip_is_taken_over_and_acted(ask: Ask, open_for_user: Any, drives: list[Any]) -> None:
    with plugged_in() as pad:
        ask("a")
        user = open_for_user("a")
        chooses(user, pygame.K_LEFT)
        user.until(lambda: phase(user) == "ready")
        user.ticks(20)
        assert phase(user) == "ready"  # triggers that are not pressed move nothing
        pad.move(1, -1.0)
        user.until(lambda: phase(user) == "review")
        user.press(pygame.K_RETURN)
        answer, original, own = stored_correction(user)
    step = answer.context["step"]
    assert original.digest == drives[0].digest and (own.actions[step:, 0] > 0.99).all()


def test_the_mouse_chooses_stores_and_discards(ask: Ask, open_for_user: Any) -> None:
    ask("a")
    user = open_for_user("a")
    user.click(user.control("correct"))
    user.ticks(2)
    user.click(user.clips[0].center)
    user.ticks(2)
    assert phase(user) == "ready"
    user.click(user.control("leave"))
    assert phase(user) is None and user.query == "a"
    user.click(user.control("correct"))
    user.ticks(2)
    user.click(user.window.layout.arrangement.captions[1].center)
    user.ticks(2)
    user.press(pygame.K_w)
    user.until(lambda: phase(user) == "review")
    user.ticks(3)
    user.click(user.control("discard"))
    assert phase(user) is None and user.answers() == []
    user.click(user.control("correct"))
    user.ticks(2)
    user.click(user.clips[1].center)
    user.press(pygame.K_w)
    user.until(lambda: phase(user) == "review")
    user.ticks(3)
    user.click(user.control("store"))
    assert user.stored(1)[0].context["position"] == 1


def test_backspace_acts_again_from_the_same_moment_and_undo_asks_the_pair(ask: Ask, open_for_user: Any) -> None:
    ask("a")
    user = open_for_user("a")
    chooses(user, pygame.K_LEFT)
    user.press(pygame.K_s)
    user.until(lambda: phase(user) == "review")
    user.press(pygame.K_BACKSPACE)
    assert phase(user) == "ready"
    user.release(pygame.K_s)
    user.press(pygame.K_d)
    user.until(lambda: phase(user) == "review")
    user.press(pygame.K_RETURN)
    answer, _, own = stored_correction(user)
    assert (own.actions[answer.context["step"] :, 1] > 0.4).all()
    user.press(pygame.K_BACKSPACE)
    user.until(lambda: (user.query or "").startswith("correction/ann/"))
    assert user.answers() == []
    user.sees(user.query)
    user.press(pygame.K_DOWN)
    user.sees("a")


def test_keys_without_a_meaning_say_so_and_change_nothing(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b")
    user = open_for_user("a")
    chooses(user)
    for key in (pygame.K_UP, pygame.K_RETURN, pygame.K_F5):
        user.press(key)
        assert phase(user) == "choose" and "Escape leaves" in user.view.hint
    user.press(pygame.K_LEFT)
    user.ticks(2)
    user.press(pygame.K_x)
    assert phase(user) == "ready" and "does nothing" in user.view.hint
    user.press(pygame.K_ESCAPE)
    assert phase(user) is None and not user.window.screen.closed and not user.view.paused
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    chooses_nothing = user.window.tick
    chooses_nothing()
    assert user.window.screen.closed and user.answers() == []


@pytest.mark.parametrize(
    ("kind", "key"), [("ranking", pygame.K_3), ("rating", pygame.K_RETURN), ("strength", pygame.K_LEFT)]
)
def test_clips_of_every_kind_of_question_can_be_corrected(ask: Ask, open_for_user: Any, kind: str, key: int) -> None:
    ask("a", kind=kind)
    user = open_for_user("a")
    chooses(user, key)
    assert phase(user) == "ready"
    user.press(pygame.K_RETURN)  # with no key held
    user.until(lambda: phase(user) == "review")
    user.press(pygame.K_RETURN)
    answer, _, _ = stored_correction(user)
    assert answer.kind == "comparison" and answer.context["position"] == (2 if kind == "ranking" else 0)
    assert user.query == "a"


def test_in_turns_each_key_is_a_step(tmp_path: Any, open_window_over: Any) -> None:
    user = open_window_over("rlhf/Support-v1")
    chooses(user, pygame.K_LEFT)
    assert "Each key is a step" in user.view.rubric
    correction = user.window.screen.correction
    step = correction._corrector.begun_at
    for number in range(8 - step):
        assert correction._corrector.steps == step + number
        user.press(pygame.K_s)
        user.ticks(5)
    assert phase(user) == "review"
    user.press(pygame.K_RETURN)
    answer, _, own = stored_correction(user)
    assert (own.actions[answer.context["step"] :] == 1).all()


def test_where_nobody_can_act_the_control_is_not_shown(open_window_over: Any) -> None:
    user = open_window_over("CartPole-v1")
    assert not any(placed.control.label == "correct" for placed in user.window.layout.controls)
    user.press(pygame.K_c)
    assert phase(user) is None and "cannot be corrected" in user.view.hint


def test_practice_and_clips_without_states_cannot_be_corrected(
    store: PreferenceStore, drives: list[Any], open_for_user: Any
) -> None:
    frames = np.zeros((5, 40, 60, 3), np.uint8)
    blind = type(drives[0])(drives[0].observations, drives[0].actions, drives[0].true_rewards, None, frames)
    store.ask([Query("a", 0, (blind, blind))])
    user = open_for_user("a")
    assert not any(placed.control.label == "correct" for placed in user.window.layout.controls)


@pytest.fixture
def open_window_over(tmp_path: Any) -> Any:
    """Opens the window over a store with one comparison of another environment."""
    from contextlib import ExitStack

    from rlhf_envs.feedback import AnnotatorSession
    from rlhf_envs.feedback.window import open_window

    with ExitStack() as opened:

        def make(environment: str) -> WindowUser:
            described = StoredEnvironment(EnvironmentRef(environment), 8)
            store = opened.enter_context(PreferenceStore.create(tmp_path / "other.db", described))
            store.ask([Query("a", 0, (recorded(environment, 0), recorded(environment, 1)))])
            session = AnnotatorSession(store, "ann")
            user = WindowUser(opened.enter_context(open_window(session, size=(640, 440), speed=4.0)), session)
            user.sees("a")
            return user

        yield make
