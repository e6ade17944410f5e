"""The bridge to Stable-Baselines3: environments, learned rewards and the feedback loop, for any training script."""

from rlhf_envs.sb3.callback import NothingAskedError, PreferenceCallback
from rlhf_envs.sb3.kl import KLPenalty
from rlhf_envs.sb3.scoring import (
    EnvironmentRewardCallback,
    ReplayRewards,
    RewardModelCallback,
    RewardSink,
    RolloutRewards,
    ScoringCallback,
    reward_sink,
)
from rlhf_envs.sb3.side_rollouts import HeldActions, SideRollouts
from rlhf_envs.sb3.vec_env import PreferenceVecEnv, VectorEnvBridge, make_vec_env

__all__ = [
    "EnvironmentRewardCallback",
    "HeldActions",
    "KLPenalty",
    "NothingAskedError",
    "PreferenceCallback",
    "PreferenceVecEnv",
    "ReplayRewards",
    "RewardModelCallback",
    "RewardSink",
    "RolloutRewards",
    "ScoringCallback",
    "SideRollouts",
    "VectorEnvBridge",
    "make_vec_env",
    "reward_sink",
]
