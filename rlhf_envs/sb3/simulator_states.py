"""The whole state of copies of Gymnasium's classic control, so that a run in them goes on exactly after a kill.

Other environments of third parties hide part of their state, or have wrappers that do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from rlhf_envs.wrappers import AdaptSpaces, FixedHorizon
from rlhf_envs.wrappers.faults import ReportFaults

_CLASSIC = "gymnasium.envs.classic_control."
_SIMULATORS: Mapping[str, tuple[str, ...]] = {
    f"{_CLASSIC}cartpole.CartPoleEnv": ("state", "steps_beyond_terminated"),
    f"{_CLASSIC}acrobot.AcrobotEnv": ("state",),
    f"{_CLASSIC}mountain_car.MountainCarEnv": ("state",),
    f"{_CLASSIC}continuous_mountain_car.Continuous_MountainCarEnv": ("state",),
    f"{_CLASSIC}pendulum.PendulumEnv": ("state", "last_u"),
}
"""What changes from step to step besides the random generator, by the full name of the class."""

_WRAPPERS: Mapping[type[Any], tuple[str, ...]] = {
    TimeLimit: ("_elapsed_steps",),
    FixedHorizon: ("_elapsed",),
    OrderEnforcing: ("_has_reset",),
    PassiveEnvChecker: (),
    AdaptSpaces: (),
    ReportFaults: ("_steps",),
}


def is_known(env: gym.Env[Any, Any]) -> bool:
    """Whether `read` and `write` know all that changes in an environment and its wrappers."""
    while isinstance(env, gym.Wrapper):
        if type(env) not in _WRAPPERS:
            return False
        env = env.env
    return f"{type(env).__module__}.{type(env).__qualname__}" in _SIMULATORS


def read(envs: Sequence[gym.Env[Any, Any]]) -> NDArray[np.uint8]:
    """The states of known environments as rows of bytes, (N, longest)."""
    texts = [json.dumps(_read_one(env)).encode() for env in envs]
    return np.array([np.frombuffer(text.ljust(max(map(len, texts))), dtype=np.uint8) for text in texts])


def write(envs: Sequence[gym.Env[Any, Any]], states: NDArray[np.uint8]) -> None:
    """Restore what `read` gave.

    Raises:
        ValueError, KeyError: if the states are damaged or of other environments.
    """
    if len(states) != len(envs):
        raise ValueError(f"There are states of {len(states)} copies, and {len(envs)} copies.")
    for env, state in zip(envs, states, strict=True):
        _write_one(env, json.loads(state.tobytes().decode()))


def _parts(env: Any) -> list[tuple[Any, tuple[str, ...]]]:
    """Each wrapper, and the simulator, with the names of what changes in it."""
    parts: list[tuple[Any, tuple[str, ...]]] = []
    while isinstance(env, gym.Wrapper):
        parts.append((env, _WRAPPERS[type(env)]))
        env = env.env
    return [*parts, (env, _SIMULATORS[f"{type(env).__module__}.{type(env).__qualname__}"])]


def _read_one(env: gym.Env[Any, Any]) -> dict[str, Any]:
    values = [[_plain(getattr(part, name)) for name in names] for part, names in _parts(env)]
    return {"values": values, "random": env.unwrapped.np_random.bit_generator.state}


def _write_one(env: gym.Env[Any, Any], state: Mapping[str, Any]) -> None:
    for (part, names), values in zip(_parts(env), state["values"], strict=True):
        for name, value in zip(names, values, strict=True):
            setattr(part, name, np.array(value["array"], value["dtype"]) if isinstance(value, dict) else value)
    env.unwrapped.np_random.bit_generator.state = state["random"]


def _plain(value: Any) -> Any:
    """As JSON that holds every digit."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, int | float):
        return value
    array = np.asarray(value)
    return {"array": array.tolist(), "dtype": array.dtype.str}
