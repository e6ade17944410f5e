"""What is on screen: the right frame, the right theme, the mark of an answer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pygame

from rlhf_envs.clips import clip_painter
from rlhf_envs.envs.palette import DARK, LIGHT
from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Query
from rlhf_envs.feedback.window import measure_window
from rlhf_envs.segments import Segment

Ask = Callable[..., list[int]]


def pixels(hand: Any) -> Any:
    return pygame.surfarray.array3d(hand.window.surface).swapaxes(0, 1)


def clip_on_screen(hand: Any, number: int) -> Any:
    box = hand.clips[number]
    return pixels(hand)[box.top : box.bottom, box.left : box.right][:-3]


def test_both_clips_show_the_frame_that_is_due(ask: Ask, sit_down: Any, drives: Any) -> None:
    ask("a")
    hand = sit_down("a")
    hand.press(pygame.K_COMMA)
    frame = hand.window.screen.moment(0.0).frame
    size = hand.clips[0].size
    painter = clip_painter("rlhf/Driving-v0", frame_size=size)
    for number in (0, 1):
        expected = painter.frames(drives[number])[frame][:-3]
        assert np.array_equal(clip_on_screen(hand, number), expected)


def test_captured_frames_are_shown_where_there_are_no_states(store: PreferenceStore, sit_down: Any) -> None:
    blank = np.zeros((3, 1), np.float32)
    frames = np.full((3, 40, 60, 3), 200, np.uint8)
    captured = Segment(blank, blank, blank[:, 0], frames=frames)
    store.ask([Query("a", 0, (captured, captured))])
    hand = sit_down("a")
    assert not any(hand.view.problems)
    assert (clip_on_screen(hand, 1) == 200).mean() > 0.95


def test_a_clip_that_is_dragged_goes_with_the_mouse(ask: Ask, sit_down: Any) -> None:
    ask("a", kind="ranking")
    hand = sit_down("a")
    hand.press(pygame.K_COMMA)
    still = pixels(hand)
    corner = (20, 400)
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=hand.clips[0].center, button=1))
    pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, pos=corner, rel=(0, 0), buttons=(1, 0, 0)))
    hand.until(lambda: not np.array_equal(pixels(hand)[390:410, 10:30], still[390:410, 10:30]))
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=corner, button=1))
    hand.until(lambda: np.array_equal(pixels(hand)[390:410, 10:30], still[390:410, 10:30]))
    assert hand.places == (None,) * 4


def test_the_theme_changes_the_window_and_the_clips(ask: Ask, sit_down: Any) -> None:
    ask("a")
    hand = sit_down("a")
    assert tuple(pixels(hand)[2, 2]) == LIGHT.background
    hand.press(pygame.K_t)
    hand.until(lambda: all(clip.look[1] == "dark" for clip in hand.window.screen.clips))
    hand.ticks()
    assert tuple(pixels(hand)[2, 2]) == DARK.background
    assert tuple(clip_on_screen(hand, 0)[3, 3]) == DARK.background


def test_an_answer_lights_up_its_side_for_a_moment(ask: Ask, sit_down: Any) -> None:
    ask("a", "b")
    hand = sit_down("a")
    left, right = (tuple(clip.move(-2, 20).topleft) for clip in hand.clips)
    hand.press(pygame.K_RIGHT)
    hand.ticks(1)
    accent, quiet = (tuple(hand.window.surface.get_at(place))[:3] for place in (right, left))
    assert accent[2] > accent[0] and quiet == LIGHT.background
    hand.until(lambda: tuple(hand.window.surface.get_at(right))[:3] == LIGHT.background)


def test_a_resized_window_shows_clips_of_its_new_size(ask: Ask, sit_down: Any) -> None:
    ask("a")
    hand = sit_down("a")
    before = hand.clips[0].size
    hand.window.window.size = (900, 600)
    hand.until(lambda: hand.clips[0].size != before)
    after = hand.clips[0].size
    assert after > before
    hand.until(lambda: all(clip.look[0] == after for clip in hand.window.screen.clips))


def test_a_window_where_nothing_changes_draws_nothing(ask: Ask, sit_down: Any) -> None:
    ask("a", kind="rating")
    hand = sit_down("a")
    hand.until(lambda: hand.view.ready)
    hand.until(lambda: hand.view.counts)
    hand.ticks(5)
    shown = hand.window.figures.drawn
    hand.ticks(20)
    assert hand.window.figures.drawn == shown


def test_the_next_question_is_on_screen_within_fifty_milliseconds(store: PreferenceStore, ask: Ask) -> None:
    ask(*[f"{number}" for number in range(8)])
    figures = measure_window(AnnotatorSession(store, "ann"), 7, pause=0.3, size=(640, 440))
    assert figures.answers == len(figures.to_next) == len(store.live_answers()) == 7 and figures.unsaved == 0
    assert figures.median_ms is not None and figures.median_ms < 50
    assert "7 answers" in str(figures) and "median" in str(figures)
