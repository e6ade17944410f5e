"""The training runs of benchmarks: their settings per environment, and running one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.config import Reward, RunConfig, RunOptions, read_config
from agents.presets import PROSE_TIMESTEPS
from agents.train import train
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.registration import ENVIRONMENTS as SUITE
from rlhf_envs.envs.registration import find_spec
from rlhf_envs.runs import RunDirectory

ENVIRONMENTS = ("Pendulum-v1", "CartPole-v1", *SUITE)
"""What is benchmarked unless others are named."""


@dataclass(frozen=True)
class Budget:
    """Steps and answers of a run.

    Attributes:
        timesteps: environment steps, over all copies.
        answers: budgets; each is a run of its own.
    """

    timesteps: int = RunConfig.timesteps
    answers: tuple[int, ...] = (240,)


BUDGETS: dict[str, Budget] = {
    "Pendulum-v1": Budget(timesteps=100_000, answers=(60, 120)),
    "CartPole-v1": Budget(timesteps=100_000),
    "rlhf/Rival-v1": Budget(timesteps=1_000_000),
    "rlhf/Overlay-v1": Budget(timesteps=1_000_000),
    "rlhf/Glimpse-v1": Budget(timesteps=800_000),
    "rlhf/Writing-v1": Budget(timesteps=800_000),
    "rlhf/Prose-v0": Budget(timesteps=PROSE_TIMESTEPS, answers=(200,)),
}
"""Budgets by environment id; those of any other environment are the defaults of `Budget`."""


_OF_BENCHMARK = ("environment", "reward", "timesteps", "seed", "labels.answers", "run.evaluation_episodes")
_LONGEST_NAME = 120


def budget_for(environment_id: str) -> Budget:
    """The budget of an environment's runs."""
    return BUDGETS.get(environment_id, Budget())


def as_file_name(values: Mapping[str, Any]) -> str:
    """Settings as part of the name of a folder, alike for the same settings."""
    text = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(values.items()))
    return re.sub(r"[^\w.,=-]+", "", text)[:_LONGEST_NAME]


def folder_of(environment_id: str, parent: Path) -> Path:
    """The folder of an environment's runs."""
    return parent / environment_id.replace("/", "-").replace(":", "-")


def configure(
    environment_id: str,
    reward: Reward,
    seed: int,
    timesteps: int | None = None,
    answers: int | None = None,
    episodes: int = RunOptions.evaluation_episodes,
    changes: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The configuration of a run as `scripts.train` would make it from these flags.

    Args:
        environment_id: where.
        reward: what the policy is trained on.
        seed: of everything.
        timesteps: those of `budget_for` where None.
        answers: of a run on preferences; the baselines ask nothing.
        episodes: in which the policy is evaluated.
        changes: values of other settings by their names in config.json, those of a group as "group.name".

    Raises:
        ValueError: if there is no such environment or setting, or a value is not possible.
    """
    find_spec(environment_id)
    usual = RunConfig.for_environment(EnvironmentRef(environment_id))
    config = replace(
        usual,
        reward=reward,
        labels=usual.labels if answers is None else replace(usual.labels, answers=answers),
        timesteps=budget_for(environment_id).timesteps if timesteps is None else timesteps,
        seed=seed,
        run=replace(usual.run, evaluation_episodes=episodes, processes=False),
    )
    return with_changes(config, changes or {})


def with_changes(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A configuration with other values of some settings, by their names in config.json, as "group.name" in groups.

    Raises:
        ValueError: if there is no such setting, or a value is not possible.
    """
    if not changes:
        return config
    settings = config.to_json()
    for name, value in changes.items():
        *groups, last = name.split(".")
        group: Any = settings
        for part in groups:
            group = group.get(part)
            if not isinstance(group, dict):
                raise ValueError(f"There is no setting {name}; config.json of any run lists the names.")
        group[last] = value
    return RunConfig.from_json(settings)


def parse_changes(words: Iterable[str]) -> dict[str, Any]:
    """Settings from words such as "ensemble.members=5", whose values are JSON, or else text.

    Raises:
        ValueError: if a word is not of that form, or the setting is one that each benchmark has a flag for.
    """
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"A change of settings is written NAME=VALUE, such as ensemble.members=5, not {word!r}.")
        if name.partition(".")[0] in _OF_BENCHMARK or name in _OF_BENCHMARK:
            raise ValueError(f"{name} is what the benchmark varies or compares; its own flags set it.")
        try:
            changes[name] = json.loads(value)
        except json.JSONDecodeError:
            changes[name] = value
    return changes


@dataclass(frozen=True)
class TrainingRun:
    """A run of a benchmark.

    Attributes:
        config: its settings.
        path: its folder.
        change: the name of what differs from the default settings; empty for nothing.
    """

    config: RunConfig
    path: Path
    change: str = ""

    @property
    def directory(self) -> RunDirectory:
        """The files in its folder."""
        return RunDirectory(self.path)

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds the figures of just this run.

        Raises:
            ValueError: if it holds a run with other settings.
        """
        if self.directory.config_path.exists() and read_config(self.directory) != self.config:
            raise ValueError(f"{self.path} holds a run with other settings; choose another --out.")
        return self.directory.metrics_path.is_file()

    def finish(self) -> dict[str, Any]:
        """The figures of the run as in metrics.json: it is trained, or resumed, unless it has finished already.

        Raises:
            ValueError: if the folder holds a run with other settings, or the settings do not fit the environment.
            RunInterrupted: if the run was asked to stop; the same call resumes it.
        """
        if self.is_finished:
            return self.directory.read_metrics()
        started = self.directory.config_path.exists()
        if not started:
            self.directory.create(self.config.to_json())
        return train(self.config, self.directory, Console(quiet=True), resume=started, report=False)


def run_record(run: TrainingRun, out: Path) -> dict[str, Any]:
    """A run as values of JSON: what it was, and its figures."""
    config = run.config
    return {
        "env": config.required_environment.id,
        "reward": config.reward,
        "change": run.change,
        "answers": config.labels.answers if config.reward == "learned" else 0,
        "timesteps": config.timesteps,
        "seed": config.seed,
        "folder": str(run.path.relative_to(out)),
        "config": config.to_json(),
        "metrics": run.directory.read_metrics(),
    }
