"""Answers as training data: comparisons, rankings and ratings side by side, over one table of encoded segments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlhf_envs.feedback.payloads import parse_ranking, parse_ratings
from rlhf_envs.feedback.reliability import Reliability
from rlhf_envs.queries import LONGEST_RANKING, Choice, Kind, LiveAnswer
from rlhf_envs.rewards.encoded_segments import EncodedSegments, GrowingArray
from rlhf_envs.rewards.encoding import Encoded, InputEncoder
from rlhf_envs.rewards.labels import Comparisons, Rankings, Ratings
from rlhf_envs.segments import Segment

_DEFAULT = Reliability()


class PreferenceDataset:
    """Comparisons, rankings and ratings of segments of one length T, each kind in the order in which it was added.

    The position of a label within its kind decides which ensemble members train on it, so adding labels in the same
    order gives the same fit. A segment that is in several labels is stored once.

    Args:
        encoder: the encoder of the ensemble that is to be fitted (`RewardEnsemble.encoder`).
    """

    def __init__(self, encoder: InputEncoder) -> None:
        self._segments = EncodedSegments(encoder)
        self._annotators: dict[str, int] = {}
        self._reliability: dict[str, Reliability] = {}
        self._comparisons = _Labels()
        self._left, self._right = GrowingArray((), np.int64), GrowingArray((), np.int64)
        self._probability_right = GrowingArray((), np.float32)
        self._rankings = _Labels()
        self._ranked = GrowingArray((LONGEST_RANKING,), np.int64)
        self._ratings = _Labels()
        self._rated = GrowingArray((), np.int64)
        self._values: GrowingArray | None = None

    def __len__(self) -> int:
        """How many labels there are, of all kinds."""
        return len(self._comparisons) + len(self._rankings) + len(self._ratings)

    def add(
        self, left: Segment, right: Segment, probability_right: float, weight: float = 1.0, annotator: str = ""
    ) -> None:
        """Add one comparison.

        Args:
            left, right: the two segments.
            probability_right: 0 for left, 1 for right, 0.5 for a tie, or any belief between.
            weight: how much the label counts.
            annotator: who gave it; see `set_reliability`.

        Raises:
            ValueError: if the label is not in [0, 1], the weight is negative or not finite, the lengths of the segments
                differ from those in the dataset, a segment does not belong to the spaces of the encoder, or it
                holds a NaN or infinite value.
        """
        if not 0 <= probability_right <= 1:
            raise ValueError(
                f"The label must be the probability in [0, 1] that right is better, not {probability_right}."
            )
        _check_weight(weight)
        rows = self._segments.add([left, right])
        self._left.append(rows[0])
        self._right.append(rows[1])
        self._probability_right.append(probability_right)
        self._comparisons.append(weight, self._place(annotator))

    def add_ranking(self, best_first: Sequence[Segment], weight: float = 1.0, annotator: str = "") -> None:
        """Add one ranking of 2 to 5 segments, the best one first; the other arguments as in `add`.

        Raises:
            ValueError: if there are fewer or more, or as in `add`.
        """
        if not 2 <= len(best_first) <= LONGEST_RANKING:
            raise ValueError(f"A ranking orders 2 to {LONGEST_RANKING} segments, not {len(best_first)}.")
        _check_weight(weight)
        rows = self._segments.add(best_first)
        self._ranked.append(np.pad(rows, (0, LONGEST_RANKING - len(rows)), constant_values=-1))
        self._rankings.append(weight, self._place(annotator))

    def add_rating(self, segment: Segment, ratings: ArrayLike, weight: float = 1.0, annotator: str = "") -> None:
        """Add the rating of one segment; the other arguments as in `add`.

        Args:
            ratings: (T,) one number from -1 to 1 for every step.

        Raises:
            ValueError: if the ratings are not such numbers, or as in `add`.
        """
        values = np.asarray(ratings, np.float32)
        if values.shape != (len(segment),) or not (np.abs(values) <= 1).all():
            raise ValueError(
                f"A segment of {len(segment)} steps needs as many ratings, each from -1 to 1; "
                f"these have the shape {values.shape}" + (f" and reach {np.abs(values).max()}." if values.size else ".")
            )
        _check_weight(weight)
        rows = self._segments.add([segment])
        if self._values is None:
            self._values = GrowingArray(values.shape, np.float32)
        self._rated.append(rows[0])
        self._values.append(values)
        self._ratings.append(weight, self._place(annotator))

    def add_answer(self, answer: LiveAnswer, shown: Sequence[Segment]) -> bool:
        """Add what a stored answer teaches, and say whether it teaches anything: a skip does not.

        Args:
            answer: of any kind.
            shown: the segments of its query, in screen order.

        Raises:
            ValueError: if the answer is none to its kind of query, or as in `add`.
        """
        if answer.choice is Choice.SKIP:
            return False
        if answer.kind is Kind.RANKING:
            ranking = parse_ranking(answer.payload, len(shown))
            self.add_ranking([shown[position] for position in ranking], annotator=answer.annotator)
        elif answer.kind is Kind.RATING:
            [segment] = shown
            self.add_rating(segment, parse_ratings(answer.payload, len(segment)), annotator=answer.annotator)
        else:
            left, right = shown
            label = None if answer.choice is None else answer.choice.probability_right
            if label is None:
                raise ValueError(f"Answer {answer.answer_id} says nothing about the comparison that it answers.")
            self.add(left, right, label, annotator=answer.annotator)
        return True

    @property
    def reliability(self) -> dict[str, Reliability]:
        """How each annotator is believed; those who are not in it, without reserve."""
        return dict(self._reliability)

    def set_reliability(self, reliability: Mapping[str, Reliability]) -> None:
        """Say how far each annotator's comparisons and rankings can be trusted, in place of what was said before.

        Who is not named counts as `Reliability()`. What is said holds for labels that are here and that come later.
        """
        self._reliability = dict(reliability)

    @property
    def encoder(self) -> InputEncoder:
        """The encoder that segments go through."""
        return self._segments.encoder

    @property
    def segment_length(self) -> int | None:
        """T, or None before there is a label."""
        return self._segments.length

    @property
    def annotators(self) -> list[str]:
        """Everybody who gave a label, in the order of their first one."""
        return list(self._annotators)

    @property
    def comparisons(self) -> Comparisons:
        """All comparisons."""
        given = self._comparisons
        return Comparisons(
            self._left.filled,
            self._right.filled,
            self._probability_right.filled,
            given.weights,
            given.annotators,
            *self._reliability_of(given.annotators),
        )

    @property
    def rankings(self) -> Rankings:
        """All rankings."""
        given = self._rankings
        return Rankings(self._ranked.filled, given.weights, given.annotators, *self._reliability_of(given.annotators))

    @property
    def ratings(self) -> Ratings:
        """All ratings."""
        values = np.zeros((0, self.segment_length or 0), np.float32) if self._values is None else self._values.filled
        return Ratings(self._rated.filled, values, self._ratings.weights, self._ratings.annotators)

    @property
    def steps(self) -> Encoded:
        """The distinct segments, encoded: every array has the leading axes (segments, T).

        Raises:
            ValueError: if nothing was added yet.
        """
        return self._segments.steps

    @property
    def flat_steps(self) -> Encoded:
        """`steps` with segments and time joined into one axis."""
        steps = self.steps
        return Encoded(_join(steps.vector), tuple(_join(image) for image in steps.images), _join(steps.categories))

    def _place(self, annotator: str) -> int:
        return self._annotators.setdefault(annotator, len(self._annotators))

    def _reliability_of(self, annotators: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        said = [self._reliability.get(name, _DEFAULT) for name in self._annotators]
        temperatures = np.array([one.temperature for one in said], np.float64)
        error_rates = np.array([one.error_rate for one in said], np.float64)
        return temperatures[annotators], error_rates[annotators]


class _Labels:
    """What labels of every kind have: a weight, and who gave them."""

    def __init__(self) -> None:
        self._weights = GrowingArray((), np.float32)
        self._annotators = GrowingArray((), np.int64)

    def __len__(self) -> int:
        return len(self._weights)

    def append(self, weight: float, annotator: int) -> None:
        self._weights.append(weight)
        self._annotators.append(annotator)

    @property
    def weights(self) -> NDArray[np.float32]:
        return self._weights.filled

    @property
    def annotators(self) -> NDArray[np.int64]:
        return self._annotators.filled


def _check_weight(weight: float) -> None:
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"The weight of a label must be finite and not negative, not {weight}.")


def _join(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
