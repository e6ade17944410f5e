"""What is checked: one environment id with its arguments, and how to make copies of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.registration import is_native
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class EnvironmentCheckError(AssertionError):
    """An environment does not keep to what it must; the message says which check found it, and what."""


class NotApplicable(Exception):
    """A check has nothing to look at in this environment; the message says why."""


@dataclass(frozen=True)
class Subject:
    """An environment under test.

    Attributes:
        id: as registered.
        kwargs: its arguments.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def native(self) -> bool:
        """Whether it is written on the suite's batched base."""
        return is_native(self.id)

    def make(self, **more: Any) -> gym.Env[Any, Any]:
        """The scalar environment."""
        return gym.make(self.id, disable_env_checker=True, **{**self.kwargs, **more})

    def make_task(self, **more: Any) -> TaskEnv:
        """The scalar environment itself, without Gymnasium's wrappers.

        Raises:
            NotApplicable: if it is not written on the batched base.
        """
        self._require_native()
        env = self.make(**more).unwrapped
        if not isinstance(env, TaskEnv):
            raise EnvironmentCheckError(f"{self.id} has a batched vector view, but its scalar view is no TaskEnv.")
        return env

    def make_batch(self, copies: int, **more: Any) -> TaskVectorEnv:
        """The vector environment.

        Raises:
            NotApplicable: if it is not written on the batched base.
        """
        self._require_native()
        env = gym.make_vec(self.id, num_envs=copies, **{**self.kwargs, **more}).unwrapped
        if not isinstance(env, TaskVectorEnv):
            raise EnvironmentCheckError(f"{self.id} has a vector view that is no TaskVectorEnv.")
        return env

    def _require_native(self) -> None:
        if not self.native:
            raise NotApplicable("it is not written on this suite's batched base")


def require(condition: bool, complaint: str) -> None:
    """Raise `EnvironmentCheckError` with the complaint unless the condition holds."""
    if not condition:
        raise EnvironmentCheckError(complaint)


def same(first: Any, second: Any) -> bool:
    """Whether two observations, rewards or infos are equal, number for number and key for key."""
    if isinstance(first, Mapping):
        return (
            isinstance(second, Mapping)
            and first.keys() == second.keys()
            and all(same(first[k], second[k]) for k in first)
        )
    left, right = np.asarray(first), np.asarray(second)
    if left.dtype == object or right.dtype == object:
        return left.shape == right.shape and all(same(a, b) for a, b in zip(left.flat, right.flat, strict=True))
    return left.shape == right.shape and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")


def row_of(batched: Any, row: int) -> Any:
    """One copy's part of a batched observation or info; keys with a leading underscore are Gymnasium's masks."""
    if isinstance(batched, Mapping):
        return {name: row_of(value, row) for name, value in batched.items() if not name.startswith("_")}
    return batched[row]


def sample_actions(subject: Subject, steps: int, copies: int, seed: int) -> NDArray[Any]:
    """Random actions, (steps, copies, *action shape)."""
    env = subject.make()
    env.action_space.seed(seed)
    return np.array([[env.action_space.sample() for _ in range(copies)] for _ in range(steps)])
