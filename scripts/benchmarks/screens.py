"""How quickly the labelling window and the labelling page respond, on an idle machine and during a training run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Query
from rlhf_envs.feedback.window import measure_window
from scripts.benchmarks import Log, markdown_table
from scripts.benchmarks.labelling import ENVIRONMENT, ask, serving

IDLE, TRAINING = "none", "a training run"
"""What else the machine does."""

_WATCH = """
const seen = { waits: [], ticks: 0, missed: 0, shown: 0, dropped: 0 };
const films = new Map();
let pressed, last;
addEventListener("keydown", (event) => { if (event.key === "ArrowLeft") pressed = performance.now(); }, true);
new MutationObserver(() => {
  const stage = document.getElementById("stage");
  if (!stage || pressed === undefined) return;
  const videos = [...stage.querySelectorAll("video")].filter((video) => !films.has(video));
  if (videos.length < 2) return;
  const from = pressed;
  pressed = undefined;
  let left = videos.length;
  for (const video of videos) {
    films.set(video, null);
    video.requestVideoFrameCallback(() => { if (!--left) seen.waits.push(performance.now() - from); });
  }
}).observe(document, { childList: true, subtree: true });
function tick(now) {
  if (last !== undefined) {
    seen.ticks += 1;
    seen.missed += Math.max(Math.round((now - last) / (1000 / 60)) - 1, 0);
  }
  last = now;
  for (const video of document.querySelectorAll("#stage video")) films.set(video, video.getVideoPlaybackQuality());
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);
window.figures = () => {
  for (const quality of films.values()) {
    seen.shown += quality?.totalVideoFrames ?? 0;
    seen.dropped += quality?.droppedVideoFrames ?? 0;
  }
  return seen;
};
"""
"""Counts animation frames, frames of films, and the time from a key to both next films, on the page."""

_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class _Screen(ABC):
    """Answer automatically on a screen, first on an idle machine and then during a training run on it.

    Attributes:
        answers: how many, each time.
        pause: seconds from one answer to the next.
    """

    answers: int
    pause: float

    def __post_init__(self) -> None:
        if self.answers < 2 or not self.pause > 0:
            raise ValueError(
                f"Two answers or more and a pause above 0 are needed, not {self.answers} and {self.pause}."
            )

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """What the screen measured of itself, with each load."""
        self._prepare()
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            for load in (IDLE, TRAINING):
                log(f"{self.answers} answers, other load: {load}")
                with _load(load, Path(folder)):
                    rows.append({"other load": load, **self._answer(f"{folder}/{len(rows)}.db")})
        return {"rows": rows}

    @classmethod
    def table(cls, measured: dict[str, Any]) -> str:
        """One row for each load."""
        return markdown_table([{"other load": row["other load"], **cls._cells(row)} for row in measured["rows"]])

    @staticmethod
    @abstractmethod
    def _cells(row: dict[str, Any]) -> dict[str, str]:
        """What the table says of one load."""

    @abstractmethod
    def _prepare(self) -> None:
        """Raise `ValueError` where something is missing on this machine."""

    @abstractmethod
    def _answer(self, place: str) -> dict[str, Any]:
        """Make a store at this place and answer in it; the figures."""


@dataclass(frozen=True)
class Window(_Screen):
    """Let the window answer by itself, first on an idle machine and then during a training run on it.

    Without a screen it is drawn off-screen.
    """

    name: ClassVar[str] = "window"
    answers: int = 60
    pause: float = 0.8

    @staticmethod
    def _cells(row: dict[str, Any]) -> dict[str, str]:
        return {
            "ms from an answer to the next pair, median": f"{row['median_ms']:.1f}",
            "95%": f"{row['p95_ms']:.1f}",
            "frames a second": f"{row['per_second']:.1f}",
            "missed frames": f"{row['missed']} of {row['due']}",
            "skipped frames of clips": f"{row['skipped']} of {row['frames']}",
        }

    def _prepare(self) -> None:
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and sys.platform == "linux":
            os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

    def _answer(self, place: str) -> dict[str, Any]:
        with PreferenceStore.create(place, ENVIRONMENT) as store:
            ask(store, self.answers + 8)
            figures = measure_window(AnnotatorSession(store, "ann"), self.answers, pause=self.pause)
        return {
            "median_ms": figures.median_ms,
            "p95_ms": figures.p95_ms,
            "per_second": figures.ticks / figures.seconds,
            "missed": figures.missed,
            "due": figures.ticks + figures.missed,
            "skipped": figures.skipped,
            "frames": figures.skipped + figures.shown,
        }


@dataclass(frozen=True)
class Page(_Screen):
    """Answer in a headless Chromium, first on an idle machine and then during a training run on it."""

    name: ClassVar[str] = "page"
    answers: int = 40
    pause: float = 1.5

    @staticmethod
    def _cells(row: dict[str, Any]) -> dict[str, str]:
        return {
            "ms from an answer to the next pair, median": f"{np.median(row['waits']):.1f}",
            "95%": f"{np.percentile(row['waits'], 95):.1f}",
            "missed frames of the page": f"{row['missed']:,} of {row['ticks'] + row['missed']:,}",
            "dropped frames of films": f"{row['dropped']:,} of {row['shown']:,}",
        }

    def _prepare(self) -> None:
        if _chromium() is None or importlib.util.find_spec("playwright") is None:
            raise ValueError("This benchmark needs Chromium (apt-get install chromium) and pip install playwright.")

    def _answer(self, place: str) -> dict[str, Any]:
        from playwright.sync_api import sync_playwright

        with PreferenceStore.create(place, ENVIRONMENT) as store:
            ask(store, self.answers + 8)
            # Somebody who has answered before gets no practice.
            [earlier] = store.ask([Query("earlier", 0, store.queries()[0].segments, only_for="client 0")])
            store.answer(earlier, "client 0", "left")
        with serving(place, clients=1) as (port, [token]), sync_playwright() as running:
            browser = running.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"http://127.0.0.1:{port}/label#token={token}")
            page.locator("#stage[data-query]").wait_for(timeout=_TIMEOUT_MS)
            page.wait_for_timeout(1000)
            page.evaluate(_WATCH)
            for _ in range(self.answers):
                page.locator("#stage[data-query]").wait_for(timeout=_TIMEOUT_MS)
                page.keyboard.press("ArrowLeft")
                page.wait_for_timeout(1000 * self.pause)
            figures: dict[str, Any] = page.evaluate("figures()")
            browser.close()
        return figures


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def _load(load: str, folder: Path) -> Iterator[None]:
    """Nothing, or a training run in `folder`, which ends with the context."""
    if load == IDLE:
        yield
        return
    command = [sys.executable, "-m", "scripts.train", "--env", ENVIRONMENT.id, "--timesteps", "100000000"]
    with (folder / "output.txt").open("w") as output:
        run = subprocess.Popen([*command, "--run-dir", str(folder / "run")], stdout=output, stderr=output)
        try:
            yield
        finally:
            run.kill()
            run.wait()
