"""Grids of environments, learners, budgets of answers and seeds, trained here or on a cluster, in one table."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console

from agents.callbacks import ProgressDisplay, RunInterrupted
from agents.config import ASK_PEOPLE, Reward, RunConfig
from agents.train import check_settings
from rlhf_envs.cli import INTERRUPTED, one_sentence_errors
from rlhf_envs.cli.flags import parse
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.registration import find_spec, is_native
from rlhf_envs.evaluation.scores import Estimate, interquartile_mean, scale_of, scores_of, true_returns
from rlhf_envs.feedback import ANNOTATORS
from rlhf_envs.files import write_atomically
from rlhf_envs.learners import LEARNERS
from rlhf_envs.runs import PACKAGES, write_json
from rlhf_envs.versions import software_versions
from scripts.benchmarks import NOTHING, figure, markdown_table, mean_and_spread, require_positive
from scripts.benchmarks.cluster import Outcome, Workers, finish_runs
from scripts.benchmarks.runs import (
    TrainingRun,
    as_file_name,
    budget_for,
    folder_of,
    parse_changes,
    run_record,
    with_changes,
)

TABLE, ROWS, RESULTS = "sweep.md", "sweep.csv", "sweep.json"
RUNS_FOLDER = "runs"

_PROGRAM = "python -m scripts.sweep"
_FAILED = 1
_POLL_SECONDS = 1.0
_LONGEST_SCHEMA = 63
_COLUMNS = (
    *("environment", "learner", "reward", "answers", "seed", "timesteps", "attempts"),
    *("true_return_mean", "true_return_std", "random_return_mean", "idle_return_mean", "expert_return_mean"),
    *("test_accuracy", "reward_correlation", "wall_seconds", "folder"),
)


@dataclass(frozen=True)
class Arguments:
    """Train every combination of environments, learners, budgets of answers and seeds, and gather one table.

    Runs go on from their own checkpoints when a worker or a machine dies, and when the same command is given again with
    the same --out. Finished ones are used as they are. In the folder: sweep.md has the table, sweep.csv a row for each
    run, sweep.json every setting and figure, and runs/ the folders of the runs.

    Attributes:
        env: ids of environments, with arguments as in 'rlhf/Driving-v1={"horizon": 100}'.
        learner: algorithms, by name or as "module:Name".
        answers: budgets, each with runs of its own.
        seeds: how many runs of each kind.
        first_seed: of the runs; the others follow.
        timesteps: environment steps of a run; by default those of `scripts.benchmark learning`.
        evaluation_episodes: on new seeds in which each policy is evaluated.
        baselines: train on the true reward and in the suite on the proxy as well, which scores need.
        feedback: who answers, as `scripts.train` takes it; people answer "elsewhere", with --store.
        store: the URL of a PostgreSQL database that all runs share, each in a schema of its own, named after its
            folder; a file in the run's folder where None.
        set: NAME=VALUE for settings of all runs that differ from the defaults, by their names in config.json, such as
            ensemble.members=5 or learner_settings.num_envs=16.
        out: the folder of everything; by default runs/sweep- and the date. On a cluster all machines must see it.
        jobs: how many runs at a time; one for each core by default, or as many as the cluster has room for. 1 needs no
            Ray.
        address: of a running Ray cluster, as "host:port" or "auto"; this machine alone where None.
        cpus: cores that a run takes of a machine.
        gpus: GPUs that a run takes, or a part of one, for --set run.device=cuda.
        retries: how often a run is given to another worker after its own has died.
    """

    env: tuple[str, ...]
    learner: Annotated[tuple[str, ...], tyro.conf.arg(metavar=LEARNERS.choices())] = ("ppo",)
    answers: tuple[int, ...] = (100,)
    seeds: int = 5
    first_seed: int = 0
    timesteps: int | None = None
    evaluation_episodes: int = 100
    baselines: bool = True
    feedback: Annotated[str, tyro.conf.arg(metavar=ANNOTATORS.choices("elsewhere"))] = "oracle"
    store: str | None = None
    set: tuple[str, ...] = ()
    out: Path = field(default_factory=lambda: Path("runs") / time.strftime("sweep-%Y-%m-%d"))
    jobs: int | None = None
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 3

    def __post_init__(self) -> None:
        require_positive(self, "seeds", "evaluation_episodes")
        if self.first_seed < 0:
            raise ValueError(f"first_seed must be 0 or more, not {self.first_seed}.")
        for name in ("env", "learner", "answers"):
            if not getattr(self, name):
                raise ValueError(f"--{name} must name at least one.")
        if self.feedback in ASK_PEOPLE and (self.feedback != "elsewhere" or self.store is None):
            raise ValueError(
                'People answer the runs of a sweep with --feedback elsewhere and --store URL, and "rlhf-envs label '
                '--store URL --feedback web" asks them.'
            )
        if self.store is not None and not self.store.startswith("postgresql"):
            raise ValueError(f"Runs can share a PostgreSQL database (postgresql://...), and not {self.store}.")

    def workers(self) -> Workers:
        """What carries out the runs.

        Raises:
            ValueError: if a value is out of range, or Ray is needed and not installed.
        """
        return Workers(self.jobs, self.address, self.cpus, self.gpus, self.retries)

    def plan(self) -> Iterator[TrainingRun]:
        """Every run, seed by seed, so that early results show all kinds.

        Raises:
            ValueError: if there is no such environment, learner or setting, or a value is not possible.
        """
        changes = parse_changes(self.set)
        environments = {text: _environment(text) for text in dict.fromkeys(self.env)}
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for environment in environments.values():
                place = folder_of(environment.id, self.out / RUNS_FOLDER)
                if environment.kwargs:
                    place = place.with_name(f"{place.name}-{as_file_name(environment.kwargs)}")
                for learner in dict.fromkeys(self.learner):
                    kinds: list[tuple[Reward, int | None]] = []
                    if self.baselines:
                        kinds.append(("true", None))
                        kinds += [("proxy", None)] if is_native(environment.id) else []
                    kinds += [("learned", count) for count in dict.fromkeys(self.answers)]
                    for reward, answers in kinds:
                        config = with_changes(self._config(environment, learner, reward, seed, answers), changes)
                        name = f"{learner.replace(':', '-')}-{reward if answers is None else answers}-{seed}"
                        yield TrainingRun(self._with_store(config, place.name, name), place / name)

    def _config(
        self, environment: EnvironmentRef, learner: str, reward: Reward, seed: int, answers: int | None
    ) -> RunConfig:
        config = RunConfig.for_environment(environment, learner)
        return replace(
            config,
            reward=reward,
            seed=seed,
            timesteps=budget_for(environment.id).timesteps if self.timesteps is None else self.timesteps,
            labels=config.labels if answers is None else replace(config.labels, answers=answers),
            feedback=config.feedback if answers is None else self.feedback,
            # Runs side by side use the cores already.
            run=replace(config.run, evaluation_episodes=self.evaluation_episodes, processes=False),
        )

    def _with_store(self, config: RunConfig, environment: str, name: str) -> RunConfig:
        if self.store is None or config.reward != "learned":
            return config
        from sqlalchemy import make_url

        schema = re.sub(r"[^a-z0-9]+", "_", f"run_{self.out.name}_{environment}_{name}".lower())
        if len(schema) > _LONGEST_SCHEMA:
            digest = hashlib.sha256(schema.encode()).hexdigest()[:8]
            schema = f"{schema[: _LONGEST_SCHEMA - 9]}_{digest}"
        url = make_url(self.store).update_query_dict({"schema": schema})
        return replace(config, store=url.render_as_string(hide_password=False))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    console = Console(stderr=True)

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with one_sentence_errors():
        parsed = parse(Arguments, words, _PROGRAM)
        workers, planned = parsed.workers(), list(parsed.plan())
        missing = [run for run in planned if not run.is_finished]
        _check(missing)
        outcomes = {run.path: Outcome(run) for run in planned}
        stopped = False
        say(f"{len(planned)} runs, of which {len(planned) - len(missing)} have finished before.")
        try:
            with _progress(planned, console), closing(finish_runs(missing, workers, say)) as ended:
                for outcome in ended:
                    outcomes[outcome.run.path] = outcome
                    say(_line(outcome, parsed.out))
        except (RunInterrupted, KeyboardInterrupt):
            stopped = True
        failed = _write(parsed, list(outcomes.values()), shlex.join(["python", "-m", "scripts.sweep", *words]))
        if stopped:
            print(f"Stopped. The same command with --out {parsed.out} continues.", file=sys.stderr)
            return INTERRUPTED
    return _FAILED if failed else 0


def _environment(text: str) -> EnvironmentRef:
    """An environment from its id, or 'ID={"argument": 1}'."""
    id, equals, arguments = text.partition("=")
    try:
        kwargs = json.loads(arguments) if equals else {}
    except ValueError as error:
        raise ValueError(
            f"Arguments of an environment are a JSON object, as in 'rlhf/Driving-v1={{\"horizon\": 100}}', not "
            f"{arguments!r}: {error}."
        ) from error
    find_spec(id)
    return EnvironmentRef(id, kwargs)


def _label(environment: EnvironmentRef) -> str:
    return f"{environment.id}={json.dumps(dict(environment.kwargs))}" if environment.kwargs else environment.id


def _check(runs: Sequence[TrainingRun]) -> None:
    """Find out before any work whether one run of each kind can be built."""
    seen = set()
    for run in runs:
        config = run.config
        kind = (_label(config.required_environment), config.learner, config.reward)
        if kind not in seen:
            seen.add(kind)
            check_settings(config)


@contextmanager
def _progress(runs: Sequence[TrainingRun], console: Console) -> Iterator[None]:
    """Show how many steps of all runs are done, and how long the others will take, as long as the context lasts."""
    total = sum(run.config.timesteps for run in runs)
    display, ended = ProgressDisplay(total, console), threading.Event()
    done: dict[Path, int] = {}

    def look() -> str:
        for run in runs:
            if done.get(run.path, 0) < run.config.timesteps:
                done[run.path] = _trained(run)
        return f"{sum(run.directory.metrics_path.is_file() for run in runs)} of {len(runs)} runs finished"

    def watch() -> None:
        description = look()
        while True:
            display.update(description, sum(done.values()))
            if ended.wait(_POLL_SECONDS):
                return
            description = look()

    watcher = threading.Thread(target=watch, daemon=True)
    with display.shown():
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _trained(run: TrainingRun) -> int:
    """Steps that a run has trained for, as far as its folder says."""
    if run.directory.metrics_path.is_file():
        return run.config.timesteps
    try:
        with run.directory.progress_path.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 512, 0))
            last = file.read().decode(errors="replace").rstrip().rpartition("\n")[2].partition(",")[0]
    except OSError:
        return 0
    return min(int(last), run.config.timesteps) if last.isdecimal() else 0


def _line(outcome: Outcome, out: Path) -> str:
    place = outcome.run.path.relative_to(out / RUNS_FOLDER)
    if outcome.error is not None:
        return f"{place} failed: {outcome.error}"
    metrics = outcome.run.directory.read_metrics()
    return f"{place}: true return {figure(metrics.get('true_return_mean'))} in {metrics['wall_seconds']:.0f} s"


def _write(arguments: Arguments, outcomes: Sequence[Outcome], command: str) -> bool:
    """Gather what has finished into the three files, and print the table; whether runs failed."""
    records, failed = [], []
    for outcome in outcomes:
        run = outcome.run
        error = outcome.error
        if error is None and run.directory.metrics_path.is_file():
            labelled = {
                "environment": _label(run.config.required_environment),
                "learner": run.config.learner,
                "attempts": outcome.attempts,
            }
            record = {**run_record(run, arguments.out), **labelled}
            missing = record["metrics"].get("true_return_mean") is None
            error = (
                "its true return could not be measured; not_measured in its metrics.json says why." if missing else None
            )
            records += [] if missing else [record]
        if error is not None:
            failed.append({"folder": str(run.path.relative_to(arguments.out)), "error": error})
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = tabulate(records) if records else "No run has finished."
    if len(records) < len(outcomes):
        table += f"\n\n{len(records)} of {len(outcomes)} runs have finished."
    table += "".join(f"\n\n{each['folder']} failed: {each['error']}" for each in failed)
    versions = software_versions(PACKAGES)
    content = {"command": command, "date": time.strftime("%Y-%m-%d", time.gmtime()), "versions": versions}
    write_json(arguments.out / RESULTS, {**content, "runs": records, "failed": failed})
    _write_rows(arguments.out / ROWS, records)
    write_atomically(arguments.out / TABLE, f"{table}\n\n`{command}`\n")
    print(table)
    return bool(failed)


def _write_rows(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows([{**record["metrics"], **record}.get(name, "") for name in _COLUMNS] for record in records)


def tabulate(records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of runs as `run_record` gives them, with "environment" and "learner": a row for each kind of run.

    Returns and scores are interquartile means over seeds with their 95% intervals (stratified bootstrap); the scores
    over all environments follow where there are several.
    """
    rows, scores = [], dict[tuple[str, str], list[Any]]()
    for environment, learner in dict.fromkeys((record["environment"], record["learner"]) for record in records):
        runs = [run for run in records if (run["environment"], run["learner"]) == (environment, learner)]
        scale = scale_of(runs)
        for reward, answers in dict.fromkeys((run["reward"], run["answers"]) for run in runs):
            kind = [run for run in runs if (run["reward"], run["answers"]) == (reward, answers)]
            found = scores_of(kind, scale) if reward == "learned" else None
            trained_on = f"{answers} answers" if reward == "learned" else f"{reward} reward"
            if found is not None:
                scores.setdefault((learner, trained_on), []).append(found)
            rows.append(
                {
                    "environment": f"`{environment}`, {kind[0]['timesteps']:,} steps",
                    "learner": learner,
                    "trained on": trained_on,
                    "seeds": str(len(kind)),
                    "true return": _interval(interquartile_mean([np.array(true_returns(kind))])),
                    "score": NOTHING if found is None else str(interquartile_mean([found])),
                    "accuracy": mean_and_spread([run["metrics"].get("test_accuracy") for run in kind]),
                }
            )
    table = (
        "Interquartile means over seeds, and 95% intervals by stratified bootstrap in brackets; a score of 0 is the "
        f"best without learning of people's goals, 1 the same learner on the true reward.\n\n{markdown_table(rows)}"
    )
    overall = [
        {"learner": learner, "trained on": trained_on, "environments": str(len(found)), "score": str(estimate)}
        for (learner, trained_on), found in scores.items()
        for estimate in [interquartile_mean(found)]
    ]
    if len({record["environment"] for record in records}) > 1 and overall:
        table += f"\n\nOver all environments:\n\n{markdown_table(overall)}"
    return table


def _interval(estimate: Estimate) -> str:
    low, high = estimate.ends
    return figure(estimate.value) + ("" if estimate.low is None else f" ({figure(low)} to {figure(high)})")


if __name__ == "__main__":
    sys.exit(main())
