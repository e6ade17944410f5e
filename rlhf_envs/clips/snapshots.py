"""Takes simulator states during rollouts: all copies at once as plain bytes, the cheapest thing a recorder can keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from numpy.typing import NDArray

from rlhf_envs.clips.simulators import StateAdapter, state_adapter
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.simulation import Simulation
from rlhf_envs.envs.vector import TaskVectorEnv
from rlhf_envs.recording import SnapshotSource


class _TaskSnapshots:
    """For the suite's environments, whose whole state lies in one buffer."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.size = simulation.state.buffer.nbytes

    def capture(self, out: NDArray[np.uint8]) -> None:
        out[:] = self._simulation.state.buffer

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        return self._simulation.task.layout.extract_row(captured, self._simulation.copies, row)


class _TaskListSnapshots:
    """For single environments of the suite that run in a list."""

    def __init__(self, simulations: Sequence[Simulation]) -> None:
        self._simulations = simulations
        self.size = sum(simulation.state.buffer.nbytes for simulation in simulations)

    def capture(self, out: NDArray[np.uint8]) -> None:
        out[:] = np.concatenate([simulation.state.buffer for simulation in self._simulations])

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        size = self._simulations[row].state.buffer.nbytes
        return captured[:, row * size : (row + 1) * size].copy()


class _FloatSnapshots:
    """For simulators whose states are rows of float64."""

    def __init__(self, copies: int, width: int) -> None:
        self._copies, self._width = copies, width
        self.size = copies * width * np.dtype(np.float64).itemsize

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        rows = np.ascontiguousarray(captured).view(np.float64).reshape(len(captured), self._copies, self._width)
        return rows[:, row].copy()


class _AdapterSnapshots(_FloatSnapshots):
    def __init__(self, envs: Sequence[gym.Env[Any, Any]], adapter: StateAdapter) -> None:
        self._simulators = [env.unwrapped for env in envs]
        self._adapter = adapter
        super().__init__(len(envs), len(adapter.get_state(self._simulators[0])))

    def capture(self, out: NDArray[np.uint8]) -> None:
        rows = [self._adapter.get_state(simulator) for simulator in self._simulators]
        out[:] = np.concatenate(rows).view(np.uint8)


class _CartPoleVectorSnapshots(_FloatSnapshots):
    def __init__(self, env: CartPoleVectorEnv) -> None:
        self._env = env
        super().__init__(env.num_envs, 4)

    def capture(self, out: NDArray[np.uint8]) -> None:
        out[:] = np.asarray(self._env.state, dtype=np.float64).T.copy().view(np.uint8).reshape(-1)


def snapshot_source(env: Any) -> SnapshotSource | None:
    """Where an environment's simulator states come from, or None where frames have to be captured instead.

    Args:
        env: a Gymnasium environment or vector environment, or anything else that keeps its single environments in a
            list `envs` (a SyncVectorEnv, Stable-Baselines3's DummyVecEnv). It must have been reset once.
    """
    inner = env.unwrapped if isinstance(env, gym.Env | gym.vector.VectorEnv) else env
    if isinstance(inner, TaskEnv | TaskVectorEnv):
        return _TaskSnapshots(inner.simulation)
    if isinstance(inner, CartPoleVectorEnv):
        return _CartPoleVectorSnapshots(inner)
    envs = [inner] if isinstance(inner, gym.Env) else list(getattr(inner, "envs", ()))
    tasks = [single.unwrapped for single in envs if isinstance(single.unwrapped, TaskEnv)]
    if tasks and len(tasks) == len(envs):
        return _TaskListSnapshots([task.simulation for task in tasks])
    adapter = state_adapter(envs[0]) if envs else None
    return None if adapter is None else _AdapterSnapshots(envs, adapter)
