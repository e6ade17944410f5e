"""Comparisons as training data: each segment is encoded once, and arrays grow without copying on every label."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.rewards.encoding import Encoded, InputEncoder
from rlhf_envs.segments import Segment


class PreferenceDataset:
    """Labelled comparisons of segments of one length T, in the order in which they were added.

    The position of a label decides which ensemble members train on it, so adding labels in the same order gives the
    same fit. A segment that is in several comparisons is stored once.

    Args:
        encoder: the encoder of the ensemble that is to be fitted (`RewardEnsemble.encoder`).
    """

    def __init__(self, encoder: InputEncoder) -> None:
        self.encoder = encoder
        self.segment_length: int | None = None
        self._rows: dict[str, int] = {}
        self._left = _Growing(np.zeros(0, np.int64))
        self._right = _Growing(np.zeros(0, np.int64))
        self._labels = _Growing(np.zeros(0, np.float32))
        self._weights = _Growing(np.zeros(0, np.float32))
        self._vector: _Growing | None = None
        self._images: list[_Growing] = []
        self._categories: _Growing | None = None

    def __len__(self) -> int:
        return len(self._left)

    def add(self, left: Segment, right: Segment, probability_right: float, weight: float = 1.0) -> None:
        """Add one comparison.

        Args:
            left, right: the two segments.
            probability_right: 0 for left, 1 for right, 0.5 for a tie, or any belief between.
            weight: how much the label counts, for instance the reliability of who gave it.

        Raises:
            ValueError: if the label is not in [0, 1], the weight is negative or not finite, the lengths of the segments
                differ from those in the dataset, a segment does not belong to the spaces of the encoder, or it
                holds a NaN or infinite value.
        """
        if not 0 <= probability_right <= 1:
            raise ValueError(
                f"The label must be the probability in [0, 1] that right is better, not {probability_right}."
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"The weight of a label must be finite and not negative, not {weight}.")
        expected = len(left) if self.segment_length is None else self.segment_length
        if len(left) != expected or len(right) != expected or expected == 0:
            raise ValueError(
                f"All segments of a dataset must have one length, here {expected} steps, "
                f"not {len(left)} and {len(right)}."
            )
        encoded = [
            None if segment.digest in self._rows else self.encoder.encode(segment.observations, segment.actions)
            for segment in (left, right)
        ]
        if any(steps is not None and not np.isfinite(steps.vector).all() for steps in encoded):
            raise ValueError(
                "A segment holds a NaN or infinite observation or action, and no reward can be learned from it."
            )
        self.segment_length = expected
        rows = [self._row(segment, steps) for segment, steps in zip((left, right), encoded, strict=True)]
        self._left.append(rows[0])
        self._right.append(rows[1])
        self._labels.append(probability_right)
        self._weights.append(weight)

    @property
    def left(self) -> NDArray[np.int64]:
        """(labels,) the row of `steps` where each left segment lies."""
        return self._left.filled

    @property
    def right(self) -> NDArray[np.int64]:
        """(labels,) the row of `steps` where each right segment lies."""
        return self._right.filled

    @property
    def probability_right(self) -> NDArray[np.float32]:
        """(labels,) the labels."""
        return self._labels.filled

    @property
    def weights(self) -> NDArray[np.float32]:
        """(labels,) how much each label counts."""
        return self._weights.filled

    @property
    def steps(self) -> Encoded:
        """The distinct segments, encoded: every array has the leading axes (segments, T).

        Raises:
            ValueError: if nothing was added yet.
        """
        if self._vector is None or self._categories is None:
            raise ValueError("The dataset holds no comparison yet.")
        return Encoded(self._vector.filled, tuple(image.filled for image in self._images), self._categories.filled)

    @property
    def flat_steps(self) -> Encoded:
        """`steps` with segments and time joined into one axis."""
        steps = self.steps
        return Encoded(_join(steps.vector), tuple(_join(image) for image in steps.images), _join(steps.categories))

    def _row(self, segment: Segment, steps: Encoded | None) -> int:
        if segment.digest in self._rows or steps is None:
            return self._rows[segment.digest]
        if self._vector is None or self._categories is None:
            self._vector = _Growing(steps.vector[None][:0])
            self._images = [_Growing(image[None][:0]) for image in steps.images]
            self._categories = _Growing(steps.categories[None][:0])
        self._vector.append(steps.vector)
        self._categories.append(steps.categories)
        for stored, image in zip(self._images, steps.images, strict=True):
            stored.append(image)
        self._rows[segment.digest] = len(self._rows)
        return len(self._rows) - 1


class _Growing:
    """An array that doubles its room when it is full."""

    def __init__(self, empty: NDArray[Any]) -> None:
        self._room = np.empty((16, *empty.shape[1:]), empty.dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, row: Any) -> None:
        if self._size == len(self._room):
            room = np.empty((2 * self._size, *self._room.shape[1:]), self._room.dtype)
            room[: self._size] = self._room
            self._room = room
        self._room[self._size] = row
        self._size += 1

    @property
    def filled(self) -> NDArray[Any]:
        return self._room[: self._size]


def _join(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
