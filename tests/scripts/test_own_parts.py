"""A training run whose wrapper, annotator and learner are a user's own."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.config import read_config
from rlhf_envs.environment import WrapperRef
from rlhf_envs.feedback.annotators import Clip
from rlhf_envs.learners import LEARNERS, Learner, find_learner
from rlhf_envs.runs import RunDirectory
from scripts import train

HERE = "tests.scripts.test_own_parts"
OWN = ["--env", "Pendulum-v1", "--wrapper", f'{HERE}:Scaled {{"by": 0.5}}', "--feedback", f"{HERE}:prefer_slower"]
OWN += ["--learner", f"{HERE}:A2CLearner", "--learner.num-envs", "4", "--horizon", "50", "--answers", "8"]
OWN += ["--held-out-share", "0.25", "--segment-length", "6", "--ensemble.hidden", "8", "--fit.steps", "10"]
OWN += ["--timesteps", "512", "--evaluation-episodes", "2", "--checkpoint-seconds", "0"]


class Scaled(gym.ObservationWrapper[Any, Any, Any]):
    """Observations times a number."""

    def __init__(self, env: gym.Env[Any, Any], by: float) -> None:
        super().__init__(env)
        space: Any = env.observation_space
        self.observation_space = gym.spaces.Box(by * space.low, by * space.high, dtype=np.float32)
        self.by = by

    def observation(self, observation: Any) -> Any:
        return (self.by * observation).astype(np.float32)


def prefer_slower(left: Clip, right: Clip) -> str:
    """Whichever moves less, by its last observation."""
    speeds = [abs(float(np.asarray(clip.observations)[:, 2].mean())) for clip in (left, right)]
    return "left" if speeds[0] < speeds[1] else "right"


@dataclass(frozen=True)
class A2CConfig:
    """Settings of A2C.

    Attributes:
        num_envs: copies.
        n_steps: of a rollout.
        hidden: units of the layers.
    """

    num_envs: int = 8
    n_steps: int = 16
    hidden: tuple[int, ...] = (8,)


class A2CLearner(Learner[A2CConfig]):
    settings_class = A2CConfig

    def build(self, env: VecEnv, settings: A2CConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        policy = {"net_arch": list(settings.hidden)}
        return A2C("MlpPolicy", env, n_steps=settings.n_steps, policy_kwargs=policy, seed=seed, device=device)


class Undecided(Learner[Any]):
    """Has no settings."""

    def build(self, env: VecEnv, settings: Any, seed: int, device: str = "cpu") -> BaseAlgorithm:
        return DQN("MlpPolicy", env)


def test_a_run_uses_them_can_be_resumed_and_its_policy_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory(tmp_path / "run")
    assert train.main(["--run-dir", str(directory.path), *OWN]) == 0
    config = read_config(directory)
    assert config.learner_settings == A2CConfig(num_envs=4)
    assert config.required_environment.wrappers == (WrapperRef(f"{HERE}:Scaled", {"by": 0.5}),)
    with directory.open_store() as store:
        assert store.environment.ref == config.environment
        assert {live.annotator for live in store.live_answers()} == {"prefer_slower"}
    bounds: Any = directory.load_policy().observation_space
    assert bounds.high.tolist() == [0.5, 0.5, 4.0]
    model = directory.load_reward_model()
    assert model is not None and model.encoder.observation_space == bounds
    (directory.path / "policy.zip").unlink()
    assert train.main(["--run-dir", str(directory.path), "--resume", *OWN]) == 0
    assert directory.policy_path.is_file()
    with pytest.raises(SystemExit):
        train.main(["--run-dir", str(directory.path), "--resume", "--wrapper", f"{HERE}:Scaled"])
    assert "was started with wrapper = " in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--wrapper", f"{HERE}:Scaled"], "cannot be used: .* missing 1 required positional argument: 'by'"),
        (["--feedback", f"{HERE}:nobody"], "has no nobody"),
        (["--feedback", "orakle"], "no annotator 'orakle'; did you mean 'oracle'"),
        (["--feedback", f"{HERE}:prefer_slower", "--teacher.beta", "1"], "changes a scripted teacher"),
        (
            ["--feedback", f"{HERE}:prefer_slower", "--kinds", "ranking", "0.3"],
            "annotator prefer_slower answers comparison queries only, but ranking queries are asked",
        ),
        (["--learner", "sacc"], "no learner 'sacc'; did you mean 'sac'"),
        (
            ["--learner", f"{HERE}:Undecided"],
            "needs a settings_class: a dataclass .* num_envs",
        ),
        (["--learner", f"{HERE}:A2CConfig"], "is no learner: it must be an instance of Learner"),
        (["--learner", f"{HERE}:A2CLearner", "--learner.n-steps", "many"], "Error parsing --learner.n-steps"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: list[str], said: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        train.main(["--run-dir", str(run), "--env", "Pendulum-v1", *flags])
    assert not run.exists()
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert re.search(said, text), text


def test_a_learner_is_found_by_object_class_or_name() -> None:
    own = A2CLearner()
    assert find_learner(own) is own
    assert find_learner("ppo") is LEARNERS["ppo"]
    assert isinstance(find_learner(f"{HERE}:A2CLearner"), A2CLearner)
