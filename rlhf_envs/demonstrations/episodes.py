"""Demonstrations: whole episodes that show how a task is done, and the file that holds them.

The file is one safetensors file that describes itself. Its tensors are `observations` (or `observations/<key>` for each
key of a Dict space), `actions`, `true_rewards` and `episode_starts`; its metadata has one entry, `demonstrations`, a
JSON object with the format's version, the environment and its spaces. Nothing in it is unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.simulation import space_bounds
from rlhf_envs.files import write_atomically
from rlhf_envs.observations import (
    Observations,
    concatenate_observations,
    map_observations,
    named_arrays,
    space_parts,
)

FORMAT_VERSION = 2
"""Raised by every change to the file; only files of this version are read."""

SUFFIX = ".safetensors"

_METADATA = "demonstrations"
_ARRAYS = ("actions", "true_rewards", "episode_starts")


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode from its first step to its last, T steps.

    Attributes:
        observations: before each action, (T, *obs), or a dict of such arrays for a flat Dict space. The observation
            after the last action is not among them.
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
        environment: in which they were recorded.
        observation_space, action_space: of that environment, as text.
        observations: (steps, *obs), or a dict of such arrays for a flat Dict space.
        actions: (steps, *act).
        true_rewards: (steps,) float32.
        episode_starts: True at the first step of each episode, (steps,) bool.

    Raises:
        ValueError: if there is no step, the arrays differ in length, numbers are not finite, or the first step does
            not start an episode.
    """

    environment: EnvironmentRef
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
        seen = {f"observations {key}".strip(): array for key, array in named_arrays(self.observations)}
        arrays = {**seen, "actions": self.actions, "rewards": self.true_rewards}
        for name, array in arrays.items():
            if len(array) != steps:
                raise ValueError(f"Demonstrations of {steps} steps need as many {name}, not {len(array)}.")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"The {name} of demonstrations must be finite numbers, but some are not.")

    @classmethod
    def from_episodes(
        cls,
        environment: str | EnvironmentRef,
        observation_space: Space[Any],
        action_space: Space[Any],
        episodes: Sequence[Episode],
    ) -> Demonstrations:
        """Concatenate episodes.

        Raises:
            ValueError: if there is none, they do not belong to the spaces, or the arguments are not plain JSON.
        """
        if not episodes:
            raise ValueError("Demonstrations must have at least one episode, but there is none.")
        demonstrations = cls(
            # As it is read from a file, so that episodes can be added to those of one.
            EnvironmentRef.from_json(EnvironmentRef.of(environment).to_json()),
            str(observation_space),
            str(action_space),
            concatenate_observations([episode.observations for episode in episodes]),
            np.concatenate([np.asarray(episode.actions, dtype=action_space.dtype) for episode in episodes]),
            np.concatenate([np.asarray(episode.true_rewards, dtype=np.float32) for episode in episodes]),
            np.concatenate([np.arange(len(episode.true_rewards)) == 0 for episode in episodes]),
        )
        demonstrations.check_fits(observation_space, action_space)
        return demonstrations

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

    def first(self, episodes: int) -> Demonstrations:
        """The first so many episodes.

        Raises:
            ValueError: if there are fewer.
        """
        if not 1 <= episodes <= self.episodes:
            raise ValueError(f"{episodes} episodes of demonstrations were asked for, but there are {self.episodes}.")
        steps = int(np.count_nonzero(self.episode_of_step < episodes))
        return replace(
            self,
            observations=map_observations(lambda array: array[:steps], self.observations),
            actions=self.actions[:steps],
            true_rewards=self.true_rewards[:steps],
            episode_starts=self.episode_starts[:steps],
        )

    def followed_by(self, more: Demonstrations) -> Demonstrations:
        """These episodes, then those of `more`.

        Raises:
            ValueError: if `more` was recorded in another environment.
        """
        if self._origin() != more._origin():
            raise ValueError(f"Demonstrations in {more._described()} cannot be added to those in {self._described()}.")
        return replace(
            self,
            observations=concatenate_observations([self.observations, more.observations]),
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
                    f"These demonstrations were recorded in {self.environment.id}, whose {name} is {recorded}, "
                    f"but here it is {space}."
                )
        parts = space_parts(observation_space)
        arrays = dict(named_arrays(self.observations))
        if set(parts) != set(arrays):
            raise ValueError(f"Demonstrations in {observation_space} have no observations {sorted(arrays)}.")
        for key, part in parts.items():
            _check_belongs(f"observations {key}".strip(), arrays[key], part)
        _check_belongs("actions", self.actions, action_space)

    def _origin(self) -> tuple[Any, ...]:
        # Episodes may differ in length, so it does not matter how the environment's were held to one.
        ref = self.environment
        return ref.id, ref.kwargs, ref.wrappers, self.observation_space, self.action_space

    def _described(self) -> str:
        described = {name: value for name, value in self.environment.to_json().items() if value and name != "id"}
        return f"{self.environment.id} with {described} ({self.observation_space} to {self.action_space})"


def save_demonstrations(demonstrations: Demonstrations, path: str | os.PathLike[str]) -> None:
    """Write a file in place of what is there. After a crash there is the old file or the new one, whole.

    Raises:
        ValueError: if the name does not end in .safetensors.
        OSError: if it cannot be written; what was there before is still there.
    """
    path = _checked_path(path)
    seen = named_arrays(demonstrations.observations)
    tensors = {f"observations/{key}" if key else "observations": array for key, array in seen}
    tensors |= {name: getattr(demonstrations, name) for name in _ARRAYS}
    description = {
        "format_version": FORMAT_VERSION,
        "environment": demonstrations.environment.to_json(),
        "observation_space": demonstrations.observation_space,
        "action_space": demonstrations.action_space,
    }
    content = to_safetensors(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()}, {_METADATA: json.dumps(description)}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise OSError(f"The demonstrations could not be written to {path}: {error.strerror}.") from error


def append_demonstrations(demonstrations: Demonstrations, path: str | os.PathLike[str]) -> Demonstrations:
    """Add whole episodes to a file, which is made if there is none; returns all that it holds now.

    A person who plays for an hour loses at most the current episode. One program at a time may append to a file.

    Raises:
        ValueError: if the file holds something else, or demonstrations in another environment.
        OSError: if it cannot be written; what was there before is still there.
    """
    path = _checked_path(path)
    combined = load_demonstrations(path).followed_by(demonstrations) if path.exists() else demonstrations
    save_demonstrations(combined, path)
    return combined


def load_demonstrations(path: str | os.PathLike[str]) -> Demonstrations:
    """Read a file of demonstrations.

    Raises:
        ValueError: if there is no such file, it is damaged, holds something else, or was written by a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {path} with demonstrations.")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged and cannot be read: {error}.") from error
    if _METADATA not in metadata:
        raise ValueError(f"{path} holds no demonstrations, but {', '.join(sorted(tensors)) or 'nothing'}.")
    try:
        description = json.loads(metadata[_METADATA])
        if description["format_version"] != FORMAT_VERSION:
            found = description["format_version"]
            raise ValueError(f"its format is version {found}, and this rlhf_envs reads version {FORMAT_VERSION}")
        environment = EnvironmentRef.from_json(description["environment"])
        prefix = "observations/"
        parts = {name.removeprefix(prefix): tensors[name] for name in tensors if name.startswith(prefix)}
        arrays = {name: tensors[name] for name in _ARRAYS}
        return Demonstrations(
            environment,
            description["observation_space"],
            description["action_space"],
            parts or tensors["observations"],
            **arrays,
        )
    except KeyError as error:
        raise ValueError(f"{path} cannot be read as demonstrations: {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as demonstrations: {str(error).rstrip('.')}.") from error


def _checked_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"A file of demonstrations must have a name that ends in {SUFFIX}, not {path.name!r}.")
    return path


def _check_belongs(name: str, array: NDArray[Any], space: Space[Any]) -> None:
    if array.shape[1:] != space.shape:
        raise ValueError(
            f"The {name} of demonstrations in {space} must have shape {space.shape} each, not {array.shape[1:]}."
        )
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        least, greatest = space_bounds(space)
        if (array < least).any() or (array > greatest).any():
            raise ValueError(f"The {name} of demonstrations hold a value outside of {space}.")
