"""Where things are: everything in the window, nothing over anything else, at any size."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pygame
import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.registration import ENVIRONMENTS
from rlhf_envs.feedback import Query
from rlhf_envs.feedback.guidance import guidance
from rlhf_envs.feedback.window import QUESTIONS, SMALLEST_SIZE
from rlhf_envs.feedback.window.drawing import Chip, Layout, View, lay_out, shorten, wrap
from rlhf_envs.feedback.window.questions import PRESS, Action

SIZES = ((1200, 760), (800, 520), (2400, 1500), (1920, 700), (700, 1000), SMALLEST_SIZE)
SHOWN = (("comparison", 2), ("strength", 2), ("rating", 1), ("ranking", 2), ("ranking", 3), ("ranking", 5))


@pytest.fixture
def view_of(drives: Any) -> Any:
    """Makes the view of a question as it comes on screen."""

    def make(environment_id: str, kind: str, clips: int) -> View:
        told = guidance(StoredEnvironment(EnvironmentRef(environment_id)))
        question = QUESTIONS[kind](Query("a", 0, tuple(drives[:clips])))
        chips = tuple(Chip(label, 1 if question.reason_keys else None, False) for label in told.reasons.values())
        return View("light", question, rubric=told.rubric, chips=chips)

    return make


def laid_out(size: tuple[int, int], view: View) -> Layout:
    canvas = Canvas(*size)
    canvas.scale = 1.0
    return lay_out(size, view, canvas.text_width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "clips"), SHOWN)
def test_nothing_overlaps_and_all_is_in_the_window(view_of: Any, size: tuple[int, int], kind: str, clips: int) -> None:
    for environment_id in ("rlhf/Driving-v1", "rlhf/Recommender-v1", "Pendulum-v1"):
        layout = laid_out(size, view_of(environment_id, kind, clips))
        question = layout.arrangement
        boxes: list[Any] = [layout.rubric_box, layout.footer, *question.clips, *question.captions, *layout.chips]
        boxes += [placed.rect for placed in layout.controls]
        captions = [placed.rect for placed in question.controls if placed.control.action is not None]
        for one, other in combinations(captions, 2):
            assert not one.colliderect(other), (one, other)
        boxes += [box for box in (*question.boxes.values(), layout.speed) if box.width]
        for box in boxes:
            assert pygame.Rect((0, 0), size).contains(box), box
        for one, other in combinations(boxes, 2):
            assert not one.colliderect(other), (one, other)
        assert len(question.clips) == clips == len(question.captions)


@pytest.mark.parametrize("size", SIZES)
def test_practice_feedback_stands_where_the_reasons_were_and_moves_no_clip(view_of: Any, size: tuple[int, int]) -> None:
    view = replace(view_of("rlhf/Driving-v1", "comparison", 2), practice=True)
    asked = laid_out(size, view)
    told = laid_out(size, replace(view, feedback=(True, "Right.")))
    assert told.arrangement.clips == asked.arrangement.clips and not told.chips
    boxes = [told.rubric_box, told.footer, *told.arrangement.clips, *(placed.rect for placed in told.controls)]
    assert pygame.Rect((0, 0), size).contains(told.feedback)
    assert not [box for box in boxes if told.feedback.colliderect(box)]


@pytest.mark.parametrize("environment_id", ENVIRONMENTS)
def test_the_rubric_and_all_reasons_of_every_environment_have_room(view_of: Any, environment_id: str) -> None:
    view = view_of(environment_id, "comparison", 2)
    for size in ((1200, 760), (800, 520)):
        for practice in (False, True):
            layout = laid_out(size, replace(view, practice=practice))
            assert " ".join(layout.rubric) == view.rubric
            assert len(layout.chips) == len(view.chips)


def test_clips_take_most_of_the_window_and_are_all_of_one_size(view_of: Any) -> None:
    layout = laid_out((1200, 760), view_of("rlhf/Driving-v1", "comparison", 2))
    assert sum(clip.width for clip in layout.arrangement.clips) > 0.9 * 1200
    ranking = laid_out((1200, 760), view_of("rlhf/Driving-v1", "ranking", 5))
    assert len({tuple(clip.size) for clip in ranking.arrangement.clips}) == 1


def test_a_click_means_what_it_hits(view_of: Any) -> None:
    view = view_of("rlhf/Driving-v1", "comparison", 2)
    layout = laid_out((1200, 760), view)
    place = layout.arrangement.clips[0].center
    assert layout.arrangement.clip_at(place) == 0 and layout.action_at(place) is None
    assert view.question.point(PRESS, place, 0, layout.arrangement) == Action("left")
    assert layout.arrangement.clip_at(layout.arrangement.captions[1].center) == 1
    assert layout.action_at(layout.chips[3].center) == Action("reason", 3)
    assert layout.action_at((2, 2)) is None and layout.arrangement.clip_at((2, 2)) is None


def test_a_text_is_cut_only_where_it_has_to_be() -> None:
    def measure(text: str, size: float) -> float:
        return len(text) * size

    assert wrap("one two three four", 1, 9, measure, 3) == ("one two", "three", "four")
    assert wrap("one two three four", 1, 9, measure, 2) == ("one two", "three fo…")
    assert wrap("one two three", 1, 9, measure, 3, indent=4) == ("one", "two three")
    assert shorten("four", 1, 4, measure) == "four"
