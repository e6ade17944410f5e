"""What annotators see and say over the page: one session each, practice first, on one store."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, or_, select

from rlhf_envs.feedback.guidance import guidance
from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.errors import AnswerRefusedError
from rlhf_envs.feedback.store.schema import answers, leases, meta, queries
from rlhf_envs.feedback.web.clips import ClipMaker
from rlhf_envs.feedback.web.messages import AnswerGiven, Practice, Question
from rlhf_envs.feedback.web.store_thread import StoreThread
from rlhf_envs.queries import Choice, Purpose, Query, Submission
from rlhf_envs.segments import Segment

AHEAD = 8
"""Queries kept for an annotator: the one on screen, three whose films are loaded already, and room to fetch more."""

_FILMS_AHEAD = 4
_REMEMBERED = 5000
_USUAL_RATE = 15.0

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class _Facts:
    """A query without its segments, small enough to remember many."""

    id: int
    kind: str
    purpose: Purpose
    only_for: str | None
    segment_ids: tuple[int, ...]
    steps: int


class Labelling:
    """Serves the queue of a store to any number of annotators. To be used from one event loop.

    Args:
        store: where queries and answers meet.
        clips: makes the films.
        repeat_rate, purposes: see `AnnotatorSession`. There is practice where the purposes include training.

    Raises:
        ValueError: if the repeat rate is not a share.
    """

    def __init__(
        self, store: PreferenceStore, clips: ClipMaker, repeat_rate: float, purposes: Collection[Purpose]
    ) -> None:
        AnnotatorSession(store, "anybody", repeat_rate=repeat_rate)  # refuses a rate that makes no sense at once
        self.store = store
        self.clips = clips
        self.repeat_rate = repeat_rate
        self.purposes = frozenset(purposes)
        self.guidance = guidance(store.environment)
        self.identity = store_identity(store)
        self._thread = StoreThread(store)
        self._sessions: dict[str, AnnotatorSession] = {}
        self._queries: OrderedDict[int, _Facts] = OrderedDict()
        self._given: OrderedDict[tuple[str, int], None] = OrderedDict()

    def close(self) -> None:
        """Finish what is in work."""
        self._thread.close()
        self.clips.close()

    async def upcoming(self, annotator: str, theme: str, kinds: Collection[str] | None = None) -> list[Question]:
        """The next queries for an annotator, the first one now; the making of their films begins.

        Args:
            annotator: who asks.
            theme: "light" or "dark", for the films.
            kinds: the kinds of query that the annotator's page can show; None for all.

        Raises:
            StoreError: if the store cannot do it.
        """
        session = await self._session(annotator)
        shown = await self._thread.run(lambda: session.upcoming(kinds))
        for number, query in enumerate(shown):
            facts = self._remember(query)
            _put(self._given, (annotator, facts.id), None)
            if number >= _FILMS_AHEAD:
                continue
            for segment_id, segment in zip(query.segment_ids, query.segments, strict=True):
                self.clips.film(str(segment_id), partial(_itself, segment), theme)
        rate = await asyncio.to_thread(self._rate)
        return [_question(query, rate) for query in shown]

    async def answer(self, annotator: str, given: AnswerGiven) -> int:
        """Store an answer and return its id; the same token again gives the same id.

        Raises:
            AnswerRefusedError: if there is no such query for this annotator, or the answer does not fit it.
            StoreError: if the store cannot be written.
        """
        session = await self._session(annotator)
        query = await self._answerable(annotator, given.query)
        self._check(query, given)
        submission = Submission(
            given.query,
            annotator,
            None if given.choice is None else Choice(given.choice),
            tuple(given.reasons),
            given.shown_at,
            given.answered_at,
            given.stored_payload(),
            given.token,
        )
        id = await self._thread.answer(submission)
        if session.repeat_due(id):
            await self._thread.run(lambda: session.repeat_earlier(id))
        self.clips.forget_unmade(str(segment_id) for segment_id in query.segment_ids)
        return id

    async def undo(self, annotator: str, token: str) -> int | None:
        """Take back the latest answer; the query that is open again, or None if there was nothing to take back.

        Raises:
            StoreError: if the store cannot be written.
        """
        session = await self._session(annotator)
        undone = await self._thread.run(lambda: session.undo(token))
        return None if undone is None else undone.query_id

    async def release(self, annotator: str, keeping: Collection[int]) -> int:
        """Let others have what is kept for an annotator; how many queries. See `PreferenceStore.release`.

        Raises:
            StoreError: if the store cannot be written.
        """
        session = await self._session(annotator)
        return await self._thread.run(lambda: session.leave(keeping))

    async def film(self, annotator: str, query_id: int, position: int, theme: str) -> Path:
        """Where the film of a segment is, for an annotator who was given its query.

        Raises:
            KeyError: if they were not, or there is no such query or position.
            ValueError, RuntimeError: if it cannot be drawn.
            StoreError: if the store cannot be read.
        """
        if (annotator, query_id) not in self._given:
            read = self.store.database.read
            if not await asyncio.to_thread(read, lambda found: _was_given(found, annotator, query_id)):
                raise KeyError(query_id)
            _put(self._given, (annotator, query_id), None)
        query = await self._facts(query_id)
        if position >= len(query.segment_ids):
            raise KeyError(query_id)
        segment_id = query.segment_ids[position]
        while True:
            made = self.clips.film(str(segment_id), partial(self.store.segment, segment_id), theme)
            try:
                return await asyncio.wrap_future(made)
            except asyncio.CancelledError:
                if not made.cancelled():
                    raise
                # Somebody who answered needed the film no more; this annotator does, so it is ordered again.

    async def _session(self, annotator: str) -> AnnotatorSession:
        session = self._sessions.get(annotator)
        if session is None:
            session = AnnotatorSession(
                self.store,
                annotator,
                purposes=self.purposes,
                ahead=AHEAD,
                repeat_rate=self.repeat_rate,
                practice=True,
            )
            # Not in the store's thread, where everybody would wait for it.
            await asyncio.to_thread(session.prepare)
            session = self._sessions.setdefault(annotator, session)
        return session

    async def _facts(self, query_id: int) -> _Facts:
        return self._queries.get(query_id) or self._remember(await asyncio.to_thread(self.store.query, query_id))

    def _rate(self) -> float:
        try:
            return self.clips.frames_per_second
        except Exception:  # whatever a simulator says when it cannot be made; the film's own request will tell it
            return _USUAL_RATE

    async def _answerable(self, annotator: str, query_id: int) -> _Facts:
        try:
            query = await self._facts(query_id)
        except KeyError:
            raise AnswerRefusedError(f"There is no query {query_id} in this store to answer.") from None
        if query.only_for not in (None, annotator) or query.purpose not in {*self.purposes, Purpose.PRACTICE}:
            raise AnswerRefusedError(f"There is no query {query_id} for {annotator} to answer.")
        return query

    def _check(self, query: _Facts, given: AnswerGiven) -> None:
        unknown = set(given.reasons) - set(self.guidance.reasons)
        if unknown:
            raise AnswerRefusedError(f"{sorted(unknown)[0]!r} is no reason that can be given here.")
        if given.choice is not None and given.payload is not None:
            raise AnswerRefusedError("An answer is a choice or a payload, not both.")

    def _remember(self, query: Query) -> _Facts:
        facts = _Facts(
            id=query.id or 0,
            kind=query.kind,
            purpose=query.purpose,
            only_for=query.only_for,
            segment_ids=query.segment_ids,
            steps=len(query.segments[0]),
        )
        _put(self._queries, facts.id, facts)
        return facts


def store_identity(store: PreferenceStore) -> str:
    """Names a store, 16 hex digits: it tells one run's store from that of another which stood at the same address."""
    founded = select(meta.c.value).where(meta.c.name == "created_at")
    facts = [store.database.read(lambda connection: connection.execute(founded).scalar()), dict(store.environment)]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()


def _was_given(connection: Connection, annotator: str, query_id: int) -> bool:
    leased = select(leases.c.query_id).where(leases.c.query_id == query_id, leases.c.annotator == annotator)
    answered = select(answers.c.query_id).where(answers.c.query_id == query_id, answers.c.annotator == annotator)
    given = select(queries.c.id).where(queries.c.id == query_id, or_(leased.exists(), answered.exists()))
    return connection.execute(given).first() is not None


def _itself(segment: Segment) -> Segment:
    return segment


def _put(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)


def _question(query: Query, rate: float) -> Question:
    known = query.context if query.purpose is Purpose.PRACTICE else None
    return Question(
        id=query.id or 0,
        kind=query.kind,
        clips=[f"/api/clips/{query.id}/{position}.mp4" for position in range(len(query.segments))],
        steps=len(query.segments[0]),
        frames_per_second=rate,
        practice=None if known is None else Practice(answer=known["answer"], because=str(known["because"])),
    )
