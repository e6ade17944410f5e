"""Where things are: everything in the window, nothing over anything else, at any size."""

from itertools import combinations
from typing import Any

import pygame
import pytest

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.registration import ENVIRONMENTS
from rlhf_envs.feedback import Kind
from rlhf_envs.feedback.guidance import guidance
from rlhf_envs.feedback.window.intents import Action, Intent
from rlhf_envs.feedback.window.labelling import SMALLEST_SIZE
from rlhf_envs.feedback.window.layout import Layout, lay_out, shorten, wrap
from rlhf_envs.feedback.window.view import Chip, Scene

SIZES = ((1200, 760), (800, 520), (2400, 1500), (1920, 700), (700, 1000), SMALLEST_SIZE)
QUESTIONS = ((Kind.COMPARISON, 2), (Kind.RATING, 1), (Kind.RANKING, 2), (Kind.RANKING, 3), (Kind.RANKING, 5))


def scene_of(environment_id: str, kind: Kind, clips: int) -> Scene:
    told = guidance({"id": environment_id})
    chips = tuple(Chip(label, None if kind is Kind.RANKING else 1, False) for label in told.reasons.values())
    return Scene("light", kind, clips, told.rubric, chips=chips)


def laid_out(size: tuple[int, int], scene: Scene) -> Layout:
    canvas = Canvas(*size)
    canvas.scale = 1.0
    return lay_out(size, scene, canvas.text_width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "clips"), QUESTIONS)
def test_nothing_overlaps_and_all_is_in_the_window(size: tuple[int, int], kind: Kind, clips: int) -> None:
    for environment_id in ("rlhf/Driving-v0", "rlhf/Recommender-v0", "Pendulum-v1"):
        layout = laid_out(size, scene_of(environment_id, kind, clips))
        boxes: list[Any] = [layout.rubric_box, layout.footer, *layout.clips, *layout.captions, *layout.chips]
        boxes += [placed.rect for placed in layout.controls]
        boxes += [box for box in (layout.level, layout.curve, layout.speed) if box is not None and box.width]
        for box in boxes:
            assert pygame.Rect((0, 0), size).contains(box), box
        for one, other in combinations(boxes, 2):
            assert not one.colliderect(other), (one, other)
        assert len(layout.clips) == clips == len(layout.captions)


@pytest.mark.parametrize("environment_id", ENVIRONMENTS)
def test_the_rubric_and_all_reasons_of_every_environment_have_room(environment_id: str) -> None:
    scene = scene_of(environment_id, Kind.COMPARISON, 2)
    for size in ((1200, 760), (800, 520)):
        layout = laid_out(size, scene)
        assert " ".join(layout.rubric) == scene.rubric
        assert len(layout.chips) == len(scene.chips)


def test_clips_take_most_of_the_window_and_are_all_of_one_size() -> None:
    layout = laid_out((1200, 760), scene_of("rlhf/Driving-v0", Kind.COMPARISON, 2))
    assert sum(clip.width for clip in layout.clips) > 0.9 * 1200
    ranking = laid_out((1200, 760), scene_of("rlhf/Driving-v0", Kind.RANKING, 5))
    assert len({tuple(clip.size) for clip in ranking.clips}) == 1


def test_a_click_means_what_it_hits() -> None:
    layout = laid_out((1200, 760), scene_of("rlhf/Driving-v0", Kind.COMPARISON, 2))
    assert layout.intent_at(Kind.COMPARISON, layout.clips[0].center) == Intent(Action.LEFT)
    assert layout.intent_at(Kind.RANKING, layout.captions[1].center) == Intent(Action.PLACE, 1)
    assert layout.intent_at(Kind.COMPARISON, layout.chips[3].center) == Intent(Action.REASON, 3)
    assert layout.intent_at(Kind.COMPARISON, (2, 2)) is None


def test_a_text_is_cut_only_where_it_has_to_be() -> None:
    def measure(text: str, size: float) -> float:
        return len(text) * size

    assert wrap("one two three four", 1, 9, measure, 3) == ("one two", "three", "four")
    assert wrap("one two three four", 1, 9, measure, 2) == ("one two", "three fo…")
    assert shorten("four", 1, 4, measure) == "four"
