"""Tells Gymnasium about the suite's environments, and finds any environment by its id."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

ENVIRONMENTS = {
    "rlhf/Driving-v0": "rlhf_envs.envs.driving:Driving",
    "rlhf/Recommender-v0": "rlhf_envs.envs.recommender:Recommender",
    "rlhf/Support-v0": "rlhf_envs.envs.support:Support",
    "rlhf/Headset-v0": "rlhf_envs.envs.headset:Headset",
    "rlhf/Rival-v0": "rlhf_envs.envs.rival:Rival",
    "rlhf/Glimpse-v0": "rlhf_envs.envs.glimpse:Glimpse",
    "rlhf/Overlay-v0": "rlhf_envs.envs.overlay:Overlay",
    "rlhf/Writing-v0": "rlhf_envs.envs.writing:Writing",
}
"""Every id of the suite, and where its views are: the named module has `<Name>Env` and `<Name>VectorEnv`."""


def register_environments() -> None:
    """Register every id of the suite. Doing it twice changes nothing."""
    for environment_id, place in ENVIRONMENTS.items():
        if environment_id not in gym.registry:
            gym.register(
                environment_id,
                entry_point=f"{place}Env",
                vector_entry_point=f"{place}VectorEnv",
                max_episode_steps=None,
            )


def find_spec(environment_id: str) -> EnvSpec:
    """The registered specification of an id; "package:id" imports the package first, as `gymnasium.make` does.

    Raises:
        ValueError: if no such environment is registered, in which case the nearest names are suggested, or if its
            package cannot be imported.
    """
    package, colon, name = environment_id.rpartition(":")
    if colon:
        if not package or package.startswith("."):
            raise ValueError(
                f'{environment_id!r} has no package\'s full name before its colon; write it as "package:id".'
            )
        try:
            import_module(package)
        except ImportError as error:
            raise ValueError(
                f"The package of the environment {environment_id!r} cannot be imported: {error}. Install it, or put "
                "its folder into the variable PYTHONPATH."
            ) from error
    try:
        return gym.spec(name)
    except gym.error.Error:
        near = [f"{package}{colon}{each}" for each in get_close_matches(name, list(gym.registry), n=3, cutoff=0.75)]
        hints = [f"Did you mean {', '.join(near)}?"] if near else []
        if not colon and not name.startswith("rlhf/"):
            hints.append('If another package registers it, write it as "package:id", so that the package is imported.')
        elif not near:
            hints.append(f"Known are {', '.join(ENVIRONMENTS)}." if not colon else f"{package} does not register it.")
        raise ValueError(f"There is no environment {environment_id!r}. {' '.join(hints)}") from None


def is_native(environment_id: str) -> bool:
    """Whether an id has a batched definition of this suite's kind, which trains without a copy per environment.

    Raises:
        ValueError: if no such environment is registered.
    """
    # Imported here, so that registering the ids does not load what only running them needs.
    from rlhf_envs.envs.vector import TaskVectorEnv

    entry = find_spec(environment_id).vector_entry_point
    if entry is None:
        return False
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    return isinstance(creator, type) and issubclass(creator, TaskVectorEnv)
