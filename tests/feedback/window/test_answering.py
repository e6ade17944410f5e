"""What a person does at the window, and what the store then holds."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pygame
import pytest

from rlhf_envs.envs.palette import LIGHT
from rlhf_envs.feedback import AnnotatorSession, Choice, PreferenceStore, Purpose, Query
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.feedback.window import WindowFigures, label_in_window

Ask = Callable[..., list[int]]


def test_every_choice_is_stored_as_what_it_is_and_the_next_pair_follows(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b", "c", "d")
    user = open_for_user("a")
    for key, following in ((pygame.K_LEFT, "b"), (pygame.K_RIGHT, "c"), (pygame.K_UP, "d"), (pygame.K_DOWN, None)):
        user.press(key)
        user.sees(following)
    answers = user.stored(4)
    assert [answer.choice for answer in answers] == [Choice.LEFT, Choice.RIGHT, Choice.TIE, Choice.SKIP]
    assert all(0 < answer.answered_at - answer.shown_at < 30 and answer.annotator == "ann" for answer in answers)
    assert user.window.figures.answers == 4 and len(user.window.figures.to_next) == 3


def test_an_unknown_key_stores_nothing_and_changes_nothing(ask: Ask, open_for_user: Any) -> None:
    ask("a")
    user = open_for_user("a")
    before = user.view
    user.press(pygame.K_a, pygame.K_RETURN, pygame.K_TAB, pygame.K_F5, pygame.K_0)
    user.ticks(10)
    assert user.query == "a" and user.answers() == [] and user.view.chips == before.chips


def test_reasons_are_the_environments_terms_by_number_and_by_click(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b")
    user = open_for_user("a")
    user.press(pygame.K_2, pygame.K_4, pygame.K_4, pygame.K_9)
    user.click(user.window.layout.chips[0].center)
    assert [chip.on for chip in user.view.chips] == [True, True, False, False, False, False, False]
    user.press(pygame.K_LEFT)
    user.sees("b")
    assert not any(chip.on for chip in user.view.chips)
    assert user.stored(1)[0].reasons == ("progress", "speeding")


def test_backspace_takes_answers_back_one_after_the_other(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b", "c")
    user = open_for_user("a")
    for key, following in ((pygame.K_LEFT, "b"), (pygame.K_LEFT, "c"), (pygame.K_BACKSPACE, "b")):
        user.press(key)
        user.sees(following)
    user.press(pygame.K_BACKSPACE)
    user.sees("a")
    assert user.answers() == []
    user.press(pygame.K_RIGHT)
    user.sees("b")
    assert [answer.choice for answer in user.stored(1)] == [Choice.RIGHT]


def test_the_mouse_can_do_what_the_keys_can(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b", "c", "d")
    user = open_for_user("a")
    user.click(user.clips[1].center)
    user.sees("b")
    user.click(user.control("equally good"))
    user.sees("c")
    user.click(user.control("cannot tell"))
    user.sees("d")
    user.click(user.control("undo"))
    user.sees("c")
    user.click(user.window.layout.arrangement.captions[0].center)
    user.sees("d")
    assert [answer.choice for answer in user.stored(3)] == [Choice.RIGHT, Choice.TIE, Choice.LEFT]


def test_a_key_that_bounces_does_not_answer_the_next_pair(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b")
    user = open_for_user("a")
    for _ in range(2):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
    user.sees("b")
    assert len(user.stored(1)) == 1


def test_a_ranking_is_given_best_first_by_number_and_confirmed(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b", kind="ranking")
    user = open_for_user("a")
    user.press(pygame.K_3, pygame.K_RETURN, pygame.K_1, pygame.K_BACKSPACE)
    assert user.places == (None, None, 1, None) and user.answers() == []
    user.press(pygame.K_4)
    user.click(user.clips[0].center)
    assert user.places == (3, 4, 1, 2) and user.view.ready
    user.press(pygame.K_RETURN)
    user.sees("b")
    user.press(pygame.K_DOWN)
    first, second = user.stored(2)
    assert first.payload == {"ranking": [2, 3, 0, 1]} and first.choice is None
    assert second.choice is Choice.SKIP
    user.sees(None)
    user.press(pygame.K_BACKSPACE, pygame.K_BACKSPACE)
    user.sees("a")
    assert user.places == (None,) * 4


def test_a_clip_dragged_onto_a_placed_one_takes_its_place(ask: Ask, open_for_user: Any) -> None:
    ask("a", kind="ranking")
    user = open_for_user("a")
    user.press(pygame.K_1, pygame.K_2)
    start, end = (user.clips[number].center for number in (3, 0))
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=start, button=1))
    pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, pos=end, rel=(0, 0), buttons=(1, 0, 0)))
    user.ticks(2)
    assert user.window.screen.question.dragged == (3, end)
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=end, button=1))
    user.ticks(2)
    assert user.places == (2, 3, 4, 1) and user.window.screen.question.dragged is None
    user.click(user.clips[3].center)
    assert user.places == (1, 2, 3, None)


def test_a_rating_has_a_value_for_every_step_and_follows_the_held_key(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b", kind="rating")
    user = open_for_user("a", speed=0.5)
    user.press(pygame.K_r, pygame.K_UP, pygame.K_RETURN)
    assert user.answers() == [], "it cannot be rated before it has been seen"
    user.until(lambda: user.view.ready)
    user.release(pygame.K_UP)
    user.press(pygame.K_RETURN)
    user.sees("b")
    bar = user.window.layout.arrangement.boxes["level"]
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(bar.centerx, bar.centery), button=1))
    pygame.event.post(
        pygame.event.Event(pygame.MOUSEMOTION, pos=(bar.centerx, bar.bottom + 50), rel=(0, 0), buttons=())
    )
    user.until(lambda: user.view.ready)
    user.press(pygame.K_RETURN)
    first, second = (answer.payload["ratings"] for answer in user.stored(2))
    assert len(first) == len(second) == 5
    assert first == sorted(first) and first[0] < 0.9 and first[-1] == 1.0
    assert second[-1] == -1.0


def test_stepping_through_a_rated_clip_mends_single_steps(ask: Ask, open_for_user: Any) -> None:
    ask("a", kind="rating")
    user = open_for_user("a")
    user.ticks(30)
    assert user.window.screen.question.ratings == []  # nothing plays before the person is ready
    user.press(pygame.K_RETURN)
    assert "Space starts the clip" in user.view.hint
    user.press(pygame.K_SPACE)
    user.until(lambda: user.view.ready)
    user.press(pygame.K_COMMA, pygame.K_COMMA)
    bar = user.window.layout.arrangement.boxes["level"]
    user.click(bar.midtop)
    user.press(pygame.K_COMMA, pygame.K_RETURN)
    assert user.stored(1)[0].payload == {"ratings": [0.0, 0.0, 1.0, 0.0, 0.0]}


def test_a_window_without_questions_says_what_it_waits_for_until_there_is_one(
    store: PreferenceStore, ask: Ask, open_for_user: Any
) -> None:
    user = open_for_user(None)
    user.until(lambda: user.view.message[0] == "Nothing to answer yet")
    store.post_status(TRAINING, {"state": "training", "timesteps": 30, "total_timesteps": 100, "answers": 40})
    user.until(lambda: user.view.message == ("Training is collecting clips", user.view.message[1]))
    assert "30% done" in user.view.message[1]
    user.press(pygame.K_LEFT, pygame.K_1, pygame.K_RETURN, pygame.K_PERIOD, pygame.K_SPACE)
    ask("a")
    user.sees("a")
    assert user.answers() == [] and user.view.message is None
    assert user.view.progress.counts_text()[0] == "0 of 40 answered"


def test_what_is_on_screen_is_not_pushed_away_by_a_query_that_comes_before_it(
    store: PreferenceStore, ask: Ask, open_for_user: Any, drives: Any
) -> None:
    ask("a", "b")
    user = open_for_user("a")
    store.ask([Query("check", 0, (drives[4], drives[5]), purpose=Purpose.CHECK, only_for="ann")])
    user.press(pygame.K_LEFT)
    user.sees("b")
    user.until(lambda: "check" in [query.key for query in user.window.screen.known.queries])
    assert user.query == "b"
    user.press(pygame.K_LEFT)
    user.sees("check")


def test_queries_are_kept_for_who_is_there_and_let_go_for_who_has_left(
    store: PreferenceStore, ask: Ask, open_for_user: Any
) -> None:
    ask("a")
    user = open_for_user("a", lease_seconds=1.2)
    stays_until = time.monotonic() + 2.4
    while time.monotonic() < stays_until:
        user.press(pygame.K_COMMA)
        assert store.take("bob") is None
    user.until(lambda: store.take("bob", lease_seconds=0.1))
    assert user.query == "a"
    user.press(pygame.K_LEFT)
    assert user.stored(1)[0].annotator == "ann"


def test_a_clip_that_cannot_be_drawn_says_why_and_can_only_be_skipped(
    store: PreferenceStore, make_query: Any, open_for_user: Any
) -> None:
    store.ask([make_query("a")])
    user = open_for_user("a")
    assert "cannot be shown" in user.view.problems[0]
    user.press(pygame.K_LEFT, pygame.K_UP)
    assert user.query == "a"
    user.press(pygame.K_DOWN)
    assert user.stored(1)[0].choice is Choice.SKIP


def test_label_in_window_ends_when_the_window_is_closed(store: PreferenceStore) -> None:
    pygame.display.init()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
    assert isinstance(label_in_window(AnnotatorSession(store, "ann")), WindowFigures)
    assert not pygame.display.get_init()


@pytest.mark.parametrize("wrong", [{"theme": "sepia"}, {"size": (100, 100)}, {"speed": 0.0}])
def test_settings_without_sense_are_refused_in_a_sentence(store: PreferenceStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"theme must|at least 640x440|speed must"):
        label_in_window(AnnotatorSession(store, "ann"), **wrong)


def test_a_machine_without_a_screen_is_told_in_a_sentence(
    store: PreferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "nothing")
    with pytest.raises(RuntimeError, match=r"No window can be opened \(.+\)"):
        label_in_window(AnnotatorSession(store, "ann"))


def test_the_window_opens_without_loading_what_only_training_needs() -> None:
    loads = "import sys, rlhf_envs.feedback.window as w; sys.exit(w.__name__ in sys.modules and 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loads], check=False).returncode == 0


def test_a_new_annotator_practises_first_and_reads_what_most_prefer(
    store: PreferenceStore, ask: Ask, open_for_user: Any
) -> None:
    ask("a", "b")
    user = open_for_user("practice/ann/0", practice=True)
    for number in range(4):
        user.sees(f"practice/ann/{number}")
        assert user.view.practice and user.view.feedback is None
        known = str(user.window.screen.query.context["answer"])
        other = {"left": "right", "right": "left"}[known]
        user.press({"left": pygame.K_LEFT, "right": pygame.K_RIGHT}[known if number else other])
        right, text = user.view.feedback
        assert right == (number > 0)
        assert text.startswith("Right." if right else "Look again.")
        assert f"The reference answer is the {known} one, because it does better on" in text
        user.press(pygame.K_RETURN)
        assert user.view.feedback is not None, "nobody has read that"
        user.sees(f"practice/ann/{number}")
        user.press(pygame.K_RETURN)
    user.sees("a")
    assert not user.view.practice
    user.press(pygame.K_LEFT)
    user.sees("b")
    user.stored(5)
    assert [answer.query_id for answer in store.live_answers(Purpose.TRAIN)] == [1]
    assert len(store.live_answers(Purpose.PRACTICE)) == 4
    user.until(lambda: user.view.progress.counts_text()[0] == "1 of 2 answered")


def test_a_practice_answer_can_be_taken_back_while_its_explanation_is_read(ask: Ask, open_for_user: Any) -> None:
    ask("a")
    user = open_for_user("practice/ann/0", practice=True)
    user.press(pygame.K_LEFT)
    marked = [user.window.screen.question.clip_color(clip, LIGHT) for clip in (0, 1)]
    assert LIGHT.good in marked and user.view.feedback is not None
    user.click(user.clips[1].center)
    user.press(pygame.K_3, pygame.K_UP)
    assert user.view.feedback is not None and not any(chip.on for chip in user.view.chips)
    user.press(pygame.K_BACKSPACE)
    assert user.view.feedback is None
    user.sees("practice/ann/0")
    assert user.window.screen.question.clip_color(0, LIGHT) is None
    user.press(pygame.K_RIGHT)
    user.until(lambda: [answer.choice for answer in user.answers()] == [Choice.RIGHT])


def test_shift_says_that_a_preference_is_clear(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b", "c", "d", "e", "f", kind="strength")
    user = open_for_user("a")
    for key, modifiers, following in (
        (pygame.K_LEFT, 0, "b"),
        (pygame.K_RIGHT, pygame.KMOD_LSHIFT, "c"),
        (pygame.K_UP, pygame.KMOD_RSHIFT, "d"),
    ):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, mod=modifiers, unicode=""))
        user.sees(following)
    captions = {placed.control.label: placed for placed in user.window.layout.arrangement.controls if placed.clip == 1}
    user.click(captions["clearly"].rect.center)
    user.sees("e")
    user.click(user.clips[1].center)
    user.sees("f")
    user.press(pygame.K_DOWN)
    answers = [(answer.choice, answer.payload) for answer in user.stored(6)]
    assert answers == [
        (Choice.LEFT, {"strength": "slightly"}),
        (Choice.RIGHT, {"strength": "clearly"}),
        (Choice.TIE, None),
        (Choice.RIGHT, {"strength": "clearly"}),
        (Choice.RIGHT, {"strength": "slightly"}),
        (Choice.SKIP, None),
    ]


def test_the_whole_order_typed_is_stored_and_what_is_refused_is_said(ask: Any, open_for_user: Any) -> None:
    ask("a", kind="ranking")
    user = open_for_user("a")

    def refused(key: int, sentence: str, typed: str = "") -> None:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, mod=0, unicode=typed))
        user.until(lambda: user.view.hint is not None and sentence in user.view.hint)

    user.press(pygame.K_3, pygame.K_1)
    refused(pygame.K_RETURN, "Clips 2 and 4 have no place yet: type their numbers, the best first.")
    refused(pygame.K_7, "There are only 4 clips.")
    refused(pygame.K_q, "The number keys put the clips in order", "q")
    user.press(pygame.K_4)
    assert user.view.hint is None
    user.press(pygame.K_2, pygame.K_RETURN)  # the last one stands in its place already
    assert [answer.payload for answer in user.stored(1)] == [{"ranking": [2, 0, 3, 1]}]


def test_a_comparison_says_what_enter_and_other_keys_do_not(ask: Any, open_for_user: Any) -> None:
    ask("a")
    user = open_for_user("a")
    user.press(pygame.K_RETURN)
    assert user.view.hint.startswith("Choose with the arrow keys")
    user.press(pygame.K_LSHIFT)
    assert user.view.hint.startswith("Choose with the arrow keys")
    user.press(pygame.K_LEFT)
    user.stored(1)


def test_the_end_is_read_before_the_window_closes(ask: Any, open_for_user: Any, store: PreferenceStore) -> None:
    ask("a")
    user = open_for_user("a")
    store.post_status(TRAINING, {"state": "finished", "test_accuracy": 0.75, "curve": [[1, 1.0, None], [2, 4.0, None]]})
    user.ticks(30)
    assert user.query == "a"
    user.press(pygame.K_LEFT)
    user.until(lambda: user.view.summary)
    assert ("Your answers", "1") in user.view.summary
    assert user.view.message[0] == "All done, thank you" and not user.window.screen.closed
    user.press(pygame.K_RETURN)
    assert user.window.screen.closed
