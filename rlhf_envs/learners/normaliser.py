"""Observations standardised over all that was seen, by Stable-Baselines3's VecNormalize, whose own file is a pickle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from rlhf_envs.observations import space_parts

_EPSILON = 1e-8
"""What VecNormalize adds to a variance."""


def normalised(env: VecEnv, settings: Any, rewards: bool = False) -> VecEnv:
    """The environment with observations, and its own rewards, scaled as a learner's settings ask for.

    Args:
        env: any.
        settings: of a learner; those without the fields of `LearnerConfig` ask for nothing.
        rewards: whether the environment pays the rewards that are learned from.

    Returns:
        The environment itself, or a `VecNormalize` around it. Pictures and categories stay as they are.
    """
    space = env.observation_space
    parts = space_parts(space)
    keys = [key for key, part in parts.items() if isinstance(part, spaces.Box) and not is_image_space(part)]
    observations = bool(getattr(settings, "normalize_observations", False) and keys)
    rewards = rewards and bool(getattr(settings, "normalize_rewards", False))
    if not observations and not rewards:
        return env
    chosen = keys if observations and isinstance(space, spaces.Dict) else None
    return VecNormalize(
        env, norm_obs=observations, norm_reward=rewards, gamma=getattr(settings, "gamma", 0.99), norm_obs_keys=chosen
    )


def save_normaliser(model: BaseAlgorithm, path: Path) -> None:
    """Write the statistics of the model's VecNormalize; nothing, if it has none.

    Raises:
        OSError: if the file cannot be written.
    """
    normaliser = model.get_vec_normalize_env()
    if normaliser is None:
        return
    arrays = {
        f"{name}/{part}": np.array(getattr(statistics, part), dtype=np.float64)
        for name, statistics in _statistics(normaliser)
        for part in ("mean", "var", "count")
    }
    arrays["returns"] = np.array(normaliser.returns, dtype=np.float64)
    save_file(arrays, path)


def load_normaliser(model: BaseAlgorithm, path: Path, acting: bool = False) -> None:
    """Take back what `save_normaliser` wrote; nothing, if the model has no VecNormalize.

    Args:
        model: with an environment of the same spaces.
        path: of the file.
        acting: whether the model only acts from now on, so that the statistics stay as they are.

    Raises:
        OSError, ValueError, KeyError: if the file is missing, damaged or of other spaces.
    """
    normaliser = model.get_vec_normalize_env()
    if normaliser is None:
        return
    arrays = load_file(path)
    for name, statistics in _statistics(normaliser):
        for part in ("mean", "var"):
            own: NDArray[Any] = np.asarray(getattr(statistics, part))
            found = arrays[f"{name}/{part}"]
            if found.shape != own.shape:
                raise ValueError(f"{path.name}: {name} is of shape {found.shape}, not {own.shape}.")
            setattr(statistics, part, found if found.shape else float(found))
        statistics.count = float(arrays[f"{name}/count"])
    if acting:
        normaliser.training = False
    else:
        normaliser.returns[:] = arrays["returns"]


def reward_scale(path: Path) -> float:
    """What rewards were divided by at the end of a training, from a file of `save_normaliser`.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return float(np.sqrt(load_file(path)["returns/var"] + _EPSILON))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(f"{path} is damaged and cannot be read: {error}.") from error


def _statistics(normaliser: VecNormalize) -> Iterator[tuple[str, RunningMeanStd]]:
    if normaliser.norm_obs:
        found: Any = normaliser.obs_rms
        for key, statistics in found.items() if isinstance(found, dict) else [("", found)]:
            yield f"observations/{key}", statistics
    yield "returns", normaliser.ret_rms
