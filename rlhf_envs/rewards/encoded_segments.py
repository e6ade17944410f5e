"""Segments as training data: each is encoded once, and arrays grow without copying on every label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.rewards.encoding import Encoded, InputEncoder
from rlhf_envs.segments import Segment


class EncodedSegments:
    """Distinct segments of one length T, numbered in the order in which they were added.

    Args:
        encoder: the encoder of the ensemble that is to be fitted.

    Attributes:
        length: T; None before there is a segment.
    """

    def __init__(self, encoder: InputEncoder) -> None:
        self.encoder = encoder
        self.length: int | None = None
        self._rows: dict[str, int] = {}
        self._vector: GrowingArray | None = None
        self._images: list[GrowingArray] = []
        self._categories: GrowingArray | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, segments: Sequence[Segment]) -> list[int]:
        """Add those that are new, all or none, and return the rows of all of them.

        Raises:
            ValueError: if the lengths differ from each other or from those before, a segment does not belong to the
                spaces of the encoder, or it holds a NaN or infinite value.
        """
        expected = len(segments[0]) if self.length is None else self.length
        if expected == 0 or any(len(segment) != expected for segment in segments):
            raise ValueError(
                f"All segments of a dataset must have one length, here {expected} steps, "
                f"not {' and '.join(str(len(segment)) for segment in segments)}."
            )
        encoded = [
            None if segment.digest in self._rows else self.encoder.encode(segment.observations, segment.actions)
            for segment in segments
        ]
        if any(steps is not None and not np.isfinite(steps.vector).all() for steps in encoded):
            raise ValueError(
                "A segment holds a NaN or infinite observation or action, and no reward can be learned from it."
            )
        self.length = expected
        return [self._row(segment, steps) for segment, steps in zip(segments, encoded, strict=True)]

    @property
    def steps(self) -> Encoded:
        """All segments: every array has the leading axes (segments, T).

        Raises:
            ValueError: if nothing was added yet.
        """
        if self._vector is None or self._categories is None:
            raise ValueError("The dataset holds no answer yet.")
        return Encoded(self._vector.filled, tuple(image.filled for image in self._images), self._categories.filled)

    def _row(self, segment: Segment, steps: Encoded | None) -> int:
        if segment.digest in self._rows or steps is None:
            return self._rows[segment.digest]
        if self._vector is None or self._categories is None:
            self._vector = GrowingArray(steps.vector.shape, steps.vector.dtype)
            self._images = [GrowingArray(image.shape, image.dtype) for image in steps.images]
            self._categories = GrowingArray(steps.categories.shape, steps.categories.dtype)
        self._vector.append(steps.vector)
        self._categories.append(steps.categories)
        for stored, image in zip(self._images, steps.images, strict=True):
            stored.append(image)
        self._rows[segment.digest] = len(self._rows)
        return len(self._rows) - 1


class GrowingArray:
    """Rows of one shape and type, in an array that doubles its room when it is full."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self._room: NDArray[Any] = np.empty((16, *shape), dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, row: Any) -> None:
        """Add one row."""
        if self._size == len(self._room):
            room = np.empty((2 * self._size, *self._room.shape[1:]), self._room.dtype)
            room[: self._size] = self._room
            self._room = room
        self._room[self._size] = row
        self._size += 1

    @property
    def filled(self) -> NDArray[Any]:
        """The rows so far, as a view."""
        return self._room[: self._size]
