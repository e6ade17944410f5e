"""From an environment's id to the VecEnv that trains fastest on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from rlhf_envs.clips import snapshot_source
from rlhf_envs.envs.registration import find_spec, is_native
from rlhf_envs.feedback.json_values import require_json
from rlhf_envs.recording import SnapshotSource
from rlhf_envs.sb3.bridge import VectorEnvBridge
from rlhf_envs.sb3.preference_env import PreferenceVecEnv
from rlhf_envs.wrappers import FixedHorizon
from rlhf_envs.wrappers.batching import check_spaces
from rlhf_envs.wrappers.fixed_horizon import AFTER_TERMINATION

_logger = logging.getLogger(__name__)

LEAK = "leak"
"""The way of `on_termination` that lets episodes end early."""


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

    Raises:
        ValueError: for an unknown id, arguments or a render mode that the environment does not take, a horizon that is
            not known, or an unknown `on_termination`.
    """
    arguments = dict(environment_kwargs or {})
    if render_mode is not None:
        # Not every environment takes this argument.
        arguments["render_mode"] = render_mode
    if is_native(environment_id):
        with _arguments_refused(environment_id):
            return gym.make(environment_id, disable_env_checker=True, **arguments)
    _check_on_termination(on_termination)
    horizon = episode_length(environment_id, horizon)
    with _arguments_refused(environment_id):
        env = gym.make(environment_id, max_episode_steps=horizon, disable_env_checker=True, **arguments)
    return env if on_termination == LEAK else FixedHorizon(env, horizon, on_termination, absorbed_steps)


def episode_length(environment_id: str, horizon: int | None = None) -> int:
    """Steps in an episode of a third-party environment: the horizon that is wanted, or else its registered limit.

    Raises:
        ValueError: if there is neither, or the horizon is below 1.
    """
    limit = find_spec(environment_id).max_episode_steps if horizon is None else horizon
    if limit is None:
        raise ValueError(
            f"{environment_id} was registered without a limit of steps, so the length of its episodes has to be "
            "given: --horizon N on the command line, horizon=N in code."
        )
    if limit < 1:
        raise ValueError(f"The horizon of {environment_id} must be at least 1 step, not {limit}.")
    return limit


def about_episodes(horizon: int, on_termination: str) -> str:
    """One sentence on how the episodes of a third-party environment are held to one length."""
    if on_termination == LEAK:
        return f"Episodes end when the environment ends them, after {horizon} steps at the latest."
    return (
        f"Episodes are held to {horizon} steps, because an early end would tell the agent something about the reward: "
        f"after one, {AFTER_TERMINATION[on_termination]}."
    )


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
    frames: bool = False,
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
        frames: take pictures during rollouts where no states can be had, which people need to see segments of such
            environments. It costs the time of rendering some of the copies at every step.
        stagger: spread the first episodes of the suite's environments over the horizon.
        capacity_steps: how many steps of every copy are remembered.

    Raises:
        ValueError: for an unknown id, no copies, arguments that the environment does not take, a horizon that is not
            known or that the environment sets itself, an unknown `on_termination`, or spaces that are not supported.
    """
    venv: VecEnv
    source: SnapshotSource | None = None
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, not {num_envs}.")
    if is_native(environment_id):
        if horizon is not None:
            raise ValueError(
                f"{environment_id} takes the length of its episodes as an argument of its own, such as "
                f'{{"horizon": {horizon}}}, so leave the horizon out.'
            )
        with _arguments_refused(environment_id):
            env = gym.make_vec(environment_id, num_envs=num_envs, **(environment_kwargs or {}))
        venv = VectorEnvBridge(env, stagger=stagger)
        horizon = venv.get_attr("horizon", 0)[0]
        source = snapshot_source(env) if snapshots else None
        frames = False
    else:
        _check_on_termination(on_termination)
        horizon = episode_length(environment_id, horizon)
        _logger.info("%s: %s", environment_id, about_episodes(horizon, on_termination))

        # Only pictures need this mode; where states can be had, they are cheaper.
        drawable = snapshots and not processes and _has_states(environment_id, environment_kwargs)
        frames = frames and not drawable
        render_mode = "rgb_array" if frames else None

        def make() -> gym.Env[Any, Any]:
            env = make_scalar_env(
                environment_id, environment_kwargs, horizon, on_termination, absorbed_steps, render_mode
            )
            try:
                _check_supported(env)
            except ValueError:
                env.close()
                raise
            return env

        makers: list[Callable[[], gym.Env[Any, Any]]] = [make] * num_envs
        if processes:
            # What another process refuses never gets here as a sentence, so one copy is tried in this one.
            make().close()
            venv = SubprocVecEnv(makers)
            if frames:
                venv.reset()
        else:
            venv = DummyVecEnv(makers)
            if snapshots or frames:
                venv.reset()
            source = snapshot_source(venv) if snapshots else None
    venv.seed(seed)
    try:
        about = _about(environment_id, environment_kwargs)
        return PreferenceVecEnv(venv, capacity_steps, source, horizon, frames and source is None, about)
    except ValueError:
        venv.close()
        raise


def _about(environment_id: str, environment_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """How a store describes the environment; nothing where its arguments cannot be written down."""
    try:
        return {"id": environment_id, "kwargs": require_json(dict(environment_kwargs or {}), "environment's arguments")}
    except ValueError:
        return {}


def _has_states(environment_id: str, environment_kwargs: Mapping[str, Any] | None) -> bool:
    """Whether an environment's simulator states can be taken, found out on one copy."""
    with _arguments_refused(environment_id):
        env = gym.make(environment_id, disable_env_checker=True, **(environment_kwargs or {}))
    try:
        env.reset(seed=0)
        return snapshot_source(env) is not None
    finally:
        env.close()


def _check_on_termination(on_termination: str) -> None:
    choices = [*AFTER_TERMINATION, LEAK]
    if on_termination not in choices:
        raise ValueError(f"on_termination must be one of {', '.join(choices)}, not {on_termination!r}.")


def _check_supported(env: gym.Env[Any, Any]) -> None:
    shown, action_space = env.observation_space, env.action_space
    check_spaces(shown, action_space)
    parts = list(shown.values()) if isinstance(shown, spaces.Dict) else [shown]
    for what, space in [*(("observation", part) for part in parts), ("action", action_space)]:
        if np.any(getattr(space, "start", 0)):
            raise ValueError(
                f"The {what} space {space} does not start at 0, which Stable-Baselines3 takes for granted; a Gymnasium "
                f"wrapper such as Transform{what.title()} can count from 0."
            )


@contextmanager
def _arguments_refused(environment_id: str) -> Iterator[None]:
    """Say it in one sentence where an environment is made with arguments that it does not have."""
    try:
        yield
    except TypeError as error:
        raise ValueError(f"{environment_id} does not take these arguments: {error}.") from error
