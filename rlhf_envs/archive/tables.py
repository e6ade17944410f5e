"""Queries and answers as tables: one column for each field, in types that every reader of Parquet knows.

A ranking and the ratings of an answer have columns of their own, so that nobody has to read JSON for them; whatever
else its payload holds stays JSON. The tables are described in docs/data.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_envs.archive.parquet import pa
from rlhf_envs.archive.rows import AnswerRow, QueryRow
from rlhf_envs.feedback.json_values import require_json
from rlhf_envs.queries import Choice, Kind, Purpose

RANKING = "ranking"
RATINGS = "ratings"

_MOST = 2**53  # beyond this a float64 does not hold every whole number


def query_schema() -> Any:
    """The columns of queries.parquet."""
    return pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            pa.field("round", pa.int64(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("purpose", pa.string(), nullable=False),
            pa.field("segments", pa.list_(pa.int64()), nullable=False),
            pa.field("wanted", pa.int64(), nullable=False),
            pa.field("only_for", pa.string()),
            pa.field("created_at", pa.float64(), nullable=False),
            pa.field("context", pa.string(), nullable=False),
        ]
    )


def answer_schema() -> Any:
    """The columns of answers.parquet."""
    return pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("query", pa.int64(), nullable=False),
            pa.field("annotator", pa.string(), nullable=False),
            pa.field("choice", pa.string()),
            pa.field(RANKING, pa.list_(pa.int64())),
            pa.field(RATINGS, pa.list_(pa.float64())),
            pa.field("undoes", pa.int64()),
            pa.field("reasons", pa.list_(pa.string()), nullable=False),
            pa.field("shown_at", pa.float64()),
            pa.field("answered_at", pa.float64()),
            pa.field("payload", pa.string()),
            pa.field("token", pa.string()),
        ]
    )


def queries_to_batch(rows: Sequence[QueryRow]) -> Any:
    """Queries as one batch of rows."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "id": row.id,
                "key": row.key,
                "round": row.round,
                "kind": row.kind.value,
                "purpose": row.purpose.value,
                "segments": row.segments,
                "wanted": row.wanted,
                "only_for": row.only_for,
                "created_at": row.created_at,
                "context": json.dumps(row.context),
            }
            for row in rows
        ],
        schema=query_schema(),
    )


def answers_to_batch(rows: Sequence[AnswerRow]) -> Any:
    """Answers as one batch of rows."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "id": row.id,
                "query": row.query,
                "annotator": row.annotator,
                "choice": None if row.choice is None else row.choice.value,
                "undoes": row.undoes,
                "reasons": row.reasons,
                "shown_at": row.shown_at,
                "answered_at": row.answered_at,
                "token": row.token,
                **_spread(row.payload),
            }
            for row in rows
        ],
        schema=answer_schema(),
    )


def query_from_row(row: Mapping[str, Any]) -> QueryRow:
    """The query of a row. Raises `ValueError` if a value makes no sense."""
    context = json.loads(row["context"])
    if not isinstance(context, dict):
        raise ValueError(f"its context is no JSON object, but {context!r}")
    if not math.isfinite(row["created_at"]):
        raise ValueError(f"it was asked at {row['created_at']}, which is no time")
    return QueryRow(
        row["id"],
        row["key"],
        row["round"],
        Kind(row["kind"]),
        Purpose(row["purpose"]),
        require_json(context, "context of a query"),
        row["wanted"],
        row["created_at"],
        row["only_for"],
        tuple(row["segments"]),
    )


def answer_from_row(row: Mapping[str, Any]) -> AnswerRow:
    """The answer of a row. Raises `ValueError` if a value makes no sense."""
    for name in ("shown_at", "answered_at"):
        if row[name] is not None and not math.isfinite(row[name]):
            raise ValueError(f"its {name} is {row[name]}, which is no time")
    return AnswerRow(
        row["id"],
        row["query"],
        row["annotator"],
        None if row["choice"] is None else Choice(row["choice"]),
        row["undoes"],
        tuple(row["reasons"]),
        row["shown_at"],
        row["answered_at"],
        _gather(row),
        row["token"],
    )


def _spread(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    if payload is None:
        return {}
    rest = dict(payload)
    columns: dict[str, Any] = {}
    for name, kinds in ((RANKING, (int,)), (RATINGS, (int, float))):
        said = rest.get(name)
        if isinstance(said, list) and all(type(value) in kinds and abs(value) < _MOST for value in said):
            columns[name] = rest.pop(name)
    # An answer that has nothing but a ranking has no other payload; an empty one is kept apart from none.
    return columns | {"payload": json.dumps(rest) if rest or not columns else None}


def _gather(row: Mapping[str, Any]) -> dict[str, Any] | None:
    columns = {name: row[name] for name in (RANKING, RATINGS) if row[name] is not None}
    rest = {} if row["payload"] is None else json.loads(row["payload"])
    if not isinstance(rest, dict):
        raise ValueError(f"its payload is no JSON object, but {rest!r}")
    if row["payload"] is None and not columns:
        return None
    gathered: dict[str, Any] = require_json(columns | rest, "payload of an answer")
    return gathered
