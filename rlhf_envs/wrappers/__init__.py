"""Gymnasium wrappers: hide the true reward, pay a learned one, record segments, adapt spaces, tell faults.

`FixedHorizon`, `AdaptSpaces`, `BoundActions` and `ReportFaults` are for single environments, `EnvironmentRef` puts them
around its copies; the others are for vector environments, of which that of the training is made. One copy is a vector
environment too: `EnvironmentRef("CartPole-v1").make_vector(1)`.
"""

from rlhf_envs.wrappers.faults import EnvironmentFault, ReportFaults
from rlhf_envs.wrappers.fixed_horizon import FixedHorizon
from rlhf_envs.wrappers.recording import RecordSegments
from rlhf_envs.wrappers.rewards import (
    HideReward,
    LearnedReward,
    RewardFunction,
    TransitionRewardFunction,
    UncertainRewardFunction,
    true_reward,
    true_rewards,
)
from rlhf_envs.wrappers.spaces import AdaptSpaces, BoundActions, adapt

__all__ = [
    "AdaptSpaces",
    "BoundActions",
    "EnvironmentFault",
    "FixedHorizon",
    "HideReward",
    "LearnedReward",
    "RecordSegments",
    "ReportFaults",
    "RewardFunction",
    "TransitionRewardFunction",
    "UncertainRewardFunction",
    "adapt",
    "true_reward",
    "true_rewards",
]
