"""Trains any Stable-Baselines3 algorithm on a finished reward model, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rlhf_envs.wrappers.reward_function import RewardFunction, learned_rewards


class LearnedRewardVecEnv(VecEnvWrapper):
    """Pays what a reward model says of (observation before the step, action), and keeps the truth in the infos.

    For a reward model that is trained already, and for algorithms other than PPO. While preferences are still coming
    in, `PreferenceCallback` is the faster way.

    Args:
        venv: any VecEnv.
        reward_function: such as a loaded `RewardEnsemble`.
    """

    def __init__(self, venv: VecEnv, reward_function: RewardFunction) -> None:
        super().__init__(venv)
        self.reward_function = reward_function
        self._observations: Any = None
        self._actions: NDArray[Any] = np.empty(0)

    def reset(self) -> VecEnvObs:
        """Reset every copy."""
        self._observations = self.venv.reset()
        return self._observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions, and step every copy."""
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step; `info["true_reward"]` has what the environment paid."""
        observations, true_rewards, dones, infos = self.venv.step_wait()
        rewards = learned_rewards(self.reward_function, self._observations, self._actions).astype(np.float32)
        infos = [{"true_reward": float(true), **info} for info, true in zip(infos, true_rewards, strict=True)]
        self._observations = observations
        return observations, rewards, dones, infos
