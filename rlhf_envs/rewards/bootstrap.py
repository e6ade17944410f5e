"""Which labels each ensemble member trains on, and which it holds out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_CUMULATIVE = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(12)])


def bootstrap_counts(seed: int, labels: int, members: int) -> NDArray[np.int64]:
    """How often each member's bootstrap sample holds each label, (members, labels).

    The counts are Poisson(1), the large-sample law of drawing n of n with replacement (Oza and Russell 2001, online
    bagging), and depend on (seed, label, member) alone: labels that come later change no earlier draw. A label with
    count 0, about 1/e of them, is held out by that member; one that no member would train on goes to all.
    """
    with np.errstate(over="ignore"):
        index = np.arange(labels, dtype=np.uint64)[None, :]
        member = np.arange(members, dtype=np.uint64)[:, None]
        mixed = _mix(_mix(_mix(np.full((1, 1), seed % 2**64, np.uint64)) + index) + member)
    uniform = (mixed >> np.uint64(11)).astype(np.float64) / 2**53
    counts = np.searchsorted(_CUMULATIVE, uniform, side="right").astype(np.int64)
    counts[:, (counts == 0).all(axis=0)] = 1
    return counts


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood 2014)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
