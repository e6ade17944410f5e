"""How far an annotator and the training run are, in figures and in the words that every screen uses."""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from rlhf_envs.feedback.quality.annotators import AnnotatorFigures, Share
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.store.errors import StoreError
from rlhf_envs.feedback.store.status import TRAINING, StatusMessage
from rlhf_envs.queries import AccuracySource, Purpose, QueryCounts, Tally

PACE_OVER = 20
"""An annotator's pace is the median over this many of their latest answers."""

QUIET_SECONDS = 120.0
"""A run that has posted nothing for this long is called silent."""

GRACE_SECONDS = 300.0
"""How long screens stay after the end of a training for people to finish what they look at and to read how it ended."""

_GOODBYE = "Training is finished. You can close this page."

RunState = Literal["unknown", "training", "waiting", "paused", "silent", "stopped", "finished"]

_STATE_NAMES: dict[str, str] = {
    "waiting": "Training waits for answers",
    "paused": "Training is paused",
    "stopped": "Training has stopped",
    "finished": "Training is finished",
}


@dataclass(frozen=True)
class SessionProgress:
    """How far things are, as an annotator sees it.

    Attributes:
        own_answers: answers of this annotator that stand, practice left out.
        answered, asked: queries of the whole queue that need no more answers, and all of it.
        skipped: how many of those answered have nothing but skips.
        seconds_per_answer: this annotator's median over their latest answers; None before there are any. Answers that
            took over a minute count as pauses.
        training: the training run's latest status message (see `status.TRAINING`); None where there is none, or where
            the queue is not a training run's.
        posted_at: when it was posted, in seconds since the epoch.
        over: whether the process that asks has said that nothing more will be asked.
        to_come: how many further queries the run's budget is enough for.
        finished: whether that process has finished, rather than stopped.
    """

    own_answers: int = 0
    answered: int = 0
    asked: int = 0
    seconds_per_answer: float | None = None
    training: Mapping[str, Any] | None = None
    posted_at: float | None = None
    over: bool = False
    skipped: int = 0
    to_come: int = 0
    finished: bool = False

    @property
    def wanted(self) -> int:
        """How many queries will have been asked in the end, as far as is known: what progress is measured by.

        A run asks its budget bit by bit; measured by what is asked so far, progress would fall back with each batch.
        """
        return self.asked + self.to_come

    @property
    def share(self) -> float:
        """How much of what is wanted has been answered, from 0 to 1."""
        return min(self.answered / self.wanted, 1.0) if self.wanted else 0.0

    @property
    def curve(self) -> tuple[float, ...]:
        """How the learned return has risen in the training run's status message, oldest first.

        What it rises by is measured within the reward of each fit, so that it does not jump where a fit changes scales.
        """
        points = (self.training or {}).get("curve")
        if not isinstance(points, list):
            return ()
        returns = [point[3 if len(point) > 3 else 1] for point in points if isinstance(point, list) and len(point) > 1]
        return tuple(float(value) for value in returns if isinstance(value, int | float))

    def run_state(self, now: float | None = None) -> RunState:
        """What the process that asks is doing; "unknown" where it has posted nothing."""
        if self.training is None:
            return "finished" if self.over else "unknown"
        state = self.training.get("state")
        if state in ("paused", "stopped", "finished"):
            return state
        if self._quiet_seconds(now) > QUIET_SECONDS:
            return "silent"
        return "waiting" if state == "waiting" else "training"

    def counts_text(self) -> tuple[str, ...]:
        """How far things are, in short pieces of which the later ones may be left out."""
        pieces = [f"{self.answered:,} of {self.wanted:,} answered"]
        if self.seconds_per_answer is not None:
            pieces.append(f"{self.seconds_per_answer:.1f} s per answer")
        if self.own_answers != self.answered:
            pieces.append(f"{self.own_answers:,} by you")
        return tuple(pieces)

    def training_text(self, now: float | None = None) -> tuple[str, ...]:
        """What training is doing, in short pieces of which the later ones may be left out."""
        if self.training is None:
            return ()
        state, done = self.run_state(now), self._share_trained()
        first = _STATE_NAMES.get(state, "Training a second policy" if self._second_policy else "Training")
        waiting_for = int(self.figure("waiting_for") or 0)
        if state == "silent":
            first = f"Nothing heard from training for {self._quiet_seconds(now) / 60:.0f} min"
        elif state == "waiting" and waiting_for:
            first = f"Training waits for {waiting_for:,} {'answer' if waiting_for == 1 else 'answers'}"
        elif state == "training" and done is not None:
            first += f" {done:.0%} done"
        elif state in ("paused", "stopped") and done is not None:
            first += f" at {done:.0%}"
        pieces = [first]
        accuracy = self.accuracy_text()
        if accuracy is not None:
            pieces.append(accuracy)
        learned, true = self.figure("learned_return"), self.figure("true_return")
        if learned is not None or true is not None:
            pieces.append(f"return {true if learned is None else learned:,.1f}")
        return tuple(pieces)

    def accuracy_text(self) -> str | None:
        """How many answers the learned reward predicts, in a few words; None before that is known."""
        accuracy = self.figure("test_accuracy")
        if accuracy is None or self.training is None:
            return None
        out_of_fold = self.training.get("accuracy_from") == AccuracySource.OUT_OF_FOLD
        source = AccuracySource.OUT_OF_FOLD if out_of_fold else AccuracySource.HELD_OUT
        tested = self.figure("tested")
        return source.sentence(accuracy, None if tested is None else int(tested))

    def idle_text(self, now: float | None = None) -> tuple[str, str]:
        """What is said while there is nothing to answer: a headline, and a sentence."""
        state, done = self.run_state(now), self._share_trained()
        if state == "finished":
            return "All done, thank you", "Nothing more is asked." if self.training is None else _GOODBYE
        if state == "stopped":
            return "Training has stopped", "It can be resumed where it stopped."
        if state == "paused":
            return "Training is paused", "New clips appear here when it goes on."
        if state == "silent":
            minutes = f"{self._quiet_seconds(now) / 60:.0f} min"
            return "Nothing to answer", f"Nothing was heard from training for {minutes}; is it still running?"
        if state in ("waiting", "unknown") and self.asked > self.answered:
            rest = self.asked - self.answered
            them = "the last open question" if rest == 1 else f"the last {rest:,} open questions"
            return "Others have the open ones", f"They are answering {them}; new clips appear here by themselves."
        if state == "waiting":
            return "Nothing to answer right now", "Training goes on as soon as it has the answers that it waits for."
        if state == "training" and self._second_policy:
            far = "" if done is None else f", {done:.0%} done"
            if self.to_come:
                waiting = "question waits" if self.to_come == 1 else f"{self.to_come:,} questions wait"
                said = f"The last {waiting} for a second policy, which is in training{far}."
                return "Nothing to answer right now", said
            return "All done, thank you", f"Nothing more is asked; a second policy is in training{far}."
        if state == "training":
            far = "" if done is None else f" It is {done:.0%} done."
            return "Training is collecting clips", f"New ones appear here by themselves.{far}"
        if self.asked == 0:
            return "Nothing to answer yet", "Questions appear here as soon as a training run asks some."
        return "All caught up", "New clips appear here by themselves as soon as there are any."

    @property
    def _second_policy(self) -> bool:
        """Whether what is in training is a second policy, about which nobody is asked until it is trained."""
        return (self.training or {}).get("second_policy") is True

    def _quiet_seconds(self, now: float | None) -> float:
        """Seconds since the run posted something; 0 if it is not known when it did."""
        if self.posted_at is None:
            return 0.0
        return max((time.time() if now is None else now) - self.posted_at, 0.0)

    def _share_trained(self) -> float | None:
        timesteps, total = self.figure("timesteps"), self.figure("total_timesteps")
        return None if timesteps is None or not total else min(timesteps / total, 1.0)

    def figure(self, name: str) -> float | None:
        """A number in the training run's status message; None where there is none of this name."""
        value = (self.training or {}).get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def session_progress(
    tally: Tally,
    counts: Mapping[Purpose, QueryCounts],
    statuses: Mapping[str, StatusMessage],
    purposes: Collection[Purpose],
) -> SessionProgress:
    """An annotator's progress from what a store says.

    Args:
        tally: of the annotator's answers to queries of these purposes.
        counts, statuses: of the store.
        purposes: which queries make up the queue. Training is mentioned only where a training run asks them.
    """
    message = statuses.get(TRAINING)
    finished = says_finished(message)
    # Repeated pairs that nobody has answered by then are not asked any more.
    queue = [counts[purpose] for purpose in purposes if not (finished and purpose is Purpose.CHECK)]
    skipped = sum(count.skipped for count in queue)
    asks = message is not None and not frozenset(QUEUE).isdisjoint(purposes)
    remaining = (remaining_answers(counts, statuses) or 0) if asks and not finished else 0
    return SessionProgress(
        own_answers=tally.given,
        answered=sum(count.answered for count in queue) + skipped,
        skipped=skipped,
        asked=sum(count.asked for count in queue),
        seconds_per_answer=statistics.median(tally.seconds) if tally.seconds else None,
        training=message.value if message is not None and asks else None,
        posted_at=message.posted_at if message is not None and asks else None,
        over=message is not None and message.value.get("state") in ("stopped", "finished"),
        to_come=remaining // (_whole_number(statuses, "overlap") or 1),
        finished=finished,
    )


def is_finished(store: PreferenceStore) -> bool:
    """Whether the process that asks has finished; False where the store cannot say at the moment."""
    with suppress(StoreError):
        return says_finished(store.statuses().get(TRAINING))
    return False


def says_finished(message: StatusMessage | None) -> bool:
    """Whether the newest message of the process that asks is that it has finished, rather than stopped."""
    return message is not None and message.value.get("state") == "finished"


def closing_summary(figures: AnnotatorFigures | None, progress: SessionProgress) -> tuple[tuple[str, str], ...]:
    """What an annotator reads when everything is over: (name, sentence) of their answers and of what became of them.

    Args:
        figures: of their own answers; None where there are none.
        progress: how far things are.
    """
    lines = []
    if figures is not None:
        skipped = figures.choices.get("skip", 0)
        lines.append(("Your answers", f"{figures.answers:,}" + (f", {skipped:,} of them skipped" if skipped else "")))
        if figures.seconds is not None:
            lines.append(("Your pace", f"{figures.seconds[1]:.1f} s per answer"))
        if figures.consistent.of:
            lines.append(("Shown twice", f"{_of(figures.consistent)} answered as the first time"))
        if figures.agrees.of:
            lines.append(("With others", f"{_of(figures.agrees)} answered as they did"))
    if progress.answered != progress.own_answers:
        lines.append(("Everybody's answers", f"{progress.answered:,}"))
    accuracy = progress.figure("test_accuracy")
    if accuracy is not None:
        lines.append(("Learned from them", f"a reward that foretells {accuracy:.0%} of answers"))
    if len(progress.curve) > 1:
        lines.append(("Gained by that reward", f"{progress.curve[-1] - progress.curve[0]:+,.1f} an episode"))
    return tuple(lines)


def _of(share: Share) -> str:
    return f"{share.count:,} of {share.of:,} {'pair' if share.of == 1 else 'pairs'}"


def remaining_answers(counts: Mapping[Purpose, QueryCounts], statuses: Mapping[str, StatusMessage]) -> int | None:
    """How many answers of its budget a training run has not asked for; None where no run has named a budget.

    Args:
        counts, statuses: of the store. The run's status message names the budget as "answers", and how many of them
            each query wants as "overlap".
    """
    budget = _whole_number(statuses, "answers")
    return None if budget is None else max(budget - sum(count.wanted for count in counts.values()), 0)


def _whole_number(statuses: Mapping[str, StatusMessage], name: str) -> int | None:
    """A number above 0 from the training run's status message; None in place of anything else."""
    message = statuses.get(TRAINING)
    value = None if message is None else message.value.get(name)
    return value if type(value) is int and value > 0 else None
