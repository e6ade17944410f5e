"""Scores whole rollouts: the algorithm collects them unpaid, and the rewards are filled in before it learns."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from rlhf_envs.observations import Observations
from rlhf_envs.sb3.preference_env import PreferenceVecEnv


class ScoringCallback(BaseCallback):
    """Fills in the rewards of each rollout when it is complete; a subclass says what the rewards are.

    The environment pays nothing while a rollout is collected, so the rollout buffer then holds only what
    Stable-Baselines3 adds itself at a truncation: the discounted value of the last observation. The scores are added to
    that, and returns and advantages are computed again.

    Args:
        env: the environment that the algorithm trains on.

    Attributes:
        scoring_seconds, rollout_seconds: time spent in scoring and in collecting rollouts so far.
        last_scores: the rewards of the last rollout, (steps, copies).
    """

    def __init__(self, env: PreferenceVecEnv) -> None:
        super().__init__()
        self.env = env
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

    def _on_training_start(self) -> None:
        buffer = getattr(self.model, "rollout_buffer", None)
        if not isinstance(buffer, RolloutBuffer | DictRolloutBuffer):
            raise ValueError(
                f"{type(self.model).__name__} has no rollout buffer to score; train it on a finished reward model with "
                "LearnedRewardVecEnv instead, or use PPO or A2C."
            )
        if not _wraps(self.training_env, self.env):
            raise ValueError(
                f"{type(self.model).__name__} trains on another environment than the one that its callback scores; "
                "give both the same one, from make_vec_env."
            )
        self.env.remember(buffer.buffer_size)

    def _on_rollout_start(self) -> None:
        self._rollout_started = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.rollout_seconds += time.perf_counter() - self._rollout_started
        self.before_scoring()
        started = time.perf_counter()
        buffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        observations, actions, env_rewards = self.env.recorder.latest(buffer.buffer_size)
        scores = self.score(observations, actions, env_rewards)
        self.last_scores = scores.reshape(buffer.rewards.shape).astype(np.float32)
        self.scoring_seconds += time.perf_counter() - started
        buffer.rewards += self.last_scores
        buffer.compute_returns_and_advantage(last_values=self.locals["values"], dones=self.locals["dones"])
        if self.env.true_returns:
            self.logger.record("rollout/true_return_mean", float(np.mean(self.env.true_returns)))
        self.logger.record("rollout/score_mean", float(self.last_scores.mean()))


def _wraps(outer: VecEnv, inner: VecEnv) -> bool:
    while outer is not inner and isinstance(outer, VecEnvWrapper):
        outer = outer.venv
    return outer is inner


class EnvironmentRewardCallback(ScoringCallback):
    """Trains on what the environment pays, standardised as learned rewards are: the baseline beside them.

    With the environment's default objective that is the true reward; with `objective="proxy"` the proxy.

    Attributes:
        mean, variance, count: of the rewards seen so far; what a checkpoint keeps.
    """

    def __init__(self, env: PreferenceVecEnv) -> None:
        super().__init__(env)
        self.mean, self.variance, self.count = 0.0, 0.0, 0

    def before_scoring(self) -> None:
        """Nothing has to be learned first."""
        return None

    def score(
        self, observations: Observations, actions: NDArray[Any], env_rewards: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The environment's rewards with zero mean and unit deviation over all that was seen."""
        new_mean, new_variance, new_count = float(env_rewards.mean()), float(env_rewards.var()), len(env_rewards)
        total = self.count + new_count
        shift = new_mean - self.mean
        self.variance = (
            self.variance * self.count + new_variance * new_count + shift**2 * self.count * new_count / total
        ) / total
        self.mean += shift * new_count / total
        self.count = total
        return (env_rewards - np.float32(self.mean)) / np.float32(max(self.variance**0.5, 1e-8))
