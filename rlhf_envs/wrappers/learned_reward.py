"""Pays a learned reward in place of the true one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from rlhf_envs.wrappers.batching import batch_of_one, check_spaces
from rlhf_envs.wrappers.reward_function import (
    RewardFunction,
    check_reward_function,
    learned_rewards,
    reward_spreads,
)
from rlhf_envs.wrappers.true_reward import keep_in_info, true_reward, true_rewards


class LearnedReward(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Pays the learned reward of the observation before the step and the action.

    `info` has "true_reward", "learned_reward" and, where the reward function offers it, "reward_spread". The reward
    function sees observations as this wrapper gives them out, so it belongs on top of wrappers that change them. It is
    used, never copied: when it learns, the environment pays accordingly from the next step on.

    Args:
        env: an environment whose spaces are arrays, or a flat Dict of arrays.
        reward_function: what pays.
        report_spread: whether to ask the reward function for its spread, which may cost as much again as the reward.

    Raises:
        TypeError: if the reward function has no method `reward`.
        ValueError: if a space is of another kind.
    """

    def __init__(self, env: gym.Env[Any, Any], reward_function: RewardFunction, report_spread: bool = True) -> None:
        check_reward_function(reward_function)
        gym.utils.RecordConstructorArgs.__init__(
            self, _disable_deepcopy=True, reward_function=reward_function, report_spread=report_spread
        )
        gym.Wrapper.__init__(self, env)
        check_spaces(self.observation_space, self.action_space)
        self.reward_function = reward_function
        self.report_spread = report_spread
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one step.

        Raises:
            ValueError: if the true or the learned reward is not a finite number.
        """
        if self._observation is None:
            raise ResetNeeded("Call reset() before the first step().")
        # Before the step, because an environment may write its next observation into the same array.
        before, actions = batch_of_one(self._observation), batch_of_one(action)
        learned = float(learned_rewards(self.reward_function, before, actions)[0])
        spreads = reward_spreads(self.reward_function, before, actions) if self.report_spread else None
        self._observation, reward, terminated, truncated, info = self.env.step(action)
        info["true_reward"] = true_reward(reward, info)
        info["learned_reward"] = learned
        if spreads is not None:
            info["reward_spread"] = float(spreads[0])
        return self._observation, learned, terminated, truncated, info


class LearnedVectorReward(gym.vector.VectorWrapper):
    """Pays every copy the learned reward of its observation before the step and its action.

    `info` has "true_reward", "learned_reward" and, where the reward function offers it, "reward_spread", each (N,) and
    each of the step that the row has just taken. All three autoreset modes are served. In NEXT_STEP mode a step that
    only resets a row pays it 0, and the masks "_learned_reward" and "_reward_spread" leave that row out.

    Args:
        env: a vector environment whose spaces are arrays, or a flat Dict of arrays.
        reward_function: what pays; used, never copied.
        report_spread: whether to ask the reward function for its spread, which may cost as much again as the reward.

    Raises:
        TypeError: if the reward function has no method `reward`.
        ValueError: if a space is of another kind, or the environment does not say when it begins new episodes.
    """

    def __init__(
        self, env: gym.vector.VectorEnv[Any, Any, Any], reward_function: RewardFunction, report_spread: bool = True
    ) -> None:
        check_reward_function(reward_function)
        super().__init__(env)
        check_spaces(self.single_observation_space, self.single_action_space)
        self.reward_function = reward_function
        self.report_spread = report_spread
        self._phantoms = _PhantomSteps(env)
        self._observations: Any = None
        self._all = np.ones(env.num_envs, dtype=np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every copy, or in those of `options["reset_mask"]`."""
        self._phantoms.episodes_begin(_rows_to_reset(options, self.num_envs))
        self._observations, info = self.env.reset(seed=seed, options=options)
        return self._observations, info

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Act for one step in every copy.

        Raises:
            ValueError: if a true or a learned reward is not a finite number.
        """
        if self._observations is None:
            raise ResetNeeded("Call reset() before the first step().")
        real = ~self._phantoms.coming
        # Before the step, because an environment may write its next observations into the same array.
        actions = np.asarray(actions)
        learned = learned_rewards(self.reward_function, self._observations, actions) * real
        spreads = reward_spreads(self.reward_function, self._observations, actions) if self.report_spread else None
        self._observations, rewards, terminated, truncated, info = self.env.step(actions)
        self._phantoms.episodes_end(terminated | truncated)
        keep_in_info(info, "true_reward", true_rewards(rewards, info), self._all)
        keep_in_info(info, "learned_reward", learned, real)
        if spreads is not None:
            keep_in_info(info, "reward_spread", spreads * real, real)
        return self._observations, learned, terminated, truncated, info


def _autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """When the environment begins a new episode after one has ended, as its metadata says.

    Raises:
        ValueError: if it does not say so.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"{env} must say when it begins new episodes: metadata['autoreset_mode'] must be a "
            f"gymnasium.vector.AutoresetMode, not {mode!r}."
        )
    return mode


class _PhantomSteps:
    """Knows which rows of a vector environment will only be reset by the coming step.

    In NEXT_STEP mode the step after an episode's last one throws its action away, pays 0 and returns the first
    observation of the new episode. It is no experience. In the other two modes no such step exists.

    Attributes:
        coming: the rows that the next step will only reset, (N,) bool.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self._exist = _autoreset_mode(env) is AutoresetMode.NEXT_STEP
        self.coming = np.zeros(env.num_envs, dtype=np.bool_)

    def episodes_begin(self, rows: NDArray[np.bool_]) -> None:
        """The given rows, (N,) bool, were reset by `reset()`."""
        self.coming = self.coming & ~rows

    def episodes_end(self, dones: NDArray[np.bool_]) -> None:
        """A step was taken; the episodes of the given rows, (N,) bool, ended with it."""
        if self._exist:
            self.coming = dones


def _rows_to_reset(options: dict[str, Any] | None, copies: int) -> NDArray[np.bool_]:
    """The rows, (copies,) bool, that `reset(options=options)` begins anew; ask before, as a reset may take them out."""
    mask = (options or {}).get("reset_mask")
    return np.ones(copies, dtype=np.bool_) if mask is None else np.array(mask, dtype=np.bool_)
