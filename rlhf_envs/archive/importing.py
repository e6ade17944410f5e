"""From an archive, or another store, into a feedback store: a new one, or one that has queries of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from rlhf_envs.archive.batching import in_groups
from rlhf_envs.archive.checking import check_rows
from rlhf_envs.archive.merging import Merge
from rlhf_envs.archive.reading import Archive
from rlhf_envs.archive.rows import Rows
from rlhf_envs.feedback.asking import content_digest
from rlhf_envs.feedback.database import Database
from rlhf_envs.feedback.errors import StoreExistsError
from rlhf_envs.feedback.founding import found_store, recognise_store
from rlhf_envs.feedback.schema import queries, segments

_SEGMENTS_AT_ONCE = 256
_BYTES_AT_ONCE = 16 * 2**20


@dataclass(frozen=True)
class ImportReport:
    """What an import added, and what it found there already.

    Attributes:
        queries, answers: added; rows that take an answer back count as answers.
        known_queries, known_answers: that were there already.
        new_store: whether the store was made for it.
    """

    queries: int
    answers: int
    known_queries: int
    known_answers: int
    new_store: bool


def import_archive(
    folder: str | os.PathLike[str], store: str | os.PathLike[str], *, patience: float = 10.0
) -> ImportReport:
    """Put everything that an archive holds into a store, which is made if there is none.

    A new store gets the same queries, answers, undos and segments in the same order. A store that is there gets those
    that it does not have yet, under keys of their own and in round 0, so that they come into the way of no run;
    importing the same, or a later export of the same store, adds only what is new. The archive is checked from end to
    end before anything is stored, and queries and answers are stored all or none.

    Args:
        folder: what `export_store` made.
        store: path or SQLAlchemy URL.
        patience: seconds to wait for another process that holds the store.

    Raises:
        ValueError: if pyarrow is not installed; the folder is no archive, damaged, of a newer version or makes no
            sense; or the store is about another environment, or disagrees with the archive about what somebody said.
        StoreError: if the store is damaged, locked, of a newer version, or cannot be written.
    """
    archive = Archive(folder)
    check_rows(archive)
    return copy_rows(archive, store, patience=patience)


def copy_rows(rows: Rows, store: str | os.PathLike[str], *, patience: float = 10.0) -> ImportReport:
    """Put the rows of any source into a store; see `import_archive`. The rows are taken to fit each other."""
    database = Database(store, patience)
    try:
        new_store = _founded(database, rows)
        as_is = new_store or database.read(_was_left_half_way)
        numbers, digests = _add_segments(database, rows)
        merge: Merge = database.write(lambda connection: Merge(connection, rows, numbers, digests, as_is))
    finally:
        database.close()
    return ImportReport(merge.added_queries, merge.added_answers, merge.known_queries, merge.known_answers, new_store)


def _founded(database: Database, rows: Rows) -> bool:
    """Make the store if there is none; whether there was none.

    Raises:
        ValueError: if it is about another environment.
    """
    try:
        found_store(database, rows.environment)
        return True
    except StoreExistsError:
        pass
    _check_same_environment(recognise_store(database), rows.environment, database.place, rows.place)
    return False


def _was_left_half_way(connection: Connection) -> bool:
    """Whether an import into a new store ended before its queries came: a run never stores segments without them."""
    no_queries = connection.execute(select(queries.c.id).limit(1)).first() is None
    return no_queries and connection.execute(select(segments.c.id).limit(1)).first() is not None


def _check_same_environment(
    there: Mapping[str, Any], here: Mapping[str, Any], store_place: str, source_place: str
) -> None:
    for name in dict.fromkeys([*there, *here]):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"The store {store_place} is about {name} = {there.get(name)!r}, and {source_place} about "
                f"{here.get(name)!r}; import it into a store of its own."
            )


def _add_segments(database: Database, rows: Rows) -> tuple[dict[int, int], dict[int, str]]:
    """Store the segments that are new; where each is in the store, and its digest there, by its number in the source.

    Segments are stored group by group, so that nobody waits long for the store. Where this ends half way, they are
    found again the next time, and until then no query shows them.
    """
    numbers: dict[int, int] = {}
    digests: dict[int, str] = {}
    packed = ((id, len(segment), segment.to_bytes()) for id, segment in rows.segments())
    for group in in_groups(packed, _SEGMENTS_AT_ONCE, _BYTES_AT_ONCE, lambda row: len(row[2])):
        wanted = {
            content_digest(content): {"digest": content_digest(content), "length": length, "content": content}
            for _, length, content in group
        }
        stored = _store(database, wanted)
        for id, _, content in group:
            digests[id] = content_digest(content)
            numbers[id] = stored[digests[id]]
    return numbers, digests


def _store(database: Database, wanted: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Add those rows that are new; the ids of all, by digest."""
    return database.write(lambda connection: _add_new(connection, wanted))


def _add_new(connection: Connection, wanted: dict[str, dict[str, Any]]) -> dict[str, int]:
    find = select(segments.c.digest, segments.c.id).where(segments.c.digest.in_(wanted))
    known: dict[str, int] = dict(connection.execute(find).all())
    new = [row for digest, row in wanted.items() if digest not in known]
    if new:
        connection.execute(insert(segments), new)
        known = dict(connection.execute(find).all())
    return known
