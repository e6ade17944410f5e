"""An annotator session: what one annotator is shown and answers. The window and the web page both stand on it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from rlhf_envs.feedback.practice import ask_practice
from rlhf_envs.feedback.progress import (
    PACE_OVER,
    SessionProgress,
    closing_summary,
    is_finished,
    remaining_answers,
    session_progress,
)
from rlhf_envs.feedback.quality.annotators import Share, annotator_figures
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.store.errors import StoreError
from rlhf_envs.queries import CORRECTION, Answer, Choice, Correction, Purpose, Query, Submission, check_name
from rlhf_envs.randomness import uniform_by_name

REPEAT_AFTER = 5
"""A pair is not repeated before its annotator has answered this many others, so that none is answered from memory."""

_log = logging.getLogger(__name__)


class AnnotatorSession:
    """The queries of one annotator, and their answers.

    Args:
        store: where queries and answers meet.
        annotator: who answers.
        purposes: only queries of these are shown.
        ahead: how many queries to lease for this annotator at a time, so that their clips can be made ready.
        lease_seconds: how long the leases last while nothing is heard.
        repeat_rate: how often, from 0 to 1, an answer is followed by a pair that this annotator has answered before,
            half of the time with its sides swapped.
        practice: whether a new annotator begins with a practice round; only where the purposes include training, and
            in environments that bring a scripted expert.

    Attributes:
        introduces: whether a new annotator is told first what is asked and what can be seen.

    Raises:
        ValueError: if the annotator has no name, or a figure is out of its range.
    """

    def __init__(
        self,
        store: PreferenceStore,
        annotator: str,
        *,
        purposes: Collection[Purpose] = QUEUE,
        ahead: int = 4,
        lease_seconds: float = 120.0,
        repeat_rate: float = 0.0,
        practice: bool = False,
    ) -> None:
        check_name(annotator)
        if ahead < 1:
            raise ValueError(f"ahead is how many queries are leased at a time and must be at least 1, not {ahead}.")
        if not 0 <= repeat_rate <= 1:
            raise ValueError(f"repeat_rate is a share from 0 to 1, not {repeat_rate}.")
        self.store = store
        self.annotator = annotator
        self.purposes = tuple(purposes)
        self.ahead = ahead
        self.lease_seconds = lease_seconds
        self.repeat_rate = repeat_rate
        self._practising = self._may_practise = practice and Purpose.TRAIN in self.purposes
        self._prepared = not self._may_practise
        self.introduces = practice

    def prepare(self) -> None:
        """Ask the practice round where there is to be one, which may take a second; `upcoming` does it otherwise.

        Raises:
            StoreError: if the store cannot do it.
        """
        if self._prepared:
            return
        try:
            ask_practice(self.store, self.annotator)
        except StoreError:
            raise
        except Exception as problem:  # whatever an environment of the user's own raises
            _log.warning("There is no practice round: %s", problem)
        self._prepared = True

    def upcoming(self, kinds: Collection[str] | None = None, showing: int | None = None) -> list[Query]:
        """The next queries, the first one now, and their leases renewed; empty where there are none at the moment.

        Nobody waits for queries that another person's screen holds and does not show: those are taken over.

        Args:
            kinds: the kinds of query that the annotator's screen can show; None for all.
            showing: the id of the query that is on the screen, which stays the first.
        """
        self.prepare()
        if self._practising:
            taken = self._take((Purpose.PRACTICE,), kinds, showing)
            if taken:
                return taken
            self._practising = False
        taken = self._take(self.purposes, kinds, showing)
        if any(query.purpose is Purpose.CHECK for query in taken) and is_finished(self.store):
            # Whoever looks at a repeated pair may finish it; nobody is asked another one for nothing.
            taken = [query for query in taken if query.purpose is not Purpose.CHECK or query.id == showing]
        return taken

    @property
    def is_in_queue(self) -> bool:
        """Whether all that `upcoming` has to do is to take from the queue: practice is over, nothing to be prepared."""
        return self._prepared and not self._practising

    def answer(self, query_id: int, choice: Choice | str | None, **details: Any) -> int:
        """Store an answer and return its id; `details` are further fields of `Submission`. See `submit`."""
        choice = None if choice is None else Choice(choice)
        return self.submit(Submission(query_id, self.annotator, choice, **details))

    def submit(self, submission: Submission) -> int:
        """Store an answer and return its id. See `PreferenceStore.answer_many`, whose refusals these are."""
        [id] = self.store.answer_many([submission])
        if self.repeat_due(id):
            self.repeat_earlier(id)
        return id

    def correct(self, correction: Correction) -> tuple[int, int]:
        """Store that what the annotator did is better than a segment on screen; the ids of the query and the answer.

        It becomes a comparison of the two that is asked of this annotator alone and answered already, both or neither,
        so that everything that reads comparisons learns from it. The side is drawn by its token. It counts as an answer
        of the run's budget. The query on screen stays to be answered. When it is undone, the pair is asked.

        Raises:
            KeyError: if there is no such query.
            ValueError: if the query has no such segment or is none of a training run's, or the corrected one is of
                another length or begins after the end.
            AnswerRefusedError: if the token was given before with something else.
        """
        query = self.store.query(correction.query_id)
        if query.purpose not in QUEUE or not 0 <= correction.position < len(query.segments):
            raise ValueError(f"Query {query.id} has no segment {correction.position} that could be corrected.")
        original = query.segments[correction.position]
        if len(correction.segment) != len(original) or not 0 <= correction.step < original.lived:
            raise ValueError(
                f"A correction of a segment of {len(original)} steps is as long, and begins at one of its "
                f"{original.lived} steps before the end, not {len(correction.segment)} long from step "
                f"{correction.step}."
            )
        on_right = uniform_by_name(self.annotator, "correction", correction.token) < 0.5
        pair = (original, correction.segment) if on_right else (correction.segment, original)
        about = {"corrects": query.id, "position": correction.position, "step": correction.step}
        asked = Query(
            key=f"{CORRECTION}{self.annotator}/{correction.token}",
            round=query.round,
            segments=pair,
            context=about,
            only_for=self.annotator,
        )
        return self.store.ask_answered(
            asked,
            Choice.RIGHT if on_right else Choice.LEFT,
            shown_at=correction.shown_at,
            answered_at=correction.answered_at,
            token=correction.token,
        )

    def repeat_due(self, answer_id: int) -> bool:
        """Whether an earlier pair is to be asked again after this answer; the same whenever it is asked.

        `submit` acts on it itself; it is for servers that store answers of many annotators in one transaction.
        """
        return self.repeat_rate > 0 and uniform_by_name(self.annotator, "whether", answer_id) < self.repeat_rate

    def repeat_earlier(self, answer_id: int) -> None:
        """Ask a pair again that this annotator answered some time before this answer.

        Nothing is asked where there is no such pair, or where the run's budget of answers is spent.
        """
        if remaining_answers(self.store.counts(), self.store.statuses()) == 0:
            return
        answered = self.store.live_answers(annotator=self.annotator)
        repeated = {live.context.get("repeats") for live in answered if live.purpose is Purpose.CHECK}
        old = [
            live
            for live in answered[: max(len(answered) - REPEAT_AFTER, 0)]
            if live.kind == "comparison"
            and live.purpose in (Purpose.TRAIN, Purpose.TEST)
            and live.choice is not Choice.SKIP
            and live.query_id not in repeated
        ]
        if not old:
            return
        chosen = old[int(uniform_by_name(self.annotator, "which", answer_id) * len(old))]
        swapped = uniform_by_name(self.annotator, "side", answer_id) < 0.5
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

    def undo(self, token: str | None = None) -> Answer | None:
        """Take back the latest answer that stands; its query is shown next. None if there is nothing to take back."""
        undone = self.store.undo(self.annotator, lease_seconds=self.lease_seconds, token=token)
        # It may have been an answer of the practice round.
        self._practising = self._practising or (self._may_practise and undone is not None)
        return undone

    def leave(self, keeping: Collection[int] = ()) -> int:
        """Release this annotator's leases and return how many; see `PreferenceStore.release`."""
        return self.store.release(self.annotator, keeping=keeping)

    def progress(self) -> SessionProgress:
        """How far things are."""
        tally = self.store.tally(self.annotator, PACE_OVER, purposes=self.purposes)
        return session_progress(tally, self.store.counts(), self.store.statuses(), self.purposes)

    def is_new(self) -> bool:
        """Whether this annotator has answered nothing yet, not even in practice."""
        return self.store.tally(self.annotator).given == 0 and not self.store.practice().get(self.annotator, (0, 0))[1]

    def summary(self) -> tuple[tuple[str, str], ...]:
        """What this annotator has done and what became of it, to be read at the end; see `closing_summary`."""
        answered = self.store.each_live_answer(annotator=self.annotator)
        figures = annotator_figures(live for live in answered if live.purpose in self.purposes).get(self.annotator)
        tally = self.store.tallies(purposes=self.purposes).get(self.annotator)
        if figures is not None and tally is not None:
            # Counted as answers come in, so that nobody has to read those of all others.
            figures = replace(figures, agrees=Share(tally.agreed, tally.compared))
        return closing_summary(figures, self.progress())

    def _take(self, purposes: Collection[Purpose], kinds: Collection[str] | None, showing: int | None) -> list[Query]:
        return self.store.take_many(
            self.annotator,
            self.ahead,
            purposes=purposes,
            kinds=kinds,
            lease_seconds=self.lease_seconds,
            for_screen=True,
            showing=showing,
        )
