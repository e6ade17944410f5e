"""Carries answers to the store and fetches what to show next, on a thread of its own: a slow disk stops no picture."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rlhf_envs.feedback.errors import AnswerRefusedError, StoreError
from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.status import TRAINING
from rlhf_envs.feedback.window.entries import DeskState, Given, TakenBack, merged, standing_answers
from rlhf_envs.feedback.window.questions import Verdict
from rlhf_envs.queries import Query

POLL_SECONDS = 0.3
"""How often the store is asked for queries when there are none to show."""

_RETRY_SECONDS = 0.5
_USUAL_SECONDS = 1.0
_PROGRESS_SECONDS = 1.0
_MESSAGE_SECONDS = 8.0


class Desk:
    """An annotator's session, worked from a thread.

    What the person does is kept as a list and carried out in order, each entry until the store has acknowledged it.
    So an answer is neither lost nor doubled whatever the store does meanwhile, and taking one back is right whether or
    not it had been stored.

    Args:
        session: whose queries and answers these are.
    """

    def __init__(self, session: AnnotatorSession) -> None:
        self._session = session
        self._changed = threading.Condition()
        self._entries: deque[Given | TakenBack] = deque()
        self._upcoming: list[Query] = []
        self._state = DeskState()
        self._refused_until = 0.0
        self._posted_at: float | None = None
        self._first: int | None = None
        self._closing = False
        self._failure: BaseException | None = None
        self._fetch_at = self._look_at = 0.0
        self._active_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="feedback-desk", daemon=True)
        self._thread.start()

    def state(self) -> DeskState:
        """How things are now.

        Raises:
            Exception: what ended the thread, if something that nobody expected did.
        """
        with self._changed:
            if self._failure is not None:
                raise self._failure
            standing = standing_answers(self._entries)
            hidden = {given.query.id for given in standing}
            known = self._state
            return DeskState(
                tuple(query for query in self._upcoming if query.id not in hidden),
                len(standing),
                bool(standing) and time.time() - standing[0].answered_at > _USUAL_SECONDS,
                known.trouble,
                known.refused if time.monotonic() < self._refused_until else None,
                known.progress,
                None if self._posted_at is None else max(time.time() - self._posted_at, 0.0),
                known.fetched,
            )

    def give(self, query: Query, verdict: Verdict, reasons: Sequence[str], shown_at: float) -> None:
        """Answer a query, now; `carry_on` has it stored."""
        given = Given(query, verdict, tuple(reasons), shown_at, time.time())
        with self._changed:
            self._entries.append(given)

    def take_back(self) -> None:
        """Take back the latest answer that stands, so that its query comes first again; `carry_on` has it done."""
        with self._changed:
            standing = standing_answers(self._entries)
            self._entries.append(TakenBack(standing[-1] if standing else None))

    def somebody_is_there(self) -> None:
        """To be told whenever the person does anything: for someone who has gone, no queries are kept from others."""
        with self._changed:
            gone = time.monotonic() - self._active_at > self._session.lease_seconds
            self._active_at = time.monotonic()
            if gone:
                self._fetch_at = 0.0
                self._changed.notify()

    def carry_on(self) -> None:
        """Wake the thread if there is something to carry out.

        Storing costs Python about as long as drawing the next question; what is seen goes first.
        """
        with self._changed:
            if self._entries and self._state.trouble is None:
                self._changed.notify()

    def close(self, patience: float = 12.0) -> int:
        """Store what is not stored yet, as far as the store can; how many answers could not be."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience)
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
                if self._closing and self._state.trouble is not None:
                    return
                if pause > 0 and not self._closing and (self._state.trouble is not None or not self._entries):
                    self._changed.wait(pause)

    def _leave(self) -> None:
        """Let others have what was kept ready here, but not what has an answer that could not be stored."""
        with self._changed:
            unsaved = [given.query.id for given in standing_answers(self._entries) if given.query.id is not None]
        with suppress(StoreError):
            self._session.leave(keeping=unsaved)

    def _attempt(self, entry: Given | TakenBack | None) -> float:
        """Do what comes next; how many seconds nothing needs to be done then."""
        try:
            if entry is not None:
                self._carry_out(entry)
                return 0.0
            self._fetch()
            self._look()
        except StoreError as trouble:
            self._know(trouble=str(trouble))
            return _RETRY_SECONDS
        self._know(trouble=None)
        return min(self._fetch_at, self._look_at) - time.monotonic()

    def _carry_out(self, entry: Given | TakenBack) -> None:
        first: int | None = None
        refused = False
        if isinstance(entry, Given):
            try:
                self._store(entry)
            except AnswerRefusedError as refusal:
                refused = True
                self._know(refused=str(refusal))
                self._refused_until = time.monotonic() + _MESSAGE_SECONDS
        else:
            undone = self._session.undo(entry.token)
            first = None if undone is None else undone.query_id
        with self._changed:
            self._entries.popleft()
            if refused:
                # Without its answer, taking it back would hit an earlier one.
                kept = [other for other in self._entries if not (isinstance(other, TakenBack) and other.given is entry)]
                self._entries = deque(kept)
            taken_back = any(isinstance(other, TakenBack) and other.given is entry for other in self._entries)
            if isinstance(entry, Given) and not taken_back:
                self._upcoming = [query for query in self._upcoming if query.id != entry.query.id]
            self._fetch_at = self._look_at = 0.0
            self._state = replace(self._state, trouble=None)
            self._first = first

    def _store(self, given: Given) -> None:
        if given.query.id is None:
            raise ValueError(f"Query {given.query.key!r} was never asked, so it has no number to answer to.")
        self._session.answer(
            given.query.id,
            given.verdict.choice,
            reasons=given.reasons,
            shown_at=given.shown_at,
            answered_at=given.answered_at,
            payload=given.verdict.payload,
            token=given.token,
        )

    def _fetch(self) -> None:
        """Look for queries: often while there are none, and often enough to keep the leases of those there are."""
        now = time.monotonic()
        if now < self._fetch_at:
            return
        if self._upcoming and now - self._active_at > self._session.lease_seconds:
            self._fetch_at = now + _PROGRESS_SECONDS
            return
        fresh = self._session.upcoming()
        with self._changed:
            self._upcoming = merged(self._upcoming, fresh, self._first)
            self._first = None
            self._state = replace(self._state, fetched=True)
        full = len(fresh) >= self._session.ahead
        wait = self._session.lease_seconds / 3 if full else _PROGRESS_SECONDS if fresh else POLL_SECONDS
        self._fetch_at = now + min(wait, self._session.lease_seconds / 3)

    def _look(self) -> None:
        """Look how far things are."""
        now = time.monotonic()
        if now < self._look_at:
            return
        progress = self._session.progress()
        notice = self._session.store.statuses().get(TRAINING)
        self._look_at = now + _PROGRESS_SECONDS
        with self._changed:
            self._posted_at = None if notice is None else notice.posted_at
        self._know(progress=progress)

    def _know(self, **news: Any) -> None:
        with self._changed:
            self._state = replace(self._state, **news)
