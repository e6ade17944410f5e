"""Which pairs of segments are worth a person's time: candidates, what is never asked, and the selection rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.recording import Windows
from rlhf_envs.segments import Observations

_NEAR_IDENTICAL = 0.05
_FROZEN = 1e-3
_SHORTLIST = 4


@dataclass(frozen=True, eq=False)
class Candidates:
    """M pairs that could be asked.

    Attributes:
        left, right: indices of the paired segments in their pool, each (M,).
        preferences: each member's probability that the right one is better, (members, M).
        features: what a pair shows, standardised, (M, F); pairs that lie close teach much the same.
    """

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    preferences: NDArray[np.float32]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.left)


Selection = Callable[[Candidates, int, np.random.Generator], NDArray[np.intp]]
"""Chooses up to `count` of the candidates: their indices."""


def select_uniform(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Any pairs, without regard to what the model knows."""
    return rng.permutation(len(candidates))[:count]


def select_disagreement(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The pairs on which the members differ most: the largest variance of P(right) (Christiano et al. 2017, 2.2.4)."""
    return np.argsort(-candidates.preferences.var(axis=0), kind="stable")[:count]


def select_entropy(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The pairs whose answer is least certain: the mean P(right) is nearest one half (B-Pref, section 3.3)."""
    return np.argsort(np.abs(candidates.preferences.mean(axis=0) - 0.5), kind="stable")[:count]


def select_diverse_disagreement(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Pairs on which the members differ, spread out: a shortlist by disagreement, thinned by greedy k-centre.

    A batch of the most disputed pairs alone tends to ask the same thing many times over. Greedy k-centre (Sener &
    Savarese 2018, algorithm 1) takes, again and again, the pair that lies farthest from all those taken so far.
    """
    shortlist = select_disagreement(candidates, _SHORTLIST * count, rng)
    if len(shortlist) <= count:
        return shortlist
    features = candidates.features[shortlist]
    taken = [0]
    distance = np.square(features - features[0]).sum(axis=1)
    while len(taken) < count:
        farthest = int(distance.argmax())
        taken.append(farthest)
        distance = np.minimum(distance, np.square(features - features[farthest]).sum(axis=1))
    return shortlist[taken]


SELECTIONS: dict[str, Selection] = {
    "uniform": select_uniform,
    "disagreement": select_disagreement,
    "entropy": select_entropy,
    "diverse": select_diverse_disagreement,
}
"""Every selection rule by the name that configurations use."""


def describe_segments(observations: Observations, actions: NDArray[np.generic]) -> NDArray[np.float32]:
    """What happens at each step of M segments as standardised numbers, (M, T, F) float32."""
    parts = list(observations.values()) if isinstance(observations, dict) else [observations]
    count, length = actions.shape[:2]
    flat = np.concatenate(
        [np.asarray(part, dtype=np.float32).reshape(count, length, -1) for part in [*parts, actions]], axis=2
    )
    spread = flat.std(axis=(0, 1))
    varied = spread > 1e-8
    return (flat[..., varied] - flat[..., varied].mean(axis=(0, 1))) / spread[varied]


def pair_up(windows: Windows, described: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair a pool of segments, first half against second, leaving out pairs that nobody should be asked about.

    Left out are a segment paired with itself or with one that it overlaps, two that look nearly the same, and two in
    which nothing moves at all.

    Args:
        windows: where the 2M segments of the pool lie.
        described: from `describe_segments`, (2M, T, F).

    Returns:
        Indices of left and right segments, each (up to M,).
    """
    half = len(windows) // 2
    left, right = np.arange(half), np.arange(half, 2 * half)
    overlapping = (windows.rows[left] == windows.rows[right]) & (
        np.abs(windows.starts[left] - windows.starts[right]) < windows.length
    )
    if described.shape[2] == 0:
        return left[:0], right[:0]
    difference = np.abs(described[left] - described[right]).mean(axis=(1, 2))
    frozen = described.std(axis=1).mean(axis=1) < _FROZEN
    worth_asking = ~overlapping & (difference > _NEAR_IDENTICAL) & ~(frozen[left] & frozen[right])
    return left[worth_asking], right[worth_asking]


def pair_features(
    described: NDArray[np.float32], left: NDArray[np.intp], right: NDArray[np.intp]
) -> NDArray[np.float32]:
    """What M pairs show, whichever side is which: the middle of both segments and how far apart they lie, (M, 2F)."""
    middle = described.mean(axis=1)
    return np.concatenate([(middle[left] + middle[right]) / 2, np.abs(middle[left] - middle[right])], axis=1)
