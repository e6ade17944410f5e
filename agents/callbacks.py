"""Callbacks of a training run: progress on the console and in progress.csv, convergence, early ends, interruption."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.loop import RoundReport
from rlhf_envs.runs import PROGRESS_COLUMNS, read_progress
from rlhf_envs.sb3 import PreferenceCallback, ScoringCallback
from rlhf_envs.terminal import counted, leave_terminal, time_left, with_hangup

_SECONDS_BETWEEN_LINES = 30.0


class RunInterrupted(Exception):
    """The run was asked to stop; it can be resumed."""


class StopRequest:
    """Whether the run should stop: Ctrl-C was pressed, or a condition holds, such as a window that was closed.

    The first Ctrl-C asks for a stop between rollouts, the second stops at once.
    """

    def __init__(self) -> None:
        self._noted = self._ignores = False
        self._conditions: list[Callable[[], bool]] = []

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._noted or (not self._ignores and self.condition_holds)

    @property
    def condition_holds(self) -> bool:
        """Whether one of the conditions holds, ignored or not."""
        return any(condition() for condition in self._conditions)

    def request(self) -> None:
        """Ask for a stop between rollouts."""
        self._noted = True

    def also_when(self, condition: Callable[[], bool]) -> None:
        """Stop as well once a condition holds."""
        self._conditions.append(condition)

    @contextmanager
    def ignoring_conditions(self) -> Iterator[None]:
        """Stop on request alone as long as the context lasts, as where nobody needs the window."""
        self._ignores = True
        try:
            yield
        finally:
            self._ignores = False

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Take Ctrl-C, termination requests and the end of the terminal as requests to stop."""
        before = {number: signal.signal(number, self._note) for number in with_hangup(signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise `RunInterrupted` if a stop was requested."""
        if self.requested:
            raise RunInterrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        # Several may tell of one terminal that has gone.
        elif self._noted:
            raise KeyboardInterrupt
        self._noted = True


class ProgressTable:
    """progress.csv: rows are appended as they come, and cut back where a resumed run repeats them."""

    def __init__(self, path: Path, resume_at: int) -> None:
        done = [row for row in read_progress(path) if int(row["timesteps"]) <= resume_at] if path.exists() else []
        temporary = path.with_name(path.name + ".new")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, PROGRESS_COLUMNS)
            writer.writeheader()
            writer.writerows(done)
        os.replace(temporary, path)
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, PROGRESS_COLUMNS)

    def add(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self._writer.writerow({name: "" if value is None else value for name, value in row.items()})
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ProgressDisplay:
    """How many of a run's steps are done, with time left, and what it is doing.

    On a terminal that is a bar; where the output goes to a file, a line now and then.

    Args:
        total: steps of the whole run.
        console: where to show it.
    """

    def __init__(self, total: int, console: Console) -> None:
        self._total = total
        self._console = console
        self._completed = 0
        self._next_line_at = 0.0
        self._started_at: tuple[float, int] | None = None  # when, and at which step
        self._bar = Progress(
            TextColumn("{task.percentage:3.0f}%"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("collecting the first rollout", total=total)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it as long as the context lasts."""
        with self._bar:
            yield

    def update(self, description: str, completed: int | None = None) -> None:
        """Say what the run is doing.

        Args:
            description: a few words.
            completed: steps done so far; as before where None.
        """
        self._completed = self._completed if completed is None else completed
        now = time.monotonic()
        began, already = self._started_at = self._started_at or (now, self._completed)
        self._bar.update(self._task, completed=self._completed, description=description)
        if not self._console.is_terminal and now >= self._next_line_at:
            self._next_line_at = now + _SECONDS_BETWEEN_LINES
            share = min(self._completed / self._total, 1.0)
            left = time_left(now - began, self._completed - already, self._total - already)
            steps = f"{min(self._completed, self._total):,} of {self._total:,} steps"
            line = f"{share:4.0%} {steps}{f', {left}' if left else ''}: {description}"
            self._console.print(line, highlight=False, soft_wrap=True)


class ProgressCallback(BaseCallback):
    """Reports after every round (see `ScoringCallback`) how the run is going.

    Args:
        total_timesteps: of the whole run.
        console: where progress is shown.
        stop: checked while the run waits for answers, so that it can be stopped then too.

    Attributes:
        scoring: computes the rewards; it must be set, and come before this one in the list of callbacks.
        last_round: what the last visit to the feedback loop did; None before the first.
        learned_return: `ScoringCallback.mean_return` of the last round.
        before: figures of what came before this process: pretraining, and `state` at the checkpoint that the run
            resumes from.
    """

    scoring: ScoringCallback

    def __init__(self, total_timesteps: int, console: Console, stop: StopRequest) -> None:
        super().__init__()
        self.last_round: RoundReport | None = None
        self.learned_return = float("nan")
        self.before: dict[str, Any] = {}
        self._concerns = 0
        self._console, self._stop = console, stop
        self._started = time.perf_counter()
        self._rollout_at, self._rollout_steps = self._started, 0
        self._display = ProgressDisplay(total_timesteps, console)

    def state(self) -> dict[str, Any]:
        """Seconds that the run took so far, its earlier parts included, by what they were spent on."""
        spent = {
            "wall_seconds": time.perf_counter() - self._started,
            "rollout_seconds": self.scoring.rollout_seconds,
            "reward_inference_seconds": self.scoring.scoring_seconds,
            "reward_fit_seconds": getattr(self.scoring, "fit_seconds", 0.0),
            "wait_seconds": getattr(self.scoring, "wait_seconds", 0.0),
        }
        return {**self.before, **{name: value + self.before.get(name, 0.0) for name, value in spent.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` was at a checkpoint."""
        self.before = state

    def on_round(self, report: RoundReport) -> None:
        """Take note of a visit to the feedback loop."""
        self.last_round = report
        if len(report.concerns) > self._concerns:
            self.message(report.concerns[-1])
        self._concerns = len(report.concerns)
        if report.alarm is not None:
            self.message(report.alarm)
        if report.stop_requested and not stopped_by_alarm(self.scoring):
            self._stop.request()

    def on_wait(self, awaited: str) -> None:
        """Say what the run is waiting for."""
        self._stop.check()
        self._display.update(f"waiting for {awaited}")

    def on_stage(self, stage: str) -> None:
        """Say what the run is doing."""
        self._display.update(stage)

    @contextmanager
    def shown(self, path: Path, resume_at: int) -> Iterator[None]:
        """Show the bar, and write progress.csv from this timestep on, as long as the context lasts."""
        with self._display.shown(), closing(ProgressTable(path, resume_at)) as self._table:
            yield

    def message(self, text: str) -> None:
        """Print a sentence on the console."""
        self._console.print(text, highlight=False, soft_wrap=not self._console.is_terminal)

    def _on_training_start(self) -> None:
        self._rollout_at, self._rollout_steps = time.perf_counter(), self.num_timesteps
        self._display.update("collecting a rollout", self.num_timesteps)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if not self.scoring.round_ended:
            return
        now = time.perf_counter()
        speed = (self.num_timesteps - self._rollout_steps) / max(now - self._rollout_at, 1e-9)
        self._rollout_at, self._rollout_steps = now, self.num_timesteps
        returns = self.scoring.env.true_returns
        true_return = float(np.mean(returns)) if returns else None
        self.learned_return = self.scoring.mean_return
        report, spent = self.last_round, self.state()
        fit = report.fit if report else None
        kl = self.scoring.kl
        self._table.add(
            {
                "timesteps": self.num_timesteps,
                "seconds": round(spent["wall_seconds"], 3),
                "true_return_mean": true_return,
                "learned_return_mean": self.learned_return,
                "labels": report.labels if report else 0,
                "held_out_loss": fit.held_out_loss if fit else None,
                "held_out_accuracy": fit.held_out_accuracy if fit else None,
                "test_accuracy": report.test_accuracy if report else None,
                "steps_per_second": round(speed),
                "fit_seconds": round(spent["reward_fit_seconds"], 3),
                "kl": kl.mean if kl else None,
                "kl_coef": kl.coefficient if kl else None,
            }
        )
        self._display.update(_summary(true_return, report), self.num_timesteps)


class Converged(Exception):
    """Training has come to its end before its timesteps were used up."""


@dataclass
class _Convergence:
    """What a checkpoint keeps: the best learned return (None before there is one), and the rounds since."""

    best: float | None = None
    waited: int = 0
    converged: bool = False


class ConvergenceCallback(BaseCallback):
    """Stops training once all labels are in and the learned return has not risen for some rounds.

    The rollout that decides is still learned from. When the next one would begin, `Converged` leaves
    Stable-Baselines3's loop, which by itself could only be stopped a step into that rollout.

    Args:
        scoring, progress: the run's other callbacks, which must come before this one.
        patience: that many rounds (see `ScoringCallback`); None never stops.
    """

    def __init__(self, scoring: ScoringCallback, progress: ProgressCallback, patience: int | None) -> None:
        super().__init__()
        self._scoring, self._progress, self._patience = scoring, progress, patience
        self._convergence = _Convergence()

    @property
    def converged(self) -> bool:
        """Whether training is to end."""
        return self._convergence.converged

    def state(self) -> dict[str, Any]:
        """How near to convergence the run is, as JSON values for a checkpoint."""
        return asdict(self._convergence)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` was at a checkpoint."""
        self._convergence = _Convergence(**state)

    def _on_rollout_start(self) -> None:
        if self.converged or stopped_by_alarm(self._scoring):
            raise Converged

    def _on_rollout_end(self) -> None:
        if not self._scoring.round_ended:
            return
        now, learned_return = self._convergence, self._progress.learned_return
        if isinstance(self._scoring, PreferenceCallback) and not self._scoring.loop.finished_asking:
            # A reward that is still being learned has no return that could be compared with an earlier one.
            now.best, now.waited = None, 0
            return
        if now.best is None or learned_return > now.best:
            now.best, now.waited = learned_return, 0
        else:
            now.waited += 1
        now.converged = self._patience is not None and now.waited >= self._patience

    def _on_step(self) -> bool:
        return True


def stopped_by_alarm(scoring: ScoringCallback) -> bool:
    """Whether training is to end, as if it were finished, because the policy seems to hack the reward."""
    return isinstance(scoring, PreferenceCallback) and scoring.loop.stopped_by_alarm


class EarlyEndCallback(BaseCallback):
    """Reports once each, when the first episodes have ended before the horizon, what follows.

    An environment may terminate episodes, or cut them by a time limit of its own that is shorter than the horizon.

    Args:
        environment: a third-party environment.
        horizon: steps in an episode.
        report: called with the sentence.
    """

    def __init__(self, environment: EnvironmentRef, horizon: int, report: Callable[[str], None]) -> None:
        super().__init__()
        self._environment, self._horizon, self._report = environment, horizon, report
        self._sentence = environment.about_episodes()
        self._reported: set[str] = set()
        self._lengths: NDArray[np.int64] = np.zeros(0, np.int64)

    def _on_training_start(self) -> None:
        self._lengths = np.zeros(self.training_env.num_envs, np.int64)

    def _on_step(self) -> bool:
        if len(self._reported) == 2:
            return True
        self._lengths += 1
        for row, (info, done) in enumerate(zip(self.locals["infos"], self.locals["dones"], strict=True)):
            cut = info.get("cut") or (done and info.get("TimeLimit.truncated"))
            if cut and self._lengths[row] < self._horizon:
                length = self._lengths[row]
                self._once(
                    "cut",
                    f"{self._environment.id} itself cuts its episodes after {length} steps, before the horizon of "
                    f"{self._horizon}: it has a time limit of its own. --horizon {length} makes that the horizon; "
                    "otherwise lift its limit, where it has an argument for that (--env-kwargs).",
                )
            elif info.get("restarted") or (done and not info.get("TimeLimit.truncated")):
                self._once("ended", f"{self._sentence} To change that, give --horizon or --on-termination.")
            if done or info.get("restarted"):
                self._lengths[row] = 0
        return True

    def _once(self, kind: str, sentence: str) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            self._report(sentence)


def _summary(true_return: float | None, report: RoundReport | None) -> str:
    parts = [] if true_return is None else [f"true return {true_return:.1f}"]
    if report is not None:
        parts.append(counted(report.labels, "answer"))
        if report.test_accuracy is not None:
            parts.append(report.accuracy_from.sentence(report.test_accuracy, report.tested))
    return ", ".join(parts) or "training"
