"""Drawing: every mode, size and theme gives a picture, and looking changes nothing."""

from __future__ import annotations

import numpy as np

from rlhf_envs.testing.subject import Subject, require, sample_actions

_SIZES = ((600, 400), (300, 200))
_THEMES = ("light", "dark")


def draws_in_every_size_and_theme(subject: Subject) -> None:
    """`render` gives (height, width, 3) uint8 in every size and theme, and what is drawn moves with the episode."""
    actions = sample_actions(subject, 12, 1, seed=21)[:, 0]
    subject.make_task()
    for width, height in _SIZES:
        for theme in _THEMES:
            env = subject.make_task(render_mode="rgb_array", frame_size=[width, height], theme=theme)
            env.reset(seed=22)
            frames = []
            for action in actions:
                env.step(action)
                frames.append(np.asarray(env.render()))
            for frame in frames:
                require(
                    frame.shape == (height, width, 3) and frame.dtype == np.uint8,
                    f"a {width}x{height} frame in the {theme} theme is no uint8 array of shape ({height}, {width}, 3).",
                )
            still = all(np.array_equal(frames[0], frame) for frame in frames[1:])
            require(not still, f"nothing moves in {len(frames)} frames of the {theme} theme.")
    light, dark = (subject.make_task(render_mode="rgb_array", theme=theme) for theme in _THEMES)
    for env in (light, dark):
        env.reset(seed=22)
    pictures = [np.asarray(env.render()).mean() for env in (light, dark)]
    require(pictures[0] > pictures[1], "the dark theme is not darker than the light one.")


def drawing_changes_nothing(subject: Subject) -> None:
    """The state is the same after drawing, and an episode goes the same way whether or not it is watched."""
    actions = sample_actions(subject, 12, 1, seed=23)[:, 0]
    watched, unwatched = subject.make_task(render_mode="rgb_array"), subject.make_task()
    for env in (watched, unwatched):
        env.reset(seed=24)
    for action in actions:
        before = watched.snapshot()
        picture = watched.render()
        require(np.array_equal(before, watched.snapshot()), "drawing changes the state.")
        require(np.array_equal(np.asarray(picture), np.asarray(watched.render())), "drawing twice gives two pictures.")
        watched.step(action)
        unwatched.step(action)
    require(np.array_equal(watched.snapshot(), unwatched.snapshot()), "an episode goes another way when it is watched.")


def vector_draws_every_copy(subject: Subject) -> None:
    """The vector environment gives one frame per copy, each as the scalar environment would draw it."""
    batch = subject.make_batch(2, render_mode="rgb_array")
    batch.reset(seed=25)
    frames = batch.render()
    require(frames is not None and len(frames) == 2, "the vector environment does not draw every copy.")
    single = subject.make_task(render_mode="rgb_array")
    single.reset(seed=26)
    require(
        frames is not None and np.array_equal(frames[1], np.asarray(single.render())), "row 1 is drawn in another way."
    )
