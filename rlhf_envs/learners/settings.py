"""Settings that the algorithms of Stable-Baselines3 have in common, and how they become arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from stable_baselines3.common.vec_env import VecEnv

from rlhf_envs.learners.networks import policy_for

ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "gelu": torch.nn.GELU, "elu": torch.nn.ELU}


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of every algorithm, under Stable-Baselines3's names where they are its own.

    Attributes:
        num_envs: copies of the environment.
        learning_rate: of the optimiser; falls linearly to 0 over training with `anneal`.
        anneal: whether the learning rate falls.
        gamma: discount: weight of each step's reward relative to the one before.
        net_arch: hidden units of the policy, and of each value function.
        activation: of the hidden units.
        normalize_observations: whether the policy sees observations standardised over all that was seen (`VecNormalize`
            of Stable-Baselines3). The reward model sees them as the environment gives them.
        normalize_rewards: whether rewards are scaled by the deviation of their discounted sum (`VecNormalize`). Only
            the environment's own rewards are; learned ones have unit scale already.
    """

    num_envs: int = 1
    learning_rate: float = 3e-4
    anneal: bool = False
    gamma: float = 0.99
    net_arch: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu", "gelu", "elu"] = "tanh"
    normalize_observations: bool = False
    normalize_rewards: bool = False

    def __post_init__(self) -> None:
        self.check_least(num_envs=1)
        self.check_shares("gamma")
        self.check_positive("learning_rate")
        if any(units < 1 for units in self.net_arch):
            raise ValueError(f"net_arch must be hidden layers of at least one unit, not {self.net_arch}.")

    def check_least(self, **least: int) -> None:
        """Refuse values below these."""
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} must be at least {smallest}, not {getattr(self, name)}.")

    # Each range is written as what must hold, so that NaN, which holds for nothing, is refused as well.
    def check_shares(self, *names: str) -> None:
        """Refuse values outside 0 to 1."""
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")

    def check_positive(self, *names: str) -> None:
        """Refuse values that are not above 0."""
        for name in names:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}.")

    def check_not_negative(self, *names: str) -> None:
        """Refuse values below 0."""
        for name in names:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, not {getattr(self, name)}.")

    def taken(self, *names: str) -> dict[str, Any]:
        """Settings that Stable-Baselines3 takes as they are, by name."""
        return {name: getattr(self, name) for name in names}

    def arguments(self, env: VecEnv) -> dict[str, Any]:
        """What the algorithm takes besides the environment, a seed and a device, for this environment."""
        policy, extractor = policy_for(env.observation_space)
        network = {"net_arch": list(self.net_arch), "activation_fn": ACTIVATIONS[self.activation]}
        return {
            "policy": policy,
            "learning_rate": falling(self.learning_rate) if self.anneal else self.learning_rate,
            "gamma": self.gamma,
            "policy_kwargs": {**network, **extractor},
        }


def falling(start: float) -> Callable[[float], float]:
    """A value that falls linearly to 0, by the part of training that remains."""

    def value(progress_remaining: float) -> float:
        return start * progress_remaining

    return value
