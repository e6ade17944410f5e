"""What a run has trained, ready to be used again: its policy and its reward model. Nothing is unpickled."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from stable_baselines3 import PPO

from agents.building import build_environment, build_policy
from agents.configuration import RunConfig
from agents.run_directory import RunDirectory
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.rewards import RewardEnsemble, load


def read_policy_config(directory: RunDirectory) -> RunConfig:
    """The configuration of a run that trains a policy, whether it has finished or not.

    Raises:
        ValueError: if there is no run, its configuration is damaged, or it learns a reward only.
    """
    config = directory.read_config()
    if not config.env:
        raise ValueError(
            f"The run in {directory.path} has learned a reward only and has no policy; --offline trains one too where "
            "--env names an environment."
        )
    return config


def load_policy(directory: RunDirectory) -> PPO:
    """The policy of a run, for acting.

    The model is built from the run's configuration and only its tensors are read from the file, because
    Stable-Baselines3's own loading would run whatever code somebody has put into it.

    Raises:
        ValueError: if the run has no policy, or none yet, or the file is damaged or of other settings than config.json
            says.
    """
    config = read_policy_config(directory)
    if not directory.policy_path.is_file():
        raise ValueError(
            f"The run in {directory.path} has not finished: there is no {directory.policy_path.name} yet; go on with "
            "--resume."
        )
    env = build_environment(_for_acting(config))
    try:
        model = build_policy(_for_acting(config), env)
        model.set_parameters(str(directory.policy_path), device="cpu")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{directory.policy_path} is damaged or does not fit the run's settings: {reason}.") from error
    finally:
        env.close()
    return model


def load_reward_model(directory: RunDirectory) -> RewardEnsemble | None:
    """The reward model of a run; None where the run was trained on the environment's own reward.

    Raises:
        ValueError: if the run has not finished, or the file is damaged.
    """
    if directory.read_config().reward != "learned":
        return None
    if not directory.reward_model_path.is_file():
        raise ValueError(
            f"The run in {directory.path} has not finished: there is no {directory.reward_model_path.name} yet; go on "
            "with --resume."
        )
    return load(directory.reward_model_path)


def _for_acting(config: RunConfig) -> RunConfig:
    """The same policy on a single copy, with nothing recorded but the least that can be."""
    smallest = replace(config.ppo, num_envs=1, n_steps=2, batch_size=2)
    return replace(config, ppo=smallest, labels=replace(config.labels, segment_length=1), processes=False)


def check_can_act(model: PPO, environment: EnvironmentRef) -> None:
    """Refuse an environment whose observation or action space differs from that of the training.

    Raises:
        ValueError: if it does, or cannot be made.
    """
    with closing(environment.make()) as env:
        if (env.observation_space, env.action_space) != (model.observation_space, model.action_space):
            raise ValueError(
                f"With {dict(environment.kwargs)} {environment.id} shows {env.observation_space} and takes "
                f"{env.action_space}; the policy knows {model.observation_space} and {model.action_space}."
            )
