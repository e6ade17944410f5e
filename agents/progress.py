"""What a run tells while it works: on the console, and in progress.csv."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

from agents.interruption import StopRequest
from agents.progress_display import ProgressDisplay
from rlhf_envs.loop import RoundReport
from rlhf_envs.sb3 import ScoringCallback

COLUMNS = (
    "timesteps",
    "seconds",
    "true_return_mean",
    "learned_return_mean",
    "labels",
    "held_out_loss",
    "held_out_accuracy",
    "test_accuracy",
    "steps_per_second",
    "fit_seconds",
)
"""The columns of progress.csv, one row per rollout. Empty where there is no figure yet."""


class ProgressTable:
    """progress.csv: rows are appended as they come, and cut back where a resumed run goes over them again."""

    def __init__(self, path: Path, resume_at: int) -> None:
        kept = [row for row in read_progress(path) if int(row["timesteps"]) <= resume_at] if path.exists() else []
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(temporary, path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS)

    def add(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self._writer.writerow({name: "" if value is None else value for name, value in row.items()})
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_progress(path: Path) -> list[dict[str, str]]:
    """The rows of progress.csv; what a crash cut short or somebody damaged is left out, for it is only a log."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        return []
    return [row for row in rows if _is_whole(row)]


def _is_whole(row: dict[str, Any]) -> bool:
    if row.keys() != set(COLUMNS) or None in row.values() or not row["timesteps"].isdecimal():
        return False
    try:
        for value in row.values():
            float(value or 0)
    except ValueError:
        return False
    return True


class ProgressCallback(BaseCallback):
    """Tells how a run is going, after every rollout.

    Args:
        total_timesteps: of the whole run.
        console: where progress is shown.
        stop: asked while the run waits for people, so that it can be stopped then too.

    Attributes:
        last_round: what the last visit to the feedback loop did; None before the first.
        learned_return: mean score of the last rollout, as the return of a whole episode.
    """

    def __init__(self, total_timesteps: int, console: Console, stop: StopRequest) -> None:
        super().__init__()
        self.last_round: RoundReport | None = None
        self.learned_return = float("nan")
        self._stop = stop
        self._started = time.perf_counter()
        self._rollout_at, self._rollout_steps = self._started, 0
        self._before: dict[str, Any] = {}
        self._display = ProgressDisplay(total_timesteps, console)

    def begin(self, scoring: ScoringCallback, table: ProgressTable, notes: dict[str, Any]) -> None:
        """Set the scene.

        Args:
            scoring: where the scores come from; it must come before this one in the list of callbacks.
            table: gets a row per rollout.
            notes: of the checkpoint that the run goes on from: what its earlier parts took.
        """
        self._scoring, self._table, self._before = scoring, table, notes

    def notes(self) -> dict[str, Any]:
        """What the run took so far, its earlier parts included: seconds by what they were spent on."""
        spent = {
            "wall_seconds": time.perf_counter() - self._started,
            "rollout_seconds": self._scoring.rollout_seconds,
            "reward_inference_seconds": self._scoring.scoring_seconds,
            "reward_fit_seconds": getattr(self._scoring, "fit_seconds", 0.0),
        }
        return {**self._before, **{name: value + self._before.get(name, 0.0) for name, value in spent.items()}}

    def on_round(self, report: RoundReport) -> None:
        """Take note of a visit to the feedback loop."""
        self.last_round = report
        if report.stop_requested:
            self._stop.request()

    def on_wait(self, awaited: str) -> None:
        """Say what the run is waiting for."""
        self._stop.check()
        self._display.update(f"waiting for {awaited}")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar, and put everything away at the end."""
        with self._display.shown():
            try:
                yield
            finally:
                self._table.close()

    def _on_training_start(self) -> None:
        self._rollout_at, self._rollout_steps = time.perf_counter(), self.num_timesteps
        self._display.update("collecting a rollout", self.num_timesteps)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        now = time.perf_counter()
        speed = (self.num_timesteps - self._rollout_steps) / max(now - self._rollout_at, 1e-9)
        self._rollout_at, self._rollout_steps = now, self.num_timesteps
        returns = self._scoring.env.true_returns
        true_return = float(np.mean(returns)) if returns else None
        self.learned_return = float(self._scoring.last_scores.mean()) * self._scoring.env.horizon
        report, notes = self.last_round, self.notes()
        fit = report.fit if report else None
        self._table.add(
            {
                "timesteps": self.num_timesteps,
                "seconds": round(notes["wall_seconds"], 3),
                "true_return_mean": true_return,
                "learned_return_mean": self.learned_return,
                "labels": report.labels if report else 0,
                "held_out_loss": fit.held_out_loss if fit else None,
                "held_out_accuracy": fit.held_out_accuracy if fit else None,
                "test_accuracy": report.test_accuracy if report else None,
                "steps_per_second": round(speed),
                "fit_seconds": round(notes["reward_fit_seconds"], 3),
            }
        )
        self._display.update(_summary(true_return, report), self.num_timesteps)


def _summary(true_return: float | None, report: RoundReport | None) -> str:
    parts = [] if true_return is None else [f"true return {true_return:.1f}"]
    if report is not None:
        parts.append(f"{report.labels} answers")
        if report.test_accuracy is not None:
            parts.append(f"test accuracy {report.test_accuracy:.0%}")
    return ", ".join(parts) or "training"
