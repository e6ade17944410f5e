"""Which labels each ensemble member trains on, and which it holds out: one function each, listed in `RESAMPLING`.

Draws depend on (seed, position of the label, member) alone. So labels that come later change no earlier draw, and a
resumed run draws what an undisturbed one would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.randomness import uniforms_by_integers

Resampling = Callable[[int, int, int], NDArray[np.float32]]
"""From (seed, labels, members) to how often each member's sample holds each label, (members, labels). Where it is 0,
the member holds the label out."""

_POISSON = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(12)])


def folds(seed: int, labels: int, members: int) -> NDArray[np.float32]:
    """Each label is held out by exactly one member and trains all others, as in cross-validation.

    With few labels this learns a better reward than a bootstrap, of which a member leaves out 1/e of all labels and
    counts others twice. A single member has no other to rely on, and holds out every fifth label.
    """
    parts = members if members > 1 else 5
    holder = (_uniform(seed, labels, 1)[0] * parts).astype(np.int64)
    return (holder[None, :] != np.arange(members)[:, None]).astype(np.float32)


def bootstrap(seed: int, labels: int, members: int) -> NDArray[np.float32]:
    """Each member has a bootstrap sample of its own and holds out the 1/e of all labels that it did not draw.

    Counts are Poisson(1), the law of drawing n of n with replacement for large n (Oza and Russell 2001, online
    bagging).
    """
    return np.searchsorted(_POISSON, _uniform(seed, labels, members), side="right").astype(np.float32)


RESAMPLING: dict[str, Resampling] = {"folds": folds, "bootstrap": bootstrap}


def _uniform(seed: int, labels: int, members: int) -> NDArray[np.float64]:
    label = np.arange(labels, dtype=np.uint64)[None, :]
    member = np.arange(members, dtype=np.uint64)[:, None]
    return uniforms_by_integers(np.full((1, 1), seed % 2**64, np.uint64), label, member)
