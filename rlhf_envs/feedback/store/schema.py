"""The tables of a feedback store. Answers are only ever added: the database itself refuses to change or remove one.

All times are seconds since the epoch. Timestamps come from the clock of the process that writes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    JSON,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    event,
    exists,
    literal_column,
)

from rlhf_envs.queries import Purpose

SCHEMA_VERSION = 5
"""Raised by every change to the tables; only stores of this version are opened."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
)

segments = Table(
    "segments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(32), nullable=False, unique=True),
    Column("length", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""`content` is `Segment.to_bytes()`; `digest` its BLAKE2b fingerprint, so that each segment is stored once."""

queries = Table(
    "queries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("round", Integer, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("context", JSON, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("only_for", String),
    Column("given", Integer, nullable=False, default=0, server_default="0"),
    Column("skipped", Integer, nullable=False, default=0, server_default="0"),
    Column("reopened", Integer, nullable=False, default=0, server_default="0"),
    sqlite_autoincrement=True,
)
"""`wanted` is how many annotators should answer; `only_for` names the one annotator who is asked, if it is only one.

`given` counts the answers that stand, and `skipped` those of them that are skips (see `tallies`); a query is open while
fewer are given than wanted. `reopened` is 1 where it was open again after it had been closed, else 0.
"""

is_open = queries.c.given < queries.c.wanted
was_reopened = queries.c.reopened == literal_column("1")


def _index(name: str, *columns: Column[Any], where: ColumnElement[bool]) -> None:
    """A partial index, of which SQLite and PostgreSQL are told in words of their own."""
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


# What is asked of everybody, of one annotator, and again: `taking` looks at these rows alone, however many others are
# there. SQLite uses them where a statement repeats their condition word for word.
_index("open_queries", queries.c.id, where=and_(queries.c.only_for.is_(None), is_open))
_index("queries_for_one", queries.c.only_for, queries.c.id, where=and_(queries.c.only_for.is_not(None), is_open))
_index("reopened_queries", queries.c.id, where=and_(was_reopened, is_open))
is_practice = queries.c.purpose == literal_column(f"'{Purpose.PRACTICE.value}'")
_index("practice_queries", queries.c.id, where=is_practice)

query_segments = Table(
    "query_segments",
    metadata,
    Column("query_id", ForeignKey("queries.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("segment_id", ForeignKey("segments.id"), nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("query_id", ForeignKey("queries.id"), primary_key=True),
    Column("annotator", String, primary_key=True),
    Column("expires_at", Double, nullable=False),
    Column("ahead", Integer, nullable=False, default=0, server_default="0"),
)
"""Who was asked which query, and until when it is kept for them: only they may answer it, however late. `expires_at` is
`ENDED` once they have answered it or let others have it. `ahead` is 1 where a screen holds it and does not show it yet,
so that another one may take it over."""

ENDED = 0.0

# Partial, because most leases have ended.
has_not_ended = leases.c.expires_at > literal_column(str(ENDED))
_index("leases_of_annotator", leases.c.annotator, where=has_not_ended)
_index("leases_of_query", leases.c.query_id, leases.c.annotator, leases.c.expires_at, where=has_not_ended)

answers = Table(
    "answers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("query_id", ForeignKey("queries.id"), nullable=False),
    Column("annotator", String, nullable=False),
    Column("choice", String),
    Column("undoes", ForeignKey("answers.id")),
    Column("reasons", JSON, nullable=False),
    Column("shown_at", Double),
    Column("answered_at", Double),
    Column("payload", JSON(none_as_null=True)),
    Column("token", String, unique=True),
    sqlite_autoincrement=True,
)
"""`undoes` names the answer that a row takes back; `token` makes a repeated submit harmless."""

Index("answers_of_query", answers.c.query_id, answers.c.annotator)
# Partial, because SQLite would otherwise look for the answers to a query among all rows whose `undoes` is NULL.
Index(
    "answers_taken_back",
    answers.c.undoes,
    unique=True,
    sqlite_where=answers.c.undoes.is_not(None),
    postgresql_where=answers.c.undoes.is_not(None),
)
_index("undone_by", answers.c.annotator, answers.c.query_id, where=answers.c.undoes.is_not(None))
Index("answers_of_annotator", answers.c.annotator, answers.c.id)

tallies = Table(
    "tallies",
    metadata,
    Column("annotator", String, primary_key=True),
    Column("purpose", String, primary_key=True),
    *(Column(name, Integer, nullable=False) for name in ("given", "skipped", "lefts", "rights", "agreed", "compared")),
    Column("last_answered_at", Double),
)
"""How many answers of an annotator to queries of a purpose stand, and how many are skips, "left" and "right"; how often
another annotator's answer to the same query says a side as this one does, and how often the two `agreed`."""

passed = Table(
    "passed",
    metadata,
    Column("annotator", String, primary_key=True),
    Column("selection", String, primary_key=True),
    Column("query_id", Integer, nullable=False),
)
"""Up to which query an annotator has nothing more to take, of those that anybody may answer; see `taking`."""

annotators = Table(
    "annotators",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("token_digest", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
)
"""Who may answer over the network. Only the digest of a token is kept, so that nobody can read tokens here."""

notices = Table(
    "notices",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("posted_at", Double, nullable=False),
)
"""The newest word of each kind between processes: how training goes, what the owner of a run requests."""

# SQLite's INSERT OR REPLACE removes the old row without firing its DELETE trigger, hence the trigger on INSERT.
_SQLITE_TRIGGERS = (
    """CREATE TRIGGER answers_are_never_changed BEFORE UPDATE ON answers
    BEGIN SELECT RAISE(ABORT, 'answers are append-only'); END""",
    """CREATE TRIGGER answers_are_never_removed BEFORE DELETE ON answers
    BEGIN SELECT RAISE(ABORT, 'answers are append-only'); END""",
    """CREATE TRIGGER answers_are_never_replaced BEFORE INSERT ON answers
    WHEN EXISTS (SELECT 1 FROM answers WHERE id = NEW.id)
      OR EXISTS (SELECT 1 FROM answers WHERE token = NEW.token)
      OR EXISTS (SELECT 1 FROM answers WHERE undoes = NEW.undoes)
    BEGIN SELECT RAISE(ABORT, 'answers are append-only'); END""",
)
_POSTGRESQL_TRIGGERS = (
    """CREATE FUNCTION refuse_to_change_answers() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'answers are append-only'; END $$""",
    """CREATE TRIGGER answers_are_never_changed BEFORE UPDATE OR DELETE ON answers
    FOR EACH ROW EXECUTE FUNCTION refuse_to_change_answers()""",
    """CREATE TRIGGER answers_are_never_emptied BEFORE TRUNCATE ON answers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_answers()""",
)
for _dialect, _statements in (("sqlite", _SQLITE_TRIGGERS), ("postgresql", _POSTGRESQL_TRIGGERS)):
    for _statement in _statements:
        event.listen(answers, "after_create", DDL(_statement).execute_if(dialect=_dialect))


def is_live(answer: FromClause, as_of: int | None = None) -> ColumnElement[bool]:
    """Whether a row of `answers` (or of an alias of it) is an answer that no later row takes back.

    Args:
        answer: the table or alias that the row is from.
        as_of: look at the store as it was when the row of this id was its newest; None for as it is now.
    """
    undo = answers.alias()
    taken_back = undo.c.undoes == answer.c.id
    if as_of is None:
        return and_(answer.c.undoes.is_(None), ~exists().where(taken_back))
    return and_(answer.c.undoes.is_(None), answer.c.id <= as_of, ~exists().where(taken_back, undo.c.id <= as_of))
