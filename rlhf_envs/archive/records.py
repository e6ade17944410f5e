"""What an archive is made of: records of queries, answers and segments, from a feedback store or from an archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, Table, func, select

from rlhf_envs.feedback.store import rows
from rlhf_envs.feedback.store.database import Database, batches
from rlhf_envs.feedback.store.reading import Cache, load_segments, load_shown
from rlhf_envs.feedback.store.schema import answers, queries, segments
from rlhf_envs.feedback.store.store import read_description
from rlhf_envs.queries import Answer, Purpose
from rlhf_envs.segments import Segment

_REFERENCES = {Purpose.CHECK: "repeats", Purpose.TRAIN: "corrects"}
"""Entries of a context that name an earlier query by its id: which a CHECK query repeats, or a correction is about."""

_Decoded = TypeVar("_Decoded")

_PAGE_ROWS = 5_000
_PAGE_SEGMENTS = 16


@dataclass(frozen=True)
class QueryRecord:
    """A query as it is stored; see `rlhf_envs.queries.Query`.

    Attributes:
        id: its number in its source; `Answer.query_id` names it.
        key, round, kind, purpose, context, only_for: as in `Query`.
        wanted: how many annotators should answer it.
        created_at: seconds since the epoch when it was asked.
        segments: the numbers of the segments that are shown, in screen order.
    """

    id: int
    key: str
    round: int
    kind: str
    purpose: Purpose
    context: Mapping[str, Any]
    wanted: int
    created_at: float
    only_for: str | None
    segments: tuple[int, ...]

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> QueryRecord:
        """The record of a row's columns by their names; others are ignored."""
        values = {name: columns[name] for name in cls.__dataclass_fields__}
        return cls(**values | {"purpose": Purpose(values["purpose"]), "segments": tuple(values["segments"])})

    @property
    def reference(self) -> tuple[str, int] | None:
        """The earlier query that this one repeats or corrects: the entry of its context that says so, and the id."""
        entry = _REFERENCES.get(self.purpose, "")
        earlier = self.context.get(entry)
        return (entry, earlier) if type(earlier) is int else None


class StoreSnapshot(AbstractContextManager["StoreSnapshot"]):
    """Everything that a store held when this was made, read page by page while others go on writing.

    Rows are only ever added and become visible in the order of their ids, so the newest ids of one moment bound a
    snapshot that needs no long transaction and blocks no writer.

    Args:
        url_or_path: of the store.
        patience: seconds to wait for another process that has locked the store.

    Attributes:
        place: the store, without its password.
        environment: what it says about its environment.

    Raises:
        ValueError: if the URL is not understood.
        StoreError: if there is no store, or it is damaged, locked, or of another version.
    """

    def __init__(self, url_or_path: str | os.PathLike[str], patience: float = 10.0) -> None:
        self._database = Database(url_or_path, patience)
        self.place = self._database.place
        try:
            self.environment, _ = read_description(self._database)
            newest = {table.name: select(func.max(table.c.id)) for table in (answers, queries, segments)}
            [row] = self._fetch(select(*(id.scalar_subquery().label(name) for name, id in newest.items())))
            self._newest = {name: id or 0 for name, id in row._asdict().items()}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    def annotators(self) -> list[str]:
        """Everybody who answered, in the order of their first answers, and then those who were only asked."""
        gave = self._within(answers, answers.c.annotator)
        asked = self._within(queries, queries.c.only_for).where(queries.c.only_for.is_not(None))
        found = [
            *self._fetch(gave.group_by(answers.c.annotator).order_by(func.min(answers.c.id))),
            *self._fetch(asked.order_by(queries.c.id)),
        ]
        return list(dict.fromkeys(row[0] for row in found))

    def queries(self) -> Iterator[QueryRecord]:
        """All queries, oldest first."""
        for page in self._pages(queries, rows.query_columns):
            shown = self._database.read(load_shown, [row["id"] for row in page])
            for row in page:
                yield QueryRecord.of({**row, "segments": shown.get(row["id"], ())})

    def answers(self) -> Iterator[Answer]:
        """All answers, undone ones too, in order of arrival."""
        for page in self._pages(answers, rows.answer):
            yield from page

    def taken_back(self) -> frozenset[int]:
        """The ids of the answers that others undo."""
        undone = self._within(answers, answers.c.undoes).where(answers.c.undoes.is_not(None))
        return frozenset(row[0] for row in self._fetch(undone))

    def segment_count(self) -> int:
        """How many segments there are."""
        return int(self._fetch(self._within(segments, func.count()))[0][0])

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """All segments with their numbers, a few in memory at a time.

        Raises:
            StoreDamagedError: if stored bytes are not those that were written.
        """
        found = self._fetch(self._within(segments, segments.c.id).order_by(segments.c.id))
        for ids in batches([row.id for row in found], _PAGE_SEGMENTS):
            loaded = self._database.read(load_segments, ids, Cache(0))
            yield from ((id, loaded[id]) for id in ids if id in loaded)

    def _fetch(self, statement: Select[Any]) -> list[Row[Any]]:
        return self._database.read(lambda connection: list(connection.execute(statement)))

    def _within(self, table: Table, *columns: Any) -> Select[Any]:
        """A SELECT over the rows of the snapshot."""
        return select(*columns).select_from(table).where(table.c.id <= self._newest[table.name])

    def _pages(self, table: Table, decode: Callable[[Row[Any]], _Decoded]) -> Iterator[list[_Decoded]]:
        last = 0

        def read(connection: Connection) -> tuple[list[_Decoded], int]:
            page = self._within(table, *table.c).where(table.c.id > last).order_by(table.c.id).limit(_PAGE_ROWS)
            found = connection.execute(page).all()
            return [decode(row) for row in found], found[-1].id if found else last

        while (page := self._database.read(read))[0]:
            decoded, last = page
            yield decoded
