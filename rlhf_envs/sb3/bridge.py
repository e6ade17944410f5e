"""A gymnasium vector environment as the VecEnv that Stable-Baselines3 wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from rlhf_envs.environment import CopiesInProcesses, SeparateCopies
from rlhf_envs.envs.views import TaskVectorEnv
from rlhf_envs.wrappers import HideReward, LearnedReward, true_rewards
from rlhf_envs.wrappers.rewards import COPY_INFOS, require_same_step


class VectorEnvBridge(VecEnv):
    """Steps a gymnasium vector environment for Stable-Baselines3, without a process or thread per copy.

    Args:
        env: a vector environment that resets itself in SAME_STEP mode.
        stagger: whether the first episodes are cut to different lengths (for environments of this suite), so that a
            batch of rollouts holds every phase of an episode.

    Attributes:
        true_rewards: the true reward of the last step, (N,), whatever objective the environment pays.

    Raises:
        ValueError: for another autoreset mode. NEXT_STEP puts a step that nobody took into every episode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], stagger: bool = False) -> None:
        require_same_step(env)
        self.env = env
        self.stagger = stagger
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: NDArray[Any] = np.empty(0)
        self.true_rewards: NDArray[Any] = np.zeros(env.num_envs)
        self._nothing: dict[str, Any] = {}

    def reset(self) -> VecEnvObs:
        """Reset every copy, with the seeds of `seed` if it was called."""
        seeds = list(self._seeds) if any(seed is not None for seed in self._seeds) else None
        options = {"stagger": True} if self.stagger else None
        observations, _ = self.env.reset(seed=seeds, options=options)  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step every copy.

        Where they run as one batch, the infos of rows whose episode goes on are empty but for "true_reward", which they
        have where the environment pays another one.
        """
        observations, rewards, terminated, truncated, info = self.env.step(self._actions)
        hidden = isinstance(self.env, HideReward | LearnedReward)
        self.true_rewards = info["true_reward"] if hidden else true_rewards(rewards, info)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = info.get(COPY_INFOS) or [self._nothing] * self.num_envs
        for row in np.flatnonzero(dones):
            infos[row] = {
                **infos[row],
                "terminal_observation": info["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
            }
        if hidden:
            truth = self.true_rewards.tolist()
            infos = [{**own, "true_reward": reward} for own, reward in zip(infos, truth, strict=True)]
        return observations, rewards, dones, infos

    @property
    def can_restore(self) -> bool:
        """Whether this is an environment of this suite, whose state can be taken and put back."""
        return isinstance(self.env.unwrapped, TaskVectorEnv)

    def snapshot(self) -> NDArray[np.uint8] | None:
        """The whole state of every copy, (N, bytes), for environments of this suite; otherwise None."""
        env = self.env.unwrapped
        return env.snapshot() if isinstance(env, TaskVectorEnv) else None

    def restore_snapshot(self, snapshots: NDArray[np.uint8]) -> Any:
        """Put back what `snapshot` gave, and see what the environment shows.

        Raises:
            ValueError: if this is no environment of this suite, or the snapshot is another's.
        """
        env = self.env.unwrapped
        if not isinstance(env, TaskVectorEnv):
            raise ValueError(f"The state of {env} cannot be put back.")
        env.restore(snapshots)
        return env.simulation.observe()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One frame per copy."""
        frames = self.env.render()
        return list(frames) if isinstance(frames, tuple | list) else [frames]  # type: ignore[arg-type]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of each of these copies; where they run as one batch, that of the batch for each."""
        env, rows = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(env, SeparateCopies | CopiesInProcesses):
            return env.call_copies(rows, attr_name)
        value = getattr(env, attr_name)
        return [value for _ in rows]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each of these copies; where they run as one batch, they share it."""
        env = self.env.unwrapped
        if isinstance(env, SeparateCopies | CopiesInProcesses):
            env.call_copies(list(self._get_indices(indices)), "set_wrapper_attr", attr_name, value)
        else:
            setattr(env, attr_name, value)

    def env_method(
        self, method_name: str, *arguments: Any, indices: VecEnvIndices = None, **keywords: Any
    ) -> list[Any]:
        """Call a method of each of these copies; where they run as one batch, once, and give each its row."""
        env, rows = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(env, SeparateCopies | CopiesInProcesses):
            return env.call_copies(rows, method_name, *arguments, **keywords)
        result = getattr(env, method_name)(*arguments, **keywords)
        return [result[row] if result is not None else None for row in rows]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No copy has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]
