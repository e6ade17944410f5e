"""Observations are one array, or for a flat Dict space a dict of arrays; what is done to them is written once here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

Observations = NDArray[Any] | dict[str, NDArray[Any]]
"""Observations of several steps or copies: one array (N, *obs), or for a flat Dict space one such array per key."""


@dataclass(frozen=True, eq=False)
class Transitions:
    """B steps, and what they led to.

    Attributes:
        observations: before each step, (B, *obs), or a dict of such arrays for a flat Dict space.
        actions: (B, *act).
        next_observations: after it, as `observations`; None where they are not known. Rows of steps that ended an
            episode are not looked at, so that they may be those of the next episode.
        ended: (B,) bool, the steps that ended their episode, in whatever way; None for none.
        terminated: (B,) bool, those that ended it by termination; None for none.
    """

    observations: Observations
    actions: NDArray[Any]
    next_observations: Observations | None = None
    ended: NDArray[np.bool_] | None = None
    terminated: NDArray[np.bool_] | None = None


SMALLEST_IMAGE = 12
"""A uint8 array with a shorter side than this many pixels is a grid of symbols, and read as a vector."""


def map_observations(function: Callable[..., Any], *observations: Any) -> Any:
    """Apply a function to each array: to the array itself, or key by key, as dict, where observations are dicts.

    Args:
        function: takes as many arrays as there are `observations`.
        observations: of one structure. Keys are those of the first.
    """
    first = observations[0]
    if isinstance(first, Mapping):
        return {name: function(*(each[name] for each in observations)) for name in first}
    return function(*observations)


def stack_observations(observations: Sequence[Any]) -> Observations:
    """Single observations stacked along a new first axis."""
    stacked: Observations = map_observations(lambda *parts: np.stack(parts), *observations)
    return stacked


def concatenate_observations(observations: Sequence[Any]) -> Observations:
    """Batches of observations joined along their first axis."""
    joined: Observations = map_observations(lambda *parts: np.concatenate(parts), *observations)
    return joined


def merge_leading_axes(observations: Observations) -> Observations:
    """(A, B, *obs) as (A * B, *obs)."""
    merged: Observations = map_observations(lambda array: array.reshape(-1, *array.shape[2:]), observations)
    return merged


def named_arrays(observations: Observations) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each array with its key; the key of a single array is the empty text."""
    if isinstance(observations, Mapping):
        yield from observations.items()
    else:
        yield "", observations


def space_parts(space: Space[Any]) -> dict[str, Space[Any]]:
    """The parts of a flat Dict space by their keys; any other space is its own part, under the empty text."""
    return dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}


def batch_size(observations: Observations) -> int:
    """N of observations (N, *obs)."""
    return len(next(array for _, array in named_arrays(observations)))


def is_image(space: Space[Any]) -> bool:
    """Whether a space is read as a picture: uint8, two or three axes, both sides at least `SMALLEST_IMAGE` pixels."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    return sorted(space.shape)[-2] >= SMALLEST_IMAGE
