"""How fast an environment steps and draws: wall time on the thread that calls it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from rlhf_envs.testing.checks import Subject, require

_ACTION_BATCHES = 64
_WARM_UP_ROUNDS = 50
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


class Timer:
    """Steps an environment under random actions that were drawn before, and draws it after each step if it renders.

    Args:
        env: made by Gymnasium.
        environment_id: its id.
        copies: how many it has.
        rounds: steps of one repeat.

    Attributes:
        measured: the rates of all repeats.
    """

    def __init__(self, env: Any, environment_id: str, copies: int = 1, rounds: int = _WARM_UP_ROUNDS) -> None:
        self.measured = Rates(environment_id, copies)
        self.rounds = rounds
        self._env, self._draws = env, env.render_mode is not None
        env.reset(seed=0)
        env.action_space.seed(0)
        self._actions = [env.action_space.sample() for _ in range(_ACTION_BATCHES)]
        self.run(min(rounds, _WARM_UP_ROUNDS))

    def repeat(self) -> None:
        """Take one more measurement."""
        busy = time.process_time()
        seconds, drawing = self.run(self.rounds)
        self.measured.busy_cores.append((time.process_time() - busy) / seconds)
        if self._draws:
            self.measured.rates.append(self.rounds / drawing)
            self.measured.rates_with_step.append(self.rounds / seconds)
        else:
            self.measured.rates.append(self.rounds * self.measured.copies / seconds)

    def run(self, rounds: int) -> tuple[float, float]:
        """The seconds of so many steps, and what drawing took of them."""
        env, drawing = self._env, 0.0
        started = time.perf_counter()
        for number in range(rounds):
            _, _, terminated, truncated, _ = env.step(self._actions[number % _ACTION_BATCHES])
            if self._draws:
                before = time.perf_counter()
                env.render()
                drawing += time.perf_counter() - before
                if terminated or truncated:
                    env.reset()
        return time.perf_counter() - started, drawing

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def step_timer(environment_id: str, copies: int, seconds: float, **kwargs: Any) -> Timer:
    """A timer of the steps of a vector environment, each of whose repeats takes about so long.

    Args:
        environment_id: one that has a vector version of its own.
        copies: how many.
        seconds: of a repeat.
        **kwargs: arguments of the environment.
    """
    env = gym.make_vec(environment_id, num_envs=copies, vectorization_mode="vector_entry_point", **kwargs)
    timer = Timer(env, environment_id, copies)
    timer.rounds = max(int(seconds * _WARM_UP_ROUNDS / timer.run(_WARM_UP_ROUNDS)[0]), 1)
    return timer


def frame_timer(environment_id: str, frames: int, **kwargs: Any) -> Timer:
    """A timer of frames of a single copy, so many in a repeat, one after each step."""
    env = gym.make(environment_id, render_mode="rgb_array", disable_env_checker=True, **kwargs)
    return Timer(env, environment_id, rounds=frames)


def steps_fast_enough(subject: Subject, least: Mapping[int, float]) -> None:
    """The best of a few repeats reaches so many environment steps per second, by numbers of copies."""
    subject.make_task()
    for copies, wanted in least.items():
        best = _best(step_timer(subject.id, copies, _SECONDS, **subject.kwargs))
        require(best >= wanted, f"{copies} copies make {best:,.0f} steps per second, fewer than {wanted:,.0f}.")


def draws_fast_enough(subject: Subject, least: float) -> None:
    """The best of a few repeats reaches so many frames of 600x400 pixels per second."""
    subject.make_task()
    best = _best(frame_timer(subject.id, _FRAMES, **subject.kwargs))
    require(best >= least, f"it draws {best:,.0f} frames per second, fewer than {least:,.0f}.")


def _best(timer: Timer) -> float:
    for _ in range(_REPEATS):
        timer.repeat()
    timer.close()
    return max(timer.measured.rates)
