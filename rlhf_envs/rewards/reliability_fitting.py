"""Fitting a reward and the reliability of who answered, jointly: each is estimated from the other in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.feedback.quality.estimation import ReliabilityEstimate, estimate_reliabilities
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.queries import Kind, Purpose
from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.fitting import FitReport, fit
from rlhf_envs.rewards.resampling import RESAMPLING

ROUNDS = 2
"""Alternations of a joint fit from nothing: a third one costs as much again and finds no better reward."""


@dataclass(frozen=True)
class JointFit:
    """What a joint fit did.

    Attributes:
        report: of the last fit of the reward.
        reliability: the estimates, by annotator, that the last fit went by.
    """

    report: FitReport
    reliability: Mapping[str, ReliabilityEstimate]


def fit_with_reliability(
    ensemble: RewardEnsemble,
    dataset: PreferenceDataset,
    config: FitConfig | None = None,
    *,
    fresh: bool | None = None,
    rounds: int = ROUNDS,
) -> JointFit:
    """Estimate from the reward how reliable everybody is, fit the reward to answers weighed by that, and so on.

    This climbs the joint likelihood of reward and reliability one block of parameters at a time, as the EM algorithms
    of Dawid and Skene (1979, Applied Statistics 28) and of Raykar et al. (2010, JMLR 11) do. Reliability is estimated
    from held-out predictions alone: a reward that was trained on an answer has learned its mistake.

    An ensemble that was never fitted is fitted first, with everybody counting alike. The result follows from ensemble,
    dataset and config alone: what `set_reliability` said before plays no part.

    Args:
        ensemble, dataset, config, fresh: as in `fit`. The dataset keeps the estimates (`set_reliability`).
        rounds: how many times to estimate and fit. Where fits follow each other as answers come in, 1 is enough, and
            costs what `fit` costs.

    Raises:
        ValueError: if there are no rounds, or the reward cannot be fitted.
    """
    if rounds < 1:
        raise ValueError(f"A joint fit needs at least 1 round, not {rounds}.")
    if not ensemble.fits:
        dataset.set_reliability({})
        fit(ensemble, dataset, config, fresh=fresh)
    for _ in range(rounds):
        estimates = estimate_from_held_out(ensemble, dataset, config)
        dataset.set_reliability(estimates)
        report = fit(ensemble, dataset, config, fresh=fresh)
    return JointFit(report, estimates)


def estimate_from_store(
    store: PreferenceStore, ensemble: RewardEnsemble, config: FitConfig | None = None
) -> dict[str, ReliabilityEstimate]:
    """How reliable everybody is who compared segments for training, from a joint fit to all that the store holds.

    Args:
        ensemble: a new one for the environment's spaces; it is fitted here. With 10 members, each prediction is from
            one that trained on nine tenths of the answers; with 3, on two thirds, which now and then blames an oracle.
    """
    dataset = PreferenceDataset(ensemble.encoder)
    for live in store.live_answers(Purpose.TRAIN):
        label = None if live.choice is None else live.choice.probability_right
        if live.kind is Kind.COMPARISON and label is not None:
            left, right = store.segments(live.segment_ids)
            dataset.add(left, right, label, annotator=live.annotator)
    if not len(dataset):
        return {}
    fit_with_reliability(ensemble, dataset, config)
    return estimate_from_held_out(ensemble, dataset, config)


def estimate_from_held_out(
    ensemble: RewardEnsemble, dataset: PreferenceDataset, config: FitConfig | None = None
) -> dict[str, ReliabilityEstimate]:
    """How reliable everybody is who answered comparisons, by the predictions of members that did not train on them.

    Ties, and comparisons that every member trained on, are left out.

    Args:
        ensemble: fitted to this dataset with this config.
    """
    comparisons = dataset.comparisons
    if not len(comparisons):
        return {}
    differences = held_out_differences(ensemble, dataset, config)
    used = np.isfinite(differences) & (comparisons.probability_right != 0.5)
    return estimate_reliabilities(
        [dataset.annotators[place] for place in comparisons.annotators[used]],
        differences[used],
        comparisons.probability_right[used] > 0.5,
    )


def held_out_differences(
    ensemble: RewardEnsemble, dataset: PreferenceDataset, config: FitConfig | None = None
) -> NDArray[np.float64]:
    """Predicted raw return of right less left for each comparison, (N,), the mean of the members that hold it out.

    NaN where every member trained on it.

    Args:
        ensemble: fitted to this dataset with this config.
    """
    comparisons = dataset.comparisons
    resample = RESAMPLING[(config or FitConfig()).resampling]
    held_out = resample(ensemble.seed, len(comparisons), ensemble.config.members) == 0
    steps = dataset.steps.vector.shape[:2]
    returns = ensemble.raw_rewards(dataset.flat_steps).view(-1, *steps).sum(dim=2).double().numpy()
    differences = returns[:, comparisons.right] - returns[:, comparisons.left]
    holders = held_out.sum(axis=0)
    total = np.where(held_out, differences, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.where(holders > 0, total / np.maximum(holders, 1), np.nan)
    return mean
