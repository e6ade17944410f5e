"""Faults of an environment, told as its own: which copy, which step, which line, and what it gave."""

from __future__ import annotations

import logging
import math
import os
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from rlhf_envs.wrappers.spaces import choice_counts

_logger = logging.getLogger(__name__)

_SUITE_KEYS = frozenset({"true_reward", "proxy_reward", "reward_terms", "measures"})
"""What infos of the suite's environments hold; elsewhere these keys are somebody's own, and mean something else."""

_RESERVED_KEYS = frozenset(
    {
        "episode",
        "is_success",
        "final_obs",
        "final_info",
        "terminal_observation",
        "TimeLimit.truncated",
        "restarted",
        "cut",
    }
)
"""What Gymnasium, Stable-Baselines3 and this package write into infos or read there."""

_TEXTS = frozenset({str})

_RAISED = (Exception, SystemExit)
"""What an environment may raise; Ctrl-C is nobody's fault."""

_MOST_DEPTH = 8
_LARGEST = float(np.finfo(np.float32).max)
"""Policies and reward models compute in float32, in which anything beyond this is infinite."""

_NO_PLAIN_VALUE = object()


class EnvironmentFault(RuntimeError):
    """An environment raised an exception, or gave what its spaces do not allow; the message says where."""


class ReportFaults(gym.Wrapper[Any, Any, Any, Any]):
    """Checks what a user's environment gives, and tells its exceptions as what they are.

    Observations become arrays of their space; a reward of one number in any form becomes a float. Infos are trusted
    nowhere: what is no dict is taken for an empty one, and keys that this package, Gymnasium or Stable-Baselines3 read
    are left out where their values are not of the form that is expected there.

    Args:
        env: the environment, with its user's wrappers.
        name: its id.
        copy: which of several copies it is; None where there is one.
        from_suite: whether it is an environment of the suite with wrappers, whose infos hold the true reward.
        plain_infos: whether infos must be plain data, as they must be to leave the process.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        name: str,
        copy: int | None = None,
        from_suite: bool = False,
        plain_infos: bool = False,
    ) -> None:
        super().__init__(env)
        self._name, self._copy, self._plain = name, copy, plain_infos
        self._refused = _RESERVED_KEYS if from_suite else _RESERVED_KEYS | _SUITE_KEYS
        self._check = _checker(env.observation_space, "")
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode.

        Raises:
            EnvironmentFault: if the environment raises, or what it gives is no observation and info.
        """
        try:
            given: Any = self.env.reset(seed=seed, options=options)
        except _RAISED as error:
            raise self._told("reset()", error) from error
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise self._fault("reset()", "returned no pair of observation and info, as Gymnasium's reset() does")
        return self._checked(given[0], "reset()"), self._read(given[1])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one step.

        Raises:
            EnvironmentFault: if the environment raises, or what it gives is not as its space and Gymnasium have it.
        """
        if isinstance(action, np.ndarray):
            action = action.copy()  # what is recorded stays as it is, whatever the environment does to its argument
        try:
            given: Any = self.env.step(action)
        except _RAISED as error:
            raise self._told("step()", error) from error
        self._steps += 1
        if not isinstance(given, tuple | list) or len(given) != 5:
            count = f"{len(given)} values" if isinstance(given, tuple | list) else type(given).__name__
            raise self._fault(
                "step()",
                f"returned {count}, not observation, reward, terminated, truncated and info; environments of the old "
                "Gym need a wrapper, such as shimmy's",
            )
        observation, reward, terminated, truncated, info = given
        return (
            self._checked(observation, "step()"),
            float(reward) if isinstance(reward, float) and abs(reward) <= _LARGEST else self._number(reward),
            self._flag(terminated, "terminated"),
            self._flag(truncated, "truncated"),
            self._read(info),
        )

    def render(self) -> Any:
        """A picture.

        Raises:
            EnvironmentFault: if the environment raises.
        """
        try:
            return self.env.render()
        except _RAISED as error:
            raise self._told("render()", error) from error

    def close(self) -> None:
        """Close the environment. What it raises then is logged: the work is done, and its results are to be kept."""
        try:
            self.env.close()
        except _RAISED as error:
            _logger.warning("%s", self._told("close()", error))

    def get_wrapper_attr(self, name: str) -> Any:
        """An attribute or method of the environment; its method `action_masks` is checked as well when it is called."""
        found = super().get_wrapper_attr(name)
        return partial(self._masks, found) if name == "action_masks" and callable(found) else found

    def _masks(self, method: Callable[[], Any]) -> NDArray[np.bool_]:
        """Which values of all choices are allowed, one after another, (values,)."""
        counts = choice_counts(self.env.action_space)
        try:
            given = method()
        except _RAISED as error:
            raise self._told("action_masks()", error) from error
        try:
            mask = np.concatenate([np.ravel(part) for part in given]).astype(np.bool_)
        except (TypeError, ValueError) as error:
            raise self._fault(
                "action_masks()", f"gave masks as {_form(given)}, not as an array of True and False"
            ) from (error)
        if counts is not None and len(mask) != counts.sum():
            raise self._fault(
                "action_masks()", f"gave masks of {len(mask)} values, where its actions have {counts.sum()}"
            )
        return mask

    def _told(self, method: str, error: BaseException) -> EnvironmentFault:
        if isinstance(error, EnvironmentFault):
            return error
        return EnvironmentFault(f"{self._name} raised {type(error).__name__} {self._place(method)}: {_message(error)}.")

    def _fault(self, method: str, what: str) -> EnvironmentFault:
        return EnvironmentFault(f"{self._name} {what} ({self._place(method)}).")

    def _place(self, method: str) -> str:
        return f"in {method}{'' if self._copy is None else f' of copy {self._copy}'}, step {self._steps}"

    def _checked(self, observation: Any, method: str) -> Any:
        try:
            return self._check(observation)
        except ValueError as error:
            raise self._fault(method, str(error)) from error

    def _number(self, reward: Any) -> float:
        try:
            values = np.asarray(reward, dtype=np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        if reward is None or values.size != 1:
            shown = f"one of shape {values.shape}" if values.size > 1 else f"{reward!r:.80}"
            raise self._fault("step()", f"paid no number as reward but {shown}")
        number = float(values.reshape(-1)[0])
        if not math.isfinite(number):
            raise self._fault("step()", f"paid a reward of {number}; rewards must be finite numbers")
        if abs(number) > _LARGEST:
            raise self._fault("step()", f"paid a reward of {number:g}; rewards must be numbers that float32 can hold")
        return number

    def _flag(self, value: Any, name: str) -> bool:
        try:
            return bool(value)
        except Exception as error:  # arrays of several values, and whatever else has no truth
            raise self._fault("step()", f"returned {name} as {_form(value)}, not True or False") from error

    def _read(self, info: Any) -> dict[str, Any]:
        info = dict(info) if isinstance(info, Mapping) else {}
        if not self._refused.isdisjoint(info) or not _TEXTS.issuperset(map(type, info)):
            info = {
                key: value
                for key, value in info.items()
                if isinstance(key, str) and (key not in self._refused or _is_expected(key, value))
            }
        return _plain(info, 0) if self._plain else info


def described(error: BaseException) -> str:
    """An exception in words: its type, its message, and the file and line of the user's code that it came from."""
    return f"{type(error).__name__}: {_message(error)}"


def _message(error: BaseException) -> str:
    message, place = " ".join(str(error).split()).rstrip(".") or "no message", user_line(error)
    return f"{message} ({place})" if place else message


def user_line(error: BaseException) -> str:
    """ "file.py:12" of the innermost line of an exception that is no library's; empty where there is none.

    An environment that is installed counts as a library only if some code outside of libraries is involved as well.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_PACKAGE)]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES) and frame.filename[:1] != "<"]
    found = own or [frame for frame in frames if not frame.filename.startswith(_GYMNASIUM)]
    return f"{os.path.basename(found[-1].filename)}:{found[-1].lineno}" if found else ""


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_GYMNASIUM = os.path.dirname(os.path.abspath(gym.__file__)) + os.sep
_LIBRARIES = tuple(
    path + os.sep
    for path in {
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
        os.path.join(sys.base_prefix, "lib"),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)


def _is_expected(key: str, value: Any) -> bool:
    """Whether an info is of the form in which it is read by those who know its key."""
    if key == "episode":
        return isinstance(value, Mapping) and all(_is_number(value.get(name)) for name in ("r", "l"))
    return key == "is_success" and _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | np.number | np.bool_) or (
        isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf"
    )


def _plain(value: Any, depth: int) -> Any:
    """Numbers, texts, arrays of numbers, and lists, tuples and dicts of such; anything else is left out."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value if value.dtype.kind in "biufcSU" else _NO_PLAIN_VALUE
    if depth < _MOST_DEPTH and isinstance(value, Mapping):
        parts = {key: _plain(part, depth + 1) for key, part in value.items() if type(key) in (str, int, bool, float)}
        return {key: part for key, part in parts.items() if part is not _NO_PLAIN_VALUE}
    if depth < _MOST_DEPTH and type(value) in (list, tuple):
        members = [_plain(part, depth + 1) for part in value]
        return type(value)(member for member in members if member is not _NO_PLAIN_VALUE)
    return _NO_PLAIN_VALUE


def _checker(space: Space[Any], where: str) -> Callable[[Any], Any]:
    """A function that gives an observation as its space has it, or raises ValueError that says what it is instead."""
    shown = f"the observation {where!r}" if where else "an observation"
    if isinstance(space, spaces.Dict):
        parts = {key: _checker(part, f"{where}/{key}" if where else str(key)) for key, part in space.spaces.items()}
        return lambda value: _check_dict(value, parts, shown)
    if isinstance(space, spaces.Tuple):
        places = [_checker(part, f"{where}/{place}" if where else str(place)) for place, part in enumerate(space)]
        return lambda value: _check_tuple(value, places, shown)
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return _array_checker(space, shown)
    return lambda value: value


def _check_dict(value: Any, parts: Mapping[str, Callable[[Any], Any]], shown: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"gave {shown} that is {_form(value)}, where its space has the keys {', '.join(parts)}")
    for key in parts:
        if key not in value:
            raise ValueError(f"gave {shown} without the key {key!r}, which its space has")
    return {key: check(value[key]) for key, check in parts.items()}


def _check_tuple(value: Any, places: list[Callable[[Any], Any]], shown: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list) or len(value) != len(places):
        raise ValueError(f"gave {shown} that is {_form(value)}, where its space has {len(places)} parts")
    return tuple(check(part) for check, part in zip(places, value, strict=True))


def _array_checker(space: Space[Any], shown: str) -> Callable[[Any], Any]:
    shape, dtype = space.shape or (), np.dtype(space.dtype)
    floats, wide = dtype.kind == "f", dtype.kind == "f" and dtype.itemsize > 4
    counts = None
    if isinstance(space, spaces.Discrete):
        counts = np.asarray(space.start), np.asarray(space.start + space.n)
    elif isinstance(space, spaces.MultiDiscrete):
        counts = space.start, space.start + space.nvec

    def check(value: Any) -> Any:
        array = value if type(value) is np.ndarray and value.dtype == dtype else _cast(value, dtype, shown)
        if array.shape != shape:
            if array.size != 1 or math.prod(shape) != 1:
                raise ValueError(f"gave {shown} of shape {array.shape}, where its space has {shape}")
            array = array.reshape(shape)
        if floats and not np.isfinite(array).all():
            bad = array[~np.isfinite(array)].reshape(-1)[0]
            raise ValueError(f"gave {shown} that holds {bad}, which nothing can be learned from")
        if wide and array.size and (largest := np.abs(array).max()) > _LARGEST:
            raise ValueError(f"gave {shown} that holds {largest:g}, which is beyond what float32 can hold")
        if counts is not None and ((array < counts[0]) | (array >= counts[1])).any():
            raise ValueError(f"gave {shown} of {array.tolist()}, which is not in its space {space}")
        if not shape:
            return array[()]
        # Some environments write each observation into the same array, also that of the reset after the last step.
        return array.copy() if array is value or array.base is not None else array

    return check


def _cast(value: Any, dtype: np.dtype[Any], shown: str) -> Any:
    try:
        if value is None:
            raise TypeError
        array = np.asarray(value)
        if array.dtype == object:
            array = np.asarray(value, dtype=dtype)
        if array.dtype.kind not in "biuf":
            raise TypeError
        with np.errstate(all="ignore"):
            cast = array.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"gave {shown} that is {_form(value)}, where its space has numbers") from error
    if dtype.kind in "iu" and not (cast == array).all():
        bad = array[cast != array].reshape(-1)[0]
        raise ValueError(f"gave {shown} that holds {bad}, which does not fit into the {dtype} of its space")
    return cast


def _form(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
