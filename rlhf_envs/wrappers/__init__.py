"""Gymnasium wrappers, for single and for vector environments.

Hide the true reward, pay a learned one, give every episode the same length, record segments.
"""

from rlhf_envs.wrappers.fixed_horizon import FixedHorizon, terminates
from rlhf_envs.wrappers.hidden_reward import HideReward, HideVectorReward
from rlhf_envs.wrappers.learned_reward import LearnedReward, LearnedVectorReward
from rlhf_envs.wrappers.recording import RecordSegments, RecordVectorSegments
from rlhf_envs.wrappers.reward_function import RewardFunction, UncertainRewardFunction
from rlhf_envs.wrappers.true_reward import true_reward, true_rewards

__all__ = [
    "FixedHorizon",
    "HideReward",
    "HideVectorReward",
    "LearnedReward",
    "LearnedVectorReward",
    "RecordSegments",
    "RecordVectorSegments",
    "RewardFunction",
    "UncertainRewardFunction",
    "terminates",
    "true_reward",
    "true_rewards",
]
