"""Strength of preference: which of two segments is better, and whether slightly or clearly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.kinds.comparison import Comparison
from rlhf_envs.kinds.kind import Column, Label, LabelBatch, Payload, entry, shortened
from rlhf_envs.kinds.teacher import Judgement
from rlhf_envs.queries import Choice, Query

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf_envs.objectives import Objective

SLIGHTLY, CLEARLY = "slightly", "clearly"


@dataclass(frozen=True)
class Strength(Comparison):
    """A comparison with its strength: a choice, and the payload `{"strength": "slightly"}` or `"clearly"`.

    Fitted by a cumulative link (Agresti 1992, "Analysis of ordinal paired comparison data"): with P the objective's
    probability of a choice and d the difference of returns in favour of the segment that was chosen,

        P(clearly better) = P(d - margin),    P(slightly better) = P(d) - P(d - margin).

    So a clear answer asks for a difference of at least the margin, as the margin loss of Touvron et al. (2023, arXiv
    2307.09288, equation 2) does, and a slight one says besides that the difference is smaller. Ties are fitted as those
    of comparisons.

    Attributes:
        margin: log-odds from which a difference is clear.
        weight: see `FeedbackKind`.
    """

    name: ClassVar[str] = "strength"
    columns: ClassVar[Mapping[str, Column]] = {"strength": "text"}

    margin: float = 2.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.margin < np.inf:
            raise ValueError(f"The margin of a clear preference must be positive and finite, not {self.margin}.")

    def label(self, choice: Choice | None, payload: Payload, segments: int, steps: int) -> Label | None:
        """The choice as in a comparison, and 1 where it is clear."""
        compared = super().label(choice, payload, segments, steps)
        strength = entry(payload, "strength")
        if compared is None or choice is Choice.TIE:
            return compared and Label(compared.order, (*compared.target, 0.0))
        if strength not in (SLIGHTLY, CLEARLY):
            raise ValueError(
                f"a preference with its strength is left or right with {{'strength': '{SLIGHTLY}'}} or "
                f"{{'strength': '{CLEARLY}'}}, not {shortened(payload)}"
            )
        return Label(compared.order, (*compared.target, float(strength == CLEARLY)))

    def scripted_answer(self, teacher: Judgement, query: Query) -> tuple[Choice | None, Payload]:
        """What the teacher prefers, clearly where returns differ by more than the context's clear_difference."""
        choice = teacher.compare(query)
        if choice in (Choice.TIE, Choice.SKIP):
            return choice, None
        clear = query.context.get("clear_difference")
        if not isinstance(clear, int | float):
            raise ValueError(
                "A teacher that says how strong a preference is needs the context of each query to give "
                f"clear_difference, but query {query.key!r} has {dict(query.context)}."
            )
        return choice, strength_payload(CLEARLY if abs(teacher.perceived_advantage(query)) > clear else SLIGHTLY)

    def loss(self, predictions: Tensor, labels: LabelBatch, objective: Objective) -> Tensor:
        """The negative log-likelihood of the cumulative link, given the reliability of who answered."""
        import torch

        probability_right, clear = labels.targets.unbind(dim=1)
        # Who is wrong more often than not prefers the other side, and is wrong about that as often as they are right.
        error = torch.minimum(labels.error_rates, 1 - labels.error_rates)
        difference = predictions / labels.temperatures * torch.where(labels.error_rates > 0.5, -1.0, 1.0)
        preferred = difference * torch.where(probability_right < 0.5, -1.0, 1.0)
        # With probability 2e an answer is random: one of slightly and clearly, left and right.
        clearly = (1 - 2 * error) * objective.choice_probability(preferred - self.margin) + error / 2
        either = objective.probability(preferred, error)
        likelihood = torch.where(clear > 0, clearly, either - clearly)
        tie = objective.comparison_loss(difference, probability_right, error)
        return torch.where(probability_right == 0.5, tie, -likelihood.log())

    def context(self, true_rewards: NDArray[np.float32]) -> dict[str, Any]:
        """The difference from which a scripted teacher is clear: the median of what segments of the run differ by."""
        returns = true_rewards.sum(axis=1, dtype=np.float64)
        half = len(returns) // 2
        differences = np.abs(returns[:half] - returns[half : 2 * half])
        return {"clear_difference": float(np.median(differences)) if half else 0.0}


def strength_payload(strength: str) -> dict[str, Any]:
    """The payload beside a choice: "slightly" or "clearly"."""
    return {"strength": strength}
