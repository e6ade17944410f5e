"""Runs are shown in experiment trackers, without a network, through what each has for Stable-Baselines3."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agents import tracking
from agents.config import RunConfig, RunOptions
from agents.train import check_settings
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.runs import read_json
from scripts.train import main

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    *("--env", "rlhf/Driving-v1", "--env-kwargs", '{"horizon": 30}', "--timesteps", "1024", "--answers", "6"),
    *("--segment-length", "8", "--learner.num-envs", "8", "--learner.n-steps", "32", "--learner.batch-size", "256"),
    *("--learner.n-epochs", "1", "--evaluation-episodes", "2", "--tracker-project", "drivers"),
]
SHOWN = ("feedback/labels", "train/approx_kl", "rollout/true_return_mean", "final/true_return_mean")
"""Figures of the feedback loop, of the algorithm, of the run, and the last ones."""


def train(folder: Path, tracker: str) -> None:
    """Train in a process of its own: trackers start threads, and wandb changes TensorBoard's writers."""
    environment = {
        **os.environ,
        **{"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CACHE_DIR": str(folder / "cache")},
        **{"TRACKIO_DIR": str(folder / "trackio"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    }
    command = [sys.executable, "-m", "scripts.train", *FLAGS, "--run-dir", str(folder / "run"), "--tracker", tracker]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)


@pytest.mark.slow
def test_weights_and_biases_gets_curves_settings_and_final_figures(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    train(tmp_path, "wandb")
    [written] = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert written.stem == f"run-{read_json(tmp_path / 'run' / 'config.json')['run']['id']}"
    content = written.read_bytes()
    for name in (*SHOWN, "drivers", "learner_settings"):
        assert name.encode() in content, name


@pytest.mark.slow
def test_trackio_gets_curves_settings_and_final_figures(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    train(tmp_path, "trackio")
    connection = sqlite3.connect(tmp_path / "trackio" / "drivers.db")
    try:
        rows = [
            (step, json.loads(figures)) for step, figures in connection.execute("SELECT step, metrics FROM metrics")
        ]
        [config] = [json.loads(content) for (content,) in connection.execute("SELECT config FROM configs")]
    finally:
        connection.close()
    found = {name for _, figures in rows for name in figures}
    assert set(SHOWN) <= found
    assert config["environment"]["id"] == "rlhf/Driving-v1"
    metrics = read_json(tmp_path / "run" / "metrics.json")
    [last] = [figures for _, figures in rows if "final/true_return_mean" in figures]
    assert last["final/true_return_mean"] == pytest.approx(metrics["true_return_mean"])
    assert {step for step, figures in rows if "feedback/labels" in figures} <= set(range(0, 1025, 256))


def test_only_finite_numbers_are_shown() -> None:
    shown: dict[str, float] = {}
    found = tracking.Tracking(summarise=shown.update)
    found.finish({"a": 1, "b": 2.5, "c": None, "d": "text", "e": float("nan"), "f": True, "g": {"h": 1}})
    assert shown == {"final/a": 1, "final/b": 2.5}


def test_a_tracker_that_is_not_installed_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    config = RunConfig(EnvironmentRef("rlhf/Driving-v1"), run=RunOptions(tracker="trackio"))
    with pytest.raises(ValueError, match=r"pip install 'rlhf-envs\[trackio\]'"):
        check_settings(config)


def test_a_run_that_learns_a_reward_only_has_no_curves_to_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = ROOT / "docs" / "example_dataset"
    words = ["--offline", str(example), "--run-dir", str(tmp_path / "run"), "--tracker", "trackio"]
    with pytest.raises(SystemExit):
        main(words)
    assert "leave --tracker out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
