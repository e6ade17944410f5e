"""How many steps clips have, by the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from rlhf_envs.environment import EnvironmentRef, WrapperRef
from rlhf_envs.loop import FeedbackConfig, clip_length, frame_rate
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


class Rated(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that says another rate, or none."""

    def __init__(self, env: gym.Env[Any, Any], fps: Any = None, dt: Any = None) -> None:
        super().__init__(env)
        env.unwrapped.metadata = {**env.unwrapped.metadata, "render_fps": fps}
        env.unwrapped.dt = dt  # type: ignore[attr-defined]


def rated(horizon: int = 500, **rate: Any) -> EnvironmentRef:
    return EnvironmentRef("CartPole-v1", wrappers=(WrapperRef(f"{__name__}:Rated", rate),), horizon=horizon)


@pytest.mark.parametrize(
    ("id", "steps"),
    [("CartPole-v1", 60), ("Pendulum-v1", 45), ("Acrobot-v1", 22), ("MountainCarContinuous-v0", 45)],
)
def test_clips_of_the_usual_tasks_last_about_one_and_a_half_seconds(id: str, steps: int) -> None:
    assert clip_length(EnvironmentRef(id)).steps == steps


@pytest.mark.parametrize("id", ["rlhf/Rival-v0", "rlhf/Support-v0"])
def test_clips_of_the_suite_have_15_steps_unless_seconds_are_asked_for(id: str) -> None:
    assert clip_length(EnvironmentRef(id)).steps == 15
    assert clip_length(EnvironmentRef("rlhf/Rival-v0"), 3).steps == 36


@pytest.mark.parametrize(
    ("rate", "horizon", "steps"),
    [
        ({"fps": 125}, 1000, 60),
        ({"fps": 125}, 100, 25),
        ({"fps": 2}, 1000, 15),
        ({"fps": 30}, 12, 5),
        ({"fps": 30}, 3, 3),
        ({"dt": 0.05}, 1000, 30),
    ],
)
def test_clips_have_as_many_steps_as_can_be_learned_from(rate: dict[str, Any], horizon: int, steps: int) -> None:
    assert clip_length(rated(horizon, **rate)).steps == steps


@pytest.mark.parametrize("fps", [None, 0, -3, "fast", float("nan"), float("inf"), [30]])
def test_an_environment_that_does_not_say_its_rate_is_told_of(fps: Any) -> None:
    length = clip_length(rated(fps=fps))
    assert frame_rate(rated(fps=fps)) is None and length.steps == 22
    assert "CartPole-v1 does not say how many steps a second" in str(length) and "--segment-length" in str(length)


def test_asked_for_seconds_are_kept_up_to_a_whole_episode() -> None:
    cartpole = EnvironmentRef("CartPole-v1")
    assert clip_length(cartpole, 3).steps == 150
    assert clip_length(cartpole, 100).steps == 500
    assert clip_length(cartpole, 0.001).steps == 1
    assert "150 steps and last 3 s, at the 50 steps a second" in str(clip_length(cartpole, 3))


def test_a_given_number_of_steps_goes_before_seconds() -> None:
    cartpole = EnvironmentRef("CartPole-v1")
    assert FeedbackConfig(clip_seconds=2, segment_length=7).for_environment(cartpole).steps == 7
    assert FeedbackConfig(clip_seconds=0.5).for_environment(cartpole).steps == 25
    with pytest.raises(ValueError, match="Set segment_length"):
        _ = FeedbackConfig().steps
    with pytest.raises(ValueError, match="clip_seconds must be positive and finite, not 0"):
        FeedbackConfig(clip_seconds=0)


def test_a_callback_finds_out_how_long_clips_should_be(tmp_path: Path) -> None:
    env = make_vec_env("Acrobot-v1", num_envs=2)
    callback = PreferenceCallback(env, tmp_path / "feedback.db", FeedbackConfig(answers=4))
    assert callback.loop.config.steps == callback.loop.store.environment.segment_length == 22
    callback.close()
    env.close()
