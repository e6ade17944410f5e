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


def pixels(user: Any) -> Any:
    return pygame.surfarray.array3d(user.window.surface).swapaxes(0, 1)


def clip_on_screen(user: Any, number: int) -> Any:
    box = user.clips[number]
    return pixels(user)[box.top : box.bottom, box.left : box.right][:-3]


def test_both_clips_show_the_frame_that_is_due(ask: Ask, open_for_user: Any, drives: Any) -> None:
    ask("a")
    user = open_for_user("a")
    user.press(pygame.K_COMMA)
    frame = user.window.screen.moment(0.0).frame
    size = user.clips[0].size
    painter = clip_painter("rlhf/Driving-v1", frame_size=size)
    for number in (0, 1):
        expected = painter.frames(drives[number])[frame][:-3]
        assert np.array_equal(clip_on_screen(user, number), expected)


def test_captured_frames_are_shown_where_there_are_no_states(store: PreferenceStore, open_for_user: Any) -> None:
    blank = np.zeros((3, 1), np.float32)
    frames = np.full((3, 40, 60, 3), 200, np.uint8)
    captured = Segment(blank, blank, blank[:, 0], frames=frames)
    store.ask([Query("a", 0, (captured, captured))])
    user = open_for_user("a")
    assert not any(user.view.problems)
    assert (clip_on_screen(user, 1) == 200).mean() > 0.95


def test_a_clip_that_is_dragged_goes_with_the_mouse(ask: Ask, open_for_user: Any) -> None:
    ask("a", kind="ranking")
    user = open_for_user("a")
    user.press(pygame.K_COMMA)
    still = pixels(user)
    corner = (20, 400)
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=user.clips[0].center, button=1))
    pygame.event.post(pygame.event.Event(pygame.MOUSEMOTION, pos=corner, rel=(0, 0), buttons=(1, 0, 0)))
    user.until(lambda: not np.array_equal(pixels(user)[390:410, 10:30], still[390:410, 10:30]))
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=corner, button=1))
    user.until(lambda: np.array_equal(pixels(user)[390:410, 10:30], still[390:410, 10:30]))
    assert user.places == (None,) * 4


def test_the_theme_changes_the_window_and_the_clips(ask: Ask, open_for_user: Any) -> None:
    ask("a")
    user = open_for_user("a")
    assert tuple(pixels(user)[2, 2]) == LIGHT.background
    user.press(pygame.K_t)
    user.until(lambda: all(clip.look[1] == "dark" for clip in user.window.screen.clips))
    user.ticks()
    assert tuple(pixels(user)[2, 2]) == DARK.background
    assert tuple(clip_on_screen(user, 0)[3, 3]) == DARK.background


def test_an_answer_lights_up_its_side_for_a_moment(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b")
    user = open_for_user("a")
    left, right = (tuple(clip.move(-2, 20).topleft) for clip in user.clips)
    user.press(pygame.K_RIGHT)
    user.ticks(1)
    accent, quiet = (tuple(user.window.surface.get_at(place))[:3] for place in (right, left))
    assert accent[2] > accent[0] and quiet == LIGHT.background
    user.until(lambda: tuple(user.window.surface.get_at(right))[:3] == LIGHT.background)


def test_a_resized_window_shows_clips_of_its_new_size(ask: Ask, open_for_user: Any) -> None:
    ask("a")
    user = open_for_user("a")
    before = user.clips[0].size
    user.window.window.size = (900, 600)
    user.until(lambda: user.clips[0].size != before)
    after = user.clips[0].size
    assert after > before
    user.until(lambda: all(clip.look[0] == after for clip in user.window.screen.clips))


def test_a_window_where_nothing_changes_draws_nothing(ask: Ask, open_for_user: Any) -> None:
    ask("a", kind="rating")
    user = open_for_user("a")
    user.press(pygame.K_SPACE)
    user.until(lambda: user.view.ready)
    user.until(lambda: user.view.progress)
    user.ticks(5)
    shown = user.window.figures.drawn
    user.ticks(20)
    assert user.window.figures.drawn == shown


def test_the_next_question_is_on_screen_within_fifty_milliseconds(store: PreferenceStore, ask: Ask) -> None:
    ask(*[f"{number}" for number in range(8)])
    figures = measure_window(AnnotatorSession(store, "ann"), 7, pause=0.3, size=(640, 440))
    assert figures.answers == len(figures.to_next) == len(store.live_answers()) == 7 and figures.unsaved == 0
    assert figures.median_ms is not None and figures.median_ms < 50
