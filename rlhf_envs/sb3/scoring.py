"""Scores whole rollouts: the algorithm collects them unpaid, and the rewards are filled in before it learns."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from rlhf_envs.observations import Observations
from rlhf_envs.sb3.vec_env import PreferenceVecEnv


class RewardSink(Protocol):
    """How the rewards of a rollout reach an algorithm."""

    @property
    def steps(self) -> int:
        """Steps of every copy in a rollout, which are scored at a time."""

    def fill(self, rewards: NDArray[np.float32], local_variables: Mapping[str, Any]) -> None:
        """Give the algorithm the rewards of the rollout that it has just collected.

        Args:
            rewards: (steps, copies).
            local_variables: of the method that collects rollouts, which Stable-Baselines3's callbacks have as `locals`.
        """


class RolloutRewards:
    """Rewards into the rollout buffer of an on-policy algorithm, whose advantages are computed again.

    The environment pays nothing while a rollout is collected, so the buffer holds only what Stable-Baselines3 adds
    itself at a truncation: the discounted value of the last observation. The rewards are added to that.

    Args:
        model: such as PPO and A2C.

    Raises:
        ValueError: if it has no rollout buffer.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        buffer = getattr(model, "rollout_buffer", None)
        if not isinstance(buffer, RolloutBuffer | DictRolloutBuffer):
            raise ValueError(
                f"{type(model).__name__} has no rollout buffer to score; train it on a finished reward model with the "
                "wrapper LearnedReward instead, or use PPO or A2C."
            )
        self._buffer = buffer

    @property
    def steps(self) -> int:
        """Steps of every copy in a rollout."""
        return self._buffer.buffer_size

    def fill(self, rewards: NDArray[np.float32], local_variables: Mapping[str, Any]) -> None:
        """Add the rewards (steps, copies), and compute returns and advantages again."""
        self._buffer.rewards += rewards
        self._buffer.compute_returns_and_advantage(
            last_values=local_variables["values"], dones=local_variables["dones"]
        )


def reward_sink(model: BaseAlgorithm) -> RewardSink:
    """How rewards reach an algorithm, by the kind of buffer that it learns from.

    Raises:
        ValueError: if there is no buffer of a known kind.
    """
    return RolloutRewards(model)


class ScoringCallback(BaseCallback):
    """Fills in the rewards of each rollout when it is complete; a subclass defines the rewards.

    Args:
        env: the environment that the algorithm trains on.

    Attributes:
        rewards: how they reach the algorithm; found out when training starts where None.
        scoring_seconds, rollout_seconds: time spent in scoring and in collecting rollouts so far.
        last_scores: the rewards of the last rollout, (steps, copies).
    """

    def __init__(self, env: PreferenceVecEnv) -> None:
        super().__init__()
        self.env = env
        self.rewards: RewardSink | None = None
        self.scoring_seconds = 0.0
        self.rollout_seconds = 0.0
        self.last_scores: NDArray[np.float32] = np.zeros((0, env.num_envs), dtype=np.float32)
        self._rollout_started = time.perf_counter()

    @abstractmethod
    def before_scoring(self) -> None:
        """Called when a rollout is complete, before it is scored."""

    @abstractmethod
    def score(
        self, observations: Observations, actions: NDArray[Any], env_rewards: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The rewards (B,) of B steps: observations (B, *obs), actions (B, *act), what the environment paid (B,)."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what a resumed run needs into a checkpoint's folder, and return JSON values for `restore`."""
        return {}

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Take back what `save` wrote and returned.

        Raises:
            ValueError, KeyError: if it is damaged.
        """

    def connect(self, rewards: RewardSink) -> None:
        """Say how the rewards reach the algorithm, before training starts; otherwise that is found out then."""
        self.rewards = rewards
        self.env.remember(rewards.steps)

    def save_result(self, path: Path) -> None:
        """Write the reward model, if one was learned.

        Raises:
            ValueError: if one should have been learned, but nothing was asked.
        """

    def close(self) -> None:
        """Close what the callback has opened."""

    @property
    def mean_return(self) -> float:
        """What the rewards of the last rollout sum up to in an episode of average length."""
        return float(self.last_scores.mean()) * self.env.mean_episode_length

    def _on_training_start(self) -> None:
        if self.rewards is None:
            self.connect(reward_sink(self.model))
        if not _wraps(self.training_env, self.env):
            raise ValueError(
                f"{type(self.model).__name__} trains on another environment than the one that its callback scores; "
                "give both the same one, from make_vec_env."
            )

    def _on_rollout_start(self) -> None:
        self._rollout_started = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.rollout_seconds += time.perf_counter() - self._rollout_started
        self.before_scoring()
        assert self.rewards is not None
        started = time.perf_counter()
        observations, actions, env_rewards = self.env.recorder.latest(self.rewards.steps)
        scores = self.score(observations, actions, env_rewards)
        self.last_scores = scores.reshape(-1, self.env.num_envs).astype(np.float32)
        self.scoring_seconds += time.perf_counter() - started
        self.rewards.fill(self.last_scores, self.locals)
        if self.env.true_returns:
            self.logger.record("rollout/true_return_mean", float(np.mean(self.env.true_returns)))
        self.logger.record("rollout/score_mean", float(self.last_scores.mean()))


def _wraps(outer: VecEnv, inner: VecEnv) -> bool:
    while outer is not inner and isinstance(outer, VecEnvWrapper):
        outer = outer.venv
    return outer is inner


class EnvironmentRewardCallback(ScoringCallback):
    """Trains on what the environment pays: the baseline, which is what plain Stable-Baselines3 gives.

    With the environment's default objective that is the true reward; with `objective="proxy"` the proxy.
    """

    def before_scoring(self) -> None:
        """Nothing has to be learned first."""
        return None

    def score(
        self, observations: Observations, actions: NDArray[Any], env_rewards: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The environment's rewards as they are."""
        return env_rewards
