"""Decodes the rows of a store, which may have been written by anybody: here and nowhere else rows become objects.

A file can hold anything in any column, whatever its tables declare. What a row holds is checked before it is used, so
that a store that is damaged or forged is refused in one sentence and nothing of it is half used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import JSON, Double, Integer, LargeBinary, Row, String, Table

from rlhf_envs.feedback.store import schema
from rlhf_envs.json_values import require_json
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import (
    LONGEST_KEY,
    Answer,
    LiveAnswer,
    Purpose,
    Query,
    check_name,
    check_reasons,
    check_token,
    require_line,
)
from rlhf_envs.segments import Segment

_Decoded = TypeVar("_Decoded")
_Columns = Mapping[str, Any]

_MOST_DIGITS = 4_000
_TYPES: dict[type, tuple[type, ...]] = {
    Integer: (int,),
    String: (str,),
    Double: (int, float),
    LargeBinary: (bytes,),
}


class DamagedRowError(ValueError):
    """A row makes no sense. `Database` says of which store it is, as a `StoreDamagedError`."""


def decode_json(text: str | bytes) -> Any:
    """The value of a JSON column; given to SQLAlchemy as its deserializer.

    Raises:
        DamagedRowError: if it is none, or one that could not be written again.
    """
    if not isinstance(text, str | bytes):
        # SQLite keeps a JSON number as a number, and SQLAlchemy takes this for one.
        raise TypeError(f"{text!r:.40} is no text")
    try:
        value = json.loads(text, parse_constant=_no_constant)
        # Half a surrogate pair, or a number without end, can only be written as an escape or with many digits.
        if len(text) > _MOST_DIGITS or "\\u" in str(text):
            require_json(value, "value")
        return value
    except (ValueError, TypeError, RecursionError) as error:
        shown = str(text)
        shown = shown if len(shown) <= 40 and shown.isprintable() else ascii(shown[:40]) + " ..."
        raise DamagedRowError(f"it holds {shown} where a JSON value should be") from error


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def answer(row: Row[Any]) -> Answer:
    """An answer, or an undo, from a row of `answers`."""
    columns = _columns(row)
    return _decoded("answer", columns, _ANSWER, lambda: _checked_answer(Answer.of(columns)))


def live_answer(row: Row[Any], segment_ids: tuple[int, ...]) -> LiveAnswer:
    """An answer with what is to be known of its query, from a row of `answers` joined with `queries`.

    Args:
        row: of the database.
        segment_ids: what its query shows.
    """

    def decode() -> LiveAnswer:
        _check_query(columns)
        _check_shown(columns, segment_ids)
        return LiveAnswer.of({**columns, "purpose": Purpose(columns["purpose"]), "segment_ids": segment_ids})

    columns = _columns(row)
    return _decoded("answer", columns, _LIVE_ANSWER, lambda: _checked_answer(decode()))


def query(row: Row[Any], segment_ids: tuple[int, ...], shown: Mapping[int, Segment]) -> Query:
    """A query from a row of `queries`, and its segments.

    Args:
        row: of the database.
        segment_ids: what it shows.
        shown: the segments by their ids.
    """

    def decode() -> Query:
        _check_query(columns)
        _check_shown(columns, segment_ids)
        told = {name: columns[name] for name in ("id", "key", "round", "kind", "context", "only_for")}
        return Query(**told, purpose=Purpose(columns["purpose"]), segments=(), segment_ids=segment_ids)

    columns = _columns(row)
    return with_segments(_decoded("query", columns, _QUERY, decode), shown)


def with_segments(query: Query, shown: Mapping[int, Segment]) -> Query:
    """A query with its segments, taken from those that are given by their ids."""
    for id in query.segment_ids:
        if id not in shown:
            raise DamagedRowError(f"query {query.id} shows segment {id}, which is not there")
    return replace(query, segments=tuple(shown[id] for id in query.segment_ids))


def query_columns(row: Row[Any]) -> dict[str, Any]:
    """The columns of a row of `queries`, checked."""

    def decode() -> dict[str, Any]:
        _check_query(columns)
        Purpose(columns["purpose"])
        return columns

    columns = _columns(row)
    return _decoded("query", columns, _QUERY, decode)


def segment(row: Row[Any], digest: Callable[[bytes], str]) -> Segment:
    """A segment from a row of `segments`.

    Args:
        row: of the database.
        digest: the fingerprint of stored bytes.
    """

    def decode() -> Segment:
        if digest(columns["content"]) != columns["digest"]:
            raise ValueError("its bytes are not those that were written")
        decoded = Segment.from_bytes(columns["content"])
        if len(decoded) != columns["length"]:
            raise ValueError(f"it has {len(decoded)} steps, and should have {columns['length']}")
        return decoded

    columns = _columns(row)
    return _decoded("segment", columns, _SEGMENT, decode)


def shown_segment(row: Sequence[Any]) -> tuple[int, int]:
    """A query's id and a segment's id, from a row of `query_segments`."""
    query_id, segment_id = row
    if type(query_id) is not int or type(segment_id) is not int:
        raise DamagedRowError(f"query {query_id!r:.40} shows segment {segment_id!r:.40}, which are no numbers")
    return query_id, segment_id


def status_message(row: Row[Any]) -> tuple[str, dict[str, Any], float]:
    """The name, the value and the time of a status message, from a row of `notices`."""

    def decode() -> tuple[str, dict[str, Any], float]:
        if not isinstance(columns["value"], dict):
            raise ValueError("it is no JSON object")
        return require_line(columns["name"], "Its name"), columns["value"], columns["posted_at"]

    columns = _columns(row)
    return _decoded("status message", columns, _NOTICE, decode)


def times(row: Sequence[Any]) -> tuple[float | None, float | None]:
    """When a query was shown and when it was answered, from those two columns of `answers`."""
    shown_at, answered_at = row
    for value in (shown_at, answered_at):
        if value is not None and not (type(value) in (int, float) and math.isfinite(value)):
            raise DamagedRowError(f"an answer was given at {value!r:.40}, which is no time")
    return shown_at, answered_at


def tally(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of a sum over rows of `tallies`, checked."""

    def decode() -> dict[str, Any]:
        check_name(columns["annotator"])
        return columns

    return _decoded("tally", columns, _TALLY, decode)


def practice_answer(row: Sequence[Any]) -> tuple[str, Any, Any]:
    """Whose answer, what was said, and what should have been, from an answer's annotator and choice and a context."""
    annotator, choice, context = row
    if not isinstance(annotator, str) or not isinstance(context, dict):
        raise DamagedRowError(f"a practice answer is by {annotator!r:.40}, or its query has no context")
    return annotator, choice, context.get("answer")


def whole_number(value: Any, what: str) -> int:
    """A count that the database has made of what is in a column."""
    if type(value) is not int:
        raise DamagedRowError(f"the {what} is {value!r:.40}, which is no whole number")
    return value


def person(row: Row[Any]) -> dict[str, Any]:
    """The columns of a row of `annotators`, checked."""

    def decode() -> dict[str, Any]:
        check_name(columns["name"])
        if not columns["token_digest"].isascii():
            raise ValueError("its digest is none")
        return columns

    columns = _columns(row)
    return _decoded("annotator", columns, _PERSON, decode)


def _columns(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping}


def _check_query(row: _Columns) -> None:
    for name in ("key", "kind"):
        if name in row:
            require_line(row[name], f"Its {name}", LONGEST_KEY)
    if not isinstance(row["context"], dict):
        raise ValueError("its context is no JSON object")
    if row["round"] < 0 or row.get("wanted", 1) < 1:
        raise ValueError(f"it is of round {row['round']} and wants {row.get('wanted')} answers")
    if row.get("only_for") is not None:
        check_name(row["only_for"])


def _check_shown(columns: _Columns, segment_ids: tuple[int, ...]) -> None:
    kind = KINDS.get(columns["kind"])
    if kind is not None:
        kind.check_query(columns.get("key", "of this answer"), len(segment_ids))
    elif not segment_ids:
        raise ValueError("nothing is shown")


_AnyAnswer = TypeVar("_AnyAnswer", bound=Answer)


def _checked_answer(decoded: _AnyAnswer) -> _AnyAnswer:
    check_name(decoded.annotator)
    check_token(decoded.token)
    check_reasons(decoded.reasons)
    if decoded.payload is not None and not isinstance(decoded.payload, dict):
        raise ValueError("its payload is no JSON object")
    return decoded


_Spec = tuple[tuple[str, tuple[type, ...], bool], ...]


def _spec(table: Table, *names: str) -> _Spec:
    """What the columns of a table may hold, JSON left out: name, types, and whether there may be nothing."""
    columns = [table.c[name] for name in names] if names else list(table.c)
    found = []
    for column in columns:
        if not isinstance(column.type, JSON):
            types = next(types for type, types in _TYPES.items() if isinstance(column.type, type))
            found.append((column.name, types, bool(column.nullable)))
        elif not column.nullable:
            found.append((column.name, (dict, list), False))
    return tuple(found)


_ANSWER = _spec(schema.answers)
_QUERY = _spec(schema.queries)
_LIVE_ANSWER = (*_ANSWER, *_spec(schema.queries, "round", "kind", "purpose", "context"))
_SEGMENT = _spec(schema.segments)
_NOTICE = _spec(schema.notices)
_PERSON = _spec(schema.annotators)
_TALLY = _spec(schema.tallies, *(column.name for column in schema.tallies.c if column.name != "purpose"))


def _decoded(what: str, row: _Columns, spec: _Spec, decode: Callable[[], _Decoded]) -> _Decoded:
    try:
        for name, types, may_be_nothing in spec:
            value = row[name]
            if value is None:
                if not may_be_nothing:
                    raise ValueError(f"it has no {name}")
            elif type(value) not in types:
                raise ValueError(f"its {name} is {value!r:.40}")
            elif type(value) is float and not math.isfinite(value):
                raise ValueError(f"its {name} is {value}, which is no number")
        return decode()
    except (ValueError, OverflowError) as error:
        name = row.get("id", row.get("name"))
        reason = " ".join(str(error).split()).rstrip(".")
        raise DamagedRowError(f"{what} {name!r:.40} makes no sense: {reason}") from error
