"""What annotators do with queries that they have taken (`taking`): answer them, take an answer back, and leave."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    String,
    bindparam,
    exists,
    func,
    select,
)

from rlhf_envs.feedback.store import rows as decoding
from rlhf_envs.feedback.store.database import MOST_VALUES
from rlhf_envs.feedback.store.errors import AnswerRefusedError
from rlhf_envs.feedback.store.schema import answers, has_not_ended, is_live, leases, queries, query_segments, segments
from rlhf_envs.feedback.store.taking import LONGEST_LEASE, end_leases, lease
from rlhf_envs.feedback.store.tallies import add_answers
from rlhf_envs.json_values import require_json
from rlhf_envs.kinds import KINDS, Comparison
from rlhf_envs.queries import Answer, Choice, Submission, check_name, check_reasons, check_token

# Statements that every answer needs are built once, because building one takes longer than running it.
_annotator: BindParameter[str] = bindparam("annotator", type_=String)
_query_ids: BindParameter[int] = bindparam("query_ids", expanding=True)
_NEVER_ANSWERED = select(leases.c.query_id).where(
    leases.c.annotator == _annotator,
    has_not_ended,
    ~exists().where(answers.c.query_id == leases.c.query_id, answers.c.annotator == _annotator),
)
_SUBMITTED = select(answers).where(answers.c.token.in_(bindparam("tokens", expanding=True)))
_ASKED = select(queries.c.id, queries.c.kind, queries.c.only_for).where(queries.c.id.in_(_query_ids))
_EVER_LEASED = select(leases.c.query_id, leases.c.annotator).where(leases.c.query_id.in_(_query_ids))
_WHO_ANSWERED = select(answers.c.query_id, answers.c.annotator).where(
    answers.c.query_id.in_(_query_ids), is_live(answers)
)


def assign(connection: Connection, annotator: str, query_ids: Collection[int], expires_at: float) -> None:
    """Lease particular queries to an annotator.

    Raises:
        ValueError: if there is no such query, or it is for somebody else alone.
    """
    only_for = {row.id: row.only_for for row in connection.execute(_ASKED, {"query_ids": query_ids})}
    for id in query_ids:
        if id not in only_for:
            raise AnswerRefusedError(f"There is no query {id} in this store to assign.")
        if only_for[id] not in (None, annotator):
            raise AnswerRefusedError(f"Query {id} is for {only_for[id]} alone and cannot be assigned to {annotator}.")
    lease(connection, annotator, list(only_for), expires_at)


def release(connection: Connection, annotator: str, keeping: Collection[int]) -> int:
    """End the leases of an annotator, but of `keeping` and of queries whose answer they took back; how many."""
    held = connection.execute(_NEVER_ANSWERED, {"annotator": annotator}).scalars()
    given_up = [(id, annotator) for id in held if id not in keeping]
    end_leases(connection, given_up)
    return len(given_up)


def check_annotator(annotator: str, lease_seconds: float = 1.0) -> None:
    """Raise `ValueError` for an unusable name, or a lease that ends before it begins or takes over a day."""
    check_name(annotator)
    if not 0 < lease_seconds <= LONGEST_LEASE:
        raise ValueError(f"A lease lasts more than 0 and at most {LONGEST_LEASE:,} seconds, not {lease_seconds}.")


def prepare_answers(submissions: Sequence[Submission]) -> list[dict[str, Any]]:
    """Submissions checked and turned into rows, so that the transaction that stores them is short.

    Raises:
        ValueError: if a submission has no annotator, an unknown choice, times that are not numbers, or a payload that
            is not JSON; if two share a token; if there are more than 10,000.
    """
    if len(submissions) > MOST_VALUES:
        raise ValueError(f"Submit at most {MOST_VALUES:,} answers at once, not {len(submissions):,}.")
    tokens = [submission.token for submission in submissions if submission.token is not None]
    if len(set(tokens)) < len(tokens):
        raise ValueError("Two answers share a token; make a new token for each answer.")
    return [_row(submission) for submission in submissions]


def _row(submission: Submission) -> dict[str, Any]:
    check_annotator(submission.annotator)
    for name, seconds in (("shown_at", submission.shown_at), ("answered_at", submission.answered_at)):
        if seconds is not None and not math.isfinite(seconds):
            raise ValueError(f"{name} must be seconds since the epoch, not {seconds}.")
    check_token(submission.token)
    check_reasons(submission.reasons)
    payload = submission.payload
    return {
        **vars(submission),
        "choice": None if submission.choice is None else Choice(submission.choice).value,
        "reasons": list(submission.reasons),
        "answered_at": time.time() if submission.answered_at is None else submission.answered_at,
        "payload": None if payload is None else require_json(dict(payload), "payload of an answer"),
    }


def store_answers(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Add those of the prepared answers that are new; return the ids of all, in the same order.

    Raises:
        AnswerRefusedError: if an answer does not fit its query, or its annotator was never asked it or has answered it
            already.
    """
    tokens = [row["token"] for row in rows if row["token"] is not None]
    stored = {row.token: row for row in connection.execute(_SUBMITTED, {"tokens": tokens})} if tokens else {}
    known = {row["token"]: _known_id(row, stored[row["token"]]) for row in rows if row["token"] in stored}
    new = [row for row in rows if row["token"] not in known]
    _check_fits(connection, new)
    added = iter(add_answers(connection, new))
    end_leases(connection, [(row["query_id"], row["annotator"]) for row in new])
    return [known[row["token"]] if row["token"] in known else next(added) for row in rows]


def _known_id(row: dict[str, Any], stored: Row[Any]) -> int:
    """The id of an answer that was stored under the same token."""
    different = (stored.query_id, stored.annotator, stored.choice) != (row["query_id"], row["annotator"], row["choice"])
    different = different or stored.undoes is not None
    # What else is said with a choice, such as how often a clip was replayed, may have grown by the time of a retry.
    if different or (stored.choice is None and stored.payload != row["payload"]):
        raise AnswerRefusedError(
            f"The token {row['token']!r} was given before with a different answer; make a new token for each answer."
        )
    return int(stored.id)


def _check_fits(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Refuse answers that do not fit their queries, of those who were not asked, and second ones of an annotator."""
    asked = {"query_ids": {row["query_id"] for row in rows}}
    found = connection.execute(_ASKED, asked).all()
    kinds: dict[int, str] = {row.id: row.kind for row in found}
    allowed = {(id, annotator) for id, annotator in connection.execute(_EVER_LEASED, asked)}
    allowed |= {(row.id, row.only_for) for row in found}
    # A comparison is answered by a choice alone, whatever was shown.
    shown = _what_is_shown(connection, [id for id, kind in kinds.items() if kind != Comparison.name])
    answered = {(id, annotator) for id, annotator in connection.execute(_WHO_ANSWERED, asked)}
    for row in rows:
        id, annotator = row["query_id"], row["annotator"]
        if id not in kinds:
            raise AnswerRefusedError(f"There is no query {id} in this store to answer.")
        if (id, annotator) not in allowed:
            raise AnswerRefusedError(
                f"{annotator} was not asked query {id}; only who has taken a query, or was assigned it, may answer it."
            )
        if row["choice"] != Choice.SKIP:
            choice = None if row["choice"] is None else Choice(row["choice"])
            try:
                KINDS.named(kinds[id]).label(choice, row["payload"], *shown.get(id, (2, 0)))
            except ValueError as error:
                raise AnswerRefusedError(f"Query {id} cannot be answered so: {error}.") from error
        if (id, annotator) in answered:
            raise AnswerRefusedError(f"{annotator} has answered query {id} already; undo that answer to change it.")
        answered.add((id, annotator))


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


def take_back(
    connection: Connection, annotator: str, token: str | None, now: float, expires_at: float
) -> Answer | None:
    """Add a row that takes back an annotator's latest live answer and lease its query to them; None without one.

    Raises:
        AnswerRefusedError: if the token names something else than an undo of this annotator.
    """
    if token is not None:
        repeated = connection.execute(_SUBMITTED, {"tokens": [token]}).first()
        if repeated is not None:
            if repeated.annotator != annotator or repeated.undoes is None:
                raise AnswerRefusedError(
                    f"The token {token!r} was given before with something else than an undo of {annotator}; make a new "
                    "token for each undo."
                )
            return decoding.answer(repeated)
    theirs = select(answers.c.id, answers.c.query_id).where(answers.c.annotator == annotator, is_live(answers))
    latest = connection.execute(theirs.order_by(answers.c.id.desc()).limit(1)).first()
    if latest is None:
        return None
    undo = vars(Submission(latest.query_id, annotator, None, answered_at=now, token=token)) | {"undoes": latest.id}
    [added] = add_answers(connection, [undo])
    lease(connection, annotator, [latest.query_id], expires_at)
    return Answer.of({**undo, "id": added})
