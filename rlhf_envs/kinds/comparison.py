"""Comparisons: which of two segments is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rlhf_envs.kinds.kind import FeedbackKind, ImpliedComparison, Label, LabelBatch, Payload, sign_agreement
from rlhf_envs.kinds.teacher import Judgement
from rlhf_envs.queries import Choice, Query

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf_envs.objectives import Objective


@dataclass(frozen=True)
class Comparison(FeedbackKind):
    """Left, right, or equally good (tie). Fitted by the objective's probability of a choice.

    The label's target is the probability that the right segment is better: 0, 1, or 0.5 for a tie.

    Attributes:
        weight: see `FeedbackKind`.
    """

    name: ClassVar[str] = "comparison"
    ordinal: ClassVar[bool] = True

    weight: float = 1.0

    def label(self, choice: Choice | None, payload: Payload, segments: int, steps: int) -> Label | None:
        """The choice; a payload says nothing about it."""
        if choice is None:
            raise ValueError(f"a {self.name} is answered with left, right or tie")
        probability = choice.probability_right
        return None if probability is None else Label((0, 1), (probability,))

    def scripted_answer(self, teacher: Judgement, query: Query) -> tuple[Choice | None, Payload]:
        """What the teacher prefers."""
        return teacher.compare(query), None

    def predict(self, rewards: Tensor) -> Tensor:
        """Return of the right segment less that of the left, (members, labels)."""
        returns = rewards.sum(dim=3)
        return returns[:, 1] - returns[:, 0]

    def loss(self, predictions: Tensor, labels: LabelBatch, objective: Objective) -> Tensor:
        """The objective's cross-entropy, given the reliability of who answered."""
        return objective.comparison_loss(predictions / labels.temperatures, labels.targets[:, 0], labels.error_rates)

    def held_out_pairs(self, predictions: Tensor, labels: LabelBatch, held_out: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs compared; ties do not count."""
        wanted = (labels.targets[:, 0] - 0.5).sign()
        decided = held_out & (wanted != 0)
        return (sign_agreement(predictions, wanted) * decided).sum(), decided.sum()

    def implied_comparisons(self, choice: Choice | None, payload: Payload, segments: int) -> list[ImpliedComparison]:
        """The comparison itself; none for a skip."""
        probability = None if choice is None else choice.probability_right
        return [] if probability is None else [(0, 1, probability)]
