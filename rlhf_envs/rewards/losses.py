"""What a preference model is trained to minimise: one function per kind of answer, listed in `LOSSES`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
"""From log-odds (members, labels) that the right segment is better, and labels (labels,) in [0, 1], to the loss of each
member on each label, (members, labels)."""

RANDOM_ANSWERS = 0.1
"""How often a person is taken to answer at random (Christiano et al. 2017, arXiv 1706.03741, section 2.2.3)."""


def answer_probability(log_odds: Tensor) -> Tensor:
    """The probability that a person answers "right": P' = 0.9 P + 0.05 with P = sigmoid(log-odds) (Bradley-Terry)."""
    return (1 - RANDOM_ANSWERS) * torch.sigmoid(log_odds) + RANDOM_ANSWERS / 2


def bradley_terry(log_odds: Tensor, probability_right: Tensor) -> Tensor:
    """Cross-entropy of Bradley-Terry preferences with answer noise (Christiano et al. 2017, equation 1).

    Labels may be soft: a tie is 0.5.
    """
    predicted = answer_probability(log_odds)
    return -(probability_right * predicted.log() + (1 - probability_right) * (1 - predicted).log())


LOSSES: dict[str, Loss] = {"bradley_terry": bradley_terry}
