"""A small environment of the suite's own kind, reward functions, and a way to run a vector environment."""

import warnings
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from rlhf_envs.envs.task import Draws, Field, State, Task, Terms
from rlhf_envs.envs.views import TaskEnv, TaskVectorEnv


class Drift(Task):
    """A point that drifts; the true reward is its place, the proxy reward is 100."""

    fields = {"place": Field()}
    reward_weights = {"place": 2.0}
    reset_draws = {"place": ()}
    rubric = "Which point is further right?"

    def __init__(self, horizon: int = 7) -> None:
        self.observation_space = Box(-10, 10, (1,), np.float32)
        self.action_space = Box(-1, 1, (1,), np.float32)
        super().__init__(horizon)

    def begin(self, state: State, draws: Draws) -> None:
        state.place = draws.place

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, NDArray[np.float32]]:
        state.place = np.clip(state.place + actions[:, 0], -10, 10)
        return {"place": state.place}, np.full(state.copies, 100, dtype=np.float32)

    def observe(self, state: State) -> NDArray[Any]:
        return state.place[:, None].copy()

    def draw(self, row: SimpleNamespace, canvas: Any) -> None:
        return

    def expert_action(self, state: State) -> NDArray[Any]:
        return np.ones((state.copies, 1), dtype=np.float32)

    def proxy_action(self, state: State) -> NDArray[Any]:
        return np.zeros((state.copies, 1), dtype=np.float32)


@pytest.fixture
def drift_env() -> Callable[..., TaskEnv]:
    return partial(TaskEnv, Drift)


@pytest.fixture
def drift_vector_env() -> Callable[..., TaskVectorEnv]:
    return partial(TaskVectorEnv, Drift)


class SumReward:
    """Pays the sum of the observation plus ten times the action, and is more unsure the larger the action."""

    def reward(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float32]:
        flat = np.asarray(observations, dtype=np.float32).reshape(len(actions), -1)
        return flat.sum(1) + 10 * np.asarray(actions, dtype=np.float32).reshape(len(actions), -1).sum(1)

    def spread(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float32]:
        return np.abs(np.asarray(actions, dtype=np.float32).reshape(len(actions), -1)).sum(1)


@pytest.fixture
def sum_reward() -> SumReward:
    return SumReward()


class OneStep:
    """What went in and came out of one step of a vector environment."""

    def __init__(self, before: Any, actions: Any, result: tuple[Any, ...]) -> None:
        self.before, self.actions = before, actions
        self.after, self.rewards, self.terminated, self.truncated, self.info = result

    @property
    def done(self) -> NDArray[np.bool_]:
        return self.terminated | self.truncated


@pytest.fixture
def play() -> Callable[..., list[OneStep]]:
    """Runs a vector environment with random actions."""

    def run(env: gym.vector.VectorEnv[Any, Any, Any], steps: int, seed: int = 0) -> list[OneStep]:
        env.action_space.seed(seed)
        before, _ = env.reset(seed=seed)
        history = []
        for _ in range(steps):
            actions = env.action_space.sample()
            step = OneStep(np.array(before), actions, env.step(actions))
            history.append(step)
            before = step.after
        return history

    return run


@pytest.fixture
def cartpoles() -> Callable[..., SyncVectorEnv]:
    def make(copies: int = 3) -> SyncVectorEnv:
        return SyncVectorEnv([lambda: gym.make("CartPole-v1")] * copies, autoreset_mode=AutoresetMode.SAME_STEP)

    return make


@pytest.fixture
def gymnasium_checks() -> Callable[[gym.Env[Any, Any]], None]:
    """Gymnasium's checker, silent only about the spaces of the wrapped environment and about there being a wrapper."""

    def check(env: gym.Env[Any, Any]) -> None:
        with warnings.catch_warnings():
            for about in ("A Box observation space m", "For Box action spaces", "The environment .* is different from"):
                warnings.filterwarnings("ignore", message=f".*{about}")
            check_env(env, skip_render_check=True)

    return check
