"""How queries, segments and answers come out of the store."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from operator import eq
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, case, func, or_, select

from rlhf_envs.feedback.store import rows
from rlhf_envs.feedback.store.asking import content_digest
from rlhf_envs.feedback.store.database import MOST_VALUES, batches
from rlhf_envs.feedback.store.schema import (
    annotators,
    answers,
    is_live,
    is_open,
    queries,
    query_segments,
    segments,
    tallies,
)
from rlhf_envs.queries import CORRECTION, DEMONSTRATOR, Answer, LiveAnswer, Purpose, Query, QueryCounts, look_of
from rlhf_envs.segments import Segment

_NO_END = 2**31 - 1  # the largest id that PostgreSQL's INTEGER holds

# Statements that runs and annotators need all the time are built once.
_ids: BindParameter[int] = bindparam("ids", expanding=True)
_QUERIES = select(queries).where(queries.c.id.in_(_ids))
_SHOWN = (
    select(query_segments.c.query_id, query_segments.c.segment_id)
    .where(query_segments.c.query_id.in_(_ids))
    .order_by(query_segments.c.query_id, query_segments.c.position)
)
_ANSWERS_BETWEEN = (
    select(answers).where(answers.c.id > bindparam("cursor"), answers.c.id < bindparam("end")).order_by(answers.c.id)
)
_FIRST_OF_A_LATER_ROUND = (
    select(func.min(answers.c.id))
    .join(queries, queries.c.id == answers.c.query_id)
    .where(answers.c.id > bindparam("cursor"), queries.c.round > bindparam("round"))
)

_LINKED = select(annotators.c.name)
_HAVE_ANSWERED = select(tallies.c.annotator).where(tallies.c.given > 0).distinct()


_CACHED_QUERIES = 10_000


class Cache:
    """The segments and queries that were read last, to be read again for free; safe to share between threads.

    Neither changes once it is stored.

    Args:
        most_bytes: how much memory the segments may take together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._segments: OrderedDict[int, tuple[Segment, int]] = OrderedDict()
        self._queries: OrderedDict[int, Query] = OrderedDict()
        self._lock = threading.Lock()

    def queries(self, ids: Iterable[int]) -> dict[int, Query]:
        """Those of these queries that are here, without their segments."""
        with self._lock:
            found = {id: self._queries[id] for id in ids if id in self._queries}
            for id in found:
                self._queries.move_to_end(id)
            return found

    def put_query(self, query: Query) -> None:
        """Add a query, whose segments are not kept with it, and drop those unused for longest."""
        with self._lock:
            self._queries[query.id or 0] = replace(query, segments=())
            while len(self._queries) > _CACHED_QUERIES:
                self._queries.popitem(last=False)

    def get(self, ids: Iterable[int]) -> dict[int, Segment]:
        """Those of these segments that are here."""
        with self._lock:
            found = {id: self._segments[id][0] for id in ids if id in self._segments}
            for id in found:
                self._segments.move_to_end(id)
            return found

    def put(self, id: int, segment: Segment, size: int) -> None:
        """Add a segment of `size` bytes, and drop those unused for longest."""
        with self._lock:
            if id in self._segments:
                return
            self._segments[id] = (segment, size)
            self._bytes += size
            while self._bytes > self._most_bytes:
                _, (_, freed) = self._segments.popitem(last=False)
                self._bytes -= freed


def load_queries(connection: Connection, ids: Sequence[int], cache: Cache) -> list[Query]:
    """The queries with these ids, in this order, with their segments; those that are not there are left out."""
    known = cache.queries(ids)
    found: dict[int, Row[Any]] = {}
    for some in batches((id for id in ids if id not in known), MOST_VALUES):
        found |= {row.id: row for row in connection.execute(_QUERIES, {"ids": some})}
    shown = load_shown(connection, found) | {id: query.segment_ids for id, query in known.items()}
    loaded = load_segments(connection, {id for segment_ids in shown.values() for id in segment_ids}, cache)
    for id, row in found.items():
        known[id] = rows.query(row, shown.get(id, ()), loaded)
        cache.put_query(known[id])
    return [rows.with_segments(known[id], loaded) for id in ids if id in known]


def load_shown(connection: Connection, query_ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """The ids of the segments that each of these queries shows, in screen order."""
    shown: dict[int, list[int]] = defaultdict(list)
    for some in batches(query_ids, MOST_VALUES):
        for query_id, segment_id in map(rows.shown_segment, connection.execute(_SHOWN, {"ids": some})):
            shown[query_id].append(segment_id)
    return {query_id: tuple(segment_ids) for query_id, segment_ids in shown.items()}


def load_segments(connection: Connection, ids: Iterable[int], cache: Cache) -> dict[int, Segment]:
    """Segments by id; those that the store does not have are left out.

    Raises:
        DamagedRowError: if stored bytes are not those that were written.
    """
    ids = list(dict.fromkeys(ids))
    loaded = cache.get(ids)
    for some in batches((id for id in ids if id not in loaded), MOST_VALUES):
        for row in connection.execute(select(segments).where(segments.c.id.in_(some))):
            loaded[row.id] = rows.segment(row, content_digest)
            cache.put(row.id, loaded[row.id], loaded[row.id].nbytes)
    return loaded


def load_answers_since(connection: Connection, cursor: int, up_to_round: int | None) -> list[Answer]:
    """Rows after the cursor, in order, and with `up_to_round` only those before the first answer to a later round."""
    end = None
    if up_to_round is not None:
        end = connection.execute(_FIRST_OF_A_LATER_ROUND, {"cursor": cursor, "round": up_to_round}).scalar()
    between = {"cursor": cursor, "end": _NO_END if end is None else end}
    return [rows.answer(row) for row in connection.execute(_ANSWERS_BETWEEN, between)]


def load_newest_answer(connection: Connection) -> int:
    """The id of the newest row of answers; 0 where there is none."""
    return connection.execute(select(func.max(answers.c.id))).scalar() or 0


def load_live_answers(
    connection: Connection,
    purpose: Purpose | None,
    as_of: int,
    annotator: str | None,
    after: int,
    limit: int,
) -> list[LiveAnswer]:
    """The first answers after a row that were not taken back before `as_of`, in the order of arrival."""
    given = (
        select(answers, queries.c.round, queries.c.kind, queries.c.purpose, queries.c.context)
        .join(queries, queries.c.id == answers.c.query_id)
        .where(answers.c.id > after, is_live(answers, as_of))
        .order_by(answers.c.id)
        .limit(limit)
    )
    if purpose is not None:
        given = given.where(queries.c.purpose == purpose.value)
    if annotator is not None:
        given = given.where(answers.c.annotator == annotator)
    found = connection.execute(given).all()
    shown = load_shown(connection, {row.query_id for row in found})
    return [rows.live_answer(row, shown.get(row.query_id, ())) for row in found]


def load_latest_answers(connection: Connection, purposes: Collection[Purpose], limit: int) -> list[LiveAnswer]:
    """The answers to queries of these purposes that stand and arrived last, the newest first."""
    given = (
        select(answers, queries.c.round, queries.c.kind, queries.c.purpose, queries.c.context)
        .join(queries, queries.c.id == answers.c.query_id)
        .where(is_live(answers), queries.c.purpose.in_([purpose.value for purpose in purposes]))
        .order_by(answers.c.id.desc())
        .limit(limit)
    )
    found = connection.execute(given).all()
    shown = load_shown(connection, {row.query_id for row in found})
    return [rows.live_answer(row, shown.get(row.query_id, ())) for row in found]


def sample_shown(connection: Connection, purposes: Collection[Purpose], most: int) -> list[int]:
    """The segments that answered queries of these purposes show, in the order in which they were asked about.

    Those of at most so many queries, evenly chosen among all.
    """
    place = func.row_number().over(order_by=queries.c.id) - 1
    answered = (
        select(queries.c.id, place.label("place"), func.count().over().label("all"))
        .where(queries.c.given > 0, queries.c.purpose.in_([purpose.value for purpose in purposes]))
        .subquery()
    )
    # Of n queries those at whose places floor(place * most / n) rises; all of them where n is no larger.
    step, before = (((answered.c.place + shift) * most) // answered.c.all for shift in (0, -1))
    chosen = select(answered.c.id).where(or_(answered.c.all <= most, answered.c.place == 0, step > before))
    ids = connection.execute(chosen.order_by(answered.c.id)).scalars().all()
    shown = load_shown(connection, ids)
    return list(dict.fromkeys(segment_id for id in ids for segment_id in shown.get(id, ())))


def look_alike(connection: Connection, name: str) -> str | None:
    """Another name, of somebody who has a link or has answered, that can be taken for this one; None without."""
    known = {*connection.execute(_LINKED).scalars(), *connection.execute(_HAVE_ANSWERED).scalars()} - {name}
    own = look_of(name)
    alike = (other for other in sorted(map(str, known)) if any(map(eq, look_of(other), own)))
    return next(alike, None)


def count_queries(connection: Connection) -> dict[Purpose, QueryCounts]:
    """How far the queries of each purpose have come."""
    state = case((is_open, "open"), (queries.c.given > queries.c.skipped, "answered"), else_="skipped")
    of_people = case((queries.c.only_for == DEMONSTRATOR, 0), else_=queries.c.wanted)
    correction = case((queries.c.key.like(f"{CORRECTION}%"), 1), else_=0)
    found = connection.execute(
        select(
            queries.c.purpose, state.label("state"), func.count(), func.sum(of_people), func.sum(correction)
        ).group_by(queries.c.purpose, "state")
    )
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for purpose, name, number, wanted, corrections in found:
        wanted = rows.whole_number(wanted, f"number of answers wanted to {purpose!r:.40} queries")
        counts = {name: number, "asked": number, "wanted": wanted}
        counted[purpose] += Counter(counts | {"corrections": corrections} if corrections else counts)
    return {purpose: QueryCounts(**counted[purpose]) for purpose in Purpose}
