"""Reliability from predicted differences and answers."""

import numpy as np
import pytest
from scipy.special import expit

from rlhf_envs.feedback.quality.report import errs_often
from rlhf_envs.rewards.reliability import ReliabilityEstimate, estimate_reliabilities


def answers(rng: np.random.Generator, differences: np.ndarray, temperature: float, error_rate: float) -> np.ndarray:
    probability = error_rate + (1 - 2 * error_rate) / (1 + np.exp(-differences / temperature))
    return rng.random(len(differences)) < probability


def of_one(differences: np.ndarray, said_right: np.ndarray, scale: float | None = None) -> ReliabilityEstimate:
    return estimate_reliabilities(["ann"] * len(differences), differences, said_right, scale=scale)["ann"]


def interval(found: ReliabilityEstimate) -> tuple[float, float]:
    assert found.error_interval is not None
    return found.error_interval


@pytest.mark.parametrize(("temperature", "error_rate"), [(1.0, 0.0), (1.3, 0.1), (0.8, 0.3)])
def test_what_answers_were_drawn_from_is_found_again(temperature: float, error_rate: float) -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(scale=4, size=5000)
    found = of_one(differences, answers(rng, differences, temperature, error_rate), scale=1.0)
    assert found.error_rate == pytest.approx(error_rate, abs=0.025)
    assert found.temperature == pytest.approx(temperature, rel=0.2)
    assert found.measured_error_rate == pytest.approx(error_rate, abs=0.025)
    low, high = interval(found)
    assert low - 0.005 <= error_rate <= high + 0.005 and high - low < 0.08
    assert found.answers == 5000


@pytest.mark.parametrize("is_alone", [True, False])
def test_intervals_hold_the_error_rate_and_never_accuse_who_is_good(is_alone: bool) -> None:
    """20 simulated annotators of each error rate, judged by predictions with noise, as those out of fold have."""
    covered, warned = [], {}
    for error_rate in (0.0, 0.1, 0.3):
        found = []
        for seed in range(20):
            rng = np.random.default_rng([seed, round(10 * error_rate)])
            differences = rng.normal(scale=4, size=200 if is_alone else 600)
            number = np.arange(len(differences)) // 200
            rates = np.where(number == 0, error_rate, 0.05)
            said = rng.random(len(differences)) < rates + (1 - 2 * rates) * expit(differences)
            predicted = 3 * (differences + rng.normal(scale=4 / 3, size=len(differences)))
            found.append(estimate_reliabilities(number.astype(str).tolist(), predicted, said)["0"])
        measured = [one.measured_error_rate for one in found]
        assert np.mean(measured) == pytest.approx(error_rate, abs=0.03 if error_rate < 0.3 else 0.1)
        covered += [low - 1e-9 <= error_rate <= high for low, high in map(interval, found)]
        warned[error_rate] = np.mean([errs_often(one) for one in found])
    assert np.mean(covered) >= 0.88
    assert warned[0.0] == warned[0.1] == 0
    # The scale of somebody alone may be the reason for any mistake.
    assert warned[0.3] > (0 if is_alone else 0.4)


@pytest.mark.parametrize("error_rate", [0.0, 0.1, 0.3])
def test_fewer_than_100_answers_give_no_error_rate(error_rate: float) -> None:
    for count in (40, 99, 100):
        rng = np.random.default_rng(count)
        differences = rng.normal(scale=4, size=count)
        found = of_one(differences, answers(rng, differences, 1.0, error_rate))
        is_measured = count == 100
        assert (found.measured_error_rate is not None) == (found.error_interval is not None) == is_measured
        assert is_measured or not errs_often(found)


def test_who_always_says_left_is_a_coin_and_known_to_guess_left() -> None:
    rng = np.random.default_rng(0)
    found = of_one(rng.normal(size=200), np.zeros(200, bool))
    assert found.error_rate == pytest.approx(0.5, abs=0.02)
    assert found.guesses_right < 0.05
    assert interval(found)[0] > 0.4


def test_the_unit_of_the_differences_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(size=400)
    who = ["ann", "bob"] * 200
    said = answers(rng, differences, 0.3, 0.1)
    small = estimate_reliabilities(who, differences, said)
    large = estimate_reliabilities(who, 1000 * differences, said)
    for name in ("ann", "bob"):
        assert large[name].error_rate == pytest.approx(small[name].error_rate, abs=1e-3)
        assert large[name].temperature == pytest.approx(small[name].temperature, rel=1e-2)


def test_temperatures_are_relative_to_everybody() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(scale=3, size=6000)
    sharp, dull = differences[:3000], differences[3000:]
    said = np.concatenate([answers(rng, sharp, 0.7, 0.0), answers(rng, dull, 1.4, 0.0)])
    found = estimate_reliabilities(["sharp"] * 3000 + ["dull"] * 3000, differences, said)
    assert found["sharp"].temperature * found["dull"].temperature == pytest.approx(1, abs=0.02)
    assert found["dull"].temperature / found["sharp"].temperature == pytest.approx(2, rel=0.25)


def test_five_answers_give_no_extremes() -> None:
    right = np.array([1.0, 2.0, -1.0, -3.0, 2.0])
    for said in (right > 0, right < 0, np.ones(5, bool)):
        found = of_one(right, said)
        assert 0 < found.error_rate < 0.48
        assert 0.5 < found.temperature < 2
        assert found.measured_error_rate is None


def test_without_answers_nothing_is_claimed() -> None:
    assert estimate_reliabilities([], np.zeros(0), np.zeros(0, bool)) == {}


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="lists of one length"):
        of_one(np.zeros(3), np.zeros(2, bool))
    with pytest.raises(ValueError, match="NaN or infinite"):
        of_one(np.array([np.nan]), np.zeros(1, bool))
    with pytest.raises(ValueError, match="must be positive"):
        of_one(np.zeros(1), np.zeros(1, bool), scale=0.0)
