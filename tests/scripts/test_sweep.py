"""Sweeps: what they plan and gather, and that killed workers and machines change nothing in their table."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.config import read_config
from rlhf_envs.runs import RunDirectory
from scripts import sweep
from scripts.benchmarks import cluster

ROOT = Path(__file__).parents[2]
HORIZON = {"horizon": 20}
ENVIRONMENT = f"rlhf/Recommender-v1={json.dumps(HORIZON)}"
SMALL = [
    *("learner_settings.num_envs=4", "learner_settings.n_steps=32", "learner_settings.batch_size=128"),
    *("learner_settings.n_epochs=1", "ensemble.hidden=[8]", "fit.steps=10", "run.checkpoint_seconds=0"),
]
GRID = [
    "--env",
    ENVIRONMENT,
    "--answers",
    "8",
    "--seeds",
    "2",
    "--evaluation-episodes",
    "2",
    "--no-baselines",
    "--set",
    *SMALL,
]
LONG = ["--timesteps", "6400"]
PLACE = Path("runs", "rlhf-Recommender-v1-horizon=20")


def table(out: Path) -> str:
    """The table of a sweep, without the command that made it."""
    return (out / sweep.TABLE).read_text().rpartition("\n\n")[0]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / sweep.ROWS).open(newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        sweep.main(list(arguments))
    assert stopped.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which has ended when the context does.

    It knows the token of a cluster whose address it has; on this machine alone, it is to protect Ray by itself.
    """
    command = [sys.executable, "-m", "scripts.sweep", *arguments]
    settings = {name: value for name, value in os.environ.items() if "--address" in arguments or name[:4] != "RAY_"}
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=settings)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def until(holds: Any, process: subprocess.Popen[str]) -> None:
    while not holds():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that nothing happened to, done in this process."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert sweep.main([*GRID, *LONG, "--jobs", "1", "--out", str(out)]) == 0
    return out


def test_a_grid_has_every_combination_and_its_baselines(tmp_path: Path) -> None:
    arguments = sweep.Arguments(
        env=(ENVIRONMENT, "CartPole-v1"),
        learner=("ppo", "a2c"),
        answers=(4, 8),
        seeds=2,
        out=tmp_path,
        set=("fit.steps=7",),
    )
    runs = list(arguments.plan())
    assert len({run.path for run in runs}) == len(runs) == 2 * 2 * ((2 + 2) + (1 + 2))
    first = [run.path.relative_to(tmp_path).as_posix() for run in runs[:4]]
    assert first == [(PLACE / f"ppo-{kind}-0").as_posix() for kind in ("true", "proxy", "4", "8")]
    assert {run.config.fit.steps for run in runs} == {7}
    assert {dict(run.config.required_environment.kwargs).get("horizon") for run in runs} == {20, None}
    learned = [run.config for run in runs if run.config.reward == "learned"]
    assert {(config.learner, config.labels.answers) for config in learned} == {
        (learner, answers) for learner in ("ppo", "a2c") for answers in (4, 8)
    }


def test_runs_that_share_a_database_have_a_schema_each(tmp_path: Path) -> None:
    arguments = sweep.Arguments(
        env=("rlhf/Driving-v1",), answers=(4,), seeds=2, store="postgresql://there/labels", out=tmp_path / "mine"
    )
    stores = [run.config.store for run in arguments.plan() if run.config.reward == "learned"]
    assert stores == [f"postgresql://there/labels?schema=run_mine_rlhf_driving_v1_ppo_4_{seed}" for seed in (0, 1)]
    assert {run.config.store for run in arguments.plan() if run.config.reward != "learned"} == {None}
    long = replace(arguments, out=tmp_path / ("long" * 20))
    schemas = {run.config.store.partition("=")[2] for run in long.plan() if run.config.store}
    assert {len(schema) for schema in schemas} == {63} and len(schemas) == 2


def test_bad_input_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--jobs", "1", "--out", str(tmp_path / "out")]
    assert "Did you mean rlhf/Driving-v1" in refused(capsys, "--env", "rlhf/Drivng-v0", *out)
    assert "must be an object, not [1]" in refused(capsys, "--env", "rlhf/Driving-v1=[1]", *out)
    assert "are a JSON object, as in" in refused(capsys, "--env", "rlhf/Driving-v1=1,", *out)
    assert "There is no setting fit.stepz" in refused(capsys, "--env", ENVIRONMENT, "--set", "fit.stepz.a=1", *out)
    assert "seeds must be at least 1" in refused(capsys, "--env", ENVIRONMENT, "--seeds", "0", *out)
    assert "--feedback elsewhere and --store URL" in refused(
        capsys, "--env", ENVIRONMENT, "--feedback", "elsewhere", *out
    )
    assert "sac needs actions in a Box space" in refused(capsys, "--env", ENVIRONMENT, "--learner", "sac", *out)
    assert "No Ray cluster can be reached" in refused(capsys, *GRID, *out, "--address", "127.0.0.1:9")
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert "pip install 'rlhf-envs[cluster]'; --jobs 1 does without" in refused(capsys, *GRID, "--jobs", "2", *out[2:])
    assert not (tmp_path / "out" / "sweep.md").exists()


def test_a_run_that_fails_does_not_keep_others_from_being_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish = cluster.TrainingRun.finish

    def fail_first(run: cluster.TrainingRun) -> dict[str, Any]:
        if run.config.seed == 0:
            raise ValueError("the first one fails.")
        return finish(run)

    monkeypatch.setattr(cluster.TrainingRun, "finish", fail_first)
    arguments = [*GRID, "--timesteps", "256", "--jobs", "1", "--out", str(tmp_path)]
    assert sweep.main(arguments) == 1
    said = capsys.readouterr()
    assert f"{(PLACE / 'ppo-8-0').as_posix()} failed: the first one fails." in said.out
    assert "1 of 2 runs have finished." in said.out
    assert [row["seed"] for row in rows(tmp_path)] == ["1"]
    monkeypatch.undo()
    assert sweep.main(arguments) == 0
    assert [row["seed"] for row in rows(tmp_path)] == ["0", "1"]


def test_everything_is_gathered_into_one_table(undisturbed: Path) -> None:
    assert '| `rlhf/Recommender-v1={"horizon": 20}`, 6,400 steps | ppo | 8 answers | 2 |' in table(undisturbed)
    content = json.loads((undisturbed / sweep.RESULTS).read_text())
    assert content["failed"] == [] and content["command"].startswith("python -m scripts.sweep --env")
    for run, row in zip(content["runs"], rows(undisturbed), strict=True):
        directory = RunDirectory(undisturbed / run["folder"])
        assert run["metrics"] == directory.read_metrics()
        assert run["config"] == read_config(directory).to_json()
        assert float(row["true_return_mean"]) == run["metrics"]["true_return_mean"]
        assert (row["learner"], row["answers"], row["attempts"]) == ("ppo", "8", "1")


@pytest.fixture
def two_machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of two nodes with room for one run each, on this machine."""
    # The names of sockets must be short.
    folder = tempfile.mkdtemp(prefix="ray-")
    (Path(folder) / "ray").mkdir()
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        # Where a machine is busy, the processes of a node may take longer to start than Ray waits.
        for left in reversed(range(3)):
            try:
                soon = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000}
                nodes.add_node(**cluster.node_settings(1), _system_config=soon)
                nodes.add_node(**cluster.node_settings(1))
                break
            except Exception:
                if not left:
                    raise
                nodes.shutdown()
                nodes = Cluster()
        yield nodes
    finally:
        nodes.shutdown()
        shutil.rmtree(folder)


def workers_of(node: Any) -> list[int]:
    """The processes of a node that train."""
    [raylet] = node.all_processes["raylet"]
    children = Path(f"/proc/{raylet.process.pid}/task/{raylet.process.pid}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::_train")]


@pytest.mark.slow
def test_killed_workers_and_machines_change_nothing_in_the_table(
    undisturbed: Path, two_machines: Any, tmp_path: Path
) -> None:
    directories = [RunDirectory(tmp_path / PLACE / f"ppo-8-{seed}") for seed in (0, 1)]
    head, other = two_machines.head_node, two_machines.worker_nodes.copy().pop()
    with started(*GRID, *LONG, "--address", two_machines.address, "--out", str(tmp_path)) as command:
        until(lambda: all(directory.trained_timesteps > 0 for directory in directories), command)
        [worker], [cut_off] = workers_of(head), workers_of(other)
        os.kill(worker, signal.SIGKILL)
        two_machines.remove_node(other, allow_graceful=False)
        said = command.communicate(timeout=300)[1]
        assert command.returncode == 0, said
    deaths = re.findall(r"ppo-8-(\d): its worker died \((\w+)\); another worker goes on from ([\d,]+) steps", said)
    assert {seed for seed, _, _ in deaths} == {"0", "1"}
    assert all(int(steps.replace(",", "")) > 0 for _, _, steps in deaths)
    assert not Path(f"/proc/{cut_off}").exists()
    assert table(tmp_path) == table(undisturbed)
    assert [int(row["attempts"]) for row in rows(tmp_path)] == [2, 2]


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on_where_it_was(undisturbed: Path, tmp_path: Path) -> None:
    directories = [RunDirectory(tmp_path / PLACE / f"ppo-8-{seed}") for seed in (0, 1)]
    with started(*GRID, *LONG, "--jobs", "2", "--out", str(tmp_path)) as command:
        until(lambda: all(directory.trained_timesteps > 0 for directory in directories), command)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=120)[1]
        assert command.returncode == 130, said
    assert f"The same command with --out {tmp_path} continues." in said
    stopped_at = [directory.trained_timesteps for directory in directories]
    assert not any(directory.metrics_path.exists() for directory in directories)
    assert sweep.main([*GRID, *LONG, "--jobs", "1", "--out", str(tmp_path)]) == 0
    assert min(stopped_at) > 0
    assert table(tmp_path) == table(undisturbed)
