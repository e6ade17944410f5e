"""The state of many copies of an environment: named arrays over one buffer, so that a snapshot is one copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class Field:
    """One named quantity of a state: its dtype, and its shape for a single copy (empty for a number)."""

    dtype: DTypeLike = np.float32
    shape: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes that one copy takes."""
        return int(np.dtype(self.dtype).itemsize * prod(self.shape))


class StateLayout:
    """Where each field lies in a buffer. Wide dtypes come first, which keeps every field aligned without padding."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.fields = dict(sorted(fields.items(), key=lambda item: -np.dtype(item[1].dtype).itemsize))
        self.row_bytes = sum(field.row_bytes for field in self.fields.values())

    def views(self, buffers: NDArray[np.uint8], copies: int) -> dict[str, NDArray[Any]]:
        """The fields of one buffer (bytes,) as arrays (*shape, copies), or of many (steps, bytes) with a steps axis."""
        lead = buffers.shape[:-1]
        arrays = {}
        start = 0
        for name, field in self.fields.items():
            stop = start + field.row_bytes * copies
            arrays[name] = buffers[..., start:stop].view(field.dtype).reshape(*lead, *field.shape, copies)
            start = stop
        return arrays

    def extract_row(self, buffers: NDArray[np.uint8], copies: int, row: int) -> NDArray[np.uint8]:
        """One copy's snapshots (steps, row_bytes) out of the buffers (steps, bytes) of all copies."""
        steps = len(buffers)
        return np.concatenate(
            [
                np.ascontiguousarray(array[..., row]).reshape(steps, -1).view(np.uint8).reshape(steps, -1)
                for array in self.views(buffers, copies).values()
            ],
            axis=1,
        )


class State:
    """Named arrays over N copies, the copies on the last axis: `state.speed` is (N,), `state.cars` is (8, N).

    The arrays are views of one byte buffer, so `state.buffer.copy()` is a snapshot of everything. Assigning to a field
    writes into its array; it never replaces it.
    """

    __slots__ = ("_arrays", "buffer", "copies", "layout")

    layout: StateLayout
    copies: int
    buffer: NDArray[np.uint8]
    _arrays: dict[str, NDArray[Any]]

    def __init__(self, layout: StateLayout, copies: int, buffer: NDArray[np.uint8] | None = None) -> None:
        if buffer is None:
            buffer = np.zeros(layout.row_bytes * copies, dtype=np.uint8)
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "copies", copies)
        object.__setattr__(self, "buffer", buffer)
        object.__setattr__(self, "_arrays", layout.views(buffer, copies))

    def __getattr__(self, name: str) -> NDArray[Any]:
        try:
            return self._arrays[name]
        except KeyError:
            raise AttributeError(f"The state has no field {name!r}; it has {', '.join(self._arrays)}.") from None

    def __setattr__(self, name: str, value: Any) -> None:
        array = self.__getattr__(name)
        if value is not array:
            array[...] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return (State, (self.layout, self.copies, self.buffer))

    def take(self, rows: NDArray[np.intp]) -> State:
        """A new state that holds copies of the given rows."""
        taken = State(self.layout, len(rows))
        for name, array in self._arrays.items():
            taken._arrays[name][...] = array[..., rows]
        return taken

    def put(self, rows: NDArray[np.intp], other: State) -> None:
        """Overwrite the given rows with those of `other`, in order."""
        for name, array in self._arrays.items():
            array[..., rows] = other._arrays[name]

    def pack(self) -> NDArray[np.uint8]:
        """Every copy's snapshot as bytes, (copies, row_bytes). `unpack` is the inverse."""
        columns = [
            np.ascontiguousarray(np.moveaxis(array, -1, 0)).reshape(self.copies, -1).view(np.uint8)
            for array in self._arrays.values()
        ]
        return np.concatenate(columns, axis=1)

    @classmethod
    def unpack(cls, layout: StateLayout, snapshots: NDArray[np.uint8]) -> State:
        """The state of as many copies as there are snapshots, (copies, row_bytes) uint8.

        Raises:
            ValueError: if the snapshots are not of this layout.
        """
        snapshots = np.asarray(snapshots)
        if snapshots.ndim != 2 or snapshots.shape[1] != layout.row_bytes or snapshots.dtype != np.uint8:
            raise ValueError(
                f"A snapshot of this environment is {layout.row_bytes} bytes of uint8 per copy, not an array of "
                f"{snapshots.dtype} of shape {snapshots.shape}; it was taken from another environment or version."
            )
        copies = len(snapshots)
        state = cls(layout, copies)
        start = 0
        for name, field in layout.fields.items():
            stop = start + field.row_bytes
            column = np.ascontiguousarray(snapshots[:, start:stop]).view(field.dtype).reshape(copies, *field.shape)
            state._arrays[name][...] = np.moveaxis(column, 0, -1)
            start = stop
        return state

    def row(self, index: int) -> SimpleNamespace:
        """One copy's fields as read-only values, for drawing: numbers, or arrays of the field's shape."""
        values = {}
        for name, array in self._arrays.items():
            value = array[..., index]
            if value.ndim:
                value = value.copy()
                value.setflags(write=False)
            values[name] = value if value.ndim else value.item()
        return SimpleNamespace(**values)
