"""How fast an environment steps and draws: wall time on the thread that calls it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from rlhf_envs.testing.checks import Subject, require

_ACTION_BATCHES = 64
_WARM_UP_STEPS = 50
_REPEATS = 5
_SECONDS = 0.3
_FRAMES = 500


@dataclass
class Rates:
    """What the repeats of one measurement came to.

    Attributes:
        env, copies: of what.
        rates: steps or frames per second of wall time, per repeat.
        rates_with_step: of frames, with the step before each counted in.
        busy_cores: processor time over wall time; below 1 something else had the core meanwhile.
    """

    env: str
    copies: int
    rates: list[float] = field(default_factory=list)
    rates_with_step: list[float] = field(default_factory=list)
    busy_cores: list[float] = field(default_factory=list)


class _Timer:
    """Takes measurements of one environment under random actions that were drawn before.

    Attributes:
        measured: the rates of all repeats.
    """

    def __init__(self, env: Any, environment_id: str, copies: int) -> None:
        self.measured = Rates(environment_id, copies)
        self._env = env
        env.reset(seed=0)
        env.action_space.seed(0)
        self._actions = [env.action_space.sample() for _ in range(_ACTION_BATCHES)]

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


class StepTimer(_Timer):
    """Steps a vector environment.

    Args:
        environment_id: one that has a vector version of its own.
        copies: how many.
        seconds: about how long one repeat takes.
        **kwargs: arguments of the environment.
    """

    def __init__(self, environment_id: str, copies: int, seconds: float, **kwargs: Any) -> None:
        env = gym.make_vec(environment_id, num_envs=copies, vectorization_mode="vector_entry_point", **kwargs)
        super().__init__(env, environment_id, copies)
        self._run(_WARM_UP_STEPS)
        self._steps = max(int(seconds * _WARM_UP_STEPS / self._run(_WARM_UP_STEPS)), 1)

    def repeat(self) -> None:
        """Take one more measurement."""
        busy = time.process_time()
        seconds = self._run(self._steps)
        self.measured.busy_cores.append((time.process_time() - busy) / seconds)
        self.measured.rates.append(self._steps * self.measured.copies / seconds)

    def _run(self, steps: int) -> float:
        env, actions = self._env, self._actions
        started = time.perf_counter()
        for number in range(steps):
            env.step(actions[number % _ACTION_BATCHES])
        return time.perf_counter() - started


class FrameTimer(_Timer):
    """Draws a frame of a single copy after each of its steps.

    Args:
        environment_id: one that renders as "rgb_array".
        frames: how many one repeat draws.
        **kwargs: arguments of the environment.
    """

    def __init__(self, environment_id: str, frames: int, **kwargs: Any) -> None:
        env = gym.make(environment_id, render_mode="rgb_array", disable_env_checker=True, **kwargs)
        super().__init__(env, environment_id, 1)
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


def steps_fast_enough(subject: Subject, least: Mapping[int, float]) -> None:
    """The best of a few repeats reaches so many environment steps per second, by numbers of copies."""
    subject.make_task()
    for copies, wanted in least.items():
        best = _best(StepTimer(subject.id, copies, _SECONDS, **subject.kwargs))
        require(best >= wanted, f"{copies} copies make {best:,.0f} steps per second, fewer than {wanted:,.0f}.")


def draws_fast_enough(subject: Subject, least: float) -> None:
    """The best of a few repeats reaches so many frames of 600x400 pixels per second."""
    subject.make_task()
    best = _best(FrameTimer(subject.id, _FRAMES, **subject.kwargs))
    require(best >= least, f"it draws {best:,.0f} frames per second, fewer than {least:,.0f}.")


def _best(timer: StepTimer | FrameTimer) -> float:
    for _ in range(_REPEATS):
        timer.repeat()
    timer.close()
    return max(timer.measured.rates)
