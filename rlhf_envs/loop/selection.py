"""Which candidates are worth a person's time: the selection rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlhf_envs.loop.candidates import Candidates, every_two
from rlhf_envs.queries import Query
from rlhf_envs.registry import Registry
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.wrappers.faults import described

_SHORTLIST = 4

_MOST_ASKED = 1_000
"""Of so many earlier queries the information is counted; of more, a sample stands for all."""

_SMALLEST_VARIANCE = 1e-12


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
    differences = _differences(candidates.returns, candidates.groups, candidates.returns.mean(axis=1))
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
    """Of every two segments of groups, ordered as `Candidates.preferences`, (K, M, pairs, H).

    The features are (K, P, H); of returns (K, P) the last axis is left out here as well.
    A segment alone differs from the middle, (K, H).
    """
    if groups.shape[1] == 1:
        return features[:, groups].astype(np.float64) - middle[:, None, None]
    pairs = [features[:, right] - features[:, left] for left, right in every_two(groups)]
    return np.stack(pairs, axis=2).astype(np.float64)


SELECTION_RULES: Registry[SelectionRule] = Registry("selection rule", type=Callable)
"""Every selection rule by the name that configurations use."""

SELECTION_RULES.register("uniform", select_uniform)
SELECTION_RULES.register("disagreement", select_disagreement)
SELECTION_RULES.register("entropy", select_entropy)
SELECTION_RULES.register("diverse", select_diverse)
SELECTION_RULES.register("value", select_value)
SELECTION_RULES.register("information", select_information)


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


def _most_disputed(candidates: Candidates, count: int) -> NDArray[np.intp]:
    return np.argsort(-candidates.preferences.var(axis=0).mean(axis=1), kind="stable")[:count]
