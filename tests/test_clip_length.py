"""How many steps clips have, by the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO

from rlhf_envs.environment import EnvironmentRef, WrapperRef
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.loop import FeedbackConfig, RoundReport, clip_length, frame_rate
from rlhf_envs.loop.clip_length import about_answers
from rlhf_envs.queries import AccuracySource, Choice
from rlhf_envs.rewards.metrics import PreferenceMetrics, preference_metrics
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


@pytest.mark.parametrize("id", ["rlhf/Rival-v1", "rlhf/Support-v1"])
def test_clips_of_the_suite_have_15_steps_unless_seconds_are_asked_for(id: str) -> None:
    assert clip_length(EnvironmentRef(id)).steps == 15
    assert clip_length(EnvironmentRef("rlhf/Rival-v1"), 3).steps == 36


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


@pytest.mark.parametrize(("fps", "short"), [(125, True), (50, False)])
def test_where_a_clip_is_too_short_for_people_it_is_said_what_helps(fps: float, short: bool) -> None:
    said = str(clip_length(rated(1000, fps=fps)))
    assert said.startswith(f"Clips have 60 steps and last {60 / fps:.2g} s")
    assert ("--clip-seconds 1.5" in said) is short


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


LEFT, TIE, SKIP = Choice.LEFT, Choice.TIE, Choice.SKIP


def predicted(right: int, decided: int) -> PreferenceMetrics:
    labels = np.ones(decided)
    return preference_metrics(np.where(np.arange(decided) < right, 0.9, 0.1), labels)


@pytest.mark.parametrize(
    ("choices", "right", "decided", "said"),
    [
        ([TIE] * 30, 0, 0, "All 30 answers are ties or skips"),
        ([TIE, SKIP] * 10, 0, 0, "All 20 answers are ties or skips"),
        ([TIE] * 3, 0, 0, None),
        ([TIE] * 30 + [LEFT], 0, 0, None),
        ([None] * 30, 0, 0, None),
        ([LEFT] * 200, 16, 39, "41% of 39 held-out answers predicted: no better than by chance."),
        ([LEFT] * 200, 24, 39, None),
        ([LEFT] * 20, 2, 5, None),
    ],
)
def test_answers_that_show_too_little_are_told_of(
    choices: list[Choice | None], right: int, decided: int, said: str | None
) -> None:
    sentence = about_answers(choices, predicted(right, decided), AccuracySource.HELD_OUT, 22)
    assert (sentence is None) if said is None else (sentence or "").startswith(said)
    assert sentence is None or "--clip-seconds, or --segment-length, now 22 steps" in sentence


def test_out_of_fold_more_answers_are_needed_to_say_so_because_those_asked_are_hard() -> None:
    for decided, said in ((39, None), (40, "48% of 40 comparisons predicted out of fold: no better than by chance.")):
        sentence = about_answers([LEFT] * 50, predicted(19, decided), AccuracySource.OUT_OF_FOLD, 22)
        assert (sentence is None) if said is None else (sentence or "").startswith(said)


def test_a_run_says_what_keeps_it_from_learning_where_everybody_looks(tmp_path: Path) -> None:
    env = make_vec_env("Acrobot-v1", num_envs=4)
    reports: list[RoundReport] = []
    feedback = FeedbackConfig(answers=40, segment_length=5)
    callback = PreferenceCallback(env, tmp_path / "feedback.db", feedback, on_round=reports.append)
    PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=1, device="cpu").learn(256, callback=callback)
    [said] = reports[-1].concerns
    assert said.startswith("All ") and "ties or skips" in said
    assert callback.loop.store.statuses()[TRAINING].value["concerns"] == [said]
    callback.close()
    env.close()


def test_a_callback_finds_out_how_long_clips_should_be(tmp_path: Path) -> None:
    env = make_vec_env("Acrobot-v1", num_envs=2)
    callback = PreferenceCallback(env, tmp_path / "feedback.db", FeedbackConfig(answers=4))
    assert callback.loop.config.steps == callback.loop.store.environment.segment_length == 22
    callback.close()
    env.close()
