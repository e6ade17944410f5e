"""The clips of an archive: each segment as the film that people saw of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlhf_envs.archive.manifest import CLIPS
from rlhf_envs.clips import clip_painter, encode_mp4
from rlhf_envs.segments import Segment


class Filming:
    """Writes clips into a folder, named by the number of their segment.

    Args:
        environment: what the store says about its environment.
        folder: the archive.

    Raises:
        ValueError: if the store does not say which environment it is about, or that cannot be made.
    """

    def __init__(self, environment: Mapping[str, Any], folder: Path) -> None:
        if not isinstance(environment.get("id"), str):
            raise ValueError(
                "Clips cannot be drawn, because the store does not say which environment it is about; leave them out "
                "with --no-clips."
            )
        self._painter = clip_painter(environment["id"], environment.get("kwargs") or {})
        self._folder = folder
        (folder / CLIPS).mkdir()

    def film(self, id: int, segment: Segment) -> str | None:
        """Write the clip of a segment; its name in the archive, or None where there is nothing to show."""
        if segment.states is None and segment.frames is None:
            return None
        name = f"{CLIPS}/segment-{id:06d}.mp4"
        encode_mp4(self._painter.frames(segment), self._folder / name, self._painter.frames_per_second)
        return name
