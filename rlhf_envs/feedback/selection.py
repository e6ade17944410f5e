"""Which segments are worth a person's time: candidates, what is never asked, and the selection rules.

What can be asked is a group of k segments: a pair to compare, more to rank, one to rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.observations import Observations
from rlhf_envs.recording import Windows

_NEAR_IDENTICAL = 0.05
_FROZEN = 1e-3
_SHORTLIST = 4


@dataclass(frozen=True, eq=False)
class Candidates:
    """M groups of segments that could be asked about.

    Attributes:
        groups: indices of the segments of each group in their pool, in screen order, (M, k).
        preferences: each member's probability that the later of two segments of a group is better, for every two of
            them, (members, M, pairs). See `group_preferences`.
        features: what a group shows, standardised, (M, F); groups that lie close teach much the same.
    """

    groups: NDArray[np.intp]
    preferences: NDArray[np.float32]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.groups)


Selection = Callable[[Candidates, int, np.random.Generator], NDArray[np.intp]]
"""Chooses up to `count` of the candidates: their indices."""


def select_uniform(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Any groups, without regard to what the model knows."""
    return rng.permutation(len(candidates))[:count]


def select_disagreement(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The groups on which the members differ most: the largest variance of P(right) (Christiano et al. 2017, 2.2.4)."""
    return np.argsort(-candidates.preferences.var(axis=0).mean(axis=1), kind="stable")[:count]


def select_entropy(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The groups whose answer is least certain: the mean P(right) is nearest one half (B-Pref, section 3.3)."""
    return np.argsort(np.abs(candidates.preferences.mean(axis=0) - 0.5).mean(axis=1), kind="stable")[:count]


def select_diverse_disagreement(candidates: Candidates, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Groups on which the members differ, spread out: a shortlist by disagreement, thinned by greedy k-centre.

    A batch of the most disputed groups alone tends to ask the same thing many times over. Greedy k-centre (Sener &
    Savarese 2018, algorithm 1) takes, again and again, the group that lies farthest from all those taken so far.
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


def group_up(windows: Windows, described: NDArray[np.float32], size: int) -> NDArray[np.intp]:
    """Put the segments of a pool into groups, leaving out those that nobody should be asked about.

    Left out are groups in which two segments overlap, and those of which half of all two, or more, look nearly the same
    or show nothing that moves at all. Segments of a group come from different parts of the pool, in their order.

    Args:
        windows: where the segments of the pool lie.
        described: from `describe_segments`, (segments, T, F).
        size: k, how many segments a group has: 2 for a comparison.

    Returns:
        Indices, (up to segments / k, k).
    """
    count = len(windows) // size
    groups = np.arange(count)[:, None] + count * np.arange(size)
    if described.shape[2] == 0:
        return groups[:0]
    frozen = described.std(axis=1).mean(axis=1) < _FROZEN
    overlapping, dull = [np.zeros(count, bool)], [np.zeros(count, bool)]
    for left, right in _every_two(groups):
        overlapping.append(
            (windows.rows[left] == windows.rows[right])
            & (np.abs(windows.starts[left] - windows.starts[right]) < windows.length)
        )
        difference = np.abs(described[left] - described[right]).mean(axis=(1, 2))
        dull.append(~(difference > _NEAR_IDENTICAL) | (frozen[left] & frozen[right]))
    pairs = size * (size - 1) // 2
    worth_asking = ~np.any(overlapping, axis=0) & (2 * np.sum(dull, axis=0) < max(pairs, 1))
    return groups[worth_asking]


def group_preferences(returns: NDArray[np.float32], groups: NDArray[np.intp]) -> NDArray[np.float32]:
    """Each member's probability that the later of two segments of a group is better (Bradley-Terry).

    A group of one is set against the mean of the pool.

    Args:
        returns: of the pool's segments under each member, (members, segments).
        groups: indices, (M, k).

    Returns:
        (members, M, pairs); one pair where k is 1.
    """
    if groups.shape[1] == 1:
        advantages = returns[:, groups] - returns.mean(axis=1)[:, None, None]
    else:
        advantages = np.stack([returns[:, right] - returns[:, left] for left, right in _every_two(groups)], axis=2)
    with np.errstate(over="ignore"):
        preferences: NDArray[np.float32] = 1 / (1 + np.exp(-advantages))
    return preferences


def group_features(described: NDArray[np.float32], groups: NDArray[np.intp]) -> NDArray[np.float32]:
    """What M groups show, in whatever order: the middle of their segments and how far apart they lie, (M, 2F)."""
    middle = described.mean(axis=1)[groups]
    return np.concatenate([middle.mean(axis=1), np.ptp(middle, axis=1)], axis=1)


def _every_two(groups: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    return [(groups[:, one], groups[:, other]) for one, other in combinations(range(groups.shape[1]), 2)]
