"""How queries are handed to annotators.

They are leased to those who take them, so that no two annotators answer the same one by accident. A lease that has
ended stays in its table as the record of who was asked: only they may answer.

However many queries and answers there are, a look at those that are open suffices, and of these at the ones that an
annotator has not passed yet: the table `passed` says up to which id everything that anybody may answer is closed, or
answered by them. What closes again after that is marked (`queries.reopened`) and looked at besides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Float,
    Integer,
    Row,
    Select,
    String,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    update,
)
from sqlalchemy import select as sql_select

from rlhf_envs.feedback.store import rows
from rlhf_envs.feedback.store.schema import ENDED, answers, is_live, is_open, leases, passed, queries, was_reopened
from rlhf_envs.queries import Purpose

LONGEST_LEASE = 86_400

_FIRST_PAGE = 64
_LARGEST_PAGE = 4_096
_WORTH_NOTING = 32
"""A place that was reached is written down when it lies so many queries behind the one from before."""

# Statements that every take needs are built once, because building one takes longer than running it.
_annotator: BindParameter[str] = bindparam("annotator", type_=String)
_now = bindparam("now", type_=Float)
_after: BindParameter[int] = bindparam("after", type_=Integer)
_purposes: BindParameter[str] = bindparam("purposes", expanding=True)
_kinds: BindParameter[str] = bindparam("kinds", expanding=True)
_query_ids: BindParameter[int] = bindparam("query_ids", expanding=True)

_theirs = answers.alias()
_answered_by_them = exists().where(
    _theirs.c.query_id == queries.c.id, _theirs.c.annotator == _annotator, is_live(_theirs)
)
# Others than these leases were given by a clock that was far ahead.
_in_force = and_(leases.c.expires_at > _now, leases.c.expires_at <= _now + 2 * LONGEST_LEASE)
_leased_to_others = (
    sql_select(func.count())
    .select_from(leases)
    .where(leases.c.query_id == queries.c.id, leases.c.annotator != _annotator, _in_force)
    .scalar_subquery()
)
_held_until = (
    sql_select(leases.c.expires_at)
    .where(leases.c.query_id == queries.c.id, leases.c.annotator == _annotator, _in_force)
    .scalar_subquery()
)
_free = and_(~_answered_by_them, queries.c.given + _leased_to_others < queries.c.wanted)


def _in_order(*condition: Any) -> Select[Any]:
    return (
        sql_select(queries.c.id, _held_until.label("held_until"))
        .where(is_open, queries.c.purpose.in_(_purposes), *condition)
        .order_by(queries.c.id)
        .limit(bindparam("limit", type_=Integer))
    )


_undone = sql_select(answers.c.query_id).where(answers.c.annotator == _annotator, answers.c.undoes.is_not(None))
_TAKEN_BACK = (
    _in_order(queries.c.id.in_(_undone), _free).order_by(None).order_by(queries.c.only_for.is_(None), queries.c.id)
)
_FOR_THEM_ALONE = _in_order(queries.c.only_for.is_not(None), queries.c.only_for == _annotator, _free)
# Not "only_for IS NULL", with which SQLite may look through all that are open instead of the few that were reopened.
_REOPENED = _in_order(was_reopened, func.coalesce(queries.c.only_for, "") == "", queries.c.id <= _after, _free)
_FOR_ANYBODY = _in_order(queries.c.only_for.is_(None), queries.c.id > _after).add_columns(
    _answered_by_them.label("answered"), _free.label("free")
)
_STILL_FREE = sql_select(func.count()).select_from(queries).where(queries.c.id.in_(_query_ids), is_open, _free)
_PASSED = sql_select(passed.c.query_id).where(
    passed.c.annotator == _annotator, passed.c.selection == bindparam("selection")
)
_NEWEST_QUERY = sql_select(func.max(queries.c.id))
_REMOVE_LEASE = delete(leases).where(leases.c.query_id == bindparam("query"), leases.c.annotator == _annotator)
_END_LEASE = (
    update(leases)
    .where(leases.c.query_id == bindparam("query"), leases.c.annotator == bindparam("holder"))
    .values(expires_at=ENDED)
)


@dataclass(frozen=True)
class Wanted:
    """What an annotator would take.

    Attributes:
        annotator: who.
        limit: how many queries at most.
        purposes, kinds: only queries of these; of all kinds where None.
        now: seconds since the epoch.
    """

    annotator: str
    limit: int
    purposes: tuple[Purpose, ...]
    kinds: tuple[str, ...] | None
    now: float

    @property
    def selection(self) -> str:
        """Names the queries that may be taken, among those of the store."""
        kinds = "*" if self.kinds is None else ",".join(sorted(self.kinds))
        return f"{','.join(sorted(self.purposes))}/{kinds}"


@dataclass(frozen=True)
class Found:
    """What an annotator can take.

    Attributes:
        ids: of the queries, in the order in which to show them.
        held_until: when the first of their leases on these ends; 0 where they do not hold all of them.
        passed, reached: up to which query they had nothing more to take before, and now.
    """

    ids: tuple[int, ...]
    held_until: float
    passed: int
    reached: int

    def is_held_until(self, time: float) -> bool:
        """Whether nothing has to be written for them to have these queries until then."""
        return self.held_until >= time and self.reached < self.passed + _WORTH_NOTING


def select(connection: Connection, wanted: Wanted) -> Found:
    """What an annotator can take at this moment: first those whose answer they took back, then those for them alone."""
    values = {
        "annotator": wanted.annotator,
        "now": wanted.now,
        "limit": wanted.limit,
        "purposes": [purpose.value for purpose in wanted.purposes],
    }
    if wanted.kinds is not None:
        values["kinds"] = list(wanted.kinds)

    def fetch(statement: Select[Any], **more: Any) -> Sequence[Row[Any]]:
        if wanted.kinds is not None:
            statement = statement.where(queries.c.kind.in_(_kinds))
        return connection.execute(statement, values | more).all()

    place = {"annotator": wanted.annotator, "selection": wanted.selection}
    before = rows.whole_number(connection.execute(_PASSED, place).scalar() or 0, "place that an annotator has reached")
    taken = {row.id: row for row in fetch(_TAKEN_BACK)}
    taken |= {row.id: row for row in fetch(_FOR_THEM_ALONE) if row.id not in taken}
    for_anybody = list(fetch(_REOPENED, after=before))
    reached = after = before
    page = max(_FIRST_PAGE, 2 * wanted.limit)
    passing = True
    while len(for_anybody) < wanted.limit + len(taken):
        found = fetch(_FOR_ANYBODY, after=after, limit=page)
        for row in found:
            passing = passing and row.answered
            if passing:
                reached = row.id
            if row.free:
                for_anybody.append(row)
        if len(found) < page:
            if passing:
                reached = connection.execute(_NEWEST_QUERY).scalar() or 0
            break
        after = found[-1].id
        page = min(2 * page, _LARGEST_PAGE)
    taken |= {row.id: row for row in sorted(for_anybody, key=lambda row: row.id) if row.id not in taken}
    first = list(taken.values())[: wanted.limit]
    held_until = min((row.held_until or 0.0 for row in first), default=float("inf"))
    return Found(tuple(row.id for row in first), held_until, before, reached)


def take(connection: Connection, wanted: Wanted, found: Found | None, expires_at: float) -> Found:
    """Lease queries to an annotator.

    Args:
        connection: in whose transaction nobody else writes.
        wanted: what they would take.
        found: what `select` gave before nobody else could write any more; None to look now.
        expires_at: until when they have them.
    """
    if found is None or not _are_free(connection, wanted, found.ids):
        found = select(connection, wanted)
    if found.is_held_until((wanted.now + expires_at) / 2):
        return found
    lease(connection, wanted.annotator, found.ids, expires_at)
    if found.reached >= found.passed + _WORTH_NOTING:
        place = {"annotator": wanted.annotator, "selection": wanted.selection}
        connection.execute(
            delete(passed).where(passed.c.annotator == wanted.annotator, passed.c.selection == wanted.selection)
        )
        connection.execute(insert(passed), place | {"query_id": found.reached})
    return found


def _are_free(connection: Connection, wanted: Wanted, ids: Collection[int]) -> bool:
    values = {"query_ids": ids, "annotator": wanted.annotator, "now": wanted.now}
    return not ids or connection.execute(_STILL_FREE, values).scalar() == len(ids)


def lease(connection: Connection, annotator: str, query_ids: Sequence[int], expires_at: float) -> None:
    """Keep these queries for an annotator, in place of any lease they have on them already."""
    if query_ids:
        connection.execute(_REMOVE_LEASE, [{"query": id, "annotator": annotator} for id in query_ids])
        rows = [{"query_id": id, "annotator": annotator, "expires_at": expires_at} for id in query_ids]
        connection.execute(insert(leases), rows)


def end_leases(connection: Connection, held: Sequence[tuple[int, str]]) -> None:
    """End leases, given as (query, annotator)."""
    if held:
        connection.execute(_END_LEASE, [{"query": id, "holder": annotator} for id, annotator in held])
