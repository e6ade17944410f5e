"""Settings that train well, and what is asked when, by environment."""

from __future__ import annotations

from typing import Any

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.learners import PPOConfig, find_learner
from rlhf_envs.loop import FeedbackConfig

PPO_PRESETS: dict[str, PPOConfig] = {
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
"""Settings of PPO by environment id, each found by trying."""

THIRD_PARTY = PPOConfig(
    num_envs=8, n_steps=256, batch_size=256, n_epochs=10, learning_rate=3e-4, anneal=False, gamma=0.99
)
"""For any other environment: Stable-Baselines3's defaults with a wider rollout."""

FEEDBACK_PRESETS: dict[str, FeedbackConfig] = {
    # A policy that has settled on whole sentences learns late what they should be about.
    "rlhf/Writing-v0": FeedbackConfig(ask_until=0.4),
    # Reading digits takes a policy long, and it can begin only once the reward has stopped changing.
    "rlhf/Glimpse-v0": FeedbackConfig(ask_until=0.12),
}
"""What is asked when, by environment id, where the usual schedule does not fit."""


def settings_for(environment: EnvironmentRef | None, learner: str = "ppo") -> Any:
    """The settings of a learner for an environment: a preset of PPO, or the defaults of another learner."""
    if learner != "ppo":
        return find_learner(learner).settings_class()
    if environment is None:
        return PPOConfig()
    name = environment.id.rpartition(":")[2]
    return PPO_PRESETS.get(name, PPOConfig() if name.startswith("rlhf/") else THIRD_PARTY)


def feedback_for(environment: EnvironmentRef | None) -> FeedbackConfig:
    """What is asked when in an environment."""
    return FEEDBACK_PRESETS.get(environment.id.rpartition(":")[2] if environment else "", FeedbackConfig())
