"""Rows in groups of a bounded size, so that only one group is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Row = TypeVar("_Row")


def in_groups(
    rows: Iterable[_Row], most_rows: int, most_bytes: int = 0, size: Callable[[_Row], int] | None = None
) -> Iterator[list[_Row]]:
    """Consecutive rows in lists.

    Args:
        rows: any number of them.
        most_rows: in one list.
        most_bytes: a list ends once its rows are as large together.
        size: bytes of a row; without it only `most_rows` counts.
    """
    group: list[_Row] = []
    held = 0
    for row in rows:
        group.append(row)
        held += 0 if size is None else size(row)
        if len(group) >= most_rows or (size is not None and held >= most_bytes):
            yield group
            group, held = [], 0
    if group:
        yield group
