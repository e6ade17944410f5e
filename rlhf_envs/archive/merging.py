"""Queries and answers of one store among those of another, within one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select

from rlhf_envs.archive.answers_there import AnswersThere
from rlhf_envs.archive.identity import fingerprint, marked
from rlhf_envs.archive.rows import REPEATS, AnswerRow, QueryRow, Rows, repeats
from rlhf_envs.feedback.schema import answers, queries, query_segments, segments

_Row = TypeVar("_Row", QueryRow, AnswerRow)

_AT_ONCE = 1_000


class Merge:
    """Adds what a store does not have yet, and notes what it had.

    Args:
        connection: of the transaction.
        rows: what to add.
        numbers: where each segment of `rows` is in the store.
        digests: under which digest it is there.
        as_is: whether queries keep their keys and rounds, because the store is there for them alone.

    Attributes:
        added_queries, added_answers, known_queries, known_answers: how many there were of each.

    Raises:
        ValueError: if the store and the rows disagree about what somebody said.
    """

    def __init__(
        self,
        connection: Connection,
        rows: Rows,
        numbers: Mapping[int, int],
        digests: Mapping[int, str],
        as_is: bool,
    ) -> None:
        self.added_queries = self.added_answers = self.known_queries = self.known_answers = 0
        self._connection = connection
        self._place = rows.place
        self._numbers, self._digests = numbers, digests
        self._as_is = as_is
        self._query_ids: dict[int, int] = {}
        self._answer_ids: dict[int, int] = {}
        known: set[int] = set()
        for group in _grouped(rows.queries(), repeats):
            known |= self._add_queries(group)
        there = AnswersThere(connection, known)
        # All that is known is found before anything is added: what is left then was said in the store alone.
        for answer in rows.answers():
            id = there.take(self._query_ids[answer.query], answer)
            if id is not None:
                self._answer_ids[answer.id] = id
        self.known_answers = len(self._answer_ids)
        new = (answer for answer in rows.answers() if answer.id not in self._answer_ids)
        for added in _grouped(new, lambda answer: answer.undoes):
            self._add_answers(added, there)

    def _add_queries(self, group: Sequence[QueryRow]) -> set[int]:
        """Add those that are new; the store's ids of those that are not."""
        marks = {query.id: self._fingerprint(query) for query in group}
        there = {} if self._as_is else self._queries_there(marks.values())
        new, known = [], set()
        for query in group:
            id = there.get(marks[query.id])
            if id is None:
                new.append(query)
            else:
                self._query_ids[query.id] = id
                known.add(id)
        if new:
            added = self._connection.execute(
                insert(queries).returning(queries.c.id, sort_by_parameter_order=True),
                [self._query_values(query, marks[query.id]) for query in new],
            ).scalars()
            self._query_ids |= {query.id: id for query, id in zip(new, added, strict=True)}
            self._connection.execute(
                insert(query_segments),
                [
                    {"query_id": self._query_ids[query.id], "position": position, "segment_id": self._numbers[segment]}
                    for query in new
                    for position, segment in enumerate(query.segments)
                ],
            )
        self.added_queries += len(new)
        self.known_queries += len(group) - len(new)
        return known

    def _fingerprint(self, query: QueryRow) -> tuple[str, str]:
        digests = [self._digests[segment] for segment in query.segments]
        return fingerprint(query.key, query.kind, query.purpose, query.created_at, digests)

    def _queries_there(self, marks: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Those queries of the store that have one of these fingerprints."""
        keys = [key for first, mark in marks for key in (first, marked(first, mark))]
        shown: dict[int, list[str]] = defaultdict(list)
        same_key = (
            select(queries.c.id, queries.c.key, queries.c.kind, queries.c.purpose, queries.c.created_at)
            .where(queries.c.key.in_(keys))
            .order_by(queries.c.id)
        )
        found = self._connection.execute(same_key).all()
        for id, digest in self._connection.execute(
            select(query_segments.c.query_id, segments.c.digest)
            .join(segments, segments.c.id == query_segments.c.segment_id)
            .where(query_segments.c.query_id.in_([row.id for row in found]))
            .order_by(query_segments.c.query_id, query_segments.c.position)
        ):
            shown[id].append(digest)
        return {fingerprint(row.key, row.kind, row.purpose, row.created_at, shown[row.id]): row.id for row in found}

    def _query_values(self, query: QueryRow, mark: tuple[str, str]) -> dict[str, Any]:
        context = dict(query.context)
        repeated = repeats(query)
        if repeated is not None:
            context[REPEATS] = self._query_ids.get(repeated, repeated)
        return {
            # In a store with a run of its own, a key or a round of that run would be taken for one of its questions.
            "key": query.key if self._as_is else marked(*mark),
            "round": query.round if self._as_is else 0,
            "kind": query.kind.value,
            "purpose": query.purpose.value,
            "context": context,
            "wanted": query.wanted,
            "created_at": query.created_at,
            "only_for": query.only_for,
        }

    def _add_answers(self, group: Sequence[AnswerRow], there: AnswersThere) -> None:
        for answer in group:
            self._check_agrees(answer, there)
        added = self._connection.execute(
            insert(answers).returning(answers.c.id, sort_by_parameter_order=True),
            [self._answer_values(answer) for answer in group],
        ).scalars()
        self._answer_ids |= {answer.id: id for answer, id in zip(group, added, strict=True)}
        self.added_answers += len(group)

    def _check_agrees(self, answer: AnswerRow, there: AnswersThere) -> None:
        query = self._query_ids[answer.query]
        undoes = None if answer.undoes is None else self._answer_ids[answer.undoes]
        if there.disagrees(query, answer, undoes):
            raise ValueError(
                f"{self._place} and the store do not agree about what {answer.annotator} said to query {query} of the "
                "store; import it into a store of its own."
            )
        other = there.said_by_another(query, answer)
        if other is not None:
            raise ValueError(
                f"What {answer.annotator} said in {self._place}, the store knows as an answer of {other}; import an "
                "export in which people go by the same names."
            )
        there.note(query, answer, undoes)

    def _answer_values(self, answer: AnswerRow) -> dict[str, Any]:
        return {
            "query_id": self._query_ids[answer.query],
            "annotator": answer.annotator,
            "choice": None if answer.choice is None else answer.choice.value,
            "undoes": None if answer.undoes is None else self._answer_ids[answer.undoes],
            "reasons": list(answer.reasons),
            "shown_at": answer.shown_at,
            "answered_at": answer.answered_at,
            "payload": answer.payload,
            # Tokens keep a screen from submitting twice. Those of another store's screens could only clash here.
            "token": answer.token if self._as_is else None,
        }


def _grouped(rows: Iterable[_Row], refers_to: Callable[[_Row], int | None]) -> Iterator[list[_Row]]:
    """Rows in lists; a row never stands in one list with a row that it refers to, whose id must be known first."""
    group: list[_Row] = []
    ids: set[int] = set()
    for row in rows:
        if len(group) == _AT_ONCE or refers_to(row) in ids:
            yield group
            group, ids = [], set()
        group.append(row)
        ids.add(row.id)
    if group:
        yield group
