"""Records as Parquet tables: a column for each field, in types that every reader of Parquet knows.

The tables are described in docs/data.md. Each array of a segment is a list with one entry per step. That entry is the
list of the step's numbers in C order, or for 8-bit arrays (pictures) and simulator states the raw bytes: nested lists
would take 4 bytes and a level marker for each pixel. The column `layout` says each array's dtype and shape, so that a
reader needs nothing but the row. pyarrow is needed; `require_pyarrow` says so where it is not installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.archive.records import QueryRecord
from rlhf_envs.feedback.store.database import batches
from rlhf_envs.json_values import require_json
from rlhf_envs.kinds import KINDS
from rlhf_envs.observations import named_arrays
from rlhf_envs.queries import Answer
from rlhf_envs.segments import Segment

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ImportError:
    pa = pc = pq = None

SEGMENT_COLUMNS = ("id", "length", "digest", "clip", "layout", "true_rewards", "absorbing")
"""Columns of segments.parquet besides the arrays that `layout` describes."""

COMPRESSION = "zstd"
_ROWS_PER_GROUP = 10_000
_LARGEST_ROW_GROUP = 2**29
"""Bytes, once it is decoded. Exports write groups twenty times smaller; a file with more could fill the memory."""

_LARGEST_ROW = 2**24
"""Bytes of a query or an answer as Python holds it, of which that many are made at a time."""

_BYTES_OF_OBJECT = 64
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
"""Bytes of a decoded value by its physical type; texts and raw bytes are read as numbers into a dictionary."""

_LARGEST_INT64 = 2**63 - 1
LARGEST_EXACT_FLOAT = 2**53  # up to this a float64 holds every whole number
_RAW = ("states", "frames")
_DTYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
)


def require_pyarrow() -> None:
    """Raise `ValueError` where pyarrow is not installed."""
    if pa is None:
        raise ValueError("Exports are Parquet files, which pyarrow reads and writes: pip install 'rlhf-envs[data]'.")


def query_schema() -> Any:
    """The columns of queries.parquet."""
    return _schema(
        id=pa.int64(),
        key=pa.string(),
        round=pa.int64(),
        kind=pa.string(),
        purpose=pa.string(),
        segments=pa.list_(pa.int64()),
        wanted=pa.int64(),
        only_for=(pa.string(),),
        created_at=pa.float64(),
        context=pa.string(),
    )


def answer_schema(columns: Mapping[str, str]) -> Any:
    """The columns of answers.parquet.

    Args:
        columns: those of the archive's kinds of feedback, see `payload_columns`.
    """
    types = {"text": pa.string(), "integers": pa.list_(pa.int64()), "numbers": pa.list_(pa.float64())}
    return _schema(
        id=pa.int64(),
        query_id=pa.int64(),
        annotator=pa.string(),
        choice=(pa.string(),),
        **{name: (types[type],) for name, type in columns.items()},
        undoes=(pa.int64(),),
        reasons=pa.list_(pa.string()),
        shown_at=(pa.float64(),),
        answered_at=(pa.float64(),),
        payload=(pa.string(),),
        token=(pa.string(),),
    )


def _schema(**types: Any) -> Any:
    """Columns by name; a type in a tuple may be null."""
    return pa.schema(
        [
            pa.field(name, type[0] if isinstance(type, tuple) else type, nullable=isinstance(type, tuple))
            for name, type in types.items()
        ]
    )


def write_queries(path: Path, records: Iterable[QueryRecord]) -> None:
    """Write queries.parquet."""
    rows = ({**vars(record), "context": json.dumps(record.context)} for record in records)
    _write_rows(path, query_schema(), rows)


def write_answers(path: Path, records: Iterable[Answer], columns: Mapping[str, str]) -> None:
    """Write answers.parquet; see `answer_schema`."""
    rows = ({**vars(record), "query": record.query_id, **_split_payload(record.payload, columns)} for record in records)
    _write_rows(path, answer_schema(columns), rows)


def _write_rows(path: Path, schema: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    with pq.ParquetWriter(path, schema, compression=COMPRESSION) as writer:
        for group in batches(rows, _ROWS_PER_GROUP):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema))


def query_from_row(row: Mapping[str, Any]) -> QueryRecord:
    """The query of a row. Raises `ValueError` if a value makes no sense."""
    context = json.loads(row["context"])
    if not isinstance(context, dict):
        raise ValueError(f"its context is no JSON object, but {context!r}")
    if not math.isfinite(row["created_at"]):
        raise ValueError(f"it was asked at {row['created_at']}, which is no time")
    return QueryRecord.of({**row, "context": require_json(context, "context of a query")})


def answer_from_row(row: Mapping[str, Any], columns: Mapping[str, str]) -> Answer:
    """The answer of a row; see `answer_schema`. Raises `ValueError` if a value makes no sense."""
    for name in ("shown_at", "answered_at"):
        if row[name] is not None and not math.isfinite(row[name]):
            raise ValueError(f"its {name} is {row[name]}, which is no time")
    return Answer.of({**row, "payload": _joined_payload(row, columns)})


def payload_columns(kinds: Iterable[str]) -> dict[str, dict[str, str]]:
    """The columns of kinds of feedback: by kind, the type of each column by its name, as `FeedbackKind.columns` has it.

    Raises:
        ValueError: if a kind is not registered, or a column has a name that is taken.
    """
    found: dict[str, dict[str, str]] = {name: {**KINDS.named(name).columns} for name in kinds}
    taken = dict.fromkeys(answer_schema({}).names, "every archive")
    for kind, columns in found.items():
        for name in columns:
            if name in taken:
                raise ValueError(
                    f"The kind of feedback {kind!r} has an archive column {name!r}, which {taken[name]} has already; "
                    "rename it."
                )
            taken[name] = f"the kind {kind!r}"
    return found


def _split_payload(payload: Mapping[str, Any] | None, columns: Mapping[str, str]) -> dict[str, Any]:
    """A payload as values of columns; what does not fit one stays JSON."""
    if payload is None:
        return {"payload": None}
    rest = dict(payload)
    values = {name: rest.pop(name) for name, type in columns.items() if _fits(rest.get(name), type)}
    # A payload that is all in columns leaves no JSON; an empty one is different from none.
    return values | {"payload": json.dumps(rest) if rest or not values else None}


def _fits(value: Any, column_type: str) -> bool:
    """Whether a column of this type can hold a JSON value exactly."""
    if column_type == "text":
        return isinstance(value, str)
    types, largest = ((int,), _LARGEST_INT64) if column_type == "integers" else ((int, float), LARGEST_EXACT_FLOAT)
    return isinstance(value, list) and all(type(each) in types and abs(each) <= largest for each in value)


def _joined_payload(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any] | None:
    values = {name: row[name] for name in columns if row[name] is not None}
    rest = {} if row["payload"] is None else json.loads(row["payload"])
    if not isinstance(rest, dict):
        raise ValueError(f"its payload is no JSON object, but {rest!r}")
    if row["payload"] is None and not values:
        return None
    payload: dict[str, Any] = require_json(values | rest, "payload of an answer")
    return payload


class SegmentWriter:
    """Writes segments.parquet group by group; all segments must hold arrays of the types of the first one.

    Args:
        path: of the file.
        first: the first segment, which says what the columns are.
    """

    def __init__(self, path: Path, first: Segment) -> None:
        self._schema = _segment_schema(first)
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression=COMPRESSION,
            # Dictionaries would take 0.0 and -0.0, and different NaNs, for the same number.
            use_dictionary=False,
            # Fractions are packed byte plane by byte plane, which halves them.
            use_byte_stream_split=_float_columns(self._schema),
        )

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def write(self, numbered: Sequence[tuple[int, Segment]], clips: Sequence[str | None]) -> None:
        """Write a group of segments with their numbers and the names of their clips.

        Raises:
            ValueError: if a segment has other arrays than the first one, or of another type.
        """
        arrays = [segment_arrays(segment) for _, segment in numbered]
        for (id, segment), held in zip(numbered, arrays, strict=True):
            if _segment_schema(segment) != self._schema:
                described = ", ".join(f"{name} of {array.dtype}" for name, array in held.items())
                raise ValueError(
                    f"Segment {id} holds {described}, which is not what the segments before it hold; segments of "
                    "several kinds cannot be exported together."
                )
        columns: dict[str, Any] = {
            "id": pa.array([id for id, _ in numbered], pa.int64()),
            "length": pa.array([len(segment) for _, segment in numbered], pa.int32()),
            "digest": [segment.digest for _, segment in numbered],
            "clip": pa.array(clips, pa.string()),
            "layout": [json.dumps(layout_of(held)) for held in arrays],
            "true_rewards": lists([np.asarray(segment.true_rewards, np.float32) for _, segment in numbered]),
            "absorbing": pa.array(
                [None if segment.absorbing is None else segment.absorbing.tolist() for _, segment in numbered],
                pa.list_(pa.bool_()),
            ),
        }
        for name in self._schema.names[len(columns) :]:
            is_bytes = pa.types.is_binary(self._schema.field(name).type.value_type)
            column = [held.get(name) for held in arrays]
            columns[name] = lists_of_bytes(column) if is_bytes else lists_of_lists([a for a in column if a is not None])
        self._writer.write_batch(pa.record_batch([columns[name] for name in self._schema.names], schema=self._schema))


def byte_size(segment: Segment) -> int:
    """How much memory the arrays of a segment take."""
    return sum(array.nbytes for array in segment_arrays(segment).values())


def segment_from_row(batch: Any, row: int) -> tuple[int, Segment]:
    """The segment of a row of a batch, with its number.

    Raises:
        ValueError: if the row is not what `SegmentWriter` makes.
        KeyError: if a column is missing.
    """
    layout = json.loads(batch.column("layout")[row].as_py())
    arrays = {name: array_of(batch.column(name)[row], described) for name, described in layout.items()}
    absorbing = batch.column("absorbing")[row]
    segment = Segment(
        _with_prefix(arrays, "observations/") or arrays["observations"],
        arrays["actions"],
        np.array(batch.column("true_rewards")[row].values.to_numpy(zero_copy_only=False), np.float32),
        arrays.get("states"),
        arrays.get("frames"),
        np.array(absorbing.values.to_numpy(zero_copy_only=False), np.bool_) if absorbing.is_valid else None,
    )
    lengths = {len(array) for array in arrays.values()} | {batch.column("length")[row].as_py()}
    if lengths != {len(segment)}:
        raise ValueError(f"its arrays have {len(segment)} and {', '.join(map(str, sorted(lengths)))} steps")
    if segment.digest != batch.column("digest")[row].as_py():
        raise ValueError("its observations, actions and absorbing steps do not have its digest")
    return batch.column("id")[row].as_py(), segment


def _with_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def segment_arrays(segment: Segment) -> dict[str, NDArray[Any]]:
    """The arrays of a segment by the names of their columns."""
    seen = sorted(named_arrays(segment.observations))
    held = {f"observations/{key}" if key else "observations": np.asarray(array) for key, array in seen}
    held["actions"] = np.asarray(segment.actions)
    return held | {name: array for name in _RAW if (array := getattr(segment, name)) is not None}


def _segment_schema(segment: Segment) -> Any:
    arrays = {name: array for name, array in segment_arrays(segment).items() if name not in _RAW}
    return pa.schema(
        [
            *_schema(
                id=pa.int64(),
                length=pa.int32(),
                digest=pa.string(),
                clip=(pa.string(),),
                layout=pa.string(),
                true_rewards=pa.list_(pa.float32()),
                absorbing=(pa.list_(pa.bool_()),),
                **{name: pa.list_(step_type(array)) for name, array in arrays.items()},
                **{name: (pa.list_(pa.binary()),) for name in _RAW},
            )
        ]
    )


def step_type(array: NDArray[Any]) -> Any:
    """The type of the entry of a step in the column of an array (T, ...)."""
    return pa.binary() if array.dtype == np.uint8 else pa.list_(pa.from_numpy_dtype(array.dtype))


def _float_columns(schema: Any) -> list[str]:
    """The columns of fractions, by their paths."""
    paths = []
    for field in schema:
        depth, leaf = 0, field.type
        while pa.types.is_list(leaf):
            depth, leaf = depth + 1, leaf.value_type
        if pa.types.is_floating(leaf):
            paths.append(field.name + ".list.element" * depth)
    return paths


def layout_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What `array_of` needs to know of arrays, by their names."""
    return {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in arrays.items()}


def _flat(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([np.ascontiguousarray(array).reshape(-1) for array in arrays])


def _offsets(lengths: Sequence[int]) -> Any:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def lists(arrays: Sequence[NDArray[Any]]) -> Any:
    """A column with the numbers of each array as a list."""
    return pa.ListArray.from_arrays(_offsets([array.size for array in arrays]), pa.array(_flat(arrays)))


def lists_of_lists(arrays: Sequence[NDArray[Any]]) -> Any:
    """A column with a list for each array (T, ...), of a list of numbers for each step."""
    sizes = [math.prod(array.shape[1:]) for array in arrays for _ in range(len(array))]
    steps = pa.ListArray.from_arrays(_offsets(sizes), pa.array(_flat(arrays)))
    return pa.ListArray.from_arrays(_offsets([len(array) for array in arrays]), steps)


def lists_of_bytes(arrays: Sequence[NDArray[Any] | None]) -> Any:
    """A column with a list for each array (T, ...), of the bytes of each step."""
    steps = [None if array is None else [np.ascontiguousarray(step).tobytes() for step in array] for array in arrays]
    return pa.array(steps, pa.list_(pa.binary()))


def array_of(cell: Any, described: Mapping[str, Any]) -> NDArray[Any]:
    """The array of a cell, as `layout` describes it."""
    dtype, shape = described["dtype"], tuple(described["shape"])
    if dtype not in _DTYPES or not shape or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"its layout describes an array of {dtype} and shape {shape}")
    steps, size = cell.values, math.prod(shape) * np.dtype(dtype).itemsize
    if steps is None or size > _LARGEST_ROW_GROUP:
        raise ValueError(f"its layout describes an array of shape {shape}, which is not there or too large")
    if pa.types.is_dictionary(steps.type) and pa.types.is_binary(steps.type.value_type):
        # The entry of a dictionary can be meant many times, so lengths are added up before anything is copied.
        lengths = pc.binary_length(steps.dictionary).to_numpy(zero_copy_only=False)[steps.indices.to_numpy()]
        if lengths.sum(dtype=np.int64) != size:
            raise ValueError(f"its layout describes an array of {size} bytes, but it holds {lengths.sum()}")
        flat = np.frombuffer(b"".join(steps.to_pylist()), np.dtype(dtype).newbyteorder("<")).astype(dtype)
    elif not pa.types.is_list(steps.type):
        raise ValueError(f"its layout describes an array of {dtype}, but it holds {steps.type}")
    else:
        if steps.type.value_type != pa.from_numpy_dtype(np.dtype(dtype)):
            raise ValueError(f"its layout describes an array of {dtype}, but it holds {steps.type.value_type}")
        flat = np.array(steps.flatten().to_numpy(zero_copy_only=False), dtype)
    if len(steps) != shape[0] or flat.size != math.prod(shape):
        raise ValueError(
            f"its layout describes an array of shape {shape}, but it holds {flat.size} numbers in {len(steps)} steps"
        )
    return flat.reshape(shape)


def open_parquet(path: Path) -> Any:
    """A Parquet file, for reading.

    Raises:
        ValueError: if it is none, or its parts are too large for the memory.
    """
    with parquet_errors(path):
        metadata = pq.read_metadata(path)
        leaves = [metadata.schema.column(place) for place in range(metadata.num_columns)]
        largest = max(map(_decoded_bytes, _row_groups(metadata)), default=0)
        if largest > _LARGEST_ROW_GROUP:
            raise ValueError(f"{path} is no export: a part of it takes {largest / 2**20:,.0f} MiB of memory.")
        # Otherwise a long text that a dictionary holds once would be copied for each row that has it.
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        return pq.ParquetFile(path, read_dictionary=texts)


def _row_groups(metadata: Any) -> Iterator[Any]:
    return (metadata.row_group(place) for place in range(metadata.num_row_groups))


def _decoded_bytes(group: Any) -> int:
    """How much memory a group of rows takes at most: what is said of its size leaves out what dictionaries save."""
    columns = [group.column(place) for place in range(group.num_columns)]
    # Levels say where lists begin and end, 2 bytes each.
    values = sum(column.num_values * (_WIDTHS.get(column.physical_type, 16) + 4) for column in columns)
    return int(values + sum(column.total_uncompressed_size for column in columns))


def python_rows(batch: Any) -> Iterator[dict[str, Any]]:
    """The rows of a batch as Python values by column, few enough at a time that they fit into the memory.

    Raises:
        ValueError: if a row is too large.
    """
    largest = sum(_largest_value(column) for column in batch.columns)
    if largest > _LARGEST_ROW:
        raise ValueError(f"it takes {largest / 2**20:,.0f} MiB, which is too much for a row")
    at_once = max(_LARGEST_ROW // max(largest, 1), 1)
    for first in range(0, batch.num_rows, at_once):
        yield from batch.slice(first, at_once).to_pylist()


def _largest_value(column: Any) -> int:
    """Bytes that the largest value of a column takes as a Python object, or a bit more."""
    if pa.types.is_list(column.type):
        longest = pc.max(pc.list_value_length(column)).as_py() or 0
        return _BYTES_OF_OBJECT + int(longest) * _largest_value(column.values)
    if pa.types.is_dictionary(column.type):
        return _BYTES_OF_OBJECT + 4 * int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)
    return _BYTES_OF_OBJECT


def plain_schema(file: Any) -> Any:
    """The columns of a file as they would be if texts were not read into dictionaries."""
    return file.metadata.schema.to_arrow_schema()


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Raise `ValueError`, in one sentence, where pyarrow cannot read a file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged and cannot be read: {str(error).splitlines()[0]}.") from error
