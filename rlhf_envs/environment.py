"""Which environment, with which arguments and wrappers, and how it is made: one copy, or many at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import TimeLimit

from rlhf_envs.copies import CopiesInProcesses, SeparateCopies
from rlhf_envs.envs.registration import find_spec, is_native
from rlhf_envs.json_values import require_json
from rlhf_envs.registry import import_object
from rlhf_envs.wrappers.faults import ReportFaults, described, user_line
from rlhf_envs.wrappers.fixed_horizon import FixedHorizon
from rlhf_envs.wrappers.spaces import adapt

OnTermination = Literal["terminate", "restart"]
"""What follows when a third-party environment ends an episode before the horizon: nothing, the episode is over; or the
environment begins anew, and the episode goes on (`FixedHorizon`)."""


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
    def of(cls, wanted: str | WrapperRef | Callable[..., Any]) -> WrapperRef:
        """A reference as it is, one to a class, or from text.

        Args:
            wanted: such text is 'module:Class', or with arguments 'module:Class={"size": 84}'.

        Raises:
            ValueError: if what follows the class is not a JSON object, or it is none of these.
        """
        if isinstance(wanted, WrapperRef):
            return wanted
        name = getattr(wanted, "__qualname__", None)
        if callable(wanted) and isinstance(name, str):
            if not name.isidentifier():
                raise ValueError(
                    f'The wrapper {name} cannot be named as "module:Class"; define it at the top of a module, so that '
                    "other commands can make the environment as well."
                )
            return cls(f"{wanted.__module__}:{name}")
        if not isinstance(wanted, str):
            return cls(wanted)  # type: ignore[arg-type]
        wrapper, arguments = re.fullmatch(r"([^\s=]*)[\s=]*(.*)", wanted.strip(), re.DOTALL).groups()  # type: ignore[union-attr]
        try:
            kwargs = json.loads(arguments or "{}")
        except ValueError as error:
            raise ValueError(
                f"The arguments of a wrapper are a JSON object, as in 'module:Class={{\"size\": 84}}', not "
                f"{arguments!r}: {error}."
            ) from error
        return cls(wrapper, kwargs)

    @classmethod
    def all_of(cls, wanted: Any) -> tuple[WrapperRef, ...]:
        """What `of` gives for each of several wrappers, or for a single one.

        Raises:
            ValueError: as `of`.
        """
        several = isinstance(wanted, Iterable) and not isinstance(wanted, str)
        return tuple(map(cls.of, wanted if several else (wanted,)))

    def __str__(self) -> str:
        return f"{self.wrapper}={json.dumps(dict(self.kwargs))}" if self.kwargs else self.wrapper

    def wrap(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """The environment inside the wrapper.

        Raises:
            ValueError: if there is no such wrapper, it refuses these arguments, or it gives no environment.
        """
        wrapper = import_object(self.wrapper, "wrapper")
        try:
            wrapped = self._wrapped_by(wrapper, env)
        except Exception as error:  # whatever the wrapper refuses its arguments by
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise ValueError(f"The wrapper {self} cannot be used: {reason}.") from error
        if not isinstance(wrapped, gym.Env):
            raise ValueError(f"The wrapper {self} gives {wrapped!r}, which is no Gymnasium environment.")
        return wrapped

    def _wrapped_by(self, wrapper: Callable[..., Any], env: gym.Env[Any, Any]) -> Any:
        try:
            return wrapper(env, **self.kwargs)
        except Exception:  # whatever the wrapper refuses its arguments by
            tuples = _with_tuples(self.kwargs)
            if tuples == dict(self.kwargs):
                raise
            # JSON has no tuples, and some wrappers insist on them, such as ResizeObservation.
            with suppress(Exception):
                return wrapper(env, **tuples)
            raise


def _with_tuples(value: Any) -> Any:
    """JSON values with tuples in the place of lists."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(part) for key, part in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list | tuple) else value


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
            raise ValueError(f"An environment is named by its id, such as rlhf/Driving-v1, not by {self.id!r}.")
        if not isinstance(self.kwargs, Mapping) or not all(isinstance(name, str) for name in self.kwargs):
            raise ValueError(f"The arguments of {self.id} must be an object, not {self.kwargs!r}.")
        if "render_mode" in self.kwargs:
            raise ValueError(
                f"Leave render_mode out of the arguments of {self.id}: whether and how it is drawn is decided where it "
                "is needed, by --feedback, --film and the like."
            )
        object.__setattr__(self, "wrappers", WrapperRef.all_of(self.wrappers))
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
            env = self.make()
            try:
                return int(env.get_wrapper_attr("horizon"))
            finally:
                env.close()
        limit = self._known_length
        if limit is not None:
            return limit
        env = self._make_wrapped(None, -1)
        try:
            return self._length_in(env)
        finally:
            env.close()

    @property
    def _known_length(self) -> int | None:
        """Steps in an episode of a third-party environment, where they are known before one is made."""
        return find_spec(self.id).max_episode_steps if self.horizon is None else self.horizon

    def _length_in(self, env: gym.Env[Any, Any]) -> int:
        """Steps in an episode of a third-party environment, of which this is a copy."""
        limit = self._known_length or _own_limit(env)
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
        length = self.episode_length()
        counted = "" if self._known_length else ", the limit that the environment itself has"
        if self.on_termination == "terminate":
            return f"Episodes end when the environment ends them, after {length} steps at the latest{counted}."
        return (
            f"Episodes are held to {length} steps{counted}: when the environment ends one, it begins anew, and the "
            "episode goes on."
        )

    def make(
        self,
        render_mode: str | None = None,
        limited: bool = True,
        copy: int | None = None,
        plain_infos: bool = False,
    ) -> gym.Env[Any, Any]:
        """One copy, with its wrappers and episodes that end as the reference says.

        Third-party environments, and any with wrappers, are made such that what they show and take can be learned from
        (`rlhf_envs.wrappers.adapt`), and what goes wrong in them is told as theirs (`EnvironmentFault`).

        Args:
            render_mode: None, "human" or "rgb_array".
            limited: False leaves episodes as long as the environment makes them, for drawing and describing it.
            copy: which of several it is, for messages.
            plain_infos: whether infos must be plain data, as they must be to leave the process.

        Raises:
            ValueError: for an unknown id, arguments, wrappers or a render mode that it does not take, spaces that
                cannot be learned from, or a horizon that is not known.
        """
        native = self.is_native
        # The length is held outside the wrappers, some of which take several steps at a time.
        own_limit = native or not limited
        env = self._make_wrapped(render_mode, None if own_limit else -1)
        if native and not self.wrappers:
            return env
        self._require_spaces(env)
        horizon = 0 if own_limit else self._length_in(env)
        env = adapt(ReportFaults(env, self.id, copy, native, plain_infos), self.id)
        if own_limit:
            return env
        return TimeLimit(env, horizon) if self.on_termination == "terminate" else FixedHorizon(env, horizon)

    def _make_wrapped(self, render_mode: str | None, limit: int | None) -> gym.Env[Any, Any]:
        """One copy in its wrappers, with the time limit that `gym.make` takes."""
        arguments = dict(self.kwargs)
        if render_mode is not None:
            # Not every environment takes this argument.
            arguments["render_mode"] = render_mode
        self._refuse_arguments()
        with self._refused_arguments():
            env = gym.make(self.id, max_episode_steps=limit, disable_env_checker=True, **arguments)
        if limit == -1 and self.wrappers and env.unwrapped.spec is not None:
            # Such as TimeAwareObservation, which asks how long an episode is.
            length = self._known_length or _own_limit(env)
            env.unwrapped.spec = replace(env.unwrapped.spec, max_episode_steps=length)
        try:
            for wrapper in self.wrappers:
                env = wrapper.wrap(env)
        except ValueError as error:
            if render_mode is not None or re.search("render.?mode", str(error), re.IGNORECASE) is None:
                raise
            env.close()
            # Some wrappers work on pictures, such as AddRenderObservation.
            return self._make_wrapped("rgb_array", limit)
        return env

    def make_vector(
        self, num_envs: int, *, processes: bool = False, render_mode: str | None = None
    ) -> VectorEnv[Any, Any, Any]:
        """Many copies, stepped together, each of which begins a new episode in the step that ends one (SAME_STEP).

        The suite's environments run as one batch. Others, and those with wrappers, are separate copies: their infos
        are not put together into arrays but kept as they are, in the list `info["copies"]`, where a copy whose episode
        ended has the info of its last step.

        Args:
            num_envs: how many copies, N.
            processes: separate copies run in processes of their own; worth it where a step takes over about 0.3 ms.
            render_mode: as in `make`, for separate copies.

        Returns:
            A vector environment with an attribute `horizon`: the steps in an episode.

        Raises:
            ValueError: as `make`, or if there is less than one copy.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}.")
        if self.is_native and not self.wrappers:
            self._refuse_arguments()
            with self._refused_arguments():
                return gym.make_vec(self.id, num_envs=num_envs, **self.kwargs)
        makers = [partial(self.make, render_mode, copy=row, plain_infos=processes) for row in range(num_envs)]
        copies = CopiesInProcesses(makers, self.id) if processes else SeparateCopies(makers)
        copies.horizon = self.episode_length()
        return copies

    def _require_spaces(self, env: gym.Env[Any, Any]) -> None:
        """Refuse an environment without spaces, or with those of another library, which have the same names."""
        for name in ("observation_space", "action_space"):
            space = read_attribute(env, name)
            if not isinstance(space, gym.Space):
                kind = space if isinstance(space, type) else type(space)
                found = "no" if space is None else f"{kind.__module__}.{kind.__qualname__} as"
                raise ValueError(
                    f"{self.id} has {found} {name}, where an object of gymnasium.spaces is needed; environments of the "
                    "old Gym need a wrapper, such as shimmy's."
                )

    def _refuse_arguments(self) -> None:
        """Refuse what a task of the suite is not asked for by an argument."""
        if not self.is_native:
            return
        if "task_class" in self.kwargs:
            raise ValueError(f"Leave task_class out of the arguments of {self.id}: its id says which task it is.")
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
        except gym.error.InvalidMetadata as error:
            raise ValueError(f"{self.id} cannot be made: {str(error).rstrip('.')}.") from error
        except gym.error.Error:
            raise
        except Exception as error:  # whatever a third-party environment raises
            if user_line(error) and not self.is_native:
                raise ValueError(f"{self.id} cannot be made, it raised {described(error)}.") from error
            if isinstance(error, TypeError) and "'render_mode'" in str(error):
                raise ValueError(
                    f"{self.id} cannot be drawn, because it takes no argument render_mode; its class needs it, as "
                    "Gymnasium's have it, for people to see anything."
                ) from error
            if isinstance(error, TypeError):
                taken = "argument" not in str(error)
                problem = "cannot be made" if taken else "does not take these arguments"
                raise ValueError(f"{self.id} {problem}: {str(error).rstrip('.')}.") from error
            raise


def read_attribute(env: Any, name: str) -> Any:
    """An attribute of an environment; None where it has none, or a property of the user's raises instead."""
    try:
        return getattr(env, name, None)
    except Exception:  # of a simulation that has not begun, for example
        return None


def picture_rate(env: Any) -> float | None:
    """Pictures a second of an environment, `render_fps` of its metadata; None if it gives no such number above 0."""
    metadata = read_attribute(env, "metadata")
    return _positive(metadata.get("render_fps")) if isinstance(metadata, Mapping) else None


def step_rate(env: Any) -> float | None:
    """Steps of an environment in a second of what it simulates; None if it does not say."""
    step = _positive(read_attribute(env.unwrapped, "dt"))
    return picture_rate(env) or (None if step is None else 1 / step)


def _positive(value: Any) -> float | None:
    """A number of a user's environment, if it is one that can be a rate."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 < number < math.inf else None


def _own_limit(env: gym.Env[Any, Any]) -> int | None:
    """The limit of steps that an environment has without having been registered with it, if it says so."""
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, TimeLimit):
            return int(layer._max_episode_steps)
        layer = layer.env
    for name in ("max_steps", "max_episode_steps", "_max_episode_steps"):
        limit = read_attribute(layer, name)
        if isinstance(limit, int | np.integer) and not isinstance(limit, bool) and limit > 0:
            return int(limit)
    return None


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
