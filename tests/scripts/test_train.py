"""The command that trains: how it stops, and what it says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from agents.config import RunConfig, read_config
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.runs import RunDirectory
from tests.sb3 import environments
from tests.scripts.settings import DRIVING, RECOMMENDER, TINY, WALK
from tests.trainer import ROOT, Trainer

environments.register()


def test_a_reward_that_is_no_number_stops_a_run_that_can_go_on(trainer: Trainer, tmp_path: Path) -> None:
    run, said = tmp_path / "run", tmp_path / "said.txt"
    arguments = {"broken_at": 40, "mended": str(tmp_path / "mended")}
    broken = [*WALK, "--env-kwargs", json.dumps(arguments), "--checkpoint-seconds", "0"]
    assert trainer.run(["--run-dir", str(run), *broken], said) == 2
    last = said.read_text().splitlines()[-1]
    assert last.startswith("Error: tests.sb3.environments:test/Walk-v0 paid a reward of nan; rewards must be finite")
    assert "(in step() of copy 0, step 40). Mend that, and go on with " in last
    assert "Traceback" not in said.read_text()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000000064", "000000000128"]
    (tmp_path / "mended").touch()
    assert trainer.run(["--run-dir", str(run), "--resume"], said) == 0, said.read_text()
    assert "its copies begin new episodes" in " ".join(said.read_text().split())
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["comparisons"], metrics["answers"]) == (6, 8)


def test_how_early_ends_are_held_is_said_once_where_there_are_some(trainer: Trainer, tmp_path: Path) -> None:
    """A pole that falls ends an episode early, a pendulum swings to the horizon."""
    for env, expected in (("CartPole-v1", 1), ("Pendulum-v1", 0)):
        said = tmp_path / f"{env}.txt"
        arguments = ["--run-dir", str(tmp_path / env), "--env", env, *TINY, "--reward", "true"]
        assert trainer.run(arguments, said, report=False) == 0, said.read_text()
        text = " ".join(said.read_text().split())
        assert text.count("Episodes end when the environment ends them") == text.count("--on-termination") == expected


def test_metrics_and_configuration_are_strict_json(finished: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    metrics = json.loads((finished / "metrics.json").read_text(), parse_constant=refuse)
    config = json.loads((finished / "config.json").read_text(), parse_constant=refuse)
    assert config["config"]["teacher"]["beta"] == "inf"
    assert read_config(RunDirectory(finished)).teacher.beta == float("inf")
    for name in ("env", "seed", "timesteps", "comparisons", "true_return_mean", "true_return_std", "test_accuracy"):
        assert name in metrics
    assert metrics["own_proxy_return_mean"] != metrics["proxy_return_mean"]


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = RunConfig(EnvironmentRef("CartPole-v1", {"sutton_barto_reward": True}))
    directory = RunDirectory(tmp_path / "run")
    directory.create(config.to_json())
    assert read_config(directory) == config
    with pytest.raises(ValueError, match="must be plain JSON"):
        RunConfig(EnvironmentRef("CartPole-v1", {"endless": float("inf")}))


def test_a_log_file_is_not_flooded_with_progress(trainer: Trainer, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    assert trainer.run(["--run-dir", str(tmp_path / "run"), *DRIVING, "--timesteps", "2048"], said) == 0
    lines = said.read_text().splitlines()
    assert len(lines) <= 6
    assert "\x1b" not in said.read_text()


def test_kinds_of_feedback_and_their_settings_are_flags(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, said = tmp_path / "run", tmp_path / "said.txt"
    kinds = ["--kinds", "ranking", "0.3", "rating", "0.2", "--kind-settings", "ranking.size=3", "rating.gamma=0.5"]
    assert trainer.run(["--run-dir", str(run), *DRIVING, *kinds], said, report=False) == 0, said.read_text()
    labels = read_config(RunDirectory(run)).labels
    assert labels.kinds == {"ranking": 0.3, "rating": 0.2}
    assert labels.kind_settings == ("ranking.size=3", "rating.gamma=0.5")
    with PreferenceStore.open(run / "feedback.db") as store:
        asked = store.queries(purpose=Purpose.TRAIN)
    assert Counter(query.kind for query in asked) == {"comparison": 3, "ranking": 2, "rating": 1}
    assert {len(query.segments) for query in asked if query.kind == "ranking"} == {3}
    assert trainer.run(["--run-dir", str(run), "--resume", "--kinds", "rating", "0.2"], said) == 2
    assert "was started with kinds = {'ranking': 0.3, 'rating': 0.2}, not {'rating': 0.2}" in said.read_text()


def test_a_run_that_was_too_short_for_its_budget_says_so(trainer: Trainer, finished: Path, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    short = ["--run-dir", str(tmp_path / "run"), *DRIVING, "--timesteps", "64"]
    assert trainer.run(short, said, report=False) == 0, said.read_text()
    assert "Only 1 of 8 answers were asked for" in " ".join(said.read_text().split())
    assert "were asked for" not in (finished.parent / "said.txt").read_text()


def wait_for_rows(run: Path, rows: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if (run / "progress.csv").exists() and len((run / "progress.csv").read_text().splitlines()) > rows:
            return
        time.sleep(0.02)
    raise AssertionError("the run did not get going")


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_says_how_to_resume_it_and_can_be(trainer: Trainer, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    command = [sys.executable, "-m", "scripts.train", "--run-dir", str(run), *RECOMMENDER, "--timesteps", "100000"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for_rows(run, 2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 130
    assert f"python -m scripts.train --run-dir '{run}' --resume" in said
    assert "Traceback" not in said
    rows = (run / "progress.csv").read_text().splitlines()
    assert max((run / "checkpoints").iterdir()).name == f"{int(rows[-1].split(',')[0]):012d}"
    child = trainer.start(["--run-dir", str(run), "--resume"], tmp_path / "said.txt")
    wait_for_rows(run, len(rows) + 1)
    os.kill(child, signal.SIGKILL)
    assert trainer.finish() == -signal.SIGKILL
    assert (run / "progress.csv").read_text().splitlines()[: len(rows)] == rows


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(trainer: Trainer, tmp_path: Path) -> None:
    run, said = tmp_path / "run", tmp_path / "said.txt"
    # A single rollout that would take minutes.
    long = ["--timesteps", "4000000", "--learner.n-steps", "1000000"]
    child = trainer.start(["--run-dir", str(run), *DRIVING, *long], said)
    deadline = time.monotonic() + 240
    while not (run / "checkpoints" / "000000000000").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child, signal.SIGINT)
    time.sleep(0.5)
    assert os.path.exists(f"/proc/{child}") or sys.platform != "linux"
    os.kill(child, signal.SIGINT)
    assert trainer.finish() == 130
    assert "To go on: python -m scripts.train" in said.read_text()


@pytest.mark.slow
def test_a_disk_that_fills_loses_nothing(trainer: Trainer, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=1200k full {disk} && {{ {sys.executable} -m scripts.train --run-dir {disk}/run "
        f"{' '.join(RECOMMENDER[:2])} {' '.join(TINY)} --timesteps 200000 --answers 2000 --checkpoint-seconds 0.1; "
        f"echo status $?; cp -r {disk}/run {tmp_path}/saved; }}"
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=900)
    if "status" not in done.stdout:
        pytest.skip("a small disk cannot be made here: " + done.stderr.strip())
    assert "status 2" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    assert "free some space" in done.stderr.splitlines()[-1]
    assert done.stderr.count("Error:") == 1
    with PreferenceStore.open(tmp_path / "saved" / "feedback.db") as store:
        known = len(store.live_answers())
    child = trainer.start(["--run-dir", str(tmp_path / "saved"), "--resume"], tmp_path / "said.txt")
    rows = len((tmp_path / "saved" / "progress.csv").read_text().splitlines())
    wait_for_rows(tmp_path / "saved", rows)
    os.kill(child, signal.SIGKILL)
    assert trainer.finish() == -signal.SIGKILL
    with PreferenceStore.open(tmp_path / "saved" / "feedback.db") as store:
        assert len(store.live_answers()) >= known > 0
