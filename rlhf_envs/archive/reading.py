"""Reads an archive as untrusted input: nothing in it is unpickled or run, and every row is checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gymnasium import Space

from rlhf_envs.archive.manifest import (
    ANSWERS,
    FORMAT_VERSION,
    MANIFEST,
    QUERIES,
    SEGMENTS,
    TABLES,
    Manifest,
    check_file,
)
from rlhf_envs.archive.records import QueryRecord, StoreSnapshot
from rlhf_envs.archive.tables import (
    SEGMENT_COLUMNS,
    answer_from_row,
    answer_schema,
    open_parquet,
    pa,
    parquet_errors,
    plain_schema,
    python_rows,
    query_from_row,
    query_schema,
    require_pyarrow,
    segment_from_row,
)
from rlhf_envs.json_values import require_json, space_from_json
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import LONGEST_KEY, Answer, Choice, check_name, check_reasons, check_token, require_line
from rlhf_envs.segments import Segment

_Record = TypeVar("_Record")

_BATCH = 4_096
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What is raised by values that make no sense."""


class Archive:
    """A folder that `export_store` made.

    Args:
        folder: the archive.

    Attributes:
        place: the folder.
        manifest: see `Manifest`.
        environment: the environment, as the store describes it.

    Raises:
        ValueError: if pyarrow is not installed, or the folder is no archive, is damaged or of another version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        require_pyarrow()
        self._folder = Path(folder)
        self.place = str(folder)
        self.manifest = Manifest.read(self._folder)
        for name in TABLES:
            check_file(self._folder, name, self.manifest.files[name])
        self.environment = self.manifest.environment
        self._check_kinds()

    def spaces(self) -> tuple[Space[Any], Space[Any]] | None:
        """The observation and the action space; None where the archive does not know them.

        Raises:
            ValueError: if they are described wrongly.
        """
        described = (self.manifest.observation_space, self.manifest.action_space)
        if described[0] is None or described[1] is None:
            return None
        try:
            return space_from_json(dict(described[0])), space_from_json(dict(described[1]))
        except (*_NONSENSE, AssertionError, MemoryError) as error:
            raise ValueError(f"The manifest of {self.place} describes a space wrongly: {error}.") from error

    def queries(self) -> Iterator[QueryRecord]:
        """All queries, oldest first. Raises `ValueError` for one that makes no sense."""
        return self._records(QUERIES, query_schema(), self._query)

    def answers(self) -> Iterator[Answer]:
        """All answers, in order of arrival. Raises `ValueError` for one that makes no sense."""
        columns = self.manifest.columns
        return self._records(ANSWERS, answer_schema(columns), partial(answer_from_row, columns=columns))

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """All segments with their numbers, one group of rows in memory at a time.

        Raises:
            ValueError: for one that makes no sense.
        """
        path = self._folder / SEGMENTS
        file = open_parquet(path)
        missing = set(SEGMENT_COLUMNS) - set(file.schema_arrow.names)
        if missing:
            raise ValueError(f"{path} is no table of segments: it has no column {', '.join(sorted(missing))}.")
        for place in range(file.num_row_groups):
            with parquet_errors(path):
                group = file.read_row_group(place).combine_chunks()
            for batch in group.to_batches():
                for row in range(batch.num_rows):
                    with _row_errors(path, row):
                        segment = segment_from_row(batch, row)
                    yield segment

    def _check_kinds(self) -> None:
        """Raise `ValueError` if a kind of feedback is not registered here, or has other columns."""
        for kind, columns in self.manifest.kinds.items():
            if kind not in KINDS:
                raise ValueError(
                    f"{self.place} holds queries of the kind {kind!r}, which is not registered here: import the module "
                    "that registers it first."
                )
            if columns != dict(KINDS[kind].columns):
                raise ValueError(
                    f"{self.place} has the columns {columns} for the kind {kind!r}, which has "
                    f"{dict(KINDS[kind].columns)} here; use the version of it that the export was made with."
                )

    def _query(self, row: Mapping[str, Any]) -> QueryRecord:
        if row["kind"] not in self.manifest.kinds:
            raise ValueError(f"its kind is {row['kind']!r}, which {MANIFEST} does not name")
        return query_from_row(row)

    def _records(self, name: str, schema: Any, read: Callable[[Mapping[str, Any]], _Record]) -> Iterator[_Record]:
        path = self._folder / name
        file = open_parquet(path)
        columns = plain_schema(file)
        if not columns.equals(schema):
            found = ", ".join(f"{field.name} {field.type}" for field in columns)
            raise ValueError(f"{path} does not have the columns of version {FORMAT_VERSION}, but {found}.")
        batches = file.iter_batches(_BATCH)
        while True:
            with parquet_errors(path):
                batch = next(batches, None)
            if batch is None:
                return
            with _row_errors(path, 0):
                rows = python_rows(batch)
            for number in range(batch.num_rows):
                with _row_errors(path, number):
                    record = read(next(rows))
                yield record


RecordSource = Archive | StoreSnapshot
"""Where records are read from. Every method starts from the beginning whenever it is called."""


@contextmanager
def _row_errors(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except (*_NONSENSE, MemoryError, pa.ArrowException) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{path} holds a row that makes no sense (row {number} of its group): {reason}.") from error


def check_records(source: RecordSource) -> None:
    """Check that the records of a source fit each other, reading all of them.

    Raises:
        ValueError: if something makes no sense; the message names the record.
    """
    lengths = {id: len(segment) for id, segment in source.segments()}
    queries: dict[int, QueryRecord] = {}
    keys: set[str] = set()
    try:
        for query in source.queries():
            _check_query(query, queries, keys, lengths)
            queries[query.id] = query
            keys.add(query.key)
        _check_answers(source, queries, lengths)
    except _MisfitError as misfit:
        raise ValueError(f"{source.place} cannot be imported, because {misfit}.") from misfit


class _MisfitError(Exception):
    """What does not fit, as the end of a sentence."""


def _check_query(
    query: QueryRecord, earlier: Mapping[int, QueryRecord], keys: set[str], lengths: Mapping[int, int]
) -> None:
    try:
        KINDS.named(query.kind).check_query(query.key, len(query.segments))
    except ValueError as error:
        raise _MisfitError(str(error).rstrip(".")) from error
    for segment in query.segments:
        if segment not in lengths:
            raise _MisfitError(f"query {query.id} shows segment {segment}, which is not there")
    try:
        require_line(query.key, "The key of a query", LONGEST_KEY)
        if query.only_for is not None:
            check_name(query.only_for)
        require_json(query.context, "context of a query")
    except ValueError as error:
        raise _MisfitError(f"query {query.id} cannot be: {str(error).rstrip('.')}") from error
    if query.id in earlier or query.key in keys or not query.key:
        raise _MisfitError(f"the id {query.id} or the key {query.key!r} does not name one query alone")
    if query.round < 0 or query.wanted < 1:
        raise _MisfitError(f"query {query.id} is of round {query.round} and wants {query.wanted} answers")
    if query.reference is not None and query.reference[1] not in earlier:
        entry, other = query.reference
        raise _MisfitError(f"query {query.id} {entry} query {other}, which does not come before it")


def _check_answers(source: RecordSource, queries: Mapping[int, QueryRecord], lengths: Mapping[int, int]) -> None:
    earlier: dict[int, tuple[int, str]] = {}
    standing: set[tuple[int, str]] = set()
    undone: set[int] = set()
    tokens: set[str] = set()
    for answer in source.answers():
        author = (answer.query_id, answer.annotator)
        try:
            check_name(answer.annotator)
            check_token(answer.token)
            check_reasons(answer.reasons)
            require_json(answer.payload, "payload of an answer")
        except ValueError as error:
            raise _MisfitError(f"answer {answer.id} cannot be: {str(error).rstrip('.')}") from error
        if answer.id in earlier or answer.token in tokens:
            raise _MisfitError(f"the id {answer.id} or the token {answer.token!r} does not name one answer alone")
        if answer.query_id not in queries:
            raise _MisfitError(
                f"answer {answer.id} is by {answer.annotator!r} to query {answer.query_id}, which cannot be"
            )
        if answer.undoes is None:
            _check_fits_kind(answer, queries[answer.query_id], lengths)
            if author in standing:
                raise _MisfitError(f"answer {answer.id} is {answer.annotator}'s second one to query {answer.query_id}")
            standing.add(author)
        else:
            if earlier.get(answer.undoes) != author or answer.undoes in undone:
                raise _MisfitError(f"row {answer.id} undoes answer {answer.undoes}, which does not stand")
            standing.discard(author)
            undone |= {answer.undoes, answer.id}
        earlier[answer.id] = author
        if answer.token is not None:
            tokens.add(answer.token)


def _check_fits_kind(answer: Answer, query: QueryRecord, lengths: Mapping[int, int]) -> None:
    if answer.choice is Choice.SKIP:
        return
    try:
        KINDS[query.kind].label(answer.choice, answer.payload, len(query.segments), lengths[query.segments[0]])
    except ValueError as error:
        raise _MisfitError(f"answer {answer.id} does not fit a {query.kind} ({str(error).rstrip('.')})") from error
