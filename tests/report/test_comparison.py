"""Runs side by side: repetitions are one line with an interval, and what tells settings apart is named."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.config import RunConfig
from rlhf_envs.cli import report as command
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.report.comparison import compare_runs, comparison_tables, write_comparison
from rlhf_envs.runs import PROGRESS_COLUMNS, RunDirectory, read_json, write_json

DRIVING = EnvironmentRef("rlhf/Driving-v1")
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(true_return: float, seed: int, answers: int = 100, **changes: Any) -> Path:
        config = RunConfig(DRIVING, seed=seed, labels=FeedbackConfig(answers=answers, segment_length=8))
        config = replace(config, **changes)
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        directory = RunDirectory(folder)
        directory.create(config.to_json())
        metrics = {"reward": config.reward, "seed": seed, "true_return_mean": true_return, "answers": answers}
        metrics |= {"random_return_mean": 0.0, "idle_return_mean": 50.0, "expert_return_mean": 150.0}
        metrics |= {"wall_seconds": 100.0, "wait_seconds": 40.0, "test_accuracy": 0.9, "proxy_return_mean": None}
        write_json(directory.metrics_path, metrics)
        with directory.progress_path.open("w", newline="") as file:
            writer = csv.DictWriter(file, PROGRESS_COLUMNS)
            writer.writeheader()
            for steps in (1000, 2000):
                writer.writerow({"timesteps": steps, "true_return_mean": true_return * steps / 2000})
        return folder

    return make


def test_repetitions_are_one_group_with_an_interval_over_its_seeds(make_run: MakeRun) -> None:
    few = [make_run(value, seed, answers=20) for seed, value in enumerate((90.0, 100.0, 110.0))]
    many = [make_run(value, seed, answers=200) for seed, value in enumerate((120.0, 125.0, 130.0, 135.0))]
    groups = compare_runs([*few, *many])
    assert [group.name for group in groups] == ["labels.answers=20", "labels.answers=200"]
    assert [group.returns for group in groups] == [[90.0, 100.0, 110.0], [120.0, 125.0, 130.0, 135.0]]
    first, second = (group.true_return for group in groups)
    assert first.value == 100.0 and first.low is not None and 90 <= first.low < 100 < (first.high or 0) <= 110
    assert second.value == 127.5
    scores = groups[0].estimate("normalised")
    assert scores is not None and scores.value == pytest.approx(0.5)  # between 50, the best idle action, and 150
    assert groups[1].values("computing_seconds") == [60.0] * 4
    assert groups[0].gain is None
    gain = groups[1].gain
    assert gain is not None
    change, chance, seeds = gain
    assert (seeds, change.value, chance.value) == (3, 25.0, 1.0)


def test_runs_on_the_true_reward_are_what_a_score_of_one_is(make_run: MakeRun) -> None:
    learned = [make_run(100.0, 0), make_run(100.0, 1)]
    true = [make_run(200.0, seed, reward="true") for seed in (0, 1)]
    groups = compare_runs([*learned, *true])
    assert [group.name for group in groups] == ["reward=learned", "reward=true"]
    assert groups[0].scale is not None and groups[0].scale.one_policy == "true"
    assert groups[0].values("normalised") == pytest.approx([1 / 3] * 2)


def test_one_seed_has_no_interval_and_other_environments_stand_apart(make_run: MakeRun) -> None:
    cartpole = make_run(10.0, 0, environment=EnvironmentRef("CartPole-v1"))
    groups = compare_runs([make_run(100.0, 0), cartpole])
    assert [group.environment_id for group in groups] == ["rlhf/Driving-v1", "CartPole-v1"]
    assert all(group.true_return.low is None and group.first is None for group in groups)
    assert [table.title for table in comparison_tables(groups)] == ["rlhf/Driving-v1", "CartPole-v1"]


def test_how_a_run_was_carried_out_tells_no_settings_apart(make_run: MakeRun) -> None:
    first = make_run(1.0, 0)
    config = RunConfig(DRIVING)
    second = make_run(2.0, 1, run=replace(config.run, threads=4, checkpoint_seconds=1.0))
    assert len(compare_runs([first, second])) == 1


def test_what_cannot_be_compared_is_refused_in_one_sentence(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, again, unmeasured = make_run(1.0, 0), make_run(1.0, 0), make_run(1.0, 1)
    write_json(unmeasured / "metrics.json", read_json(unmeasured / "metrics.json") | {"true_return_mean": None})
    for words, said in (
        ([one], "at least 2 finished runs"),
        ([one, again], "repeats a run with the same settings and seed"),
        ([one, unmeasured], "no true return to compare"),
        ([one, tmp_path / "nothing"], "holds no run"),
    ):
        with pytest.raises(SystemExit):
            command.main(["compare", *map(str, words), "--out", str(tmp_path / "out")])
        error = capsys.readouterr().err
        assert said in error and error.startswith("Error: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_prints_80_columns_and_writes_page_and_figures(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    runs = [make_run(100.0 + seed + answers, seed, answers=answers) for seed in range(3) for answers in (20, 200)]
    assert command.main(["compare", *map(str, runs), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines()[:-1])) <= 80
    assert "labels.answers=20" in " ".join(said.split()) and "121 (120 to 122)" in said and "+180 " in said
    figures = read_json(tmp_path / "out" / "comparison.json")["groups"]
    assert figures[1]["gain"]["true_return"]["value"] == pytest.approx(180.0)
    rows = list(csv.DictReader((tmp_path / "out" / "comparison.csv").read_text().splitlines()))
    assert sorted(float(row["true_return"]) for row in rows) == sorted(
        100.0 + seed + answers for seed in range(3) for answers in (20, 200)
    )
    assert np.isclose(float(rows[0]["score"]), (float(rows[0]["true_return"]) - 50) / 100)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_on_the_page(make_run: MakeRun, tmp_path: Path, browser: Any, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    groups = compare_runs([make_run(100.0 + answers, seed, answers=answers) for seed in (0, 1) for answers in (20, 99)])
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(write_comparison(groups, tmp_path / "out").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert not axe.Axe().run(page).response["violations"]
    assert page.locator("svg").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
