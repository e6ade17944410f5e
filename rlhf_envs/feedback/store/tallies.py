"""What is counted as answers come in, so that no later question has to look at all of them.

All answers enter the store by way of `add_answers`. One process writes at a time, and ids rise, so the answers that a
transaction has just added are those from the first of their ids on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select, text

from rlhf_envs.feedback.store import rows
from rlhf_envs.feedback.store.asking import add_rows
from rlhf_envs.feedback.store.schema import answers, is_live, is_practice, queries, tallies
from rlhf_envs.queries import Purpose, Tally, seconds_taken

_ADDED = """(
    SELECT fresh.id, fresh.query_id + 0 AS query_id, fresh.annotator || '' AS annotator, fresh.answered_at,
        queries.purpose,
        CASE WHEN fresh.undoes IS NULL THEN 1 ELSE -1 END AS sign,
        CASE WHEN fresh.undoes IS NULL THEN fresh.choice ELSE undone.choice END AS said
    FROM answers AS fresh
    JOIN queries ON queries.id = fresh.query_id
    LEFT JOIN answers AS undone ON undone.id = fresh.undoes
    WHERE fresh.id >= :first
)"""
"""New answers, and what new undos take away. Columns are computed, for otherwise SQLite would go through the index of
one of them, and so through all answers, to spare itself the sorting of a few."""

_COUNT_IN_QUERIES = text(f"""
UPDATE queries SET
    reopened = CASE WHEN queries.given >= queries.wanted AND queries.given + counted.given < queries.wanted
        THEN 1 ELSE queries.reopened END,
    given = queries.given + counted.given,
    skipped = queries.skipped + counted.skipped
FROM (
    SELECT query_id, SUM(sign) AS given, SUM(CASE WHEN said = 'skip' THEN sign ELSE 0 END) AS skipped
    FROM {_ADDED} AS added GROUP BY query_id
) AS counted
WHERE queries.id = counted.query_id
""")

_ADD_TO_TALLIES = """
ON CONFLICT (annotator, purpose) DO UPDATE SET
    given = tallies.given + excluded.given,
    skipped = tallies.skipped + excluded.skipped,
    lefts = tallies.lefts + excluded.lefts,
    rights = tallies.rights + excluded.rights,
    agreed = tallies.agreed + excluded.agreed,
    compared = tallies.compared + excluded.compared,
    last_answered_at = CASE
        WHEN tallies.last_answered_at IS NULL OR excluded.last_answered_at > tallies.last_answered_at
        THEN excluded.last_answered_at ELSE tallies.last_answered_at END
"""

_COUNT_OWN = text(f"""
INSERT INTO tallies (annotator, purpose, given, skipped, lefts, rights, agreed, compared, last_answered_at)
SELECT annotator, purpose, SUM(sign),
    SUM(CASE WHEN said = 'skip' THEN sign ELSE 0 END),
    SUM(CASE WHEN said = 'left' THEN sign ELSE 0 END),
    SUM(CASE WHEN said = 'right' THEN sign ELSE 0 END),
    0, 0, MAX(answered_at)
FROM {_ADDED} AS added WHERE true GROUP BY annotator, purpose
{_ADD_TO_TALLIES}""")

# Two answers make one pair for each of their annotators, and it goes when either of them is taken back.
_COUNT_AGREEMENT = text(f"""
WITH pairs AS (
    SELECT added.annotator AS one, other.annotator AS two, added.purpose, added.sign,
        CASE WHEN added.said = other.choice THEN added.sign ELSE 0 END AS alike
    FROM {_ADDED} AS added JOIN answers AS other ON other.query_id = added.query_id
    WHERE added.said IN ('left', 'right') AND other.choice IN ('left', 'right')
        AND other.annotator <> added.annotator AND other.id < added.id
        AND NOT EXISTS (SELECT 1 FROM answers AS gone WHERE gone.undoes = other.id AND gone.id < added.id)
)
INSERT INTO tallies (annotator, purpose, given, skipped, lefts, rights, agreed, compared, last_answered_at)
SELECT annotator, purpose, 0, 0, 0, 0, SUM(alike), SUM(sign), NULL
FROM (
    SELECT one AS annotator, purpose, sign, alike FROM pairs
    UNION ALL SELECT two, purpose, sign, alike FROM pairs
) AS sides WHERE true GROUP BY annotator, purpose
{_ADD_TO_TALLIES}""")

_purposes: BindParameter[str] = bindparam("purposes", expanding=True)
_SUMS = (
    select(
        tallies.c.annotator,
        *(
            func.sum(tallies.c[name]).label(name)
            for name in ("given", "skipped", "lefts", "rights", "agreed", "compared")
        ),
        func.max(tallies.c.last_answered_at).label("last_answered_at"),
    )
    .where(tallies.c.purpose.in_(_purposes))
    .group_by(tallies.c.annotator)
    .having(func.sum(tallies.c.given) > 0)
    .order_by(tallies.c.annotator)
)
_GIVEN = select(func.coalesce(func.sum(tallies.c.given), 0)).where(
    tallies.c.annotator == bindparam("annotator"), tallies.c.purpose.in_(_purposes)
)
_LATEST_TIMES = (
    select(answers.c.shown_at, answers.c.answered_at)
    .join(queries, queries.c.id == answers.c.query_id)
    .where(answers.c.annotator == bindparam("annotator"), is_live(answers), queries.c.purpose.in_(_purposes))
    .order_by(answers.c.id.desc())
    .limit(bindparam("latest"))
)
_PRACTICE = (
    select(answers.c.annotator, answers.c.choice, queries.c.context)
    .join(queries, queries.c.id == answers.c.query_id)
    .where(is_practice, is_live(answers))
)


@dataclass(frozen=True)
class AnnotatorTally(Tally):
    """What one annotator has said, in numbers of answers that stand.

    Attributes:
        skipped, lefts, rights: how many are skips, "left" and "right".
        compared: how often another annotator has said a side of the same query as this one.
        agreed: how often it was the same side.
        last_answered_at: when the latest answer was given, seconds since the epoch.
    """

    skipped: int
    lefts: int
    rights: int
    agreed: int
    compared: int
    last_answered_at: float | None


def add_answers(connection: Connection, values: Sequence[Mapping[str, Any]]) -> Sequence[int]:
    """Insert rows of answers, count them, and return their ids in the same order."""
    ids = add_rows(connection, answers, values)
    if ids:
        added = {"first": min(ids)}
        for statement in (_COUNT_IN_QUERIES, _COUNT_OWN, _COUNT_AGREEMENT):
            connection.execute(statement, added)
    return ids


def load_tally(connection: Connection, annotator: str, latest: int, purposes: Collection[Purpose]) -> Tally:
    """How many answers of an annotator to queries of these purposes stand, and how long the latest of them took."""
    about = {"annotator": annotator, "purposes": [purpose.value for purpose in purposes]}
    given = connection.execute(_GIVEN, about).scalar_one()
    return Tally(
        rows.whole_number(given, f"number of answers of {annotator}"), _latest_seconds(connection, about, latest)
    )


def load_tallies(connection: Connection, latest: int, purposes: Collection[Purpose]) -> dict[str, AnnotatorTally]:
    """What everybody has said about queries of these purposes whose answers stand, by name in alphabetical order."""
    about = {"purposes": [purpose.value for purpose in purposes]}
    found = {}
    for row in connection.execute(_SUMS, about).all():
        counted = rows.tally({**row._mapping})
        name, given = counted.pop("annotator"), counted.pop("given")
        found[name] = AnnotatorTally(given, _latest_seconds(connection, about | {"annotator": name}, latest), **counted)
    return found


def load_practice(connection: Connection) -> dict[str, tuple[int, int]]:
    """Of how many practice answers of each annotator the right one was given: (right, all), by name."""
    found: dict[str, tuple[int, int]] = {}
    for annotator, choice, expected in map(rows.practice_answer, connection.execute(_PRACTICE)):
        right, given = found.get(annotator, (0, 0))
        found[annotator] = right + (choice == expected), given + 1
    return found


def _latest_seconds(connection: Connection, about: Mapping[str, Any], latest: int) -> tuple[float, ...]:
    """The newest first."""
    times = connection.execute(_LATEST_TIMES, {**about, "latest": latest})
    seconds = [seconds_taken(*rows.times(row)) for row in times]
    return tuple(taken for taken in seconds if taken is not None)
