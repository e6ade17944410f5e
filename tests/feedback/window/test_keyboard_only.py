"""The labelling window by the keyboard alone: from what a new annotator reads to the summary at the end."""

from typing import Any

import pygame

from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.store.status import TRAINING
from tests.feedback.web.test_endings import FINISHED
from tests.feedback.window.test_correcting import drives, phase  # noqa: F401


def test_a_whole_labelling_run(store: PreferenceStore, ask: Any, open_for_user: Any) -> None:
    for kind in ("comparison", "strength", "ranking", "rating"):
        ask(kind, kind=kind)
    user = open_for_user("practice/ann/0", practice=True)  # which reads first what is asked, and presses Enter
    for number in range(4):
        user.sees(f"practice/ann/{number}")
        user.press(pygame.K_LEFT)
        user.until(lambda: user.view.feedback)
        user.until(lambda: user.press(pygame.K_RETURN) or not user.view.feedback)
    user.sees("comparison")
    user.press(pygame.K_t, pygame.K_PLUS, pygame.K_MINUS, pygame.K_COMMA, pygame.K_PERIOD, pygame.K_SPACE, pygame.K_1)
    assert user.view.theme == "dark" and user.view.chips[0].on
    user.press(pygame.K_RIGHT)
    user.sees("strength")
    user.press(pygame.K_BACKSPACE)
    user.sees("comparison")
    user.press(pygame.K_c, pygame.K_LEFT, pygame.K_w)
    user.until(lambda: phase(user) == "review")
    user.press(pygame.K_RETURN)
    user.until(lambda: user.window.screen.correction is None)
    user.sees("comparison")
    user.press(pygame.K_RIGHT)
    user.sees("strength")
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT, mod=pygame.KMOD_SHIFT, unicode=""))
    user.sees("ranking")
    user.press(pygame.K_2, pygame.K_3, pygame.K_1, pygame.K_RETURN)
    user.sees("rating")
    user.press(pygame.K_UP)
    user.until(lambda: user.view.ready)
    user.release(pygame.K_UP)
    user.press(pygame.K_RETURN)
    user.sees(None)
    user.until(lambda: len(store.live_answers(Purpose.TRAIN)) == 5)
    store.post_status(TRAINING, FINISHED)
    user.until(lambda: user.view.summary)
    answers = store.live_answers(Purpose.TRAIN)
    assert [answer.kind for answer in answers] == ["comparison", "comparison", "strength", "ranking", "rating"]
    assert "corrects" in answers[0].context and answers[2].payload == {"strength": "clearly"}
    assert answers[3].payload == {"ranking": [1, 2, 0, 3]} and max(answers[4].payload["ratings"]) > 0
    user.press(pygame.K_RETURN)
    assert user.window.screen.closed
