"""Curves over budgets and ablations: which runs there are, which are shared, and what the tables and pictures say."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import train
from agents.config import RunConfig
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation import Evaluation
from rlhf_envs.runs import RunDirectory
from scripts import benchmark
from scripts.benchmarks import budget, runs
from scripts.benchmarks.budget import Ablation, BudgetCurves
from scripts.benchmarks.learning import Learning
from scripts.benchmarks.runs import configure, parse_changes
from tests.scripts.test_benchmark import make_small, refused, results

ENVIRONMENT = "rlhf/Recommender-v1"
ENVIRONMENTS = (ENVIRONMENT, "rlhf/Support-v1", "Pendulum-v1")


def record(env: str, reward: str, seed: int, true_return: float, answers: int = 0, change: str = "") -> dict[str, Any]:
    metrics = {
        "true_return_mean": true_return,
        "random_return_mean": -100.0,
        "idle_return_mean": 0.0,
        "wall_seconds": 5.0,
    }
    run = {"env": env, "reward": reward, "seed": seed, "answers": answers, "change": change, "metrics": metrics}
    return {**run, "timesteps": 1000, "folder": f"{reward}-{seed}"}


def measured(
    curve: dict[int, float], environments: tuple[str, ...] = ENVIRONMENTS, change: str = "", shift: float = 0.0
) -> list[dict[str, Any]]:
    """Runs of three seeds whose scores are those of the curve, 0.1 less and 0.1 more."""
    found = []
    for env in environments:
        for seed in range(3):
            found += [] if change else [record(env, "true", seed, 50.0)]
            for answers, score in curve.items():
                spread = 0.1 * (seed - 1)
                found.append(record(env, "learned", seed, 50 * (score + spread + shift), answers, change))
    return found


def cells(table: str, first: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {first} |"))
    return line.strip("| ").split(" | ")[1:]


@pytest.fixture(autouse=True)
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def test_budgets_and_ablations_share_the_runs_of_the_learning_benchmark() -> None:
    common: dict[str, Any] = {"env": (ENVIRONMENT,), "first_seed": 10, "seeds": 2}
    learning = {run.path: run.config for run in Learning(answers=(25, 50), **common).plan(Path())}
    assert {run.path: run.config for run in BudgetCurves(answers=(25, 50), **common).plan(Path())} == learning
    assert {path.name for path in learning} == {
        f"{kind}-{seed}" for kind in ("true", "proxy", "preferences-25", "preferences-50") for seed in (10, 11)
    }
    ablation = list(Ablation(answers=(25, 50), ingredients=("3 members",), **common).plan(Path()))
    assert {run.path for run in ablation if not run.change} == set(learning)
    changed = [run for run in ablation if run.change]
    assert [run.path.name for run in changed] == [
        f"preferences-{count}-ensemble.members=3-{seed}" for seed in (10, 11) for count in (25, 50)
    ]
    assert all(run.config.ensemble.members == 3 for run in changed)


def test_an_ingredient_that_is_the_default_is_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        budget.INGREDIENTS, "as it is", {"ensemble.members": configure("CartPole-v1", "learned", 0).ensemble.members}
    )
    planned = list(Ablation(env=("CartPole-v1",), answers=(50,), seeds=1, ingredients=("as it is",)).plan(Path()))
    assert [run.path.name for run in planned] == ["true-0", "preferences-50-0", "preferences-50-0"]
    assert [run.change for run in planned] == ["", "", "as it is"]


def test_every_ingredient_is_a_possible_setting() -> None:
    for name, changes in budget.INGREDIENTS.items():
        for environment_id in ENVIRONMENTS:
            assert configure(environment_id, "learned", 0, answers=50, changes=changes), name


def test_settings_can_be_changed_by_name() -> None:
    words = [
        "ensemble.members=5",
        "labels.selection=uniform",
        "fit.resampling=bootstrap",
        'labels.kinds={"ranking": 0.5}',
    ]
    config = configure(ENVIRONMENT, "learned", 0, changes=parse_changes(words))
    assert (config.ensemble.members, config.labels.selection, config.fit.resampling) == (5, "uniform", "bootstrap")
    assert config.labels.kinds == {"ranking": 0.5}
    assert configure(ENVIRONMENT, "learned", 0, changes={}) == configure(ENVIRONMENT, "learned", 0)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("ensemble.members", "written NAME=VALUE"),
        ("seed=3", "its own flags set it"),
        ("labels.answers=3", "its own flags set it"),
        ("ensemble.member=3", "ensemble has no member"),
        ("ensembles.members=3", "There is no setting ensembles.members"),
        ("ensemble.members=many", "ensemble.members must be a whole number"),
        ("ensemble.members=0", "at least one member"),
    ],
)
def test_a_change_that_cannot_be_is_refused_before_any_work(
    word: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert sentence in refused(capsys, "budget", "--env", ENVIRONMENT, "--set", word, "--out", str(out))
    assert not out.exists()


def test_other_bad_input_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "There is no ingredient 'magic'" in refused(capsys, "ablation", "--ingredients", "magic", *out)
    assert "first_seed must be 0 or more" in refused(capsys, "budget", "--first-seed", "-1", *out)
    assert "answers must be at least 1" in refused(capsys, "budget", "--answers", "0", "50", *out)
    assert not (tmp_path / "out").exists()


def test_the_table_of_budgets_has_scores_areas_and_true_returns() -> None:
    table = BudgetCurves.table({"runs": measured({50: 0.2, 100: 0.6, 200: 1.0})})
    assert cells(table, f"`{ENVIRONMENT}`") == [
        "0.20 (0.10 to 0.30)", "0.60 (0.50 to 0.70)", "1.00 (0.90 to 1.10)", "0.60 (0.50 to 0.70)", "0.60", "0.50",
    ]  # fmt: skip
    overall = cells(table, "all 3")
    assert overall[1].startswith("0.60 (0.5") and overall[3].startswith("0.60") and overall[-2:] == ["0.60", "0.50"]
    assert cells(table, f"`{ENVIRONMENT}`, 1,000 steps") == [
        "0.00, constant action", "50.0", "10.0 ± 4.08", "30.0 ± 4.08", "50.0 ± 4.08",
    ]  # fmt: skip


def test_an_environment_without_a_scale_is_named_and_left_out() -> None:
    hopeless = [run | {"metrics": {**run["metrics"], "idle_return_mean": 60.0}} for run in measured({50: 0.2}, ("E",))]
    table = BudgetCurves.table({"runs": [*measured({50: 0.2}, ("F", "G")), *hopeless]})
    assert "all 2" in table and "On `E`, PPO on the true reward is no better than the zero" in table
    assert "| `E`, 1,000 steps | 60.0, constant action | 50.0 |" in table
    assert BudgetCurves.table({"runs": hopeless})


def test_the_table_of_an_ablation_has_differences_from_the_defaults() -> None:
    curve = {50: 0.2, 100: 0.6}
    changed = measured(curve, change="better", shift=0.25)
    table = Ablation.table({"runs": [*measured(curve), *changed, *measured(curve, change="same")]})
    default, better, same = (cells(table, name) for name in ("the defaults", "better", "same"))
    assert default[1:3] == ["–", "–"] and default[0].startswith("0.20 (")
    assert better[1] == better[4] == "+0.25 (+0.25 to +0.25)" and better[5].startswith("1.00")
    assert better[6] == "5.00"
    assert same[1] == "+0.00 (+0.00 to +0.00)" and same[2].startswith("0.50")
    assert table.count("0.45 / 0.85") == len(ENVIRONMENTS)


@pytest.mark.parametrize(
    ("environments", "curve"),
    [
        (ENVIRONMENTS, {25: 0.1, 100: 0.6, 400: -2.0}),
        (ENVIRONMENTS[:1], {25: 0.1, 100: 0.6}),
        (ENVIRONMENTS, {50: 0.5}),
    ],
)
def test_the_pictures_are_files_of_their_own_in_both_themes(
    environments: tuple[str, ...], curve: dict[int, float], tmp_path: Path
) -> None:
    found = BudgetCurves.draw({"runs": measured(curve, environments)}, tmp_path)
    assert list(found) == ["budget.svg", "profile.svg"]
    for name, description in found.items():
        text = (tmp_path / name).read_text()
        root = ElementTree.fromstring(text)
        assert root.get("aria-label") == description and "prefers-color-scheme:dark" in text
        drawn = text.partition("</style>")[2]
        used = set(re.findall(r"var\(--([\w-]+)\)", text))
        assert used <= set(re.findall(r"--([\w-]+):#", text)) and not re.findall(r"#[0-9a-f]{6}\b", drawn)
    assert all(id.rpartition("/")[2] in (tmp_path / "budget.svg").read_text() for id in environments)


@pytest.mark.slow
def test_a_benchmark_of_budgets_runs_and_writes_tables_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    shutil.copy(benchmark.DOCUMENTATION, page)
    monkeypatch.setattr(benchmark, "DOCUMENTATION", page)
    # So short a training on the true reward need not be better than the real ones.
    monkeypatch.setattr(train, "baselines", lambda *where, **how: {"random": Evaluation(np.array([-1e4]), None, {})})
    out = tmp_path / "out"
    common = [
        "--env",
        "Pendulum-v1",
        "--timesteps",
        "256",
        "--seeds",
        "2",
        "--evaluation-episodes",
        "2",
        "--out",
        str(out),
    ]
    assert benchmark.main(["budget", "--answers", "4", "8", *common, "--write-docs"]) == 0
    assert "![Score over the number of answers" in page.read_text() and "| `Pendulum-v1` |" in page.read_text()
    assert {path.name for path in (page.parent / "images").iterdir()} == {"budget.svg", "profile.svg"}
    assert {path.name for path in out.iterdir()} == {"learning", "budget.svg", "profile.svg", benchmark.RESULTS}
    assert len(results(out)["budget"]["runs"]) == 6

    trained = []
    real = runs.train
    monkeypatch.setattr(
        runs, "train", lambda config, *more, **named: trained.append(config) or real(config, *more, **named)
    )
    assert benchmark.main(["ablation", "--answers", "4", "8", "--ingredients", "no pessimism", *common]) == 0
    assert [config.ensemble.pessimism for config in trained] == [0.0] * 4
    assert "| no pessimism |" in capsys.readouterr().out
    folder = out / "learning" / "Pendulum-v1" / "preferences-4-ensemble.pessimism=0.0-1"
    settings = json.loads(RunDirectory(folder).config_path.read_text())["config"]
    assert (settings["ensemble"]["pessimism"], settings["seed"], settings["labels"]["answers"]) == (0.0, 1, 4)


@pytest.mark.parametrize("environment_id", [ENVIRONMENT, "rlhf/Writing-v1", "rlhf/Prose-v0", "CartPole-v1"])
def test_a_run_of_a_benchmark_has_the_settings_that_training_has_by_default(environment_id: str) -> None:
    usual = RunConfig.for_environment(EnvironmentRef(environment_id))
    config = configure(environment_id, "learned", 0)
    assert (config.ensemble, config.labels, config.fit) == (usual.ensemble, usual.labels, usual.fit)
    assert config.learner_settings == usual.learner_settings and config.run.kl_coef == usual.run.kl_coef
