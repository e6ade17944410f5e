"""What a number of answers is worth: scores over the budget, and what single ingredients of the method add to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from numpy.typing import NDArray

from rlhf_envs.envs.palette import LIGHT, css_colors
from rlhf_envs.envs.registration import ENVIRONMENTS as SUITE
from rlhf_envs.evaluation.scores import (
    area_under_budgets,
    difference,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    scale_of,
    scores_of,
    true_returns,
)
from rlhf_envs.report.charts import STYLE, to_svg
from scripts.benchmarks import NOTHING, figure, in_both_themes, markdown_table, mean_and_spread
from scripts.benchmarks.learning import Learning
from scripts.benchmarks.runs import parse_changes

INGREDIENTS: dict[str, dict[str, Any]] = {
    "network alone, no additive part": {"ensemble.additive": False},
    "no potential": {"ensemble.potential": False},
    "3 members": {"ensemble.members": 3},
    "no pessimism": {"ensemble.pessimism": 0.0},
    "no penalties": {"fit.group_lasso": 0.0, "fit.ridge": 0.0},
    "no random windows": {"fit.crop": 1.0},
    "strengths of preference": {"labels.kinds": {"strength": 1.0}},
    "uniform questions": {"labels.selection": "uniform"},
    "questions by information": {"labels.selection": "information"},
    "questions by value": {"labels.selection": "value"},
    "questions until 0.8 of training": {"labels.ask_until": 0.8},
    "exploration first": {"labels.explore_share": 0.05},
    "no exploration": {"labels.explore_share": 0.0},
    "no second policy": {"run.fresh_policy": "never"},
    "no last comparisons": {"run.judging_share": 0.0},
    "dynamics loss": {"fit.dynamics": 1.0},
    "pseudo-labels": {"fit.pseudo_labels": 0.95},
}
"""What `Ablation` compares with the defaults: changes of settings, by their names in config.json."""

PROFILED = 100
"""Answers at which single runs are looked at: the performance profile, the worst run."""

_COLORS = css_colors(LIGHT)
_DASHED: dict[str, Any] = {"color": _COLORS["muted"], "linewidth": 0.8, "linestyle": (0, (4, 3))}
_WIDTH = 4.4
_LOWEST_DRAWN = -0.5
_THRESHOLDS = np.linspace(0.0, 1.2, 121)


@dataclass(frozen=True)
class BudgetCurves(Learning):
    """Train PPO on preferences with several budgets of answers, and draw the score over the budget.

    The runs are those of `learning` with these budgets, in the same folder: what has been done for one is used by the
    other.

    Attributes:
        answers: budgets, each with runs of its own.
    """

    name: ClassVar[str] = "budget"
    env: tuple[str, ...] = tuple(SUITE)
    answers: tuple[int, ...] = (25, 50, 100, 200, 400)

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Two tables: scores, and true returns."""
        runs, budgets = measured["runs"], _budgets(measured["runs"])
        profiled, found = _profiled(budgets), _scores(runs, budgets)
        titles = [f"{budget} answers" for budget in budgets]
        scored = [
            {"environment": f"`{id}`", **_row([samples], budgets, titles), **_single_runs(samples, budgets)}
            for id, samples in found.items()
        ]
        if len(found) > 1:
            everywhere = np.concatenate(list(found.values()), axis=1)
            overall = {"environment": f"all {len(found)}", **_row(list(found.values()), budgets, titles)}
            scored.append(overall | _single_runs(everywhere, budgets))
        returned = []
        for id, timesteps in dict.fromkeys((run["env"], run["timesteps"]) for run in runs):
            here = [run for run in runs if run["env"] == id]
            scale = scale_of(here)
            of_true = true_returns(run for run in here if run["reward"] == "true")
            returned.append(
                {
                    "environment": f"`{id}`, {timesteps:,} steps",
                    "score 0": NOTHING if scale is None else f"{figure(scale.zero)}, {_IN_TABLE[scale.zero_policy]}",
                    "PPO on the true reward": mean_and_spread(of_true),
                }
                | {
                    title: mean_and_spread(true_returns(_learned(here, budget)))
                    for title, budget in zip(titles, budgets, strict=True)
                }
            )
        missing = [run for run in dict.fromkeys(run["env"] for run in runs) if run not in found]
        return (
            f"Training seeds {_seeds(runs)}. Scores, interquartile mean and 95% interval; the area is the mean height "
            f"of the curve of interquartile means over the logarithm of the answers; mean and lowest are those of "
            f"single runs with {profiled} answers:\n\n{markdown_table(scored) if scored else NOTHING}\n\n"
            + "".join(
                f"On `{id}`, PPO on the true reward is no better than the zero, so it has no score.\n\n"
                for id in missing
            )
            + f"True returns, mean ± standard deviation:\n\n{markdown_table(returned)}"
        )

    @staticmethod
    def draw(measured: dict[str, Any], folder: Path) -> dict[str, str]:
        """Write the curves, budget.svg, and the performance profile, profile.svg; what each shows, by name."""
        budgets = _budgets(measured["runs"])
        found = _scores(measured["runs"], budgets)
        if not found:
            return {}
        profiled = _profiled(budgets)
        with rc_context({**STYLE, "font.size": 9.5}):
            pictures = {
                "budget.svg": (
                    _curves(found, budgets),
                    "Score over the number of answers, over all environments and in each of them",
                ),
                "profile.svg": (
                    _profile([samples[budgets.index(profiled)] for samples in found.values()]),
                    f"Share of runs with {profiled} answers that score above each threshold",
                ),
            }
            for name, (drawn, description) in pictures.items():
                svg = in_both_themes(to_svg(drawn, name.partition(".")[0], description))
                (folder / name).write_text(svg, encoding="utf-8")
        return {name: description for name, (_, description) in pictures.items()}


@dataclass(frozen=True)
class Ablation(Learning):
    """Train PPO on preferences with single settings changed, and compare the scores with those of the defaults.

    The runs with the defaults, on the true reward and on the proxy are those of `learning` and `budget`. Choose
    settings on other seeds than those that are reported.

    Attributes:
        answers: budgets, each with runs of its own.
        ingredients: names of changes in the table `INGREDIENTS` of scripts/benchmarks/budget.py.
        set: NAME=VALUE for settings of all runs on preferences that differ from the defaults.
    """

    name: ClassVar[str] = "ablation"
    env: tuple[str, ...] = tuple(SUITE)
    answers: tuple[int, ...] = (50, 100)
    ingredients: tuple[str, ...] = tuple(INGREDIENTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.ingredients if name not in INGREDIENTS]:
            raise ValueError(f"There is no ingredient {unknown[0]!r}; choose from {', '.join(INGREDIENTS)}.")

    def changes(self, environment_id: str) -> dict[str, dict[str, Any]]:
        """Nothing, and then each ingredient's changes, all of them on top of --set."""
        common = parse_changes(self.set)
        return {"": common, **{name: {**common, **INGREDIENTS[name]} for name in self.ingredients}}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Two tables: over all environments, and for each of them."""
        runs, budgets = measured["runs"], _budgets(measured["runs"])
        default = _scores(runs, budgets)
        changes = list(dict.fromkeys(run["change"] for run in runs if run["reward"] == "learned"))
        overall, apart = [], []
        for change in changes:
            scores = _scores(runs, budgets, change)
            title = {"settings": change or "the defaults"}
            overall.append(dict(title))
            for row, budget in enumerate(budgets):
                pairs = [np.stack([before[row], scores[id][row]]) for id, before in default.items()]
                overall[-1] |= {
                    f"{budget} answers": str(interquartile_mean([pair[1] for pair in pairs])),
                    f"difference at {budget}": difference(pairs).signed() if change else NOTHING,
                    f"better at {budget}": str(probability_of_improvement(pairs)) if change else NOTHING,
                }
            seconds = [run["metrics"]["wall_seconds"] for run in runs if run["answers"] and run["change"] == change]
            overall[-1]["seconds"] = figure(float(np.mean(seconds)))
            apart.append(
                title
                | {
                    f"`{id}`": " / ".join(f"{interquartile_mean([sample]).value:.2f}" for sample in samples)
                    for id, samples in scores.items()
                }
            )
        return (
            f"Training seeds {_seeds(runs)}, {len(default)} environments. Scores, interquartile mean and 95% interval; "
            "the difference from the defaults, with runs paired by environment and seed; how likely a run is better "
            f"than one with the defaults; and how long a training took, mean over all:\n\n{markdown_table(overall)}\n\n"
            f"In each environment, with {' / '.join(map(str, budgets))} answers:\n\n{markdown_table(apart)}"
        )


_IN_TABLE = {"random": "random actions", "idle": "constant action", "proxy": "PPO on the proxy"}


def _seeds(runs: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(map(str, sorted({run["seed"] for run in runs})))


def _budgets(runs: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({run["answers"] for run in runs if run["reward"] == "learned"})


def _profiled(budgets: Sequence[int]) -> int:
    """The budget whose single runs are looked at: the one nearest to `PROFILED`."""
    return min(budgets, key=lambda budget: abs(budget - PROFILED))


def _learned(runs: Sequence[Mapping[str, Any]], budget: int, change: str = "") -> list[Mapping[str, Any]]:
    return [run for run in runs if (run["reward"], run["answers"], run["change"]) == ("learned", budget, change)]


def _scores(
    runs: Sequence[Mapping[str, Any]], budgets: Sequence[int], change: str = ""
) -> dict[str, NDArray[np.float64]]:
    """Scores of the runs on preferences, (budgets, seeds), by environment; without those that have no scale."""
    found = {}
    for id in dict.fromkeys(run["env"] for run in runs):
        here = [run for run in runs if run["env"] == id]
        scale = scale_of(here)
        rows = [scores_of(_learned(here, budget, change), scale) for budget in budgets]
        known = [row for row in rows if row is not None]
        if known:
            found[id] = np.stack(known)
    return found


def _row(found: Sequence[NDArray[np.float64]], budgets: Sequence[int], titles: Sequence[str]) -> dict[str, str]:
    cells = {title: str(interquartile_mean([samples[row] for samples in found])) for row, title in enumerate(titles)}
    return cells | {"area": str(area_under_budgets(found, budgets)) if len(budgets) > 1 else NOTHING}


def _single_runs(samples: NDArray[np.float64], budgets: Sequence[int]) -> dict[str, str]:
    profiled = _profiled(budgets)
    chosen = samples[list(budgets).index(profiled)]
    return {f"mean at {profiled}": f"{chosen.mean():.2f}", f"lowest at {profiled}": f"{chosen.min():.2f}"}


def _curves(found: Mapping[str, NDArray[np.float64]], budgets: Sequence[int]) -> Figure:
    """The curve over all environments, and below it those of each, with the scores of single runs as dots."""
    several, rows = len(found) > 1, -(-len(found) // 2)
    drawn = Figure(figsize=(_WIDTH, 2.4 * several + 1.35 * rows + 0.3), layout="constrained")
    grid = drawn.add_gridspec(rows + several, 2, height_ratios=[1.8] * several + [1.0] * rows)
    everything = np.concatenate([samples.ravel() for samples in found.values()])
    limits = max(_LOWEST_DRAWN, min(0.0, everything.min())) - 0.08, max(1.1, everything.max() + 0.05)
    if several:
        axes: Axes = drawn.add_subplot(grid[0, :])
        _draw_curve(axes, list(found.values()), budgets)
        axes.set_ylim(min(-0.08, axes.get_ylim()[0]), max(1.1, axes.get_ylim()[1]))
        area = f": area {area_under_budgets(list(found.values()), budgets)}" if len(budgets) > 1 else ""
        axes.set_title(f"{len(found)} environments{area}", loc="left", fontsize=10)
        axes.set(ylabel="score", xlabel="answers")
        for height, meaning in ((1.0, "PPO on the true reward"), (0.0, "best without learning")):
            axes.annotate(
                meaning, (1, height), (0, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="right", color=_COLORS["muted"], fontsize=8.5,
            )  # fmt: skip
    for place, (id, samples) in enumerate(found.items()):
        axes = drawn.add_subplot(grid[place // 2 + several, place % 2])
        _draw_curve(axes, [samples], budgets)
        for budget, scores in zip(budgets, samples, strict=True):
            for shown, marker in ((scores >= _LOWEST_DRAWN, "o"), (scores < _LOWEST_DRAWN, "v")):
                heights = np.maximum(scores[shown], _LOWEST_DRAWN)
                axes.plot([budget] * len(heights), heights, marker, color=_COLORS["muted"], markersize=2.6, alpha=0.6)
        axes.set_ylim(*limits)
        axes.set_title(id.rpartition("/")[2], loc="left", fontsize=9)
        axes.tick_params(labelbottom=place + 2 >= len(found), labelleft=place % 2 == 0)
    return drawn


def _draw_curve(axes: Axes, found: Sequence[NDArray[np.float64]], budgets: Sequence[int]) -> None:
    estimates = [interquartile_mean([samples[row] for samples in found]) for row in range(len(budgets))]
    low, high = zip(*(one.ends for one in estimates), strict=True)
    axes.axhline(1.0, **_DASHED)
    axes.axhline(0.0, color=_COLORS["line"], linewidth=0.8)
    axes.fill_between(budgets, low, high, color=_COLORS["accent"], alpha=0.2, linewidth=0)
    axes.plot(budgets, [one.value for one in estimates], "o-", color=_COLORS["accent"], markersize=3)
    axes.set_xscale("log")
    axes.set_xticks(budgets, map(str, budgets))
    axes.margins(x=0.08)
    axes.xaxis.set_minor_locator(NullLocator())


def _profile(samples: Sequence[NDArray[np.float64]]) -> Figure:
    share, low, high = performance_profile(samples, _THRESHOLDS)
    drawn = Figure(figsize=(_WIDTH, 2.6), layout="constrained")
    axes: Axes = drawn.subplots()
    axes.fill_between(_THRESHOLDS, low, high, color=_COLORS["accent"], alpha=0.2, linewidth=0)
    axes.plot(_THRESHOLDS, share, color=_COLORS["accent"])
    axes.axvline(1.0, **_DASHED)
    axes.set(xlim=(_THRESHOLDS[0], _THRESHOLDS[-1]), ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("score")
    axes.set_ylabel("runs above it")
    return drawn
