"""The benchmark command: what it runs, what it keeps, and that it goes on where it was stopped. No speed is judged."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from agents import config, train
from agents.callbacks import RunInterrupted
from agents.config import read_config
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.runs import RunDirectory
from scripts import benchmark
from scripts.benchmarks import copies, figure, learning, markdown_table, mean_and_spread, runs, write_between_markers

ENVIRONMENT = "rlhf/Recommender-v1"
LEARNING = ["learning", "--env", ENVIRONMENT, "--timesteps", "256", "--answers", "4", "--seeds", "2"]
RUNS = {f"{kind}-{seed}" for kind in ("true", "proxy", "preferences-4") for seed in (0, 1)}


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Small rollouts, and no report, which takes longer than such a run."""
    preset = PPOConfig(num_envs=4, n_steps=32, batch_size=128, n_epochs=1)
    patch.setattr(config, "settings_for", lambda environment, learner, source: preset)
    patch.setattr(train, "write_report", lambda directory: None)


@pytest.fixture(autouse=True)
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


@pytest.fixture
def documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the page that the tables go into."""
    copy = tmp_path / "benchmarks.md"
    shutil.copy(benchmark.DOCUMENTATION, copy)
    monkeypatch.setattr(benchmark, "DOCUMENTATION", copy)
    return copy


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished learning benchmark."""
    out = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        assert benchmark.main([*LEARNING, "--evaluation-episodes", "3", "--out", str(out)]) == 0
    return out


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def results(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / benchmark.RESULTS).read_text())
    return content


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(list(arguments))
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_every_kind_of_reward_is_trained_on_with_every_seed(learned: Path) -> None:
    section = results(learned)["learning"]
    assert {Path(run["folder"]).name for run in section["runs"]} == RUNS
    for run in section["runs"]:
        assert run["metrics"] == RunDirectory(learned / run["folder"]).read_metrics()
        assert run["metrics"]["seed"] == run["seed"]
        assert run["metrics"]["timesteps"] == 256
        asked = 4 if run["reward"] == "learned" else 0
        assert run["metrics"]["comparisons"] == run["metrics"]["answers"] == run["answers"] == asked
    assert section["command"].startswith("python -m scripts.benchmark learning --env")
    assert section["versions"]["torch"]


def test_a_finished_benchmark_is_not_done_again(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = copied(learned, tmp_path / "out")

    def train(*arguments: object, **switches: bool) -> None:
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(runs, "train", train)
    assert benchmark.main([*LEARNING, "--evaluation-episodes", "3", "--out", str(out)]) == 0
    assert results(out)["learning"]["runs"] == results(learned)["learning"]["runs"]


def test_an_interrupted_benchmark_goes_on_with_the_run_that_was_not_finished(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(learned, tmp_path / "out")
    directory = RunDirectory(out / "learning" / "rlhf-Recommender-v1" / "preferences-4-1")
    directory.metrics_path.unlink()
    before = results(out)
    real, resumed = runs.train, []

    def interrupted(*arguments: object, **named: object) -> None:
        raise RunInterrupted

    def noted(*run: Any, resume: bool = False, **switches: bool) -> dict[str, Any]:
        resumed.append(resume)
        return real(*run, resume=resume, **switches)

    monkeypatch.setattr(runs, "train", interrupted)
    assert benchmark.main([*LEARNING, "--evaluation-episodes", "3", "--out", str(out)]) == 130
    assert f"--out {out} continues" in capsys.readouterr().err
    assert results(out) == before
    monkeypatch.setattr(runs, "train", noted)
    assert benchmark.main([*LEARNING, "--evaluation-episodes", "3", "--out", str(out)]) == 0
    assert resumed == [True]
    kept = before["learning"]["runs"][-1]["metrics"]["true_return_mean"]
    assert directory.read_metrics()["true_return_mean"] == kept


def test_a_folder_of_other_runs_is_refused_before_anything_is_trained(
    learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(learned, tmp_path / "out")
    said = refused(capsys, *LEARNING, "--evaluation-episodes", "5", "--out", str(out))
    assert "holds a run with other settings; choose another --out" in said
    assert results(out) == results(learned)


@pytest.mark.slow
def test_two_jobs_do_what_one_does(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = copied(learned, tmp_path / "out")
    for name in ("true-0", "true-1"):
        RunDirectory(out / "learning" / "rlhf-Recommender-v1" / name).metrics_path.unlink()
    assert benchmark.main([*LEARNING, "--evaluation-episodes", "3", "--jobs", "2", "--out", str(out)]) == 0
    one, two = (
        [run["metrics"]["true_return_mean"] for run in results(folder)["learning"]["runs"]] for folder in (learned, out)
    )
    assert one == two


def test_policies_are_evaluated_on_a_variant_with_and_without_questions_about_it(
    learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(learned, tmp_path / "out")
    arguments = [*LEARNING, "--evaluation-episodes", "3", "--out", str(out)]
    assert benchmark.main(["variants", *arguments[1:]]) == 0
    [row] = results(out)["variants"]["rows"]
    assert (row["env"], row["changed"]) == (ENVIRONMENT, {"tiring": 2.0})
    assert len(row["true"]) == len(row["learned"]) == len(row["asked about the variant"]) == 2
    shown = capsys.readouterr()
    assert f"| `{ENVIRONMENT}` | `tiring=2.0` |" in shown.out
    # Those of the learning benchmark are used as they are.
    assert "6 runs, of which 4 have finished before" in shown.err
    asked = read_config(RunDirectory(next((out / "learning").glob("*/*variant*-0"))))
    assert asked.labels.variant == ({"tiring": 2.0},)
    assert "There is no variant of 'CartPole-v1'" in refused(capsys, "variants", "--env", "CartPole-v1")
    assert "one budget of answers" in refused(capsys, "variants", "--answers", "4", "8")


def test_the_table_of_a_benchmark_stands_between_its_markers(
    learned: Path, tmp_path: Path, documentation: Path
) -> None:
    before = documentation.read_text()
    out = copied(learned, tmp_path / "out")
    benchmark.main([*LEARNING, "--evaluation-episodes", "3", "--out", str(out), "--write-docs"])
    after = documentation.read_text()
    table = after.partition("<!-- learning -->\n")[2].partition("<!-- /learning -->")[0]
    assert f"| `{ENVIRONMENT}`, 256 steps | 4 |" in table
    assert "learning --env rlhf/Recommender-v1" in table
    for name in ("overhead", "environments", "inference"):
        section = f"<!-- {name} -->"
        assert after.partition(section)[2] == before.partition(section)[2]


def test_a_page_without_a_place_for_the_table_is_refused_before_anything_is_measured(
    tmp_path: Path, documentation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documentation.write_text("nothing")
    assert "needs a line <!-- inference -->" in refused(
        capsys, "inference", "--write-docs", "--out", str(tmp_path / "out")
    )
    assert not (tmp_path / "out").exists()


def made_up(reward: str, seed: int, true_return: float, answers: int = 0) -> dict[str, Any]:
    metrics = {
        "true_return_mean": true_return,
        "random_return_mean": 10.0,
        "idle_return_mean": 14.0,
        "expert_return_mean": 40.0,
        "wall_seconds": 5.0,
        "test_accuracy": 0.9,
        "reward_correlation": 0.5,
    }
    run = {"env": "E", "timesteps": 1000, "reward": reward, "seed": seed, "answers": answers}
    return {**run, "folder": f"{reward}-{seed}", "metrics": metrics}


def test_scores_run_from_the_best_that_takes_no_learning_to_ppo_on_the_true_reward() -> None:
    on_true = [made_up("true", 0, 20.0), made_up("true", 1, 40.0)]
    on_preferences = [made_up("learned", 0, 20.0, 240), made_up("learned", 1, 30.0, 240)]
    on_proxy = [made_up("proxy", seed, 0.0) for seed in (0, 1)]
    table = learning.Learning.table({"runs": [*on_true, *on_preferences, *on_proxy]})
    row = next(line for line in table.splitlines() if line.startswith("| `E`"))
    # The best constant action earns 14, PPO on the true reward 30.
    assert row.split(" | ")[1:] == [
        "240", "10.0", "14.0", "0.00", "40.0", "30.0 ± 10.0", "25.0 ± 5.00", "0.69 (0.38 to 1.00) |",
    ]  # fmt: skip
    assert "The score of all runs on preferences: 0.69 (0.38 to 1.00)." in table


def test_where_the_proxy_is_the_best_without_learning_it_is_the_zero() -> None:
    runs = [made_up("true", 0, 30.0), made_up("proxy", 0, 18.0), made_up("learned", 0, 24.0, 5)]
    assert "| 24.0 | 0.50 |" in learning.Learning.table({"runs": runs})
    hopeless = [made_up("true", 0, 14.0), made_up("learned", 0, 24.0, 5)]
    assert "| 24.0 | – |" in learning.Learning.table({"runs": hopeless})


def test_environments_of_other_packages_have_scores_on_the_same_scale() -> None:
    runs = [
        made_up("true", 0, 30.0),
        made_up("true", 1, 38.0),
        *(made_up("learned", seed, 24.0, 200) for seed in (0, 1)),
    ]
    for run in runs:
        run["config"] = {"learner": "ppo", "feedback": "oracle"}
    table = learning.ThirdParty.table({"runs": runs})
    assert "| 34.0 (30.0 to 38.0) | 24.0 (24.0 to 24.0) | 0.50 (0.50 to 0.50) |" in table
    assert "The score of all runs on preferences: 0.50 (0.50 to 0.50)." in table


def test_a_third_party_environment_has_no_proxy_and_no_expert() -> None:
    plan = learning.Learning(env=("Pendulum-v1",), seeds=1).plan(Path())
    assert [run.path.as_posix() for run in plan] == [
        f"Pendulum-v1/{kind}-0" for kind in ("true", "preferences-60", "preferences-120")
    ]


def test_overhead_times_pairs_that_leave_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["--env", ENVIRONMENT, "--timesteps", "256", "--answers", "4", "--repeats", "2", "--out", str(out)]
    assert benchmark.main(["overhead", *arguments]) == 0
    pairs = results(out)["overhead"]["pairs"]
    assert [pair["seed"] for pair in pairs] == [0, 1]
    for pair in pairs:
        assert pair["true"]["reward_fit_seconds"] == 0 < pair["preferences"]["reward_fit_seconds"]
        for kind in ("true", "preferences"):
            assert 0 < pair[kind]["reward_inference_seconds"] < pair[kind]["wall_seconds"]
    assert [path.name for path in out.iterdir()] == [benchmark.RESULTS]
    assert f"| `{ENVIRONMENT}`, 256 steps |" in capsys.readouterr().out


def test_every_environment_is_timed_beside_gymnasiums_cartpole(tmp_path: Path) -> None:
    arguments = ["--widths", "2", "3", "--repeats", "2", "--seconds", "0.001", "--frames", "2", "--out", str(tmp_path)]
    assert benchmark.main(["environments", "--env", ENVIRONMENT, *arguments]) == 0
    section = results(tmp_path)["environments"]
    both = [ENVIRONMENT, "CartPole-v1"]
    assert [(each["env"], each["copies"]) for each in section["stepping"]] == [(id, n) for n in (2, 3) for id in both]
    assert [each["env"] for each in section["drawing"]] == both
    for each in section["drawing"]:
        # A frame with its step takes longer than the frame alone.
        assert all(slow < fast for fast, slow in zip(each["rates"], each["rates_with_step"], strict=True))
        assert len(each["rates"]) == 2


@pytest.mark.slow
def test_copies_are_timed_in_one_process_and_in_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--copies", "1", "2", "--burn", "1", "--repeats", "1", "--seconds", "0.01", "--out", str(tmp_path)]
    assert benchmark.main(["copies", "--env", "CartPole-v1", *arguments]) == 0
    section = results(tmp_path)["copies"]
    assert [(each["env"], each["copies"]) for each in section["measured"]] == [
        (env, count) for env in ("`CartPole-v1`", "`CartPole-v1` and 1 ms more") for count in (1, 2)
    ]
    assert all(min(rates) > 0 for each in section["measured"] for rates in each["rates"].values())
    assert "64 copies, 64 cores" in capsys.readouterr().out


def test_the_model_of_more_cores_is_what_was_measured_on_few() -> None:
    steps, fixed, message, cores = {"fast": 1e-4, "slow": 5e-3}, 2e-4, 5e-5, 2

    def seconds(env: str, count: int, cores: int) -> float:
        return fixed + message * count + math.ceil(count / cores) * steps[env]

    best = {
        (env, count): {copies.ONE: 1 / steps[env], copies.OURS: count / seconds(env, count, cores)}
        for env in steps
        for count in (1, 2, 4, 8)
    }
    model = copies.Model.fitted(best, cores)
    assert (model.fixed, model.message) == pytest.approx((fixed, message))
    assert model.seconds("slow", 64, 64) == pytest.approx(seconds("slow", 64, 64))


def test_sections_of_other_benchmarks_are_kept(tmp_path: Path) -> None:
    (tmp_path / benchmark.RESULTS).write_text('{"learning": {"kept": true}}')
    assert benchmark.main(["inference", "--env", ENVIRONMENT, "--rollouts", "2", "--out", str(tmp_path)]) == 0
    found = results(tmp_path)
    assert found["learning"] == {"kept": True}
    seconds = found["inference"]["environments"][0]["seconds"]
    assert {name: len(values) for name, values in seconds.items()} == {"collecting": 2, "whole": 2, "step_by_step": 2}


def test_bad_input_is_refused_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "Did you mean rlhf/Driving-v1" in refused(capsys, "learning", "--env", "rlhf/Drivng-v0", *out)
    assert "is not one of the suite" in refused(capsys, "environments", "--env", "Pendulum-v1", *out)
    assert "answers must be at least 1" in refused(capsys, "overhead", "--answers", "0", *out)
    assert "must be at least 1" in refused(capsys, "learning", "--seeds", "0", *out)
    assert not (tmp_path / "out").exists()


def test_the_page_of_figures_has_a_place_for_every_table(tmp_path: Path) -> None:
    page = benchmark.DOCUMENTATION.read_text()
    for part in fields(benchmark.All):
        assert page.count(f"<!-- {part.name} -->") == page.count(f"<!-- /{part.name} -->") == 1
    (tmp_path / "page.md").write_text("<!-- a -->\nold\n<!-- /a -->\nrest\n")
    write_between_markers(tmp_path / "page.md", "a", "new")
    assert (tmp_path / "page.md").read_text() == "<!-- a -->\nnew\n<!-- /a -->\nrest\n"
    with pytest.raises(ValueError, match="needs a line <!-- b -->"):
        write_between_markers(tmp_path / "page.md", "b", "new")


def test_numbers_are_written_with_three_digits_and_their_spread() -> None:
    assert [figure(value) for value in (1234.5, -56.78, 0.123, None)] == ["1,234", "-56.8", "0.12", "–"]
    assert mean_and_spread([1.0, 3.0, None]) == "2.00 ± 1.00"
    assert mean_and_spread([2.0, 2.0]) == "2.00"
    assert mean_and_spread([None]) == "–"
    assert markdown_table([{"a": "x", "b": "1"}]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
