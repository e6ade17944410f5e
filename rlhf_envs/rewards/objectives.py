"""What each kind of answer asks of the reward, in the form in which `fit` works through it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlhf_envs.rewards.labels import Comparisons, Rankings, Ratings
from rlhf_envs.rewards.losses import LEAST_ERROR, Loss, discounted_squared_error, plackett_luce

Places = Tensor | slice
"""Which labels are meant: their positions, or a slice."""


class Objective(ABC):
    """N labels of one kind for K members.

    Args:
        counts: (K, N) how often each member's sample holds each label; where it is 0, the member holds the label out.
        weights: (N,) how much each label counts.

    Attributes:
        train_weights, held_out_weights: (K, N) how much each label counts in training, and in judging, each member.
    """

    def __init__(self, counts: NDArray[np.float32], weights: NDArray[np.float32]) -> None:
        sampled = torch.from_numpy(counts)
        # A member that would have nothing to learn from learns from everything.
        sampled[(sampled == 0).all(dim=1)] = 1
        counted = torch.from_numpy(weights)
        self.train_weights = sampled * counted
        self.held_out_weights = (sampled == 0) * counted

    def __len__(self) -> int:
        return self.train_weights.shape[1]

    @abstractmethod
    def rows(self, labels: Tensor) -> Tensor:
        """The segments that some labels are about, all in one row: (labels * segments of each,)."""

    @abstractmethod
    def predict(self, rewards: Tensor) -> Tensor:
        """What the members' rewards (K, rows, T) of those segments say, (K, labels, ...)."""

    @abstractmethod
    def losses(self, predictions: Tensor, labels: Places) -> Tensor:
        """The loss of each member on each label, (K, labels)."""

    @abstractmethod
    def held_out_pairs(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """How many pairs of segments that a member held out it puts in the right order, and how many there are.

        Args:
            predictions: of all labels.
        """


class ComparisonObjective(Objective):
    """Comparisons: predictions are log-odds that right is better, in units of who answered, (K, labels)."""

    def __init__(self, comparisons: Comparisons, counts: NDArray[np.float32], loss: Loss) -> None:
        super().__init__(counts, comparisons.weights)
        self._segments = torch.from_numpy(np.stack([comparisons.left, comparisons.right]))
        self._labels = torch.from_numpy(comparisons.probability_right)
        self._temperatures = _float32(comparisons.temperatures)
        self._error_rates = _float32(comparisons.error_rates.clip(LEAST_ERROR, 1 - LEAST_ERROR))
        self._loss = loss

    def rows(self, labels: Tensor) -> Tensor:
        """All left segments, and after them all right ones."""
        return self._segments[:, labels].reshape(-1)

    def predict(self, rewards: Tensor) -> Tensor:
        """Return of the right segment less that of the left."""
        returns = rewards.unflatten(1, (2, -1)).sum(dim=3)
        return returns[:, 1] - returns[:, 0]

    def losses(self, predictions: Tensor, labels: Places) -> Tensor:
        """The configured loss, given the reliability of who answered."""
        return self._loss(predictions / self._temperatures[labels], self._labels[labels], self._error_rates[labels])

    def held_out_pairs(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs compared; ties do not count."""
        decided = (self.held_out_weights > 0) & (self._labels != 0.5)
        right = ((predictions > 0) == (self._labels > 0.5)) & decided
        return right.sum(), decided.sum()


class RankingObjective(Objective):
    """Rankings: predictions are returns, best first, (K, labels, places)."""

    def __init__(self, rankings: Rankings, counts: NDArray[np.float32]) -> None:
        super().__init__(counts, rankings.weights)
        longest = int((rankings.ranked >= 0).sum(axis=1).max())
        self._ranked = torch.from_numpy(rankings.ranked[:, :longest])
        self._present = self._ranked >= 0
        self._temperatures = _float32(rankings.temperatures)
        # Who is wrong more often than not has an order of their own among two, but none among many.
        self._error_rates = _float32(rankings.error_rates.clip(LEAST_ERROR, 0.5))

    def rows(self, labels: Tensor) -> Tensor:
        """One ranking after another; absent places show the best segment again, and the loss leaves them out."""
        ranked = self._ranked[labels]
        return torch.where(ranked >= 0, ranked, ranked[:, :1]).reshape(-1)

    def predict(self, rewards: Tensor) -> Tensor:
        """Returns."""
        return rewards.sum(dim=2).unflatten(1, (-1, self._ranked.shape[1]))

    def losses(self, predictions: Tensor, labels: Places) -> Tensor:
        """Plackett-Luce, given the reliability of who answered."""
        returns = predictions / self._temperatures[labels, None]
        return plackett_luce(returns, self._present[labels], self._error_rates[labels])

    def held_out_pairs(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """Any two segments of a ranking."""
        better, worse = torch.triu_indices(self._ranked.shape[1], self._ranked.shape[1], offset=1)
        held_out = (self.held_out_weights > 0)[:, :, None] & self._present[:, worse]
        right = (predictions[:, :, better] > predictions[:, :, worse]) & held_out
        return right.sum(), held_out.sum()


class RatingObjective(Objective):
    """Ratings: predictions are the rewards themselves, (K, labels, T)."""

    def __init__(self, ratings: Ratings, counts: NDArray[np.float32], gamma: float, weight: float) -> None:
        super().__init__(counts, ratings.weights * np.float32(weight))
        self._rated = torch.from_numpy(ratings.rated)
        self._values = torch.from_numpy(ratings.values)
        self._gamma = gamma

    def rows(self, labels: Tensor) -> Tensor:
        """One segment for each rating."""
        return self._rated[labels]

    def predict(self, rewards: Tensor) -> Tensor:
        """The rewards as they are."""
        return rewards

    def losses(self, predictions: Tensor, labels: Places) -> Tensor:
        """The discounted squared error."""
        return discounted_squared_error(predictions, self._values[labels], self._gamma)

    def held_out_pairs(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """Each rating against the next one that the same member holds out, by their sums."""
        rated, predicted = self._values.sum(dim=1), predictions.sum(dim=2)
        right = decided = torch.tensor(0)
        for member, held_out in enumerate(self.held_out_weights > 0):
            differences = rated[held_out].diff()
            apart = differences != 0
            right = right + ((predicted[member, held_out].diff() > 0) == (differences > 0))[apart].sum()
            decided = decided + apart.sum()
        return right, decided


def _float32(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
