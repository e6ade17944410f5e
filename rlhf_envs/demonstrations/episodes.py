"""Demonstrations: whole episodes that show how a task is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from rlhf_envs.observations import Observations


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode from its first step to its last, T steps.

    Attributes:
        observations: before each action, (T, *obs), or a dict of such arrays for a flat Dict space. The observation
            after the last action is not among them, because nobody acted on it.
        actions: (T, *act).
        true_rewards: the environment's own reward, (T,). Nothing is learned from it: it says how good the
            demonstrations are.
    """

    observations: Observations
    actions: NDArray[Any]
    true_rewards: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Whole episodes in one environment, one after another.

    Attributes:
        environment_id, environment_kwargs: where they were acted; the arguments are plain JSON.
        observation_space, action_space: of that environment, as text.
        observations: (steps, *obs), or a dict of such arrays for a flat Dict space.
        actions: (steps, *act).
        true_rewards: (steps,) float32.
        episode_starts: True at the first step of each episode, (steps,) bool.

    Raises:
        ValueError: if there is no step, the arrays differ in length, numbers are not finite, or the first step does
            not start an episode.
    """

    environment_id: str
    environment_kwargs: Mapping[str, Any]
    observation_space: str
    action_space: str
    observations: Observations
    actions: NDArray[Any]
    true_rewards: NDArray[np.float32]
    episode_starts: NDArray[np.bool_]

    def __post_init__(self) -> None:
        steps = len(self.episode_starts)
        if steps == 0:
            raise ValueError("Demonstrations must have at least one step, but there is none.")
        if not self.episode_starts[0]:
            raise ValueError("Demonstrations must begin with the first step of an episode.")
        arrays = {**self._named_observations(), "actions": self.actions, "rewards": self.true_rewards}
        for name, array in arrays.items():
            if len(array) != steps:
                raise ValueError(f"Demonstrations of {steps} steps need as many {name}, not {len(array)}.")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"The {name} of demonstrations must be finite numbers, but some are not.")

    @classmethod
    def from_episodes(
        cls,
        environment_id: str,
        environment_kwargs: Mapping[str, Any],
        observation_space: Space[Any],
        action_space: Space[Any],
        episodes: Sequence[Episode],
    ) -> Demonstrations:
        """Put episodes together.

        Raises:
            ValueError: if there is none, they do not belong to the spaces, or the arguments are not plain JSON.
        """
        if not episodes:
            raise ValueError("Demonstrations must have at least one episode, but there is none.")
        try:
            kwargs = json.loads(json.dumps(dict(environment_kwargs), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"An environment's arguments are kept as JSON, which has no form for these: {error}."
            ) from error
        together = cls(
            environment_id,
            kwargs,
            str(observation_space),
            str(action_space),
            _concatenated([episode.observations for episode in episodes]),
            np.concatenate([np.asarray(episode.actions, dtype=action_space.dtype) for episode in episodes]),
            np.concatenate([np.asarray(episode.true_rewards, dtype=np.float32) for episode in episodes]),
            np.concatenate([np.arange(len(episode.true_rewards)) == 0 for episode in episodes]),
        )
        together.check_fits(observation_space, action_space)
        return together

    def __len__(self) -> int:
        return len(self.episode_starts)

    @property
    def episodes(self) -> int:
        """How many there are."""
        return int(self.episode_starts.sum())

    @property
    def episode_of_step(self) -> NDArray[np.intp]:
        """Which episode each step belongs to, counted from 0, (steps,)."""
        return np.cumsum(self.episode_starts, dtype=np.intp) - 1

    @property
    def true_returns(self) -> NDArray[np.float64]:
        """The sum of true rewards of each episode, (episodes,)."""
        return np.bincount(self.episode_of_step, weights=self.true_rewards).astype(np.float64)

    def first(self, episodes: int) -> Demonstrations:
        """The first so many episodes.

        Raises:
            ValueError: if there are fewer.
        """
        if not 1 <= episodes <= self.episodes:
            raise ValueError(f"{episodes} episodes of demonstrations were asked for, but there are {self.episodes}.")
        steps = int(np.count_nonzero(self.episode_of_step < episodes))
        observations = self.observations
        return replace(
            self,
            observations={name: array[:steps] for name, array in observations.items()}
            if isinstance(observations, dict)
            else observations[:steps],
            actions=self.actions[:steps],
            true_rewards=self.true_rewards[:steps],
            episode_starts=self.episode_starts[:steps],
        )

    def followed_by(self, more: Demonstrations) -> Demonstrations:
        """These episodes, then those of `more`.

        Raises:
            ValueError: if `more` was acted in another environment.
        """
        if self._origin() != more._origin():
            raise ValueError(f"Demonstrations in {more._described()} cannot be added to those in {self._described()}.")
        return replace(
            self,
            observations=_concatenated([self.observations, more.observations]),
            actions=np.concatenate([self.actions, more.actions]),
            true_rewards=np.concatenate([self.true_rewards, more.true_rewards]),
            episode_starts=np.concatenate([self.episode_starts, more.episode_starts]),
        )

    def check_fits(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Refuse spaces of an environment that these demonstrations do not fit.

        Raises:
            ValueError: if a space is not the one they were recorded in, or an array does not belong to its space.
        """
        for name, recorded, space in (
            ("observation space", self.observation_space, observation_space),
            ("action space", self.action_space, action_space),
        ):
            if recorded != str(space):
                raise ValueError(
                    f"These demonstrations were recorded in {self.environment_id}, whose {name} is {recorded}, "
                    f"but here it is {space}."
                )
        parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {"": observation_space}
        arrays = self.observations if isinstance(self.observations, dict) else {"": self.observations}
        if set(parts) != set(arrays):
            raise ValueError(f"Demonstrations in {observation_space} have no observations {sorted(arrays)}.")
        for key, part in parts.items():
            _check_belongs(f"observations {key}".strip(), arrays[key], part)
        _check_belongs("actions", self.actions, action_space)

    def _named_observations(self) -> dict[str, NDArray[Any]]:
        if isinstance(self.observations, dict):
            return {f"observations {name}": array for name, array in self.observations.items()}
        return {"observations": self.observations}

    def _origin(self) -> tuple[str, Mapping[str, Any], str, str]:
        return self.environment_id, self.environment_kwargs, self.observation_space, self.action_space

    def _described(self) -> str:
        kwargs = f" with {dict(self.environment_kwargs)}" if self.environment_kwargs else ""
        return f"{self.environment_id}{kwargs} ({self.observation_space} to {self.action_space})"


def _concatenated(parts: Sequence[Observations]) -> Observations:
    first = parts[0]
    if isinstance(first, dict):
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    return np.concatenate([np.asarray(part) for part in parts])


def _check_belongs(name: str, array: NDArray[Any], space: Space[Any]) -> None:
    if array.shape[1:] != space.shape:
        raise ValueError(
            f"The {name} of demonstrations in {space} must have shape {space.shape} each, not {array.shape[1:]}."
        )
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        count = space.n if isinstance(space, spaces.Discrete) else space.nvec
        if (array < space.start).any() or (array >= space.start + count).any():
            raise ValueError(f"The {name} of demonstrations hold a value outside of {space}.")
