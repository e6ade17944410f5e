"""How quickly the labelling window follows its annotator, alone and beside a training."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rlhf_envs.feedback import AnnotatorSession, PreferenceStore
from rlhf_envs.feedback.window import rehearse
from scripts.benchmarks.beside import alone_and_beside, check_rehearsal
from scripts.benchmarks.labelling import ENVIRONMENT, ask
from scripts.benchmarks.markdown import markdown_table


@dataclass(frozen=True)
class Window:
    """Let the window answer by itself, first alone and then beside a training run on the same machine.

    Without a screen it is drawn all the same, and shown nowhere.

    Attributes:
        answers: how many, each time.
        pause: seconds from one answer to the next.
    """

    name: ClassVar[str] = "window"
    answers: int = 60
    pause: float = 0.8

    def __post_init__(self) -> None:
        check_rehearsal(self.answers, self.pause)

    def measure(self, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        """What the window measured of itself, alone and beside a training."""
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and sys.platform == "linux":
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        return alone_and_beside(self.answers, self._rehearse, tell)

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row alone, one beside a training."""
        columns = ["beside", "ms from an answer to the next pair, median", "95%", "frames a second", "missed frames",
                   "skipped frames of clips"]  # fmt: skip
        rows = [
            [
                row["beside"],
                f"{row['median_ms']:.1f}",
                f"{row['p95_ms']:.1f}",
                f"{row['per_second']:.1f}",
                f"{row['missed']} of {row['due']}",
                f"{row['skipped']} of {row['frames']}",
            ]
            for row in measured["rows"]
        ]
        return markdown_table(columns, rows)

    def _rehearse(self, place: Path) -> dict[str, Any]:
        with PreferenceStore.create(place, environment=ENVIRONMENT) as store:
            ask(store, self.answers + 8)
            figures = rehearse(AnnotatorSession(store, "ann"), self.answers, pause=self.pause)
        return {
            "median_ms": figures.median_ms,
            "p95_ms": figures.p95_ms,
            "per_second": figures.ticks / figures.seconds,
            "missed": figures.missed,
            "due": figures.ticks + figures.missed,
            "skipped": figures.skipped,
            "frames": figures.skipped + figures.shown,
        }
