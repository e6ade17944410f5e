"""Files that are complete or not there: after a crash or a full disk there is the old content or the new one, whole."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a file in place of what is there, by way of a second file in the same folder, and return its path.

    When this returns, the content and the name of the file are on the disk.

    Args:
        path: of the file; its folder must exist.
        content: bytes, or text that is written as UTF-8.

    Raises:
        OSError: if it cannot be written; what was there before is still there.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    sync_to_disk(path.parent)
    return path


def write_csv(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows as CSV in the same way; the first one has the columns, and None is an empty field.

    Raises:
        OSError: as `write_atomically`.
    """
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_atomically(path, written.getvalue())


def sync_to_disk(path: str | os.PathLike[str]) -> None:
    """Wait until a file's content, or a folder's list of names, would survive a power cut."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
