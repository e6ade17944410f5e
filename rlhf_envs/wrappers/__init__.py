"""Gymnasium wrappers: hide the true reward, pay a learned one, record segments, give every episode the same length.

All but `FixedHorizon` are for vector environments; that of the training is made of them. One copy is a vector
environment too: `EnvironmentRef("CartPole-v1").make_vector(1)`.
"""

from rlhf_envs.wrappers.fixed_horizon import FixedHorizon
from rlhf_envs.wrappers.recording import RecordSegments
from rlhf_envs.wrappers.rewards import (
    HideReward,
    LearnedReward,
    RewardFunction,
    UncertainRewardFunction,
    true_reward,
    true_rewards,
)

__all__ = [
    "FixedHorizon",
    "HideReward",
    "LearnedReward",
    "RecordSegments",
    "RewardFunction",
    "UncertainRewardFunction",
    "true_reward",
    "true_rewards",
]
