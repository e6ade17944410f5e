"""The bridge to Stable-Baselines3: environments, learned rewards and the feedback loop, for any training script."""

from rlhf_envs.envs.registration import find_spec, is_native
from rlhf_envs.sb3.bridge import VectorEnvBridge
from rlhf_envs.sb3.callback import PreferenceCallback
from rlhf_envs.sb3.learned_reward import LearnedRewardVecEnv
from rlhf_envs.sb3.making import about_episodes, make_scalar_env, make_vec_env
from rlhf_envs.sb3.preference_env import PreferenceVecEnv
from rlhf_envs.sb3.scoring import EnvironmentRewardCallback, ScoringCallback

__all__ = [
    "EnvironmentRewardCallback",
    "LearnedRewardVecEnv",
    "PreferenceCallback",
    "PreferenceVecEnv",
    "ScoringCallback",
    "VectorEnvBridge",
    "about_episodes",
    "find_spec",
    "is_native",
    "make_scalar_env",
    "make_vec_env",
]
