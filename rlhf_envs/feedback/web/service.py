"""What the server does for annotators: one session each on one store, films of what they see, writes in batches."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, or_, select

from rlhf_envs.feedback.guidance import guidance
from rlhf_envs.feedback.session import AnnotatorSession
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.errors import AnswerRefusedError, StoreError
from rlhf_envs.feedback.store.schema import answers, leases, meta, queries
from rlhf_envs.feedback.web.clips import ClipWording, FilmCache
from rlhf_envs.feedback.web.corrections import Frame, TakenOver, WebCorrections
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import Correction, Purpose, Query, Submission
from rlhf_envs.segments import Segment

AHEAD = 4
"""Queries leased to an annotator: the one on screen, and three whose films are loaded already."""

_MOST_REMEMBERED = 5000
_USUAL_RATE = 15.0
_LARGEST_BATCH = 100

_Result = TypeVar("_Result")


class LabellingService:
    """Serves the queue of a store to any number of annotators. To be used from one event loop.

    Args:
        store: where queries and answers meet.
        films: makes the films.
        repeat_rate, purposes: see `AnnotatorSession`. New annotators practise where the purposes include training.

    Raises:
        ValueError: if the repeat rate is not a share.
    """

    def __init__(
        self, store: PreferenceStore, films: FilmCache, repeat_rate: float, purposes: Collection[Purpose]
    ) -> None:
        AnnotatorSession(store, "anybody", repeat_rate=repeat_rate)  # refuses a rate that makes no sense at once
        self.store = store
        self.films = films
        self.repeat_rate = repeat_rate
        self.purposes = frozenset(purposes)
        self.guidance = guidance(store.environment)
        self._wording = ClipWording(store.environment.ref)
        self.corrections = WebCorrections(store.environment)
        self.identity = store_identity(store)
        self.thread = StoreThread(store)
        self._sessions: dict[str, AnnotatorSession] = {}
        self._queries: OrderedDict[int, Query] = OrderedDict()
        self._shown: OrderedDict[tuple[str, int], bool] = OrderedDict()
        self._here: dict[str, float] = {}
        self._have_read: set[str] = set()

    def close(self) -> None:
        """Finish what is in work."""
        self.thread.close()
        self.films.close()
        self.corrections.close()

    async def session(self, annotator: str) -> AnnotatorSession:
        """An annotator's session; what it does is to be run in `thread`."""
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
            # Not in the store's thread, where all annotators would wait for it.
            await asyncio.to_thread(session.prepare)
            session = self._sessions.setdefault(annotator, session)
        return session

    async def upcoming(
        self, annotator: str, theme: str, kinds: Collection[str] | None, showing: int | None = None
    ) -> list[Query]:
        """The next queries for an annotator, the first one now; making their films begins.

        Args:
            annotator: who asks.
            theme: "light" or "dark", for the films.
            kinds: the kinds of query that the annotator's page can show; None for all.
            showing: the id of the query on their page, if any.

        Raises:
            StoreError: if the store cannot do it.
        """
        session = await self.session(annotator)
        shown = await self.thread.run(NextQueries(session, None if kinds is None else tuple(kinds), showing))
        if shown:
            self._have_read.discard(annotator)
        if annotator not in self._have_read:
            self._here[annotator] = time.monotonic()
        for query in shown:
            _remember(self._queries, query.id, replace(query, segments=()))
            _remember(self._shown, (annotator, query.id), True)
            for segment_id, segment in zip(query.segment_ids, query.segments, strict=True):
                self.films.film(str(segment_id), partial(_itself, segment), theme)
        return shown

    async def is_new(self, annotator: str) -> bool:
        """Whether an annotator has answered nothing yet."""
        session = await self.session(annotator)
        return await asyncio.to_thread(session.is_new)

    async def summary(self, annotator: str) -> list[tuple[str, str]]:
        """What an annotator reads at the end; after that they need the server no more."""
        session = await self.session(annotator)
        lines = await asyncio.to_thread(session.summary)
        self._have_read.add(annotator)
        self._here.pop(annotator, None)
        return list(lines)

    def somebody_is_here(self, seconds: float) -> bool:
        """Whether the page of somebody who has not read the end has asked for queries within so many seconds."""
        since = time.monotonic() - seconds
        return any(at >= since for at in list(self._here.values()))

    async def described(self, query: Query) -> list[str]:
        """What happens in each clip of a query, in words."""
        return await asyncio.to_thread(lambda: [self._wording.describe(segment) for segment in query.segments])

    async def frames_per_second(self) -> float:
        """The rate of every film."""
        try:
            return await asyncio.to_thread(lambda: self.films.frames_per_second)
        except Exception:  # whatever a simulator raises; the request for the film says why
            return _USUAL_RATE

    async def answer(self, submission: Submission) -> int:
        """Store an answer and return its id; the same token again gives the same id.

        Raises:
            AnswerRefusedError: if there is no such query for this annotator, or the answer does not fit it.
            StoreError: if the store cannot be written.
        """
        session = await self.session(submission.annotator)
        query = await self._answerable(submission)
        id = await self.thread.answer(submission)
        if session.repeat_due(id):
            await self.thread.run(lambda: session.repeat_earlier(id))
        self.films.cancel(str(segment_id) for segment_id in query.segment_ids)
        return id

    async def correction_frame(
        self, annotator: str, query_id: int, position: int, step: int, held: Sequence[Sequence[str]], theme: str
    ) -> Frame:
        """What an annotator sees who has taken over a clip of a query that was shown to them.

        Args:
            annotator: who acts.
            query_id, position, step: which segment of which query, and from which of its steps on.
            held: the keys that were held in each step since then.
            theme: "light" or "dark".

        Raises:
            AnswerRefusedError: if it was not shown to them, or cannot be acted in so.
        """
        segment = await self._segment_shown(annotator, query_id, position)
        return await self.corrections.frame(TakenOver(segment, step, held), theme)

    async def correct(
        self,
        annotator: str,
        query_id: int,
        position: int,
        step: int,
        held: Sequence[Sequence[str]],
        shown_at: float | None,
        answered_at: float | None,
        token: str,
    ) -> Query:
        """Store a correction; the comparison that it became. The same token again gives the same one.

        Args:
            annotator, query_id, position, step, held: as in `correction_frame`.
            shown_at, answered_at, token: as in `Correction`.

        Raises:
            AnswerRefusedError: as `correction_frame`, or if steps remain to be done.
            StoreError: if the store cannot be written.
        """
        original = await self._segment_shown(annotator, query_id, position)
        segment = await self.corrections.segment(TakenOver(original, step, held))
        session = await self.session(annotator)
        made = Correction(query_id, position, step, segment, shown_at, answered_at, token)
        try:
            id, _ = await self.thread.run(lambda: session.correct(made))
        except ValueError as error:
            raise AnswerRefusedError(str(error)) from error
        return await asyncio.to_thread(self.store.query, id)

    async def _segment_shown(self, annotator: str, query_id: int, position: int) -> Segment:
        """A segment of a query that was shown to this annotator and can be corrected."""
        if not await self._was_shown(annotator, query_id):
            raise AnswerRefusedError(f"There is no query {query_id} for {annotator} to correct.")
        query = await asyncio.to_thread(self.store.query, query_id)
        if position >= len(query.segments) or not await self.corrections.can_correct(query):
            raise AnswerRefusedError(f"Query {query_id} has no clip {position} that could be corrected.")
        return query.segments[position]

    async def _was_shown(self, annotator: str, query_id: int) -> bool:
        if (annotator, query_id) not in self._shown:
            read = self.store.database.read
            if not await asyncio.to_thread(read, lambda connection: _was_shown(connection, annotator, query_id)):
                return False
            _remember(self._shown, (annotator, query_id), True)
        return True

    async def film(self, annotator: str, query_id: int, position: int, theme: str) -> Path:
        """Where the film of a segment is, for an annotator to whom its query was shown.

        Raises:
            KeyError: if it was not, or there is no such query or position.
            ValueError, RuntimeError: if it cannot be drawn.
            StoreError: if the store cannot be read.
        """
        if not await self._was_shown(annotator, query_id):
            raise KeyError(query_id)
        return await self.film_of(query_id, position, theme)

    async def film_of(self, query_id: int, position: int, theme: str) -> Path:
        """Where the film of a segment is, for whoever may see all of them; raises as `film`."""
        query = await self._query(query_id)
        if position >= len(query.segment_ids):
            raise KeyError(query_id)
        segment_id = query.segment_ids[position]
        while True:
            film = self.films.film(str(segment_id), partial(self.store.segment, segment_id), theme)
            try:
                return await asyncio.wrap_future(film)
            except asyncio.CancelledError:
                if not film.cancelled():
                    raise
                # Another annotator who answered needed the film no more; this one does, so it is ordered again.

    async def _query(self, query_id: int) -> Query:
        """A query without its segments; many are remembered."""
        query = self._queries.get(query_id)
        if query is None:
            query = replace(await asyncio.to_thread(self.store.query, query_id), segments=())
            _remember(self._queries, query_id, query)
        return query

    async def _answerable(self, submission: Submission) -> Query:
        """The answer's query; refuses answers that the page never sends."""
        query_id = submission.query_id
        try:
            query = await self._query(query_id)
        except KeyError:
            raise AnswerRefusedError(f"There is no query {query_id} in this store to answer.") from None
        allowed = {*self.purposes, Purpose.PRACTICE}
        if query.only_for not in (None, submission.annotator) or query.purpose not in allowed:
            raise AnswerRefusedError(f"There is no query {query_id} for {submission.annotator} to answer.")
        kind = KINDS.get(query.kind)
        strange = set(submission.payload or ()) - set(() if kind is None else kind.columns)
        if strange:
            raise AnswerRefusedError(f"{sorted(strange)[0]!r} is no part of an answer to a {query.kind}.")
        unknown = set(submission.reasons) - set(self.guidance.reasons)
        if unknown:
            raise AnswerRefusedError(f"{sorted(unknown)[0]!r} is not among the reasons to choose from.")
        return query


def store_identity(store: PreferenceStore) -> str:
    """Names a store, 16 hex digits: it distinguishes one run's store from another's at the same address."""
    created = select(meta.c.value).where(meta.c.name == "created_at")
    facts = [store.database.read(lambda connection: connection.execute(created).scalar()), store.environment.to_json()]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class NextQueries:
    """Work of a `StoreThread` that finds the next queries of a session; see `AnnotatorSession.upcoming`."""

    session: AnnotatorSession
    kinds: tuple[str, ...] | None
    showing: int | None

    def __call__(self) -> list[Query]:
        """Find them for this session alone."""
        return self.session.upcoming(self.kinds, self.showing)


@dataclass
class _Waiting:
    work: Callable[[], Any] | Submission
    done: asyncio.Future[Any]


class StoreThread:
    """Runs work on a store in one thread, from one event loop.

    A transaction has to reach the disk before anything in it is acknowledged, which takes longer than most work. So
    everything that arrives during one transaction is done in the next, together. Nothing waits for another thread's
    lock, and where the store fails, all that share the transaction fail at once.

    Args:
        store: what is written to.
    """

    def __init__(self, store: PreferenceStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do some work, and return its result when what it wrote is on the disk.

        Raises:
            StoreError: if the store cannot do it; else what the work itself raises, and then it has left no trace.
        """
        result: _Result = await self._wait_for(work)
        return result

    async def answer(self, submission: Submission) -> int:
        """Store an answer, and return its id when it is on the disk. Those that arrive together are stored as one.

        Raises:
            StoreError: if the store cannot do it.
            ValueError: if this one makes no sense; the others are stored all the same.
        """
        return int(await self._wait_for(submission))

    def close(self) -> None:
        """Finish what is being written."""
        self._thread.shutdown(wait=True)

    async def _wait_for(self, work: Callable[[], Any] | Submission) -> Any:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(work, done))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await done

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
            try:
                results = await loop.run_in_executor(self._thread, self._do, [each.work for each in batch])
            except Exception as failure:
                results = [failure] * len(batch)
            for each, result in zip(batch, results, strict=True):
                if each.done.done():  # the client has disconnected
                    continue
                if isinstance(result, Exception):
                    each.done.set_exception(result)
                else:
                    each.done.set_result(result)

    def _do(self, batch: list[Callable[[], Any] | Submission]) -> list[Any]:
        """The result of each, or what it raised."""
        with self._store.database.together():
            ids = self._answer_all([work for work in batch if isinstance(work, Submission)])
            # Answers come first: the queries that are leased next are those which they have left open.
            taken = self._take_for_all([work for work in batch if isinstance(work, NextQueries)])
            results: list[Any] = []
            for work in batch:
                if isinstance(work, Submission):
                    results.append(next(ids))
                elif isinstance(work, NextQueries) and work in taken:
                    results.append(taken[work])
                else:
                    results.append(_outcome(work))
            return results

    def _take_for_all(self, asked: list[NextQueries]) -> dict[NextQueries, list[Query]]:
        """The next queries of those for whom they are found together, in as many statements as for one."""
        alike: dict[tuple[Any, ...], dict[str, NextQueries]] = {}
        for each in asked:
            session = each.session
            if session.is_in_queue:
                same = (session.ahead, session.purposes, each.kinds, session.lease_seconds)
                alike.setdefault(same, {}).setdefault(session.annotator, each)
        taken: dict[NextQueries, list[Query]] = {}
        for (ahead, purposes, kinds, lease_seconds), sessions in alike.items():
            if len(sessions) > 1:
                showing = {name: each.showing for name, each in sessions.items()}
                found = self._store.take_for_screens(
                    showing, ahead, purposes=purposes, kinds=kinds, lease_seconds=lease_seconds
                )
                taken |= {sessions[name]: queries for name, queries in found.items()}
        return taken

    def _answer_all(self, submissions: list[Submission]) -> Iterator[Any]:
        try:
            return iter(self._store.answer_many(submissions))
        except ValueError:  # one of them makes no sense, or repeats another's token
            return iter([_outcome(partial(self._answer_one, submission)) for submission in submissions])

    def _answer_one(self, submission: Submission) -> int:
        return self._store.answer_many([submission])[0]


def _outcome(work: Callable[[], Any]) -> Any:
    """What a piece of work returns, or what it raises, unless the store itself failed."""
    try:
        return work()
    except StoreError:
        raise
    except Exception as failure:
        return failure


def _was_shown(connection: Connection, annotator: str, query_id: int) -> bool:
    leased = select(leases.c.query_id).where(leases.c.query_id == query_id, leases.c.annotator == annotator)
    answered = select(answers.c.query_id).where(answers.c.query_id == query_id, answers.c.annotator == annotator)
    shown = select(queries.c.id).where(queries.c.id == query_id, or_(leased.exists(), answered.exists()))
    return connection.execute(shown).first() is not None


def _itself(segment: Segment) -> Segment:
    return segment


def _remember(recent: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Remember something, and forget what was not needed for longest."""
    recent[key] = value
    recent.move_to_end(key)
    while len(recent) > _MOST_REMEMBERED:
        recent.popitem(last=False)
