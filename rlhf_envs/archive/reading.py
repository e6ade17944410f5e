"""An archive, read as untrusted input: nothing in it is unpickled or run, and every row is checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gymnasium import Space

from rlhf_envs.archive.manifest import ANSWERS, QUERIES, SEGMENTS, TABLES, Manifest, check_file
from rlhf_envs.archive.parquet import damage_told, open_parquet, pa, require_pyarrow
from rlhf_envs.archive.rows import AnswerRow, QueryRow
from rlhf_envs.archive.tables import answer_from_row, answer_schema, query_from_row, query_schema
from rlhf_envs.archive.tensors import CLIP, DIGEST, ID, LAYOUT, LENGTH, TRUE_REWARDS, segment_from_row
from rlhf_envs.segments import Segment
from rlhf_envs.space_json import space_from_json

_Row = TypeVar("_Row")

_BATCH = 4_096
_SENSELESS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


class Archive:
    """A folder that `export_store` made.

    Args:
        folder: the archive.

    Attributes:
        place: the folder.
        manifest: what the archive says about itself.
        environment: what the store said about its environment.

    Raises:
        ValueError: if pyarrow is not installed, or the folder is no archive, is damaged or of a newer version.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        require_pyarrow()
        self._folder = Path(folder)
        self.place = str(folder)
        self.manifest = Manifest.read(self._folder)
        for name in TABLES:
            check_file(self._folder, name, self.manifest.files[name])
        self.environment: Mapping[str, Any] = self.manifest.environment

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
        except (*_SENSELESS, AssertionError, MemoryError) as error:
            raise ValueError(f"The manifest of {self.place} describes a space wrongly: {error}.") from error

    def queries(self) -> Iterator[QueryRow]:
        """All queries, oldest first. Raises `ValueError` for one that makes no sense."""
        return self._rows(QUERIES, query_schema(), query_from_row)

    def answers(self) -> Iterator[AnswerRow]:
        """All answers, in order of arrival. Raises `ValueError` for one that makes no sense."""
        return self._rows(ANSWERS, answer_schema(), answer_from_row)

    def segments(self) -> Iterator[tuple[int, Segment]]:
        """All segments with their numbers, one group of rows in memory at a time.

        Raises:
            ValueError: for one that makes no sense.
        """
        path = self._folder / SEGMENTS
        file = open_parquet(path)
        missing = {ID, LENGTH, DIGEST, CLIP, LAYOUT, TRUE_REWARDS} - set(file.schema_arrow.names)
        if missing:
            raise ValueError(f"{path} is no table of segments: it has no column {', '.join(sorted(missing))}.")
        for place in range(file.num_row_groups):
            with damage_told(path):
                group = file.read_row_group(place).combine_chunks()
            for batch in group.to_batches():
                for number in range(batch.num_rows):
                    with _making_sense(path, number):
                        segment = segment_from_row(batch, number)
                    yield segment

    def _rows(self, name: str, schema: Any, read: Callable[[Mapping[str, Any]], _Row]) -> Iterator[_Row]:
        path = self._folder / name
        file = open_parquet(path)
        if not file.schema_arrow.equals(schema):
            found = ", ".join(f"{field.name} {field.type}" for field in file.schema_arrow)
            raise ValueError(f"{path} does not have the columns of version 1, but {found}.")
        batches = file.iter_batches(_BATCH)
        while True:
            with damage_told(path):
                batch = next(batches, None)
            if batch is None:
                return
            with _making_sense(path, 0):
                values = batch.to_pylist()
            for number, value in enumerate(values):
                with _making_sense(path, number):
                    row = read(value)
                yield row


@contextmanager
def _making_sense(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except (*_SENSELESS, pa.ArrowException) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ValueError(f"{path} holds a row that makes no sense (row {number} of its group): {reason}.") from error
