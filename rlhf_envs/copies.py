"""Separate copies of any environment, stepped one after another or each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.async_vector_env import AsyncState

from rlhf_envs.wrappers.faults import EnvironmentFault
from rlhf_envs.wrappers.rewards import COPY_INFOS

_NO_INFO: dict[str, Any] = {}


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


class _CopyInfos(VectorEnv[Any, Any, Any]):
    """Keeps the infos of separate copies as they are.

    Gymnasium puts them together into arrays, which fails where a value changes its type or shape, and takes longer than
    a step of CartPole.
    """

    horizon: int

    def _add_info(self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int) -> dict[str, Any]:
        infos = vector_infos.setdefault(COPY_INFOS, [_NO_INFO] * self.num_envs)
        if "final_obs" in env_info:
            if "final_obs" not in vector_infos:
                vector_infos["final_obs"] = np.full(self.num_envs, None, dtype=object)
                vector_infos["_final_obs"] = np.zeros(self.num_envs, dtype=np.bool_)
            vector_infos["final_obs"][env_num] = env_info["final_obs"]
            vector_infos["_final_obs"][env_num] = True
            infos[env_num] = env_info["final_info"]
        elif infos[env_num] is _NO_INFO:
            # Otherwise it is that of the reset that followed the last step of an episode.
            infos[env_num] = env_info
        return vector_infos


class SeparateCopies(_CopyInfos, SyncVectorEnv):
    """Copies of any environment, stepped one after another."""

    def __init__(self, makers: Sequence[Callable[[], gym.Env[Any, Any]]]) -> None:
        SyncVectorEnv.__init__(self, makers, autoreset_mode=AutoresetMode.SAME_STEP)

    def call_copies(self, rows: Sequence[int], name: str, *arguments: Any, **keywords: Any) -> list[Any]:
        """Call a method of some of the copies, or read an attribute, by its name."""
        found = [self.envs[row].get_wrapper_attr(name) for row in rows]
        return [each(*arguments, **keywords) if callable(each) else each for each in found]


class CopiesInProcesses(_CopyInfos, AsyncVectorEnv):
    """Copies of any environment, each stepped in a process of its own.

    Args:
        makers: make the copies.
        name: what the environment is called in messages.

    Raises:
        EnvironmentFault: here and in every method, if a process ends by itself.
    """

    def __init__(self, makers: Sequence[Callable[[], gym.Env[Any, Any]]], name: str = "The environment") -> None:
        self._name = name
        # Forked from this process, they would share the state of its threads.
        context = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        if context == "forkserver":
            multiprocessing.set_forkserver_preload(_imported_once())
        makers = [partial(_make_in_process, make, os.getpid()) for make in makers]
        self._hint = (
            'what it said stands above. A script that uses processes runs its work under `if __name__ == "__main__":`.'
        )
        with self._deaths_told():
            AsyncVectorEnv.__init__(self, makers, context=context, autoreset_mode=AutoresetMode.SAME_STEP)
        self._hint = "in the process of the training (--processes False) it would have ended that."

    def reset_async(self, *arguments: Any, **keywords: Any) -> None:
        """Ask every copy to begin an episode."""
        with self._deaths_told():
            super().reset_async(*arguments, **keywords)

    def reset_wait(self, timeout: float | None = None) -> tuple[Any, dict[str, Any]]:
        """The first observations."""
        with self._deaths_told():
            return super().reset_wait(timeout)

    def step_async(self, actions: Any) -> None:
        """Ask every copy to act for one step."""
        with self._deaths_told():
            super().step_async(actions)

    def step_wait(self, timeout: float | None = None) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """What the step returned."""
        with self._deaths_told():
            return super().step_wait(timeout)

    def call_copies(self, rows: Sequence[int], name: str, *arguments: Any, **keywords: Any) -> list[Any]:
        """Call a method of some of the copies, or read an attribute, by its name."""
        with self._deaths_told():
            for row in rows:
                self.parent_pipes[row].send(("_call", (name, arguments, keywords)))
            results, successes = zip(*[self.parent_pipes[row].recv() for row in rows], strict=True)
        self._raise_if_errors(successes)
        return list(results)

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise what the first of the copies raised, without printing what all of them did."""
        failures = sum(not success for success in successes)
        if not failures:
            return
        errors = sorted((self.error_queue.get() for _ in range(failures)), key=lambda each: each[0])
        for row, *_ in errors:
            self.parent_pipes[row].close()
            self.parent_pipes[row] = None  # type: ignore[call-overload]
        self._state = AsyncState.DEFAULT
        _, kind, error, _ = errors[0]
        raise error if isinstance(error, Exception) else kind(error)

    @contextmanager
    def _deaths_told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            # Nothing more is waited for, so that closing does not wait for what will never come.
            self._state = AsyncState.DEFAULT
            codes = {
                row: process.exitcode
                for row, process in enumerate(getattr(self, "processes", ()))
                if _has_ended(process)
            }
            for row in codes:
                self.parent_pipes[row].close()
            ended = [
                f"copy {row} (exit code {code})"
                if code is not None and code >= 0
                else f"copy {row} (signal {-(code or 0)})"
                for row, code in codes.items()
            ]
            raise EnvironmentFault(
                f"{self._name} ended the process of {' and of '.join(ended) or 'one of its copies'}; {self._hint}"
            ) from error

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the processes, those that no longer answer as well."""
        try:
            super().close_extras(timeout, terminate)
        except (EOFError, ConnectionError):
            super().close_extras(terminate=True)


def _imported_once() -> list[str]:
    """Modules that the server which forks the processes imports once for all of them, which takes seconds of each.

    Every process imports the main module, and with it most of what is imported here. Modules of users are not among
    these: they may begin threads.
    """
    heavy = [name for name in ("torch", "stable_baselines3") if name in sys.modules]
    return heavy + [name for name in sys.modules if name.partition(".")[0] == __name__.partition(".")[0]]


def _has_ended(process: BaseProcess) -> bool:
    process.join(timeout=0.2)
    return not process.is_alive()


def _make_in_process(make: Callable[[], gym.Env[Any, Any]], trainer: int) -> gym.Env[Any, Any]:
    if os.getpid() != trainer:
        # Ctrl-C reaches every process; what becomes of the copies is for the one that trains on them to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return make()
