"""Answers on their way to a store and queries fetched ahead, on a thread: a slow disk holds up no screen."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from rlhf_envs.feedback.progress import SessionProgress
from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.store.errors import AnswerRefusedError, StoreError
from rlhf_envs.queries import Choice, Correction, Query, Submission

_POLL_SECONDS = 0.3
"""How often the store is asked for queries while there are none to show."""

_RETRY_SECONDS = 0.5
_OVERDUE_SECONDS = 1.0
_PROGRESS_SECONDS = 1.0
_REFUSAL_SECONDS = 8.0


@dataclass(frozen=True)
class Response:
    """What a person answers to a query: a choice, or a payload for kinds of query that have one."""

    choice: Choice | None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Undo:
    """An undo on its way: of an answer that may not be stored yet, or where None of the latest that is stored."""

    answer: Submission | Correction | None
    token: str


Entry = Submission | Correction | Undo
"""What is on its way."""


@dataclass(frozen=True)
class OutboxState:
    """What is known at a moment.

    Attributes:
        queries: what to show, the first one now.
        unsaved: answers that stand and are not in the store yet.
        overdue: whether the first of them has been waiting for longer than a store usually takes.
        store_problem: why the store could not do its work when it was last asked, or None.
        refusal: why an answer was not taken, for some seconds after it happened, or None.
        progress: how far things are, or None before it is known.
        fetched: whether the store has been asked for queries at least once.
        summary: once everything is over, what the person has done and what became of it: (name, a few words).
    """

    queries: tuple[Query, ...] = ()
    unsaved: int = 0
    overdue: bool = False
    store_problem: str | None = None
    refusal: str | None = None
    progress: SessionProgress | None = None
    fetched: bool = False
    summary: tuple[tuple[str, str], ...] = ()

    @property
    def at_risk(self) -> bool:
        """Whether answers would be lost by leaving now."""
        return self.unsaved > 0 and (self.store_problem is not None or self.overdue)

    def trouble_text(self) -> str | None:
        """What went wrong, and what becomes of the answers; None if nothing did."""
        reason = self.store_problem or ("The feedback store takes its time." if self.overdue else None)
        if reason is None:
            return self.refusal
        if not self.unsaved:
            return reason
        return (
            f"{reason} {_answers_are(self.unsaved)} kept here and stored as soon as that works; Backspace takes back "
            "the last."
        )

    def leaving_text(self) -> str:
        """The warning to a person who wants to leave while answers are not stored."""
        return (
            f"{_answers_are(self.unsaved)} not stored yet and would be lost: wait until the store works, or press "
            "Escape again to leave."
        )


class Outbox:
    """Carries out an annotator session on a thread of its own.

    What the person does is kept as a list and carried out in order, each entry until the store has acknowledged it.
    So an answer is neither lost nor doubled whatever the store does meanwhile, and an undo is right whether or not its
    answer had been stored. The thread also fetches the next queries, renews their leases while the person is active,
    and reads the progress.

    Args:
        session: whose queries and answers these are.
        kinds: the kinds of query that the screen can show.
    """

    def __init__(self, session: AnnotatorSession, kinds: Collection[str] | None = None) -> None:
        self._session = session
        self._kinds = kinds
        self._changed = threading.Condition()
        self._entries: deque[Entry] = deque()
        self._upcoming: list[Query] = []
        self._state = OutboxState()
        self._refusal_until = 0.0
        self._first: int | None = None
        self._closing = False
        self._failure: BaseException | None = None
        self._fetch_at = self._progress_at = 0.0
        self._active_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="feedback-outbox", daemon=True)
        self._thread.start()

    def state(self) -> OutboxState:
        """How things are now.

        Raises:
            Exception: what ended the thread, if something unexpected did.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            pending = standing_answers(self._entries)
            hidden = _answered_queries(self._entries)
            return replace(
                self._state,
                queries=tuple(query for query in self._upcoming if query.id not in hidden),
                unsaved=len(pending),
                overdue=bool(pending) and time.time() - (pending[0].answered_at or 0.0) > _OVERDUE_SECONDS,
                refusal=self._state.refusal if time.monotonic() < self._refusal_until else None,
            )

    def submit(self, query: Query, response: Response, reasons: Sequence[str], shown_at: float) -> None:
        """Answer a query, now; `wake` has it stored."""
        if query.id is None:
            raise ValueError(f"Query {query.key!r} was never asked, so it has no number to answer to.")
        answer = Submission(
            query.id,
            self._session.annotator,
            response.choice,
            tuple(reasons),
            shown_at,
            time.time(),
            response.payload,
            uuid4().hex,
        )
        with self._changed:
            self._entries.append(answer)

    def correct(self, correction: Correction) -> None:
        """Store a correction; `wake` has it done."""
        with self._changed:
            self._entries.append(correction)

    def undo(self) -> None:
        """Take back the latest answer that stands, so that its query comes first again; `wake` has it done."""
        with self._changed:
            pending = standing_answers(self._entries)
            self._entries.append(Undo(pending[-1] if pending else None, uuid4().hex))

    def note_activity(self) -> None:
        """Call it whenever the person does anything: leases are not renewed for a person who has gone."""
        with self._changed:
            was_gone = time.monotonic() - self._active_at > self._session.lease_seconds
            self._active_at = time.monotonic()
            if was_gone:
                self._fetch_at = 0.0
                self._changed.notify()

    def wake(self) -> None:
        """Wake the thread if there is something to carry out.

        Storing takes Python about as long as drawing the next question; the screen is drawn first.
        """
        with self._changed:
            if self._entries and self._state.store_problem is None:
                self._changed.notify()

    def close(self, timeout: float = 12.0) -> int:
        """Store what is not stored yet, as far as the store can; how many answers could not be."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            return len(standing_answers(self._entries))

    def _run(self) -> None:
        try:
            self._work()
            self._leave()
        except BaseException as failure:
            with self._changed:
                self._failure = failure

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closing and not self._entries:
                    return
                entry = self._entries[0] if self._entries else None
            pause = self._attempt(entry)
            with self._changed:
                troubled = self._state.store_problem is not None
                if self._closing and troubled:
                    return
                if pause > 0 and not self._closing and (troubled or not self._entries):
                    self._changed.wait(pause)

    def _leave(self) -> None:
        """Release the leases, but not those of queries whose answer could not be stored."""
        with self._changed:
            unsaved = _answered_queries(self._entries)
        with suppress(StoreError):
            self._session.leave(keeping=unsaved)

    def _attempt(self, entry: Entry | None) -> float:
        """Do what comes next; for how many seconds nothing needs to be done then."""
        try:
            if entry is not None:
                self._carry_out(entry)
                return 0.0
            self._fetch()
            self._read_progress()
        except StoreError as problem:
            self._update(store_problem=str(problem))
            return _RETRY_SECONDS
        self._update(store_problem=None)
        return min(self._fetch_at, self._progress_at) - time.monotonic()

    def _carry_out(self, entry: Entry) -> None:
        first: int | None = None
        refused = False
        if not isinstance(entry, Undo):
            try:
                if isinstance(entry, Correction):
                    self._session.correct(entry)
                else:
                    self._session.submit(entry)
            except AnswerRefusedError as refusal:
                refused = True
                self._update(refusal=str(refusal))
                self._refusal_until = time.monotonic() + _REFUSAL_SECONDS
        else:
            undone = self._session.undo(entry.token)
            first = None if undone is None else undone.query_id
        with self._changed:
            self._entries.popleft()
            undos = [other for other in self._entries if isinstance(other, Undo) and other.answer is entry]
            if refused:
                # Without its answer, the undo would take back an earlier one.
                self._entries = deque(other for other in self._entries if other not in undos)
            if isinstance(entry, Submission) and (refused or not undos):
                self._upcoming = [query for query in self._upcoming if query.id != entry.query_id]
            self._fetch_at = self._progress_at = 0.0
            self._state = replace(self._state, store_problem=None)
            self._first = first

    def _fetch(self) -> None:
        """Fetch queries: often while there are none, and often enough to keep the leases of those there are."""
        now = time.monotonic()
        if now < self._fetch_at:
            return
        if self._upcoming and now - self._active_at > self._session.lease_seconds:
            self._fetch_at = now + _PROGRESS_SECONDS
            return
        with self._changed:
            answered = _answered_queries(self._entries)
            shown = [query.id for query in self._upcoming if query.id not in answered][:1]
            showing = self._first if self._first is not None else shown[0] if shown else None
        fresh = self._session.upcoming(self._kinds, showing)
        with self._changed:
            self._upcoming = merged(self._upcoming, fresh, self._first)
            self._first = None
            self._state = replace(self._state, fetched=True)
        full = len(fresh) >= self._session.ahead
        wait = self._session.lease_seconds / 3 if full else _PROGRESS_SECONDS if fresh else _POLL_SECONDS
        self._fetch_at = now + min(wait, self._session.lease_seconds / 3)

    def _read_progress(self) -> None:
        now = time.monotonic()
        if now >= self._progress_at:
            progress = self._session.progress()
            self._progress_at = now + _PROGRESS_SECONDS
            over = progress.finished and not self._upcoming
            summary = (self._state.summary or self._session.summary()) if over else ()
            self._update(progress=progress, summary=summary)

    def _update(self, **changes: Any) -> None:
        with self._changed:
            self._state = replace(self._state, **changes)


def standing_answers(entries: Iterable[Entry]) -> list[Submission | Correction]:
    """The answers and corrections in a list of entries that are not taken back further on."""
    standing: list[Submission | Correction] = []
    for entry in entries:
        if not isinstance(entry, Undo):
            standing.append(entry)
        elif entry.answer in standing:
            standing.remove(entry.answer)
    return standing


def _answered_queries(entries: Iterable[Entry]) -> set[int]:
    """The queries whose answer is in a list of entries; one that was corrected is still to be answered."""
    return {entry.query_id for entry in standing_answers(entries) if isinstance(entry, Submission)}


def merged(known: Sequence[Query], fresh: Sequence[Query], first: int | None = None) -> list[Query]:
    """The fresh queries, in the order in which they have been known, so that none is pushed off the screen.

    Args:
        known: queries in the order in which they were going to be shown.
        fresh: what the store says is to be shown; only these remain, and new ones come last.
        first: the id of one whose answer was taken back, which comes before all.
    """
    by_id: Mapping[int | None, Query] = {query.id: query for query in fresh}
    order = [first] + [query.id for query in known] + [query.id for query in fresh]
    return [by_id[id] for id in dict.fromkeys(order) if id in by_id]


def _answers_are(count: int) -> str:
    return "1 answer is" if count == 1 else f"{count} answers are"
