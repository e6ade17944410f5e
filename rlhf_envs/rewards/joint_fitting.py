"""Fitting a reward and the reliability of who answered, jointly: each is estimated from the other in turn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.kinds import Comparison
from rlhf_envs.queries import LiveAnswer
from rlhf_envs.rewards.dataset import PreferenceDataset, SegmentSource
from rlhf_envs.rewards.encoding import Encoded
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.fitting import FitReport, fit, segment_returns
from rlhf_envs.rewards.reliability import ReliabilityEstimate, estimate_reliabilities
from rlhf_envs.rewards.resampling import held_out_by

ROUNDS = 2
"""Alternations of a joint fit from nothing: a third one costs as much again and finds no better reward."""


def fit_with_reliability(
    ensemble: RewardEnsemble,
    dataset: PreferenceDataset,
    config: FitConfig | None = None,
    *,
    rounds: int = ROUNDS,
    unlabelled: Encoded | None = None,
) -> FitReport:
    """Estimate from the reward how reliable everybody is, fit the reward to answers weighed by that, and so on.

    This climbs the joint likelihood of reward and reliability one block of parameters at a time, as the EM algorithms
    of Dawid and Skene (1979, Applied Statistics 28) and of Raykar et al. (2010, JMLR 11) do. Reliability is estimated
    from held-out predictions alone: a reward that was trained on an answer has learned its mistake.

    An ensemble that was never fitted is fitted first, with everybody counting alike. The result follows from ensemble,
    dataset and config alone: what `set_reliability` said before plays no part.

    Args:
        ensemble, dataset, config, unlabelled: as in `fit`. The dataset gets the estimates (`set_reliability`).
        rounds: how many times to estimate and fit. Where fits follow each other as answers come in, 1 is enough, and
            costs what `fit` costs.

    Returns:
        What the last fit did; it went by the estimates that the dataset has now (`PreferenceDataset.reliability`).

    Raises:
        ValueError: if there are no rounds, or the reward cannot be fitted.
    """
    if rounds < 1:
        raise ValueError(f"A joint fit needs at least 1 round, not {rounds}.")
    if not ensemble.fits:
        dataset.set_reliability({})
        fit(ensemble, dataset, config, unlabelled=unlabelled)
    for _ in range(rounds):
        dataset.set_reliability(estimate_from_held_out(ensemble, dataset))
        report = fit(ensemble, dataset, config, unlabelled=unlabelled)
    return report


def estimate_from_answers(
    answers: Iterable[LiveAnswer], source: SegmentSource, ensemble: RewardEnsemble, config: FitConfig | None = None
) -> dict[str, ReliabilityEstimate]:
    """How reliable everybody is who compared segments, from a joint fit to stored answers.

    Args:
        answers: those that train the preference model.
        source: where their segments are.
        ensemble: a new one for the environment's spaces; it is fitted here. With 10 members, each prediction is from
            one that trained on nine tenths of the answers; with 3, on two thirds, which now and then blames an oracle.
    """
    dataset = PreferenceDataset(ensemble.encoder)
    dataset.add_answers((answer for answer in answers if answer.kind == Comparison.name), source)
    if not len(dataset):
        return {}
    fit_with_reliability(ensemble, dataset, config)
    return estimate_from_held_out(ensemble, dataset)


def estimate_from_held_out(ensemble: RewardEnsemble, dataset: PreferenceDataset) -> dict[str, ReliabilityEstimate]:
    """How reliable everybody is who answered comparisons, by the predictions of members that did not train on them.

    Ties, and comparisons that every member trained on, are left out.

    Args:
        ensemble: fitted to this dataset.
    """
    comparisons = dataset.labels(Comparison.name)
    if not len(comparisons):
        return {}
    probability_right = comparisons.targets[:, 0]
    differences = held_out_differences(ensemble, dataset)
    used = np.isfinite(differences) & (probability_right != 0.5)
    return estimate_reliabilities(
        [dataset.annotators[place] for place in comparisons.annotators[used]],
        differences[used],
        probability_right[used] > 0.5,
    )


def held_out_differences(ensemble: RewardEnsemble, dataset: PreferenceDataset) -> NDArray[np.float64]:
    """Predicted raw return of right less left for each comparison, (N,), the mean of the members that hold it out.

    NaN where every member trained on it.

    Args:
        ensemble: fitted to this dataset.
    """
    comparisons = dataset.labels(Comparison.name)
    held_out = held_out_by(ensemble, dataset)[Comparison.name]
    returns = segment_returns(ensemble, dataset)
    differences = returns[:, comparisons.rows[:, 1]] - returns[:, comparisons.rows[:, 0]]
    holders = held_out.sum(axis=0)
    total = np.where(held_out, differences, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.where(holders > 0, total / np.maximum(holders, 1), np.nan)
    return mean
