"""Which labels each member of an ensemble trains on, and which it holds out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.kinds import KINDS
from rlhf_envs.randomness import uniforms_by_integers
from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.ensemble import RewardEnsemble

Resampling = Callable[[int, NDArray[np.uint64], int], NDArray[np.float32]]
"""From (seed, `Labels.keys`, members) to how often each member's sample holds each label, (members, labels). Where it
is 0, the member holds the label out. Draws depend on (seed, key of the label, member) alone. So a member holds out the
same labels in every fit, however many come later or are taken back, and all labels about the same segments alike."""

_POISSON = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(12)])


def folds(seed: int, keys: NDArray[np.uint64], members: int) -> NDArray[np.float32]:
    """Each label is held out by exactly one member and trains all others, as in cross-validation.

    With few labels this learns a better reward than a bootstrap, of which a member leaves out 1/e of all labels and
    counts others twice. A single member has no other to rely on, and holds out a fifth of the labels.
    """
    parts = members if members > 1 else 5
    holder = (_uniform(seed, keys, 1)[0] * parts).astype(np.int64)
    return (holder[None, :] != np.arange(members)[:, None]).astype(np.float32)


def bootstrap(seed: int, keys: NDArray[np.uint64], members: int) -> NDArray[np.float32]:
    """Each member has a bootstrap sample of its own and holds out the 1/e of all labels that it did not draw.

    Counts are Poisson(1), the law of drawing n of n with replacement for large n (Oza and Russell 2001, online
    bagging).
    """
    return np.searchsorted(_POISSON, _uniform(seed, keys, members), side="right").astype(np.float32)


RESAMPLING: dict[str, Resampling] = {"folds": folds, "bootstrap": bootstrap}


def held_out_by(ensemble: RewardEnsemble, dataset: PreferenceDataset) -> dict[str, NDArray[np.bool_]]:
    """Which labels of each kind each member has not trained on, (members, labels).

    Args:
        ensemble: fitted to this dataset, or to a part of it.
        dataset: labels; what is not among those that it was fitted to is held out as it would be.
    """
    if not ensemble.resampling:
        return {kind: np.zeros((ensemble.config.members, count), bool) for kind, count in dataset.counts.items()}
    return {kind: sample == 0 for kind, sample in draw_samples(ensemble, dataset, ensemble.resampling)[0].items()}


def draw_samples(
    ensemble: RewardEnsemble, dataset: PreferenceDataset, resampling: str
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """How often each member's sample holds each label of each kind, and which members have a sample of their own.

    A member that would have nothing to learn from learns from everything.
    """
    samples = {}
    for kind in dataset.counts:
        # Each kind has a stream of its own, so that an answer of one kind changes no draw for another.
        stream = list(KINDS).index(kind) if kind in KINDS else len(KINDS)
        keys = dataset.labels(kind).keys
        samples[kind] = RESAMPLING[resampling](ensemble.seed + stream, keys, ensemble.config.members)
    has_sample = np.any([sample.any(axis=1) for sample in samples.values()], axis=0)
    for sample in samples.values():
        sample[~has_sample] = 1
    return samples, has_sample


def _uniform(seed: int, keys: NDArray[np.uint64], members: int) -> NDArray[np.float64]:
    member = np.arange(members, dtype=np.uint64)
    return uniforms_by_integers(np.full((1, 1), seed % 2**64, np.uint64), keys[None, :], member[:, None])
