import math

import numpy as np
import pytest

from rlhf_envs.rewards import calibration, correlation, preference_metrics


def test_accuracy_precision_recall_and_f1_count_right_as_the_positive_class() -> None:
    metrics = preference_metrics([0.9, 0.8, 0.7, 0.2, 0.1], [1, 1, 0, 1, 0])
    assert metrics.accuracy == pytest.approx(3 / 5)
    assert metrics.precision == pytest.approx(2 / 3)
    assert metrics.recall == pytest.approx(2 / 3)
    assert metrics.f1 == pytest.approx(2 / 3)


def test_ties_and_skips_are_counted_apart_and_an_undecided_prediction_is_half_right() -> None:
    metrics = preference_metrics([0.9, 0.9, 0.9, 0.5], [1, 0.5, float("nan"), 1])
    assert (metrics.decided, metrics.ties, metrics.skips) == (2, 1, 1)
    assert metrics.accuracy == pytest.approx(0.75)


def test_without_answers_the_ratios_are_nan() -> None:
    metrics = preference_metrics([], [])
    assert math.isnan(metrics.accuracy) and math.isnan(metrics.f1)
    assert math.isnan(calibration([], []).expected_error)


def test_predictions_that_come_true_as_often_as_they_say_are_calibrated() -> None:
    predicted = np.repeat([0.25, 0.75], 400)
    labels = np.tile([1.0, 0.0, 0.0, 0.0], 100).tolist() + np.tile([1.0, 1.0, 1.0, 0.0], 100).tolist()
    result = calibration(predicted, labels)
    assert result.expected_error == pytest.approx(0)
    assert [(one.count, one.predicted, one.observed) for one in result.bins] == [(400, 0.25, 0.25), (400, 0.75, 0.75)]
    assert calibration(predicted, 1 - np.array(labels)).expected_error == pytest.approx(0.5)
    assert calibration([1.0], [1.0]).bins[0].upper == 1.0


def test_spearman_sees_order_and_pearson_lines() -> None:
    values = np.array([1.0, 2.0, 2.0, 3.0, 10.0])
    assert correlation(values, np.exp(values)).spearman == pytest.approx(1)
    assert correlation(values, np.exp(values)).pearson < 0.99
    assert correlation(values, -3 * values + 1).pearson == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4.
    assert correlation([1, 2, 2, 3], [1, 2, 3, 4]).spearman == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(correlation([1, 1], [1, 2]).pearson)


def test_values_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predicted probability must lie in \[0, 1\]"):
        preference_metrics([1.2], [1])
    with pytest.raises(ValueError, match="label must lie"):
        calibration([0.2], [2])
    with pytest.raises(ValueError, match="one length"):
        preference_metrics([0.2, 0.3], [1])
    with pytest.raises(ValueError, match="one length"):
        correlation([1, 2], [1])
