"""Answers as labelled pairs of segments, in the two forms that others read, and back into a store.

- A folder for Hugging Face's `datasets`: Parquet files by split, and a dataset card (README.md) that names them.
- A NumPy file (.npz) with the keys of offline preference learning, those of Preference Transformer (Kim et al. 2023,
  arXiv 2303.00957) and of the code that follows it: `observations`, `actions`, `observations_2`, `actions_2`, `labels`,
  `timestep_1`, `timestep_2`.

Both hold what answers imply about two segments, and no pictures or simulator states; `export_store` keeps everything.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.archive.datasheet import dataset_card
from rlhf_envs.archive.export import Pseudonyms, complete_or_absent
from rlhf_envs.archive.manifest import CARD
from rlhf_envs.archive.tables import (
    COMPRESSION,
    array_of,
    layout_of,
    lists,
    lists_of_bytes,
    lists_of_lists,
    open_parquet,
    pa,
    parquet_errors,
    pq,
    require_pyarrow,
    segment_arrays,
    step_type,
)
from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.database import batches
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import DEMONSTRATOR, Choice, LiveAnswer, Purpose, Query, Submission, check_name
from rlhf_envs.segments import Segment

SPLITS = {Purpose.TRAIN: "train", Purpose.TEST: "test"}
"""The splits of a folder, by the purposes of the queries: answers to train on, and those held out."""

_PAIRS_PER_GROUP = 256
_METADATA = b"rlhf_envs"
_LARGEST_NPZ = 8 * 2**30
"""Bytes of a NumPy file, unpacked: a file from elsewhere may claim any size."""

_UNKNOWN = "unknown"
_STEPS = ("rewards", "absorbing")


@dataclass(frozen=True, eq=False)
class LabelledPair:
    """Two segments, and which of them is better.

    Attributes:
        first, second: the segments, in the order in which they were shown.
        label: how likely the second is better, as answered: 0, 1, or 0.5 for a tie.
        purpose: TRAIN, or TEST for a held-out answer.
        annotator: who answered.
        kind: of feedback.
        query, answer: numbers that pairs from one question, or from one answer, share.
    """

    first: Segment
    second: Segment
    label: float
    purpose: Purpose = Purpose.TRAIN
    annotator: str = _UNKNOWN
    kind: str = "comparison"
    query: int = 0
    answer: int = 0


def labelled_pairs(store: PreferenceStore, purpose: Purpose, names: Pseudonyms | None = None) -> Iterator[LabelledPair]:
    """The pairs that the standing answers of a store imply, in the order of the answers.

    Args:
        store: of the answers.
        purpose: of the queries.
        names: in place of people's names; None keeps these.
    """
    for live in store.each_live_answer(purpose):
        if live.kind in KINDS and live.annotator != DEMONSTRATOR:
            yield from _pairs_of(live, store, names)


def _pairs_of(live: LiveAnswer, store: PreferenceStore, names: Pseudonyms | None) -> Iterator[LabelledPair]:
    implied = KINDS[live.kind].implied_comparisons(live.choice, live.payload, len(live.segment_ids))
    if implied:
        shown = store.segments(live.segment_ids)
        annotator = live.annotator if names is None else names.alias(live.annotator)
        for first, second, label in implied:
            yield LabelledPair(
                shown[first], shown[second], label, live.purpose, annotator, live.kind, live.query_id, live.id
            )


def export_pairs(
    store: str | os.PathLike[str], target: str | os.PathLike[str], *, pseudonyms: bool = False
) -> dict[str, int]:
    """Write the pairs of a store as a NumPy file, if the target ends in .npz, or else as a folder for `datasets`.

    Args:
        store: path or SQLAlchemy URL of a feedback store.
        target: the file or folder to make.
        pseudonyms: whether to write A1, A2, ... in place of people's names.

    Returns:
        How many pairs each split has.

    Raises:
        ValueError: if there is something at `target` already, no answer implies a pair, the segments differ in what
            they hold, or pyarrow, which a folder needs, is not installed.
        StoreError: if there is no store, or it cannot be read.
        OSError: if nothing can be written there.
    """
    target = Path(target)
    if target.exists():
        raise ValueError(f"{target} is there already; name a new file or folder for the pairs.")
    if target.suffix != ".npz":
        require_pyarrow()
    with PreferenceStore.open(store) as opened:
        names = Pseudonyms(sorted(opened.tallies())) if pseudonyms else None
        write = _write_npz if target.suffix == ".npz" else _write_folder
        counts = write(target, opened, names)
    return counts


def _write_npz(path: Path, store: PreferenceStore, names: Pseudonyms | None) -> dict[str, int]:
    pairs = [pair for purpose in SPLITS for pair in labelled_pairs(store, purpose, names)]
    _require_pairs(len(pairs), store)
    lengths = {len(segment) for pair in pairs for segment in (pair.first, pair.second)}
    if len(lengths) > 1:
        raise ValueError(
            f"The segments have {min(lengths)} to {max(lengths)} steps, which one array cannot hold; write a folder "
            "instead of an .npz."
        )
    columns: dict[str, NDArray[Any]] = {
        "labels": np.array([[1 - pair.label, pair.label] for pair in pairs], np.float32),
        "annotators": np.array([pair.annotator for pair in pairs], np.str_),
        "kinds": np.array([pair.kind for pair in pairs], np.str_),
        "queries": np.array([pair.query for pair in pairs], np.int64),
        "answers": np.array([pair.answer for pair in pairs], np.int64),
        "held_out": np.array([pair.purpose is Purpose.TEST for pair in pairs], np.bool_),
        "environment": np.array(json.dumps(store.environment.to_json())),
    }
    for number, side in ((1, "first"), (2, "second")):
        segments = [getattr(pair, side) for pair in pairs]
        arrays = [_numbers_of(segment) for segment in segments]
        ending = "" if number == 1 else "_2"
        for name in arrays[0]:
            columns[name + ending] = np.stack([array[name] for array in arrays])
        columns[f"rewards{ending}"] = np.stack([segment.true_rewards for segment in segments])
        columns[f"absorbing{ending}"] = np.stack([segment.is_absorbing for segment in segments])
        columns[f"timestep_{number}"] = np.tile(np.arange(1, max(lengths) + 1, dtype=np.int32), (len(pairs), 1))
    temporary = path.with_name(f".{path.name}.unfinished")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **columns)  # type: ignore[arg-type]
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    held_out = int(columns["held_out"].sum())
    return {"train": len(pairs) - held_out, **({"test": held_out} if held_out else {})}


def _write_folder(folder: Path, store: PreferenceStore, names: Pseudonyms | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    description = json.dumps(store.environment.to_json()).encode()
    with complete_or_absent(folder) as unfinished:
        (unfinished / "data").mkdir()
        for purpose, split in SPLITS.items():
            groups = batches(labelled_pairs(store, purpose, names), _PAIRS_PER_GROUP)
            first = next(groups, None)
            if first is None:
                continue
            schema = _schema(first[0]).with_metadata({_METADATA: description})
            counts[split] = 0
            path = unfinished / "data" / f"{split}-00000-of-00001.parquet"
            with pq.ParquetWriter(path, schema, compression=COMPRESSION, use_dictionary=False) as writer:
                for group in (first, *groups):
                    writer.write_batch(_batch(group, schema))
                    counts[split] += len(group)
        _require_pairs(sum(counts.values()), store)
        splits = {split: f"data/{split}-*.parquet" for split in counts}
        card = dataset_card(store.environment, {"default": splits}, sum(counts.values()), pairs=True)
        (unfinished / CARD).write_text(card, encoding="utf-8")
    return counts


def _require_pairs(count: int, store: PreferenceStore) -> None:
    if not count:
        raise ValueError(f"No answer in {store.database.place} prefers one segment to another, so there are no pairs.")


def _numbers_of(segment: Segment) -> dict[str, NDArray[Any]]:
    """Observations and actions of a segment, by the names of their columns."""
    return {name: array for name, array in segment_arrays(segment).items() if name not in ("states", "frames")}


def _sides(pair: LabelledPair) -> tuple[tuple[str, Segment], tuple[str, Segment]]:
    return ("", pair.first), ("_2", pair.second)


def _columns(pair: LabelledPair) -> dict[str, NDArray[Any]]:
    """Observations and actions of both segments, by the names of their columns."""
    return {name + ending: array for ending, segment in _sides(pair) for name, array in _numbers_of(segment).items()}


def _schema(pair: LabelledPair) -> Any:
    fields = {
        "query": pa.int64(),
        "answer": pa.int64(),
        "annotator": pa.string(),
        "kind": pa.string(),
        "label": pa.float32(),
        "layout": pa.string(),
    }
    for ending, segment in _sides(pair):
        fields |= {f"{name}{ending}": pa.list_(step_type(array)) for name, array in _numbers_of(segment).items()}
        fields |= {f"rewards{ending}": pa.list_(pa.float32()), f"absorbing{ending}": pa.list_(pa.bool_())}
    return pa.schema(list(fields.items()))


def _batch(pairs: Sequence[LabelledPair], schema: Any) -> Any:
    for pair in pairs:
        if not _schema(pair).equals(schema, check_metadata=False):
            raise ValueError("The segments differ in the arrays that they hold, so that one table cannot hold them.")
    held = [_columns(pair) for pair in pairs]
    columns: dict[str, Any] = {
        "query": [pair.query for pair in pairs],
        "answer": [pair.answer for pair in pairs],
        "annotator": [pair.annotator for pair in pairs],
        "kind": [pair.kind for pair in pairs],
        "label": pa.array([pair.label for pair in pairs], pa.float32()),
        "layout": [json.dumps(layout_of(arrays)) for arrays in held],
    }
    for name in held[0]:
        arrays = [each[name] for each in held]
        columns[name] = lists_of_bytes(arrays) if arrays[0].dtype == np.uint8 else lists_of_lists(arrays)
    for ending, side in (("", "first"), ("_2", "second")):
        segments: list[Segment] = [getattr(pair, side) for pair in pairs]
        columns[f"rewards{ending}"] = lists([np.asarray(segment.true_rewards, np.float32) for segment in segments])
        absorbing = [None if segment.absorbing is None else segment.absorbing.tolist() for segment in segments]
        columns[f"absorbing{ending}"] = pa.array(absorbing, pa.list_(pa.bool_()))
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


@dataclass(frozen=True)
class PairsFile:
    """Pairs that `export_pairs`, or somebody else, wrote.

    Attributes:
        path: the .npz, or the folder.
        environment: what they are about, as far as that is said.
    """

    path: Path
    environment: StoredEnvironment

    @classmethod
    def find(cls, path: Path) -> PairsFile | None:
        """The pairs at a path; None if it is another thing.

        Raises:
            ValueError: if what it says of the environment is damaged.
        """
        said = ""
        if path.is_file() and path.suffix == ".npz":
            with _opened(path) as arrays:
                said = str(arrays["environment"]) if "environment" in arrays else ""
        elif tables := _tables(path):
            require_pyarrow()
            said = (open_parquet(tables[0]).schema_arrow.metadata or {}).get(_METADATA, b"").decode()
        else:
            return None
        try:
            return cls(path, StoredEnvironment.from_json(json.loads(said)) if said else StoredEnvironment())
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} describes its environment wrongly: {str(error).rstrip('.')}.") from error

    def __iter__(self) -> Iterator[LabelledPair]:
        """Every pair. Raises `ValueError` for one that makes no sense."""
        rows = self._from_npz() if self.path.suffix == ".npz" else self._from_folder()
        read = 0
        try:
            for pair in rows:
                for segment in (pair.first, pair.second):
                    segment.check_steps()
                check_name(pair.annotator)
                if not 0 <= pair.label <= 1:
                    raise ValueError(f"its label is {pair.label}, which is no probability")
                yield pair
                read += 1
        except (KeyError, TypeError, IndexError, ValueError, OverflowError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise ValueError(f"{self.path} holds a pair that makes no sense (number {read + 1}): {reason}.") from error

    def _from_npz(self) -> Iterator[LabelledPair]:
        with _opened(self.path) as file:
            arrays = {name: file[name] for name in file.files}
        labels = np.asarray(arrays["labels"], np.float64)
        rows = labels[:, 1] if labels.ndim == 2 and labels.shape[1] == 2 else labels.reshape(-1)
        for row, label in enumerate(rows.tolist()):
            yield LabelledPair(
                _segment(arrays, row, ""),
                _segment(arrays, row, "_2"),
                label,
                Purpose.TEST if "held_out" in arrays and bool(arrays["held_out"][row]) else Purpose.TRAIN,
                str(arrays["annotators"][row]) if "annotators" in arrays else _UNKNOWN,
            )

    def _from_folder(self) -> Iterator[LabelledPair]:
        for path in _tables(self.path):
            purpose = Purpose.TEST if path.name.startswith("test-") else Purpose.TRAIN
            file = open_parquet(path)
            for place in range(file.num_row_groups):
                with parquet_errors(path):
                    group = file.read_row_group(place).combine_chunks()
                for batch in group.to_batches():
                    for row in range(batch.num_rows):
                        layout = json.loads(batch.column("layout")[row].as_py())
                        held = {name: array_of(batch.column(name)[row], said) for name, said in layout.items()}
                        for name in (f"{step}{ending}" for step in _STEPS for ending in ("", "_2")):
                            cell = batch.column(name)[row].as_py()
                            if cell is not None:
                                held[name] = np.array(cell, np.bool_ if "absorbing" in name else np.float32)
                        stacked = {name: array[None] for name, array in held.items()}
                        yield LabelledPair(
                            _segment(stacked, 0, ""),
                            _segment(stacked, 0, "_2"),
                            float(batch.column("label")[row].as_py()),
                            purpose,
                            str(batch.column("annotator")[row].as_py()),
                        )


def _tables(folder: Path) -> list[Path]:
    """The tables of a folder of pairs, those of held-out answers last."""
    return sorted((folder / "data").glob("*.parquet"), key=lambda path: (path.name.startswith("test-"), path.name))


def _opened(path: Path) -> Any:
    """A NumPy file, from which nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > _LARGEST_NPZ:
            raise ValueError(f"{path} holds {size / 2**30:.0f} GiB, which is too much.")
        return np.load(path, allow_pickle=False)
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no NumPy file with arrays (.npz): {error}.") from error


def _segment(arrays: Mapping[str, NDArray[Any]], row: int, ending: str) -> Segment:
    """One segment of a pair, from arrays (N, T, ...) by the names of their columns."""
    own = {name.removesuffix(ending): array for name, array in arrays.items() if name.endswith(ending)}
    if not ending:
        own = {name: array for name, array in own.items() if not name.endswith("_2")}
    parts = {name.removeprefix("observations/"): each[row] for name, each in own.items() if "observations/" in name}
    for name in ("actions", *(() if parts else ("observations",))):
        if name not in own:
            raise ValueError(f"there is no {name + ending!r}")
    actions = own["actions"][row]
    rewards = np.asarray(own["rewards"][row] if "rewards" in own else np.zeros(len(actions)), np.float32)
    absorbing = np.asarray(own["absorbing"][row], np.bool_) if "absorbing" in own else None
    if absorbing is not None and not absorbing.any():
        absorbing = None
    return Segment(parts or own["observations"][row], actions, rewards, absorbing=absorbing)


def import_pairs(pairs: PairsFile, store: str | os.PathLike[str]) -> int:
    """Put pairs into a new store as comparisons, each of one answer; how many there are.

    The pairs are all checked before anything is stored.

    Raises:
        ValueError: if a pair makes no sense, or there is a store already.
        StoreError: if the store cannot be made.
    """
    if not os.fspath(store).startswith("postgresql") and Path(store).exists():
        raise ValueError(f"{store} is there already; name a new store for the pairs.")
    for _ in pairs:
        pass
    stored = 0
    with PreferenceStore.create(store, pairs.environment) as made:
        for group in batches(iter(pairs), _PAIRS_PER_GROUP):
            asked = [
                Query(f"pairs/{pair.purpose}/{stored + place}", 0, (pair.first, pair.second), purpose=pair.purpose)
                for place, pair in enumerate(group)
            ]
            ids = made.ask(asked)
            for name in dict.fromkeys(pair.annotator for pair in group):
                made.assign(name, [id for id, pair in zip(ids, group, strict=True) if pair.annotator == name])
            made.answer_many(
                [Submission(id, pair.annotator, _choice(pair.label)) for id, pair in zip(ids, group, strict=True)]
            )
            stored += len(group)
    return stored


def _choice(label: float) -> Choice:
    if math.isclose(label, 0.5):
        return Choice.TIE
    return Choice.RIGHT if label > 0.5 else Choice.LEFT
