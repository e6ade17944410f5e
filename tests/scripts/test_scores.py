"""Statistics of scores: known answers on made-up scores, and what an interval is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import trim_mean

from rlhf_envs.evaluation.scores import (
    Estimate,
    area_under_budgets,
    difference,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    scale_between,
    scale_of,
    scores_on,
    true_returns,
)

RNG = np.random.default_rng(0)
SEVERAL = [RNG.normal(height, 0.1, 5) for height in (0.5, 0.7, 0.9)]


def run(reward: str, seed: int, true_return: float | None, **metrics: float) -> dict[str, Any]:
    return {
        "reward": reward,
        "seed": seed,
        "folder": f"{reward}-{seed}",
        "metrics": {"true_return_mean": true_return, "random_return_mean": -5.0, "idle_return_mean": 2.0, **metrics},
    }


def test_the_interquartile_mean_is_that_of_the_middle_half_of_all_runs() -> None:
    assert interquartile_mean([np.array([0.0, 1.0, 2.0, 100.0])]).value == 1.5
    assert interquartile_mean(SEVERAL).value == trim_mean(np.concatenate(SEVERAL), 0.25)


def test_its_interval_is_over_the_seeds_within_each_environment() -> None:
    apart = [np.full(5, height) for height in (0.0, 0.5, 1.0)]
    # Environments differ, and seeds do not: drawing seeds anew changes nothing.
    assert interquartile_mean(apart) == Estimate(0.5, 0.5, 0.5)
    estimate = interquartile_mean(SEVERAL)
    assert estimate.low is not None and estimate.high is not None
    assert estimate.low < estimate.value < estimate.high
    assert interquartile_mean(SEVERAL) == estimate
    wide = interquartile_mean([np.concatenate(SEVERAL)])
    assert wide.low is not None and wide.low < estimate.low


def test_the_interval_holds_the_truth_about_as_often_as_it_should() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        low, high = interquartile_mean([rng.normal(0.9, 0.1, 5) for _ in range(8)]).ends
        hits += low <= 0.9 <= high
    # A percentile bootstrap of few seeds is somewhat too narrow.
    assert 0.85 <= hits / 200 <= 0.99


@pytest.mark.parametrize(
    ("curve", "area"),
    [([1.0, 1.0, 1.0], 1.0), ([0.0, 0.5, 1.0], 0.5), ([0.0, 1.0, 1.0], 0.75), ([-1.0, 0.0, 1.0], 0.0)],
)
def test_the_area_is_the_mean_height_over_the_logarithm_of_the_budget(curve: list[float], area: float) -> None:
    # Each budget is twice the one before, so that they are equally far apart.
    samples = [np.tile(np.array(curve)[:, None], (1, 4))] * 2
    assert area_under_budgets(samples, (50, 100, 200)).value == pytest.approx(area)


def test_the_interval_of_an_area_and_of_a_difference_draws_whole_seeds() -> None:
    # A seed that is better with one budget is as much worse with the next.
    spread = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
    opposite = [np.stack([0.5 + spread, 0.5 - spread])]
    low, high = area_under_budgets(opposite, (50, 100)).ends
    assert high - low < np.ptp(interquartile_mean([opposite[0][0]]).ends)
    alike = [np.stack([0.5 + spread, 0.6 + spread])] * 3
    assert difference(alike).ends == pytest.approx((0.1, 0.1))
    assert difference(alike).signed() == "+0.10 (+0.10 to +0.10)"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [([0.0, 0.1], [0.5, 0.6], 1.0), ([0.5, 0.6], [0.0, 0.1], 0.0), ([0.5, 0.5], [0.5, 0.5], 0.5)],
)
def test_how_likely_a_run_is_better(before: list[float], after: list[float], expected: float) -> None:
    assert probability_of_improvement([np.array([before, after])] * 3).value == expected


def test_a_performance_profile_falls_from_all_runs_to_none() -> None:
    thresholds = np.array([-1.0, 0.55, 0.75, 2.0])
    samples = [np.array([0.5, 0.6]), np.array([0.7, 0.8])]
    share, low, high = performance_profile(samples, thresholds)
    np.testing.assert_allclose(share, [1.0, 0.75, 0.25, 0.0])
    assert (low <= share).all() and (share <= high).all()
    np.testing.assert_allclose(low, [1.0, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(high, [1.0, 1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    "statistic",
    [interquartile_mean, lambda samples: difference([np.stack([sample, sample]) for sample in samples])],
)
def test_a_single_seed_has_no_interval(statistic: Callable[[Sequence[NDArray[np.float64]]], Estimate]) -> None:
    found = statistic([np.array([0.7]), np.array([0.5, 0.6])])
    assert found.low is None and found.high is None and "(" not in str(found)
    assert math.isnan(interquartile_mean([]).value) and str(interquartile_mean([])) == "–"


def test_the_learners_of_a_scale_count_with_their_interquartile_means() -> None:
    scale = scale_between({"random": -5.0, "idle": 2.0}, [3.0, 3.0, 3.0, 90.0, 3.0], [10.0, 11.0, 12.0, 13.0, -50.0])
    assert scale is not None
    assert (scale.zero_policy, scale.zero, scale.one_policy, scale.one) == ("proxy", 3.0, "true", 11.0)
    scores = scores_on(scale, [3.0, 7.0, 11.0])
    assert scores is not None and scores.tolist() == [0.0, 0.5, 1.0]


def test_a_scale_is_read_off_the_records_of_runs() -> None:
    runs = [run("true", 1, 12.0), run("true", 0, 10.0), run("proxy", 0, 1.0), run("learned", 0, 99.0)]
    scale = scale_of(runs)
    assert scale is not None and (scale.zero_policy, scale.zero, scale.one) == ("idle", 2.0, 11.0)
    assert true_returns(runs[:2]) == [10.0, 12.0]
    no_reference = scale_of([run("true", 0, 1.0)])
    assert no_reference is not None and scores_on(no_reference, [1.0]) is None
    assert scores_on(scale_of([]), [1.0]) is None
    with pytest.raises(ValueError, match="The run in learned-3 has no true return"):
        true_returns([run("learned", 3, None)])
