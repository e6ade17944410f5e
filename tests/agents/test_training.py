"""A whole training run: what it learns, and what it leaves."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from agents.config import RunConfig, RunOptions
from agents.presets import settings_for
from agents.train import train
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import EnsembleConfig, FitConfig, load
from rlhf_envs.runs import RunDirectory, read_progress

CARTPOLE = EnvironmentRef("CartPole-v1", horizon=200)
SMALL = PPOConfig(num_envs=4, n_steps=32, batch_size=64, n_epochs=1, net_arch=(8,))
TINY: dict[str, Any] = {
    "environment": EnvironmentRef("rlhf/Recommender-v1", {"horizon": 16}),
    "timesteps": 1024,
    "labels": FeedbackConfig(answers=12, held_out_share=1 / 3, segment_length=4),
    "ensemble": EnsembleConfig(members=2, hidden=(8,)),
    "fit": FitConfig(steps=10, epochs=1),
    "learner_settings": SMALL,
    "run": RunOptions(evaluation_episodes=4),
}


def trained(folder: Path, report: bool = False, **settings: Any) -> tuple[RunDirectory, dict[str, Any]]:
    directory, config = RunDirectory(folder / "run"), RunConfig(**{**TINY, **settings})
    directory.create(config.to_json())
    return directory, train(config, directory, Console(file=io.StringIO()), report=report)


def test_a_run_leaves_everything_that_is_needed_to_look_at_it_and_to_go_on(tmp_path: Path) -> None:
    directory, metrics = trained(tmp_path, report=True)
    left = {path.name for path in directory.path.iterdir()}
    assert left >= {
        *("config.json", "feedback.db", "reward_model.safetensors", "reward_model.json", "policy.zip"),
        *("checkpoints", "metrics.json", "progress.csv", "tensorboard", "report.html"),
    }
    assert not [name for name in left if name.endswith((".new", "-wal", "-shm"))]
    assert json.loads(directory.metrics_path.read_text()) == json.loads(json.dumps(metrics))
    assert metrics["timesteps"] == 1024 and metrics["comparisons"] == metrics["labels"] == 8
    assert metrics["answers"] == 12
    spent = [metrics[f"{name}_seconds"] for name in ("rollout", "reward_fit", "reward_inference")]
    assert all(seconds > 0 for seconds in spent) and sum(spent) < metrics["wall_seconds"]
    rows = read_progress(directory.progress_path)
    assert [int(row["timesteps"]) for row in rows] == list(range(128, 1025, 128))
    assert rows[-1]["labels"] == "8"
    assert load(directory.reward_model_path).config == TINY["ensemble"]
    assert any(directory.tensorboard_path.iterdir())
    with PreferenceStore.open(directory.store_path) as store:
        assert store.environment.id == "rlhf/Recommender-v1"


def test_the_same_seed_gives_the_same_run_and_another_one_another(tmp_path: Path) -> None:
    names = ("first", "second", "other")
    for name in names:
        (tmp_path / name).mkdir()
    runs = [trained(tmp_path / name, seed=int(name == "other"))[0] for name in names]
    models = [run.reward_model_path.read_bytes() for run in runs]
    assert models[0] == models[1] != models[2]


def test_the_fit_has_its_settings_from_the_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    brief, _ = trained(tmp_path / "one")
    longer, _ = trained(tmp_path / "two", fit=FitConfig(steps=60, epochs=1))
    assert brief.reward_model_path.read_bytes() != longer.reward_model_path.read_bytes()


def test_a_baseline_needs_no_answers_and_says_so(tmp_path: Path) -> None:
    directory, metrics = trained(tmp_path, reward="proxy")
    assert not directory.store_path.exists() and not directory.reward_model_path.exists()
    assert metrics["comparisons"] == metrics["answers"] == 0 and metrics["feedback"] is None


def test_training_ends_early_once_all_labels_are_in_and_nothing_improves(tmp_path: Path) -> None:
    directory, metrics = trained(tmp_path, run=RunOptions(patience=1, evaluation_episodes=4), timesteps=20_480)
    rows = read_progress(directory.progress_path)
    assert metrics["timesteps"] == int(rows[-1]["timesteps"]) < 20_480
    assert rows[-1]["labels"] == "8"
    assert float(rows[-1]["learned_return_mean"]) <= float(rows[-2]["learned_return_mean"])


def test_a_baseline_ends_early_as_well(tmp_path: Path) -> None:
    assert (
        trained(tmp_path, reward="true", run=RunOptions(patience=1, evaluation_episodes=4), timesteps=20_480)[1][
            "timesteps"
        ]
        < 20_480
    )


@pytest.mark.slow
def test_a_policy_that_learns_from_preferences_is_clearly_better_than_chance(tmp_path: Path) -> None:
    _, metrics = trained(
        tmp_path,
        environment=CARTPOLE,
        timesteps=36_864,
        labels=FeedbackConfig(answers=96),
        ensemble=EnsembleConfig(),
        fit=FitConfig(),
        learner_settings=settings_for(CARTPOLE),
        run=RunOptions(evaluation_episodes=30),
    )
    assert metrics["true_return_mean"] > 2 * metrics["random_return_mean"]


def test_a_run_that_the_alarm_stops_leaves_policy_figures_and_report_and_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlhf_envs.loop.alarm.GAIN", -9.0)
    monkeypatch.setattr("rlhf_envs.loop.alarm.DISTANCE", 0.01)
    stops = FeedbackConfig(answers=6, initial_share=1.0, segment_length=4, on_alarm="stop")
    directory, metrics = trained(tmp_path, report=True, labels=stops, timesteps=2048)
    [alarm] = metrics["alarms"]
    assert metrics["timesteps"] == alarm["timesteps"] < 2048
    assert alarm["reason"].endswith("Training ends here (--on-alarm stop).")
    assert directory.policy_path.is_file() and metrics["true_return_mean"] is not None
    assert "may be hacking the learned reward" in directory.report_path.read_text(encoding="utf-8")
    config = RunConfig(**{**TINY, "labels": stops, "timesteps": 2048})
    again = train(config, directory, Console(file=io.StringIO()), resume=True, report=False)
    assert again["timesteps"] == 2048 and again["alarms"] == metrics["alarms"]
