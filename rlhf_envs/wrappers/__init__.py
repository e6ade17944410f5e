"""Gymnasium wrappers, for single and for vector environments.

Hide the true reward, pay a learned one, give every episode the same length.
"""

from rlhf_envs.wrappers.fixed_horizon import FixedHorizon
from rlhf_envs.wrappers.hidden_reward import HideReward, HideVectorReward
from rlhf_envs.wrappers.learned_reward import LearnedReward, LearnedVectorReward
from rlhf_envs.wrappers.reward_function import RewardFunction, UncertainRewardFunction
from rlhf_envs.wrappers.true_reward import true_reward, true_rewards

__all__ = [
    "FixedHorizon",
    "HideReward",
    "HideVectorReward",
    "LearnedReward",
    "LearnedVectorReward",
    "RewardFunction",
    "UncertainRewardFunction",
    "true_reward",
    "true_rewards",
]
