"""Hides the true reward from the agent: it is paid 0 and the truth is kept for teachers and evaluation."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlhf_envs.wrappers.true_reward import keep_in_info, true_reward, true_rewards


class HideReward(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Pays 0.0 at every step and keeps the true reward in `info["true_reward"]`.

    An environment that says itself what its true reward is, as those of the suite do for either objective, is believed.

    Args:
        env: any environment.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one step.

        Raises:
            ValueError: if the environment's reward is not a finite number.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        info["true_reward"] = true_reward(reward, info)
        return observation, 0.0, terminated, truncated, info


class HideVectorReward(gym.vector.VectorWrapper):
    """Pays 0 at every step of every copy and keeps the true rewards in `info["true_reward"]`, (N,).

    Row i of `info["true_reward"]` belongs to the step that row i has just taken, in every autoreset mode: in SAME_STEP
    mode also where that step ended an episode. In the step of NEXT_STEP mode that only resets a row it is 0.

    Args:
        env: any vector environment.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self._all = np.ones(env.num_envs, dtype=np.bool_)

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Act for one step in every copy.

        Raises:
            ValueError: if a reward of the environment is not a finite number.
        """
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        truth = true_rewards(rewards, info)
        keep_in_info(info, "true_reward", truth, self._all)
        return observations, np.zeros_like(truth), terminated, truncated, info
