"""What happens in steps as numbers, by which segments are told apart before anybody has answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.observations import Observations, named_arrays
from rlhf_envs.rewards.encoding import thumbnails

_MOST_NUMBERS = 1024
_PROJECTED = 256


def describe_steps(
    observations: Observations, actions: NDArray[np.generic], pictures: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """What happens in B steps as numbers, (B, F) float32: everything, but of large arrays an excerpt.

    Pictures are reduced to thumbnails, other arrays of more than `_MOST_NUMBERS` numbers by a fixed random projection
    (a count sketch, Charikar et al. 2002).

    Args:
        observations, actions: (B, *obs) and (B, *act).
        pictures: those of the observations that are pictures, by their keys (of a single one the empty text), shrunk
            to (B, channels, height, width).
    """
    count = len(actions)
    parts = [part.reshape(count, math.prod(part.shape[1:])) for _, part in named_arrays(observations)]
    for place, (key, _) in enumerate(named_arrays(observations)):
        if parts[place].shape[1] > _MOST_NUMBERS:
            shrunk = thumbnails(pictures[key]) if key in pictures else _project(parts[place])
            parts[place] = shrunk.reshape(count, -1)
    parts.append(actions.reshape(count, math.prod(actions.shape[1:])))
    return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts], axis=1)


def standardised(described: NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers that describe steps, (M, T, F), to mean 0 and std 1, without those that are the same in all steps."""
    spread = described.std(axis=(0, 1))
    varied = spread > 1e-8
    if not varied.all():
        described, spread = described[..., varied], spread[varied]
    described -= described.mean(axis=(0, 1))
    described /= spread
    return described


def _project(numbers: NDArray[Any]) -> NDArray[np.float32]:
    """(B, width) as (B, `_PROJECTED`): each column is added, with a random sign, to one of so many sums."""
    width = numbers.shape[1]
    rng = np.random.default_rng(width)
    order, signs = rng.permutation(width), rng.choice(np.array([-1, 1], np.float32), width)
    starts = np.arange(_PROJECTED) * width // _PROJECTED
    projected: NDArray[np.float32] = np.add.reduceat(numbers[:, order] * signs, starts, axis=1, dtype=np.float32)
    return projected
