"""Ratings: how good every step of one segment is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.kinds.kind import (
    Column,
    FeedbackKind,
    Label,
    LabelBatch,
    Payload,
    entry,
    require_no_choice,
    shortened,
    sign_agreement,
)
from rlhf_envs.kinds.teacher import Judgement
from rlhf_envs.queries import Choice, Query

if TYPE_CHECKING:
    from torch import Tensor

    from rlhf_envs.objectives import Objective

_RATED_BELOW, _RATED_ABOVE = 2.0, 6.0


@dataclass(frozen=True)
class Rating(FeedbackKind):
    """A number from -1 (bad) to 1 (good) for every step, as the payload `{"ratings": [...]}`.

    Fitted by L = sum_t gamma^t (R_t - mu_t)^2 of ratings R_t and predicted rewards mu_t. mu_t is the reward as it comes
    out of the network, whose sum over a segment is the scale of comparisons. So where both are there, ratings fix the
    scale: a step that is rated 0.1 higher adds 0.1 to the return. Comparisons leave room for that, because answer noise
    makes their loss flat where differences are large.

    Attributes:
        gamma: weight of each step relative to the one before.
        weight: see `FeedbackKind`.
    """

    name: ClassVar[str] = "rating"
    asks: ClassVar[str] = "How good is what you see, moment by moment? {counts}"
    fewest_segments: ClassVar[int] = 1
    most_segments: ClassVar[int] = 1
    columns: ClassVar[Mapping[str, Column]] = {"ratings": "numbers"}

    gamma: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"A rating's gamma must be above 0 and at most 1, not {self.gamma}.")

    def label(self, choice: Choice | None, payload: Payload, segments: int, steps: int) -> Label | None:
        """The ratings of the steps."""
        ratings = entry(payload, "ratings")
        require_no_choice(self.name, choice)
        if not isinstance(ratings, list | tuple) or len(ratings) != steps or not all(map(_is_rating, ratings)):
            raise ValueError(
                f"a rating of a segment of {steps} steps is {{'ratings': [...]}} with {steps} numbers from -1 to 1, "
                f"not {shortened(payload)}"
            )
        return Label((0,), tuple(float(rating) for rating in ratings))

    def scripted_answer(self, teacher: Judgement, query: Query) -> tuple[Choice | None, Payload]:
        """The true rewards on the scale of the query's context: reward_middle is 0, reward_scale above it 1.

        A rating is too high or too low at every step alike: in sum by Gumbel noise of scale 1 / beta, so that of two
        ratings the higher one is the better segment as often as a comparison says so. A mistake turns the sign.
        """
        [rewards] = teacher.merits(query)
        middle, scale = _scale(query)
        rng = teacher.generator(query)
        error = float(teacher.gumbel_noise(rng, 1)[0]) / len(rewards)
        ratings = np.clip((rewards + error - middle) / scale, -1, 1)
        if rng.random() < teacher.config.mistake:
            ratings = -ratings
        return None, rating_payload(ratings.tolist())

    def predict(self, rewards: Tensor) -> Tensor:
        """The rewards as they are, (members, labels, T)."""
        return rewards[:, 0]

    def loss(self, predictions: Tensor, labels: LabelBatch, objective: Objective) -> Tensor:
        """The discounted squared error."""
        import torch

        discounts = self.gamma ** torch.arange(
            labels.targets.shape[1], dtype=predictions.dtype, device=predictions.device
        )
        return (discounts * (labels.targets - predictions).square()).sum(dim=2)

    def held_out_pairs(self, predictions: Tensor, labels: LabelBatch, held_out: Tensor) -> tuple[Tensor, Tensor]:
        """Each rating against the next one that the same member holds out, by their sums."""
        right, decided = super().held_out_pairs(predictions, labels, held_out)
        rated, predicted = labels.targets.sum(dim=1), predictions.sum(dim=2)
        for member, rows in enumerate(held_out):
            wanted = rated[rows].diff().sign()
            apart = wanted != 0
            right = right + (sign_agreement(predicted[member, rows].diff(), wanted) * apart).sum()
            decided = decided + apart.sum()
        return right, decided

    def context(self, true_rewards: NDArray[np.float32]) -> dict[str, Any]:
        """The true reward that a scripted teacher rates 0, and how far above that it rates 1.

        The scale stays as it is for the whole run, so that a rating means the same all along. The rollouts that it is
        taken from are those of the first policy, and most of it lies above their mean because better ones have to fit
        as well: scripted experts earn up to 6 standard deviations more at a step than random actions do.
        """
        mean, spread = float(true_rewards.mean(dtype=np.float64)), float(true_rewards.std(dtype=np.float64))
        lowest, highest = mean - _RATED_BELOW * spread, mean + _RATED_ABOVE * spread
        return {"reward_middle": (lowest + highest) / 2, "reward_scale": (highest - lowest) / 2 or 1.0}


def rating_payload(ratings: Sequence[float]) -> dict[str, Any]:
    """The payload of a rating: one number from -1 (bad) to 1 (good) for every step of the segment."""
    return {"ratings": [float(rating) for rating in ratings]}


def _is_rating(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1 <= value <= 1


def _scale(query: Query) -> tuple[float, float]:
    middle, scale = query.context.get("reward_middle"), query.context.get("reward_scale")
    if not isinstance(middle, int | float) or not isinstance(scale, int | float) or scale <= 0:
        raise ValueError(
            "A teacher that rates needs the context of each query to give reward_middle and a positive reward_scale, "
            f"but query {query.key!r} has {dict(query.context)}."
        )
    return middle, scale
