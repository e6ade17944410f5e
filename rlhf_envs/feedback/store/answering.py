"""How answers come into the store, and how one is taken back."""

from __future__ import annotations

import functools
import math
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, insert, select
from sqlalchemy.sql.dml import ReturningInsert

from rlhf_envs.feedback.store.errors import AnswerRefusedError
from rlhf_envs.feedback.store.leases import check_annotator, lease, release
from rlhf_envs.feedback.store.schema import answers, is_live, queries, query_segments, segments
from rlhf_envs.json_values import require_json
from rlhf_envs.kinds import KINDS, Comparison
from rlhf_envs.queries import Choice, Submission

_MOST_AT_ONCE = 10_000  # SQLite takes at most 32,766 values in one statement


class PreparedAnswers:
    """Submissions checked and turned into rows, so that the transaction that stores them is short.

    Raises:
        ValueError: if a submission has no annotator, an unknown choice, times that are not numbers, or a payload that
            is not JSON; if two share a token; if there are more than 10,000.
    """

    def __init__(self, submissions: Sequence[Submission]) -> None:
        if len(submissions) > _MOST_AT_ONCE:
            raise ValueError(f"Submit at most {_MOST_AT_ONCE:,} answers at once, not {len(submissions):,}.")
        tokens = [submission.token for submission in submissions if submission.token is not None]
        if len(set(tokens)) < len(tokens):
            raise ValueError("Two answers share a token; make a new token for each answer.")
        self._rows = [_row(submission) for submission in submissions]

    def store(self, connection: Connection) -> list[int]:
        """Add the rows that are new; return the ids of all, in the order submitted.

        Raises:
            AnswerRefusedError: if a submission does not fit its query, or its annotator has answered that already.
        """
        stored = _stored_tokens(connection, [row["token"] for row in self._rows if row["token"] is not None])
        ids: list[int | None] = [_known_id(row, stored) for row in self._rows]
        new = [row for row, id in zip(self._rows, ids, strict=True) if id is None]
        _check_queries(connection, new)
        _check_first_answers(connection, new)
        if new:
            inserted = connection.execute(_new_answers(), new).scalars()
            _release_all(connection, new)
            ids = [next(inserted) if id is None else id for id in ids]
        return [id for id in ids if id is not None]


def take_back(connection: Connection, annotator: str, token: str | None, now: float, expires_at: float) -> int | None:
    """Add a row that takes back an annotator's latest live answer and lease its query to them; return the row's id."""
    if token is not None:
        repeated = connection.execute(select(answers.c.id).where(answers.c.token == token)).scalar()
        if repeated is not None:
            return int(repeated)
    latest = connection.execute(
        select(answers.c.id, answers.c.query_id)
        .where(answers.c.annotator == annotator, is_live(answers))
        .order_by(answers.c.id.desc())
        .limit(1)
    ).first()
    if latest is None:
        return None
    row = {
        "query_id": latest.query_id,
        "annotator": annotator,
        "choice": None,
        "undoes": latest.id,
        "reasons": [],
        "answered_at": now,
        "token": token,
    }
    id: int = connection.execute(insert(answers).returning(answers.c.id), row).scalar_one()
    lease(connection, annotator, [latest.query_id], expires_at)
    return id


def _row(submission: Submission) -> dict[str, Any]:
    check_annotator(submission.annotator)
    for name, seconds in (("shown_at", submission.shown_at), ("answered_at", submission.answered_at)):
        if seconds is not None and not math.isfinite(seconds):
            raise ValueError(f"{name} must be seconds since the epoch, not {seconds}.")
    if submission.token == "":
        raise ValueError("A token names one submission: give some text that no other one has, or None.")
    payload = submission.payload
    return {
        "query_id": submission.query_id,
        "annotator": submission.annotator,
        "choice": None if submission.choice is None else Choice(submission.choice).value,
        "reasons": require_json([str(reason) for reason in submission.reasons], "reasons"),
        "shown_at": submission.shown_at,
        "answered_at": time.time() if submission.answered_at is None else submission.answered_at,
        "payload": None if payload is None else require_json(dict(payload), "payload of an answer"),
        "token": submission.token,
    }


def _stored_tokens(connection: Connection, tokens: Sequence[str]) -> dict[str, Any]:
    if not tokens:
        return {}
    rows = connection.execute(_rows_of_tokens(), {"tokens": tokens})
    return {row.token: row for row in rows}


def _known_id(row: dict[str, Any], stored: dict[str, Any]) -> int | None:
    same = stored.get(row["token"])
    if same is None:
        return None
    different = (same.query_id, same.annotator, same.choice) != (row["query_id"], row["annotator"], row["choice"])
    # What else is said with a choice, such as how often a clip was replayed, may have grown by the time of a retry.
    if different or (same.choice is None and same.payload != row["payload"]):
        raise AnswerRefusedError(
            f"The token {row['token']!r} was given before with a different answer, to query {same.query_id}; "
            "make a new token for each answer."
        )
    return int(same.id)


def _check_queries(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    ids = {row["query_id"] for row in rows}
    known = connection.execute(_kinds_of_queries(), {"query_ids": ids})
    kinds = {row.id: row.kind for row in known}
    # A comparison is answered by a choice alone, whatever was shown.
    shown = _what_is_shown(connection, {id for id, kind in kinds.items() if kind != Comparison.name})
    for row in rows:
        id = row["query_id"]
        if id not in kinds:
            raise AnswerRefusedError(f"There is no query {id} in this store to answer.")
        if row["choice"] == Choice.SKIP:
            continue
        choice = None if row["choice"] is None else Choice(row["choice"])
        try:
            KINDS.named(kinds[id]).label(choice, row["payload"], *shown.get(id, (2, 0)))
        except ValueError as error:
            raise AnswerRefusedError(f"Query {id} cannot be answered so: {error}.") from error


def _what_is_shown(connection: Connection, query_ids: Collection[int]) -> dict[int, tuple[int, int]]:
    """How many segments each query shows, and how many steps the longest has."""
    if not query_ids:
        return {}
    rows = connection.execute(
        select(query_segments.c.query_id, func.count(), func.max(segments.c.length))
        .join(segments, segments.c.id == query_segments.c.segment_id)
        .where(query_segments.c.query_id.in_(query_ids))
        .group_by(query_segments.c.query_id)
    )
    return {id: (count, length) for id, count, length in rows}


def _check_first_answers(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    given = connection.execute(_who_answered(), {"query_ids": {row["query_id"] for row in rows}})
    answered = {(id, annotator) for id, annotator in given}
    for row in rows:
        pair = (row["query_id"], row["annotator"])
        if pair in answered:
            raise AnswerRefusedError(f"{pair[1]} has answered query {pair[0]} already; undo that answer to change it.")
        answered.add(pair)


def _release_all(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    by_annotator = defaultdict(list)
    for row in rows:
        by_annotator[row["annotator"]].append(row["query_id"])
    for annotator, query_ids in by_annotator.items():
        release(connection, annotator, query_ids)


# Each answer asks these; building such a statement takes longer than running it.


@functools.cache
def _rows_of_tokens() -> Select[Any]:
    """What was stored under `:tokens`."""
    stored = (answers.c.token, answers.c.id, answers.c.query_id, answers.c.annotator, answers.c.choice)
    return select(*stored, answers.c.payload).where(answers.c.token.in_(bindparam("tokens", expanding=True)))


@functools.cache
def _kinds_of_queries() -> Select[Any]:
    """The kind of each of `:query_ids`."""
    return select(queries.c.id, queries.c.kind).where(queries.c.id.in_(bindparam("query_ids", expanding=True)))


@functools.cache
def _who_answered() -> Select[Any]:
    """The annotators of each of `:query_ids` whose answers stand."""
    asked = answers.c.query_id.in_(bindparam("query_ids", expanding=True))
    return select(answers.c.query_id, answers.c.annotator).where(asked, is_live(answers))


@functools.cache
def _new_answers() -> ReturningInsert[Any]:
    """Adds answers and gives their ids in the same order."""
    return insert(answers).returning(answers.c.id, sort_by_parameter_order=True)
