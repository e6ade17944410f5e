"""Finished runs side by side: what differs between them, and how well each setting does over its seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from rlhf_envs.envs.palette import DARK, LIGHT, css_colors
from rlhf_envs.evaluation.returns import IN_WORDS, Scale
from rlhf_envs.evaluation.scores import (
    NOTHING,
    Estimate,
    difference,
    interquartile_mean,
    probability_of_improvement,
    scale_of,
)
from rlhf_envs.files import write_atomically, write_csv
from rlhf_envs.report import charts
from rlhf_envs.report.charts import decimals, rounded
from rlhf_envs.report.run_report import flat_settings
from rlhf_envs.runs import RunDirectory, read_progress, write_json
from rlhf_envs.templates import render
from rlhf_envs.terminal import TextTable

if TYPE_CHECKING:
    from rich.console import Console

_HOW = (
    *(
        "seed",
        "store",
        "run.threads",
        "run.checkpoint_seconds",
        "run.device",
        "run.processes",
        "run.evaluation_episodes",
    ),
    *("run.tracker", "run.tracker_project"),
    *("page.host", "page.port", "page.url", "page.annotators"),
)
"""Settings that say how a run is carried out; runs that differ in nothing else are repetitions of each other."""

_ALONE = "these settings"
_FIGURES = {
    "normalised": "score",
    "test_accuracy": "test accuracy",
    "reward_correlation": "correlation",
    "answers": "answers",
    "computing_seconds": "computing, s",
    "wait_seconds": "waiting, s",
}


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    Attributes:
        path: its folder.
        environment: where it was trained, as JSON text.
        environment_id: its id.
        settings: all others by their dotted names, as texts.
        seed: of everything.
        metrics: its figures.
        curve: (timesteps, true return) pairs of training.
    """

    path: Path
    environment: str
    environment_id: str
    settings: Mapping[str, str]
    seed: int
    metrics: Mapping[str, Any]
    curve: Sequence[tuple[float, float]]

    @classmethod
    def read(cls, path: Path) -> ComparedRun:
        """Read a run.

        Raises:
            ValueError: if the folder holds no finished run, its true return could not be measured, or a file is
                damaged.
        """
        directory = RunDirectory(path)
        run, environment, metrics = directory.read_settings(), directory.read_environment(), directory.read_metrics()
        if metrics.get("true_return_mean") is None:
            raise ValueError(f"The run in {path} has no true return to compare.")
        every = {name: value for name, value in run.all.items() if name != "environment"}
        settings = {name: value for name, value in flat_settings(every).items() if name not in _HOW}
        curve = [
            (float(row["timesteps"]), float(row["true_return_mean"]))
            for row in read_progress(directory.progress_path)
            if row["true_return_mean"] not in ("", "nan")
        ]
        about = json.dumps(environment.to_json(), sort_keys=True)
        return cls(path, about, environment.id, settings, run.seed, metrics, curve)

    @property
    def record(self) -> dict[str, Any]:
        """As `rlhf_envs.evaluation.scores` reads runs."""
        return {"reward": self.metrics["reward"], "seed": self.seed, "metrics": self.metrics, "folder": self.path}


@dataclass(frozen=True)
class ComparedGroup:
    """Runs that differ in their seeds only.

    Attributes:
        name: what tells these settings from those of the other groups.
        environment_id: where they were trained.
        runs: by seed.
        scale: on which their scores are; None where none is known.
        first: the group that the differences are from; None for that group itself.
    """

    name: str
    environment_id: str
    runs: Sequence[ComparedRun]
    scale: Scale | None
    first: ComparedGroup | None = None

    @property
    def returns(self) -> list[float]:
        """True returns, by seed."""
        return [float(run.metrics["true_return_mean"]) for run in self.runs]

    @property
    def true_return(self) -> Estimate:
        """Interquartile mean over seeds, with its interval."""
        return interquartile_mean([np.array(self.returns)])

    def values(self, figure: str) -> list[float]:
        """A figure of each run, of those that have it."""
        if figure == "normalised":
            scores = [self.scale.score(value) for value in self.returns] if self.scale else []
            return [score for score in scores if score is not None]
        if figure == "computing_seconds":
            known = (run.metrics for run in self.runs if run.metrics.get("wall_seconds") is not None)
            return [float(one["wall_seconds"]) - float(one.get("wait_seconds") or 0.0) for one in known]
        found = (run.metrics.get(figure) for run in self.runs)
        return [float(value) for value in found if value is not None]

    def estimate(self, figure: str) -> Estimate | None:
        """Interquartile mean of a figure over seeds; None where no run has it."""
        values = self.values(figure)
        return interquartile_mean([np.array(values)]) if values else None

    @property
    def gain(self) -> tuple[Estimate, Estimate, int] | None:
        """By how much the true return is above the first group's, how likely a run is better, and over how many seeds.

        Only seeds that both have count; None for the first group itself, and where they share none.
        """
        if self.first is None:
            return None
        before = dict(zip((run.seed for run in self.first.runs), self.first.returns, strict=True))
        pairs = [
            (before[run.seed], own) for run, own in zip(self.runs, self.returns, strict=True) if run.seed in before
        ]
        if not pairs:
            return None
        sample = np.array(pairs).T
        return difference([sample]), probability_of_improvement([sample]), len(pairs)


def compare_runs(folders: Sequence[Path]) -> list[ComparedGroup]:
    """Read finished runs and group those that differ in their seeds only, by environment.

    The first group of each environment is that of the run that was named first.

    Raises:
        ValueError: if there are fewer than two, a folder or a seed of one setting is named twice, or a run cannot be
            read.
    """
    if len(folders) < 2:
        raise ValueError(f"Name at least 2 finished runs to compare, not {len(folders)}.")
    runs = [ComparedRun.read(folder) for folder in folders]
    grouped: dict[tuple[str, tuple[tuple[str, str], ...]], list[ComparedRun]] = {}
    for run in runs:
        same = grouped.setdefault((run.environment, tuple(sorted(run.settings.items()))), [])
        if any(other.seed == run.seed for other in same):
            raise ValueError(f"{run.path} repeats a run with the same settings and seed; name each run once.")
        same.append(run)
    found: list[ComparedGroup] = []
    for environment in dict.fromkeys(run.environment for run in runs):
        here = [each for (about, _), each in grouped.items() if about == environment]
        records = [run.record for each in here for run in each]
        scale = scale_of(records)
        if scale is None or scale.one is None:
            scale = Scale.of_metrics(here[0][0].metrics, "ppo", "expert")
        first: ComparedGroup | None = None
        for name, each in zip(_names([each[0].settings for each in here]), here, strict=True):
            each.sort(key=lambda run: run.seed)
            group = ComparedGroup(name, each[0].environment_id, each, scale, first)
            first = first or group
            found.append(group)
    return found


def _names(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """What tells each of several settings from the others, such as "labels.answers=60"."""
    keys = dict.fromkeys(name for each in settings for name in each)
    differing = [name for name in keys if len({each.get(name) for each in settings}) > 1]
    # Settings of a learner follow from which learner it is, and so on: a few of them tell groups apart.
    telling: list[str] = []
    for name in sorted(differing, key=lambda name: (name.count("."), differing.index(name))):
        before = len({tuple(each.get(one) for one in telling) for each in settings})
        if len({tuple(each.get(one) for one in [*telling, name]) for each in settings}) > before:
            telling.append(name)
    return [", ".join(f"{name}={each.get(name, NOTHING)}" for name in telling) or _ALONE for each in settings]


def comparison_tables(groups: Sequence[ComparedGroup]) -> list[TextTable]:
    """A table of figures and one of differences for each environment."""
    tables = []
    for environment in dict.fromkeys(group.environment_id for group in groups):
        here = [group for group in groups if group.environment_id == environment]
        places = decimals(value for group in here for value in group.returns)
        known = [figure for figure in _FIGURES if any(group.values(figure) for group in here)]
        rows = [
            [
                group.name,
                str(len(group.runs)),
                _written(group.true_return, places),
                *(_figure(group.estimate(name), name) for name in known),
            ]
            for group in here
        ]
        columns = ["settings", "runs", "true return", *(_FIGURES[name] for name in known)]
        tables.append(TextTable(environment, 1, columns, rows))
        gains = [(group, group.gain) for group in here if group.first is not None]
        if gains:
            rows = [[group.name, *_gain_cells(gain, places)] for group, gain in gains]
            columns = ["settings", "seeds", "true return", "chance to be better"]
            tables.append(TextTable(f"{environment}: compared with {here[0].name}", 1, columns, rows))
    return tables


def _gain_cells(gain: tuple[Estimate, Estimate, int] | None, places: int) -> list[str]:
    if gain is None:
        return ["0", NOTHING, NOTHING]
    change, chance, seeds = gain
    sign = "+" if change.value > 0 else ""
    return [str(seeds), sign + _written(change, places), _figure(chance, "test_accuracy")]


def _written(estimate: Estimate, places: int) -> str:
    value = rounded(estimate.value, places)
    # All runs may have asked for as many answers.
    if estimate.low is None or estimate.low == estimate.high:
        return value
    return f"{value} ({rounded(estimate.low, places)} to {rounded(estimate.high, places)})"


def _figure(estimate: Estimate | None, name: str) -> str:
    if estimate is None:
        return NOTHING
    if name == "test_accuracy":
        ends = "" if estimate.low is None else f" ({estimate.low:.0%} to {estimate.high:.0%})"
        return f"{estimate.value:.0%}{ends}"
    return _written(estimate, 2 if name in ("normalised", "reward_correlation") else 0)


def write_comparison(groups: Sequence[ComparedGroup], folder: Path) -> Path:
    """Write comparison.html, and its figures as comparison.json and comparison.csv, into a folder.

    Returns:
        The path of the page.

    Raises:
        OSError: if nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "comparison.json", {"groups": [_as_json(group) for group in groups]})
    write_csv(folder / "comparison.csv", list(_rows(groups)))
    environments = []
    for number, environment in enumerate(dict.fromkeys(group.environment_id for group in groups)):
        here = [group for group in groups if group.environment_id == environment]
        curves = {group.name: [run.curve for run in group.runs if len(run.curve) > 1] for group in here}
        environments.append(
            {
                "id": environment,
                "returns": Markup(
                    charts.compared_returns([(group.name, group.returns, group.true_return) for group in here], number)
                ),
                "curves": Markup(charts.compared_curves(curves, number)) if any(curves.values()) else None,
                "scale": _scale_sentence(here[0].scale),
                "folders": [(group.name, [str(run.path) for run in group.runs]) for group in here],
            }
        )
    page = render(
        "rlhf_envs.report",
        "comparison.html",
        environments=environments,
        tables=comparison_tables(groups),
        runs=sum(len(group.runs) for group in groups),
        light=css_colors(LIGHT),
        dark=css_colors(DARK),
    )
    return write_atomically(folder / "comparison.html", page)


def print_comparison(groups: Sequence[ComparedGroup], console: Console) -> None:
    """Print the tables, with a column for each setting, which are fewer than the figures."""
    for table in comparison_tables(groups):
        heading, *columns = zip(table.columns, *table.rows, strict=True)
        console.print(*TextTable(table.title, 1, heading, columns).fitted(console.width), sep="\n")
    for sentence in dict.fromkeys(_scale_sentence(group.scale) for group in groups):
        if sentence:
            console.print(sentence, highlight=False)


def _scale_sentence(scale: Scale | None) -> str:
    if scale is None or scale.one is None or scale.one_policy is None:
        return ""
    if scale.score(scale.zero) is None:
        return (
            "There are no scores, because what they would be measured against is no better than doing nothing useful."
        )
    one = "the runs on the true reward" if scale.one_policy == "true" else IN_WORDS[scale.one_policy]
    zero = "the best of random actions, constant actions and gaming the proxy"
    return f"A score of 0 is {zero} ({scale.zero:.1f} here), and 1 is {one} ({scale.one:.1f})."


def _as_json(group: ComparedGroup) -> dict[str, Any]:
    gain = group.gain
    return {
        "environment": group.environment_id,
        "settings": group.name,
        "folders": [str(run.path) for run in group.runs],
        "seeds": [run.seed for run in group.runs],
        "true_returns": group.returns,
        "true_return": _estimate_as_json(group.true_return),
        "scale": None if group.scale is None else vars(group.scale),
        **{name: _estimate_as_json(group.estimate(name)) for name in _FIGURES},
        "compared_with": None if group.first is None else group.first.name,
        "gain": gain and {"true_return": _estimate_as_json(gain[0]), "seeds": gain[2]},
        "probability_of_improvement": gain and _estimate_as_json(gain[1]),
    }


def _estimate_as_json(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _rows(groups: Sequence[ComparedGroup]) -> Iterator[dict[str, Any]]:
    """A row of comparison.csv for each run."""
    for group in groups:
        for run in group.runs:
            score = None if group.scale is None else group.scale.score(float(run.metrics["true_return_mean"]))
            wall, wait = run.metrics.get("wall_seconds"), run.metrics.get("wait_seconds")
            row = {
                "environment": group.environment_id,
                "settings": group.name,
                "seed": run.seed,
                "folder": run.path,
                "true_return": run.metrics["true_return_mean"],
                "score": score,
                **{name: run.metrics.get(name) for name in ("test_accuracy", "reward_correlation", "answers")},
                "wall_seconds": wall,
                "wait_seconds": wait,
            }
            yield {name: "" if value is None else value for name, value in row.items()}
