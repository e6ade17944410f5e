"""What a preference model is trained to minimise: one function for each kind of answer.

Comparisons and rankings are answers that a person may give at random; ratings are not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor | float], Tensor]
"""From log-odds (members, labels) that the right segment is better, labels (labels,) in [0, 1], and error rates
(labels,) of who answered, to the loss of each member on each label, (members, labels)."""

RANDOM_ANSWERS = 0.1
"""How often a person is taken to answer at random (Christiano et al. 2017, arXiv 1706.03741, section 2.2.3)."""

LEAST_ERROR = RANDOM_ANSWERS / 2
"""Nobody is taken to err less often than this, nor to be reliably wrong more often than all but this."""

_ABSENT = -1e9


def answer_probability(log_odds: Tensor, error_rate: Tensor | float = LEAST_ERROR) -> Tensor:
    """The probability that a person answers "right": P' = e + (1 - 2e) sigmoid(log-odds) (Bradley-Terry).

    At the least error rate that is the P' = 0.9 P + 0.05 of Christiano et al.
    """
    return (1 - 2 * error_rate) * torch.sigmoid(log_odds) + error_rate


def bradley_terry(log_odds: Tensor, probability_right: Tensor, error_rate: Tensor | float = LEAST_ERROR) -> Tensor:
    """Cross-entropy of Bradley-Terry preferences with answer noise (Christiano et al. 2017, equation 1).

    Labels may be soft: a tie is 0.5.
    """
    predicted = answer_probability(log_odds, error_rate)
    return -(probability_right * predicted.log() + (1 - probability_right) * (1 - predicted).log())


LOSSES: dict[str, Loss] = {"bradley_terry": bradley_terry}
"""The losses that comparisons can be fitted with."""


def plackett_luce(returns: Tensor, present: Tensor, error_rate: Tensor | float = LEAST_ERROR) -> Tensor:
    """Negative log-likelihood of orders under Plackett-Luce (Luce 1959; Plackett 1975, equation 1) with answer noise.

    Whoever ranks takes the best of all, then the best of those that are left, and so on, each time with the softmax of
    the returns. Noise enters as it does for comparisons: at every place, with probability 2e, any of those that are
    left is taken. So a ranking of two is exactly a comparison under `bradley_terry`.

    Args:
        returns: (members, labels, places), best first.
        present: (labels, places) bool; absent places stand at the end.
        error_rate: (labels,), at most 0.5.

    Returns:
        (members, labels).
    """
    returns = returns.masked_fill(~present, _ABSENT)
    left_over = present.sum(dim=1)
    loss = torch.zeros_like(returns[:, :, 0])
    for place in range(returns.shape[2] - 1):
        chosen = (returns[:, :, place] - returns[:, :, place:].logsumexp(dim=2)).exp()
        candidates = left_over - place
        noisy = (1 - 2 * error_rate) * chosen + 2 * error_rate / candidates.clamp(min=1)
        # The last one that is left is no choice.
        loss = loss - torch.where(candidates > 1, noisy.log(), 0.0)
    return loss


def discounted_squared_error(rewards: Tensor, ratings: Tensor, gamma: float) -> Tensor:
    """L = sum_t gamma^t (R_t - mu_t)^2 of ratings R_t and predicted rewards mu_t.

    mu_t is the reward as it comes out of the network, whose sum over a segment is the log-odds scale of comparisons. So
    where both are there, ratings fix the scale: a step that is rated 0.1 higher adds 0.1 to the log-odds. Comparisons
    leave room for that, because answer noise makes their loss flat where log-odds are large.

    Args:
        rewards: (members, labels, T), mu_t.
        ratings: (labels, T), R_t.
        gamma: weight of each step relative to the one before.

    Returns:
        (members, labels).
    """
    discounts = gamma ** torch.arange(ratings.shape[1], dtype=rewards.dtype)
    return (discounts * (ratings - rewards).square()).sum(dim=2)
