"""How good policies become that learn from preferences in environments of other packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.config import Reward, RunConfig, RunOptions, TeacherChanges
from rlhf_envs.environment import EnvironmentRef, WrapperRef
from scripts.benchmarks import Log, require_positive
from scripts.benchmarks.markdown import NOTHING, figure, markdown_table
from scripts.benchmarks.runs import TrainingRun, finish_all, folder_of, run_record
from scripts.benchmarks.scores import interquartile_mean, scale_of, scores_of


@dataclass(frozen=True)
class Case:
    """An environment and how it is learned.

    Attributes:
        timesteps: environment steps of a run.
        answers: everything that is asked.
        learner: the algorithm.
        feedback: the scripted teacher.
        wrappers: around each copy.
    """

    timesteps: int
    answers: int = 200
    learner: str = "ppo"
    feedback: str = "oracle"
    wrappers: tuple[str, ...] = ()


CASES: dict[str, Case] = {
    "CartPole-v1": Case(100_000),
    "Pendulum-v1": Case(100_000),
    "Acrobot-v1": Case(200_000, feedback="value"),
    "MountainCarContinuous-v0": Case(50_000, feedback="value"),
    "LunarLander-v3": Case(1_000_000),
    "minigrid:MiniGrid-Empty-8x8-v0": Case(200_000, wrappers=("minigrid.wrappers:FlatObsWrapper",)),
    "HalfCheetah-v5": Case(1_000_000, answers=400),
    "Hopper-v5": Case(1_000_000, answers=400),
    "Walker2d-v5": Case(1_000_000, answers=400),
    "Ant-v5": Case(1_000_000, answers=400),
    "shimmy:dm_control/walker-walk-v0": Case(500_000, answers=100, learner="sac"),
    "shimmy:dm_control/cheetah-run-v0": Case(500_000, answers=100, learner="sac"),
}
"""What is measured by default, by environment id."""


@dataclass(frozen=True)
class ThirdParty:
    """Train on preferences in environments of other packages, and the same learner on the true reward beside it.

    Runs that are in the folder already are used as they are, so the same command with the same --out finishes a
    benchmark that was stopped. Environments whose package is not installed are refused before any work.

    Attributes:
        env: the environments; those of the table have steps, learner and wrappers of their own there.
        answers: the budget; that of the table where None.
        timesteps: environment steps of a run; those of the table where None.
        learner: the algorithm; that of the table where None.
        feedback: the scripted teacher; that of the table where None.
        first_seed: of the runs; the others follow.
        seeds: how many runs of each kind.
        jobs: how many runs at a time, each in a process of its own.
        episodes: on new seeds in which each policy is evaluated.
    """

    name: ClassVar[str] = "third-party"
    env: tuple[str, ...] = tuple(CASES)
    answers: int | None = None
    timesteps: int | None = None
    learner: str | None = None
    feedback: str | None = None
    first_seed: int = 0
    seeds: int = 3
    jobs: int = 1
    episodes: int = 100

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "jobs", "episodes")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Do every run that has not been done yet; the figures of all.

        Raises:
            ValueError: if a setting is not possible, or a folder holds another run; before any work is done.
            RunInterrupted: if it was stopped.
        """
        planned = list(self.plan(out / self.name))
        for run in planned:
            run.config.required_environment.make().close()
        # The critics of runs on the true reward are what some teachers judge by.
        for reward in ("true", "learned"):
            finish_all([run for run in planned if run.config.reward == reward], self.jobs, out, log)
        return {"runs": [run_record(run, out) for run in planned]}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row for each environment: medians over seeds, with the range in brackets."""
        rows, scores = [], []
        for environment_id in dict.fromkeys(run["env"] for run in measured["runs"]):
            runs = [run for run in measured["runs"] if run["env"] == environment_id]
            plain, learned = ([run for run in runs if run["reward"] == reward] for reward in ("true", "learned"))
            score = scores_of(learned, scale_of(plain))
            scores += [] if score is None else [score]
            config = learned[0]["config"]
            rows.append(
                {
                    "environment": f"`{environment_id}`, {learned[0]['timesteps']:,} steps",
                    "learner": config["learner"],
                    "answers": f"{learned[0]['answers']}, {config['feedback']}",
                    "random": _cell([_median(plain, "random_return_mean")]),
                    "constant": _cell([_median(plain, "idle_return_mean")]),
                    "true reward": _cell([run["metrics"]["true_return_mean"] for run in plain]),
                    "preferences": _cell([run["metrics"]["true_return_mean"] for run in learned]),
                    "score": NOTHING if score is None else str(interquartile_mean([score])),
                    "accuracy": _cell([run["metrics"].get("test_accuracy") for run in learned]),
                    "seconds": _cell([run["metrics"]["wall_seconds"] for run in learned]),
                }
            )
        seeds = sorted({run["seed"] for run in measured["runs"]})
        return (
            f"Training seeds {', '.join(map(str, seeds))}; medians, and the range over seeds in brackets; the score is "
            "the interquartile mean over seeds with its 95% interval.\n\n"
            f"{markdown_table(rows)}\n\n"
            f"The score of all runs on preferences: {interquartile_mean(scores)}."
        )

    def plan(self, folder: Path) -> Iterator[TrainingRun]:
        """Every run, each in a folder of its own, seed by seed, so that early results show all environments."""
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for environment_id in dict.fromkeys(self.env):
                parent = folder_of(environment_id, folder)
                case = CASES.get(environment_id, Case(RunConfig.timesteps))
                learner = self.learner or case.learner
                baseline = parent / f"{learner}-true-{seed}"
                yield TrainingRun(self._configure(environment_id, case, "true", seed), baseline)
                feedback, answers = self.feedback or case.feedback, self.answers or case.answers
                config = replace(
                    self._configure(environment_id, case, "learned", seed),
                    feedback=feedback,
                    teacher=TeacherChanges(critic=str(baseline) if feedback in ("regret", "value") else None),
                )
                labels = replace(config.labels, answers=answers)
                yield TrainingRun(replace(config, labels=labels), parent / f"{learner}-{answers}-{feedback}-{seed}")

    def _configure(self, environment_id: str, case: Case, reward: Reward, seed: int) -> RunConfig:
        environment = EnvironmentRef(environment_id, wrappers=tuple(map(WrapperRef.of, case.wrappers)))
        return replace(
            RunConfig.for_environment(environment, self.learner or case.learner),
            reward=reward,
            timesteps=self.timesteps or case.timesteps,
            seed=seed,
            run=RunOptions(evaluation_episodes=self.episodes),
        )


def _median(runs: list[dict[str, Any]], name: str) -> float | None:
    values = [run["metrics"][name] for run in runs if run["metrics"].get(name) is not None]
    return float(np.median(values)) if values else None


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    middle = figure(float(np.median(known)))
    return middle if len(known) == 1 else f"{middle} ({figure(min(known))} to {figure(max(known))})"
