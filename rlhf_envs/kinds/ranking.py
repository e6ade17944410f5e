"""Rankings: several segments in order, the best one first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rlhf_envs.kinds.kind import (
    Column,
    FeedbackKind,
    ImpliedComparison,
    Label,
    LabelBatch,
    Payload,
    entry,
    every_two,
    require_no_choice,
    shortened,
    sign_agreement,
)
from rlhf_envs.kinds.teacher import Judgement
from rlhf_envs.queries import Choice, Query

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf_envs.objectives import Objective

LONGEST_RANKING = 5
"""Segments that one ranking shows at most: more do not fit on a screen, nor in a head."""


@dataclass(frozen=True)
class Ranking(FeedbackKind):
    """An order of 2 to 5 segments. Fitted by the objective's likelihood of an order.

    The payload is `{"ranking": [...]}`: positions on the screen, counted from 0, the best one first.

    Attributes:
        size: how many segments a run shows.
        weight: see `FeedbackKind`.
    """

    name: ClassVar[str] = "ranking"
    asks: ClassVar[str] = "Put the clips in order, the best first. {rubric}"
    ordinal: ClassVar[bool] = True
    most_segments: ClassVar[int] = LONGEST_RANKING
    columns: ClassVar[Mapping[str, Column]] = {"ranking": "integers"}

    size: int = 4
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.size <= LONGEST_RANKING:
            raise ValueError(f"A ranking shows 2 to {LONGEST_RANKING} segments, not {self.size}.")

    @property
    def segments(self) -> int:
        """As many as `size` says."""
        return self.size

    def label(self, choice: Choice | None, payload: Payload, segments: int, steps: int) -> Label | None:
        """The segments from best to worst."""
        ranking = entry(payload, "ranking")
        require_no_choice(self.name, choice)
        if (
            not isinstance(ranking, list | tuple)
            or not all(type(position) is int for position in ranking)
            or sorted(ranking) != list(range(segments))
        ):
            raise ValueError(
                f"a ranking of {segments} segments is {{'ranking': [...]}} with each position from 0 to "
                f"{segments - 1} once, the best one first, not {shortened(payload)}"
            )
        return Label(tuple(ranking))

    def scripted_answer(self, teacher: Judgement, query: Query) -> tuple[Choice | None, Payload]:
        """By return; equal ones stay in screen order.

        With finite beta the order is drawn from Plackett-Luce, which is to sort by returns with Gumbel noise of scale
        1 / beta (Yellott 1977). A mistake exchanges two neighbours.
        """
        rng = teacher.generator(query)
        returns = np.array(teacher.returns(query))
        best_first = np.argsort(-(returns + teacher.gumbel_noise(rng, len(returns))), kind="stable")
        if rng.random() < teacher.config.mistake:
            upper = int(rng.random() * (len(best_first) - 1))
            best_first[[upper, upper + 1]] = best_first[[upper + 1, upper]]
        return None, ranking_payload(best_first.tolist())

    def predict(self, rewards: Tensor) -> Tensor:
        """Returns, (members, labels, places)."""
        return rewards.sum(dim=3).transpose(1, 2)

    def loss(self, predictions: Tensor, labels: LabelBatch, objective: Objective) -> Tensor:
        """The objective's likelihood of the order, given the reliability of who answered."""
        # Who is wrong more often than not has an order of their own among two, but none among many.
        error_rates = labels.error_rates.clamp(max=0.5)
        return objective.ranking_loss(predictions / labels.temperatures[:, None], labels.present, error_rates)

    def held_out_pairs(self, predictions: Tensor, labels: LabelBatch, held_out: Tensor) -> tuple[Tensor, Tensor]:
        """Any two segments of a ranking."""
        right, decided = super().held_out_pairs(predictions, labels, held_out)
        for better, worse in every_two(predictions.shape[2]):
            counted = held_out & labels.present[:, worse]
            agreement = sign_agreement(predictions[:, :, better] - predictions[:, :, worse], counted)
            right, decided = right + (agreement * counted).sum(), decided + counted.sum()
        return right, decided

    def implied_comparisons(self, choice: Choice | None, payload: Payload, segments: int) -> list[ImpliedComparison]:
        """Any two segments, the better one first."""
        if payload is None:
            return []
        label = self.label(choice, payload, segments, 0)
        return [] if label is None else [(label.order[one], label.order[two], 0.0) for one, two in every_two(segments)]


def ranking_payload(best_first: Sequence[int]) -> dict[str, Any]:
    """The payload of a ranking: screen positions of all segments, counted from 0, the best one first."""
    return {"ranking": [int(position) for position in best_first]}
