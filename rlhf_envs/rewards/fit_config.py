"""The settings of a fit of a reward ensemble."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rlhf_envs.rewards.resampling import RESAMPLING


@dataclass(frozen=True)
class FitConfig:
    """How an ensemble is fitted.

    Attributes:
        batch: labels per step of the optimiser.
        steps: steps of a fit from fresh parameters, or more where `epochs` asks for them.
        epochs: passes over the labels that a fit makes at least.
        most_steps: steps of a fit from fresh parameters at most, whatever `epochs` asks for: from some 4,000 labels on,
            a fit takes no longer the more there are.
        warm_start_share: the share of those steps that a fit from the parameters of the last one takes.
        learning_rate: of AdamW at the first step; it falls linearly to a tenth.
        weight_decay: of AdamW.
        group_lasso: what the curves of an input cost, times the length of the vector of their three weights (Yuan and
            Lin 2006, "Model selection and estimation in regression with grouped variables", equation 2.1). Adam moves
            the weights of inputs that matter and of those that do not at the same pace, so that without it a hundred
            answers put something down to every one of them. 0 for nothing; only of additive rewards, and not where
            categories have embeddings.
        ridge: what the squares of the weights of the hidden layers cost, so that the network says what the curves
            cannot, and no more. 0 for nothing. Where many answers are wrong, ten times both is better, and whenever the
            labels have grown by half it is found out whether held-out ones are predicted better with that.
        patience: a fit ends when no member's held-out loss has fallen for this many checks. Checks begin after a third
            of the steps, and are an epoch, but at least 5 steps, apart.
        resampling: which labels each member trains on: all but its share, which it holds out ("folds"), or as many as
            there are, drawn with replacement ("bootstrap").
        crop: the shortest part of a segment that a step of the optimiser looks at. At each step a length between that
            and the whole is drawn, and every segment of its labels is cut to a window of that length, each at a place
            of its own (temporal cropping of SURF, Park et al. 2022, arXiv 2203.10050, section 4.2). 1 cuts nothing.
            Kinds that say something of single steps, as ratings do, are never cut.
        dynamics: weight of a self-supervised loss: from the last hidden layer the change of the observation to the next
            step is predicted, on labelled and unlabelled steps (`rlhf_envs.rewards.unlabelled.Dynamics`; REED, Metcalf
            et al. 2022, arXiv 2211.06527). 0 for none.
        pseudo_labels: how sure the ensemble must be of a pair of unlabelled segments, all members agreeing, to take its
            own prediction for an answer, from 0.5 to 1 (`rlhf_envs.rewards.unlabelled.PseudoLabels`; SURF, section
            4.1, has 0.99). They are drawn anew in each fit after a third of its steps. 0 for none.
        label_smoothing: how far the target of a comparison is moved from 0 or 1 towards 0.5, as a share, while training
            (Szegedy et al. 2016, arXiv 1512.00567, section 7). 0 for none.
        small_loss: trust labels of small loss (as co-teaching does, Han et al. 2018, arXiv 1804.06872, and RIME, Cheng
            et al. 2024, arXiv 2402.17257): after a third of the steps, a label on which the members that do not train
            on it have a loss l above this, in nats, counts only this / l as much. Guessing has a loss of 0.69. Kinds
            that say something of single steps are left alone. 0 for none.
    """

    batch: int = 16
    steps: int = 160
    epochs: int = 8
    most_steps: int = 2000
    warm_start_share: float = 0.4
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    group_lasso: float = 0.3
    ridge: float = 0.01
    patience: int = 6
    resampling: Literal["folds", "bootstrap"] = "folds"
    crop: float = 0.7
    dynamics: float = 0.0
    pseudo_labels: float = 0.0
    label_smoothing: float = 0.0
    small_loss: float = 0.0

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "epochs", "most_steps", "warm_start_share", "learning_rate", "patience"):
            # Written as what must hold, so that NaN, which holds for nothing, is refused as well.
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}.")
        for name in ("weight_decay", "group_lasso", "ridge", "dynamics", "small_loss"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, not {getattr(self, name)}.")
        if not (self.pseudo_labels == 0 or 0.5 <= self.pseudo_labels < 1):
            raise ValueError(f"pseudo_labels must be 0 or from 0.5 to below 1, not {self.pseudo_labels}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be 0 or more and below 1, not {self.label_smoothing}.")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and at most 1, not {self.crop}.")
        if self.resampling not in RESAMPLING:
            raise ValueError(f"There is no resampling {self.resampling!r}; choose from {', '.join(RESAMPLING)}.")

    @property
    def penalised(self) -> bool:
        """Whether anything is charged for weights."""
        return self.group_lasso > 0 or self.ridge > 0

    @property
    def uses_unlabelled(self) -> bool:
        """Whether a fit makes use of segments that nobody was asked about."""
        return self.dynamics > 0 or self.pseudo_labels > 0
