"""Segments as rows of a table: every array a list with one entry per step, its type and shape beside it.

The entry of a step is the list of its numbers in C order, or for 8-bit arrays (pictures) and simulator states the raw
bytes: nested lists would take Parquet 4 bytes and a level marker for each pixel. The column `layout` says each array's
dtype and shape, so that a reader needs nothing but the row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.archive.parquet import pa
from rlhf_envs.segments import Segment

ID, LENGTH, DIGEST, CLIP, LAYOUT, TRUE_REWARDS = "id", "length", "digest", "clip", "layout", "true_rewards"

_OBSERVATIONS = "observations"
_KEY_PREFIX = "observations/"
_ACTIONS = "actions"
_RAW = ("states", "frames")
_BYTES = "uint8"
_DTYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
)


def segment_schema(segment: Segment) -> Any:
    """The columns for segments that are like this one."""
    columns = [
        pa.field(ID, pa.int64(), nullable=False),
        pa.field(LENGTH, pa.int32(), nullable=False),
        pa.field(DIGEST, pa.string(), nullable=False),
        pa.field(CLIP, pa.string()),
        pa.field(LAYOUT, pa.string(), nullable=False),
        pa.field(TRUE_REWARDS, pa.list_(pa.float32()), nullable=False),
    ]
    shown = {name: array for name, array in _tensors(segment).items() if name not in _RAW}
    columns += [pa.field(name, _column_type(array), nullable=False) for name, array in shown.items()]
    return pa.schema([*columns, *(pa.field(name, pa.list_(pa.binary())) for name in _RAW)])


def byte_size(segment: Segment) -> int:
    """How much memory the arrays of a segment take."""
    return sum(array.nbytes for array in _tensors(segment).values())


def float_columns(schema: Any) -> list[str]:
    """The columns of fractions, by their paths: they are packed byte plane by byte plane, which halves them."""
    paths = []
    for field in schema:
        depth, leaf = 0, field.type
        while pa.types.is_list(leaf):
            depth, leaf = depth + 1, leaf.value_type
        if pa.types.is_floating(leaf):
            paths.append(field.name + ".list.element" * depth)
    return paths


def segments_to_batch(rows: Sequence[tuple[int, Segment]], clips: Sequence[str | None], schema: Any) -> Any:
    """Segments with their numbers and the names of their clips as one batch of rows.

    Raises:
        ValueError: if a segment has other arrays, or of another type, than the schema.
    """
    tensors = [_tensors(segment) for _, segment in rows]
    for (id, segment), held in zip(rows, tensors, strict=True):
        if segment_schema(segment) != schema:
            raise ValueError(
                f"Segment {id} holds {_in_words(held)}, which is not what the segments before it hold; segments of "
                "several kinds cannot be exported together."
            )
    columns: dict[str, Any] = {
        ID: pa.array([id for id, _ in rows], pa.int64()),
        LENGTH: pa.array([len(segment) for _, segment in rows], pa.int32()),
        DIGEST: [segment.digest for _, segment in rows],
        CLIP: pa.array(clips, pa.string()),
        LAYOUT: [json.dumps(_layout(held)) for held in tensors],
        TRUE_REWARDS: _lists([np.asarray(segment.true_rewards, np.float32) for _, segment in rows]),
    }
    for name in schema.names[len(columns) :]:
        arrays = [held.get(name) for held in tensors]
        packed = pa.types.is_binary(schema.field(name).type.value_type)
        columns[name] = _byte_rows(arrays) if packed else _number_rows([array for array in arrays if array is not None])
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def segment_from_row(batch: Any, row: int) -> tuple[int, Segment]:
    """The segment of a row of a batch, with its number.

    Raises:
        ValueError: if the row is not what `segments_to_batch` makes.
        KeyError: if a column is missing.
    """
    layout = json.loads(batch.column(LAYOUT)[row].as_py())
    tensors = {name: _read(batch.column(name)[row], said) for name, said in layout.items()}
    keys = {name.removeprefix(_KEY_PREFIX): array for name, array in tensors.items() if name.startswith(_KEY_PREFIX)}
    segment = Segment(
        keys or tensors[_OBSERVATIONS],
        tensors[_ACTIONS],
        np.array(batch.column(TRUE_REWARDS)[row].values.to_numpy(zero_copy_only=False), np.float32),
        tensors.get("states"),
        tensors.get("frames"),
    )
    lengths = {len(array) for array in tensors.values()} | {batch.column(LENGTH)[row].as_py()}
    if lengths != {len(segment)}:
        raise ValueError(f"its arrays have {len(segment)} and {', '.join(map(str, sorted(lengths)))} steps")
    if segment.digest != batch.column(DIGEST)[row].as_py():
        raise ValueError("its observations and actions do not have its digest")
    return batch.column(ID)[row].as_py(), segment


def _tensors(segment: Segment) -> dict[str, NDArray[Any]]:
    seen = segment.observations
    held = (
        {_KEY_PREFIX + key: np.asarray(seen[key]) for key in sorted(seen)}
        if isinstance(seen, Mapping)
        else {_OBSERVATIONS: np.asarray(seen)}
    )
    held[_ACTIONS] = np.asarray(segment.actions)
    return held | {name: array for name in _RAW if (array := getattr(segment, name)) is not None}


def _layout(tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in tensors.items()}


def _in_words(tensors: dict[str, NDArray[Any]]) -> str:
    return ", ".join(f"{name} of {array.dtype}" for name, array in tensors.items())


def _column_type(array: NDArray[Any]) -> Any:
    return pa.list_(pa.binary() if array.dtype == _BYTES else pa.list_(pa.from_numpy_dtype(array.dtype)))


def _offsets(lengths: Sequence[int]) -> Any:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _lists(arrays: Sequence[NDArray[Any]]) -> Any:
    flat = np.concatenate([np.ascontiguousarray(array).reshape(-1) for array in arrays])
    return pa.ListArray.from_arrays(_offsets([array.size for array in arrays]), pa.array(flat))


def _number_rows(arrays: Sequence[NDArray[Any]]) -> Any:
    flat = np.concatenate([np.ascontiguousarray(array).reshape(-1) for array in arrays])
    sizes = [math.prod(array.shape[1:]) for array in arrays for _ in range(len(array))]
    steps = pa.ListArray.from_arrays(_offsets(sizes), pa.array(flat))
    return pa.ListArray.from_arrays(_offsets([len(array) for array in arrays]), steps)


def _byte_rows(arrays: Sequence[NDArray[Any] | None]) -> Any:
    steps = [None if array is None else [np.ascontiguousarray(step).tobytes() for step in array] for array in arrays]
    return pa.array(steps, pa.list_(pa.binary()))


def _read(cell: Any, said: dict[str, Any]) -> NDArray[Any]:
    dtype, shape = said["dtype"], tuple(said["shape"])
    if dtype not in _DTYPES or not shape or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"it speaks of an array of {dtype} and shape {shape}")
    steps = cell.values
    if pa.types.is_binary(steps.type):
        flat = np.frombuffer(b"".join(steps.to_pylist()), np.dtype(dtype).newbyteorder("<")).astype(dtype)
    else:
        if steps.type.value_type != pa.from_numpy_dtype(np.dtype(dtype)):
            raise ValueError(f"it speaks of an array of {dtype}, and holds {steps.type.value_type}")
        flat = np.array(steps.flatten().to_numpy(zero_copy_only=False), dtype)
    if len(steps) != shape[0] or flat.size != math.prod(shape):
        raise ValueError(f"it speaks of an array of shape {shape}, and holds {flat.size} numbers in {len(steps)} steps")
    return flat.reshape(shape)
