"""PPO, the default learner."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rlhf_envs.learners.learner import Learner
from rlhf_envs.learners.networks import policy_for

_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


@dataclass(frozen=True)
class PPOConfig:
    """Settings of Stable-Baselines3's PPO, under its own names where they are its own.

    Attributes:
        num_envs: copies of the environment.
        n_steps: steps of every copy in a rollout.
        batch_size: steps in a mini-batch.
        n_epochs: passes over a rollout.
        learning_rate: of Adam; falls linearly to 0 over training with `anneal`.
        anneal: whether the learning rate falls.
        gamma: discount: weight of each step's reward relative to the one before.
        gae_lambda: trade-off of the advantage estimate: 0 trusts the value function alone, 1 the rewards alone.
        clip_range: how far the probability of an action may move in one update, as a share.
        ent_coef: weight of the entropy of the actions in the loss; more keeps the policy exploring.
        vf_coef: weight of the value function's error in the loss.
        max_grad_norm: longer gradients are cut to this norm.
        net_arch: hidden units of policy and value function, each.
        activation: of the hidden units.
        log_std_init: how widely a Box policy explores at the start (logarithm of the deviation).
        use_sde: explore with state-dependent noise.
    """

    num_envs: int = 64
    n_steps: int = 64
    batch_size: int = 1024
    n_epochs: int = 6
    learning_rate: float = 1e-3
    anneal: bool = True
    gamma: float = 0.98
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    net_arch: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    log_std_init: float = 0.0
    use_sde: bool = False

    def __post_init__(self) -> None:
        if self.num_envs < 1 or self.n_steps < 2:
            raise ValueError(
                f"PPO needs num_envs of at least 1 and n_steps of at least 2, not {self.num_envs} and {self.n_steps}."
            )
        for name, least in (("batch_size", 2), ("n_epochs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}.")
        # Each range is written as what must hold, so that NaN, which holds for nothing, is refused as well.
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")
        for name in ("learning_rate", "clip_range", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}.")
        for name in ("ent_coef", "vf_coef"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, not {getattr(self, name)}.")
        rollout = self.num_envs * self.n_steps
        if rollout % self.batch_size:
            fitting = next(
                (size for size in range(min(self.batch_size, rollout), 1, -1) if not rollout % size), rollout
            )
            raise ValueError(
                f"batch_size must divide num_envs * n_steps = {rollout}, which {self.batch_size} does not; "
                f"{fitting} does."
            )


class PPOLearner(Learner[PPOConfig]):
    """Proximal policy optimisation (Schulman et al. 2017), from Stable-Baselines3."""

    settings_class = PPOConfig

    def build(self, env: VecEnv, settings: PPOConfig, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """PPO with the policy that reads the environment's observations."""
        policy, extractor = policy_for(env.observation_space)
        return PPO(
            policy,
            env,
            learning_rate=_falling(settings.learning_rate) if settings.anneal else settings.learning_rate,
            n_steps=settings.n_steps,
            batch_size=settings.batch_size,
            n_epochs=settings.n_epochs,
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            clip_range=settings.clip_range,
            ent_coef=settings.ent_coef,
            vf_coef=settings.vf_coef,
            max_grad_norm=settings.max_grad_norm,
            use_sde=settings.use_sde,
            policy_kwargs={
                "net_arch": list(settings.net_arch),
                "activation_fn": _ACTIVATIONS[settings.activation],
                "log_std_init": settings.log_std_init,
                **extractor,
            },
            seed=seed,
            device=device,
        )

    def for_trial(self, settings: PPOConfig) -> PPOConfig:
        """Rollouts and batches of two steps: PPO refuses batches of a single one."""
        return replace(settings, num_envs=min(settings.num_envs, 2), n_steps=2, batch_size=2)


def _falling(start: float) -> Callable[[float], float]:
    def learning_rate(progress_remaining: float) -> float:
        return start * progress_remaining

    return learning_rate
