"""Values, settings and spaces as strict JSON and back, checked before any work is done."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Settings = TypeVar("Settings")

LARGEST = 10**9
"""The largest whole number that any setting takes which `LARGEST_OF` does not name."""

LARGEST_OF = {
    **dict.fromkeys(("timesteps", "visit_every"), 10**12),
    "seed": 2**31 - 1,
    **dict.fromkeys(("answers", "queries", "comparisons", "queries_per_round", "max_open"), 10**7),
    **dict.fromkeys(("demonstration_comparisons", "batch", "batch_size", "n_steps"), 10**7),
    **dict.fromkeys(("buffer_size", "most_steps", "steps"), 10**8),
    **dict.fromkeys(("episodes", "evaluation_episodes", "pretrain", "epochs", "n_epochs"), 10**6),
    **dict.fromkeys(("segment_length", "candidates_per_query", "num_envs", "n_quantiles"), 10**5),
    **dict.fromkeys(("hidden", "net_arch", "lstm_hidden_size"), 2**14),
    **dict.fromkeys(("overlap", "moments", "seeds", "clients", "jobs"), 10**4),
    **dict.fromkeys(("members", "threads", "n_critics", "n_lstm_layers"), 10**3),
}
"""The largest value of a setting by its name: more than anybody can want, so that a slip of the hand is told at once
instead of after hours, or when memory runs out."""

_LARGEST_INTEGER = 2**63 - 1
_NOT_FINITE = ("inf", "-inf", "nan")
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "an object",
    NoneType: "null",
}


def require_json(value: Any, name: str) -> Any:
    """Return `value` as JSON would give it back.

    Raises:
        ValueError: if it holds NaN, an infinity, half a surrogate pair, or something that JSON has no form for, such as
            an array, or if it is nested too deeply.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The {name} must be plain JSON (text, finite numbers, true, false, lists, dicts): {error}."
        ) from error


def check_sizes(settings: Any, largest: int = LARGEST) -> None:
    """Check that no whole number in some settings is beyond all sense.

    Args:
        settings: a dataclass, whose fields may be dataclasses, tuples and objects of JSON in turn.
        largest: of the numbers that are not named in `LARGEST_OF`. What those of an object mean is not known; they must
            fit into 64 bits.

    Raises:
        ValueError: if one is.
    """
    if is_dataclass(settings):
        for part in fields(settings):
            _check_size(getattr(settings, part.name), part.name, LARGEST_OF.get(part.name, largest))


def _check_size(value: Any, name: str, largest: int) -> None:
    if is_dataclass(value):
        check_sizes(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _check_size(each, str(key), _LARGEST_INTEGER)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_size(each, name, largest)
    elif isinstance(value, int) and abs(value) > largest:
        side, bound = ("most", largest) if value > 0 else ("least", -largest)
        raise ValueError(f"{name} must be at {side} {bound:,}, not {value}.")


def settings_to_json(settings: Any) -> dict[str, Any]:
    """A dataclass as values of strict JSON; an infinite number is written as the text "inf".

    Values that are dataclasses become objects, by their own method `to_json` where they have one.
    """
    return {part.name: _value_to_json(getattr(settings, part.name)) for part in fields(settings)}


def settings_from_json(settings_class: type[Settings], values: object, name: str = "") -> Settings:
    """Read what `settings_to_json` gave.

    Args:
        settings_class: the dataclass.
        values: the JSON object; fields that are missing have their defaults.
        name: of the settings within the file, for messages.

    Raises:
        ValueError: if a value is unknown, of another type than its field, or out of range.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{name or 'The configuration'} must be an object, not {values!r}.")
    kinds = get_type_hints(settings_class)
    known = {part.name for part in fields(settings_class)}  # type: ignore[arg-type]
    if unknown := set(values) - known:
        where = name or "The configuration"
        raise ValueError(f"{where} has no {', '.join(sorted(unknown))}.")
    prefix = f"{name}." if name else ""
    return settings_class(**{part: _read(kinds[part], value, prefix + part) for part, value in values.items()})


def _value_to_json(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return settings_to_json(value)
    if isinstance(value, dict):
        return {name: _value_to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_value_to_json(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read(kind: Any, value: Any, name: str) -> Any:
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for choice in choices:
        if hasattr(choice, "from_json") and value is not None:
            return choice.from_json(value)
        if is_dataclass(choice) and value is not None:
            return settings_from_json(choice, value, name)  # type: ignore[arg-type]
    if isinstance(value, list):
        value = tuple(value)
    elif value in _NOT_FINITE and float in choices:
        value = float(value)
    if not any(_is_a(value, choice) for choice in choices):
        wanted = " or ".join(_name(choice) for choice in choices)
        raise ValueError(f"{name} must be {wanted}, not {value!r}.")
    return value


def _is_a(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if get_origin(kind) is Annotated:
        return _is_a(value, get_args(kind)[0])
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_a(each, get_args(kind)[0]) for each in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is_a(each, get_args(kind)[1]) for each in value.values())
    if kind is float:
        return type(value) in (int, float)
    # Python takes True for 1, a configuration does not.
    return type(value) is (get_origin(kind) or kind)


def _name(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(parts)}"
    if origin is tuple:
        return f"a list of {_name(parts[0]).split(maxsplit=1)[1]}s"
    if origin is dict and parts[1] is not Any:
        return f"an object of {_name(parts[1]).split(maxsplit=1)[1]}s"
    return _NAMES.get(origin or kind, "an object in code")


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """A JSON object that `space_from_json` turns into an equal space.

    Raises:
        ValueError: if the space is not a Box, Discrete, MultiDiscrete, MultiBinary or Dict of these.
    """
    if isinstance(space, spaces.Box):
        return {
            "kind": "Box",
            "dtype": str(space.dtype),
            "shape": list(space.shape),
            "low": _bounds_to_json(space.low),
            "high": _bounds_to_json(space.high),
        }
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "spaces": [[key, space_to_json(part)] for key, part in space.spaces.items()]}
    raise ValueError(
        f"The space {space} cannot be saved; supported are Box, Discrete, MultiDiscrete, MultiBinary and Dict of these."
    )


def space_from_json(content: dict[str, Any]) -> spaces.Space[Any]:
    """The space that `space_to_json` described.

    Raises:
        ValueError: if the kind is unknown.
        KeyError: if a field is missing.
    """
    kind = content["kind"]
    if kind == "Box":
        dtype = np.dtype(content["dtype"])
        shape = tuple(content["shape"])
        low, high = (_bounds_from_json(content[side], shape, dtype) for side in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(content["n"], start=content["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.array(content["nvec"]), start=np.array(content["start"]))
    if kind == "MultiBinary":
        return spaces.MultiBinary(content["n"])
    if kind == "Dict":
        return spaces.Dict([(key, space_from_json(part)) for key, part in content["spaces"]])
    raise ValueError(f"unknown kind of space {kind!r}")


def _bounds_to_json(bounds: NDArray[Any]) -> Any:
    # JSON has no infinity, so bounds are written as text where they are not finite; one value stands for equal bounds.
    values = [value if np.isfinite(value) else str(value) for value in bounds.ravel().tolist()]
    return values[0] if len(set(values)) == 1 else values


def _bounds_from_json(content: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    values = [float(v) if isinstance(v, str) else v for v in (content if isinstance(content, list) else [content])]
    flat = np.array(values, dtype=dtype)
    return np.broadcast_to(flat, shape).copy() if len(values) == 1 else flat.reshape(shape)
