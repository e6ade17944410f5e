"""How queries come into the store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, insert, select

from rlhf_envs.feedback.store.schema import queries, query_segments, segments
from rlhf_envs.json_values import require_json
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import Query

_VALUES_PER_STATEMENT = 10_000  # SQLite takes at most 32,766 values in one statement


def content_digest(content: bytes) -> str:
    """The fingerprint under which a segment's bytes are stored, 32 hex digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


class PreparedQueries:
    """Queries checked and turned into rows, so that the transaction that stores them is short.

    Raises:
        ValueError: if a query shows too many or too few segments, has an empty or repeated key, a negative round or a
            context that is not JSON, or if `wanted` is less than 1.
    """

    def __init__(self, asked: Sequence[Query], wanted: int) -> None:
        if wanted < 1:
            raise ValueError(f"A query wants at least 1 annotator to answer it, not {wanted}.")
        self.keys = [query.key for query in asked]
        self._rows: dict[str, dict[str, Any]] = {}
        self._digests: dict[str, list[str]] = {}
        self._segments: dict[str, dict[str, Any]] = {}
        created_at = time.time()
        for query in asked:
            _check(query)
            if query.key in self._rows:
                raise ValueError(f"The key {query.key!r} names two queries; a key names one.")
            self._rows[query.key] = {
                "key": query.key,
                "round": query.round,
                "kind": query.kind,
                "purpose": query.purpose.value,
                "context": require_json(dict(query.context), f"context of query {query.key!r}"),
                "wanted": wanted,
                "created_at": created_at,
                "only_for": query.only_for,
            }
            self._digests[query.key] = [
                self._add_segment(segment.to_bytes(), len(segment)) for segment in query.segments
            ]

    def store(self, connection: Connection) -> list[int]:
        """Insert what the store does not know yet; return the ids of all, in the order asked."""
        known = _ids(connection, queries, queries.c.key, self.keys)
        new = [key for key in self._rows if key not in known]
        if new:
            shown = {digest: self._segments[digest] for key in new for digest in self._digests[key]}
            known_segments = _ids(connection, segments, segments.c.digest, list(shown))
            new_segments = [row for digest, row in shown.items() if digest not in known_segments]
            if new_segments:
                connection.execute(insert(segments), new_segments)
                known_segments |= _ids(connection, segments, segments.c.digest, [row["digest"] for row in new_segments])
            connection.execute(insert(queries), [self._rows[key] for key in new])
            known |= _ids(connection, queries, queries.c.key, new)
            connection.execute(
                insert(query_segments),
                [
                    {"query_id": known[key], "position": position, "segment_id": known_segments[digest]}
                    for key in new
                    for position, digest in enumerate(self._digests[key])
                ],
            )
        return [known[key] for key in self.keys]

    def _add_segment(self, content: bytes, length: int) -> str:
        digest = content_digest(content)
        self._segments.setdefault(digest, {"digest": digest, "length": length, "content": content})
        return digest


def _check(query: Query) -> None:
    if not query.key:
        raise ValueError("A query needs a key that names it within its run, such as '3/train/7'.")
    if query.round < 0:
        raise ValueError(f"Rounds are counted from 0, but query {query.key!r} has round {query.round}.")
    if query.only_for is not None and not query.only_for.strip():
        raise ValueError(f"only_for of query {query.key!r} must name an annotator, or be None for anybody.")
    KINDS.named(query.kind).check_query(query.key, len(query.segments))


def _ids(connection: Connection, table: Table, column: Column[Any], values: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in _batches(values):
        found.update(
            (value, id) for value, id in connection.execute(select(column, table.c.id).where(column.in_(some)))
        )
    return found


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _VALUES_PER_STATEMENT):
        yield values[start : start + _VALUES_PER_STATEMENT]
