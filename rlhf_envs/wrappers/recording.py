"""Records what happens in an environment, so that segments of it can be shown and compared."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from rlhf_envs.segments import Segment
from rlhf_envs.wrappers.autoreset import PhantomSteps, rows_to_reset
from rlhf_envs.wrappers.batching import batch_of_one, check_spaces
from rlhf_envs.wrappers.recorder import EpisodeRecorder
from rlhf_envs.wrappers.true_reward import true_reward, true_rewards


class RecordSegments(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Remembers the last steps of an environment and cuts segments out of them. Changes nothing that is seen or paid.

    Segments have what this wrapper gives out and takes: observations and actions as they pass here, and the true
    reward even where a wrapper below hides it. Where the simulator's states can be taken, as in the suite's
    environments, classic control and MuJoCo, they have these as well.

    Args:
        env: an environment whose spaces are arrays; observations may also be a flat Dict of arrays.
        segment_length: steps in a segment, T.
        capacity: how many steps are remembered.

    Raises:
        ValueError: if a space is of another kind, or the length is below 1, above the capacity or above the horizon.
    """

    def __init__(self, env: gym.Env[Any, Any], segment_length: int, capacity: int = 10_000) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, segment_length=segment_length, capacity=capacity)
        gym.Wrapper.__init__(self, env)
        horizon = env.get_wrapper_attr("horizon") if env.has_wrapper_attr("horizon") else None
        _check_lengths(env, segment_length, capacity, horizon)
        check_spaces(self.observation_space, self.action_space)
        self.segment_length = segment_length
        self.capacity = capacity
        self._recorder: EpisodeRecorder | None = None
        self._observations: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode. What was recorded stays; no segment reaches across a reset."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self._recorder is None:
            self._recorder = EpisodeRecorder(self.env, self.observation_space, self.action_space, 1, self.capacity)
        self._recorder.episodes_begin(np.ones(1, dtype=np.bool_))
        self._observations = batch_of_one(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act for one step and record it.

        Raises:
            ValueError: if the true reward is not a finite number.
        """
        if self._recorder is None:
            raise ResetNeeded("Call reset() before the first step().")
        self._recorder.capture()
        observation, reward, terminated, truncated, info = self.env.step(action)
        truth = np.array([true_reward(reward, info)])
        done = np.array([terminated or truncated])
        self._recorder.record(self._observations, batch_of_one(action), truth, done)
        self._observations = batch_of_one(observation)
        return observation, reward, terminated, truncated, info

    def segments(self) -> list[Segment]:
        """Everything that is remembered as segments that do not overlap, counted from the start of each episode."""
        return [] if self._recorder is None else self._recorder.tile(self.segment_length)

    def sample(self, count: int, rng: np.random.Generator) -> list[Segment]:
        """Up to `count` segments drawn uniformly with replacement; fewer, or none, where hardly any fits yet."""
        return [] if self._recorder is None else self._recorder.draw(count, self.segment_length, rng)


class RecordVectorSegments(gym.vector.VectorWrapper):
    """Remembers the last steps of every copy and cuts segments out of them, as `RecordSegments` does for one.

    All three autoreset modes are served; the steps of NEXT_STEP mode that only reset a row are in no segment.

    Args:
        env: a vector environment whose spaces are arrays; observations may also be a flat Dict of arrays.
        segment_length: steps in a segment, T.
        capacity: how many steps of every copy are remembered.

    Raises:
        ValueError: as `RecordSegments`, or if the environment does not say when it begins new episodes.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], segment_length: int, capacity: int = 10_000) -> None:
        super().__init__(env)
        _check_lengths(env, segment_length, capacity, getattr(env.unwrapped, "horizon", None))
        check_spaces(self.single_observation_space, self.single_action_space)
        self.segment_length = segment_length
        self.capacity = capacity
        self._recorder: EpisodeRecorder | None = None
        self._phantoms = PhantomSteps(env)
        self._observations: Any = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every copy, or in those of `options["reset_mask"]`. What was recorded stays."""
        rows = rows_to_reset(options, self.num_envs)
        observations, info = self.env.reset(seed=seed, options=options)
        if self._recorder is None:
            self._recorder = EpisodeRecorder(
                self.env, self.single_observation_space, self.single_action_space, self.num_envs, self.capacity
            )
        self._recorder.episodes_begin(rows)
        self._phantoms.episodes_begin(rows)
        self._observations = deepcopy(observations)
        return observations, info

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Act for one step in every copy and record it.

        Raises:
            ValueError: if a true reward is not a finite number.
        """
        if self._recorder is None:
            raise ResetNeeded("Call reset() before the first step().")
        self._recorder.capture()
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        dones = terminated | truncated
        self._recorder.record(self._observations, np.asarray(actions), true_rewards(rewards, info), dones)
        self._recorder.disregard_last(self._phantoms.coming)
        self._phantoms.episodes_end(dones)
        self._observations = deepcopy(observations)
        return observations, rewards, terminated, truncated, info

    def segments(self) -> list[Segment]:
        """Everything that is remembered as segments that do not overlap, counted from the start of each episode."""
        return [] if self._recorder is None else self._recorder.tile(self.segment_length)

    def sample(self, count: int, rng: np.random.Generator) -> list[Segment]:
        """Up to `count` segments drawn uniformly with replacement; fewer, or none, where hardly any fits yet."""
        return [] if self._recorder is None else self._recorder.draw(count, self.segment_length, rng)


def _check_lengths(env: Any, segment_length: int, capacity: int, horizon: Any) -> None:
    if not isinstance(horizon, int) and env.spec is not None:
        horizon = env.spec.max_episode_steps
    if segment_length < 1:
        raise ValueError(f"A segment must have at least 1 step, not {segment_length}.")
    if capacity < segment_length:
        raise ValueError(
            f"A capacity of {capacity} steps holds no segment of {segment_length}; give a larger capacity."
        )
    if isinstance(horizon, int) and horizon < segment_length:
        raise ValueError(
            f"A segment of {segment_length} steps does not fit into episodes of {horizon}; choose a shorter."
        )
