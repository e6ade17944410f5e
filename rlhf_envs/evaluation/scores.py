"""Scores of training runs, and their statistics over seeds and environments.

The estimates are those that Agarwal et al. (2021, arXiv 2108.13264) recommend where runs are few: the interquartile
mean instead of mean or median, intervals by a bootstrap that draws seeds anew within each environment (stratified), and
performance profiles. Their package rliable computes the mean with SciPy and the rest with the package arch; SciPy has
all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.stats import bootstrap, mannwhitneyu, trim_mean

from rlhf_envs.evaluation.returns import Scale

NOTHING = "–"
"""Is shown where there is no figure."""

Samples = Sequence[NDArray[np.float64]]
"""One array for each environment, with the seeds along the last axis."""

_RESAMPLES = 10_000
_TRIMMED = 0.25


@dataclass(frozen=True)
class Estimate:
    """A statistic of scores.

    Attributes:
        value: of the scores as they are.
        low, high: ends of its 95% interval; None where an environment has a single seed.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Those of the interval, or twice the value where there is none."""
        return (self.value, self.value) if self.low is None or self.high is None else (self.low, self.high)

    def __str__(self) -> str:
        if np.isnan(self.value):
            return NOTHING
        return f"{self.value:.2f}" if self.low is None else f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def signed(self) -> str:
        """With the sign of each number, for differences."""
        if np.isnan(self.value):
            return NOTHING
        return f"{self.value:+.2f}" if self.low is None else f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def scale_between(
    untrained: Mapping[str, float | None], on_proxy: Sequence[float], on_true: Sequence[float]
) -> Scale | None:
    """The scale of one environment, from what takes no learning of people's goals to the learner on the true reward.

    Its zero is the best of policies that need no training and of the learner on the proxy, its one the learner on the
    true reward. Both learners count with the interquartile mean over their seeds, so that a single bad run neither
    flatters nor ruins a score.

    Args:
        untrained: true returns of random actions and of the best constant action, by name.
        on_proxy: true return of each run on the proxy; empty where there is none.
        on_true: of each on the true reward.

    Returns:
        None if nothing is known of the zero.
    """
    proxy, one = ({name: _middle(runs)} if len(runs) else {} for name, runs in (("proxy", on_proxy), ("true", on_true)))
    return Scale.between({**untrained, **proxy}, one)


def scale_of(runs: Sequence[Mapping[str, Any]]) -> Scale | None:
    """`scale_between` for the records of all runs in one environment, as `run_record` makes them."""
    on_proxy, on_true = ([run for run in runs if run["reward"] == reward] for reward in ("proxy", "true"))
    untrained = {name: on_true[0]["metrics"].get(f"{name}_return_mean") for name in ("random", "idle") if on_true}
    return scale_between(untrained, true_returns(on_proxy), true_returns(on_true))


def true_returns(runs: Iterable[Mapping[str, Any]]) -> list[float]:
    """Mean true return of the final policy of each run, in the order of their seeds.

    Raises:
        ValueError: if it could not be measured in a run.
    """
    ordered = sorted(runs, key=lambda run: int(run["seed"]))
    for run in ordered:
        if run["metrics"]["true_return_mean"] is None:
            raise ValueError(f"The run in {run['folder']} has no true return; delete that folder to do it again.")
    return [float(run["metrics"]["true_return_mean"]) for run in ordered]


def scores_on(scale: Scale | None, returns: Iterable[float]) -> NDArray[np.float64] | None:
    """The scores of true returns, (runs,); None where the scale has no reference that is better than its zero."""
    if scale is None or scale.score(scale.zero) is None:
        return None
    return np.array([scale.score(value) for value in returns], dtype=np.float64)


def scores_of(runs: Iterable[Mapping[str, Any]], scale: Scale | None) -> NDArray[np.float64] | None:
    """The scores of runs, (runs,), in the order of their seeds; None as in `scores_on`."""
    return scores_on(scale, true_returns(runs))


def interquartile_mean(samples: Samples) -> Estimate:
    """Mean of the middle half of all scores, over environments and seeds, which outliers hardly move.

    Args:
        samples: (seeds,) each.
    """
    return _estimate(_interquartile_mean, samples)


def area_under_budgets(samples: Samples, budgets: Sequence[int]) -> Estimate:
    """Mean height of the curve of interquartile means over the logarithm of the budget: 1 for a score of 1 throughout.

    Args:
        samples: (budgets, seeds) each. The seeds of an environment are drawn anew for all budgets alike.
        budgets: in ascending order, at least two.
    """
    places = np.log(budgets)

    def area(*drawn: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(trapezoid(_interquartile_mean(*drawn, axis=axis), places, axis=0) / (places[-1] - places[0]))

    return _estimate(area, samples)


def difference(samples: Samples) -> Estimate:
    """By how much the interquartile mean of one setting is above that of another, runs paired by environment and seed.

    Args:
        samples: (2, seeds) each, the other setting first. Pairs are drawn anew together.
    """

    def gain(*drawn: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        before, after = _interquartile_mean(*drawn, axis=axis)
        return np.asarray(after - before)

    return _estimate(gain, samples)


def probability_of_improvement(samples: Samples) -> Estimate:
    """How likely a run of one setting scores more than a run of another, averaged over environments; ties count half.

    It is the statistic of Mann and Whitney over the number of pairs.

    Args:
        samples: (2, seeds) each, the other setting first.
    """

    def share(*drawn: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        won = [mannwhitneyu(after, before, axis=axis, method="asymptotic").statistic for before, after in drawn]
        pairs = [pair.shape[axis] ** 2 for pair in drawn]
        return np.asarray(np.mean([each / count for each, count in zip(won, pairs, strict=True)], axis=0))

    return _estimate(share, samples)


def performance_profile(samples: Samples, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of runs that score above each threshold, averaged over environments, with its pointwise 95% interval.

    Args:
        samples: (seeds,) each.
        thresholds: (T,).

    Returns:
        (3, T): share, and low and high end of its interval, both the share itself where an environment has a single
        seed.
    """

    def share(*drawn: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        return np.asarray(np.mean([above.mean(axis=axis) for above in drawn], axis=0))

    above = [(sample > thresholds[:, None]).astype(np.float64) for sample in samples]
    found, interval = share(*above, axis=-1), _interval(share, above)
    return np.stack([found, *(interval or (found, found))])


def _interquartile_mean(*samples: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(trim_mean(np.concatenate(samples, axis=axis), _TRIMMED, axis=axis))


def _middle(values: Sequence[float]) -> float:
    return float(_interquartile_mean(np.array(values), axis=-1))


def _estimate(statistic: Callable[..., NDArray[np.float64]], samples: Samples) -> Estimate:
    if not samples:
        return Estimate(float("nan"))
    value, interval = float(statistic(*samples, axis=-1)), _interval(statistic, samples)
    return Estimate(value, float(interval[0]), float(interval[1])) if interval else Estimate(value)


def _interval(
    statistic: Callable[..., NDArray[np.float64]], samples: Samples
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if min(sample.shape[-1] for sample in samples) < 2:
        return None
    # Samples are resampled independently of each other, each along its last axis: the seeds of an environment.
    drawn = bootstrap(
        samples, statistic, n_resamples=_RESAMPLES, method="percentile", vectorized=True, axis=-1, rng=0, batch=1000
    )
    return drawn.confidence_interval.low, drawn.confidence_interval.high
