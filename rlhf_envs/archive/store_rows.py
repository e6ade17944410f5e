"""The rows of a feedback store as they were at one moment, read page by page while others go on writing."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Row, Select, Table, func, select

from rlhf_envs.archive.rows import AnswerRow, QueryRow
from rlhf_envs.feedback.database import Database
from rlhf_envs.feedback.founding import recognise_store
from rlhf_envs.feedback.reading import load_segments
from rlhf_envs.feedback.schema import answers, queries, query_segments, segments
from rlhf_envs.feedback.segment_cache import SegmentCache
from rlhf_envs.queries import Choice, Kind, Purpose
from rlhf_envs.segments import Segment

_PAGE = 5_000
_PAGE_OF_SEGMENTS = 16


class StoreRows:
    """Everything that a store held when this was made.

    Rows are only ever added and become visible in the order of their ids. So the newest ids of one moment bound a
    picture of the store that needs no long transaction and keeps nobody from writing.

    Args:
        url_or_path: of the store.
        patience: seconds to wait for another process that holds the store.

    Attributes:
        place: the store, without its password.
        environment: what it says about its environment.

    Raises:
        ValueError: if the URL is not understood.
        StoreError: if there is no store, or it is damaged, locked, or of a newer version.
    """

    def __init__(self, url_or_path: str | os.PathLike[str], patience: float = 10.0) -> None:
        self._database = Database(url_or_path, patience)
        try:
            self.environment: Mapping[str, Any] = recognise_store(self._database)
            self._newest = self._newest_ids()
        except BaseException:
            self._database.close()
            raise
        self.place = self._database.place

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def annotators(self) -> list[str]:
        """Everybody who answered, in the order of their first answers, and then those who were only asked."""
        gave = select(answers.c.annotator).where(answers.c.id <= self._newest[answers.name])
        asked = select(queries.c.only_for).where(queries.c.id <= self._newest[queries.name])
        rows = [
            *self._fetch(gave.group_by(answers.c.annotator).order_by(func.min(answers.c.id))),
            *self._fetch(asked.where(queries.c.only_for.is_not(None)).order_by(queries.c.id)),
        ]
        return list(dict.fromkeys(row[0] for row in rows))

    def queries(self) -> Iterator[QueryRow]:
        """All queries, oldest first."""
        for page in self._pages(queries, _PAGE):
            shown = self._shown(page[0].id, page[-1].id)
            for row in page:
                yield QueryRow(
                    row.id,
                    row.key,
                    row.round,
                    Kind(row.kind),
                    Purpose(row.purpose),
                    row.context,
                    row.wanted,
                    row.created_at,
                    row.only_for,
                    tuple(shown[row.id]),
                )

    def answers(self) -> Iterator[AnswerRow]:
        """All answers, also those that were taken back, in order of arrival."""
        for page in self._pages(answers, _PAGE):
            for row in page:
                yield AnswerRow(
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

    def segment_count(self) -> int:
        """How many segments there are."""
        counted = select(func.count()).select_from(segments).where(segments.c.id <= self._newest[segments.name])
        return int(self._fetch(counted)[0][0])

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """All segments with their numbers, a few in memory at a time.

        Raises:
            StoreDamagedError: if stored bytes are not those that were written.
        """
        everything = select(segments.c.id).where(segments.c.id <= self._newest[segments.name])
        ids = [row.id for row in self._fetch(everything.order_by(segments.c.id))]
        for start in range(0, len(ids), _PAGE_OF_SEGMENTS):
            loaded = self._load(ids[start : start + _PAGE_OF_SEGMENTS])
            yield from loaded.items()

    def _newest_ids(self) -> dict[str, int]:
        tables = (queries, answers, segments)
        return self._database.read(
            lambda connection: {
                table.name: connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()
                for table in tables
            }
        )

    def _load(self, ids: list[int]) -> dict[int, Segment]:
        loaded = self._database.read(lambda connection: load_segments(connection, ids, SegmentCache(0)))
        return {id: loaded[id] for id in ids}

    def _fetch(self, statement: Select[Any]) -> list[Row[Any]]:
        return self._database.read(lambda connection: list(connection.execute(statement)))

    def _pages(self, table: Table, size: int) -> Iterator[list[Row[Any]]]:
        last = 0
        while True:
            page = select(table).where(table.c.id > last, table.c.id <= self._newest[table.name])
            rows = self._fetch(page.order_by(table.c.id).limit(size))
            if not rows:
                return
            yield rows
            last = rows[-1].id

    def _shown(self, first: int, last: int) -> dict[int, list[int]]:
        statement = (
            select(query_segments.c.query_id, query_segments.c.segment_id)
            .where(query_segments.c.query_id.between(first, last))
            .order_by(query_segments.c.query_id, query_segments.c.position)
        )
        shown: dict[int, list[int]] = defaultdict(list)
        for row in self._fetch(statement):
            shown[row.query_id].append(row.segment_id)
        return shown
