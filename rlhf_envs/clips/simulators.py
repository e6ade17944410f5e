"""Reads and sets the state of other people's simulators, so that their clips can be drawn long after the rollout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

FloatState = NDArray[np.float64]

if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"} & set(os.environ):
    # Without a screen MuJoCo's default renderer ends the process; this makes it an error that can be told.
    os.environ["MUJOCO_GL"] = "disabled"


@dataclass(frozen=True)
class StateAdapter:
    """How the part of a simulator's state that its picture shows is read and set.

    Attributes:
        get_state: takes the unwrapped environment, gives its state as a new array (size,) float64.
        set_state: takes the unwrapped environment and such an array. What is set is meant for drawing: it need not
            be enough to go on stepping from there.
    """

    get_state: Callable[[Any], FloatState]
    set_state: Callable[[Any, FloatState], None]


def _state_vector(env: Any) -> FloatState:
    return np.array(env.state, dtype=np.float64)


def _set_state_vector(env: Any, state: FloatState) -> None:
    env.state = state.copy()


def _pendulum_state(env: Any) -> FloatState:
    # The arrow that shows the torque is drawn from the last action; there is none before the first step.
    torque = 0.0 if env.last_u is None else float(env.last_u)
    return np.array([*env.state, torque], dtype=np.float64)


def _set_pendulum_state(env: Any, state: FloatState) -> None:
    env.state = state[:2].copy()
    env.last_u = float(state[2]) or None


def _mujoco_state(env: Any) -> FloatState:
    return np.concatenate([env.data.qpos, env.data.qvel], dtype=np.float64)


def _set_mujoco_state(env: Any, state: FloatState) -> None:
    env.set_state(state[: env.model.nq], state[env.model.nq :])


_VECTOR = StateAdapter(_state_vector, _set_state_vector)

SIMULATORS: dict[str, StateAdapter] = {
    "gymnasium.envs.classic_control.cartpole.CartPoleEnv": _VECTOR,
    "gymnasium.envs.classic_control.acrobot.AcrobotEnv": _VECTOR,
    "gymnasium.envs.classic_control.mountain_car.MountainCarEnv": _VECTOR,
    "gymnasium.envs.classic_control.continuous_mountain_car.Continuous_MountainCarEnv": _VECTOR,
    "gymnasium.envs.classic_control.pendulum.PendulumEnv": StateAdapter(_pendulum_state, _set_pendulum_state),
    "gymnasium.envs.mujoco.mujoco_env.MujocoEnv": StateAdapter(_mujoco_state, _set_mujoco_state),
}
"""Adapters by the full name of the simulator's class, so that nothing is imported that is not in use."""


def state_adapter(env: gym.Env[Any, Any]) -> StateAdapter | None:
    """The adapter for an environment's class or the nearest class that it inherits from; None where there is none."""
    for ancestor in type(env.unwrapped).__mro__:
        adapter = SIMULATORS.get(f"{ancestor.__module__}.{ancestor.__qualname__}")
        if adapter is not None:
            return adapter
    return None
