"""PPO settings that train well, and what is asked when, per environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rlhf_envs.loop import FeedbackConfig


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


PRESETS: dict[str, PPOConfig] = {
    "Pendulum-v1": PPOConfig(num_envs=8, n_steps=256, batch_size=128, n_epochs=10, gamma=0.95),
    "CartPole-v1": PPOConfig(num_envs=8, n_steps=256, batch_size=256, n_epochs=10, gamma=0.98),
    "rlhf/Driving-v0": PPOConfig(num_envs=256, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.95),
    "rlhf/Recommender-v0": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.95, ent_coef=0.005),
    "rlhf/Headset-v0": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.97),
    "rlhf/Support-v0": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.95, ent_coef=0.02),
    "rlhf/Rival-v0": PPOConfig(num_envs=128, n_steps=32, batch_size=1024, n_epochs=8, gamma=0.92, activation="relu"),
    "rlhf/Writing-v0": PPOConfig(num_envs=256, n_steps=32, batch_size=1024, n_epochs=6, gamma=0.95, ent_coef=0.02),
    "rlhf/Glimpse-v0": PPOConfig(
        num_envs=256,
        n_steps=32,
        batch_size=1024,
        n_epochs=6,
        learning_rate=4e-3,
        gamma=0.9,
        gae_lambda=0.7,
        ent_coef=0.03,
        activation="relu",
    ),
    "rlhf/Overlay-v0": PPOConfig(
        num_envs=128, n_steps=32, batch_size=1024, n_epochs=8, gamma=0.9, activation="relu", log_std_init=-0.7
    ),
}
"""Settings by environment id, each found by trying."""

THIRD_PARTY = PPOConfig(
    num_envs=8, n_steps=256, batch_size=256, n_epochs=10, learning_rate=3e-4, anneal=False, gamma=0.99
)
"""For any other environment: Stable-Baselines3's defaults with a wider rollout."""


LABEL_PRESETS: dict[str, FeedbackConfig] = {
    # A policy that has settled on whole sentences learns late what they should be about.
    "rlhf/Writing-v0": FeedbackConfig(finish_by=0.4),
    # Reading digits takes a policy long, and it can begin only once the reward has stopped changing.
    "rlhf/Glimpse-v0": FeedbackConfig(finish_by=0.12),
}
"""What is asked when, by environment id, where the usual schedule does not fit."""


def labels_for(environment_id: str) -> FeedbackConfig:
    """What is asked when in an environment."""
    return LABEL_PRESETS.get(environment_id, FeedbackConfig())


def preset_for(environment_id: str) -> PPOConfig:
    """The settings for an environment: its own, or careful ones for any third-party environment."""
    if environment_id in PRESETS:
        return PRESETS[environment_id]
    return PPOConfig() if environment_id.startswith("rlhf/") else THIRD_PARTY
