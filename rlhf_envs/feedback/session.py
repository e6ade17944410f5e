"""One annotator's sitting: what to show next, what was said, what to take back. Every screen stands on it."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlhf_envs.feedback.status import TRAINING
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.queries import Answer, Choice, Kind, Purpose, Query

REPEAT_AFTER = 5
"""A pair is not shown again before this many others were answered, so that nobody answers it from memory."""

PACE_OVER = 20
"""An annotator's pace is told over this many of their latest answers."""
_LONGEST_ANSWER = 60.0
_LONGEST_NAME = 60


@dataclass(frozen=True)
class SessionProgress:
    """How far things are, as an annotator sees it.

    Attributes:
        given: answers of this annotator that stand.
        answered, asked: queries of the whole queue that need no more answers, and all of it.
        seconds_per_answer: this annotator's median over their last answers; None before there are any. Answers that
            took over a minute count as pauses.
        training: the training run's latest status message (see `status.TRAINING`), or None.
    """

    given: int
    answered: int
    asked: int
    seconds_per_answer: float | None
    training: Mapping[str, Any] | None

    @property
    def wanted(self) -> int:
        """How many queries will have been asked in the end, as far as is known; see `wanted_in_the_end`."""
        return wanted_in_the_end(self.asked, self.training)


class AnnotatorSession:
    """What one annotator sees and says.

    Args:
        store: where queries and answers meet.
        annotator: who answers.
        purposes, kinds: only queries of these are shown.
        ahead: how many queries to keep for this annotator at a time, so that their clips can be made ready.
        lease_seconds: how long they are kept while nothing is heard.
        repeat_rate: how often, from 0 to 1, an answer is followed by a pair that this annotator has answered before,
            half of the time with its sides swapped.

    Raises:
        ValueError: if the annotator has no name, or a figure is out of its range.
    """

    def __init__(
        self,
        store: PreferenceStore,
        annotator: str,
        *,
        purposes: Collection[Purpose] = QUEUE,
        kinds: Collection[Kind] = tuple(Kind),
        ahead: int = 4,
        lease_seconds: float = 120.0,
        repeat_rate: float = 0.0,
    ) -> None:
        if not annotator.strip():
            raise ValueError("An annotator needs a name, such as a person's initials.")
        if not annotator.isprintable() or len(annotator) > _LONGEST_NAME:
            raise ValueError(
                f"An annotator's name has at most {_LONGEST_NAME} characters, all on one line, not {annotator[:80]!r}; "
                "initials are enough."
            )
        if ahead < 1:
            raise ValueError(f"ahead is how many queries are kept ready and must be at least 1, not {ahead}.")
        if not 0 <= repeat_rate <= 1:
            raise ValueError(f"repeat_rate is a share from 0 to 1, not {repeat_rate}.")
        self.store = store
        self.annotator = annotator
        self.purposes = tuple(purposes)
        self.kinds = tuple(kinds)
        self.ahead = ahead
        self.lease_seconds = lease_seconds
        self.repeat_rate = repeat_rate

    def upcoming(self) -> list[Query]:
        """The next queries to show, the first one now; empty where there are none at the moment. Renews the leases."""
        return self.store.take_many(
            self.annotator,
            self.ahead,
            purposes=self.purposes,
            kinds=self.kinds,
            lease_seconds=self.lease_seconds,
        )

    def answer(
        self,
        query_id: int,
        choice: Choice | str | None,
        *,
        reasons: Sequence[str] = (),
        shown_at: float | None = None,
        answered_at: float | None = None,
        payload: Mapping[str, Any] | None = None,
        token: str | None = None,
    ) -> int:
        """Store an answer and return its id. See `PreferenceStore.answer`, whose refusals these are."""
        id = self.store.answer(
            query_id,
            self.annotator,
            choice,
            reasons=reasons,
            shown_at=shown_at,
            answered_at=answered_at,
            payload=payload,
            token=token,
        )
        self.follow_up(id)
        return id

    def follow_up(self, answer_id: int) -> None:
        """What an answer of this annotator leads to: now and then, an earlier pair is asked again.

        `answer` does this itself; it is for those who store the answers of many annotators in one transaction.
        """
        if self.repeat_rate > 0 and _uniform(self.annotator, "whether", answer_id) < self.repeat_rate:
            self._ask_again(answer_id)

    def undo(self, token: str | None = None) -> Answer | None:
        """Take back the latest answer that stands; its query is shown next. None if there is nothing to take back."""
        return self.store.undo(self.annotator, lease_seconds=self.lease_seconds, token=token)

    def leave(self, keeping: Collection[int] = ()) -> None:
        """Let others have what was kept ready here, because this annotator leaves; see `PreferenceStore.release`."""
        self.store.release(self.annotator, keeping=keeping)

    def progress(self) -> SessionProgress:
        """How far things are."""
        tally = self.store.tally(self.annotator, PACE_OVER)
        counts = [count for purpose, count in self.store.counts().items() if purpose in self.purposes]
        training = self.store.statuses().get(TRAINING)
        return SessionProgress(
            given=tally.given,
            answered=sum(count.answered + count.skipped for count in counts),
            asked=sum(count.asked for count in counts),
            seconds_per_answer=pace(tally.times),
            training=None if training is None else training.value,
        )

    def _ask_again(self, answer_id: int) -> None:
        """Ask a pair once more that this annotator has answered some time ago."""
        given = self.store.live_answers(annotator=self.annotator)
        repeated = {live.context.get("repeats") for live in given if live.purpose is Purpose.CHECK}
        old = [
            live
            for live in given[: max(len(given) - REPEAT_AFTER, 0)]
            if live.kind is Kind.COMPARISON
            and live.purpose in (Purpose.TRAIN, Purpose.TEST)
            and live.choice is not Choice.SKIP
            and live.query_id not in repeated
        ]
        if not old:
            return
        chosen = old[int(_uniform(self.annotator, "which", answer_id) * len(old))]
        swapped = _uniform(self.annotator, "side", answer_id) < 0.5
        left, right = self.store.segments(chosen.segment_ids)
        again = Query(
            key=f"check/{self.annotator}/{chosen.query_id}",
            round=chosen.round,
            segments=(right, left) if swapped else (left, right),
            purpose=Purpose.CHECK,
            context={**chosen.context, "repeats": chosen.query_id, "swapped": swapped},
            only_for=self.annotator,
        )
        self.store.ask([again])


def wanted_in_the_end(asked: int, training: Mapping[str, Any] | None) -> int:
    """How many queries will have been asked in the end: what every screen measures progress by.

    A run asks its budget bit by bit. Measured by what it has asked so far, progress would fall back with each batch.

    Args:
        asked: how many are asked already.
        training: the run's status message: "comparisons" is its budget, "test_comparisons" what it holds out on top.
            Where it names neither, what is asked is all that is known.
    """
    budgets = ((training or {}).get(name) for name in ("comparisons", "test_comparisons"))
    return max(asked, sum(each for each in budgets if isinstance(each, int) and each > 0))


def pace(times: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Median seconds from seeing a query to answering it; None where no times are known.

    Args:
        times: when queries came on screen and when they were answered. Over a minute counts as a pause.
    """
    seconds = [answered - shown for shown, answered in times if shown is not None and answered is not None]
    working = [taken for taken in seconds if 0 <= taken <= _LONGEST_ANSWER]
    return statistics.median(working) if working else None


def _uniform(annotator: str, what: str, number: int) -> float:
    """A number in [0, 1) that is the same whenever it is asked for: a retried request must not ask twice."""
    drawn = hashlib.blake2b(f"{annotator}\0{what}\0{number}".encode(), digest_size=8).digest()
    return (int.from_bytes(drawn) >> 11) * 2.0**-53
