"""How many steps a second copies of an environment make in one process and in many, and what more cores would give."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import SubprocVecEnv

from rlhf_envs.copies import usable_cores
from rlhf_envs.environment import EnvironmentRef
from scripts.benchmarks import Log, markdown_table, require_positive

ONE, OURS, PEER = "one process", "a process each", "`SubprocVecEnv`"
_WARM_UP = 3
_ACTIONS = 16
_BURN = "scripts.benchmarks.copies:Burn"
_MODELLED_CORES = 64


class Burn(gym.Wrapper[Any, Any, Any, Any]):
    """Takes so much longer in each step, on the processor, as a slow simulation does.

    Args:
        env: the environment.
        milliseconds: of processor time.
    """

    def __init__(self, env: gym.Env[Any, Any], milliseconds: float) -> None:
        super().__init__(env)
        self._seconds = milliseconds / 1000

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The environment's step, later."""
        until = time.thread_time() + self._seconds
        while time.thread_time() < until:
            pass
        return self.env.step(action)


@dataclass(frozen=True)
class Copies:
    """Time steps of vector environments whose copies run in this process, and in processes of their own.

    The three ways of running the same number of copies take turns, again and again. The best repeat counts, because
    other load on the machine makes only slower.

    Attributes:
        env: the environments.
        burn: milliseconds of processor time by which each step of the first environment takes longer, for an
            environment more each.
        copies: numbers of copies.
        repeats: measurements of each.
        seconds: about how long one measurement takes.
    """

    name: ClassVar[str] = "copies"
    env: tuple[str, ...] = ("CartPole-v1", "Hopper-v5")
    burn: tuple[float, ...] = (0.3, 5.0)
    copies: tuple[int, ...] = (1, 2, 8)
    repeats: int = 3
    seconds: float = 0.3

    def __post_init__(self) -> None:
        require_positive(self, "repeats")
        if min(self.copies, default=0) < 1 or min(self.burn, default=1.0) <= 0 or not self.seconds > 0:
            raise ValueError("copies must be numbers of at least 1, and burn and seconds above 0.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Steps per second of every repeat.

        Raises:
            ValueError: if there is no such environment; before any work is done.
        """
        refs = [EnvironmentRef(id) for id in dict.fromkeys(self.env)]
        refs += [EnvironmentRef(self.env[0], wrappers=f'{_BURN}={{"milliseconds": {burn}}}') for burn in self.burn]  # type: ignore[arg-type]
        for ref in refs:
            ref.make().close()
        torch.set_num_threads(1)
        measured = []
        for ref in refs:
            for copies in dict.fromkeys(self.copies):
                log(f"{_label(ref)}, {copies} copies; load {os.getloadavg()[0]:.1f}")
                measured.append({"env": _label(ref), "copies": copies, "rates": self._rates(ref, copies)})
        return {"cores": usable_cores(), "load": os.getloadavg()[0], "measured": measured}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """What was measured beside what the model says, and what the model says of more cores."""
        cores, best = measured["cores"], _best(measured)
        model = Model.fitted(best, cores)
        rows, wide = [], []
        for (env, copies), rates in best.items():
            modelled = copies / model.seconds(env, copies, cores)
            rows.append(
                {
                    "environment": env,
                    "copies": str(copies),
                    **{way: f"{rate:,.0f}" for way, rate in rates.items()},
                    "faster": f"{rates[OURS] / rates[ONE]:.2f}",
                    "model": f"{modelled:,.0f}",
                }
            )
        for env in dict.fromkeys(env for env, _ in best):
            alone = 1 / model.step_seconds[env]
            cells = {"environment": env, "ms a step": f"{1000 * model.step_seconds[env]:.2f}", ONE: f"{alone:,.0f}"}
            for copies in (8, _MODELLED_CORES):
                rate = copies / model.seconds(env, copies, _MODELLED_CORES)
                cells[f"{copies} copies, {_MODELLED_CORES} cores"] = f"{rate:,.0f} (× {rate / alone:.1f})"
            wide.append(cells)
        return (
            f"Steps per second on {cores} cores, the best of the repeats:\n\n{markdown_table(rows)}\n\n"
            f"The model: a step of N copies on C cores takes {1000 * model.fixed:.2f} ms, {1000 * model.message:.3f} "
            "ms for each copy that is told and heard, and ⌈N / C⌉ times the step of one. What it gives for "
            f"{_MODELLED_CORES} cores, where nothing was measured:\n\n{markdown_table(wide)}"
        )

    def _rates(self, ref: EnvironmentRef, copies: int) -> dict[str, list[float]]:
        rates: dict[str, list[float]] = {ONE: [], OURS: [], PEER: []}
        with _steppers(ref, copies) as steppers:
            rounds = {}
            for way, step in steppers.items():
                for number in range(_WARM_UP):
                    step(number)
                started = time.perf_counter()
                for number in range(_WARM_UP):
                    step(number)
                rounds[way] = max(int(self.seconds * _WARM_UP / (time.perf_counter() - started)), 1)
            for _ in range(self.repeats):
                for way, step in steppers.items():
                    started = time.perf_counter()
                    for number in range(rounds[way]):
                        step(number)
                    rates[way].append(rounds[way] * copies / (time.perf_counter() - started))
        return rates


@dataclass(frozen=True)
class Model:
    """How long a step of all copies takes, each in a process of its own.

    seconds(N, C) = fixed + N message + ceil(N / C) step: the main process tells every copy its action and hears from
    it, one after another, and the copies take turns on the cores.

    Attributes:
        fixed, message: seconds, the same for every environment; by least squares.
        step_seconds: of one copy, by environment: what it takes in one process.
    """

    fixed: float
    message: float
    step_seconds: dict[str, float]

    @classmethod
    def fitted(cls, best: dict[tuple[str, int], dict[str, float]], cores: int) -> Model:
        """The model of steps per second, by environment and copies, for each way of running them."""
        steps = {env: 1 / max(rates[ONE] for (name, _), rates in best.items() if name == env) for env, _ in best}
        rows = np.array([[1.0, copies] for _, copies in best])
        seconds = np.array([copies / rates[OURS] for (_, copies), rates in best.items()])
        busy = np.array([math.ceil(copies / cores) * steps[env] for env, copies in best])
        # Relative errors count, as the steps of environments differ a thousandfold.
        found, *_ = np.linalg.lstsq(rows / seconds[:, None], (seconds - busy) / seconds, rcond=None)
        fixed, message = np.maximum(found, 0.0)
        return cls(float(fixed), float(message), steps)

    def seconds(self, env: str, copies: int, cores: int) -> float:
        """Of a step of so many copies of an environment on so many cores."""
        return self.fixed + copies * self.message + math.ceil(copies / cores) * self.step_seconds[env]


@contextmanager
def _steppers(ref: EnvironmentRef, copies: int) -> Iterator[dict[str, Callable[[int], Any]]]:
    """For each way of running the copies, what takes the step of a number."""
    one, ours = ref.make_vector(copies), ref.make_vector(copies, processes=True)
    peer = SubprocVecEnv([partial(_make, ref)] * copies, start_method="forkserver")
    try:
        one.action_space.seed(0)
        actions = [one.action_space.sample() for _ in range(_ACTIONS)]
        for env in (one, ours):
            env.reset(seed=0)
        peer.reset()
        yield {
            ONE: lambda number: one.step(actions[number % _ACTIONS]),
            OURS: lambda number: ours.step(actions[number % _ACTIONS]),
            PEER: lambda number: peer.step(actions[number % _ACTIONS]),
        }
    finally:
        one.close()
        ours.close()
        peer.close()


def _make(ref: EnvironmentRef) -> gym.Env[Any, Any]:
    return ref.make()


def _label(ref: EnvironmentRef) -> str:
    longer = f" and {ref.wrappers[0].kwargs['milliseconds']:g} ms more" if ref.wrappers else ""
    return f"`{ref.id}`{longer}"


def _best(measured: dict[str, Any]) -> dict[tuple[str, int], dict[str, float]]:
    return {
        (each["env"], each["copies"]): {way: max(rates) for way, rates in each["rates"].items()}
        for each in measured["measured"]
    }
