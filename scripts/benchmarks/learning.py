"""How good policies become that learn from preferences, compared with the true reward, the proxy and no training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.registration import is_native
from rlhf_envs.evaluation.policies import SB3Policy
from rlhf_envs.evaluation.returns import baselines, evaluate, normalised
from scripts.benchmarks import Log, require_positive
from scripts.benchmarks.markdown import markdown_table, mean_and_spread
from scripts.benchmarks.runs import ENVIRONMENTS, TrainingRun, budget_for, configure, finish_all, folder_of, run_record

VARIANTS = (
    EnvironmentRef("rlhf/Driving-v0", {"traffic": "dense"}),
    EnvironmentRef("rlhf/Recommender-v0", {"tiring": 2.0}),
    EnvironmentRef("rlhf/Support-v0", {"annoyance": 2.0}),
    EnvironmentRef("rlhf/Headset-v0", {"scene": "gorge"}),
    EnvironmentRef("rlhf/Rival-v0", {"player": "sprinter"}),
    EnvironmentRef("rlhf/Overlay-v0", {"scene": "street"}),
    EnvironmentRef("rlhf/Glimpse-v0", {"split": "test"}),
    EnvironmentRef("rlhf/Writing-v0", {"split": "test"}),
)
"""Each environment of the suite with what is changed in it; no policy was trained on it."""


@dataclass(frozen=True)
class Learning:
    """Train PPO on preferences, on the true reward and on the proxy, and compare the policies on the true reward.

    Runs that are in the folder already are used as they are, and one that was interrupted is resumed, so the same
    command with the same --out finishes a benchmark that was stopped.

    Attributes:
        env: the environments.
        answers: budgets, each with runs of its own; by default those of a table, 240 for most environments.
        timesteps: environment steps of a run; by default those of a table, 100,000 for third-party environments of
            the table and as many as `scripts.train` takes for others.
        seeds: how many runs of each kind, with the seeds 0, 1, and so on.
        jobs: how many runs at a time, each in a process of its own.
        episodes: on new seeds in which each policy is evaluated.
    """

    name: ClassVar[str] = "learning"
    env: tuple[str, ...] = ENVIRONMENTS
    answers: tuple[int, ...] | None = None
    timesteps: int | None = None
    seeds: int = 5
    jobs: int = 1
    episodes: int = 100

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "jobs")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Do every run that has not been done yet; the figures of all.

        Raises:
            ValueError: if a setting is not possible, or a folder holds another run; before any work is done.
            RunInterrupted: if it was stopped.
        """
        planned = list(self.plan(out / self.name))
        finish_all(planned, self.jobs, out, log)
        return {"runs": [run_record(run, out) for run in planned]}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Two tables: returns, and figures of the reward model and of time."""
        returns, rewards = [], []
        for environment_id, timesteps in dict.fromkeys((run["env"], run["timesteps"]) for run in measured["runs"]):
            runs = [run for run in measured["runs"] if run["env"] == environment_id]
            for answers in sorted({run["answers"] for run in runs if run["reward"] == "learned"}):
                setting = {"environment": f"`{environment_id}`, {timesteps:,} steps", "answers": str(answers)}
                returns.append(setting | _returns(runs, answers))
                rewards.append(setting | _rewards(runs, answers))
        seeds = sorted({run["seed"] for run in measured["runs"]})
        return (
            f"Training seeds {', '.join(map(str, seeds))}. True returns, mean ± standard deviation:\n\n"
            f"{markdown_table(returns)}\n\n"
            "The reward model on held-out answers and on fresh rollouts, and what training took:\n\n"
            f"{markdown_table(rewards)}"
        )

    def plan(self, folder: Path) -> Iterator[TrainingRun]:
        """Every run, each in a folder of its own, seed by seed, so that early results show all kinds."""
        common: dict[str, Any] = {"timesteps": self.timesteps, "episodes": self.episodes}
        for seed in range(self.seeds):
            for environment_id in dict.fromkeys(self.env):
                parent = folder_of(environment_id, folder)
                budgets = budget_for(environment_id).answers if self.answers is None else self.answers
                yield TrainingRun(configure(environment_id, "true", seed, **common), parent / f"true-{seed}")
                if is_native(environment_id):
                    yield TrainingRun(configure(environment_id, "proxy", seed, **common), parent / f"proxy-{seed}")
                for count in dict.fromkeys(budgets):
                    config = configure(environment_id, "learned", seed, answers=count, **common)
                    yield TrainingRun(config, parent / f"preferences-{count}-{seed}")


def _figures(runs: list[dict[str, Any]], reward: str, name: str, answers: int = 0) -> list[float | None]:
    """One figure of all runs of a kind, seed by seed."""
    chosen = [run for run in runs if run["reward"] == reward and run["answers"] == answers]
    return [run["metrics"].get(name) for run in sorted(chosen, key=lambda run: int(run["seed"]))]


def _returns(runs: list[dict[str, Any]], answers: int) -> dict[str, str]:
    on_true = _figures(runs, "true", "true_return_mean")
    on_proxy = _figures(runs, "proxy", "true_return_mean")
    on_preferences = _figures(runs, "learned", "true_return_mean", answers)
    random = _figures(runs, "true", "random_return_mean")
    return {
        "random actions": mean_and_spread(random),
        "PPO on the proxy": mean_and_spread(on_proxy),
        "scripted expert": mean_and_spread(_figures(runs, "true", "expert_return_mean")),
        "PPO on the true reward": mean_and_spread(on_true),
        "PPO on preferences": mean_and_spread(on_preferences),
        "normalised": mean_and_spread(_normalised(on_preferences, random, on_true)),
        "normalised, proxy": mean_and_spread(_normalised(on_proxy, random, on_true)),
    }


def _normalised(
    returns: list[float | None], random: list[float | None], reference: list[float | None]
) -> list[float | None]:
    """Each seed's return between the means, over all seeds, of random actions and of the reference."""
    low, high = (float(np.mean([value for value in values if value is not None])) for values in (random, reference))
    return [None if value is None else normalised(value, low, high) for value in returns]


def _rewards(runs: list[dict[str, Any]], answers: int) -> dict[str, str]:
    return {
        "test accuracy": mean_and_spread(_figures(runs, "learned", "test_accuracy", answers)),
        "reward correlation": mean_and_spread(_figures(runs, "learned", "reward_correlation", answers)),
        "seconds, preferences": mean_and_spread(_figures(runs, "learned", "wall_seconds", answers)),
        "seconds, true reward": mean_and_spread(_figures(runs, "true", "wall_seconds")),
    }


@dataclass(frozen=True)
class Variants:
    """Evaluate the policies of a finished learning benchmark on variants of their environments.

    Attributes:
        runs: the folder of the learning benchmark; by default the one that --out names.
        seeds: how many of its seeds.
        episodes: in which each policy is evaluated.
    """

    name: ClassVar[str] = "variants"
    runs: str | None = None
    seeds: int = 5
    episodes: int = 100

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "episodes")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """True returns of all policies on all variants.

        Raises:
            ValueError: if runs are missing.
        """
        trained = self._trained(Path(self.runs or out) / Learning.name)
        rows = []
        for variant in VARIANTS:
            log(f"{variant.id} with {variant.kwargs}")
            untrained = baselines(variant, episodes=self.episodes)
            returns = {
                reward: [
                    evaluate(SB3Policy(run.directory.load_policy()), variant, episodes=self.episodes).mean
                    for run in trained
                    if (run.config.required_environment.id, run.config.reward) == (variant.id, reward)
                ]
                for reward in ("true", "learned")
            }
            means = {name: untrained[name].mean for name in ("random", "expert")}
            rows.append({"env": variant.id, "changed": dict(variant.kwargs), **means, **returns})
        return {"rows": rows}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row for each variant."""
        return markdown_table(
            [
                {
                    "environment": f"`{row['env']}`",
                    "changed": ", ".join(f"`{name}={value}`" for name, value in row["changed"].items()),
                    "random actions": mean_and_spread([row["random"]]),
                    "scripted expert": mean_and_spread([row["expert"]]),
                    "PPO on the true reward": mean_and_spread(row["true"]),
                    "PPO on preferences": mean_and_spread(row["learned"]),
                }
                for row in measured["rows"]
            ]
        )

    def _trained(self, folder: Path) -> list[TrainingRun]:
        """The runs on preferences and on the true reward, with the budgets of the table."""
        learning = Learning(env=tuple(variant.id for variant in VARIANTS), seeds=self.seeds)
        runs = [run for run in learning.plan(folder) if run.config.reward != "proxy"]
        for run in runs:
            if not run.directory.policy_path.is_file():
                raise ValueError(
                    f"There is no finished run in {run.path}: measure learning first, with --seeds {self.seeds} and "
                    "the same --out."
                )
        return runs
