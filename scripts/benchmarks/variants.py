"""How policies do where things go otherwise than they have learned: other traffic, other people, other pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from agents.run_directory import RunDirectory
from agents.trained import load_policy
from rlhf_envs.evaluation.policies import sb3_policy
from rlhf_envs.evaluation.returns import baselines, evaluate
from scripts.benchmarks.learning import Learning
from scripts.benchmarks.markdown import markdown_table, mean_and_spread

VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("rlhf/Driving-v0", {"traffic": "dense"}),
    ("rlhf/Recommender-v0", {"tiring": 2.0}),
    ("rlhf/Support-v0", {"annoyance": 2.0}),
    ("rlhf/Headset-v0", {"scene": "gorge"}),
    ("rlhf/Rival-v0", {"player": "sprinter"}),
    ("rlhf/Overlay-v0", {"scene": "street"}),
    ("rlhf/Glimpse-v0", {"split": "test"}),
    ("rlhf/Writing-v0", {"split": "test"}),
)
"""What is changed in each environment of the suite; the policies have never met it."""


@dataclass(frozen=True)
class Variants:
    """Judge the policies of a finished learning benchmark on variants of their environments.

    Attributes:
        runs: the folder of the learning benchmark; by default the one that --out names.
        seeds: how many of its seeds.
        episodes: that each policy plays.
    """

    name: ClassVar[str] = "variants"
    runs: str | None = None
    seeds: int = 5
    episodes: int = 100

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.episodes < 1:
            raise ValueError(f"seeds and episodes must be at least 1, not {self.seeds} and {self.episodes}.")

    def measure(self, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        """True returns of all policies on all variants.

        Raises:
            ValueError: if runs are missing.
        """
        place = Path(self.runs or out) / Learning.name
        finished = [(changed, self._finished(place, id), id) for id, changed in VARIANTS]
        rows = []
        for changed, runs, id in finished:
            tell(f"{id} with {changed}")
            untrained = baselines(id, changed, episodes=self.episodes)
            rows.append(
                {
                    "env": id,
                    "changed": changed,
                    **{name: untrained[name].mean for name in ("random", "expert")},
                    **{kind: [self._return(run, id, changed) for run in of_kind] for kind, of_kind in runs.items()},
                }
            )
        return {"rows": rows}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row for each variant."""
        columns = ["environment", "changed", "random actions", "scripted expert", "PPO on the true reward",
                   "PPO on preferences"]  # fmt: skip
        rows = [
            [
                f"`{row['env']}`",
                ", ".join(f"`{name}={value}`" for name, value in row["changed"].items()),
                *(mean_and_spread([row[name]]) for name in ("random", "expert")),
                *(mean_and_spread(row[kind]) for kind in ("true", "preferences-200")),
            ]
            for row in measured["rows"]
        ]
        return markdown_table(columns, rows)

    def _finished(self, place: Path, id: str) -> dict[str, list[RunDirectory]]:
        kinds = ("true", "preferences-200")
        folder = place / id.replace("/", "-")
        runs = {kind: [RunDirectory(folder / f"{kind}-{seed}") for seed in range(self.seeds)] for kind in kinds}
        for run in (run for of_kind in runs.values() for run in of_kind):
            if not run.policy_path.is_file():
                raise ValueError(
                    f"There is no finished run in {run.path}: measure learning first, with --seeds {self.seeds} and "
                    "the same --out."
                )
        return runs

    def _return(self, run: RunDirectory, id: str, changed: dict[str, Any]) -> float:
        return evaluate(sb3_policy(load_policy(run)), id, changed, episodes=self.episodes).mean
