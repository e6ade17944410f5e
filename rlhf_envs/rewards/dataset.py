"""Answers as training data: labels of every kind of feedback side by side, over one table of encoded segments."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.kinds import KINDS, Comparison, FeedbackKind, Label
from rlhf_envs.queries import Choice, LiveAnswer
from rlhf_envs.rewards.encoding import Encoded, InputEncoder
from rlhf_envs.rewards.reliability import Reliability
from rlhf_envs.segments import Segment

_RELIABLE = Reliability()


class SegmentSource(Protocol):
    """Where the segments of stored answers are found; a `PreferenceStore` is one."""

    def segments(self, ids: Iterable[int], /) -> list[Segment]:
        """Several segments by their ids, in this order."""


@dataclass(frozen=True, eq=False)
class Labels:
    """N labels of one kind.

    Attributes:
        kind: which.
        rows: (N, segments) int64, the rows of `PreferenceDataset.steps` of their segments, ordered as `Label.order`;
            places that a label does not have are -1.
        targets: (N, numbers) float32, see `Label.target`.
        weights: (N,) float32, how much each label counts.
        keys: (N,) uint64, equal for labels about the same segments, and otherwise different.
        annotators: (N,) int64, who answered, as places in `PreferenceDataset.annotators`.
        temperatures, error_rates: (N,) float64, the `Reliability` of who answered.
    """

    kind: FeedbackKind
    rows: NDArray[np.int64]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    keys: NDArray[np.uint64]
    annotators: NDArray[np.int64]
    temperatures: NDArray[np.float64]
    error_rates: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class LearnedAnswer:
    """A stored answer in a dataset.

    Attributes:
        answer: as it was stored.
        place: of its label among the `Labels` of its kind.
        rows: the rows of `PreferenceDataset.steps` of its segments, in screen order; -1 for those that its label leaves
            out.
    """

    answer: LiveAnswer
    place: int
    rows: tuple[int, ...]


class PreferenceDataset:
    """Labels about segments of one length T, those of each kind in the order in which they were added.

    The segments of a label decide which ensemble members train on it. Adding labels in the same order gives the same
    fit. A segment that is in several labels is stored once.

    Args:
        encoder: the encoder of the ensemble that is to be fitted (`RewardEnsemble.encoder`).
        kinds: the kinds of feedback by name, with the settings that they are fitted with.

    Raises:
        ValueError: if the weight of a kind is not positive and finite.

    Attributes:
        answers: the stored answers among the labels.
        skipped: stored answers that were added and teach nothing.
    """

    def __init__(self, encoder: InputEncoder, kinds: Mapping[str, FeedbackKind] = KINDS) -> None:
        for name, kind in kinds.items():
            if not 0 < kind.weight < math.inf:
                raise ValueError(f"The weight of the kind {name!r} must be positive and finite, not {kind.weight}.")
        self.encoder = encoder
        self.kinds = kinds
        self._segments = _EncodedSegments(encoder)
        self._annotators: dict[str, int] = {}
        self._reliability: dict[str, Reliability] = {}
        self._labels: dict[str, _GrowingLabels] = {}
        self.answers: list[LearnedAnswer] = []
        self.skipped: list[LiveAnswer] = []

    def __len__(self) -> int:
        """How many labels there are, of all kinds."""
        return sum(len(labels) for labels in self._labels.values())

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
            ValueError: if the label is not in [0, 1], or as in `add_label`.
        """
        if not 0 <= probability_right <= 1:
            raise ValueError(
                f"The label must be the probability in [0, 1] that right is better, not {probability_right}."
            )
        self.add_label(Comparison.name, [left, right], Label((0, 1), (probability_right,)), weight, annotator)

    def add_label(
        self, kind: str, shown: Sequence[Segment], label: Label, weight: float = 1.0, annotator: str = ""
    ) -> None:
        """Add what an answer of any kind teaches.

        Args:
            kind: the name of the kind.
            shown: the segments of the query, in screen order.
            label: see `FeedbackKind.label`.
            weight: how much the label counts.
            annotator: who gave it; see `set_reliability`.

        Raises:
            ValueError: if there is no such kind, the label is none about so many segments, the weight is negative or
                not finite, the lengths of the segments differ from those in the dataset, a segment does not belong to
                the spaces of the encoder, or it holds a NaN or infinite value.
        """
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"The weight of a label must be finite and not negative, not {weight}.")
        self._append(kind, shown, label, weight, annotator)

    def _append(
        self, kind: str, shown: Sequence[Segment], label: Label, weight: float, annotator: str
    ) -> tuple[int, ...]:
        """Add a label; the rows of the segments in screen order."""
        self._check_label(kind, len(shown), label)
        rows = self._segments.add([shown[position] for position in label.order])
        if kind not in self._labels:
            self._labels[kind] = _GrowingLabels(self.kinds[kind].most_segments, len(label.target))
        place = self._annotators.setdefault(annotator, len(self._annotators))
        self._labels[kind].append(rows, label.target, weight, _key(shown), place)
        row_at = dict(zip(label.order, rows, strict=True))
        return tuple(row_at.get(position, -1) for position in range(len(shown)))

    def _kind(self, name: str) -> FeedbackKind:
        if name not in self.kinds:
            raise ValueError(f"There is no kind of feedback {name!r}, only {', '.join(self.kinds)}; register yours.")
        return self.kinds[name]

    def _check_label(self, kind: str, segments: int, label: Label) -> None:
        fewest, most = self._kind(kind).fewest_segments, self._kind(kind).most_segments
        if not fewest <= segments <= most:
            raise ValueError(f"A {kind} is about {fewest} to {most} segments, not {segments}.")
        if not label.order or not {*label.order} <= {*range(segments)} or len({*label.order}) < len(label.order):
            raise ValueError(
                f"The label of a {kind} names positions of {segments} segments, each at most once, not {label.order}."
            )
        known = self._labels.get(kind)
        numbers = len(label.target) if known is None else known.targets.filled.shape[1]
        if len(label.target) != numbers or not all(map(math.isfinite, label.target)):
            raise ValueError(
                f"The target of a {kind} is {numbers} finite numbers, as of those before it, not {label.target}."
            )

    def add_answer(self, answer: LiveAnswer, shown: Sequence[Segment]) -> bool:
        """Add what a stored answer teaches, and say whether it teaches anything: a skip does not.

        Args:
            answer: of any kind.
            shown: the segments of its query, in screen order.

        Raises:
            ValueError: if the answer is none to its kind of query, or as in `add_label`.
        """
        if answer.choice is Choice.SKIP:
            self.skipped.append(answer)
            return False
        kind = self._kind(answer.kind)
        try:
            label = kind.label(answer.choice, answer.payload, len(shown), len(shown[0]))
        except ValueError as error:
            raise ValueError(f"Answer {answer.id} cannot be learned from: {error}.") from error
        if label is None:
            self.skipped.append(answer)
            return False
        rows = self._append(answer.kind, shown, label, 1.0, answer.annotator)
        self.answers.append(LearnedAnswer(answer, len(self._labels[answer.kind]) - 1, rows))
        return True

    def add_answers(self, answers: Iterable[LiveAnswer], source: SegmentSource) -> int:
        """Add what stored answers teach; how many of them teach anything.

        Args:
            answers: in the order in which they came.
            source: where their segments are.
        """
        return sum(self.add_answer(answer, source.segments(answer.segment_ids)) for answer in answers)

    @property
    def reliability(self) -> dict[str, Reliability]:
        """How far each annotator is trusted; those who are not in it, without reserve."""
        return dict(self._reliability)

    def set_reliability(self, reliability: Mapping[str, Reliability]) -> None:
        """Say how far each annotator's answers can be trusted, in place of what was said before.

        Who is not named counts as `Reliability()`. It holds for labels that are here and that come later.
        """
        self._reliability = dict(reliability)

    @property
    def segment_length(self) -> int | None:
        """T, or None before there is a label."""
        return self._segments.length

    @property
    def annotators(self) -> list[str]:
        """Everybody who gave a label, in the order of their first one."""
        return list(self._annotators)

    def labels(self, kind: str) -> Labels:
        """All labels of one kind; none where there is no such label."""
        given = self._labels.get(kind) or _GrowingLabels(self.kinds[kind].most_segments, 0)
        annotators = given.annotators.filled
        trusted = [self._reliability.get(name, _RELIABLE) for name in self._annotators]
        temperatures = np.array([each.temperature for each in trusted], np.float64)
        error_rates = np.array([each.error_rate for each in trusted], np.float64)
        return Labels(
            self.kinds[kind],
            given.rows.filled,
            given.targets.filled,
            given.weights.filled,
            given.keys.filled,
            annotators,
            temperatures[annotators],
            error_rates[annotators],
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many labels there are of each kind that there are any of, in the order of the registered kinds."""
        return {kind: len(self._labels[kind]) for kind in self.kinds if kind in self._labels}

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
        return flatten(self.steps)


class _GrowingLabels:
    """Labels of one kind, as arrays to which labels are added."""

    def __init__(self, most_segments: int, numbers: int) -> None:
        self.rows = GrowingArray((most_segments,), np.int64)
        self.targets = GrowingArray((numbers,), np.float32)
        self.weights = GrowingArray((), np.float32)
        self.keys = GrowingArray((), np.uint64)
        self.annotators = GrowingArray((), np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def append(self, rows: Sequence[int], target: Sequence[float], weight: float, key: int, annotator: int) -> None:
        width = self.rows.filled.shape[1]
        self.rows.append(np.pad(rows, (0, width - len(rows)), constant_values=-1))
        self.targets.append(np.array(target, np.float32))
        self.weights.append(weight)
        self.keys.append(np.uint64(key))
        self.annotators.append(annotator)


class _EncodedSegments:
    """Distinct segments of one length T, numbered in the order in which they were added; each is encoded once."""

    def __init__(self, encoder: InputEncoder) -> None:
        self.encoder = encoder
        self.length: int | None = None
        self._rows: dict[str, int] = {}
        self._vector: GrowingArray | None = None
        self._images: list[GrowingArray] = []
        self._categories: GrowingArray | None = None

    def add(self, segments: Sequence[Segment]) -> list[int]:
        """Add those that are new, all or none, and return the rows of all of them."""
        expected = len(segments[0]) if self.length is None else self.length
        if expected == 0 or any(len(segment) != expected for segment in segments):
            raise ValueError(
                f"All segments of a dataset must have one length, here {expected} steps, "
                f"not {' and '.join(str(len(segment)) for segment in segments)}."
            )
        encoded = [
            None
            if segment.digest in self._rows
            else self.encoder.encode(segment.observations, segment.actions, segment.absorbing)
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
        """All segments: every array has the leading axes (segments, T)."""
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


def _key(shown: Sequence[Segment]) -> int:
    """The same for the same segments in any order."""
    digests = "".join(sorted(segment.digest for segment in shown))
    return int.from_bytes(hashlib.blake2b(digests.encode(), digest_size=8).digest())


def flatten(steps: Encoded) -> Encoded:
    """Steps with the leading axes (segments, T) with these joined into one."""
    return Encoded(_join(steps.vector), tuple(_join(image) for image in steps.images), _join(steps.categories))


def _join(array: NDArray[Any]) -> NDArray[Any]:
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
