"""pyarrow, which reads and writes Parquet files, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    pa = pq = None

COMPRESSION = "zstd"

_LARGEST_ROW_GROUP = 2**31
"""Bytes. Exports write groups a hundred times smaller; a file that claims more wants to fill the memory."""


def require_pyarrow() -> None:
    """Raise `ValueError` where pyarrow is not installed."""
    if pa is None:
        raise ValueError("Exports are Parquet files, which pyarrow reads and writes: pip install 'rlhf-envs[data]'.")


def open_parquet(path: Path) -> Any:
    """A Parquet file, for reading.

    Raises:
        ValueError: if it is none, or its parts are too large for the memory.
    """
    with damage_told(path):
        file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]
    if max(groups, default=0) > _LARGEST_ROW_GROUP:
        raise ValueError(f"{path} is no export: a part of it is {max(groups) / 2**30:.0f} GiB large.")
    return file


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Say it in one sentence where a Parquet file cannot be read.

    Raises:
        ValueError: in place of pyarrow's error.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged and cannot be read: {str(error).splitlines()[0]}.") from error
