"""How good policies become that learn from preferences, compared with the true reward, the proxy and no training.

`Learning` measures it in the suite, `ThirdParty` in environments of other packages, and `Variants` in the suite where
things go otherwise than in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.config import Reward, RunConfig, RunOptions, TeacherChanges
from rlhf_envs.environment import EnvironmentRef, WrapperRef
from rlhf_envs.envs.registration import is_native
from rlhf_envs.evaluation.policies import SB3Policy
from rlhf_envs.evaluation.returns import baselines, evaluate
from rlhf_envs.evaluation.scores import interquartile_mean, scale_between, scale_of, scores_of, scores_on
from scripts.benchmarks import NOTHING, Log, figure, markdown_table, mean_and_spread, require_positive
from scripts.benchmarks.cluster import finish_all
from scripts.benchmarks.runs import (
    ENVIRONMENTS,
    TrainingRun,
    as_file_name,
    budget_for,
    configure,
    folder_of,
    parse_changes,
    run_record,
)

VARIANTS = (
    EnvironmentRef("rlhf/Driving-v1", {"traffic": "dense"}),
    EnvironmentRef("rlhf/Recommender-v1", {"tiring": 2.0}),
    EnvironmentRef("rlhf/Support-v1", {"annoyance": 2.0}),
    EnvironmentRef("rlhf/Headset-v1", {"scene": "gorge"}),
    EnvironmentRef("rlhf/Rival-v1", {"player": "sprinter"}),
    EnvironmentRef("rlhf/Overlay-v1", {"scene": "street"}),
    EnvironmentRef("rlhf/Glimpse-v1", {"split": "test"}),
    EnvironmentRef("rlhf/Writing-v1", {"split": "test"}),
)
"""Each environment of the suite with what is changed in it; no policy was trained on it."""

RUNS_FOLDER = "learning"
"""The folder of the runs; benchmarks that need the same ones share them."""


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
        first_seed: of the runs; the others follow.
        seeds: how many runs of each kind.
        jobs: how many runs at a time, each in a process of its own.
        evaluation_episodes: on new seeds in which each policy is evaluated.
        set: NAME=VALUE for settings of the runs on preferences that differ from the defaults, by their names in
            config.json, such as ensemble.members=5 or labels.selection=uniform.
    """

    name: ClassVar[str] = "learning"
    on_proxy: ClassVar[bool] = True
    env: tuple[str, ...] = ENVIRONMENTS
    answers: tuple[int, ...] | None = None
    timesteps: int | None = None
    first_seed: int = 0
    seeds: int = 5
    jobs: int = 1
    evaluation_episodes: int = 100
    set: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "jobs")
        if self.first_seed < 0:
            raise ValueError(f"first_seed must be 0 or more, not {self.first_seed}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Do every run that has not been done yet; the figures of all.

        Raises:
            ValueError: if a setting is not possible, or a folder holds another run; before any work is done.
            RunInterrupted: if it was stopped.
        """
        planned = list(self.plan(out / RUNS_FOLDER))
        finish_all(planned, self.jobs, out, log)
        return {"runs": [run_record(run, out) for run in planned]}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Two tables: returns, and figures of the reward model and of time."""
        returns, rewards, scores = [], [], []
        for environment_id, timesteps in dict.fromkeys((run["env"], run["timesteps"]) for run in measured["runs"]):
            runs = [run for run in measured["runs"] if run["env"] == environment_id]
            scale = scale_of(runs)
            for answers in sorted({run["answers"] for run in runs if run["reward"] == "learned"}):
                found = scores_of(_of_kind(runs, "learned", answers), scale)
                setting = {"environment": f"`{environment_id}`, {timesteps:,} steps", "answers": str(answers)}
                score = NOTHING if found is None else str(interquartile_mean([found]))
                returns.append(setting | _returns(runs, answers) | {"score": score})
                rewards.append(setting | _rewards(runs, answers))
                scores += [] if found is None else [found]
        seeds = sorted({run["seed"] for run in measured["runs"]})
        return (
            f"Training seeds {', '.join(map(str, seeds))}. True returns, mean ± standard deviation, and the score, "
            f"interquartile mean and 95% interval:\n\n{markdown_table(returns)}\n\n"
            f"The score of all runs on preferences: {interquartile_mean(scores)}.\n\n"
            "The reward model on answers that it was not trained on and on fresh rollouts, and what training took:\n\n"
            f"{markdown_table(rewards)}"
        )

    def changes(self, environment_id: str) -> dict[str, dict[str, Any]]:
        """What is changed in the settings of an environment's runs on preferences, by name: runs with each are planned.

        Raises:
            ValueError: if --set is not written as it should be.
        """
        return {"": parse_changes(self.set)}

    def plan(self, folder: Path) -> Iterator[TrainingRun]:
        """Every run, each in a folder of its own, seed by seed, so that early results show all kinds.

        Raises:
            ValueError: if a setting is not possible.
        """
        common: dict[str, Any] = {"timesteps": self.timesteps, "episodes": self.evaluation_episodes}
        changed_in = {environment_id: self.changes(environment_id) for environment_id in self.env}
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for environment_id, planned in changed_in.items():
                parent = folder_of(environment_id, folder)
                budgets = budget_for(environment_id).answers if self.answers is None else self.answers
                yield TrainingRun(configure(environment_id, "true", seed, **common), parent / f"true-{seed}")
                if self.on_proxy and is_native(environment_id):
                    yield TrainingRun(configure(environment_id, "proxy", seed, **common), parent / f"proxy-{seed}")
                for count in dict.fromkeys(budgets):
                    plain = configure(environment_id, "learned", seed, answers=count, **common)
                    for name, changes in planned.items():
                        config = configure(environment_id, "learned", seed, answers=count, changes=changes, **common)
                        # What is the default already is one run with it.
                        changed = f"-{as_file_name(changes)}" if config != plain else ""
                        yield TrainingRun(config, parent / f"preferences-{count}{changed}-{seed}", name)


def _of_kind(runs: list[dict[str, Any]], reward: str, answers: int = 0) -> list[dict[str, Any]]:
    return [run for run in runs if run["reward"] == reward and run["answers"] == answers]


def _figures(runs: list[dict[str, Any]], reward: str, name: str, answers: int = 0) -> list[float | None]:
    """One figure of all runs of a kind, seed by seed."""
    chosen = _of_kind(runs, reward, answers)
    return [run["metrics"].get(name) for run in sorted(chosen, key=lambda run: int(run["seed"]))]


def _returns(runs: list[dict[str, Any]], answers: int) -> dict[str, str]:
    return {
        "random actions": mean_and_spread(_figures(runs, "true", "random_return_mean")),
        "constant action": mean_and_spread(_figures(runs, "true", "idle_return_mean")),
        "PPO on the proxy": mean_and_spread(_figures(runs, "proxy", "true_return_mean")),
        "scripted expert": mean_and_spread(_figures(runs, "true", "expert_return_mean")),
        "PPO on the true reward": mean_and_spread(_figures(runs, "true", "true_return_mean")),
        "PPO on preferences": mean_and_spread(_figures(runs, "learned", "true_return_mean", answers)),
    }


def _rewards(runs: list[dict[str, Any]], answers: int) -> dict[str, str]:
    return {
        "accuracy": mean_and_spread(_figures(runs, "learned", "test_accuracy", answers)),
        "reward correlation": mean_and_spread(_figures(runs, "learned", "reward_correlation", answers)),
        "seconds, preferences": mean_and_spread(_figures(runs, "learned", "wall_seconds", answers)),
        "seconds, true reward": mean_and_spread(_figures(runs, "true", "wall_seconds")),
    }


@dataclass(frozen=True)
class Case:
    """An environment and how it is learned.

    Attributes:
        timesteps: environment steps of a run.
        answers: everything that is asked.
        learner: the algorithm.
        feedback: the scripted teacher.
        wrappers: around each copy.
        horizon: steps of an episode, where the environment's own registration does not say.
    """

    timesteps: int
    answers: int = 200
    learner: str = "ppo"
    feedback: str = "oracle"
    wrappers: tuple[str, ...] = ()
    horizon: int | None = None


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
    "shimmy:dm_control/walker-walk-v0": Case(500_000, answers=100, learner="sac", horizon=1000),
    "shimmy:dm_control/cheetah-run-v0": Case(500_000, answers=100, learner="sac", horizon=1000),
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
        evaluation_episodes: on new seeds in which each policy is evaluated.
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
    evaluation_episodes: int = 100

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "jobs", "evaluation_episodes")

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
        environment = EnvironmentRef(
            environment_id, wrappers=tuple(map(WrapperRef.of, case.wrappers)), horizon=case.horizon
        )
        return replace(
            RunConfig.for_environment(environment, self.learner or case.learner),
            reward=reward,
            timesteps=self.timesteps or case.timesteps,
            seed=seed,
            run=RunOptions(evaluation_episodes=self.evaluation_episodes, processes=False),
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


@dataclass(frozen=True)
class Variants(Learning):
    """Evaluate policies on variants of their environments, in which none of them was trained.

    They have learned from the true reward, from preferences, and from preferences of which some are about what the
    policy does in the variant. The runs are those of `learning` with these budgets, in the same folder.

    Attributes:
        env: the environments; each has its variant in a table.
        answers: the budget, one.
    """

    name: ClassVar[str] = "variants"
    on_proxy: ClassVar[bool] = False
    env: tuple[str, ...] = tuple(variant.id for variant in VARIANTS)
    answers: tuple[int, ...] = (100,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [id for id in self.env if id not in (variant.id for variant in VARIANTS)]:
            known = ", ".join(variant.id for variant in VARIANTS)
            raise ValueError(f"There is no variant of {unknown[0]!r}; choose from {known}.")
        if len(self.answers) != 1:
            raise ValueError(f"Variants are judged with one budget of answers, not {len(self.answers)}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Do every run that has not been done yet; true returns of all policies on the variants.

        Raises:
            ValueError: if a setting is not possible, or a folder holds another run; before any work is done.
            RunInterrupted: if it was stopped.
        """
        planned = list(self.plan(out / RUNS_FOLDER))
        finish_all(planned, self.jobs, out, log)
        rows = []
        for variant in self._variants():
            log(f"{variant.id} with {variant.kwargs}")
            untrained = baselines(variant, episodes=self.evaluation_episodes)
            returns: dict[str, list[float]] = {"true": [], "learned": [], _ASKED: []}
            for run in planned:
                if run.config.required_environment.id == variant.id:
                    policy = SB3Policy(run.directory.load_policy())
                    found = evaluate(policy, variant, episodes=self.evaluation_episodes)
                    returns[run.change or run.config.reward].append(found.mean)
            means = {name: untrained[name].mean for name in ("random", "idle", "expert")}
            rows.append({"env": variant.id, "changed": dict(variant.kwargs), **means, **returns})
        return {"answers": self.answers[0], "seeds": self.seeds, "rows": rows}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row for each variant."""
        rows = [
            {
                "environment": f"`{row['env']}`",
                "changed": ", ".join(f"`{name}={value}`" for name, value in row["changed"].items()),
                "score 0": figure(max(row["random"], row["idle"])),
                "scripted expert": figure(row["expert"]),
                "PPO on the true reward": mean_and_spread(row["true"]),
                "PPO on preferences": mean_and_spread(row["learned"]),
                "asked about the variant": mean_and_spread(row[_ASKED]),
                "scores": f"{_score(row, 'learned')}, {_score(row, _ASKED)}",
            }
            for row in measured["rows"]
        ]
        return (
            f"{measured['answers']} answers, {measured['seeds']} training seeds, mean ± standard deviation; scores are "
            f"interquartile means with their 95% intervals, without and with questions about the variant:\n\n"
            f"{markdown_table(rows)}"
        )

    def changes(self, environment_id: str) -> dict[str, dict[str, Any]]:
        """Nothing, and questions about the variant, both on top of --set."""
        usual = parse_changes(self.set)
        [variant] = [variant for variant in VARIANTS if variant.id == environment_id]
        return {"": usual, _ASKED: {**usual, "labels.variant": [dict(variant.kwargs)]}}

    def _variants(self) -> list[EnvironmentRef]:
        return [variant for variant in VARIANTS if variant.id in self.env]


_ASKED = "asked about the variant"


def _score(row: Mapping[str, Any], name: str) -> str:
    """The score of some policies, on the scale of the variant."""
    found = scores_on(scale_between({name: row[name] for name in ("random", "idle")}, [], row["true"]), row[name])
    return NOTHING if found is None else str(interquartile_mean([found]))
