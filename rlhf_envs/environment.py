"""Which environment, with which arguments and wrappers, and how it is made: one copy, or many at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit

from rlhf_envs.envs.registration import find_spec, is_native
from rlhf_envs.json_values import require_json
from rlhf_envs.registry import import_object
from rlhf_envs.wrappers.fixed_horizon import FixedHorizon
from rlhf_envs.wrappers.rewards import COPY_INFOS

OnTermination = Literal["terminate", "restart"]
"""What follows when a third-party environment ends an episode before the horizon: nothing, the episode is over; or the
environment begins anew, and the episode goes on (`FixedHorizon`)."""

_NO_INFO: dict[str, Any] = {}


@dataclass(frozen=True)
class WrapperRef:
    """A Gymnasium wrapper and its arguments.

    Attributes:
        wrapper: where it is, as "module:Class".
        kwargs: its keyword arguments; JSON values, if the reference is to be written down.
    """

    wrapper: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.wrapper, str) or not isinstance(self.kwargs, Mapping):
            raise ValueError(
                f'A wrapper is named as "module:Class", with an object of arguments, not by {self.wrapper!r} and '
                f"{self.kwargs!r}."
            )

    @classmethod
    def of(cls, wanted: str | WrapperRef) -> WrapperRef:
        """A reference as it is, or one from text: 'module:Class', or 'module:Class {"size": 84}'.

        Raises:
            ValueError: if what follows the class is not a JSON object.
        """
        if isinstance(wanted, WrapperRef):
            return wanted
        wrapper, _, arguments = wanted.strip().partition(" ")
        try:
            kwargs = json.loads(arguments or "{}")
        except ValueError as error:
            raise ValueError(
                f"The arguments of a wrapper are a JSON object, as in 'module:Class {{\"size\": 84}}', not "
                f"{arguments!r}: {error}."
            ) from error
        return cls(wrapper, kwargs)

    def __str__(self) -> str:
        return f"{self.wrapper} {json.dumps(dict(self.kwargs))}" if self.kwargs else self.wrapper

    def wrap(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """The environment inside the wrapper.

        Raises:
            ValueError: if there is no such wrapper, it does not take these arguments, or it gives no environment.
        """
        wrapper = import_object(self.wrapper, "wrapper")
        try:
            wrapped = wrapper(env, **self.kwargs)
        except TypeError as error:
            raise ValueError(f"The wrapper {self} cannot be used: {error}.") from error
        if not isinstance(wrapped, gym.Env):
            raise ValueError(f"The wrapper {self} gives {wrapped!r}, which is no Gymnasium environment.")
        return wrapped


@dataclass(frozen=True)
class EnvironmentRef:
    """Names an environment so that training, evaluation, films and stores all make the same.

    The suite's environments never end an episode early. Where others do, what the end is worth is part of what people
    judge and the reward model learns (see `Segment.absorbing`): otherwise the arbitrary offset of a learned reward
    would decide whether it pays to end an episode.

    Attributes:
        id: any registered id; that of an environment of another package is written as "package:id".
        kwargs: its arguments; JSON values, if the reference is to be written down.
        wrappers: put around each copy, the first one innermost.
        horizon: steps in an episode of a third-party environment, as its wrappers count them; its registered limit
            where None. The suite's environments take it as an argument of their own.
        on_termination: what a third-party environment does when it ends an episode before that.

    Raises:
        ValueError: if a value is of the wrong type or out of range.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperRef, ...] = ()
    horizon: int | None = None
    on_termination: str = "terminate"

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise ValueError(f"An environment is named by its id, such as rlhf/Driving-v0, not by {self.id!r}.")
        if not isinstance(self.kwargs, Mapping) or not all(isinstance(name, str) for name in self.kwargs):
            raise ValueError(f"The arguments of {self.id} must be an object, not {self.kwargs!r}.")
        object.__setattr__(self, "wrappers", tuple(WrapperRef.of(wrapper) for wrapper in self.wrappers))
        if self.horizon is not None and type(self.horizon) is not int:
            raise ValueError(f"The horizon of {self.id} must be a whole number, not {self.horizon!r}.")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"The horizon of {self.id} must be at least 1 step, not {self.horizon}.")
        if self.on_termination not in get_args(OnTermination):
            choices = ", ".join(get_args(OnTermination))
            raise ValueError(f"on_termination must be one of {choices}, not {self.on_termination!r}.")

    @classmethod
    def of(cls, wanted: str | EnvironmentRef) -> EnvironmentRef:
        """A reference as it is, or that of an id without arguments."""
        return wanted if isinstance(wanted, EnvironmentRef) else cls(wanted)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is the inverse.

        Raises:
            ValueError: if arguments are not plain JSON, so that the environment could not be made again from them.
        """
        values = {
            "id": self.id,
            "kwargs": dict(self.kwargs),
            "wrappers": [{"wrapper": each.wrapper, "kwargs": dict(each.kwargs)} for each in self.wrappers],
            "horizon": self.horizon,
            "on_termination": self.on_termination,
        }
        described: dict[str, Any] = require_json(values, f"arguments of {self.id} and of its wrappers")
        return described

    @classmethod
    def from_json(cls, values: object) -> EnvironmentRef:
        """Read what `to_json` gave; all but the id may be missing.

        Raises:
            ValueError: if it is not an object, or a value is unknown or of the wrong type.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"An environment is described by an object with its id, not by {values!r}.")
        if unknown := set(values) - {part.name for part in fields(cls)}:
            raise ValueError(f"The description of an environment has no {', '.join(sorted(unknown))}.")
        wrappers = values.get("wrappers", ())
        if not isinstance(wrappers, list | tuple) or not all(isinstance(each, Mapping) for each in wrappers):
            raise ValueError(f"The wrappers of an environment must be a list of objects, not {wrappers!r}.")
        for each in wrappers:
            if "wrapper" not in each or not set(each) <= {"wrapper", "kwargs"}:
                raise ValueError(f'A wrapper is described by "wrapper" and "kwargs", not by {dict(each)!r}.')
        return cls(**{"id": "", **values, "wrappers": tuple(WrapperRef(**each) for each in wrappers)})

    @property
    def is_native(self) -> bool:
        """Whether it is written on this suite's batched base.

        Raises:
            ValueError: if no such environment is registered.
        """
        return is_native(self.id)

    def episode_length(self) -> int:
        """Steps in an episode.

        Raises:
            ValueError: if there is no such environment, or neither a horizon nor a registered limit.
        """
        if self.is_native:
            self._refuse_horizon()
            env = self.make()
            try:
                return int(env.get_wrapper_attr("horizon"))
            finally:
                env.close()
        limit = find_spec(self.id).max_episode_steps if self.horizon is None else self.horizon
        if limit is None:
            raise ValueError(
                f"{self.id} was registered without a limit of steps, so the length of its episodes has to be given: "
                "--horizon N on the command line, horizon=N in code."
            )
        return limit

    @property
    def terminates(self) -> bool:
        """Whether episodes may end before the horizon: those of the suite only if a wrapper ends them.

        Raises:
            ValueError: if no such environment is registered.
        """
        return bool(self.wrappers) if self.is_native else self.on_termination == "terminate"

    def about_episodes(self) -> str:
        """One sentence on how the episodes of a third-party environment end."""
        if self.on_termination == "terminate":
            return f"Episodes end when the environment ends them, after {self.episode_length()} steps at the latest."
        return (
            f"Episodes are held to {self.episode_length()} steps: when the environment ends one, it begins anew, and "
            "the episode goes on."
        )

    def make(self, render_mode: str | None = None, limited: bool = True) -> gym.Env[Any, Any]:
        """One copy, with its wrappers and episodes that end as the reference says.

        Args:
            render_mode: None for that of the arguments, "human" or "rgb_array".
            limited: False leaves episodes as long as the environment makes them, for drawing and describing it.

        Raises:
            ValueError: for an unknown id, arguments, wrappers or a render mode that it does not take, or a horizon
                that is not known.
        """
        native = self.is_native
        arguments = dict(self.kwargs)
        if render_mode is not None:
            # Not every environment takes this argument.
            arguments["render_mode"] = render_mode
        if native:
            self._refuse_horizon()
        # The length is held outside the wrappers, some of which take several steps at a time.
        limit = None if native or not limited else -1
        horizon = self.episode_length() if limit else 0
        with self._refused_arguments():
            env = gym.make(self.id, max_episode_steps=limit, disable_env_checker=True, **arguments)
        for wrapper in self.wrappers:
            env = wrapper.wrap(env)
        if limit is None:
            return env
        return TimeLimit(env, horizon) if self.on_termination == "terminate" else FixedHorizon(env, horizon)

    def make_vector(
        self, num_envs: int, *, processes: bool = False, render_mode: str | None = None
    ) -> VectorEnv[Any, Any, Any]:
        """Many copies, stepped together, each of which begins a new episode in the step that ends one (SAME_STEP).

        The suite's environments run as one batch. Others, and those with wrappers, are separate copies: their infos
        are not put together into arrays but kept as they are, in the list `info["copies"]`, where a copy whose episode
        ended has the info of its last step.

        Args:
            num_envs: how many copies, N.
            processes: separate copies run in processes of their own; worth it where a step takes over about 0.2 ms.
            render_mode: as in `make`, for separate copies.

        Returns:
            A vector environment with an attribute `horizon`: the steps in an episode.

        Raises:
            ValueError: as `make`, or if there is less than one copy.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}.")
        if self.is_native and not self.wrappers:
            self._refuse_horizon()
            with self._refused_arguments():
                return gym.make_vec(self.id, num_envs=num_envs, **self.kwargs)
        makers = [partial(self.make, render_mode)] * num_envs
        copies = CopiesInProcesses(makers) if processes else SeparateCopies(makers)
        copies.horizon = self.episode_length()
        return copies

    def _refuse_horizon(self) -> None:
        if self.horizon is not None:
            raise ValueError(
                f"{self.id} takes the length of its episodes as an argument of its own, such as "
                f'{{"horizon": {self.horizon}}}, so leave the horizon out.'
            )

    @contextmanager
    def _refused_arguments(self) -> Iterator[None]:
        """Say it in one sentence where an environment is made with arguments that it does not have."""
        try:
            yield
        except TypeError as error:
            raise ValueError(f"{self.id} does not take these arguments: {error}.") from error


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
    """Copies of any environment, each stepped in a process of its own."""

    def __init__(self, makers: Sequence[Callable[[], gym.Env[Any, Any]]]) -> None:
        # Forked from this process, they would share the state of its threads.
        context = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        makers = [partial(_make_in_process, make, os.getpid()) for make in makers]
        AsyncVectorEnv.__init__(self, makers, context=context, autoreset_mode=AutoresetMode.SAME_STEP)

    def call_copies(self, rows: Sequence[int], name: str, *arguments: Any, **keywords: Any) -> list[Any]:
        """Call a method of some of the copies, or read an attribute, by its name."""
        for row in rows:
            self.parent_pipes[row].send(("_call", (name, arguments, keywords)))
        results, successes = zip(*[self.parent_pipes[row].recv() for row in rows], strict=True)
        self._raise_if_errors(successes)
        return list(results)


def _make_in_process(make: Callable[[], gym.Env[Any, Any]], trainer: int) -> gym.Env[Any, Any]:
    if os.getpid() != trainer:
        # Ctrl-C reaches every process; what becomes of the copies is for the one that trains on them to say.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return make()


@dataclass(frozen=True)
class StoredEnvironment:
    """What a feedback store or an archive knows of the environment that its segments are from.

    Attributes:
        ref: the environment; None where it is not known, so that its segments cannot be drawn.
        segment_length: steps in a segment; None where it is not known.
        rubric: one sentence that tells annotators what to look for, if the run gave one of its own.

    Raises:
        ValueError: if a value is of the wrong type.
    """

    ref: EnvironmentRef | None = None
    segment_length: int | None = None
    rubric: str = ""

    def __post_init__(self) -> None:
        if self.segment_length is not None and (type(self.segment_length) is not int or self.segment_length < 1):
            raise ValueError(f"segment_length must be a whole number of at least 1, not {self.segment_length!r}.")
        if not isinstance(self.rubric, str):
            raise ValueError(f"The rubric must be a text, not {self.rubric!r}.")

    @property
    def id(self) -> str:
        """The environment's id; empty where it is not known."""
        return "" if self.ref is None else self.ref.id

    @property
    def required(self) -> EnvironmentRef:
        """The environment.

        Raises:
            ValueError: if it is not known.
        """
        if self.ref is None:
            raise ValueError("The store does not say which environment its segments are from, so they cannot be drawn.")
        return self.ref

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is the inverse.

        Raises:
            ValueError: if the environment's arguments are not plain JSON.
        """
        own = {"segment_length": self.segment_length, "rubric": self.rubric}
        return {**({} if self.ref is None else self.ref.to_json()), **own}

    @classmethod
    def from_json(cls, values: object) -> StoredEnvironment:
        """Read what `to_json` gave; anything may be missing.

        Raises:
            ValueError: if it is not an object, or a value is unknown or of the wrong type.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"An environment is described by an object, not by {values!r}.")
        own = {name: values[name] for name in ("segment_length", "rubric") if name in values}
        described = {name: value for name, value in values.items() if name not in own}
        return cls(EnvironmentRef.from_json(described) if described else None, **own)
