"""From an environment's id to the VecEnv that trains fastest on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from rlhf_envs.clips import snapshot_source
from rlhf_envs.envs.vector import TaskVectorEnv
from rlhf_envs.recording import SnapshotSource
from rlhf_envs.sb3.bridge import VectorEnvBridge
from rlhf_envs.sb3.preference_env import PreferenceVecEnv
from rlhf_envs.wrappers import FixedHorizon


def find_spec(environment_id: str) -> gym.envs.registration.EnvSpec:
    """The registered specification of an id.

    Raises:
        ValueError: if no such environment is registered; the nearest names are suggested.
    """
    try:
        return gym.spec(environment_id.partition(":")[2] if ":" in environment_id else environment_id)
    except gym.error.Error:
        near = get_close_matches(environment_id, list(gym.registry), n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else "Is the package that registers it imported?"
        raise ValueError(f"There is no environment {environment_id!r}. {hint}") from None


def is_native(environment_id: str) -> bool:
    """Whether an id has a batched definition of this suite's kind, which trains without a copy per environment."""
    entry = find_spec(environment_id).vector_entry_point
    if entry is None:
        return False
    creator = gym.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
    return isinstance(creator, type) and issubclass(creator, TaskVectorEnv)


def make_scalar_env(
    environment_id: str,
    environment_kwargs: Mapping[str, Any] | None = None,
    horizon: int | None = None,
    on_termination: str = "absorb",
    absorbed_steps: int | None = None,
    render_mode: str | None = None,
) -> gym.Env[Any, Any]:
    """One copy of an environment with episodes of fixed length, as training and evaluation see it.

    Args:
        environment_id: any registered id.
        environment_kwargs: passed to the environment.
        horizon: steps in an episode of a third-party environment; its registered limit where None.
        on_termination: what a third-party environment does when it terminates before the horizon: "absorb",
            "restart", or "leak" to let episodes end early although their length then tells about the reward.
        absorbed_steps: how many absorbed steps are shown before such an episode is truncated; None for all up to the
            horizon. See `FixedHorizon`.
        render_mode: None, "human" or "rgb_array".
    """
    find_spec(environment_id)
    env = gym.make(environment_id, render_mode=render_mode, disable_env_checker=True, **(environment_kwargs or {}))
    if is_native(environment_id) or on_termination == "leak":
        return env
    return FixedHorizon(env, horizon, on_termination, absorbed_steps)


def make_vec_env(
    environment_id: str,
    num_envs: int,
    seed: int = 0,
    environment_kwargs: Mapping[str, Any] | None = None,
    *,
    horizon: int | None = None,
    on_termination: str = "absorb",
    absorbed_steps: int | None = 25,
    processes: bool = False,
    snapshots: bool = True,
    stagger: bool = True,
    capacity_steps: int = 512,
) -> PreferenceVecEnv:
    """Copies of an environment for Stable-Baselines3, true reward hidden, segments recorded.

    The suite's environments run as one batch. Third-party ones run one after another, or with `processes` in as many
    processes; their episodes are held to a fixed length, see `make_scalar_env`.

    Args:
        environment_id: any registered id.
        num_envs: how many copies.
        seed: copy i starts from seed + i.
        environment_kwargs: passed to the environment.
        horizon, on_termination, absorbed_steps: see `make_scalar_env`.
        processes: run third-party copies in processes of their own; worth it where a step takes over about 0.2 ms.
        snapshots: record simulator states, where they can be had, so that segments can be drawn later.
        stagger: spread the first episodes of the suite's environments over the horizon.
        capacity_steps: how many steps of every copy are remembered.

    Raises:
        ValueError: for an unknown id, or a horizon that is not known.
    """
    venv: VecEnv
    source: SnapshotSource | None = None
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, not {num_envs}.")
    if is_native(environment_id):
        env = gym.make_vec(environment_id, num_envs=num_envs, **(environment_kwargs or {}))
        venv = VectorEnvBridge(env, stagger=stagger)
        source = snapshot_source(env) if snapshots else None
    else:

        def make() -> gym.Env[Any, Any]:
            return make_scalar_env(environment_id, environment_kwargs, horizon, on_termination, absorbed_steps)

        makers: list[Callable[[], gym.Env[Any, Any]]] = [make] * num_envs
        if processes:
            venv = SubprocVecEnv(makers)
        else:
            venv = DummyVecEnv(makers)
            if snapshots:
                venv.reset()
                source = snapshot_source(venv)
    venv.seed(seed)
    return PreferenceVecEnv(venv, capacity_steps, source)
