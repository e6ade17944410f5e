"""How queries come into the store."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, insert, select
from sqlalchemy.sql.dml import ReturningInsert

from rlhf_envs.feedback.store.database import MOST_VALUES, batches
from rlhf_envs.feedback.store.schema import queries, query_segments, segments
from rlhf_envs.json_values import require_json
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import LONGEST_KEY, Query, check_name, require_line

Rows = dict[str, dict[str, Any]]


class PreparedQueries:
    """Queries checked and turned into rows, so that the transaction that stores them is short.

    Raises:
        ValueError: if a query shows too many or too few segments, has an empty or repeated key, a negative round or a
            context that is not JSON, or if `wanted` is less than 1.
    """

    def __init__(self, asked: Sequence[Query], wanted: int) -> None:
        if wanted < 1:
            raise ValueError(f"A query wants at least 1 annotator to answer it, not {wanted}.")
        self._queries: Rows = {}
        self._segments: Rows = {}
        self._shown: dict[str, list[str]] = {}
        created_at = time.time()
        for query in asked:
            _check(query)
            if query.key in self._queries:
                raise ValueError(f"The key {query.key!r} names two queries; a key names one.")
            self._queries[query.key] = {
                "key": query.key,
                "round": query.round,
                "kind": query.kind,
                "purpose": query.purpose.value,
                "context": require_json(dict(query.context), f"context of query {query.key!r}"),
                "wanted": wanted,
                "created_at": created_at,
                "only_for": query.only_for,
            }
            rows = [segment_row(segment.to_bytes(), len(segment)) for segment in query.segments]
            self._shown[query.key] = [row["digest"] for row in rows]
            self._segments |= {row["digest"]: row for row in rows}

    def store(self, connection: Connection) -> list[int]:
        """Insert what the store does not know yet; return the ids of all, in the order asked."""
        known = _ids(connection, queries.c.key, self._queries)
        new = [key for key in self._queries if key not in known]
        shown = {digest: self._segments[digest] for key in new for digest in self._shown[key]}
        segment_ids = store_segments(connection, shown)
        known.update(zip(new, add_rows(connection, queries, [self._queries[key] for key in new]), strict=True))
        store_shown(connection, {known[key]: [segment_ids[digest] for digest in self._shown[key]] for key in new})
        return [known[key] for key in self._queries]


def _check(query: Query) -> None:
    if not require_line(query.key, "The key of a query", LONGEST_KEY):
        raise ValueError("A query needs a key that names it within its run, such as '3/train/7'.")
    if query.round < 0:
        raise ValueError(f"Rounds are counted from 0, but query {query.key!r} has round {query.round}.")
    if query.only_for is not None:
        check_name(query.only_for)
    KINDS.named(query.kind).check_query(query.key, len(query.segments))


def content_digest(content: bytes) -> str:
    """The fingerprint under which a segment's bytes are stored, 32 hex digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def segment_row(content: bytes, length: int) -> dict[str, Any]:
    """The row of a segment of `length` steps, from its `to_bytes`."""
    return {"digest": content_digest(content), "length": length, "content": content}


def store_segments(connection: Connection, rows: Rows) -> dict[str, int]:
    """Add the segments that are new, of rows by digest; the ids of all of them, by digest."""
    known = _ids(connection, segments.c.digest, rows)
    new = [row for digest, row in rows.items() if digest not in known]
    known.update(zip((row["digest"] for row in new), add_rows(connection, segments, new), strict=True))
    return known


def store_shown(connection: Connection, shown: Mapping[int, Sequence[int]]) -> None:
    """Say which segments new queries show: their ids in screen order, by the id of the query."""
    rows = [
        {"query_id": query_id, "position": position, "segment_id": segment_id}
        for query_id, segment_ids in shown.items()
        for position, segment_id in enumerate(segment_ids)
    ]
    if rows:
        connection.execute(insert(query_segments), rows)


def add_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> Sequence[int]:
    """Insert rows and return their ids in the same order."""
    return connection.execute(_adding(table), rows).scalars().all() if rows else []


@functools.cache  # building the statement takes longer than running it
def _adding(table: Table) -> ReturningInsert[Any]:
    return insert(table).returning(table.c.id, sort_by_parameter_order=True)


def _ids(connection: Connection, column: Column[Any], values: Mapping[str, Any]) -> dict[str, int]:
    """The ids of rows by the value of a column."""
    found: dict[str, int] = {}
    for some in batches(values, MOST_VALUES):
        found.update(connection.execute(select(column, column.table.c.id).where(column.in_(some))).all())
    return found
