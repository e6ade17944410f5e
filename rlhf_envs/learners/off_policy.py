"""Learners with a replay buffer: SAC, TD3 and DQN, and TQC from sb3-contrib."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
    VectorizedActionNoise,
)
from stable_baselines3.common.vec_env import VecEnv

from rlhf_envs.learners.learner import FOR_BOX, FOR_DISCRETE, NamedLearner
from rlhf_envs.learners.settings import LearnerConfig
from rlhf_envs.observations import space_parts

_SMALL_BUFFER = {"buffer_size": 4}


@dataclass(frozen=True)
class OffPolicyConfig(LearnerConfig):
    """Settings of algorithms with a replay buffer.

    Attributes:
        buffer_size: transitions that are kept, over all copies.
        learning_starts: environment steps, over all copies, with random actions, before the first gradient step.
        batch_size: transitions in a mini-batch.
        tau: how far the target networks move towards the others in an update, as a share.
        train_freq: steps of every copy, or episodes, between two times of learning.
        train_unit: whether that counts steps or episodes; the latter only with a single copy.
        gradient_steps: each time; as many as there were steps of every copy where -1.
        n_steps: steps whose rewards a target sums up before it goes on with the value function.
    """

    learning_rate: float = 3e-4
    net_arch: tuple[int, ...] = (256, 256)
    activation: Literal["tanh", "relu", "gelu", "elu"] = "relu"
    buffer_size: int = 1_000_000
    learning_starts: int = 100
    batch_size: int = 256
    tau: float = 0.005
    train_freq: int = 1
    train_unit: Literal["step", "episode"] = "step"
    gradient_steps: int = 1
    n_steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(buffer_size=1, learning_starts=0, batch_size=1, train_freq=1, gradient_steps=-1, n_steps=1)
        self.check_shares("tau")
        if self.train_unit == "episode" and self.num_envs > 1:
            raise ValueError(f"train_unit=episode needs a single copy of the environment, not {self.num_envs}.")

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those that these algorithms have in common."""
        own = self.taken("buffer_size", "learning_starts", "batch_size", "tau", "gradient_steps", "n_steps")
        return {**super().arguments(env), **own, "train_freq": (self.train_freq, self.train_unit)}


def check_memory(settings: OffPolicyConfig, observation_space: spaces.Space[Any], timesteps: int) -> None:
    """Refuse a replay buffer that this machine has no memory for, which would show only when it has filled up.

    Args:
        settings: of the learner.
        observation_space: of the environment.
        timesteps: of the training; a buffer is never fuller than that.

    Raises:
        ValueError: if the observations, each of which is held twice, take more than nine tenths of the memory.
    """
    parts = space_parts(observation_space).values()
    step = 2 * sum(int(np.prod(part.shape or (1,))) * np.dtype(part.dtype or np.int64).itemsize for part in parts)
    memory = int(0.9 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if min(settings.buffer_size, timesteps) * step > memory:
        raise ValueError(
            f"A replay buffer of {min(settings.buffer_size, timesteps):,} transitions takes "
            f"{min(settings.buffer_size, timesteps) * step / 2**30:.0f} GiB, and this machine has "
            f"{memory / 0.9 / 2**30:.0f}; --learner.buffer-size {memory // step} is the most that fits, and smaller "
            "pictures need less."
        )


@dataclass(frozen=True)
class SACConfig(OffPolicyConfig):
    """Settings of SAC.

    Attributes:
        ent_coef: weight of the entropy: a number, or "auto" to learn it, "auto_0.1" beginning with 0.1.
        target_update_interval: gradient steps between two updates of the target networks.
        n_critics: value functions, of which the most cautious counts.
        log_std_init: how widely the policy explores at the start with `use_sde` (logarithm of the deviation).
        use_sde: explore with state-dependent noise.
        sde_sample_freq: steps between two draws of that noise; once a rollout where -1.
        use_sde_at_warmup: whether that noise takes the place of random actions before learning starts.
        use_expln: whether the deviation of that noise grows slowly where it is large.
    """

    ent_coef: str = "auto"
    target_update_interval: int = 1
    n_critics: int = 2
    log_std_init: float = -3.0
    use_sde: bool = False
    sde_sample_freq: int = -1
    use_sde_at_warmup: bool = False
    use_expln: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(target_update_interval=1, n_critics=1, sde_sample_freq=-1)
        self.entropy_coefficient()

    def entropy_coefficient(self) -> str | float:
        """`ent_coef` as Stable-Baselines3 takes it.

        Raises:
            ValueError: if it is of another form.
        """
        word, _, start = self.ent_coef.partition("_")
        number = start if word == "auto" else self.ent_coef
        try:
            valid = self.ent_coef == "auto" or 0 < float(number) < math.inf
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f'ent_coef must be "auto", "auto_0.1" or a number above 0, not {self.ent_coef!r}.')
        return self.ent_coef if word == "auto" else float(number)

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of SAC."""
        arguments = super().arguments(env)
        arguments["policy_kwargs"] |= self.taken("n_critics", "log_std_init", "use_expln")
        own = self.taken("target_update_interval", "use_sde", "sde_sample_freq", "use_sde_at_warmup")
        return {**arguments, **own, "ent_coef": self.entropy_coefficient()}


class SACLearner(NamedLearner[SACConfig]):
    """Soft actor-critic (Haarnoja et al. 2018), from Stable-Baselines3."""

    settings_class = SACConfig
    name = "sac"
    algorithm = SAC
    trial = _SMALL_BUFFER
    actions = (spaces.Box,)
    others = FOR_DISCRETE


@dataclass(frozen=True)
class TQCConfig(SACConfig):
    """Settings of TQC.

    Attributes:
        n_quantiles: of the distribution of returns that each value function predicts.
        top_quantiles_to_drop_per_net: of these, against overestimation.
    """

    n_quantiles: int = 25
    top_quantiles_to_drop_per_net: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(n_quantiles=1, top_quantiles_to_drop_per_net=0)
        if self.top_quantiles_to_drop_per_net >= self.n_quantiles:
            raise ValueError(
                f"top_quantiles_to_drop_per_net must be below n_quantiles = {self.n_quantiles}, not "
                f"{self.top_quantiles_to_drop_per_net}."
            )

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of TQC."""
        arguments = super().arguments(env)
        arguments["policy_kwargs"] |= self.taken("n_quantiles")
        return arguments | self.taken("top_quantiles_to_drop_per_net")


class TQCLearner(NamedLearner[TQCConfig]):
    """Truncated quantile critics (Kuznetsov et al. 2020), from sb3-contrib: SAC with less overestimation."""

    settings_class = TQCConfig
    name = "tqc"
    algorithm = "TQC"
    trial = _SMALL_BUFFER
    actions = (spaces.Box,)
    others = FOR_DISCRETE


@dataclass(frozen=True)
class TD3Config(OffPolicyConfig):
    """Settings of TD3.

    Attributes:
        action_noise: added to actions in rollouts: independent ("normal"), correlated in time ("ornstein-uhlenbeck"),
            or "none", as in Stable-Baselines3's defaults.
        noise_std: its deviation; actions go from -1 to 1.
        policy_delay: gradient steps of the value functions for each one of the policy.
        target_policy_noise, target_noise_clip: deviation and bound of the noise that smooths targets.
    """

    learning_rate: float = 1e-3
    net_arch: tuple[int, ...] = (400, 300)
    action_noise: Literal["none", "normal", "ornstein-uhlenbeck"] = "none"
    noise_std: float = 0.1
    policy_delay: int = 2
    target_policy_noise: float = 0.2
    target_noise_clip: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(policy_delay=1)
        self.check_not_negative("noise_std", "target_policy_noise", "target_noise_clip")

    def noise(self, actions: int) -> ActionNoise | None:
        """The noise for the copies of an environment with so many numbers in an action."""
        if self.action_noise == "none":
            return None
        makers: Mapping[str, type[Any]] = {
            "normal": NormalActionNoise,
            "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise,
        }
        noise: ActionNoise = makers[self.action_noise](np.zeros(actions), np.full(actions, self.noise_std))
        return VectorizedActionNoise(noise, self.num_envs) if self.num_envs > 1 else noise

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of TD3."""
        own = self.taken("policy_delay", "target_policy_noise", "target_noise_clip")
        return {**super().arguments(env), **own, "action_noise": self.noise(spaces.flatdim(env.action_space))}


class TD3Learner(NamedLearner[TD3Config]):
    """Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018), from Stable-Baselines3."""

    settings_class = TD3Config
    name = "td3"
    algorithm = TD3
    trial = _SMALL_BUFFER
    actions = (spaces.Box,)
    others = FOR_DISCRETE


@dataclass(frozen=True)
class DQNConfig(OffPolicyConfig):
    """Settings of DQN.

    Attributes:
        target_update_interval: environment steps between two updates of the target network.
        exploration_fraction: the part of training over which the share of random actions falls.
        exploration_initial_eps, exploration_final_eps: that share at the beginning and after that part.
        max_grad_norm: longer gradients are cut to this norm.
    """

    learning_rate: float = 1e-4
    net_arch: tuple[int, ...] = (64, 64)
    batch_size: int = 32
    tau: float = 1.0
    train_freq: int = 4
    target_update_interval: int = 10_000
    exploration_fraction: float = 0.1
    exploration_initial_eps: float = 1.0
    exploration_final_eps: float = 0.05
    max_grad_norm: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_least(target_update_interval=1)
        self.check_shares("exploration_fraction", "exploration_initial_eps", "exploration_final_eps")
        self.check_positive("max_grad_norm", "exploration_fraction")

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """Those of DQN."""
        return super().arguments(env) | self.taken(
            *("target_update_interval", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps"),
            "max_grad_norm",
        )


class DQNLearner(NamedLearner[DQNConfig]):
    """Deep Q-network (Mnih et al. 2015), from Stable-Baselines3."""

    settings_class = DQNConfig
    name = "dqn"
    algorithm = DQN
    trial = _SMALL_BUFFER
    actions = (spaces.Discrete,)
    others = FOR_BOX
