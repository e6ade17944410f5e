"""Which queries are worth a person's time: candidates, what is never asked, and the selection rules.

A candidate is a group of k segments: two to compare, more to rank, one to rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlhf_envs.loop.descriptors import describe_steps, standardised
from rlhf_envs.observations import Observations
from rlhf_envs.queries import Query
from rlhf_envs.recording import Windows
from rlhf_envs.registry import Registry
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.wrappers.faults import described

_NEAR_IDENTICAL = 0.05
_FROZEN = 1e-3
_SHORTLIST = 4

_MOST_ASKED = 1_000
"""Of so many earlier queries the information is counted; of more, a sample stands for all."""

_SMALLEST_VARIANCE = 1e-12


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


class SelectionRule(Protocol):
    """Which candidates are asked: a function, or an object that can be called."""

    def __call__(
        self,
        candidates: Candidates,
        count: int,
        ensemble: RewardEnsemble,
        asked: Sequence[Query],
        rng: np.random.Generator,
        /,
    ) -> NDArray[np.intp] | Sequence[int]:
        """Choose candidates. It is called once for every kind of feedback that is due in a round.

        Args:
            candidates: M groups of as many segments as a query of this kind shows.
            count: how many queries are due.
            ensemble: the reward model as it is by now; `ensemble.fits` is 0 before there was an answer.
            asked: the queries that the run has asked to train on in earlier rounds, with their segments. Held-out ones
                are not among them.
            rng: for everything random, so that a resumed run asks the same.

        Returns:
            Different indices of candidates, from 0 to M - 1, the most wanted first; at most `count`. Fewer ask less in
            this round, and what was not asked is due again in the next.
        """


def select_uniform(
    candidates: Candidates, count: int, ensemble: RewardEnsemble, asked: Sequence[Query], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Any groups, without regard to what the model knows."""
    return rng.permutation(len(candidates))[:count]


def select_disagreement(
    candidates: Candidates, count: int, ensemble: RewardEnsemble, asked: Sequence[Query], rng: np.random.Generator
) -> NDArray[np.intp]:
    """The groups on which the members differ most: the largest variance of P(right) (Christiano et al. 2017, 2.2.4).

    Any groups before there was an answer.
    """
    if not ensemble.fits:
        return select_uniform(candidates, count, ensemble, asked, rng)
    return _most_disputed(candidates, count)


def select_entropy(
    candidates: Candidates, count: int, ensemble: RewardEnsemble, asked: Sequence[Query], rng: np.random.Generator
) -> NDArray[np.intp]:
    """The groups whose answer is least certain: the mean P(right) is nearest one half (B-Pref, section 3.3).

    Any groups before there was an answer.
    """
    if not ensemble.fits:
        return select_uniform(candidates, count, ensemble, asked, rng)
    return np.argsort(np.abs(candidates.preferences.mean(axis=0) - 0.5).mean(axis=1), kind="stable")[:count]


def select_diverse(
    candidates: Candidates, count: int, ensemble: RewardEnsemble, asked: Sequence[Query], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Groups on which the members differ, spread out: a shortlist by disagreement, thinned by greedy k-centre.

    A batch of the most disputed groups alone tends to ask the same thing many times over. Greedy k-centre (Sener &
    Savarese 2018, algorithm 1) takes, again and again, the group that lies farthest from all those taken so far.
    """
    return _spread_out(candidates, _most_disputed(candidates, _SHORTLIST * count), count)


def select_value(
    candidates: Candidates, count: int, ensemble: RewardEnsemble, asked: Sequence[Query], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Groups whose answers would tell how much better the policy has become, spread out as in `select_diverse`.

    The members differ about that too: about the mean return of recent segments less that of segments that were asked
    before. A group is worth its answer as far as its predicted difference goes with that over the members, which is the
    absolute covariance of both, in standard deviations of the latter. So what members dispute that has nothing to do
    with where the policy goes is not asked.

    As `select_diverse` before there was an answer, and where no segment was asked before.
    """
    returns = candidates.returns.astype(np.float64)
    earlier = np.unique(candidates.groups[candidates.asked_before])
    recent = np.unique(candidates.groups[~candidates.asked_before])
    if not (ensemble.fits and len(earlier) and len(recent)):
        return select_diverse(candidates, count, ensemble, asked, rng)
    gains = returns[:, recent].mean(axis=1) - returns[:, earlier].mean(axis=1)
    gains -= gains.mean()
    groups = candidates.groups
    pairs = _every_two(groups)
    differences = np.stack([returns[:, right] - returns[:, left] for left, right in pairs], axis=2)
    differences -= differences.mean(axis=0)
    covariances = np.abs(np.einsum("k,kmp->mp", gains, differences)) / len(gains)
    worth = covariances.mean(axis=1) / max(gains.std(), _SMALLEST_VARIANCE)
    return _spread_out(candidates, np.argsort(-worth, kind="stable")[: _SHORTLIST * count], count)


def _spread_out(candidates: Candidates, shortlist: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """As many of a shortlist as are wanted, by greedy k-centre from its first."""
    if len(shortlist) <= count:
        return shortlist
    features = candidates.features[shortlist]
    taken: list[int] = []
    farthest = 0
    distance = np.full(len(features), np.inf, features.dtype)
    while len(taken) < count:
        taken.append(farthest)
        distance = np.minimum(distance, np.square(features - features[farthest]).sum(axis=1))
        # Where several groups show the same, all distances come to 0, and none may be taken twice.
        distance[farthest] = -1
        farthest = int(distance.argmax())
    return shortlist[taken]


def select_information(
    candidates: Candidates, count: int, ensemble: RewardEnsemble, asked: Sequence[Query], rng: np.random.Generator
) -> NDArray[np.intp]:
    """The groups whose answers are expected to tell most about the reward, beyond what was asked already.

    The posterior of each member's last layer is taken for Gaussian (the Laplace approximation; Daxberger et al. 2021,
    "Laplace redux", section 3). An answer about two segments, between which what that layer reads differs by phi, adds
    p (1 - p) phi phi^T to its precision, and the expected information is 1/2 log(1 + p (1 - p) phi^T Sigma phi): little
    where the answer is known, and little where it is a coin's whatever the weights are, as of two segments that look
    alike (Biyik et al. 2019, "Asking easy questions"). Groups are taken one after another, each as if those before it
    had been answered, so that a batch does not ask the same thing twice. Where several segments are shown, the
    information of every two of them is added up.

    Any groups before there was an answer.
    """
    if not ensemble.fits:
        return select_uniform(candidates, count, ensemble, asked, rng)
    posterior = _LastLayers(ensemble, candidates.hidden.mean(axis=1), asked, rng)
    probabilities = candidates.preferences.astype(np.float64)
    weights = probabilities * (1 - probabilities)
    differences = _differences(candidates.hidden, candidates.groups, posterior.middle)
    variances = posterior.variances(differences)
    taken: list[int] = []
    for _ in range(min(count, len(candidates))):
        gains = 0.5 * np.log1p(weights * variances).mean(axis=0).sum(axis=1)
        gains[taken] = -1
        best = int(gains.argmax())
        taken.append(best)
        for pair in range(weights.shape[2]):
            variances -= posterior.observe(differences[:, best, pair], weights[:, best, pair], differences)
    return np.array(taken, dtype=np.intp)


class _LastLayers:
    """Gaussian posteriors of the last layer of each member, given what was asked.

    Args:
        ensemble: the members, K.
        middle: what the last layers read of a mean segment of the pool, (K, H); what single segments are measured from.
        asked: the queries.
        rng: draws some of them, if there are very many.
    """

    def __init__(
        self,
        ensemble: RewardEnsemble,
        middle: NDArray[np.float32],
        asked: Sequence[Query],
        rng: np.random.Generator,
    ) -> None:
        self.middle = middle
        own = ensemble.last_weights.astype(np.float64)
        # The prior's variance is the mean square of the weights that were learned, as MacKay (1992, "Bayesian
        # interpolation") estimates it where the data say little.
        prior = 1 / np.maximum(np.square(own).mean(axis=1), _SMALLEST_VARIANCE)
        precision = prior[:, None, None] * np.eye(own.shape[1])
        counted = len(asked) / _MOST_ASKED
        if counted > 1:
            asked = [asked[index] for index in rng.permutation(len(asked))[:_MOST_ASKED]]
        for size in {len(query.segments) for query in asked}:
            queries = [query for query in asked if len(query.segments) == size]
            segments = [segment for query in queries for segment in query.segments]
            features = ensemble.segment_features(segments)
            differences = _differences(features, np.arange(len(segments)).reshape(-1, size), middle)
            differences = differences.reshape(len(own), -1, own.shape[1])
            advantages = torch.from_numpy(np.einsum("knh,kh->kn", differences, own))
            probabilities = ensemble.objective.choice_probability(advantages).numpy()
            weighted = differences * (probabilities * (1 - probabilities))[..., None]
            precision += max(counted, 1) * np.einsum("knh,kng->khg", weighted, differences, optimize=True)
        self._covariance = np.linalg.inv(precision)

    def variances(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the returns' differences, (K, M, pairs), for differences of features (K, M, pairs, H)."""
        along = np.einsum("kmph,khg->kmpg", differences, self._covariance, optimize=True)
        found: NDArray[np.float64] = np.einsum("kmph,kmph->kmp", along, differences)
        return found

    def observe(
        self, difference: NDArray[np.float64], weight: NDArray[np.float64], differences: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Suppose an answer; by how much it lowers `variances` of other differences.

        Args:
            difference: of the features of two segments, (K, H).
            weight: p (1 - p) of the answer, (K,).
            differences: (K, M, pairs, H).
        """
        along = np.einsum("khg,kg->kh", self._covariance, difference)
        shrink = weight / (1 + weight * np.einsum("kh,kh->k", along, difference))
        self._covariance -= shrink[:, None, None] * along[:, :, None] * along[:, None, :]
        lowered: NDArray[np.float64] = shrink[:, None, None] * np.square(
            np.einsum("kmph,kh->kmp", differences, along, optimize=True)
        )
        return lowered


def _differences(
    features: NDArray[np.float32], groups: NDArray[np.intp], middle: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Of the features (K, P, H) of every two segments of groups, ordered as `Candidates.preferences`, (K, M, pairs, H).

    A segment alone differs from the middle, (K, H).
    """
    if groups.shape[1] == 1:
        return features[:, groups].astype(np.float64) - middle[:, None, None]
    pairs = [features[:, right] - features[:, left] for left, right in _every_two(groups)]
    return np.stack(pairs, axis=2).astype(np.float64)


SELECTION_RULES: Registry[SelectionRule] = Registry("selection rule", type=Callable)
"""Every selection rule by the name that configurations use."""

SELECTION_RULES.register("uniform", select_uniform)
SELECTION_RULES.register("disagreement", select_disagreement)
SELECTION_RULES.register("entropy", select_entropy)
SELECTION_RULES.register("diverse", select_diverse)
SELECTION_RULES.register("value", select_value)
SELECTION_RULES.register("information", select_information)


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


def choose(
    rule: SelectionRule,
    candidates: Candidates,
    count: int,
    ensemble: RewardEnsemble,
    asked: Sequence[Query],
    rng: np.random.Generator,
) -> list[int]:
    """The indices that a rule gives, as whole numbers.

    Raises:
        ValueError: if the rule raises, or gives anything but at most `count` different indices; it names the rule.
    """
    try:
        given: Any = rule(candidates, count, ensemble, asked, rng)
    except Exception as error:
        raise ValueError(f"The selection rule {rule_name(rule)} raised {described(error)}.") from error
    try:
        indices = np.asarray(given if given is not None else [None])
    except ValueError:  # of lists of different lengths
        indices = np.empty(0, dtype=object)
    chosen: list[Any] = indices.tolist() if indices.ndim == 1 else []
    if indices.ndim != 1 or (indices.dtype.kind not in "iu" and (chosen or indices.dtype == object)):
        hint = {"b": "; numpy.flatnonzero(mask) gives them", "f": "; numpy.argsort(-scores) gives them"}
        fault = f"no {_form(given)}{hint.get(indices.dtype.kind, '')}"
    elif len(chosen) > count:
        fault = f"not {len(chosen)} of them"
    elif len({*chosen}) < len(chosen):
        fault = f"not one of them twice: {chosen[:10]}"
    elif not {*chosen} <= {*range(len(candidates))}:
        fault = f"not {chosen[:10]}"
    else:
        return chosen
    raise ValueError(
        f"The selection rule {rule_name(rule)} must return whole numbers, at most {count} different indices of its "
        f"{len(candidates)} candidates, {fault}."
    )


def rule_name(rule: SelectionRule) -> str:
    """What a rule is called in a sentence: the name of the function, or of the class of the object."""
    return str(getattr(rule, "__name__", type(rule).__name__))


def _form(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"array of {given.dtype} of shape {given.shape}"
    return "None" if given is None else f"{type(given).__name__} such as {given!r:.60}"


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
    for left, right in _every_two(groups):
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
        advantages = np.stack([returns[:, right] - returns[:, left] for left, right in _every_two(groups)], axis=2)
    preferences: NDArray[np.float32] = ensemble.objective.choice_probability(torch.from_numpy(advantages)).numpy()
    return preferences


def _most_disputed(candidates: Candidates, count: int) -> NDArray[np.intp]:
    return np.argsort(-candidates.preferences.var(axis=0).mean(axis=1), kind="stable")[:count]


def _every_two(groups: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    places = range(groups.shape[1])
    return [(groups[:, one], groups[:, other]) for one in places for other in places if one < other]
