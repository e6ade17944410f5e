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


def test_every_choice_is_stored_as_what_it_is_and_the_next_pair_follows(ask: Ask, sit_down: Any) -> None:
    ask("a", "b", "c", "d")
    hand = sit_down("a")
    for key, following in ((pygame.K_LEFT, "b"), (pygame.K_RIGHT, "c"), (pygame.K_UP, "d"), (pygame.K_DOWN, None)):
        hand.press(key)
        hand.sees(following)
    answers = hand.stored(4)
    assert [answer.choice for answer in answers] == [Choice.LEFT, Choice.RIGHT, Choice.TIE, Choice.SKIP]
    assert all(0 < answer.answered_at - answer.shown_at < 30 and answer.annotator == "ann" for answer in answers)
    assert hand.window.figures.answers == 4 and len(hand.window.figures.to_next) == 3


def test_an_unknown_key_stores_nothing_and_changes_nothing(ask: Ask, sit_down: Any) -> None:
    ask("a")
    hand = sit_down("a")
    before = hand.view
    hand.press(pygame.K_a, pygame.K_RETURN, pygame.K_TAB, pygame.K_F5, pygame.K_0)
    hand.ticks(10)
    assert hand.query == "a" and hand.answers() == [] and hand.view.chips == before.chips


def test_reasons_are_the_environments_terms_by_number_and_by_click(ask: Ask, sit_down: Any) -> None:
    ask("a", "b")
    hand = sit_down("a")
    hand.press(pygame.K_2, pygame.K_4, pygame.K_4, pygame.K_9)
    hand.click(hand.window.layout.chips[0].center)
    assert [chip.on for chip in hand.view.chips] == [True, True, False, False, False, False, False]
    hand.press(pygame.K_LEFT)
    hand.sees("b")
    assert not any(chip.on for chip in hand.view.chips)
    assert hand.stored(1)[0].reasons == ("progress", "speeding")


def test_backspace_takes_answers_back_one_after_the_other(ask: Ask, sit_down: Any) -> None:
    ask("a", "b", "c")
    hand = sit_down("a")
    for key, following in ((pygame.K_LEFT, "b"), (pygame.K_LEFT, "c"), (pygame.K_BACKSPACE, "b")):
        hand.press(key)
        hand.sees(following)
    hand.press(pygame.K_BACKSPACE)
    hand.sees("a")
    assert hand.answers() == []
    hand.press(pygame.K_RIGHT)
    hand.sees("b")
    assert [answer.choice for answer in hand.stored(1)] == [Choice.RIGHT]


def test_the_mouse_can_do_what_the_keys_can(ask: Ask, sit_down: Any) -> None:
    ask("a", "b", "c", "d")
    hand = sit_down("a")
    hand.click(hand.clips[1].center)
    hand.sees("b")
    hand.click(hand.control("equally good"))
    hand.sees("c")
    hand.click(hand.control("cannot tell"))
    hand.sees("d")
    hand.click(hand.control("undo"))
    hand.sees("c")
    hand.click(hand.window.layout.arrangement.captions[0].center)
    hand.sees("d")
    assert [answer.choice for answer in hand.stored(3)] == [Choice.RIGHT, Choice.TIE, Choice.LEFT]


def test_a_key_that_bounces_does_not_answer_the_next_pair(ask: Ask, sit_down: Any) -> None:
    ask("a", "b")
    hand = sit_down("a")
    for _ in range(2):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
    hand.sees("b")
    assert len(hand.stored(1)) == 1


def test_a_ranking_is_given_best_first_by_number_and_confirmed(ask: Ask, sit_down: Any) -> None:
    ask("a", "b", kind="ranking")
    hand = sit_down("a")
    hand.press(pygame.K_3, pygame.K_RETURN, pygame.K_1, pygame.K_BACKSPACE)
    assert hand.places == (None, None, 1, None) and hand.answers() == []
    hand.press(pygame.K_4)
    hand.click(hand.clips[0].center)
    assert hand.places == (3, 4, 1, 2) and hand.view.ready
    hand.press(pygame.K_RETURN)
    hand.sees("b")
    hand.press(pygame.K_DOWN)
    first, second = hand.stored(2)
    assert first.payload == {"ranking": [2, 3, 0, 1]} and first.choice is None
    assert second.choice is Choice.SKIP
    hand.sees(None)
    hand.press(pygame.K_BACKSPACE, pygame.K_BACKSPACE)
    hand.sees("a")
    assert hand.places == (None,) * 4


def test_a_clip_dragged_onto_a_placed_one_takes_its_place(ask: Ask, sit_down: Any) -> None:
    ask("a", kind="ranking")
    hand = sit_down("a")
    hand.press(pygame.K_1, pygame.K_2)
    start, end = (hand.clips[number].center for number in (3, 0))
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=start, button=1))
    pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, pos=end, rel=(0, 0), buttons=(1, 0, 0)))
    hand.ticks(2)
    assert hand.window.screen.question.dragged == (3, end)
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=end, button=1))
    hand.ticks(2)
    assert hand.places == (2, 3, 4, 1) and hand.window.screen.question.dragged is None
    hand.click(hand.clips[3].center)
    assert hand.places == (1, 2, 3, None)


def test_a_rating_has_a_value_for_every_step_and_follows_the_held_key(ask: Ask, sit_down: Any) -> None:
    ask("a", "b", kind="rating")
    hand = sit_down("a", speed=0.5)
    hand.press(pygame.K_r, pygame.K_UP, pygame.K_RETURN)
    assert hand.answers() == [], "it cannot be rated before it has been seen"
    hand.until(lambda: hand.view.ready)
    hand.release(pygame.K_UP)
    hand.press(pygame.K_RETURN)
    hand.sees("b")
    bar = hand.window.layout.arrangement.boxes["level"]
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(bar.centerx, bar.centery), button=1))
    pygame.event.post(
        pygame.event.Event(pygame.MOUSEMOTION, pos=(bar.centerx, bar.bottom + 50), rel=(0, 0), buttons=())
    )
    hand.until(lambda: hand.view.ready)
    hand.press(pygame.K_RETURN)
    first, second = (answer.payload["ratings"] for answer in hand.stored(2))
    assert len(first) == len(second) == 5
    assert first == sorted(first) and first[0] < 0.9 and first[-1] == 1.0
    assert second[-1] == -1.0


def test_stepping_through_a_rated_clip_mends_single_steps(ask: Ask, sit_down: Any) -> None:
    ask("a", kind="rating")
    hand = sit_down("a")
    hand.until(lambda: hand.view.ready)
    hand.press(pygame.K_COMMA, pygame.K_COMMA)
    bar = hand.window.layout.arrangement.boxes["level"]
    hand.click(bar.midtop)
    hand.press(pygame.K_COMMA, pygame.K_RETURN)
    assert hand.stored(1)[0].payload == {"ratings": [0.0, 0.0, 1.0, 0.0, 0.0]}


def test_a_window_without_questions_says_what_it_waits_for_until_there_is_one(
    store: PreferenceStore, ask: Ask, sit_down: Any
) -> None:
    hand = sit_down(None)
    hand.until(lambda: hand.view.message[0] == "Nothing to answer yet")
    store.post_status(TRAINING, {"state": "training", "timesteps": 30, "total_timesteps": 100, "comparisons": 40})
    hand.until(lambda: hand.view.message == ("Training is collecting clips", hand.view.message[1]))
    assert "30% done" in hand.view.message[1]
    hand.press(pygame.K_LEFT, pygame.K_1, pygame.K_RETURN, pygame.K_PERIOD, pygame.K_SPACE)
    ask("a")
    hand.sees("a")
    assert hand.answers() == [] and hand.view.message is None
    assert hand.view.counts[0] == "0 of 40 answered"


def test_what_is_on_screen_is_not_pushed_away_by_a_query_that_comes_before_it(
    store: PreferenceStore, ask: Ask, sit_down: Any, drives: Any
) -> None:
    ask("a", "b")
    hand = sit_down("a")
    store.ask([Query("check", 0, (drives[4], drives[5]), purpose=Purpose.CHECK, only_for="ann")])
    hand.press(pygame.K_LEFT)
    hand.sees("b")
    hand.until(lambda: "check" in [query.key for query in hand.window.screen.known.queries])
    assert hand.query == "b"
    hand.press(pygame.K_LEFT)
    hand.sees("check")


def test_queries_are_kept_for_who_is_there_and_let_go_for_who_has_left(
    store: PreferenceStore, ask: Ask, sit_down: Any
) -> None:
    ask("a")
    hand = sit_down("a", lease_seconds=1.2)
    stays_until = time.monotonic() + 2.4
    while time.monotonic() < stays_until:
        hand.press(pygame.K_COMMA)
        assert store.take("bob") is None
    hand.until(lambda: store.take("bob", lease_seconds=0.1))
    assert hand.query == "a"
    hand.press(pygame.K_LEFT)
    assert hand.stored(1)[0].annotator == "ann"


def test_a_clip_that_cannot_be_drawn_says_why_and_can_only_be_skipped(
    store: PreferenceStore, make_query: Any, sit_down: Any
) -> None:
    store.ask([make_query("a")])
    hand = sit_down("a")
    assert "cannot be shown" in hand.view.problems[0]
    hand.press(pygame.K_LEFT, pygame.K_UP)
    assert hand.query == "a"
    hand.press(pygame.K_DOWN)
    assert hand.stored(1)[0].choice is Choice.SKIP


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
    store: PreferenceStore, ask: Ask, sit_down: Any
) -> None:
    ask("a", "b")
    hand = sit_down("practice/ann/0", practice=True)
    for number in range(4):
        hand.sees(f"practice/ann/{number}")
        assert hand.view.practice and hand.view.feedback is None
        known = str(hand.window.screen.query.context["answer"])
        other = {"left": "right", "right": "left"}[known]
        hand.press({"left": pygame.K_LEFT, "right": pygame.K_RIGHT}[known if number else other])
        right, text = hand.view.feedback
        assert right == (number > 0)
        assert text.startswith("That is what most say." if right else "Look again.")
        assert f"Most people prefer the {known} one, because it does better on" in text
        hand.press(pygame.K_RETURN)
        assert hand.view.feedback is not None, "nobody has read that"
        hand.sees(f"practice/ann/{number}")
        hand.press(pygame.K_RETURN)
    hand.sees("a")
    assert not hand.view.practice
    hand.press(pygame.K_LEFT)
    hand.sees("b")
    hand.stored(5)
    assert [answer.query_id for answer in store.live_answers(Purpose.TRAIN)] == [1]
    assert len(store.live_answers(Purpose.PRACTICE)) == 4
    hand.until(lambda: hand.view.counts[0] == "1 of 2 answered")


def test_a_practice_answer_can_be_taken_back_while_its_explanation_is_read(ask: Ask, sit_down: Any) -> None:
    ask("a")
    hand = sit_down("practice/ann/0", practice=True)
    hand.press(pygame.K_LEFT)
    marked = [hand.window.screen.question.clip_color(clip, LIGHT) for clip in (0, 1)]
    assert LIGHT.good in marked and hand.view.feedback is not None
    hand.click(hand.clips[1].center)
    hand.press(pygame.K_3, pygame.K_UP)
    assert hand.view.feedback is not None and not any(chip.on for chip in hand.view.chips)
    hand.press(pygame.K_BACKSPACE)
    assert hand.view.feedback is None
    hand.sees("practice/ann/0")
    assert hand.window.screen.question.clip_color(0, LIGHT) is None
    hand.press(pygame.K_RIGHT)
    assert hand.stored(1)[0].choice is Choice.RIGHT


def test_shift_says_that_a_preference_is_clear(ask: Ask, sit_down: Any) -> None:
    ask("a", "b", "c", "d", "e", "f", kind="strength")
    hand = sit_down("a")
    for key, modifiers, following in (
        (pygame.K_LEFT, 0, "b"),
        (pygame.K_RIGHT, pygame.KMOD_LSHIFT, "c"),
        (pygame.K_UP, pygame.KMOD_RSHIFT, "d"),
    ):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, mod=modifiers, unicode=""))
        hand.sees(following)
    captions = {placed.control.label: placed for placed in hand.window.layout.arrangement.controls if placed.clip == 1}
    hand.click(captions["clearly"].rect.center)
    hand.sees("e")
    hand.click(hand.clips[1].center)
    hand.sees("f")
    hand.press(pygame.K_DOWN)
    answers = [(answer.choice, answer.payload) for answer in hand.stored(6)]
    assert answers == [
        (Choice.LEFT, {"strength": "slightly"}),
        (Choice.RIGHT, {"strength": "clearly"}),
        (Choice.TIE, None),
        (Choice.RIGHT, {"strength": "clearly"}),
        (Choice.RIGHT, {"strength": "slightly"}),
        (Choice.SKIP, None),
    ]
