"""What learning from preferences costs in time, beside PPO on the true reward with the same settings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.configuration import RunConfig
from agents.run_directory import RunDirectory
from scripts.benchmarks.markdown import markdown_table
from scripts.benchmarks.runs import configure, finish

_WARM_UP_ROLLOUTS = 3
_FIGURES = ("wall_seconds", "rollout_seconds", "reward_inference_seconds", "reward_fit_seconds")


@dataclass(frozen=True)
class Overhead:
    """Time whole training runs on preferences beside ones on the true reward, alternately.

    Timed is the training: building everything, rollouts, asking, fitting, scoring, PPO's updates and checkpoints, but
    not judging the finished policy and the report. All runs are done one after another in this process, after a short
    pair that is not counted.

    Attributes:
        env: the environments.
        comparisons: the label budget.
        timesteps: environment steps of a run; by default those of the learning benchmark.
        repeats: pairs of runs; the seeds of pair i are i.
    """

    name: ClassVar[str] = "overhead"
    env: tuple[str, ...] = ("Pendulum-v1", "rlhf/Driving-v0")
    comparisons: int = 200
    timesteps: int | None = None
    repeats: int = 5

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}.")

    def measure(self, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        """Every pair's figures. The runs are done anew each time and leave nothing in `out`.

        Raises:
            ValueError: if a setting is not possible; before any work is done.
            RunInterrupted: if it was stopped.
        """
        planned = {environment_id: self._pairs(environment_id) for environment_id in dict.fromkeys(self.env)}
        measured = []
        for environment_id, pairs in planned.items():
            for config in pairs[0]:
                _timed(replace(config, timesteps=_WARM_UP_ROLLOUTS * config.ppo.num_envs * config.ppo.n_steps))
            for number, (on_true, on_preferences) in enumerate(pairs):
                pair = {"true": _timed(on_true), "preferences": _timed(on_preferences)}
                seconds = [pair[kind]["wall_seconds"] for kind in ("true", "preferences")]
                tell(
                    f"{environment_id}, pair {number + 1} of {self.repeats}: {seconds[0]:.1f} s on the true reward, "
                    f"{seconds[1]:.1f} s on preferences, {seconds[1] / seconds[0]:.2f} times as long"
                )
                measured.append({"env": environment_id, "timesteps": on_true.timesteps, "seed": number, **pair})
        return {"comparisons": self.comparisons, "pairs": measured}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row per environment."""
        rows = []
        for environment_id in dict.fromkeys(pair["env"] for pair in measured["pairs"]):
            pairs = [pair for pair in measured["pairs"] if pair["env"] == environment_id]
            true = np.array([pair["true"]["wall_seconds"] for pair in pairs])
            preferences = np.array([pair["preferences"]["wall_seconds"] for pair in pairs])
            rows.append(
                [
                    f"`{environment_id}`, {pairs[0]['timesteps']:,} steps",
                    f"{np.median(true):.1f}",
                    f"{np.median(preferences):.1f}",
                    # The two runs of a pair follow one another, so what else the machine does falls on both.
                    f"{np.median(preferences / true):.2f}",
                    ", ".join(f"{ratio:.2f}" for ratio in preferences / true),
                    f"{_share(pairs, 'reward_inference_seconds', 'rollout_seconds'):.1%}",
                    f"{_share(pairs, 'reward_fit_seconds', 'wall_seconds'):.1%}",
                ]
            )
        columns = ["environment", "seconds, true reward", "seconds, preferences", "median ratio",
                   "ratio of each pair", "reward inference / rollouts", "reward fitting / whole run"]  # fmt: skip
        return f"{measured['comparisons']} comparisons, medians:\n\n" + markdown_table(columns, rows)

    def _pairs(self, environment_id: str) -> list[tuple[RunConfig, RunConfig]]:
        # A single episode judges the policy: that part of a run is not timed.
        given: dict[str, Any] = {"timesteps": self.timesteps, "episodes": 1}
        return [
            (
                configure(environment_id, "true", seed, **given),
                configure(environment_id, "learned", seed, comparisons=self.comparisons, **given),
            )
            for seed in range(self.repeats)
        ]


def _timed(config: RunConfig) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        metrics = finish(config, RunDirectory(folder))
    return {name: metrics[name] for name in _FIGURES}


def _share(pairs: list[dict[str, Any]], part: str, whole: str) -> float:
    return float(np.median([pair["preferences"][part] / pair["preferences"][whole] for pair in pairs]))
