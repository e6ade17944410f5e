"""Candidates for a query: a pool of segments put into groups, without those that are never asked.

A candidate is a group of k segments: two to compare, more to rank, one to rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlhf_envs.observations import Observations, named_arrays
from rlhf_envs.recording import Windows
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.rewards.encoding import thumbnails

_NEAR_IDENTICAL = 0.05
_FROZEN = 1e-3

_MOST_NUMBERS = 1024
_PROJECTED = 256


@dataclass(frozen=True, eq=False)
class Candidates:
    """M groups of k segments that could be asked about, out of a pool of P segments of T steps; `len()` gives M.

    The pool holds segments of the recent rollouts and, where a query shows several, also some that were asked about
    before (`FeedbackConfig.past_segment_share`). Groups that overlap, look nearly alike, or show nothing that moves are
    left out already.

    Attributes:
        groups: indices of the segments of each group in the pool, in screen order, (M, k).
        gather: gives `observations`.
        actions: of the pool, (P, T, *act).
        described: what happens at each step of the pool, observations and actions side by side, each number scaled to
            mean 0 and standard deviation 1 over the pool and left out where it never varies, (P, T, F) float32.
        returns: of the pool's segments under each member of the ensemble, (members, P) float32.
        preferences: each member's probability that the second of two segments of a group is better than the first, for
            every two of them in the order (0, 1), (0, 2), ..., (1, 2), ..., (members, M, pairs) float32. A group of one
            has one column: the probability that it is better than the mean of the pool.
        ages: how many steps of its copy ago each segment of a group began, (M, k) float32; infinite for segments that
            were asked about before.
        absorbing: the steps of the pool after a termination, (P, T) bool; None for none.
        summarise: gives `hidden`; None where it cannot be had.
    """

    groups: NDArray[np.intp]
    gather: Callable[[], Observations]
    actions: NDArray[Any]
    described: NDArray[np.float32]
    returns: NDArray[np.float32]
    preferences: NDArray[np.float32]
    ages: NDArray[np.float32]
    absorbing: NDArray[np.bool_] | None = None
    summarise: Callable[[], NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def asked_before(self) -> NDArray[np.bool_]:
        """Which segments of each group were asked about in an earlier round, (M, k) bool."""
        return np.isinf(self.ages)

    @cached_property
    def observations(self) -> Observations:
        """Of the pool, (P, T, *obs), or a dict of such arrays: put together when a rule looks at them, as pictures take
        much memory."""
        return self.gather()

    @cached_property
    def hidden(self) -> NDArray[np.float32]:
        """What the members' last layers read of the pool's segments, (members, P, width) float32.

        These are hidden activations, and curves of single inputs where rewards are additive; see
        `RewardEnsemble.segment_features`.

        Raises:
            ValueError: if they cannot be had.
        """
        if self.summarise is None:
            raise ValueError("These candidates were made without hidden activations; give them `summarise`.")
        return self.summarise()

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """What a group shows, in whatever order: the middle of its segments and how far apart they lie, (M, 2F).

        Groups that lie close teach much the same.
        """
        middle = self.described.mean(axis=1)[self.groups]
        return np.concatenate([middle.mean(axis=1), np.ptp(middle, axis=1)], axis=1)


class SegmentSteps(Protocol):
    """The segments that could be asked about, P of T steps, and the S distinct steps that they consist of."""

    remembered: int
    """How many steps of every copy the rollouts hold that windows start in."""

    windows: Windows
    """Where the segments lie, and which of their steps are absorbing."""

    actions: NDArray[Any]
    """(P, T, *act)."""

    @property
    def observations(self) -> Observations:
        """(P, T, *obs), put together anew each time."""

    def index(self) -> NDArray[np.intp]:
        """Which of the distinct steps each step of a segment is, (P, T); -1 for absorbing ones."""

    def distinct(self) -> Iterator[tuple[Observations, NDArray[Any]]]:
        """The distinct steps in their order, some at a time: observations (B, *obs) and actions (B, *act)."""


def make_candidates(
    ensemble: RewardEnsemble, pool: SegmentSteps, segments: int, rng: np.random.Generator
) -> Candidates:
    """Group a pool of segments into candidates, in random screen order, without those that should not be asked.

    Segments of a pool overlap. Each of its steps is looked at once, and pictures only a few at a time, so that the
    memory and time that this takes do not grow with the size of a picture times that of the pool.

    Args:
        ensemble: what predicts the answers.
        pool: the segments.
        segments: k, how many segments a query shows.
        rng: draws the screen order.
    """
    described, returns = _describe(ensemble, pool)
    groups = group_segments(pool.windows, described, segments)
    if segments == 2:
        swapped = rng.random(len(groups)) < 0.5
        groups[swapped] = groups[swapped, ::-1]
    else:
        groups = rng.permuted(groups, axis=1)
    preferences = group_preferences(ensemble, returns, groups)
    windows = pool.windows
    # Rows below 0 are of segments that were asked about before.
    ages = np.where(windows.rows < 0, np.inf, pool.remembered - windows.starts).astype(np.float32)
    return Candidates(
        groups,
        lambda: pool.observations,
        pool.actions,
        described,
        returns,
        preferences,
        ages[groups],
        windows.absorbing,
        partial(_hidden, ensemble, pool),
    )


def without_near_ties(candidates: Candidates, share: float) -> Candidates:
    """The candidates without those that all members of the ensemble take for ties, which people take long to judge.

    The first to go are those of which even the most certain member is uncertain. Where members disagree, some of them
    are certain, so these stay.

    Args:
        candidates: any.
        share: of the candidates to leave out, from 0 to below 1, rounded down.
    """
    certainty = np.abs(candidates.preferences - 0.5).max(axis=0).mean(axis=1)
    kept = np.sort(np.argsort(certainty, kind="stable")[int(share * len(candidates)) :])
    return replace(
        candidates,
        groups=candidates.groups[kept],
        preferences=candidates.preferences[:, kept],
        ages=candidates.ages[kept],
    )


def _describe(ensemble: RewardEnsemble, pool: SegmentSteps) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`Candidates.described` and `Candidates.returns`."""
    rewards, events, described = [], [], []
    for observations, actions in pool.distinct():
        encoded = ensemble.encoder.encode(observations, actions)
        rewards.append(ensemble.raw_rewards(encoded))
        events.append(torch.stack(ensemble.raw_events(encoded.vector)))
        pictures = dict(zip(ensemble.encoder.pictures, encoded.images, strict=True))
        described.append(describe_steps(observations, actions, pictures))
    if not described:
        return np.zeros((0, pool.windows.length, 0), np.float32), np.zeros((ensemble.config.members, 0), np.float32)
    # One step more stands for all that come after a termination, which index -1 finds at the end.
    absorbing = np.zeros((1, described[0].shape[1] + 1), np.float32)
    absorbing[:, -1] = 1
    if ensemble.encoder.absorbing:
        rewards.append(ensemble.raw_rewards(ensemble.encoder.absorbing_steps(1)))
    lived = [np.pad(part, ((0, 0), (0, 1))) for part in described]
    index = pool.index()
    if not ensemble.encoder.absorbing and index.min(initial=0) < 0:
        ensemble.encoder.absorbing_steps(1)  # which refuses
    first, last, terminated = (torch.from_numpy(each) for each in _ends(index))
    potential, ending = torch.cat(events, dim=2)
    once = potential[:, last] - potential[:, first] + ending[:, last] * terminated
    summed = torch.cat(rewards, dim=1)[:, torch.from_numpy(index)].sum(dim=2)
    returns: NDArray[np.float32] = (summed + once).numpy()
    return standardised(np.concatenate([*lived, absorbing])[index]), returns


def _hidden(ensemble: RewardEnsemble, pool: SegmentSteps) -> NDArray[np.float32]:
    """`Candidates.hidden`."""
    parts, curves = [], []
    for observations, actions in pool.distinct():
        encoded = ensemble.encoder.encode(observations, actions)
        parts.append(ensemble.step_features(encoded))
        curves.append(ensemble.event_curves(encoded.vector))
    # As in `_describe`, index -1 finds the steps after a termination at the end.
    if ensemble.encoder.absorbing:
        parts.append(ensemble.step_features(ensemble.encoder.absorbing_steps(1)))
    index = pool.index()
    steps = torch.cat(parts, dim=1)
    read, (first, last, terminated) = np.concatenate(curves), _ends(index)
    once = ensemble.event_features(read[first], read[last], terminated)
    # A member at a time, as this is as large as all steps of all segments.
    sums = (member[torch.from_numpy(index)].sum(dim=1).numpy() for member in steps)
    return np.stack([np.concatenate([summed, once], axis=1) for summed in sums])


def _ends(index: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """The first and the last step of each segment that were lived, and whether it goes on after a termination, (P,).

    Args:
        index: of each step of each segment, (P, T), -1 where absorbing.
    """
    lived = (index >= 0).sum(axis=1)
    last = np.take_along_axis(index, np.maximum(lived - 1, 0)[:, None], axis=1)[:, 0]
    return index[:, 0], last, lived < index.shape[1]


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


def group_segments(windows: Windows, described: NDArray[np.float32], size: int) -> NDArray[np.intp]:
    """Put the segments of a pool into groups, leaving out those that should not be asked about.

    Left out are groups in which two segments overlap, and those of which half of all two, or more, look nearly the same
    or show nothing that moves at all. Segments of a group come from different parts of the pool, in their order.

    Args:
        windows: where the segments of the pool lie; absorbing steps overlap with nothing.
        described: as `standardised` gives it, (segments, T, F).
        size: k, how many segments a group has: 2 for a comparison.

    Returns:
        Indices, (up to segments / k, k).
    """
    count = len(windows) // size
    ends = windows.starts + windows.lived_steps
    groups = np.arange(count)[:, None] + count * np.arange(size)
    if described.shape[2] == 0:
        return groups[:0]
    # In a single step nothing can move.
    frozen = (described.std(axis=1).mean(axis=1) < _FROZEN) & (windows.length > 1)
    overlapping, dull = [np.zeros(count, bool)], [np.zeros(count, bool)]
    for left, right in every_two(groups):
        overlapping.append(
            (windows.rows[left] == windows.rows[right])
            & (windows.starts[left] < ends[right])
            & (windows.starts[right] < ends[left])
        )
        difference = np.abs(described[left] - described[right]).mean(axis=(1, 2))
        dull.append(~(difference > _NEAR_IDENTICAL) | (frozen[left] & frozen[right]))
    pairs = size * (size - 1) // 2
    worth_asking = ~np.any(overlapping, axis=0) & (2 * np.sum(dull, axis=0) < max(pairs, 1))
    return groups[worth_asking]


def group_preferences(
    ensemble: RewardEnsemble, returns: NDArray[np.float32], groups: NDArray[np.intp]
) -> NDArray[np.float32]:
    """`Candidates.preferences`: the objective's probability of an attentive person's choice, without answer noise."""
    if groups.shape[1] == 1:
        advantages = returns[:, groups] - returns.mean(axis=1)[:, None, None]
    else:
        advantages = np.stack([returns[:, right] - returns[:, left] for left, right in every_two(groups)], axis=2)
    preferences: NDArray[np.float32] = ensemble.objective.choice_probability(torch.from_numpy(advantages)).numpy()
    return preferences


def every_two(groups: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The columns of groups (M, k) two by two, in the order (0, 1), (0, 2), ..., (1, 2), ..., (M,) each."""
    places = range(groups.shape[1])
    return [(groups[:, one], groups[:, other]) for one in places for other in places if one < other]
