"""How far a feedback loop has come, and what one visit to it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlhf_envs.loop.alarm import AlarmState
from rlhf_envs.queries import AccuracySource
from rlhf_envs.rewards import FitReport


@dataclass
class LoopState:
    """How far a loop has come; what a checkpoint holds beside the reward model. JSON values only.

    Attributes:
        round: the number of the next round of queries.
        first_round: that of the run's own first round; those before it are of an earlier run.
        asked, held_out: queries that were asked to train on, and to test with.
        spent: answers that these and all others, such as repeated pairs, have cost.
        demonstrated: comparisons with demonstrations.
        checked_before: repeated pairs, practice and corrections that the store held before the run.
        cursor: how far the store was read; labels: how many answers taught something by then.
        test_accuracy: see `RoundReport`; tested: of how many answers it is the share.
        generator: the state of the random generator.
        alarm: what is known of reward hacking.
    """

    round: int = 0
    first_round: int = 0
    asked: int = 0
    held_out: int = 0
    spent: int = 0
    demonstrated: int = 0
    checked_before: int = 0
    cursor: int = 0
    labels: int = 0
    test_accuracy: float | None = None
    tested: int = 0
    generator: dict[str, Any] = field(default_factory=dict)
    alarm: AlarmState = field(default_factory=AlarmState)


@dataclass(frozen=True)
class RoundReport:
    """What one visit to the loop did.

    Attributes:
        asked: questions that were asked to train on.
        labels: that the reward model knows by now.
        fit: how fitting went, or None where there was nothing new to learn.
        test_accuracy: share of decisive answers that the model predicts without having been trained on them (see
            `accuracy_from`), or None before there are any.
        fit_seconds: what fitting took.
        concerns: what people should know of that keeps the run from learning, a sentence each.
        stop_requested: whether the owner of the run wants training to end here, to be resumed.
        accuracy_from: which answers `test_accuracy` is about.
        alarm: why the policy may be hacking the reward, where that has shown itself just now, in a sentence.
        tested: of how many answers `test_accuracy` is the share.
        wait_seconds: how long annotators, or the owner who had paused the run, kept training waiting.
    """

    asked: int
    labels: int
    fit: FitReport | None
    test_accuracy: float | None
    fit_seconds: float
    stop_requested: bool = False
    concerns: tuple[str, ...] = ()
    accuracy_from: AccuracySource = AccuracySource.OUT_OF_FOLD
    alarm: str | None = None
    tested: int = 0
    wait_seconds: float = 0.0
