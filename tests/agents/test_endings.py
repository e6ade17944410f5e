"""A run leaves its policy, figures and report, whatever the environment and the final policy do once it has ended."""

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.evaluation.episodes import FIRST_SEED
from rlhf_envs.evaluation.measurements import Measurements
from rlhf_envs.runs import RunDirectory
from scripts import train
from tests.scripts.settings import TINY

LIMIT, BRIEF, SEGMENT = 100, 7, 50


class Brief(gym.Env[Any, Any]):
    """Pays for action 1.

    Args:
        ends: how an episode ends after 7 steps, long before the limit it is registered with: "terminated", "truncated".
        fails: what raises an exception once training is over: "reset", "step", "render", or nothing.
        constant: whether every step pays 1.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space, action_space = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)

    def __init__(
        self, ends: str = "terminated", fails: str = "", constant: bool = False, render_mode: str | None = None
    ) -> None:
        self.ends, self.fails, self.constant, self.render_mode = ends, fails, constant, render_mode
        self.trained = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.trained = 0, self.trained or (seed is not None and seed >= FIRST_SEED)
        self._fail("reset")
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self._fail("step")
        over = self.steps == BRIEF
        reward = 1.0 if self.constant else float(action)
        return self._observation(), reward, over and self.ends == "terminated", over and self.ends == "truncated", {}

    def render(self) -> Any:
        self._fail("render")
        return np.full((40, 60, 3), 20 * self.steps, np.uint8)

    def _observation(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def _fail(self, where: str) -> None:
        if self.trained and self.fails == where:
            raise LookupError(f"the licence of this {where} has run out")


gym.register("test/Brief-v0", entry_point=Brief, max_episode_steps=LIMIT)


def run(folder: Path, *arguments: str, **kwargs: Any) -> tuple[RunDirectory, dict[str, Any], str]:
    """A finished run; its figures, and its report."""
    words = ["--env", "test/Brief-v0", "--env-kwargs", json.dumps(kwargs), *TINY, "--segment-length", str(SEGMENT)]
    assert train.main(["--run-dir", str(folder / "run"), *words, *arguments]) == 0
    directory = RunDirectory(folder / "run")
    assert directory.policy_path.is_file()
    return directory, directory.read_metrics(), " ".join(directory.report_path.read_text(encoding="utf-8").split())


def test_episodes_far_shorter_than_a_segment_are_measured_like_any_others(tmp_path: Path) -> None:
    directory, metrics, report = run(tmp_path)
    assert "not_measured" not in metrics and "What is missing" not in report
    assert metrics["answers"] == 8 and directory.reward_model_path.is_file()
    assert 0 <= metrics["true_return_mean"] <= BRIEF and -1 <= metrics["reward_correlation"] <= 1
    assert "<video" in report and "What it asked" in report


def test_where_no_segment_could_be_shown_there_is_no_reward_model_but_all_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, metrics, report = run(tmp_path, ends="truncated")
    assert list(metrics["not_measured"]) == ["the reward model"] and not directory.reward_model_path.exists()
    assert metrics["answers"] == metrics["labels"] == 0 and metrics["test_accuracy"] is None
    assert metrics["true_return_mean"] is not None and "<video" in report
    sentence = f"The reward model is missing: Nothing was asked, so nothing was learned: no segment of {SEGMENT} steps"
    assert sentence in report and "The reward model</h2>" not in report
    assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("reward", ["learned", "true"])
@pytest.mark.parametrize("fails", ["reset", "step"])
def test_an_environment_that_fails_after_training_leaves_what_was_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: str, reward: str
) -> None:
    directory, metrics, report = run(tmp_path, "--reward", reward, fails=fails)
    assert directory.reward_model_path.is_file() == (reward == "learned")
    measured = {"the policy's return", "the return of other policies"}
    if reward == "learned":
        measured.add("the correlation of learned and true reward")
        assert metrics["test_accuracy"] is not None and metrics["labels"] == 6
    assert set(metrics["not_measured"]) == measured
    assert metrics["true_return_mean"] is None and "random_return_mean" not in metrics
    said = " ".join(capsys.readouterr().err.split())
    fault = rf"test/Brief-v0 raised LookupError in {fails}\(\)[^:<]*: the licence of this {fails} has run out"
    for text in (report.replace("&#39;", "'"), said):
        assert re.search(f"The policy's return is missing: {fault}", text)
    assert re.search(f"There is no film: {fault}", report)
    assert "Trained for 256 steps" in said


def test_an_environment_that_cannot_be_drawn_leaves_a_report_without_a_film(tmp_path: Path) -> None:
    _, metrics, report = run(tmp_path, fails="render")
    assert "not_measured" not in metrics and "There is no film: " in report
    assert "the licence of this render has run out" in report


def test_a_correlation_with_a_constant_reward_is_said_not_to_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, metrics, report = run(tmp_path, constant=True)
    assert metrics["reward_correlation"] is None
    said = " ".join(capsys.readouterr().err.split())
    for text in (report, said):
        assert "of learned and true reward is missing: the true reward is the same in all steps." in text
    assert "nan" not in said


def test_a_measurement_that_succeeds_later_is_no_longer_missing() -> None:
    measurements = Measurements({"the film": "no screen", "the return": "no steps"})
    assert measurements.take("the film", lambda: 3) == 3
    assert measurements.missing == {"the return": "no steps"}
    assert measurements.take("the film", lambda: int("three")) is None
    assert measurements.sentences() == [
        "The return is missing: no steps.",
        "The film is missing: invalid literal for int() with base 10: 'three'.",
    ]
