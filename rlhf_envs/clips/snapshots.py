"""Takes simulator states during rollouts: all copies at once as plain bytes, the cheapest thing a recorder can keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class Snapshotter(ABC):
    """Takes the states of all copies of an environment, to be shown later.

    A recorder keeps one capture per step; only for the few segments that people get to see, `extract` turns captures
    into what `Segment.states` holds. A capture says nothing without the environment that it was taken from.

    Attributes:
        size: bytes of one capture, all copies together.
    """

    size: int

    @abstractmethod
    def capture(self, out: NDArray[np.uint8]) -> None:
        """Write the present states of all copies into `out`, (size,)."""

    @abstractmethod
    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        """One copy's states (T, state size), as a `ClipPainter` draws them, out of captures (T, size)."""


class _BatchedTask(Snapshotter):
    """For the suite's environments, whose copies lie in one buffer."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.size = simulation.state.buffer.nbytes

    def capture(self, out: NDArray[np.uint8]) -> None:
        out[:] = self._simulation.state.buffer

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        return self._simulation.task.layout.extract_row(captured, self._simulation.copies, row)


class _ListedTasks(Snapshotter):
    """For single environments of the suite that stand in a list."""

    def __init__(self, simulations: Sequence[Simulation]) -> None:
        self._simulations = simulations
        self._bytes = simulations[0].state.buffer.nbytes
        self.size = len(simulations) * self._bytes

    def capture(self, out: NDArray[np.uint8]) -> None:
        np.concatenate([simulation.state.buffer for simulation in self._simulations], out=out)

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        return captured[:, row * self._bytes : (row + 1) * self._bytes].copy()


class _FloatRows(Snapshotter):
    """For simulators whose state is a row of float64."""

    def __init__(self, copies: int, row_size: int) -> None:
        self._shape = (copies, row_size)
        self.size = copies * row_size * np.dtype(np.float64).itemsize

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        rows = np.ascontiguousarray(captured).view(np.float64).reshape(len(captured), *self._shape)
        return rows[:, row].copy()


class _ListedSimulators(_FloatRows):
    """For single environments that an adapter knows, in a list."""

    def __init__(self, simulators: Sequence[Any], adapter: StateAdapter) -> None:
        self._simulators = simulators
        self._adapter = adapter
        super().__init__(len(simulators), len(adapter.get_state(simulators[0])))

    def capture(self, out: NDArray[np.uint8]) -> None:
        rows = [self._adapter.get_state(simulator) for simulator in self._simulators]
        out[:] = np.concatenate(rows).view(np.uint8)


class _BatchedCartPole(_FloatRows):
    """For Gymnasium's own vectorised CartPole, whose state is one array (4, copies)."""

    def __init__(self, env: CartPoleVectorEnv) -> None:
        self._env = env
        super().__init__(env.num_envs, 4)

    def capture(self, out: NDArray[np.uint8]) -> None:
        rows: Any = self._env.state
        out[:] = np.ascontiguousarray(rows.T, dtype=np.float64).reshape(-1).view(np.uint8)


def snapshotter(env: Any) -> Snapshotter | None:
    """The snapshotter of an environment, or None where its states cannot be taken and frames have to be captured.

    Args:
        env: a Gymnasium environment or vector environment, or anything else that keeps its single environments in a
            list `envs`, as SyncVectorEnv and Stable-Baselines3's DummyVecEnv do. It must have been reset once.
    """
    inner = env.unwrapped if isinstance(env, gym.Env | gym.vector.VectorEnv) else env
    if isinstance(inner, TaskEnv | TaskVectorEnv):
        return _BatchedTask(inner.simulation)
    if isinstance(inner, CartPoleVectorEnv):
        return _BatchedCartPole(inner)
    envs = [inner] if isinstance(inner, gym.Env) else list(getattr(inner, "envs", ()))
    if not envs:
        return None
    if isinstance(envs[0].unwrapped, TaskEnv):
        return _ListedTasks([single.unwrapped.simulation for single in envs])
    adapter = state_adapter(envs[0])
    return None if adapter is None else _ListedSimulators([single.unwrapped for single in envs], adapter)
