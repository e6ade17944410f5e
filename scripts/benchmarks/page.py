"""How quickly the labelling page follows its annotator in a real browser, alone and beside a training."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rlhf_envs.feedback import PreferenceStore, Query
from scripts.benchmarks.beside import alone_and_beside, check_rehearsal
from scripts.benchmarks.labelling import ENVIRONMENT, ask, serving
from scripts.benchmarks.markdown import markdown_table

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
"""Counts what the page does: animation frames, frames of films, and the time from a key to both next films."""

_PATIENCE = 30_000


@dataclass(frozen=True)
class Page:
    """Answer in a headless Chromium, first alone and then beside a training run on the same machine.

    Attributes:
        answers: how many, each time.
        pause: seconds from one answer to the next.
    """

    name: ClassVar[str] = "page"
    answers: int = 40
    pause: float = 1.5

    def __post_init__(self) -> None:
        check_rehearsal(self.answers, self.pause)

    def measure(self, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        """What the browser measured of the page, alone and beside a training."""
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None or importlib.util.find_spec("playwright") is None:
            raise ValueError("This benchmark needs Chromium (apt-get install chromium) and pip install playwright.")
        return alone_and_beside(self.answers, lambda place: self._answer(str(place), program), tell)

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row alone, one beside a training."""
        columns = ["beside", "ms from an answer to the next pair, median", "95%", "missed frames of the page",
                   "dropped frames of films"]  # fmt: skip
        rows = [
            [
                row["beside"],
                f"{np.median(row['waits']):.1f}",
                f"{np.percentile(row['waits'], 95):.1f}",
                f"{row['missed']:,} of {row['ticks'] + row['missed']:,}",
                f"{row['dropped']:,} of {row['shown']:,}",
            ]
            for row in measured["rows"]
        ]
        return markdown_table(columns, rows)

    def _answer(self, place: str, program: str) -> dict[str, Any]:
        from playwright.sync_api import sync_playwright

        with PreferenceStore.create(place, environment=ENVIRONMENT) as store:
            ask(store, self.answers + 8)
            # Who has answered before is not asked to practise.
            [earlier] = store.ask([Query("earlier", 0, store.queries()[0].segments, only_for="client 0")])
            store.answer(earlier, "client 0", "left")
        with serving(place, clients=1) as (port, [token]), sync_playwright() as running:
            browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"http://127.0.0.1:{port}/label#token={token}")
            page.locator("#stage[data-query]").wait_for(timeout=_PATIENCE)
            page.wait_for_timeout(1000)
            page.evaluate(_WATCH)
            for _ in range(self.answers):
                page.locator("#stage[data-query]").wait_for(timeout=_PATIENCE)
                page.keyboard.press("ArrowLeft")
                page.wait_for_timeout(1000 * self.pause)
            figures: dict[str, Any] = page.evaluate("figures()")
            browser.close()
        return figures
