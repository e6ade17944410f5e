"""How queries, segments and answers come out of the store."""

from __future__ import annotations

import functools
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, func, select

from rlhf_envs.feedback.store.asking import content_digest
from rlhf_envs.feedback.store.errors import StoreDamagedError
from rlhf_envs.feedback.store.schema import answers, is_live, queries, query_segments, segments
from rlhf_envs.queries import DEMONSTRATOR, Answer, Choice, LiveAnswer, Purpose, Query, QueryCounts, Tally
from rlhf_envs.segments import Segment

_NO_END = 2**31 - 1  # the largest id that PostgreSQL's INTEGER holds
_MOST_VALUES = 10_000  # SQLite takes at most 32,766 values in one statement


class SegmentCache:
    """The segments that were read last, up to a size, to be read again for free; safe to share between threads.

    Args:
        most_bytes: how much stored content they may have together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._segments: OrderedDict[int, tuple[Segment, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, ids: Iterable[int]) -> dict[int, Segment]:
        """Those of these segments that are here."""
        with self._lock:
            found = {id: self._segments[id][0] for id in ids if id in self._segments}
            for id in found:
                self._segments.move_to_end(id)
            return found

    def put(self, id: int, segment: Segment, size: int) -> None:
        """Add a segment of `size` stored bytes, and drop those unused for longest."""
        with self._lock:
            if id in self._segments:
                return
            self._segments[id] = (segment, size)
            self._bytes += size
            while self._bytes > self._most_bytes:
                _, (_, freed) = self._segments.popitem(last=False)
                self._bytes -= freed


def load_queries(connection: Connection, wanted: Select[Any], cache: SegmentCache) -> list[Query]:
    """The queries whose ids a SELECT gives, oldest first, with their segments."""
    rows = connection.execute(select(queries).where(queries.c.id.in_(wanted)).order_by(queries.c.id)).all()
    return _with_segments(connection, rows, _segment_ids(connection, wanted), cache)


def load_queries_by_id(connection: Connection, ids: Sequence[int], cache: SegmentCache) -> list[Query]:
    """The queries with these ids, in this order, with their segments; those that the store does not have are left out.

    Every annotator asks this all the time, so its statements are built once.
    """
    rows = {row.id: row for row in connection.execute(_queries_by_id(), {"ids": ids})}
    shown = _positions(connection.execute(_segments_by_query_id(), {"ids": ids}))
    return _with_segments(connection, [rows[id] for id in ids if id in rows], shown, cache)


@functools.cache
def _queries_by_id() -> Select[Any]:
    return select(queries).where(queries.c.id.in_(bindparam("ids", expanding=True)))


@functools.cache
def _segments_by_query_id() -> Select[Any]:
    return (
        select(query_segments.c.query_id, query_segments.c.segment_id)
        .where(query_segments.c.query_id.in_(bindparam("ids", expanding=True)))
        .order_by(query_segments.c.query_id, query_segments.c.position)
    )


def _with_segments(
    connection: Connection, rows: Sequence[Row[Any]], shown: Mapping[int, tuple[int, ...]], cache: SegmentCache
) -> list[Query]:
    loaded = load_segments(connection, {id for ids in shown.values() for id in ids}, cache)
    return [
        Query(
            key=row.key,
            round=row.round,
            segments=tuple(loaded[id] for id in shown[row.id]),
            kind=row.kind,
            purpose=Purpose(row.purpose),
            context=row.context,
            only_for=row.only_for,
            id=row.id,
            segment_ids=shown[row.id],
        )
        for row in rows
    ]


def load_segments(connection: Connection, ids: Iterable[int], cache: SegmentCache) -> dict[int, Segment]:
    """Segments by id; those that the store does not have are left out.

    Raises:
        StoreDamagedError: if stored bytes are not those that were written.
    """
    ids = list(dict.fromkeys(ids))
    loaded = cache.get(ids)
    missing = [id for id in ids if id not in loaded]
    for start in range(0, len(missing), _MOST_VALUES):
        some = missing[start : start + _MOST_VALUES]
        for row in connection.execute(select(segments).where(segments.c.id.in_(some))):
            if content_digest(row.content) != row.digest:
                raise StoreDamagedError(f"Segment {row.id} of the feedback store is damaged; restore it from a copy.")
            loaded[row.id] = Segment.from_bytes(row.content)
            cache.put(row.id, loaded[row.id], len(row.content))
    return loaded


def load_answers_since(connection: Connection, cursor: int, up_to_round: int | None) -> list[Answer]:
    """Rows after the cursor, in order, and with `up_to_round` only those before the first answer to a later round."""
    end = None
    if up_to_round is not None:
        limits = {"cursor": cursor, "round": up_to_round}
        end = connection.execute(_first_answer_to_a_later_round(), limits).scalar()
    between = {"cursor": cursor, "end": _NO_END if end is None else end}
    return [_answer(row) for row in connection.execute(_answers_between(), between)]


@functools.cache
def _answers_between() -> Select[Any]:
    """Rows after `:cursor` and before `:end`. A run asks this after every rollout, so it is built once."""
    after, before = answers.c.id > bindparam("cursor"), answers.c.id < bindparam("end")
    return select(answers).where(after, before).order_by(answers.c.id)


@functools.cache
def _first_answer_to_a_later_round() -> Select[Any]:
    """The first row after `:cursor` that belongs to a round after `:round`."""
    return (
        select(func.min(answers.c.id))
        .join(queries, queries.c.id == answers.c.query_id)
        .where(answers.c.id > bindparam("cursor"), queries.c.round > bindparam("round"))
    )


def load_answer(connection: Connection, id: int) -> Answer:
    """One row of the answers."""
    return _answer(connection.execute(select(answers).where(answers.c.id == id)).one())


def load_live_answers(
    connection: Connection, purpose: Purpose | None, as_of: int | None, annotator: str | None
) -> list[LiveAnswer]:
    """Answers that were not taken back, in the order of arrival."""
    given = (
        select(answers, queries.c.round, queries.c.kind, queries.c.purpose, queries.c.context)
        .join(queries, queries.c.id == answers.c.query_id)
        .where(is_live(answers, as_of))
        .order_by(answers.c.id)
    )
    if purpose is not None:
        given = given.where(queries.c.purpose == purpose.value)
    of_queries = select(answers.c.query_id).where(is_live(answers, as_of))
    if annotator is not None:
        given = given.where(answers.c.annotator == annotator)
        of_queries = of_queries.where(answers.c.annotator == annotator)
    shown = _segment_ids(connection, of_queries)
    return [
        LiveAnswer(
            answer_id=row.id,
            query_id=row.query_id,
            annotator=row.annotator,
            choice=None if row.choice is None else Choice(row.choice),
            payload=row.payload,
            segment_ids=shown[row.query_id],
            round=row.round,
            kind=row.kind,
            purpose=Purpose(row.purpose),
            context=row.context,
            reasons=tuple(row.reasons),
            shown_at=row.shown_at,
            answered_at=row.answered_at,
        )
        for row in connection.execute(given)
    ]


def load_tally(connection: Connection, annotator: str, latest: int, purposes: Collection[Purpose]) -> Tally:
    """How many answers of an annotator to queries of these purposes stand, and the times of the latest of them."""
    asked = select(queries.c.id).where(queries.c.purpose.in_([purpose.value for purpose in purposes]))
    theirs = and_(answers.c.annotator == annotator, is_live(answers), answers.c.query_id.in_(asked))
    given = connection.execute(select(func.count()).select_from(answers).where(theirs)).scalar_one()
    times = connection.execute(
        select(answers.c.shown_at, answers.c.answered_at).where(theirs).order_by(answers.c.id.desc()).limit(latest)
    )
    return Tally(given, tuple((row.shown_at, row.answered_at) for row in times))


def count_queries(connection: Connection) -> dict[Purpose, QueryCounts]:
    """How far the queries of each purpose have come."""
    taught = func.coalesce(func.sum(case((answers.c.choice == Choice.SKIP.value, 0), else_=1)), 0)
    given = (
        select(answers.c.query_id, func.count().label("given"), taught.label("taught"))
        .where(is_live(answers))
        .group_by(answers.c.query_id)
        .subquery()
    )
    answers_given = func.coalesce(given.c.given, 0)
    state = case((answers_given < queries.c.wanted, "open"), (given.c.taught > 0, "answered"), else_="skipped")
    of_people = case((queries.c.only_for == DEMONSTRATOR, 0), else_=queries.c.wanted)
    rows = connection.execute(
        select(queries.c.purpose, state.label("state"), func.count(), func.sum(of_people))
        .outerjoin(given, given.c.query_id == queries.c.id)
        .group_by(queries.c.purpose, "state")
    )
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for purpose, name, number, wanted in rows:
        counted[purpose] += Counter({name: number, "asked": number, "wanted": wanted})
    return {purpose: QueryCounts(**counted[purpose]) for purpose in Purpose}


def _segment_ids(connection: Connection, query_ids: Select[Any]) -> dict[int, tuple[int, ...]]:
    return _positions(
        connection.execute(
            select(query_segments.c.query_id, query_segments.c.segment_id)
            .where(query_segments.c.query_id.in_(query_ids))
            .order_by(query_segments.c.query_id, query_segments.c.position)
        )
    )


def _positions(rows: Iterable[Row[Any]]) -> dict[int, tuple[int, ...]]:
    """The segments of each query, from rows in the order of their positions."""
    shown: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        shown[row.query_id].append(row.segment_id)
    return {query_id: tuple(ids) for query_id, ids in shown.items()}


def _answer(row: Row[Any]) -> Answer:
    return Answer(
        id=row.id,
        query_id=row.query_id,
        annotator=row.annotator,
        choice=None if row.choice is None else Choice(row.choice),
        undoes=row.undoes,
        reasons=tuple(row.reasons),
        shown_at=row.shown_at,
        answered_at=row.answered_at,
        payload=row.payload,
    )
