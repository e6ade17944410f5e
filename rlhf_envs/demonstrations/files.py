"""The file of demonstrations: one safetensors file that describes itself.

Its tensors are `observations` (or `observations/<key>` for each key of a Dict space), `actions`, `true_rewards` and
`episode_starts`; its metadata has one entry, `demonstrations`, a JSON object with the format's version, the
environment and its spaces. Reading it runs no code that it could bring along.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from rlhf_envs.demonstrations.episodes import Demonstrations
from rlhf_envs.observations import Observations

FORMAT_VERSION = 1
SUFFIX = ".safetensors"

_METADATA = "demonstrations"
_SINGLE = "observations"
_DICT_PREFIX = "observations/"


def save_demonstrations(demonstrations: Demonstrations, path: str | os.PathLike[str]) -> None:
    """Write a file in place of what is there. After a crash there is the old file or the new one, whole.

    Raises:
        ValueError: if the name does not end in .safetensors.
        OSError: if it cannot be written; what was there before is still there.
    """
    path = Path(path)
    _check_suffix(path)
    content = to_safetensors(_tensors(demonstrations), {_METADATA: json.dumps(_description(demonstrations))})
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(f"The demonstrations could not be written to {path}: {error.strerror}.") from error
    _make_lasting(path.parent)


def append_demonstrations(demonstrations: Demonstrations, path: str | os.PathLike[str]) -> Demonstrations:
    """Add whole episodes to a file, which is made if there is none; returns all that it holds now.

    A person who plays for an hour loses at most the episode at hand. One program at a time may append to a file.

    Raises:
        ValueError: if the file holds something else, or demonstrations in another environment.
        OSError: if it cannot be written; what was there before is still there.
    """
    path = Path(path)
    _check_suffix(path)
    together = load_demonstrations(path).followed_by(demonstrations) if path.exists() else demonstrations
    save_demonstrations(together, path)
    return together


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
        version = int(description["format_version"])
        if version > FORMAT_VERSION:
            raise ValueError(
                f"its format is version {version}, and this rlhf_envs reads up to version {FORMAT_VERSION}"
            )
        return Demonstrations(
            description["environment_id"],
            description["environment_kwargs"],
            description["observation_space"],
            description["action_space"],
            _observations(tensors),
            tensors["actions"],
            tensors["true_rewards"],
            tensors["episode_starts"],
        )
    except KeyError as error:
        raise ValueError(f"{path} cannot be read as demonstrations: {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as demonstrations: {str(error).rstrip('.')}.") from error


def _check_suffix(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise ValueError(f"A file of demonstrations must have a name that ends in {SUFFIX}, not {path.name!r}.")


def _description(demonstrations: Demonstrations) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "environment_id": demonstrations.environment_id,
        "environment_kwargs": dict(demonstrations.environment_kwargs),
        "observation_space": demonstrations.observation_space,
        "action_space": demonstrations.action_space,
    }


def _tensors(demonstrations: Demonstrations) -> dict[str, NDArray[Any]]:
    observations = demonstrations.observations
    named = (
        {_DICT_PREFIX + key: array for key, array in observations.items()}
        if isinstance(observations, dict)
        else {_SINGLE: observations}
    )
    named["actions"] = demonstrations.actions
    named["true_rewards"] = demonstrations.true_rewards
    named["episode_starts"] = demonstrations.episode_starts
    return {name: np.ascontiguousarray(array) for name, array in named.items()}


def _observations(tensors: dict[str, NDArray[Any]]) -> Observations:
    parts = {name.removeprefix(_DICT_PREFIX): array for name, array in tensors.items() if name.startswith(_DICT_PREFIX)}
    return parts or tensors[_SINGLE]


def _make_lasting(folder: Path) -> None:
    # The new name of a file survives a power cut only once its folder is on the disk as well.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
