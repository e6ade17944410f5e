"""Two scripted readers: a careful one looks until it is sure, a hasty one answers at first sight."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.glimpse.digits import CELL, CELLS, DOWN, ILLEGIBLE, LEFT, PLACES, RIGHT, UP, load_pictures
from rlhf_envs.envs.task import State

if TYPE_CHECKING:
    from rlhf_envs.envs.glimpse.task import Glimpse

_PROTOTYPES = 4
_ROUNDS = 10
_SPREAD = 0.15
_FEATURES = 4
_SURE = 0.9
_FEWEST_LOOKS, _MOST_LOOKS = 3, 5

_CENTRE, _TOP, _BOTTOM = 4, 1, 7
_TOWARDS_CENTRE = np.array([RIGHT, DOWN, LEFT, RIGHT, UP, LEFT, RIGHT, UP, LEFT])


def expert_action(task: Glimpse, state: State) -> NDArray[np.intp]:
    """Looks at three to five places, until one reading is likely enough, and says so when that is none, (N,)."""
    likely = _readings(task, state)
    looks = state.seen.sum(axis=0)
    sure = (likely.max(axis=1) > _SURE) & (looks >= _FEWEST_LOOKS)
    return np.where(sure | (looks >= _MOST_LOOKS), likely.argmax(axis=1), _next_look(state))


def proxy_action(task: Glimpse, state: State) -> NDArray[np.intp]:
    """Names the likeliest digit at first sight, whether or not it can be read, (N,)."""
    guesses: NDArray[np.intp] = _readings(task, state)[:, :ILLEGIBLE].argmax(axis=1)
    return guesses


def _next_look(state: State) -> NDArray[np.intp]:
    """From a corner along the side to its middle, over the centre to the other side, and on into a corner, (N,)."""
    crossed = state.seen[_CENTRE] & ((state.place == _TOP) | (state.place == _BOTTOM))
    came_from_above = (state.place == _CENTRE) & state.seen[_TOP]
    return np.where(crossed, RIGHT, np.where(came_from_above, DOWN, _TOWARDS_CENTRE[state.place]))


def _readings(task: Glimpse, state: State) -> NDArray[np.float32]:
    """The probability of each digit, and of an illegible picture, from what was seen, (N, 11).

    Every kind of picture is a mixture of spherical Gaussians around a few prototypes; what was not seen is left out of
    the distances.
    """
    centres, kinds = _prototypes()
    inks = _features(task.pictures.ink[state.picture])
    seen = np.repeat(state.seen.T, _FEATURES, axis=1).astype(np.float32)
    distances = (seen * inks**2).sum(axis=1)[:, None] - 2 * (seen * inks) @ centres.T + seen @ (centres**2).T
    fit = -distances / np.float32(2 * _SPREAD**2)
    weights = np.exp(fit - fit.max(axis=1, keepdims=True))
    prior = np.where(kinds == ILLEGIBLE, task.illegible, (1 - task.illegible) / 10).astype(np.float32)
    likely = (weights * prior) @ (kinds[:, None] == np.arange(ILLEGIBLE + 1)).astype(np.float32)
    return likely / np.maximum(likely.sum(axis=1, keepdims=True), np.float32(1e-12))


@cache
def _prototypes() -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """A few typical pictures of each kind among the training images, by Lloyd's algorithm: features and kinds."""
    pictures = load_pictures("train", "dark")
    features = _features(pictures.ink)
    kinds = np.repeat(np.arange(ILLEGIBLE + 1, dtype=np.int8), _PROTOTYPES)
    found = [_clusters(features[pictures.labels == kind]) for kind in range(ILLEGIBLE + 1)]
    return np.concatenate(found), kinds


def _clusters(points: NDArray[np.float32]) -> NDArray[np.float32]:
    centres = points[np.linspace(0, len(points) - 1, _PROTOTYPES).astype(np.intp)].copy()
    for _ in range(_ROUNDS):
        nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        for index in range(_PROTOTYPES):
            if (nearest == index).any():
                centres[index] = points[nearest == index].mean(axis=0)
    return centres


def _features(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean ink of the quarters of each place, (N, PLACES * 4)."""
    half = CELL // 2
    quarters = ink.reshape(-1, CELLS, 2, half, CELLS, 2, half).mean(axis=(3, 6))
    return quarters.transpose(0, 1, 3, 2, 4).reshape(len(ink), PLACES * _FEATURES)
