"""Train a policy on preferences, or as a baseline on the true or the proxy reward."""

from __future__ import annotations

import errno
import shlex
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.asking import check_people_can_be_asked
from agents.building import check_settings
from agents.configuration import PARTS, RunConfig
from agents.given_answers import settled
from agents.interruption import RunInterrupted
from agents.offline import learn_reward
from agents.presets import labels_for, preset_for
from agents.run_directory import RunDirectory
from agents.training import train
from rlhf_envs.cli import INTERRUPTED, one_sentence_errors
from rlhf_envs.loop import FeedbackConfig

_PROGRAM = "python -m scripts.train"


@dataclass(frozen=True)
class Arguments:
    """Train a policy on preferences, judge it on the true reward, and write a report.

    Attributes:
        run: what to train; settings that are not given come from the environment's preset.
        run_dir: the folder for everything that the run leaves.
        resume: go on with the run in that folder, with the settings that it was started with.
    """

    run_dir: Path
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)
    resume: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    console = Console(stderr=True)
    with one_sentence_errors():
        defaults = _defaults(given)
        parsed = tyro.cli(Arguments, args=given, default=Arguments(Path("run"), defaults), prog=_PROGRAM)
        directory = RunDirectory(parsed.run_dir)
        config = _resumed(given, parsed.run, directory) if parsed.resume else _started(parsed.run, directory)
        go_on = f"{_PROGRAM} --run-dir {shlex.quote(str(parsed.run_dir))} --resume"
        work = train if config.env else learn_reward
        try:
            metrics = work(config, directory, console, parsed.resume)
        except (RunInterrupted, KeyboardInterrupt):
            print(f"Stopped. To go on: {go_on}", file=sys.stderr)
            return INTERRUPTED
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                f"The disk is full ({error}); free some space and go on with {go_on}: what was saved is kept."
            ) from error
        if config.env:
            console.print(_summary(metrics, config.labels), highlight=False)
            print(f"Report: {directory.report_path}")
        else:
            console.print(_about_reward(metrics), highlight=False)
            print(f"Reward model: {directory.reward_model_path}")
    return 0


def _defaults(given: list[str]) -> RunConfig:
    """The settings before any flag but --env, so that the help shows the environment's own preset."""
    environment = ""
    for place, word in enumerate(given):
        if word == "--env" and place + 1 < len(given):
            environment = given[place + 1]
        elif word.startswith("--env="):
            environment = word.partition("=")[2]
    return RunConfig(env=environment, ppo=preset_for(environment), labels=labels_for(environment))


def _started(config: RunConfig, directory: RunDirectory) -> RunConfig:
    if not config.env and config.offline is None:
        raise ValueError("Say which environment to train on, such as --env rlhf/Driving-v0.")
    directory.check_free()
    if config.offline is not None:
        config = settled(config)
    if config.env:
        check_settings(config)
        check_people_can_be_asked(config)
    directory.create(config)
    return config


def _resumed(given: list[str], config: RunConfig, directory: RunDirectory) -> RunConfig:
    """The settings that the run was started with, if nothing else was asked for."""
    stored = directory.read_config()
    if config.env and config.env != stored.env:
        raise ValueError(
            f"The run in {directory.path} is of {stored.env}, not {config.env}; leave --env out to go on with it."
        )
    # Read again on top of what the run was started with, a flag that changes anything shows, whatever its value.
    changed = tyro.cli(Arguments, args=given, default=Arguments(directory.path, stored), prog=_PROGRAM).run
    asked, was = _flat(changed), _flat(stored)
    for name, value in asked.items():
        if value != was[name]:
            raise ValueError(
                f"The run in {directory.path} was started with {name} = {was[name]}, not {value}; a resumed run keeps "
                "its settings, so leave that out, or start another run."
            )
    return stored


def _flat(config: RunConfig) -> dict[str, Any]:
    """The settings by name; those of a group as "group.name"."""
    flat: dict[str, Any] = {}
    for part in fields(config):
        value = getattr(config, part.name)
        if part.name in PARTS:
            flat |= {f"{part.name}.{each.name}": getattr(value, each.name) for each in fields(value)}
        else:
            flat[part.name] = value
    return flat


def _about_reward(metrics: dict[str, Any]) -> str:
    decided = metrics["test_decided"]
    tested = f"{metrics['test_accuracy']:.0%} of {decided} held-out answers predicted" if decided else "none held out"
    return f"Without --env only the reward was learned: {metrics['labels']} answers, {tested}."


def _summary(metrics: dict[str, Any], labels: FeedbackConfig) -> str:
    lines = [
        f"True return {metrics['true_return_mean']:.1f} ± {metrics['true_return_std']:.1f} "
        f"(random {metrics['random_return_mean']:.1f}) after {metrics['timesteps']:,} steps "
        f"in {metrics['wall_seconds']:.0f} s."
    ]
    if metrics["reward"] == "learned":
        accuracy, agreement = metrics["test_accuracy"], metrics["reward_correlation"]
        tested = (
            "no held-out answers"
            if accuracy is None
            else f"{accuracy:.0%} of {metrics['test_decided']} held-out answers predicted"
        )
        agreeing = "" if agreement is None else f", correlation with the truth {agreement:.2f}"
        lines.append(f"{metrics['labels']} answers, {tested}{agreeing}.")
        if metrics["comparisons"] < labels.comparisons and labels.target_accuracy is None:
            lines.append(
                f"Only {metrics['comparisons']} of {labels.comparisons} comparisons were asked; more --timesteps leave "
                "time for all."
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
