"""Segments that were read lately, so that showing or training on them again costs no reading."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from rlhf_envs.segments import Segment


class SegmentCache:
    """Keeps the segments used last, up to a size; safe to share between threads.

    Args:
        most_bytes: how much stored content the kept segments may have together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[int, tuple[Segment, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, ids: Iterable[int]) -> dict[int, Segment]:
        """Those of these segments that are kept."""
        with self._lock:
            found = {id: self._kept[id][0] for id in ids if id in self._kept}
            for id in found:
                self._kept.move_to_end(id)
            return found

    def put(self, id: int, segment: Segment, size: int) -> None:
        """Keep a segment of `size` stored bytes, and let go of those unused for longest."""
        with self._lock:
            if id in self._kept:
                return
            self._kept[id] = (segment, size)
            self._bytes += size
            while self._bytes > self._most_bytes:
                _, (_, freed) = self._kept.popitem(last=False)
                self._bytes -= freed
