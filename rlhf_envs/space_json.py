"""Gymnasium spaces as JSON, for the kinds of space that the reward model reads: in its own file and in exports."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


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
