"""How fast the environments step and draw, beside Gymnasium's CartPole on the same core in the same minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch

from rlhf_envs.envs.registration import ENVIRONMENTS, is_native
from scripts.benchmarks.markdown import markdown_table

PEER = "CartPole-v1"
"""Gymnasium's environment with a vector version of its own, the measure of speed that most readers know."""

_ACTION_BATCHES = 64
_WARM_UP_STEPS = 50


@dataclass(frozen=True)
class Environments:
    """Time steps and frames of the suite's environments, each beside Gymnasium's CartPole.

    All are measured in turn, again and again, so that what else the machine does falls on all of them alike.

    Attributes:
        env: the environments, of the suite.
        widths: numbers of copies in a vector environment.
        repeats: measurements of each.
        seconds: about how long one measurement of steps takes.
        frames: drawn in one measurement of frames.
    """

    name: ClassVar[str] = "environments"
    env: tuple[str, ...] = tuple(ENVIRONMENTS)
    widths: tuple[int, ...] = (64, 1024)
    repeats: int = 9
    seconds: float = 0.4
    frames: int = 1000

    def __post_init__(self) -> None:
        if self.repeats < 1 or self.frames < 1 or min(self.widths, default=0) < 1:
            raise ValueError("repeats, frames and every one of widths must be at least 1.")
        if self.seconds <= 0:
            raise ValueError(f"seconds must be above 0, not {self.seconds}.")

    def measure(self, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        """Steps and frames per second of every repeat, and how many cores were busy meanwhile.

        Raises:
            ValueError: if an environment is not one of the suite; before any work is done.
        """
        for environment_id in self.env:
            if not is_native(environment_id):
                raise ValueError(f"{environment_id} is not one of the suite: {', '.join(ENVIRONMENTS)}.")
        torch.set_num_threads(1)
        ids = dict.fromkeys((*self.env, PEER))
        stepping = []
        for width in dict.fromkeys(self.widths):
            tell(f"steps of {width:,} copies, {self.repeats} times each")
            steppers = [_Stepper(environment_id, width, self.seconds) for environment_id in ids]
            stepping += _in_turn(steppers, self.repeats)
        tell(f"{self.frames:,} frames, {self.repeats} times each")
        drawing = _in_turn([_Drawer(environment_id, self.frames) for environment_id in ids], self.repeats)
        return {"stepping": stepping, "drawing": drawing}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Two tables: steps, and frames."""
        stepping = [
            [_label(each), f"{each['copies']:,}", *_rates(each["rates"]), f"{np.median(each['busy_cores']):.2f}"]
            for each in measured["stepping"]
        ]
        drawing = [
            [_label(each), *_rates(each["rates"]), f"{np.median(each['rates_with_step']):,.0f}"]
            for each in measured["drawing"]
        ]
        return "\n\n".join(
            [
                "Environment steps per second:",
                markdown_table(["environment", "copies", "median", "best", "worst", "busy cores"], stepping),
                "Frames of 600 × 400 pixels per second, of one copy:",
                markdown_table(["environment", "median", "best", "worst", "median with the step"], drawing),
            ]
        )


@dataclass
class _Rates:
    """What the repeats of one measurement came to, per second."""

    env: str
    copies: int
    rates: list[float] = field(default_factory=list)
    rates_with_step: list[float] = field(default_factory=list)
    busy_cores: list[float] = field(default_factory=list)


class _Stepper:
    """Steps a vector environment with random actions that were drawn before."""

    def __init__(self, environment_id: str, copies: int, seconds: float) -> None:
        self.measured = _Rates(environment_id, copies)
        self._env = gym.make_vec(environment_id, num_envs=copies, vectorization_mode="vector_entry_point")
        self._env.reset(seed=0)
        self._env.action_space.seed(0)
        self._actions = [self._env.action_space.sample() for _ in range(_ACTION_BATCHES)]
        self._run(_WARM_UP_STEPS)
        self._steps = max(int(seconds * _WARM_UP_STEPS / self._run(_WARM_UP_STEPS)), 1)

    def repeat(self) -> None:
        """Take one more measurement."""
        busy = time.process_time()
        seconds = self._run(self._steps)
        self.measured.busy_cores.append((time.process_time() - busy) / seconds)
        self.measured.rates.append(self._steps * self.measured.copies / seconds)

    def close(self) -> None:
        """Let go of the environment."""
        self._env.close()

    def _run(self, steps: int) -> float:
        env, actions = self._env, self._actions
        started = time.perf_counter()
        for number in range(steps):
            env.step(actions[number % _ACTION_BATCHES])
        return time.perf_counter() - started


class _Drawer:
    """Draws a frame of a single copy after each of its steps."""

    def __init__(self, environment_id: str, frames: int) -> None:
        self.measured = _Rates(environment_id, 1)
        self._env = gym.make(environment_id, render_mode="rgb_array", disable_env_checker=True)
        self._env.reset(seed=0)
        self._env.action_space.seed(0)
        self._actions = [self._env.action_space.sample() for _ in range(_ACTION_BATCHES)]
        self._frames = frames
        self._run(min(frames, _WARM_UP_STEPS))

    def repeat(self) -> None:
        """Take one more measurement."""
        busy, started = time.process_time(), time.perf_counter()
        drawing = self._run(self._frames)
        seconds = time.perf_counter() - started
        self.measured.busy_cores.append((time.process_time() - busy) / seconds)
        self.measured.rates.append(self._frames / drawing)
        self.measured.rates_with_step.append(self._frames / seconds)

    def close(self) -> None:
        """Let go of the environment."""
        self._env.close()

    def _run(self, frames: int) -> float:
        """Step and draw; the seconds that drawing alone took."""
        drawing = 0.0
        for number in range(frames):
            _, _, terminated, truncated, _ = self._env.step(self._actions[number % _ACTION_BATCHES])
            started = time.perf_counter()
            self._env.render()
            drawing += time.perf_counter() - started
            if terminated or truncated:
                self._env.reset()
        return drawing


def _in_turn(subjects: Sequence[_Stepper] | Sequence[_Drawer], repeats: int) -> list[dict[str, Any]]:
    for _ in range(repeats):
        for subject in subjects:
            subject.repeat()
    for subject in subjects:
        subject.close()
    return [asdict(subject.measured) for subject in subjects]


def _label(measured: dict[str, Any]) -> str:
    return "Gymnasium's `CartPole-v1`" if measured["env"] == PEER else f"`{measured['env']}`"


def _rates(rates: list[float]) -> list[str]:
    return [f"{value:,.0f}" for value in (np.median(rates), max(rates), min(rates))]
