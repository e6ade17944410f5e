"""Exports a feedback store to an archive: a folder of files that others can read."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium as gym

from rlhf_envs.archive.datasheet import Statistics, dataset_card, datasheet
from rlhf_envs.archive.manifest import ANSWERS, CARD, CLIPS, DATASHEET, QUERIES, SEGMENTS, Manifest, describe_file
from rlhf_envs.archive.records import QueryRecord, StoreSnapshot
from rlhf_envs.archive.tables import (
    SegmentWriter,
    byte_size,
    payload_columns,
    require_pyarrow,
    write_answers,
    write_queries,
)
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback.annotators import ANNOTATORS
from rlhf_envs.feedback.store.database import batches
from rlhf_envs.files import sync_to_disk
from rlhf_envs.json_values import space_to_json
from rlhf_envs.queries import Answer
from rlhf_envs.segments import Segment

_SEGMENTS_PER_GROUP = 1_024
_BYTES_PER_GROUP = 16 * 2**20

ClipMaker = Callable[[int, Segment], str | None]
"""Writes the clip of a numbered segment into the archive and returns its name; None where there is nothing to show."""


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

    All answers are written, also those that were undone. Others may go on writing to the store meanwhile. The folder
    appears under its name only when it is complete.

    Args:
        store: path or SQLAlchemy URL of a feedback store.
        folder: the folder to make.
        clips: whether to draw and encode a film of each segment, which takes most of the time.
        pseudonyms: whether to write A1, A2, ... in place of people's names.
        patience: seconds to wait for another process that has locked the store.
        on_segments: called after every segment with how many of how many are done, their clips included.

    Raises:
        ValueError: if pyarrow is not installed, there is something at `folder` already, the store holds no query or
            segments of several kinds, or clips cannot be drawn.
        StoreError: if there is no store, or it is damaged, locked or of another version.
        OSError: if the disk is full or cannot be written.
    """
    require_pyarrow()
    target = Path(folder)
    if target.exists():
        raise ValueError(f"{target} is there already; name a new folder for the export.")
    with StoreSnapshot(store, patience) as source, complete_or_absent(target) as unfinished:
        statistics = Statistics(source.taken_back())
        queries, answers = source.queries(), source.answers()
        if pseudonyms:
            names = Pseudonyms(source.annotators())
            queries, answers = map(names.query, queries), map(names.answer, answers)
        write_queries(unfinished / QUERIES, _counted(queries, statistics.add_query))
        if not statistics.queries:
            raise ValueError(f"The feedback store {source.place} holds no query, so there is nothing to export.")
        kinds = payload_columns(sorted({kind for kind, _ in statistics.queries}))
        columns = {name: type for of_kind in kinds.values() for name, type in of_kind.items()}
        write_answers(unfinished / ANSWERS, _counted(answers, statistics.add_answer), columns)
        environment = source.environment.ref
        make_clip = _clip_maker(environment, unfinished) if clips else lambda id, segment: None
        total = source.segment_count()
        for done in _write_segments(unfinished / SEGMENTS, source.segments(), make_clip, statistics):
            if on_segments is not None:
                on_segments(done, total)
        spaces = _spaces(environment)
        files = _described_files(unfinished)
        manifest = Manifest(source.environment, *spaces, kinds, statistics.counts(), pseudonyms, files)
        manifest.write(unfinished)
        (unfinished / DATASHEET).write_text(datasheet(manifest, statistics), encoding="utf-8")
        tables = {Path(name).stem: {"train": name} for name in (ANSWERS, QUERIES, SEGMENTS)}
        card = dataset_card(source.environment, tables, manifest.counts["standing_answers"])
        (unfinished / CARD).write_text(card, encoding="utf-8")
    return manifest


def _write_segments(
    path: Path, segments: Iterator[tuple[int, Segment]], make_clip: ClipMaker, statistics: Statistics
) -> Iterator[int]:
    """Write the segments and their clips; yields how many are done after every one."""
    first = next(segments)
    groups = batches(chain([first], segments), _SEGMENTS_PER_GROUP, _BYTES_PER_GROUP, lambda row: byte_size(row[1]))
    with SegmentWriter(path, first[1]) as writer:
        for group in groups:
            clips = []
            for id, segment in group:
                clips.append(make_clip(id, segment))
                yield statistics.segments + len(clips)
            writer.write(group, clips)
            statistics.segments += len(group)
            statistics.steps += sum(len(segment) for _, segment in group)
            statistics.clips += sum(clip is not None for clip in clips)
            statistics.not_shown += sum(not _can_be_shown(segment) for _, segment in group)


def _can_be_shown(segment: Segment) -> bool:
    return segment.states is not None or segment.frames is not None


def _clip_maker(environment: EnvironmentRef | None, folder: Path) -> ClipMaker:
    """What writes the clips of an archive, each as annotators saw the segment.

    Raises:
        ValueError: if the store does not say which environment it is about, or that cannot be made.
    """
    from rlhf_envs.clips import clip_painter, encode_mp4

    if environment is None:
        raise ValueError(
            "Clips cannot be drawn, because the store does not say which environment it is about; leave them out "
            "with --no-clips."
        )
    painter = clip_painter(environment)
    (folder / CLIPS).mkdir()

    def make_clip(id: int, segment: Segment) -> str | None:
        if not _can_be_shown(segment):
            return None
        name = f"{CLIPS}/segment-{id:06d}.mp4"
        encode_mp4(painter.frames(segment), folder / name, painter.frames_per_second)
        return name

    return make_clip


def _counted(rows: Iterable[Any], count: Callable[[Any], None]) -> Iterator[Any]:
    for row in rows:
        count(row)
        yield row


def _spaces(environment: EnvironmentRef | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The spaces of the environment as JSON, or twice None where it cannot be made or has other kinds of space."""
    if environment is None:
        return None, None
    try:
        env = environment.make(limited=False)
    except (ValueError, ImportError, gym.error.Error):
        return None, None
    try:
        return space_to_json(env.observation_space), space_to_json(env.action_space)
    except ValueError:
        return None, None
    finally:
        env.close()


def _described_files(folder: Path) -> dict[str, dict[str, Any]]:
    paths = [folder / QUERIES, folder / ANSWERS, folder / SEGMENTS, *sorted(folder.glob(f"{CLIPS}/*"))]
    return {path.relative_to(folder).as_posix(): describe_file(path) for path in paths}


@contextmanager
def complete_or_absent(target: Path) -> Iterator[Path]:
    """A folder to write into, which takes the name of the target once everything in it is on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    around = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".unfinished", dir=target.parent))
    try:
        unfinished = around / target.name
        unfinished.mkdir()
        yield unfinished
        for path in [*unfinished.rglob("*"), unfinished]:
            sync_to_disk(path)
        os.rename(unfinished, target)
        sync_to_disk(target.parent)
    finally:
        shutil.rmtree(around)


class Pseudonyms:
    """A1, A2, ... in place of people's names, wherever a record may hold one.

    Scripted teachers keep their names, which say what they are. Tokens of submissions are left out, because the client
    that made them may have put a name into them.

    Args:
        names: of everybody who occurs; the first becomes A1.
    """

    def __init__(self, names: Iterable[str]) -> None:
        people = [name for name in dict.fromkeys(names) if name not in ANNOTATORS]
        self._aliases = {name: f"A{number}" for number, name in enumerate(people, start=1)}
        # A name may be part of another one, so the longest are looked for first.
        names_in_key = "|".join(re.escape(name) for name in sorted(people, key=len, reverse=True))
        self._in_keys = re.compile(f"(?<=/)({names_in_key})(?=/)")

    def query(self, query: QueryRecord) -> QueryRecord:
        """A query without names: neither in its context, nor in its key, nor in whom it is for."""
        # Names stand between slashes in keys, as in "check/NAME/12".
        key = self._in_keys.sub(lambda found: self.alias(found[1]), f"/{query.key}/")[1:-1]
        only_for = None if query.only_for is None else self.alias(query.only_for)
        return replace(query, key=key, context=self._in_json(query.context), only_for=only_for)

    def answer(self, answer: Answer) -> Answer:
        """An answer without names."""
        payload = self._in_json(answer.payload)
        return replace(answer, annotator=self.alias(answer.annotator), payload=payload, token=None)

    def alias(self, name: str) -> str:
        """The name that stands for a person's."""
        return self._aliases.get(name, name)

    def _in_json(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.alias(name): self._in_json(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._in_json(part) for part in value]
        return self.alias(value) if isinstance(value, str) else value
