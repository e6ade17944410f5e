"""What an archive is made of: rows of queries, answers and segments, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rlhf_envs.queries import Choice, Kind, Purpose
from rlhf_envs.segments import Segment

REPEATS = "repeats"
"""The entry of a CHECK query's context that names the query which it repeats, by its id."""


@dataclass(frozen=True)
class QueryRow:
    """A query as it is kept; see `rlhf_envs.feedback.Query`.

    Attributes:
        id: its number in its source; `AnswerRow.query` names it.
        key, round, kind, purpose, context, only_for: as in `Query`.
        wanted: how many annotators should answer it.
        created_at: seconds since the epoch when it was asked.
        segments: the numbers of the segments that are shown, in screen order.
    """

    id: int
    key: str
    round: int
    kind: Kind
    purpose: Purpose
    context: Mapping[str, Any]
    wanted: int
    created_at: float
    only_for: str | None
    segments: tuple[int, ...]


@dataclass(frozen=True)
class AnswerRow:
    """An answer as it is kept, or a row that takes one back; see `rlhf_envs.feedback.Answer`.

    Attributes:
        id: its number in its source; rising in the order of arrival.
        query: the id of the query that was answered.
        annotator, choice, reasons, shown_at, answered_at, payload: as in `Answer`.
        undoes: the id of the answer that this row takes back, or None.
        token: names the submission, or None.
    """

    id: int
    query: int
    annotator: str
    choice: Choice | None
    undoes: int | None
    reasons: tuple[str, ...]
    shown_at: float | None
    answered_at: float | None
    payload: Mapping[str, Any] | None
    token: str | None


def repeats(query: QueryRow) -> int | None:
    """The id of the query that a CHECK query repeats; None for all others."""
    repeated = query.context.get(REPEATS) if query.purpose is Purpose.CHECK else None
    return repeated if type(repeated) is int else None


class Rows(Protocol):
    """A source of rows: a store or an archive. Each method begins anew whenever it is called."""

    @property
    def place(self) -> str:
        """Where the rows come from, for messages."""
        ...

    @property
    def environment(self) -> Mapping[str, Any]:
        """What the store says about its environment."""
        ...

    def queries(self) -> Iterator[QueryRow]:
        """All queries, oldest first."""
        ...

    def answers(self) -> Iterator[AnswerRow]:
        """All answers, also those that were taken back, in order of arrival."""
        ...

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """All segments with their numbers, a few in memory at a time."""
        ...
