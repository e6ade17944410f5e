"""Train a policy on preferences, or as a baseline on the true or the proxy reward."""

from __future__ import annotations

import errno
import json
import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, get_args

import tyro
from rich.console import Console

from agents.callbacks import RunInterrupted
from agents.config import RunConfig, flat_settings, read_config, refused_change
from agents.offline import learn_reward, settle
from agents.presets import SettingsSource
from agents.reuse import begin_with_model, labels_with
from agents.train import check_settings, open_store, train
from rlhf_envs.cli import INTERRUPTED, one_sentence_errors
from rlhf_envs.cli.flags import EnvironmentFlags, parse
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation import Measurements
from rlhf_envs.evaluation.returns import Scale
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.queries import AccuracySource
from rlhf_envs.runs import RunDirectory
from rlhf_envs.terminal import counted
from rlhf_envs.wrappers import EnvironmentFault

_PROGRAM = "python -m scripts.train"
_RUN_DIR = "run"


@dataclass(frozen=True)
class Arguments:
    """Train a policy on preferences, evaluate it on the true reward, and write a report.

    Attributes:
        run_dir: the folder for everything that the run writes.
        environment: where to train.
        run: what to train; settings that are not given come from the environment's preset.
        resume: go on with the run in that folder, with the settings that it was started with; more timesteps and
            another way of showing queries to people may be asked for.
    """

    run_dir: Path
    environment: Annotated[EnvironmentFlags, tyro.conf.arg(name="")] = field(default_factory=EnvironmentFlags)
    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)
    resume: bool = False


_COMMON = (
    ("--env ID", "the environment, of this suite or registered with Gymnasium; package:id imports the package first"),
    ("--run-dir PATH", "the folder for everything that the run writes ({run_dir})"),
    ("--resume", "go on with the run in that folder, with its settings"),
    (
        "--feedback WHO",
        "a scripted teacher (oracle, boltzmann, ...), people (window, web, elsewhere), or your own module:Name "
        "({feedback})",
    ),
    ("--answers N", "the budget of answers ({answers})"),
    ("--timesteps N", "environment steps of the training ({timesteps})"),
    ("--seed N", "of everything that is random ({seed})"),
    ("--rubric TEXT", "one sentence that tells people what to look for"),
    ("--kinds NAME SHARE ...", "other questions than comparisons: strength, ranking, rating"),
    ("--clip-seconds S", "how long the clips are"),
    ("--overlap N", "how many people answer each question ({overlap})"),
    ("--page.url URL", "with --feedback web: its public address behind a proxy; see also --page.host and --page.port"),
    ("--wait-for-answers", "train only while no question is open"),
    ("--reward WHICH", "learned, or as baselines true or proxy ({reward})"),
    ("--learner NAME", "ppo, a2c, sac, td3, dqn, tqc, ... or your own module:Name ({learner})"),
    ("--learner.NAME VALUE", "its settings, under the names of Stable-Baselines3"),
    ("--env-kwargs JSON", "arguments of the environment"),
    ("--wrapper CLASS", "a Gymnasium wrapper, module:Class; repeatable"),
    ("--horizon N", "steps in an episode of a third-party environment"),
    ("--offline FROM", "learn from answers that are there: an exported folder, a run or a store"),
    ("--reward-model FROM", "begin with the reward model of a finished run"),
    ("--pretrain N", "imitate so many demonstrations first ({pretrain})"),
    ("--kl-coef C", "what a nat of KL from the pretrained policy costs; --kl-target adapts it ({kl_coef})"),
    ("--fresh-policy WHEN", "train a second policy on the final reward: auto, always or never ({fresh_policy})"),
    ("--judging-share S", "of the answers, to choose between the two policies ({judging_share})"),
    ("--store URL", "a PostgreSQL database that several machines share"),
    ("--tracker NAME", "show the curves in wandb or trackio ({tracker}); see also --tracker-project"),
    ("--device WHERE", "cpu, cuda or auto ({device})"),
)
"""What `--help` lists: flags that most runs need, with what they are for; names in braces are defaults."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    console = Console(stderr=True)
    with one_sentence_errors():
        if "--help-all" not in words and {"-h", "--help"} & {*words}:
            print(common_flags(_defaults(words)))
            return 0
        words = ["--help" if word == "--help-all" else word for word in words]
        run_dir, config, resume = _parse(words, _defaults(words))
        directory = RunDirectory(run_dir)
        given = shlex.join([*_PROGRAM.split(), *words])
        config = _resume(words, directory) if resume else _start(config, directory, given)
        command = f"{_PROGRAM} --run-dir {shlex.quote(str(run_dir))} --resume"
        try:
            if config.environment:
                metrics = train(config, directory, console, resume)
            else:
                metrics = learn_reward(config, directory, console)
        except (RunInterrupted, KeyboardInterrupt):
            print(f"Stopped. To go on: {command}", file=sys.stderr)
            return INTERRUPTED
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"{fault} Mend that, and go on with {command}: what was saved is kept.") from fault
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                f"The disk is full ({error}); free some space and go on with {command}: what was saved is kept."
            ) from error
        if config.environment:
            asked = config.labels if config.offline is None else None
            console.print(_summary(metrics, asked), highlight=False, soft_wrap=not console.is_terminal)
            print(f"Report: {directory.report_path}")
        else:
            console.print(_about_reward(metrics), highlight=False, soft_wrap=not console.is_terminal)
            print(f"Reward model: {directory.reward_model_path}")
    return 0


def common_flags(defaults: RunConfig) -> str:
    """What `--help` says: the flags that most runs need, within 80 columns.

    Args:
        defaults: settings of which some are shown.
    """
    known = {**flat_settings(defaults.to_json()), "run_dir": _RUN_DIR}
    width = max(len(flag) for flag, _ in _COMMON) + 4
    lines = [
        f"usage: {_PROGRAM} --env ID [OPTIONS]",
        "",
        "Train a policy on preferences, evaluate it, and write a report.",
        "",
    ]
    for flag, text in _COMMON:
        lines += wrap(f"  {flag:<{width - 2}}{text.format_map(known)}", 80, subsequent_indent=" " * width)
    last = (
        "--help-all lists every flag: when and what is asked, the scripted teacher (--teacher.NAME), the reward model "
        "(--ensemble.NAME, --fit.NAME), the learner, and how the run is carried out. Defaults, in parentheses, may "
        "depend on --env and --learner."
    )
    return "\n".join([*lines, "", *wrap(last, 80)])


def _parse(words: list[str], defaults: RunConfig) -> tuple[Path, RunConfig, bool]:
    """The folder, the configuration and whether to resume, from the flags and the defaults of those not given."""
    flags = EnvironmentFlags.of(defaults.environment)
    if _value_of("--wrapper", words):
        # The wrappers on the command line are all of them; tyro would add them to those of the defaults.
        flags = replace(flags, wrapper=())
    default = Arguments(Path(_RUN_DIR), flags, replace(defaults, environment=None))
    parsed = parse(Arguments, words, _PROGRAM, "--help-all", default=default)
    return parsed.run_dir, replace(parsed.run, environment=parsed.environment.environment()), parsed.resume


def _defaults(words: list[str]) -> RunConfig:
    """The settings before any flag but --env, --learner and --settings, so that the help shows the presets."""
    id, source = _value_of("--env", words), _value_of("--settings", words)
    # Another word than these is told by the parser.
    known: Any = source if source in get_args(SettingsSource) else "auto"
    learner, model = _value_of("--learner", words) or "ppo", _value_of("--reward-model", words)
    try:
        kwargs = json.loads(_value_of("--env-kwargs", words) or "{}")
    except ValueError:
        kwargs = {}
    environment = EnvironmentRef(id, kwargs if isinstance(kwargs, dict) else {}) if id else None
    config = RunConfig.for_environment(environment, learner, known)
    return replace(config, reward_model=model, labels=labels_with(model, config.labels)) if model else config


def _value_of(flag: str, words: list[str]) -> str:
    """The last value of a flag, before the command line is parsed; empty where it is not given."""
    value = ""
    for place, word in enumerate(words):
        if word == flag and place + 1 < len(words):
            value = words[place + 1]
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


def _start(config: RunConfig, directory: RunDirectory, command: str) -> RunConfig:
    if config.environment is None and config.offline is None:
        raise ValueError("Say which environment to train on, such as --env rlhf/Driving-v1.")
    directory.check_free()
    if config.offline is not None:
        config = settle(config)
    config = config.settled()
    if config.reward_model is not None:
        config = begin_with_model(config)
    if config.environment is None and config.run.tracker != "none":
        raise ValueError("Without --env no policy is trained, so there are no curves to show; leave --tracker out.")
    if config.environment is not None:
        check_settings(config)
    with directory.starting(config.to_json(), command):
        if config.reward == "learned":
            open_store(config, directory).close()
    return config


def _resume(words: list[str], directory: RunDirectory) -> RunConfig:
    """The settings that the run was started with, and of others those that may still be changed."""
    stored = read_config(directory)
    # Parsed again on top of what the run was started with, so that any flag that changes a value shows.
    _, changed, _ = _parse(words, stored)
    was, asked = stored.to_json(), changed.to_json()
    of, wanted = (flat_settings(settings).get("env") for settings in (was, asked))
    if of != wanted:
        raise ValueError(f"The run in {directory.path} is of {of}, not {wanted}; leave --env out to go on with it.")
    refused = refused_change(was, asked, directory.trained_timesteps)
    if refused is not None:
        raise ValueError(
            f"The run in {directory.path} was started with {refused}; a resumed run keeps its settings, so leave that "
            "out, or start another run."
        )
    if asked != was:
        directory.rewrite_config(asked)
    directory.add_command(shlex.join([*_PROGRAM.split(), *words]))
    return changed


def _about_reward(metrics: dict[str, Any]) -> str:
    return f"Without --env only the reward was learned: {counted(metrics['labels'], 'answer')}, {_tested(metrics)}."


def _tested(metrics: dict[str, Any]) -> str:
    if metrics["test_accuracy"] is None:
        return "none to judge the reward model by"
    return AccuracySource(metrics["accuracy_from"]).sentence(metrics["test_accuracy"], metrics["test_decided"])


def _summary(metrics: dict[str, Any], asked: FeedbackConfig | None) -> str:
    mean = metrics.get("true_return_mean")
    second = ", a second training included" if "fresh_policy" in metrics else ""
    trained = f"after {metrics['timesteps']:,} steps in {metrics['wall_seconds']:.0f} s{second}."
    scale = Scale.of_metrics(metrics, "expert")
    compared = f" ({scale})" if scale else ""
    lines = [
        f"Trained {trained}".replace("after", "for")
        if mean is None
        else f"True return {mean:.1f} ± {metrics['true_return_std']:.1f}{compared} {trained}"
    ]
    lines += metrics.get("concerns", [])
    lines += [alarm["reason"] for alarm in metrics.get("alarms", [])]
    lines += Measurements(metrics.get("not_measured")).sentences()
    if metrics["reward"] == "learned":
        agreement = metrics.get("reward_correlation")
        agreeing = "" if agreement is None else f", correlation with the truth {agreement:.2f}"
        lines.append(f"{counted(metrics['labels'], 'answer')}, {_tested(metrics)}{agreeing}.")
        ended_early = asked and (asked.target_accuracy is not None or (asked.on_alarm == "stop" and metrics["alarms"]))
        unasked = metrics.get("unasked_comparisons", 0)
        if unasked:
            lines.append(
                f"The last {counted(unasked, 'comparison')} of both policies {'was' if unasked == 1 else 'were'} not "
                "asked; --judging-share 0 keeps no answers for them."
            )
        if asked and not ended_early and asked.answers - metrics["answers"] >= asked.overlap * (unasked + 1):
            lines.append(
                f"Only {metrics['answers']} of {counted(asked.answers, 'answer')} were asked for; more --timesteps "
                "leave time for all."
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
