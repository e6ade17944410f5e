"""Objectives: how the returns of segments become the probability of an answer, and an answer a loss.

An objective is what a preference model assumes of the people it learns from. The ensemble predicts answers with it,
query selection measures disagreement in it, and every kind of feedback is fitted through it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from rlhf_envs.registry import Registry

RANDOM_ANSWERS = 0.1
"""How often a person is taken to answer at random (Christiano et al. 2017, arXiv 1706.03741, section 2.2.3)."""

LEAST_ERROR = RANDOM_ANSWERS / 2
"""No annotator is taken to err less often than this, nor to be reliably wrong more often than all but this."""

_ABSENT = -1e9


class Objective(ABC):
    """Subclasses say with what probability the better of two segments is chosen; the rest follows from that.

    All methods are differentiable and work on (members, labels) tensors.
    """

    @abstractmethod
    def choice_probability(self, difference: Tensor) -> Tensor:
        """The probability that an attentive person prefers a segment whose return is higher by `difference`.

        Args:
            difference: of any shape; the probability has the same. It must be 0.5 at 0 and rise with the difference.
        """

    def probability(self, difference: Tensor, error_rate: Tensor | float = LEAST_ERROR) -> Tensor:
        """The same of a person who errs: P' = e + (1 - 2e) P.

        At the least error rate that is the P' = 0.9 P + 0.05 of Christiano et al. (2017, section 2.2.3).
        """
        return (1 - 2 * error_rate) * self.choice_probability(difference) + error_rate

    def comparison_loss(
        self, difference: Tensor, probability_right: Tensor, error_rate: Tensor | float = LEAST_ERROR
    ) -> Tensor:
        """Cross-entropy of comparisons (Christiano et al. 2017, equation 1), (members, labels).

        Args:
            difference: return of the right segment less that of the left, (members, labels).
            probability_right: the labels, (labels,): 0 for left, 1 for right, 0.5 for a tie.
            error_rate: of who answered, (labels,).
        """
        predicted = self.probability(difference, error_rate)
        return -(probability_right * predicted.log() + (1 - probability_right) * (1 - predicted).log())

    def ranking_loss(self, returns: Tensor, present: Tensor, error_rate: Tensor | float = LEAST_ERROR) -> Tensor:
        """Negative log-likelihood of orders, (members, labels): of a ranking as all of its comparisons, averaged.

        The comparisons of one ranking are not independent, so they count together as many as a ranking has places less
        one, which is how many choices it takes to sort.

        Args:
            returns: (members, labels, places), best first.
            present: (labels, places) bool; absent places stand at the end.
            error_rate: (labels,), at most 0.5.
        """
        better, worse = torch.triu_indices(returns.shape[2], returns.shape[2], offset=1)
        error = error_rate[:, None] if isinstance(error_rate, Tensor) else error_rate
        losses = -self.probability(returns[:, :, better] - returns[:, :, worse], error).log()
        counted = present[:, worse]
        places = present.sum(dim=1)
        return (losses * counted).sum(dim=2) / counted.sum(dim=1).clamp(min=1) * (places - 1)


class BradleyTerry(Objective):
    """The log-odds of a choice are the difference of returns (Bradley & Terry 1952); rankings by Plackett-Luce."""

    def choice_probability(self, difference: Tensor) -> Tensor:
        """The logistic function."""
        return torch.sigmoid(difference)

    def ranking_loss(self, returns: Tensor, present: Tensor, error_rate: Tensor | float = LEAST_ERROR) -> Tensor:
        """Negative log-likelihood under Plackett-Luce (Luce 1959; Plackett 1975, equation 1) with answer noise.

        Who ranks takes the best of all, then the best of the remaining, and so on, each time with the softmax of the
        returns. Noise enters as it does for comparisons: at every place, with probability 2e, any of the remaining is
        taken. So a ranking of two is exactly a comparison.
        """
        returns = returns.masked_fill(~present, _ABSENT)
        ranked = present.sum(dim=1)
        loss = torch.zeros_like(returns[:, :, 0])
        for place in range(returns.shape[2] - 1):
            chosen = (returns[:, :, place] - returns[:, :, place:].logsumexp(dim=2)).exp()
            candidates = ranked - place
            noisy = (1 - 2 * error_rate) * chosen + 2 * error_rate / candidates.clamp(min=1)
            # The last one that remains is no choice.
            loss = loss - torch.where(candidates > 1, noisy.log(), 0.0)
        return loss


class Probit(Objective):
    """Each return is perceived with a normal error of unit variance: P = Phi(difference / sqrt 2).

    This is Thurstone's law of comparative judgement, case V (Thurstone 1927, "A law of comparative judgment").
    """

    def choice_probability(self, difference: Tensor) -> Tensor:
        """The normal distribution function."""
        return torch.special.ndtr(difference / math.sqrt(2))


OBJECTIVES: Registry[Objective] = Registry("objective", instances=True, type=Objective)
"""Every objective by the name that configurations use."""

OBJECTIVES.register("bradley_terry", BradleyTerry())
OBJECTIVES.register("probit", Probit())
