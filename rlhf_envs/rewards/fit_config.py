"""How a reward ensemble is fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rlhf_envs.rewards.losses import LOSSES
from rlhf_envs.rewards.resampling import RESAMPLING


@dataclass(frozen=True)
class FitConfig:
    """How an ensemble is fitted.

    Attributes:
        batch: labels per step of the optimiser.
        steps: steps of a fit from fresh parameters, or more where `epochs` asks for them.
        epochs: passes over the labels that a fit makes at least.
        refit: the share of those steps that a fit from the parameters of the last one takes.
        learning_rate: of AdamW at the first step; it falls linearly to a tenth.
        weight_decay: of AdamW.
        patience: a fit ends when no member's held-out loss has fallen for this many checks. Checks begin after a third
            of the steps, and are an epoch, but at least 5 steps, apart.
        loss: of comparisons: cross-entropy of preferences by the difference of returns ("bradley_terry").
        rating_gamma: weight of each step of a rating relative to the one before (`losses.discounted_squared_error`).
        rating_weight: how much the squared error of one rating counts beside the loss of one comparison or ranking.
        resampling: which labels each member trains on: all but its share, which it holds out ("folds"), or as many as
            there are, drawn with replacement ("bootstrap").
    """

    batch: int = 16
    steps: int = 80
    epochs: int = 8
    refit: float = 0.4
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    patience: int = 6
    loss: str = "bradley_terry"
    rating_gamma: float = 1.0
    rating_weight: float = 1.0
    resampling: str = "folds"

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "epochs", "refit", "learning_rate", "patience", "rating_weight"):
            # Written as what must hold, so that NaN, which holds for nothing, is refused as well.
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be 0 or more and finite, not {self.weight_decay}.")
        if not 0 < self.rating_gamma <= 1:
            raise ValueError(f"rating_gamma must be above 0 and at most 1, not {self.rating_gamma}.")
        if self.loss not in LOSSES:
            raise ValueError(f"There is no loss {self.loss!r}; choose from {', '.join(LOSSES)}.")
        if self.resampling not in RESAMPLING:
            raise ValueError(f"There is no resampling {self.resampling!r}; choose from {', '.join(RESAMPLING)}.")
