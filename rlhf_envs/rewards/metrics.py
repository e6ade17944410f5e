"""How good a preference model is: on answers that it has not seen, and against the true reward."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from rlhf_envs.kinds import KINDS
from rlhf_envs.kinds.kind import ImpliedComparison
from rlhf_envs.queries import AccuracySource, LiveAnswer
from rlhf_envs.rewards.dataset import PreferenceDataset, SegmentSource
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fitting import segment_returns
from rlhf_envs.rewards.resampling import held_out_by
from rlhf_envs.segments import Segment

Floats = NDArray[np.float64]

_BINS = 10


@dataclass(frozen=True)
class PreferenceMetrics:
    """Agreement of predictions with answers; "right" is the positive class.

    Only decided answers count, not ties. A prediction of exactly 0.5 counts as half right. A ratio without a case to
    judge is NaN.

    Attributes:
        decided, ties, skips: how many answers of each kind there were.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    decided: int
    ties: int
    skips: int


@dataclass(frozen=True)
class ReliabilityBin:
    """Comparisons whose predicted probability lies in [lower, upper): how many, the mean prediction, the mean label."""

    lower: float
    upper: float
    count: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class Calibration:
    """Whether "80% sure" is right 80% of the time.

    Attributes:
        bins: the non-empty ones of a reliability diagram, in rising order.
        expected_error: mean of |predicted - observed| over bins, weighted by count (Guo et al. 2017, arXiv 1706.04599,
            equation 3). NaN where there is no answer.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_error: float


@dataclass(frozen=True)
class Correlation:
    """Correlation of learned and true reward; NaN where one of them is constant or there are fewer than two steps."""

    pearson: float
    spearman: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a preference model predicts for stored answers, and what was answered: N comparisons.

    Attributes:
        predicted: (N,) the probability that right is better.
        labels: (N,) the answers: 0 left, 1 right, 0.5 a tie, NaN a skip.
        answers: (N,) the answer that each comparison is from.
        source: how the model knows the answers.
    """

    predicted: NDArray[np.float64]
    labels: NDArray[np.float64]
    answers: tuple[LiveAnswer, ...]
    source: AccuracySource = AccuracySource.HELD_OUT

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def metrics(self) -> PreferenceMetrics:
        """How well the answers were predicted."""
        return preference_metrics(self.predicted, self.labels)


def predict_answers(ensemble: RewardEnsemble, answers: Iterable[LiveAnswer], source: SegmentSource) -> Predictions:
    """What a preference model says to answers that none of its members was trained on.

    A ranking counts as all of its comparisons; ratings imply none and are left out.

    Args:
        ensemble: the model.
        answers: stored answers.
        source: where their segments are.
    """
    left: list[Segment] = []
    right: list[Segment] = []
    labels: list[float] = []
    of: list[LiveAnswer] = []
    for answer in answers:
        implied = _implied_comparisons(answer)
        shown = source.segments(answer.segment_ids) if implied else []
        for first, second, probability in implied:
            left.append(shown[first])
            right.append(shown[second])
            labels.append(probability)
            of.append(answer)
    predicted = ensemble.probability_right(left, right).astype(np.float64)
    return Predictions(predicted, np.array(labels, np.float64), tuple(of))


def predict_out_of_fold(ensemble: RewardEnsemble, dataset: PreferenceDataset) -> Predictions:
    """What a preference model says to the answers that it was trained on: cross-validation without a further fit.

    Each comparison is predicted by the mean of the members that did not train on it, which with folds is one, and those
    are left out that all members trained on. So are comparisons with demonstrations, which nobody answered. A skip, on
    which no member trains, is not predicted either: it stands with 0.5.

    A member chooses among its own parameters over a fit by the labels that it holds out, so the accuracy is a little
    too high where answers are few.

    Args:
        ensemble: fitted to the dataset, or to a part of it.
        dataset: stored answers (`PreferenceDataset.add_answer`); other labels do not count.
    """
    if not dataset:
        return Predictions(np.zeros(0), np.zeros(0), (), AccuracySource.OUT_OF_FOLD)
    holders = held_out_by(ensemble, dataset)
    left: list[int] = []
    right: list[int] = []
    held_out: list[NDArray[np.bool_]] = []
    labels: list[float] = []
    of: list[LiveAnswer] = []
    for learned in dataset.answers:
        without = holders[learned.answer.kind][:, learned.place]
        if not (learned.answer.was_asked and without.any()):
            continue
        for first, second, probability in _implied_comparisons(learned.answer):
            if min(learned.rows[first], learned.rows[second]) >= 0 and not np.isnan(probability):
                left.append(learned.rows[first])
                right.append(learned.rows[second])
                held_out.append(without)
                labels.append(probability)
                of.append(learned.answer)
    predicted = np.zeros(0)
    if of:
        returns, counted = segment_returns(ensemble, dataset), np.stack(held_out, axis=1)
        by_member = ensemble.objective.probability(torch.from_numpy(returns[:, right] - returns[:, left])).numpy()
        predicted = (by_member * counted).sum(axis=0) / counted.sum(axis=0)
    skipped = [answer for answer in dataset.skipped if _implied_comparisons(answer)]
    return Predictions(
        np.append(predicted, np.full(len(skipped), 0.5)),
        np.array([*labels, *[np.nan] * len(skipped)], np.float64),
        (*of, *skipped),
        AccuracySource.OUT_OF_FOLD,
    )


def _implied_comparisons(answer: LiveAnswer) -> list[ImpliedComparison]:
    """The comparisons that an answer contains; a skip of two segments is one whose label is NaN."""
    implied: list[ImpliedComparison] = []
    if answer.kind in KINDS:
        implied = KINDS[answer.kind].implied_comparisons(answer.choice, answer.payload, len(answer.segment_ids))
    if not implied and answer.choice is not None and len(answer.segment_ids) == 2:
        implied = [(0, 1, np.nan)]
    return implied


def preference_metrics(predicted: ArrayLike, labels: ArrayLike) -> PreferenceMetrics:
    """Accuracy, precision, recall and F1 of N predictions.

    Args:
        predicted: (N,) predicted probabilities that right is better.
        labels: (N,) answers: 0 left, 1 right, 0.5 or any value between a tie, NaN a skip.

    Raises:
        ValueError: if the lengths differ, or a value is not in [0, 1].
    """
    probabilities, answers = _checked(predicted, labels)
    skips = int(np.isnan(answers).sum())
    decided = (answers == 0) | (answers == 1)
    says_right = np.where(probabilities == 0.5, 0.5, probabilities > 0.5)[decided]
    is_right = answers[decided]
    true_positive = float((says_right * is_right).sum())
    false_positive = float((says_right * (1 - is_right)).sum())
    false_negative = float(((1 - says_right) * is_right).sum())
    count = int(decided.sum())
    return PreferenceMetrics(
        accuracy=_ratio(count - false_positive - false_negative, count),
        precision=_ratio(true_positive, true_positive + false_positive),
        recall=_ratio(true_positive, true_positive + false_negative),
        f1=_ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative),
        decided=count,
        ties=len(answers) - count - skips,
        skips=skips,
    )


def calibration(predicted: ArrayLike, labels: ArrayLike) -> Calibration:
    """The reliability diagram of N predictions in ten bins of equal width; arguments as in `preference_metrics`.

    A tie counts as half an answer "right"; a skip does not count.

    Raises:
        ValueError: as in `preference_metrics`.
    """
    probabilities, answers = _checked(predicted, labels)
    answered = ~np.isnan(answers)
    probabilities, answers = probabilities[answered], answers[answered]
    # The last bin also holds 1.0 itself.
    places = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    filled = []
    for place in np.unique(places):
        inside = places == place
        predicted_mean, observed_mean = float(probabilities[inside].mean()), float(answers[inside].mean())
        filled.append(
            ReliabilityBin(place / _BINS, (place + 1) / _BINS, int(inside.sum()), predicted_mean, observed_mean)
        )
    error = sum(one.count * abs(one.predicted - one.observed) for one in filled)
    return Calibration(tuple(filled), _ratio(error, len(answers)))


def correlation(learned: ArrayLike, true: ArrayLike) -> Correlation:
    """Pearson's and Spearman's correlation of two rewards of the same N steps.

    Raises:
        ValueError: if the lengths differ.
    """
    first, second = np.asarray(learned, np.float64).ravel(), np.asarray(true, np.float64).ravel()
    if len(first) != len(second):
        raise ValueError(f"Two rewards of the same steps must have one length, not {len(first)} and {len(second)}.")
    return Correlation(_pearson(first, second), _pearson(rankdata(first), rankdata(second)))


def _checked(predicted: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    probabilities, answers = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    if probabilities.ndim != 1 or probabilities.shape != answers.shape:
        raise ValueError(
            f"Predictions and labels must be two lists of one length, not {probabilities.shape} and {answers.shape}."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("Every predicted probability must lie in [0, 1].")
    if ((answers < 0) | (answers > 1)).any():
        raise ValueError("Every label must lie in [0, 1], or be NaN for a skip.")
    return probabilities, answers


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _pearson(first: Floats, second: Floats) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
