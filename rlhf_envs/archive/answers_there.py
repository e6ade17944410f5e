"""What a store's annotators have said already to queries that are imported once more."""

from __future__ import annotations

from collections import defaultdict, deque

from sqlalchemy import Connection, select

from rlhf_envs.archive.batching import in_groups
from rlhf_envs.archive.identity import said
from rlhf_envs.archive.rows import AnswerRow
from rlhf_envs.feedback.schema import answers
from rlhf_envs.queries import Choice

_AT_ONCE = 10_000  # SQLite takes at most 32,766 values in one statement


class AnswersThere:
    """The answers of a store to some of its queries, and what is added to them.

    Args:
        connection: of the transaction.
        known: the ids of the queries.
    """

    def __init__(self, connection: Connection, known: set[int]) -> None:
        self._known = known
        self._copies: dict[tuple[int, str], dict[str, deque[int]]] = defaultdict(lambda: defaultdict(deque))
        self._standing: set[tuple[int, str]] = set()
        self._undone: set[int] = set()
        for some in in_groups(sorted(known), _AT_ONCE):
            for row in connection.execute(select(answers).where(answers.c.query_id.in_(some)).order_by(answers.c.id)):
                answer = AnswerRow(
                    row.id,
                    row.query_id,
                    row.annotator,
                    None if row.choice is None else Choice(row.choice),
                    row.undoes,
                    tuple(row.reasons),
                    row.shown_at,
                    row.answered_at,
                    row.payload,
                    row.token,
                )
                self._copies[row.query_id, said(answer)][row.annotator].append(row.id)
                self.note(row.query_id, answer, row.undoes)

    def take(self, query: int, answer: AnswerRow) -> int | None:
        """The store's own row of an answer, each row once; None where the store does not have it."""
        copies = self._copies[query, said(answer)][answer.annotator] if query in self._known else None
        return copies.popleft() if copies else None

    def disagrees(self, query: int, answer: AnswerRow, undoes: int | None) -> bool:
        """Whether an answer that the store does not have cannot stand beside what it has."""
        if undoes is not None:
            return undoes in self._undone
        return (query, answer.annotator) in self._standing

    def said_by_another(self, query: int, answer: AnswerRow) -> str | None:
        """Under which other name the store has the very same answer, given at the very same time, to take."""
        if query not in self._known or answer.answered_at is None:
            return None
        copies = self._copies[query, said(answer)]
        return next((name for name, ids in copies.items() if ids), None)

    def note(self, query: int, answer: AnswerRow, undoes: int | None) -> None:
        """Take note of a row that is in the store from now on."""
        if undoes is None:
            self._standing.add((query, answer.annotator))
        else:
            self._standing.discard((query, answer.annotator))
            self._undone.add(undoes)
