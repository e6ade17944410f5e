"""A run on the true reward is what the algorithm does without this package, to the last digit."""

import io
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from agents.config import RunConfig, RunOptions
from agents.train import train
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.runs import RunDirectory
from rlhf_envs.wrappers import adapt

COPIES, STEPS, UPDATES, SEED = 4, 128, 5, 3


def plain(id: str, limit: int | None, anneal: bool) -> dict[str, torch.Tensor]:
    """The parameters of a policy that Stable-Baselines3 has trained on its own.

    Gymnasium makes the environment, and Pendulum's torques go from -1 to 1 as in the run.
    """
    env = make_vec_env(lambda: adapt(gym.make(id, max_episode_steps=limit), id), COPIES, SEED)
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=(lambda remaining: 1e-3 * remaining) if anneal else 1e-3,
        n_steps=STEPS,
        batch_size=64,
        n_epochs=3,
        gamma=0.97,
        ent_coef=0.01,
        policy_kwargs={"net_arch": [16]},
        seed=SEED,
        device="cpu",
    )
    model.learn(COPIES * STEPS * UPDATES)
    env.close()
    return dict(model.policy.state_dict())


def ours(folder: Path, environment: EnvironmentRef, anneal: bool) -> dict[str, torch.Tensor]:
    """The parameters of the policy of a run with the same settings."""
    settings = PPOConfig(
        num_envs=COPIES,
        n_steps=STEPS,
        batch_size=64,
        n_epochs=3,
        learning_rate=1e-3,
        anneal=anneal,
        gamma=0.97,
        ent_coef=0.01,
        net_arch=(16,),
    )
    config = RunConfig(
        environment,
        reward="true",
        timesteps=COPIES * STEPS * UPDATES,
        seed=SEED,
        learner_settings=settings,
        run=RunOptions(evaluation_episodes=1),
    )
    directory = RunDirectory(folder / "run")
    directory.create(config.to_json())
    train(config, directory, Console(file=io.StringIO()), report=False)
    with zipfile.ZipFile(directory.policy_path) as archive, archive.open("policy.pth") as file:
        parameters: dict[str, Any] = torch.load(io.BytesIO(file.read()), weights_only=True)
    return parameters


@pytest.mark.parametrize("anneal", [False, True])
@pytest.mark.parametrize(
    "id, limit",
    [
        # Poles fall, so episodes terminate; with the short limit some are cut off before.
        ("CartPole-v1", None),
        ("CartPole-v1", 20),
        ("Pendulum-v1", None),
    ],
)
def test_a_run_on_the_true_reward_trains_the_policy_that_plain_stable_baselines3_does(
    tmp_path: Path, id: str, limit: int | None, anneal: bool
) -> None:
    expected, found = plain(id, limit, anneal), ours(tmp_path, EnvironmentRef(id, horizon=limit), anneal)
    assert expected.keys() == found.keys() and len(expected) > 4
    for name, parameters in expected.items():
        assert torch.equal(parameters, found[name]), name
