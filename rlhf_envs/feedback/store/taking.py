"""How queries are handed to annotators.

They are leased to those who take them, so that no two annotators answer the same one by accident. A lease that has
ended stays in its table as the record of who was asked: only they may answer.

Screens take a few queries ahead, so that clips are ready when they are needed. Nobody waits for what others hold ahead:
where a screen would get nothing, it takes over one that another screen holds and does not show.

However many queries and answers there are, a look at those that are open suffices, and of these at the ones that an
annotator has not passed yet: the table `passed` says up to which id everything that anybody may answer is closed, or
answered by them. What closes again after that is marked (`queries.reopened`) and looked at besides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnClause,
    ColumnElement,
    CompoundSelect,
    Connection,
    Float,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    text,
    union_all,
    update,
)
from sqlalchemy import select as sql_select

from rlhf_envs.feedback.store import rows
from rlhf_envs.feedback.store.schema import (
    ENDED,
    answers,
    has_not_ended,
    is_live,
    is_open,
    leases,
    passed,
    queries,
    was_reopened,
)
from rlhf_envs.queries import Purpose

LONGEST_LEASE = 86_400

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
_others_leases = leases.alias()
_of_others = and_(
    _others_leases.c.annotator != _annotator,
    _others_leases.c.expires_at > literal_column(str(ENDED)),
    _others_leases.c.expires_at > _now,
    _others_leases.c.expires_at <= _now + 2 * LONGEST_LEASE,
)
_held_by_others = (
    sql_select(func.count()).where(_others_leases.c.query_id == queries.c.id, _of_others).scalar_subquery()
)
_is_free = queries.c.given + _held_by_others < queries.c.wanted
# Most queries at the front of the queue are held by somebody. Where one answer is wanted, a list of all that are held
# is looked into, which is made once; a join with it costs the product of both where the planner knows no statistics.
_one: ColumnClause[int] = literal_column("1")
_is_open_and_free = or_(
    and_(queries.c.wanted == _one, queries.c.id.not_in(sql_select(_others_leases.c.query_id).where(_of_others))),
    and_(queries.c.wanted > _one, _is_free),
)
_own_lease = and_(leases.c.query_id == queries.c.id, leases.c.annotator == _annotator, _in_force)
_held_until = sql_select(leases.c.expires_at).where(_own_lease).scalar_subquery()
_held_ahead = sql_select(leases.c.ahead).where(_own_lease).scalar_subquery()
_of_selection = (is_open, queries.c.purpose.in_(_purposes))
_of_kinds = queries.c.kind.in_(_kinds)
_passed = func.coalesce(
    sql_select(passed.c.query_id)
    .where(passed.c.annotator == _annotator, passed.c.selection == bindparam("selection", type_=String))
    .scalar_subquery(),
    0,
)
_FIRST_NOT_ANSWERED = (
    sql_select(queries.c.id, _passed.label("passed"))
    .where(*_of_selection, queries.c.only_for.is_(None), queries.c.id > _passed, ~_answered_by_them)
    .order_by(queries.c.id)
    .limit(1)
)
_WHERE_NONE_IS_LEFT = sql_select(func.max(queries.c.id).label("newest"), _passed.label("passed"))


def _free(rank: ColumnElement[Any], *condition: ColumnElement[bool], of_kinds: bool) -> Select[Any]:
    """The first queries of a condition that the annotator can have, by rank and then by id."""
    found = sql_select(
        queries.c.id, rank.label("rank"), _held_until.label("held_until"), _held_ahead.label("ahead")
    ).where(*_of_selection, *condition, _is_open_and_free, ~_answered_by_them)
    found = found.where(_of_kinds) if of_kinds else found
    # A rank that is the same for all is left out, with which SQLite would sort all of them first.
    order = (queries.c.id,) if isinstance(rank, ColumnClause) else (rank, queries.c.id)
    return sql_select(found.order_by(*order).limit(bindparam("limit", type_=Integer)).subquery())


_undone = sql_select(answers.c.query_id).where(answers.c.annotator == _annotator, answers.c.undoes.is_not(None))


def _first_free(of_kinds: bool) -> CompoundSelect[Any]:
    return union_all(
        # What is on screen stays there.
        _free(
            literal_column("-1"),
            queries.c.id == bindparam("showing", type_=Integer),
            exists().where(leases.c.query_id == queries.c.id, leases.c.annotator == _annotator),
            of_kinds=of_kinds,
        ),
        _free(case((queries.c.only_for.is_(None), 1), else_=0), queries.c.id.in_(_undone), of_kinds=of_kinds),
        _free(
            literal_column("2"), queries.c.only_for.is_not(None), queries.c.only_for == _annotator, of_kinds=of_kinds
        ),
        # Not "only_for IS NULL", with which SQLite may look through all that are open instead of those reopened.
        _free(
            literal_column("3"),
            was_reopened,
            func.coalesce(queries.c.only_for, "") == "",
            queries.c.id <= _after,
            of_kinds=of_kinds,
        ),
        _free(literal_column("3"), queries.c.only_for.is_(None), queries.c.id > _after, of_kinds=of_kinds),
    )


_FIRST_FREE, _FIRST_FREE_OF_KINDS = _first_free(False), _first_free(True)
_FIRST_NOT_ANSWERED_OF_KINDS = _FIRST_NOT_ANSWERED.where(_of_kinds)
_STILL_FREE = (
    sql_select(func.count()).select_from(queries).where(queries.c.id.in_(_query_ids), _is_free, ~_answered_by_them)
)
_LEASE = text(
    "INSERT INTO leases (query_id, annotator, expires_at, ahead) VALUES (:query_id, :annotator, :expires_at, :ahead) "
    "ON CONFLICT (query_id, annotator) DO UPDATE SET expires_at = excluded.expires_at, ahead = excluded.ahead"
)
_holder_answers = answers.alias()
_holder_leases = leases.alias()
_HELD_AHEAD = (
    sql_select(queries.c.id, leases.c.annotator)
    .join(leases, leases.c.query_id == queries.c.id)
    .where(
        *_of_selection,
        queries.c.only_for.is_(None),
        leases.c.ahead == 1,
        leases.c.annotator != _annotator,
        has_not_ended,
        _in_force,
        queries.c.given + _held_by_others <= queries.c.wanted,
        ~_answered_by_them,
        # Who took an answer back wants to give another.
        ~exists().where(_holder_answers.c.query_id == queries.c.id, _holder_answers.c.annotator == leases.c.annotator),
    )
    .order_by(
        sql_select(func.count())
        .where(_holder_leases.c.annotator == leases.c.annotator, _holder_leases.c.expires_at > _now)
        .scalar_subquery()
        .desc(),
        queries.c.id.desc(),
    )
    .limit(1)
)
_HELD_AHEAD_OF_KINDS = _HELD_AHEAD.where(_of_kinds)
_END_LEASE = (
    update(leases)
    .where(leases.c.query_id == bindparam("query"), leases.c.annotator == bindparam("holder"))
    .values(expires_at=ENDED)
)

_names: BindParameter[str] = bindparam("names", expanding=True)
_with_questions_of_their_own = union_all(
    sql_select(queries.c.only_for.label("name")).where(queries.c.only_for.in_(_names), *_of_selection),
    sql_select(answers.c.annotator.label("name"))
    .join(queries, queries.c.id == answers.c.query_id)
    .where(answers.c.annotator.in_(_names), answers.c.undoes.is_not(None), is_open),
)
_also_held = and_(
    _others_leases.c.query_id == leases.c.query_id,
    _others_leases.c.annotator != leases.c.annotator,
    _others_leases.c.expires_at > literal_column(str(ENDED)),
    _others_leases.c.expires_at > _now,
    _others_leases.c.expires_at <= _now + 2 * LONGEST_LEASE,
)
_HELD_BY_THESE = (
    sql_select(leases.c.annotator, leases.c.query_id, leases.c.expires_at, leases.c.ahead)
    .join(queries, queries.c.id == leases.c.query_id)
    .where(
        leases.c.annotator.in_(_names),
        has_not_ended,
        _in_force,
        *_of_selection,
        queries.c.only_for.is_(None),
        ~exists().where(_also_held),
    )
)
_HELD_BY_NOBODY = (
    sql_select(queries.c.id, queries.c.wanted)
    .where(
        *_of_selection,
        queries.c.only_for.is_(None),
        or_(
            queries.c.wanted > _one, queries.c.id.not_in(sql_select(leases.c.query_id).where(has_not_ended, _in_force))
        ),
    )
    .order_by(queries.c.id)
    .limit(bindparam("limit", type_=Integer))
)


@dataclass(frozen=True)
class Wanted:
    """What an annotator would take.

    Attributes:
        annotator: who.
        limit: how many queries at most.
        purposes, kinds: only queries of these; of all kinds where None.
        now: seconds since the epoch.
        for_screen: whether the first is to be shown to a person and the others are taken ahead.
        showing: the query that is on their screen already; 0 for none.
    """

    annotator: str
    limit: int
    purposes: tuple[Purpose, ...]
    kinds: tuple[str, ...] | None
    now: float
    for_screen: bool = False
    showing: int = 0

    def ahead(self, count: int) -> list[int]:
        """For each of the queries taken, whether it is held ahead (1) or worked on (0)."""
        return [int(self.for_screen and position > 0) for position in range(count)]

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
        takeover: where they would get nothing, a query that a screen holds ahead, and whose that is.
    """

    ids: tuple[int, ...]
    held_until: float
    passed: int
    reached: int
    takeover: tuple[int, str] | None = None

    def is_held_until(self, time: float) -> bool:
        """Whether nothing has to be written for them to have these queries until then."""
        return self.held_until >= time and self.reached < self.passed + _WORTH_NOTING and self.takeover is None


def select(connection: Connection, wanted: Wanted) -> Found:
    """What an annotator can take at this moment: first those whose answer they took back, then those for them alone."""
    values: dict[str, Any] = {
        "annotator": wanted.annotator,
        "selection": wanted.selection,
        "now": wanted.now,
        "limit": wanted.limit,
        "showing": wanted.showing,
        "purposes": [purpose.value for purpose in wanted.purposes],
    }
    statements = (_FIRST_NOT_ANSWERED, _FIRST_FREE)
    if wanted.kinds is not None:
        statements = (_FIRST_NOT_ANSWERED_OF_KINDS, _FIRST_FREE_OF_KINDS)
        values["kinds"] = list(wanted.kinds)
    first = connection.execute(statements[0], values).first()
    if first is None:
        reached, before = connection.execute(_WHERE_NONE_IS_LEFT, values).one()
    else:
        reached, before = first.id - 1, first.passed
    before = rows.whole_number(before, "place that an annotator has reached")
    found = connection.execute(statements[1], values | {"after": reached or 0}).all()
    held: dict[int, tuple[float, int]] = {}
    for row in sorted(found, key=lambda row: (row.rank, row.id)):
        held.setdefault(row.id, (row.held_until or 0.0, row.ahead))
    ids = tuple(held)[: wanted.limit]
    until = min((held[id][0] for id in ids), default=float("inf"))
    if wanted.for_screen and [held[id][1] for id in ids] != wanted.ahead(len(ids)):
        until = 0.0
    takeover = None
    if wanted.for_screen and not ids:
        statement = _HELD_AHEAD if wanted.kinds is None else _HELD_AHEAD_OF_KINDS
        ahead = connection.execute(statement, values).first()
        takeover = None if ahead is None else (ahead.id, ahead.annotator)
    return Found(ids, until, before, reached or 0, takeover)


def take(connection: Connection, wanted: Wanted, found: Found | None, expires_at: float) -> Found:
    """Lease queries to an annotator.

    Args:
        connection: in whose transaction nobody else writes.
        wanted: what they would take.
        found: what `select` gave before nobody else could write any more; None to look now.
        expires_at: until when they have them.
    """
    if found is None or found.takeover is not None or not _are_free(connection, wanted, found.ids):
        found = select(connection, wanted)
    if found.is_held_until((wanted.now + expires_at) / 2):
        return found
    if found.takeover is not None:
        end_leases(connection, [found.takeover])
        found = replace(found, ids=found.takeover[:1])
    lease(connection, wanted.annotator, found.ids, expires_at, wanted.ahead(len(found.ids)))
    if found.reached >= found.passed + _WORTH_NOTING:
        place = {"annotator": wanted.annotator, "selection": wanted.selection}
        connection.execute(
            delete(passed).where(passed.c.annotator == wanted.annotator, passed.c.selection == wanted.selection)
        )
        connection.execute(insert(passed), place | {"query_id": found.reached})
    return found


def take_for_screens(connection: Connection, wanted: Sequence[Wanted], expires_at: float) -> dict[str, tuple[int, ...]]:
    """Lease queries to many screens in a few statements, as `take` would to one after the other.

    That can be where each query wants one answer. Whoever took an answer back, has questions of their own, shows what
    is not kept for them any more, or would get nothing is left out: `take` does it for them.

    Args:
        connection: in whose transaction nobody else writes.
        wanted: what they would take: the same selection at the same moment, each for another annotator.
        expires_at: until when they have it.

    Returns:
        The ids of what each has then, by annotator.
    """
    values: dict[str, Any] = {
        "names": [each.annotator for each in wanted],
        "now": wanted[0].now,
        "limit": sum(each.limit for each in wanted),
        "purposes": [purpose.value for purpose in wanted[0].purposes],
    }
    kinds = wanted[0].kinds

    def found(statement: Any) -> Any:
        if kinds is None:
            return connection.execute(statement, values)
        return connection.execute(statement.where(_of_kinds), values | {"kinds": list(kinds)})

    nobodys = found(_HELD_BY_NOBODY).all()
    if any(row.wanted != 1 for row in nobodys):
        return {}
    free = [int(row.id) for row in nobodys]
    left_out = set(connection.execute(_with_questions_of_their_own, values).scalars())
    held: dict[str, dict[int, tuple[float, int]]] = {each.annotator: {} for each in wanted}
    for row in found(_HELD_BY_THESE):
        held[row.annotator][row.query_id] = (row.expires_at, row.ahead)
    taken: dict[str, tuple[int, ...]] = {}
    changed = []
    for each in wanted:
        theirs = held[each.annotator]
        if each.annotator in left_out or (each.showing and each.showing not in theirs):
            continue
        ids = sorted([*theirs, *free[: each.limit]], key=lambda id: (id != each.showing, id))[: each.limit]
        if not ids:
            continue
        for id, ahead in zip(ids, each.ahead(len(ids)), strict=True):
            until, before = theirs.get(id, (0.0, ahead))
            if until < (each.now + expires_at) / 2 or before != ahead:
                changed.append({"query_id": id, "annotator": each.annotator, "expires_at": expires_at, "ahead": ahead})
        free = [id for id in free[: each.limit] if id not in ids] + free[each.limit :]
        taken[each.annotator] = tuple(ids)
    if changed:
        connection.execute(_LEASE, changed)
    return taken


def _are_free(connection: Connection, wanted: Wanted, ids: Collection[int]) -> bool:
    values = {"query_ids": ids, "annotator": wanted.annotator, "now": wanted.now}
    return not ids or connection.execute(_STILL_FREE, values).scalar() == len(ids)


def lease(
    connection: Connection, annotator: str, query_ids: Sequence[int], expires_at: float, ahead: Sequence[int] = ()
) -> None:
    """Keep these queries for an annotator, in place of any lease they have on them already.

    Args:
        ahead: for each query, 1 where others may take it over; none may where this is empty.
    """
    if query_ids:
        held = [
            {"query_id": id, "annotator": annotator, "expires_at": expires_at, "ahead": each}
            for id, each in zip(query_ids, ahead or [0] * len(query_ids), strict=True)
        ]
        connection.execute(_LEASE, held)


def end_leases(connection: Connection, held: Sequence[tuple[int, str]]) -> None:
    """End leases, given as (query, annotator)."""
    if held:
        connection.execute(_END_LEASE, [{"query": id, "holder": annotator} for id, annotator in held])


def count_held(connection: Connection, now: float) -> dict[str, tuple[int, int]]:
    """For each annotator who holds open queries, how many of them are worked on and how many are held ahead."""
    held = (
        sql_select(leases.c.annotator, func.count().label("all"), func.sum(leases.c.ahead).label("ahead"))
        .join(queries, queries.c.id == leases.c.query_id)
        .where(has_not_ended, _in_force, is_open)
        .group_by(leases.c.annotator)
    )
    found = connection.execute(held, {"now": now})
    return {row.annotator: (int(row.all - row.ahead), int(row.ahead)) for row in found}
