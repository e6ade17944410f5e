"""Text can be read, and good and bad can be told apart: by everybody, in both themes, at the size of a clip."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
from numpy.typing import NDArray

from rlhf_envs.envs.canvas import Canvas
from rlhf_envs.envs.overlay.drawing import OBJECT_MARGIN, PER_DEGREE, VIEW
from rlhf_envs.envs.palette import LEAST_CONTRAST, LIGHT, THEMES, Color, contrast, text_colors
from rlhf_envs.envs.registration import ENVIRONMENTS, register_environments
from tests.envs.drawn import Drawn

register_environments()

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
"""Of linear red, green and blue (Machado, Oliveira & Fernandes 2009, "A physiologically-based model for simulation of
color vision deficiency", IEEE Transactions on Visualization and Computer Graphics 15, severity 1)."""

SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])


def linear(color: Color) -> NDArray[np.float64]:
    """Linear red, green and blue, (3,), of a colour."""
    share = np.array(color) / 255.0
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def difference(first: Color, second: Color, vision: NDArray[np.float64]) -> float:
    """CIE 1976 distance of two colours as they are seen; 2.3 is just noticeable."""
    seen = []
    for color in (first, second):
        xyz = SRGB_TO_XYZ @ np.clip(vision @ linear(color), 0.0, 1.0) / WHITE
        root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        seen.append(np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])]))
    return float(np.linalg.norm(seen[0] - seen[1]))


@pytest.mark.parametrize("theme", THEMES)
def test_text_stands_out_from_what_it_is_drawn_on(theme: str) -> None:
    colors = THEMES[theme]
    shades = text_colors(colors)
    for color in (colors.ink, colors.muted, *shades.values()):
        for ground in (colors.background, colors.surface, colors.surface_strong):
            assert contrast(color, ground) >= LEAST_CONTRAST, (color, ground)
    # Each stays a colour of its own.
    assert len(set(shades.values())) == len(shades) == 4 + len(colors.others)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA], ids=["trichromat", "deuteranope"])
def test_good_and_bad_are_different_colours_for_everybody(theme: str, vision: NDArray[np.float64]) -> None:
    colors = THEMES[theme]
    for first, second in (("good", "bad"), ("good", "warning"), ("warning", "bad"), ("accent", "bad")):
        assert difference(getattr(colors, first), getattr(colors, second), vision) > 20, (first, second)


def test_a_deuteranope_does_not_see_what_only_red_and_green_tell_apart() -> None:
    red, green = (200, 60, 40), (106, 121, 40)
    assert difference(red, green, np.eye(3)) > 60
    assert difference(red, green, DEUTERANOPIA) < 20


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_text_of_a_picture_can_be_read(name: str, theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faint: dict[tuple[str, Color, Color], float] = {}
    draw = Canvas.text

    def text(canvas: Canvas, x: float, y: float, words: str, color: Color, *style: Any, **named: Any) -> None:
        before = canvas._target.copy()
        draw(canvas, x, y, words, color, *style, **named)
        color = text_colors(canvas.colors).get(color, color)
        if words:
            ground = ground_of(before, canvas._target)
            if ground is not None and contrast(color, ground) < LEAST_CONTRAST:
                faint[words, color, ground] = contrast(color, ground)

    monkeypatch.setattr(Canvas, "text", text)
    env = gym.make_vec(name, num_envs=1, render_mode="rgb_array", theme=theme, frame_size=(300, 200))
    env.reset(seed=2)
    rng = np.random.default_rng(0)
    for step in range(60):
        action = getattr(env, "expert_action" if step % 40 < 25 else "proxy_action")() if rng.random() < 0.8 else None
        env.step(env.action_space.sample() if action is None else action)
        if step % 3 == 0:
            env.render()
    # A label before the glare is meant to be hard to read: that is what is judged.
    readable = {text: ratio for text, ratio in faint.items() if name != "rlhf/Overlay-v1"}
    assert not readable, readable


def ground_of(before: pygame.Surface, after: pygame.Surface) -> Color | None:
    """The colour that was beneath most of what has just been drawn; None where nothing was."""
    old, new = (pygame.surfarray.array3d(each) for each in (before, after))
    drawn = (old != new).any(axis=2)
    if not drawn.any():
        return None
    colors, counts = np.unique(old[drawn], axis=0, return_counts=True)
    red, green, blue = colors[counts.argmax()].tolist()
    return red, green, blue


def test_letters_are_as_far_apart_wherever_they_stand() -> None:
    """The width of a word is that of its letters: no letter is moved to a whole pixel."""
    canvas = Canvas(300, 200)
    for letter in "aeimnrst":
        one, many = canvas.text_width(letter, 12), canvas.text_width(letter * 20, 12)
        assert many == pytest.approx(20 * one, rel=0.05)
    assert canvas.text_width("", 12) == 0


@pytest.mark.parametrize("size", [(600, 400), (300, 200)])
def test_texts_on_a_ground_look_as_if_written_one_by_one(size: tuple[int, int]) -> None:
    written, blitted = Canvas(*size), Canvas(*size)
    ground, colors = written.colors.surface, written.colors
    places = [
        (40.4, 58.0, "pillow", colors.ink),
        (131.7, 58.0, "fight", colors.muted),
        (40.4, 96.3, "ago", colors.good),
    ]
    for canvas in (written, blitted):
        canvas.surface.fill(ground)
    for _ in range(2):
        blitted.texts_on(ground, places, 30)
    for x, y, words, color in places:
        written.text(x, y, words, color, 30)
    assert (written.pixels() != np.array(ground)).any()
    np.testing.assert_array_equal(blitted.pixels(), written.pixels())


def drawn(name: str, **fields: Any) -> Drawn:
    """What is drawn of an environment with these fields of its state changed."""
    env: Any = gym.make_vec(name, num_envs=1).unwrapped
    env.reset(seed=3)
    for field, value in fields.items():
        setattr(env.simulation.state, field, value)
    canvas = Drawn()
    env.task.draw(env.simulation.state.row(0), canvas)
    return canvas


@pytest.mark.parametrize(("metres", "marks"), [(60.0, []), (22.0, ["!"]), (8.0, ["!!"])])
def test_too_little_room_on_the_road_is_marked_by_a_sign_besides_its_colour(metres: float, marks: list[str]) -> None:
    gaps = np.array([[65.0, metres, 65.0], [32.0, 32.0, 32.0]])[..., None]
    frame = drawn("rlhf/Driving-v1", speed=20.0, gaps=gaps)
    assert [text.words for text in frame.texts if set(text.words) == {"!"}] == marks


@pytest.mark.parametrize(("metres", "stretches"), [(32.0, 1), (6.0, 2)])
def test_room_behind_is_drawn_only_where_a_car_is_behind(metres: float, stretches: int) -> None:
    # So slow that a car at the limit would need all the room that is in sight.
    gaps = np.array([[65.0, 65.0, 65.0], [32.0, metres, 32.0]])[..., None]
    frame = drawn("rlhf/Driving-v1", speed=5.0, gaps=gaps)
    assert sum(kind == "polygon" for kind, _ in frame.shapes) == stretches


@pytest.mark.parametrize(("strain", "lines"), [(0.6, 0), (1.2, 2)])
def test_a_ball_out_of_reach_is_marked_by_a_cross_besides_its_colour(strain: float, lines: int) -> None:
    frame = drawn("rlhf/Rival-v1", direction=-1.0, pause=0.0, strain=strain, left=5.0)
    assert len(frame.lines) == lines


def test_an_object_that_a_label_hides_has_a_closed_frame_and_not_only_another_colour() -> None:
    env: Any = gym.make_vec("rlhf/Overlay-v1", num_envs=1, render_mode="rgb_array").unwrapped
    env.reset(seed=3)
    state = env.simulation.state
    closed = []
    for distance in (6.0, 0.0):
        state.seen[1:4] = np.array([[-13.0, 0.0], [0.0, 4.0], [13.0, 0.0]])[..., None]
        state.labels[:3] = state.seen[1:4] + np.array([[0.0], [distance]])
        # The middle of the upper edge, where brackets leave a gap and a frame does not.
        x = VIEW[0] + VIEW[2] / 2 + PER_DEGREE * float(state.seen[1, 0, 0])
        half = env.task.scenery.halves[0][1]
        y = VIEW[1] + VIEW[3] / 2 + PER_DEGREE * (float(state.seen[1, 1, 0]) - half) - OBJECT_MARGIN
        above = env.render()[0][round(y) - 2 : round(y) + 6, round(x)]
        closed.append(bool((above == LIGHT.bad).all(axis=1).any()))
    assert closed == [False, True]
