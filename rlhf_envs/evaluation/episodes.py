"""Plays whole episodes in several copies of an environment at once, on seeds that training never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.views import TaskEnv, TaskVectorEnv
from rlhf_envs.observations import Observations, stack_observations
from rlhf_envs.wrappers import true_reward, true_rewards

FIRST_SEED = 1_000_000
"""Training counts its seeds from the run's own, which is small; evaluation begins far above them."""

_TERM_PREFIX = "reward_"


@dataclass(frozen=True, eq=False)
class StepResult:
    """What one step of N copies returned.

    Attributes:
        observations: after the step, (N, *obs) or a dict of such.
        true_rewards: (N,) float64; 0 in copies whose episode had ended before.
        proxy_rewards: (N,) float64, or None where the environment has no proxy reward.
        terms: what each named term adds to the true reward, weighted, (N,) float64; empty where none are named.
        done: (N,) bool, whether the episode ended with this step.
        terminated: (N,) bool, whether the environment ended it.
        measures: the figures of the episodes that ended with this step, (N,) float64, not a number in other copies;
            empty where the environment has none.
    """

    observations: Observations
    true_rewards: NDArray[np.float64]
    proxy_rewards: NDArray[np.float64] | None
    terms: dict[str, NDArray[np.float64]]
    done: NDArray[np.bool_]
    terminated: NDArray[np.bool_]
    measures: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Transition:
    """One step of N copies as it was played.

    Attributes:
        observations: input of the policy, (N, *obs) or a dict of such.
        actions: its output, (N, *act).
        running: (N,) bool, the copies whose episode had not ended yet; other rows of the fields are meaningless.
        result: what the step returned.
    """

    observations: Observations
    actions: NDArray[Any]
    running: NDArray[np.bool_]
    result: StepResult


class Copies:
    """N copies of one environment, for one episode each; stepped one after another, and each waits once it has ended.

    Args:
        environment: which.
        envs: the copies, made by `EnvironmentRef.make`.

    Attributes:
        environment: as given.
        count: N.
        observation_space, action_space: of a single copy.
        scripted_policies: which of `SCRIPTED_POLICIES` the environment defines.
    """

    observation_space: Space[Any]
    action_space: Space[Any]

    def __init__(self, environment: EnvironmentRef, envs: Sequence[gym.Env[Any, Any]]) -> None:
        self._describe(environment, len(envs), envs[0])
        self.observation_space, self.action_space = envs[0].observation_space, envs[0].action_space
        self._envs = envs
        self._observations: list[Any] = []

    def _describe(self, environment: EnvironmentRef, count: int, env: Any) -> None:
        self.environment, self.count = environment, count
        task = env.unwrapped.task if isinstance(env.unwrapped, TaskEnv | TaskVectorEnv) else None
        self.scripted_policies: tuple[str, ...] = task.scripted_policies if task else ()
        self._weights: Mapping[str, float] = task.reward_weights if task else {}

    def reset(self, seed: int) -> Observations:
        """Begin an episode in every copy, copy i with seed + i; the first observations, (N, *obs)."""
        self._observations = [env.reset(seed=seed + row)[0] for row, env in enumerate(self._envs)]
        return stack_observations(self._observations)

    def step(self, actions: NDArray[Any], running: NDArray[np.bool_]) -> StepResult:
        """Step the copies that are running, (N,) bool, with actions (N, *act)."""
        true, proxy = np.zeros(self.count), np.zeros(self.count)
        done, ended = np.zeros((2, self.count), dtype=np.bool_)
        terms: dict[str, NDArray[np.float64]] = {}
        measures: dict[str, NDArray[np.float64]] = {}
        has_proxy = False
        for row in np.flatnonzero(running).tolist():
            observation, reward, terminated, truncated, info = self._envs[row].step(actions[row])
            self._observations[row] = observation
            true[row] = true_reward(reward, info)
            done[row], ended[row] = terminated or truncated, terminated
            if "proxy_reward" in info:
                has_proxy = True
                proxy[row] = info["proxy_reward"]
            for name, value in _named_terms(info, self._weights).items():
                terms.setdefault(name, np.zeros(self.count))[row] = value
            for name, value in _measures(info).items():
                measures.setdefault(name, np.full(self.count, np.nan))[row] = value
        observations = stack_observations(self._observations)
        return StepResult(observations, true, proxy if has_proxy else None, terms, done, ended, measures)

    def scripted_action(self, role: str) -> NDArray[Any]:
        """The action of a scripted policy in the current states, (N, *act)."""
        return np.stack([getattr(env.unwrapped, f"{role}_action")() for env in self._envs])

    @property
    def has_action_masks(self) -> bool:
        """Whether the environment says which actions are allowed."""
        return self._envs[0].has_wrapper_attr("action_masks")

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are allowed in the current states, (N, actions), as environments with masks say.

        Raises:
            AttributeError: if the environment has no method `action_masks`.
        """
        return np.stack([env.get_wrapper_attr("action_masks")() for env in self._envs])

    def close(self) -> None:
        """Close the environments, but those of classic control that have drawn: closing one ends all of pygame.

        Windows that are open in this process would go with it.
        """
        for env in self._envs:
            screen = getattr(env.unwrapped, "screen", None)
            if type(screen).__module__.partition(".")[0] != "pygame":
                env.close()


class BatchedCopies(Copies):
    """Copies of an environment of the suite, advanced together: all episodes end with the same step, at the horizon."""

    def __init__(self, environment: EnvironmentRef, count: int) -> None:
        self._env = environment.make_vector(count)
        self._describe(environment, count, self._env)
        self.observation_space = self._env.single_observation_space
        self.action_space = self._env.single_action_space

    def reset(self, seed: int) -> Observations:
        """Begin an episode in every copy."""
        observations: Observations = self._env.reset(seed=seed)[0]
        return observations

    def step(self, actions: NDArray[Any], running: NDArray[np.bool_]) -> StepResult:
        """Step every copy."""
        observations, rewards, terminated, truncated, info = self._env.step(actions)
        terms = info["reward_terms"]
        return StepResult(
            observations,
            true_rewards(rewards, info).astype(np.float64),
            np.asarray(info["proxy_reward"], dtype=np.float64) if "proxy_reward" in info else None,
            {name: weight * terms[name].astype(np.float64) for name, weight in self._weights.items()},
            terminated | truncated,
            terminated,
            {name: values for name, values in info.get("measures", {}).items() if not name.startswith("_")},
        )

    def scripted_action(self, role: str) -> NDArray[Any]:
        """The action of a scripted policy, (N, *act)."""
        return np.asarray(getattr(self._env.unwrapped, f"{role}_action")())

    @property
    def has_action_masks(self) -> bool:
        """Whether the environment says which actions are allowed."""
        return hasattr(self._env.unwrapped, "action_masks")

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are allowed, (N, actions)."""
        env: Any = self._env.unwrapped
        return np.asarray(env.action_masks())

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


def make_copies(environment: EnvironmentRef | str, count: int) -> Copies:
    """Copies of an environment in the fastest form that it allows.

    Args:
        environment: which one, or its id.
        count: how many copies.

    Raises:
        ValueError: as `EnvironmentRef.make`, or for a count below 1.
    """
    environment = EnvironmentRef.of(environment)
    if count < 1:
        raise ValueError(f"At least 1 episode must be played, not {count}.")
    if environment.is_native and not environment.wrappers:
        return BatchedCopies(environment, count)
    return Copies(environment, [environment.make() for _ in range(count)])


def play(act: Callable[[Observations], NDArray[Any]], copies: Copies, seed: int) -> Iterator[Transition]:
    """Play one episode in every copy, step by step.

    Args:
        act: from observations (N, *obs) to actions (N, *act).
        copies: where to play.
        seed: copy i begins with seed + i.
    """
    observations = copies.reset(seed)
    running = np.ones(copies.count, dtype=np.bool_)
    while running.any():
        actions = act(observations)
        result = copies.step(actions, running)
        yield Transition(observations, actions, running, result)
        running = running & ~result.done
        observations = result.observations


def _measures(info: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an episode in the info of its last step; others' infos may hold something else by that name."""
    found = info.get("measures")
    if not isinstance(found, Mapping):
        return {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float | np.number)}


def _named_terms(info: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, float]:
    """The weighted terms of a step's reward: `info["reward_terms"]`, or MuJoCo's keys such as `reward_ctrl`."""
    if "reward_terms" in info:
        return {name: weights.get(name, 1.0) * float(value) for name, value in info["reward_terms"].items()}
    return {
        name.removeprefix(_TERM_PREFIX): float(value)
        for name, value in info.items()
        if name.startswith(_TERM_PREFIX) and isinstance(value, int | float | np.number) and np.isfinite(value)
    }
