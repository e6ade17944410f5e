"""Learners with a replay buffer: SAC, TD3 and DQN, and TQC from sb3-contrib."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from gymnasium import spaces
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
    VectorizedActionNoise,
)
from stable_baselines3.common.vec_env import VecEnv

from rlhf_envs.learners.learner import Learner
from rlhf_envs.learners.on_policy import from_contrib
from rlhf_envs.learners.settings import LearnerConfig, require_actions

_OTHERS_FOR_DISCRETE = "ppo, a2c and for a Discrete space dqn"
_OTHERS_FOR_BOX = "ppo, a2c and for a Box space sac, td3 and tqc"


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

    def arguments(self, observation_space: spaces.Space[Any], **network: Any) -> dict[str, Any]:
        """The arguments that these algorithms have in common.

        Args:
            observation_space: of the environment.
            network: further arguments of the policy.
        """
        policy, policy_kwargs = self.policy(observation_space)
        return {
            "policy": policy,
            "learning_rate": self.rate(),
            "gamma": self.gamma,
            "buffer_size": self.buffer_size,
            "learning_starts": self.learning_starts,
            "batch_size": self.batch_size,
            "tau": self.tau,
            "train_freq": (self.train_freq, self.train_unit),
            "gradient_steps": self.gradient_steps,
            "n_steps": self.n_steps,
            "policy_kwargs": {**policy_kwargs, **network},
        }


def check_memory(settings: OffPolicyConfig, observation_space: spaces.Space[Any], timesteps: int) -> None:
    """Refuse a replay buffer that this machine has no memory for, which would show only when it has filled up.

    Args:
        settings: of the learner.
        observation_space: of the environment.
        timesteps: of the training; a buffer is never fuller than that.

    Raises:
        ValueError: if the observations, each of which is held twice, take more than nine tenths of the memory.
    """
    parts = observation_space.values() if isinstance(observation_space, spaces.Dict) else [observation_space]
    step = 2 * sum(int(np.prod(part.shape or (1,))) * np.dtype(part.dtype or np.int64).itemsize for part in parts)
    memory = int(0.9 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if min(settings.buffer_size, timesteps) * step > memory:
        raise ValueError(
            f"A replay buffer of {min(settings.buffer_size, timesteps):,} transitions takes "
            f"{min(settings.buffer_size, timesteps) * step / 2**30:.0f} GiB, and this machine has "
            f"{memory / 0.9 / 2**30:.0f}; --learner.buffer-size {memory // step} is the most that fits, and smaller "
            "pictures need less."
        )


Settings = TypeVar("Settings", bound=OffPolicyConfig)


class OffPolicyLearner(Learner[Settings]):
    """What these learners have in common."""

    def for_trial(self, settings: Settings) -> Settings:
        """A buffer of few transitions."""
        return replace(settings, num_envs=min(settings.num_envs, 2), buffer_size=4)


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

    def arguments(self, observation_space: spaces.Space[Any], **network: Any) -> dict[str, Any]:
        """Those of SAC."""
        own = {"n_critics": self.n_critics, "log_std_init": self.log_std_init, "use_expln": self.use_expln}
        return {
            **super().arguments(observation_space, **own, **network),
            "ent_coef": self.entropy_coefficient(),
            "target_update_interval": self.target_update_interval,
            "use_sde": self.use_sde,
            "sde_sample_freq": self.sde_sample_freq,
            "use_sde_at_warmup": self.use_sde_at_warmup,
        }


class SACLearner(OffPolicyLearner[SACConfig]):
    """Soft actor-critic (Haarnoja et al. 2018), from Stable-Baselines3."""

    settings_class = SACConfig

    def build(self, env: VecEnv, settings: SACConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """SAC with the policy that reads the environment's observations."""
        require_actions("sac", env, spaces.Box, others=_OTHERS_FOR_DISCRETE)
        return SAC(env=env, seed=seed, device=device, **settings.arguments(env.observation_space))


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


class TQCLearner(OffPolicyLearner[TQCConfig]):
    """Truncated quantile critics (Kuznetsov et al. 2020), from sb3-contrib: SAC with less overestimation."""

    settings_class = TQCConfig

    def build(self, env: VecEnv, settings: TQCConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """TQC with the policy that reads the environment's observations."""
        require_actions("tqc", env, spaces.Box, others=_OTHERS_FOR_DISCRETE)
        algorithm: Any = from_contrib("TQC")
        model: BaseAlgorithm = algorithm(
            env=env,
            seed=seed,
            device=device,
            top_quantiles_to_drop_per_net=settings.top_quantiles_to_drop_per_net,
            **settings.arguments(env.observation_space, n_quantiles=settings.n_quantiles),
        )
        return model


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


class TD3Learner(OffPolicyLearner[TD3Config]):
    """Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018), from Stable-Baselines3."""

    settings_class = TD3Config

    def build(self, env: VecEnv, settings: TD3Config, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """TD3 with the policy that reads the environment's observations."""
        require_actions("td3", env, spaces.Box, others=_OTHERS_FOR_DISCRETE)
        return TD3(
            env=env,
            seed=seed,
            device=device,
            action_noise=settings.noise(spaces.flatdim(env.action_space)),
            policy_delay=settings.policy_delay,
            target_policy_noise=settings.target_policy_noise,
            target_noise_clip=settings.target_noise_clip,
            **settings.arguments(env.observation_space),
        )


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


class DQNLearner(OffPolicyLearner[DQNConfig]):
    """Deep Q-network (Mnih et al. 2015), from Stable-Baselines3."""

    settings_class = DQNConfig

    def build(self, env: VecEnv, settings: DQNConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """DQN with the policy that reads the environment's observations."""
        require_actions("dqn", env, spaces.Discrete, others=_OTHERS_FOR_BOX)
        return DQN(
            env=env,
            seed=seed,
            device=device,
            target_update_interval=settings.target_update_interval,
            exploration_fraction=settings.exploration_fraction,
            exploration_initial_eps=settings.exploration_initial_eps,
            exploration_final_eps=settings.exploration_final_eps,
            max_grad_norm=settings.max_grad_norm,
            **settings.arguments(env.observation_space),
        )
