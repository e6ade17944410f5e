"""How far a feedback loop has come, and what one visit to it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlhf_envs.rewards import FitReport


@dataclass
class LoopState:
    """How far a loop has come; what a checkpoint keeps beside the reward model. JSON values only."""

    round: int = 0
    asked: int = 0
    asked_test: int = 0
    demonstrated: int = 0
    cursor: int = 0
    labels: int = 0
    test_accuracy: float | None = None
    generator: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundReport:
    """What one visit to the loop did.

    Attributes:
        asked: questions that were asked to train on.
        labels: that the reward model knows by now.
        fit: how fitting went, or None where there was nothing new to learn.
        test_accuracy: share of decisive held-out answers that the model predicts, or None before there are any.
        select_seconds, wait_seconds, fit_seconds: what choosing and asking, getting answers, and fitting took.
        stop_requested: whether the owner of the run requested that training ends here, to be resumed.
    """

    asked: int
    labels: int
    fit: FitReport | None
    test_accuracy: float | None
    select_seconds: float
    wait_seconds: float
    fit_seconds: float
    stop_requested: bool = False
