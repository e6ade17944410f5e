"""What a kind of feedback is: its check, what it teaches, what a scripted teacher answers, its archive columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.kinds.teacher import Judgement
from rlhf_envs.queries import Choice, Query

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf_envs.objectives import Objective

Column = Literal["text", "integers", "numbers"]
"""The type of an archive's column: a text, a list of whole numbers, or a list of numbers."""

Payload = Mapping[str, Any] | None

ImpliedComparison = tuple[int, int, float]
"""(position, other position, probability that the other is better)."""


@dataclass(frozen=True)
class Label:
    """What one answer teaches.

    Attributes:
        order: positions on the screen of the segments that it is about, in an order that the kind gives a meaning to.
        target: numbers beside it, as many for every label of the kind, or one for every step of a segment.
    """

    order: tuple[int, ...]
    target: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class LabelBatch:
    """N labels of one kind, as tensors.

    Attributes:
        present: (N, segments) bool, the places of `Label.order` that a label has; absent ones stand at the end.
        targets: (N, numbers) float32.
        temperatures, error_rates: (N,) float32, the reliability of who answered.
    """

    present: Tensor
    targets: Tensor
    temperatures: Tensor
    error_rates: Tensor

    def __getitem__(self, labels: Any) -> LabelBatch:
        """Some of them: a slice or positions."""
        return LabelBatch(
            self.present[labels], self.targets[labels], self.temperatures[labels], self.error_rates[labels]
        )


class FeedbackKind(ABC):
    """One kind of feedback. A subclass is a frozen dataclass whose fields are the settings of the kind.

    Register an object of it with `rlhf_envs.kinds.KINDS.register(name, kind)`; then runs ask it (`--kinds name=0.5`),
    stores keep it, scripted teachers answer it, and archives hold it. What people see of it is a screen of its own in
    `rlhf_envs.feedback.window` and the web page; a kind without one is answered by other annotators.

    Attributes:
        name: that queries, stores and archives know it by.
        fewest_segments, most_segments: how many segments a query shows.
        columns: archive columns for entries of its payload, by their key.
        asks: what people read above the clips; {rubric} stands for the environment's question, which of several clips
            is better, and {counts} for a sentence on what counts.
        ordinal: whether its labels order segments as wholes, and its loss is the negative log-likelihood of the order.
            Such labels hold for most windows of the segments as well, which fits are augmented with (`FitConfig.crop`):
            `predict` then gets fewer steps.
        weight: how much the loss of one of its labels counts beside that of one comparison.
    """

    name: ClassVar[str]
    fewest_segments: ClassVar[int] = 2
    most_segments: ClassVar[int] = 2
    columns: ClassVar[Mapping[str, Column]] = {}
    ordinal: ClassVar[bool] = False
    asks: ClassVar[str] = "{rubric}"

    weight: float = 1.0

    @property
    def segments(self) -> int:
        """How many segments a run shows in a query of this kind."""
        return self.fewest_segments

    @abstractmethod
    def label(self, choice: Choice | None, payload: Payload, segments: int, steps: int) -> Label | None:
        """What an answer teaches; None for one that teaches nothing.

        Args:
            choice: left, right or tie, where the kind has such answers, or None. Never a skip, which teaches nothing.
            payload: JSON values, or None. It may have entries that are none of the kind's.
            segments: how many segments the query shows.
            steps: in the longest of them.

        Raises:
            ValueError: if that is no answer to a query of this kind; the sentence says what would be one.
        """

    @abstractmethod
    def scripted_answer(self, teacher: Judgement, query: Query) -> tuple[Choice | None, Payload]:
        """What a scripted teacher answers: a choice and a payload, as `label` takes them.

        Args:
            teacher: how it judges; whether it skips the query was decided before.
            query: of this kind, with the true rewards of its segments.
        """

    @abstractmethod
    def predict(self, rewards: Tensor) -> Tensor:
        """What the members' rewards say about labels of this kind, (members, labels, ...).

        Args:
            rewards: of the steps of the labels' segments, (members, segments, labels, T), ordered as `Label.order`.
        """

    @abstractmethod
    def loss(self, predictions: Tensor, labels: LabelBatch, objective: Objective) -> Tensor:
        """The loss of each member on each label, (members, labels), before weighting.

        Args:
            predictions: from `predict`.
            labels: what was answered.
            objective: how returns become probabilities.
        """

    def held_out_pairs(self, predictions: Tensor, labels: LabelBatch, held_out: Tensor) -> tuple[Tensor, Tensor]:
        """How many pairs of segments that members hold out they put in the right order, and how many there are.

        Args:
            predictions: from `predict`, of all labels.
            labels: all labels.
            held_out: (members, labels) bool, which labels each member did not train on.

        Returns:
            Two numbers as tensors; a prediction of a tie is half right. (0, 0) where the kind says nothing about pairs.
        """
        none = held_out.sum() * 0.0
        return none, none

    def implied_comparisons(self, choice: Choice | None, payload: Payload, segments: int) -> list[ImpliedComparison]:
        """The comparisons that an answer contains.

        Quality reports judge annotators by them, and reward models are tested on them. Empty where there are none.
        """
        return []

    def context(self, true_rewards: NDArray[np.float32]) -> dict[str, Any]:
        """Figures that the queries of a run carry for scripted teachers, from the first rollout; JSON values.

        Args:
            true_rewards: of segments of that rollout, (segments, T).
        """
        return {}

    def check_query(self, key: str, segments: int) -> None:
        """Refuse a query that shows too many or too few segments.

        Raises:
            ValueError: if it does.
        """
        fewest, most = self.fewest_segments, self.most_segments
        if not fewest <= segments <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            plural = "" if most == 1 else "s"
            raise ValueError(f"A {self.name} shows {wanted} segment{plural}, but query {key!r} has {segments}.")


def entry(payload: Payload, name: str) -> Any:
    """An entry of a payload; None where there is none."""
    return None if payload is None else payload.get(name)


def require_no_choice(kind: str, choice: Choice | None) -> None:
    """Refuse left, right or tie as an answer to a kind that is answered by a payload.

    Raises:
        ValueError: if there is a choice.
    """
    if choice is not None:
        raise ValueError(f"a {kind} is answered with a payload and no choice, not with {choice}")


def shortened(payload: Payload) -> str:
    """A payload for a sentence that refuses it."""
    text = repr(None if payload is None else dict(payload))
    return text if len(text) <= 80 else f"{text[:80]}..."


def sign_agreement(predicted: Tensor, wanted: Tensor) -> Tensor:
    """1 where a difference has the sign that is wanted (-1 or 1), 0 where the other, 0.5 where it is 0."""
    return (1 + predicted.sign() * wanted) / 2


def every_two(segments: int) -> Sequence[tuple[int, int]]:
    """All pairs of places, the earlier first."""
    return [(one, other) for one in range(segments) for other in range(one + 1, segments)]
