"""From a configuration to the parts of a run: environment, policy, and who rewards it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO

from agents.configuration import RunConfig
from agents.extractors import reading
from agents.given_answers import check_answers_fit
from agents.offline import ask_nothing, open_answers
from agents.presets import PPOConfig
from agents.run_directory import RunDirectory
from rlhf_envs.demonstrations import Demonstrations, resolve
from rlhf_envs.demonstrations.sources import EXPERT
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.registration import is_native
from rlhf_envs.feedback import PreferenceStore, ScriptedTeacher, StoreMissingError
from rlhf_envs.feedback.annotators.demonstrator import Demonstrator
from rlhf_envs.loop import RoundReport
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.sb3 import (
    EnvironmentRewardCallback,
    PreferenceCallback,
    PreferenceVecEnv,
    ScoringCallback,
    make_vec_env,
)

_EXPERT_EPISODES = 10

_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


def environment_arguments(config: RunConfig) -> dict[str, Any]:
    """The environment's arguments, with the objective that the run trains on.

    Raises:
        ValueError: if the proxy is wanted of an environment that has none, or the objective is given in another way.
    """
    if "objective" in config.env_kwargs:
        raise ValueError("Leave objective out of --env-kwargs; --reward true or --reward proxy says what is paid.")
    if config.reward != "proxy":
        return config.env_kwargs
    if not is_native(config.env):
        raise ValueError(f"{config.env} has no proxy reward; only the suite's own environments do.")
    return {**config.env_kwargs, "objective": "proxy"}


def build_environment(config: RunConfig) -> PreferenceVecEnv:
    """The environment that the policy trains on.

    Raises:
        ValueError: if there is no such environment, or it does not take these arguments.
    """
    ref = EnvironmentRef(config.env, environment_arguments(config), (), config.horizon, config.on_termination)
    return make_vec_env(
        ref,
        config.ppo.num_envs,
        config.seed,
        processes=config.processes,
        capacity_steps=max(config.ppo.n_steps, 4 * config.labels.segment_length),
        frames=config.asks_people,
    )


def check_settings(config: RunConfig) -> None:
    """Find out whether a run can be built from its configuration, on two copies of the environment.

    Raises:
        ValueError: if there is no such environment, it does not take these arguments, its spaces are not supported,
            segments do not fit its episodes, or the demonstrations do not fit it.
    """
    try:
        _try_settings(config)
    except (AssertionError, KeyError, TypeError, gym.error.Error) as error:
        # Stable-Baselines3 and other people's environments refuse arguments with whatever they like.
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{config.env} cannot be trained on with these settings: {reason}.") from error


def _try_settings(config: RunConfig) -> None:
    copies = min(config.ppo.num_envs, 2)
    # PPO refuses batches of a single step, which one copy would have if a batch were one step of each.
    ppo = replace(config.ppo, num_envs=copies, n_steps=2, batch_size=2)
    small = replace(config, ppo=ppo, processes=False)
    env = build_environment(small)
    try:
        ensemble = RewardEnsemble(env.observation_space, env.action_space, config.ensemble, config.seed)
        if config.offline is not None:
            check_answers_fit(config, ensemble.encoder)
        if config.reward == "learned":
            config.labels.check_fits(env.horizon, config.ppo.num_envs)
        build_policy(small, env)
        if config.pretrain > 0:
            # An expert can act as many episodes as are wanted; whether a file has enough shows only when it is read.
            count = 1 if config.demonstrations == EXPERT else config.pretrain
            found = resolve(config.demonstrations, EnvironmentRef(config.env, config.env_kwargs), count, config.seed)
            found.check_fits(ensemble.encoder.observation_space, ensemble.encoder.action_space)
        if preferred := _preferred_demonstrations(config):
            preferred.check_fits(ensemble.encoder.observation_space, ensemble.encoder.action_space)
            Demonstrator(preferred, config.labels.segment_length)
    finally:
        env.close()


def build_policy(config: RunConfig, env: PreferenceVecEnv) -> PPO:
    """PPO with the run's settings on the processor."""
    ppo = config.ppo
    policy, extractor = reading(env.observation_space)
    return PPO(
        policy,
        env,
        learning_rate=_falling(ppo.learning_rate) if ppo.anneal else ppo.learning_rate,
        n_steps=ppo.n_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.ent_coef,
        vf_coef=ppo.vf_coef,
        max_grad_norm=ppo.max_grad_norm,
        use_sde=ppo.use_sde,
        policy_kwargs={**_policy_arguments(ppo), **extractor},
        seed=config.seed,
        device="cpu",
    )


def build_scoring(
    config: RunConfig,
    directory: RunDirectory,
    env: PreferenceVecEnv,
    on_round: Callable[[RoundReport], None],
    on_wait: Callable[[str], None],
    resume: bool = False,
) -> ScoringCallback:
    """What fills in the rewards of a rollout: the learned reward, or as a baseline the environment's."""
    if config.reward != "learned":
        return EnvironmentRewardCallback(env)
    teacher = config.teacher_config()
    callback = PreferenceCallback(
        env,
        open_store(config, directory, resume),
        config.labels,
        None if teacher is None else ScriptedTeacher(teacher, config.feedback),
        RewardEnsemble(env.observation_space, env.action_space, config.ensemble, config.seed),
        config.seed,
        on_round,
        on_wait,
        config.fit,
        _preferred_demonstrations(config),
    )
    if config.offline is not None:
        ask_nothing(callback.loop)
    return callback


def _preferred_demonstrations(config: RunConfig) -> Demonstrations | None:
    """What is preferred over the agent's segments: all of a source, or a few episodes of a scripted expert."""
    if config.labels.demonstrated == 0 or config.reward != "learned":
        return None
    episodes = _EXPERT_EPISODES if config.demonstrations == EXPERT else None
    return resolve(config.demonstrations, EnvironmentRef(config.env, config.env_kwargs), episodes, config.seed)


def open_store(config: RunConfig, directory: RunDirectory, resume: bool = False) -> PreferenceStore:
    """The run's store: a new one, or with `resume` the one that it had, if it came so far as to make one.

    Raises:
        StoreError: if it is damaged, locked, or of a newer version; if a new run names a place that holds one; or if
            it is missing from a run that had one.
    """
    if config.offline is not None:
        return open_answers(config, directory)
    place = directory.store_place(config)
    if resume:
        try:
            return PreferenceStore.open(place)
        except StoreMissingError:
            if directory.has_checkpoint:
                raise
    about = {
        "id": config.env,
        "kwargs": config.env_kwargs,
        "segment_length": config.labels.segment_length,
        "horizon": config.horizon,
        "on_termination": config.on_termination,
        **config.labels.words(),
    }
    return PreferenceStore.create(place, environment=about)


def _falling(start: float) -> Callable[[float], float]:
    def learning_rate(progress_remaining: float) -> float:
        return start * progress_remaining

    return learning_rate


def _policy_arguments(ppo: PPOConfig) -> dict[str, Any]:
    return {
        "net_arch": list(ppo.net_arch),
        "activation_fn": _ACTIVATIONS[ppo.activation],
        "log_std_init": ppo.log_std_init,
    }
