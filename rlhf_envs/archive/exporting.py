"""From a feedback store to a folder of files that others can read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium as gym

from rlhf_envs.archive.batching import in_groups
from rlhf_envs.archive.datasheet import datasheet
from rlhf_envs.archive.filming import Filming
from rlhf_envs.archive.manifest import ANSWERS, CLIPS, QUERIES, SEGMENTS, Manifest, describe_file
from rlhf_envs.archive.parquet import COMPRESSION, pq, require_pyarrow
from rlhf_envs.archive.pseudonyms import Pseudonyms
from rlhf_envs.archive.statistics import Statistics
from rlhf_envs.archive.store_rows import StoreRows
from rlhf_envs.archive.tables import answer_schema, answers_to_batch, queries_to_batch, query_schema
from rlhf_envs.archive.tensors import byte_size, float_columns, segment_schema, segments_to_batch
from rlhf_envs.segments import Segment
from rlhf_envs.space_json import space_to_json

DATASHEET = "DATASHEET.md"

_ROWS_PER_GROUP = 10_000
_SEGMENTS_PER_GROUP = 1_024
_BYTES_PER_GROUP = 16 * 2**20

NumberedSegment = tuple[int, Segment]


def export_store(
    store: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    clips: bool = True,
    pseudonyms: bool = False,
    patience: float = 10.0,
    on_segments: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write everything that was asked and answered into a new folder, as the store is at this moment.

    All answers are written, also those that were taken back. Others may go on writing to the store meanwhile. The
    folder appears under its name only when it is complete.

    Args:
        store: path or SQLAlchemy URL of a feedback store.
        folder: the folder to make.
        clips: whether to draw and encode a film of each segment, which takes most of the time.
        pseudonyms: whether to write A1, A2, ... in place of people's names.
        patience: seconds to wait for another process that holds the store.
        on_segments: told after every segment how many of how many are done, their clips with them.

    Raises:
        ValueError: if pyarrow is not installed, there is something at `folder` already, the store holds no query or
            segments of several kinds, or clips cannot be drawn.
        StoreError: if there is no store, or it is damaged, locked or of a newer version.
        OSError: if the disk is full or cannot be written.
    """
    require_pyarrow()
    target = Path(folder)
    if target.exists():
        raise ValueError(f"{target} is there already; name a new folder for the export.")
    with StoreRows(store, patience) as source, _appearing_at(target) as unfinished:
        statistics = Statistics()
        queries, answers = source.queries(), source.answers()
        if pseudonyms:
            masked = Pseudonyms(source.annotators())
            queries, answers = (masked.query(row) for row in queries), (masked.answer(row) for row in answers)
        _write_table(unfinished / QUERIES, query_schema(), queries_to_batch, _counted(queries, statistics.add_query))
        if not statistics.queries:
            raise ValueError(f"The feedback store {source.place} holds no query, so there is nothing to export.")
        _write_table(unfinished / ANSWERS, answer_schema(), answers_to_batch, _counted(answers, statistics.add_answer))
        filming = Filming(source.environment, unfinished) if clips else None
        segments = source.segment_count()
        for done in _write_segments(unfinished / SEGMENTS, source.segments(), filming, statistics):
            if on_segments is not None:
                on_segments(done, segments)
        spaces = _spaces(source.environment)
        manifest = Manifest(source.environment, *spaces, statistics.counts(), pseudonyms, _files(unfinished))
        manifest.write(unfinished)
        (unfinished / DATASHEET).write_text(datasheet(manifest, statistics), encoding="utf-8")
    return manifest


def _write_table(path: Path, schema: Any, to_batch: Callable[[Sequence[Any]], Any], rows: Iterator[Any]) -> None:
    with pq.ParquetWriter(path, schema, compression=COMPRESSION) as writer:
        for group in in_groups(rows, _ROWS_PER_GROUP):
            writer.write_batch(to_batch(group))


def _write_segments(
    path: Path, segments: Iterator[NumberedSegment], filming: Filming | None, statistics: Statistics
) -> Iterator[int]:
    """Write the segments and their clips; yields how many are done after every one."""
    first = next(segments)
    schema = segment_schema(first[1])
    # Dictionaries would take 0.0 and -0.0, and different NaNs, for the same number.
    packing = {"use_dictionary": False, "use_byte_stream_split": float_columns(schema)}
    with pq.ParquetWriter(path, schema, compression=COMPRESSION, **packing) as writer:
        groups = in_groups(
            chain([first], segments), _SEGMENTS_PER_GROUP, _BYTES_PER_GROUP, lambda row: byte_size(row[1])
        )
        for group in groups:
            films = []
            for row in group:
                films.append(None if filming is None else filming.film(*row))
                yield statistics.segments + len(films)
            writer.write_batch(segments_to_batch(group, films, schema))
            statistics.segments += len(group)
            statistics.steps += sum(len(segment) for _, segment in group)
            statistics.clips += sum(film is not None for film in films)
            statistics.not_shown += sum(segment.states is None and segment.frames is None for _, segment in group)


def _counted(rows: Iterator[Any], count: Callable[[Any], None]) -> Iterator[Any]:
    for row in rows:
        count(row)
        yield row


def _spaces(environment: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The spaces of the environment as JSON, or twice None where it cannot be made or has other kinds of space."""
    try:
        env = gym.make(environment["id"], disable_env_checker=True, **(environment.get("kwargs") or {}))
    except (KeyError, TypeError, ValueError, ImportError, gym.error.Error):
        return None, None
    try:
        return space_to_json(env.observation_space), space_to_json(env.action_space)
    except ValueError:
        return None, None
    finally:
        env.close()


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    clips = sorted((folder / CLIPS).iterdir()) if (folder / CLIPS).is_dir() else []
    paths = [folder / QUERIES, folder / ANSWERS, folder / SEGMENTS, *clips]
    return {path.relative_to(folder).as_posix(): describe_file(path) for path in paths}


@contextmanager
def _appearing_at(target: Path) -> Iterator[Path]:
    """A folder to write into, which takes the name of the target once everything in it is on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    around = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".unfinished", dir=target.parent))
    try:
        unfinished = around / target.name
        unfinished.mkdir()
        yield unfinished
        for path in [*unfinished.rglob("*"), unfinished]:
            _make_lasting(path)
        os.rename(unfinished, target)
        _make_lasting(target.parent)
    finally:
        shutil.rmtree(around)


def _make_lasting(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
