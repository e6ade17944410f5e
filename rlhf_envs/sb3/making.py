"""From an environment to the VecEnv that trains fastest on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from rlhf_envs.clips import FrameCapture, snapshot_source
from rlhf_envs.environment import CopiesInProcesses, EnvironmentRef, SeparateCopies
from rlhf_envs.recording import SnapshotSource
from rlhf_envs.sb3.preference_env import PreferenceVecEnv
from rlhf_envs.wrappers import RecordSegments

_ARRAY_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_ARRAY_NAMES = "Box, Discrete, MultiDiscrete, MultiBinary"
_logger = logging.getLogger(__name__)


def make_vec_env(
    environment: EnvironmentRef | str,
    num_envs: int,
    seed: int = 0,
    *,
    absorbed_steps: int | None = 25,
    processes: bool = False,
    snapshots: bool = True,
    frames: bool = False,
    stagger: bool = True,
    capacity_steps: int = 512,
) -> PreferenceVecEnv:
    """Copies of an environment for Stable-Baselines3, true reward hidden, segments recorded.

    The suite's environments run as one batch. Third-party ones run one after another, or with `processes` in as many
    processes; their episodes are held to a fixed length, see `EnvironmentRef`.

    Args:
        environment: any registered id, or a reference with arguments.
        num_envs: how many copies.
        seed: copy i starts from seed + i.
        absorbed_steps: how many absorbed steps of a third-party environment are shown before the episode is truncated;
            None for all up to the horizon. See `FixedHorizon`.
        processes: run third-party copies in processes of their own; worth it where a step takes over about 0.2 ms.
        snapshots: record simulator states, where they can be had, so that segments can be drawn later.
        frames: take pictures during rollouts where no states can be had, which people need to see segments of such
            environments. It costs the time of rendering some of the copies at every step.
        stagger: spread the first episodes of the suite's environments over the horizon.
        capacity_steps: how many steps of every copy are remembered.

    Raises:
        ValueError: for an unknown id, no copies, arguments that the environment does not take, a horizon that is not
            known or that the environment sets itself, or spaces that are not supported.
    """
    ref = EnvironmentRef.of(environment)
    if ref.is_native and not ref.wrappers:
        frames = False
    else:
        if not ref.is_native:
            _logger.info("%s: %s", ref.id, ref.about_episodes())
        drawable = _try_one_copy(ref)
        # Only pictures need a render mode; where states can be had, they are cheaper.
        frames = frames and not (drawable and snapshots and not processes)
    env = ref.make_vector(
        num_envs,
        processes=processes,
        render_mode="rgb_array" if frames else None,
        absorbed_steps=absorbed_steps,
    )
    try:
        separate = isinstance(env, SeparateCopies)
        if separate or frames:
            env.reset(seed=seed)
        source: SnapshotSource | None = snapshot_source(env) if snapshots else None
        unwrapped: Any = env.unwrapped
        pictures = partial(FrameCapture, partial(_render, unwrapped), num_envs) if frames and source is None else None
        recording = RecordSegments(env, capacity_steps, source, pictures)
        venv = PreferenceVecEnv(recording, unwrapped.horizon, ref, stagger and not separate)
        venv.seed(seed)
        return venv
    except ValueError:
        env.close()
        raise


def _render(copies: SeparateCopies | CopiesInProcesses, rows: Sequence[int]) -> list[Any]:
    return copies.call_copies(rows, "render")


def _try_one_copy(ref: EnvironmentRef) -> bool:
    """Refuse spaces that are not supported, and find out whether the simulator's states can be taken."""
    env = ref.make()
    try:
        _check_supported(env.observation_space, env.action_space)
        env.reset(seed=0)
        return snapshot_source(env) is not None
    finally:
        env.close()


def _check_supported(observation_space: Space[Any], action_space: Space[Any]) -> None:
    shown = observation_space
    parts = list(shown.values()) if isinstance(shown, spaces.Dict) else [shown]
    if not all(isinstance(part, _ARRAY_SPACES) for part in parts):
        raise ValueError(
            f"The observation space is {observation_space}, but it must be {_ARRAY_NAMES} or a flat Dict of these; "
            "a Gymnasium wrapper such as FilterObservation or FlattenObservation makes it one."
        )
    if not isinstance(action_space, _ARRAY_SPACES):
        raise ValueError(f"The action space is {action_space}, but it must be {_ARRAY_NAMES}.")
    for what, space in [*(("observation", part) for part in parts), ("action", action_space)]:
        if np.any(getattr(space, "start", 0)):
            raise ValueError(
                f"The {what} space {space} does not start at 0, which Stable-Baselines3 takes for granted; a Gymnasium "
                f"wrapper such as Transform{what.title()} can count from 0."
            )
