"""Simulator states: captured during rollouts as plain bytes, and set again when a clip is drawn.

The states of all copies are captured at once, which is the cheapest thing that a recorder can store.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from numpy.typing import NDArray

from rlhf_envs.envs.simulation import Simulation
from rlhf_envs.envs.views import TaskEnv, TaskVectorEnv
from rlhf_envs.recording import SnapshotSource

FloatState = NDArray[np.float64]

if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"} & set(os.environ):
    # Without a screen MuJoCo's default renderer ends the process; this makes it an error that can be reported.
    os.environ["MUJOCO_GL"] = "disabled"


@dataclass(frozen=True)
class StateAdapter:
    """How the part of a simulator's state that its picture shows is read and restored.

    Attributes:
        get_state: takes the unwrapped environment, gives its state as a new array (size,) float64.
        set_state: takes the unwrapped environment and such an array.
        is_whole: whether what is set is all that decides what comes next, in an environment that has just been reset,
            so that a person can go on from there; otherwise it is only enough for drawing.
    """

    get_state: Callable[[Any], FloatState]
    set_state: Callable[[Any, FloatState], None]
    is_whole: bool = False


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


_VECTOR = StateAdapter(_state_vector, _set_state_vector, is_whole=True)

SIMULATORS: dict[str, StateAdapter] = {
    "gymnasium.envs.classic_control.cartpole.CartPoleEnv": _VECTOR,
    "gymnasium.envs.classic_control.acrobot.AcrobotEnv": _VECTOR,
    "gymnasium.envs.classic_control.mountain_car.MountainCarEnv": _VECTOR,
    "gymnasium.envs.classic_control.continuous_mountain_car.Continuous_MountainCarEnv": _VECTOR,
    "gymnasium.envs.classic_control.pendulum.PendulumEnv": StateAdapter(
        _pendulum_state, _set_pendulum_state, is_whole=True
    ),
    "gymnasium.envs.mujoco.mujoco_env.MujocoEnv": StateAdapter(_mujoco_state, _set_mujoco_state),
}
"""Adapters by the full name of the simulator's class, so that nothing is imported before it is used."""


def state_adapter(env: gym.Env[Any, Any]) -> StateAdapter | None:
    """The adapter for an environment's class or the nearest class that it inherits from; None where there is none."""
    for ancestor in type(env.unwrapped).__mro__:
        adapter = SIMULATORS.get(f"{ancestor.__module__}.{ancestor.__qualname__}")
        if adapter is not None:
            return adapter
    return None


class _TaskSnapshots:
    """For the suite's environments, whose whole state lies in one buffer: one with many copies, or many with one."""

    def __init__(self, simulations: Sequence[Simulation]) -> None:
        self._simulations = simulations
        self._width = simulations[0].state.buffer.nbytes
        self.size = self._width * len(simulations)

    def capture(self, out: NDArray[np.uint8]) -> None:
        for place, simulation in enumerate(self._simulations):
            out[place * self._width : (place + 1) * self._width] = simulation.state.buffer

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        copies, layout = self._simulations[0].copies, self._simulations[0].task.layout
        place, row = divmod(row, copies)
        return layout.extract_row(captured[:, place * self._width : (place + 1) * self._width], copies, row)


class _FloatSnapshots:
    """For simulators whose states, all read at once, are an array (copies, size) of float64."""

    def __init__(self, read: Callable[[], FloatState]) -> None:
        self._read, states = read, read()
        self._shape, self.size = states.shape, states.nbytes

    def capture(self, out: NDArray[np.uint8]) -> None:
        out[:] = np.ascontiguousarray(self._read()).view(np.uint8).reshape(-1)

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        rows = np.ascontiguousarray(captured).view(np.float64).reshape(len(captured), *self._shape)
        return rows[:, row].copy()


def snapshot_source(env: Any) -> SnapshotSource | None:
    """Where an environment's simulator states come from, or None where frames have to be captured instead.

    Args:
        env: a Gymnasium environment or vector environment, or anything else that has its single environments in a
            list `envs` (a SyncVectorEnv, Stable-Baselines3's DummyVecEnv). It must have been reset once.
    """
    inner = env.unwrapped if isinstance(env, gym.Env | gym.vector.VectorEnv) else env
    if isinstance(inner, TaskEnv | TaskVectorEnv):
        return _TaskSnapshots([inner.simulation])
    if isinstance(inner, CartPoleVectorEnv):
        return _FloatSnapshots(lambda: np.asarray(inner.state, dtype=np.float64).T)
    envs = [inner] if isinstance(inner, gym.Env) else list(getattr(inner, "envs", ()))
    tasks = [single.unwrapped for single in envs if isinstance(single.unwrapped, TaskEnv)]
    if tasks and len(tasks) == len(envs):
        return _TaskSnapshots([task.simulation for task in tasks])
    adapter = state_adapter(envs[0]) if envs else None
    if adapter is None:
        return None
    simulators = [single.unwrapped for single in envs]
    return _FloatSnapshots(lambda: np.stack([adapter.get_state(simulator) for simulator in simulators]))
