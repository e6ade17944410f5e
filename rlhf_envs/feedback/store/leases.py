"""How annotators get their next queries: leases, so that no two of them answer the same one by accident."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

from sqlalchemy import (
    BindParameter,
    Connection,
    Delete,
    Float,
    Integer,
    Select,
    String,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
)

from rlhf_envs.feedback.store.schema import answers, is_live, leases, queries
from rlhf_envs.queries import Purpose

_LONGEST_LEASE = 86_400


def lease_next(
    connection: Connection,
    annotator: str,
    limit: int,
    purposes: Collection[Purpose],
    kinds: Collection[str] | None,
    now: float,
    expires_at: float,
) -> list[int]:
    """Lease up to `limit` queries to an annotator and return their ids, in the order in which to show them."""
    connection.execute(_expired(), {"now": now})
    wanted = {
        "annotator": annotator,
        "limit": limit,
        "purposes": [purpose.value for purpose in purposes],
    }
    if kinds is not None:
        wanted["kinds"] = list(kinds)
    query_ids = list(connection.execute(_open_queries(kinds is not None), wanted).scalars())
    lease(connection, annotator, query_ids, expires_at)
    return query_ids


def lease(connection: Connection, annotator: str, query_ids: Sequence[int], expires_at: float) -> None:
    """Keep these queries for an annotator, in place of any lease they have on them already."""
    release(connection, annotator, query_ids)
    if query_ids:
        connection.execute(
            insert(leases),
            [{"query_id": id, "annotator": annotator, "expires_at": expires_at} for id in query_ids],
        )


def release(connection: Connection, annotator: str, query_ids: Sequence[int]) -> None:
    """Keep these queries for this annotator no longer."""
    if query_ids:
        connection.execute(_released(), [{"released": id, "holder": annotator} for id in query_ids])


def release_all(connection: Connection, annotator: str, keeping: Collection[int]) -> int:
    """Keep no queries for this annotator any longer, but `keeping` and those whose answer they took back; how many."""
    held = connection.execute(_held_unanswered(), {"holder": annotator}).scalars()
    given_up = [id for id in held if id not in keeping]
    release(connection, annotator, given_up)
    return len(given_up)


def check_annotator(annotator: str) -> None:
    """Raise `ValueError` for an annotator without a name."""
    if not annotator.strip():
        raise ValueError("An annotator needs a name, such as 'oracle' or a person's initials.")


def check_lease(lease_seconds: float) -> None:
    """Raise `ValueError` for a lease that ends before it begins, or takes over a day."""
    if not 0 < lease_seconds <= _LONGEST_LEASE:
        raise ValueError(f"A lease lasts more than 0 and at most {_LONGEST_LEASE:,} seconds, not {lease_seconds}.")


@functools.cache
def _released() -> Delete:
    """Ends the lease of `:holder` on the query `:released`."""
    return delete(leases).where(leases.c.query_id == bindparam("released"), leases.c.annotator == bindparam("holder"))


@functools.cache
def _held_unanswered() -> Select[int]:
    """Queries that are leased to `:holder` and that they never answered, not even to take it back."""
    holder: BindParameter[str] = bindparam("holder", type_=String)
    any_row = exists().where(answers.c.query_id == leases.c.query_id, answers.c.annotator == holder)
    return select(leases.c.query_id).where(leases.c.annotator == holder, ~any_row)


@functools.cache
def _expired() -> Delete:
    """Ends the leases that ran out by `:now`, and those that a clock has given which was far ahead."""
    now = bindparam("now", type_=Float)
    return delete(leases).where(or_(leases.c.expires_at <= now, leases.c.expires_at > now + 2 * _LONGEST_LEASE))


@functools.cache
def _open_queries(of_kinds: bool) -> Select[int]:
    """Queries of `:purposes`, and where it is wanted of `:kinds`, that are open to `:annotator`, at most `:limit`.

    Building the statement takes longer than running it.
    """
    annotator: BindParameter[str] = bindparam("annotator", type_=String)
    theirs, any_row, given = answers.alias(), answers.alias(), answers.alias()
    answered_by_them = exists().where(
        theirs.c.query_id == queries.c.id, theirs.c.annotator == annotator, is_live(theirs)
    )
    answers_so_far = (
        select(func.count())
        .select_from(given)
        .where(given.c.query_id == queries.c.id, is_live(given))
        .scalar_subquery()
    )
    leased_to_others = (
        select(func.count())
        .select_from(leases)
        .where(leases.c.query_id == queries.c.id, leases.c.annotator != annotator)
        .scalar_subquery()
    )
    taken_back_by_them = exists().where(any_row.c.query_id == queries.c.id, any_row.c.annotator == annotator)
    of_kind = queries.c.kind.in_(bindparam("kinds", expanding=True)) if of_kinds else true()
    return (
        select(queries.c.id)
        .where(
            queries.c.purpose.in_(bindparam("purposes", expanding=True)),
            of_kind,
            or_(queries.c.only_for.is_(None), queries.c.only_for == annotator),
            ~answered_by_them,
            answers_so_far + leased_to_others < queries.c.wanted,
        )
        .order_by(taken_back_by_them.desc(), queries.c.only_for.is_(None), queries.c.id)
        .limit(bindparam("limit", type_=Integer))
    )
