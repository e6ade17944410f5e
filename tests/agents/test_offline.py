"""Rewards learned from answers that were given before: no environment is needed for it, and nothing is asked."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from agents.config import RunConfig, read_config
from agents.offline import open_answers, settle
from agents.presets import feedback_for
from rlhf_envs.archive import export_store
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Purpose, Query
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop
from rlhf_envs.rewards import RewardEnsemble, load
from rlhf_envs.runs import RunDirectory
from rlhf_envs.segments import Segment
from scripts import train
from tests.answers import give_answer

LENGTH = 5
TINY = ["--ensemble.hidden", "8", "--ensemble.members", "2", "--fit.steps", "100"]


def segment(number: int) -> Segment:
    """A stretch of Pendulum-v1's spaces; what is good is a large torque."""
    rng = np.random.default_rng(number)
    torque = rng.uniform(-2, 2) * np.ones((LENGTH, 1), np.float32)
    observations = rng.uniform(-1, 1, (LENGTH, 3)).astype(np.float32)
    return Segment(observations, torque.astype(np.float32), torque[:, 0].astype(np.float32))


def judge(store: PreferenceStore, count: int, purpose: Purpose, first: int = 0) -> None:
    """Ask comparisons, and answer each rightly."""
    for number in range(first, first + count):
        pair = (segment(2 * number), segment(2 * number + 1))
        [id] = store.ask([Query(f"0/{purpose}/{number}", 0, pair, purpose=purpose)])
        right = pair[1].true_rewards.sum() > pair[0].true_rewards.sum()
        give_answer(store, id, "ann", "right" if right else "left")


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    """A store with answers of each kind about an environment that nobody has."""
    path = tmp_path / "answered.db"
    with PreferenceStore.create(path, StoredEnvironment(EnvironmentRef("lost/Lost-v0"), LENGTH)) as store:
        judge(store, 80, Purpose.TRAIN)
        shown = tuple(segment(1000 + place) for place in range(3))
        best_first = sorted(range(3), key=lambda place: -float(shown[place].true_rewards.sum()))
        [ranking] = store.ask([Query("0/train/ranking", 0, shown, "ranking")])
        give_answer(store, ranking, "bob", None, payload={"ranking": best_first})
        [rating] = store.ask([Query("0/train/rating", 0, (segment(2000),), "rating")])
        give_answer(store, rating, "bob", None, payload={"ratings": [0.5] * LENGTH})
        give_answer(store, store.ask([Query("0/train/skip", 0, shown[:2])])[0], "bob", "skip")
        store.ask([Query("0/train/open", 0, shown[1:])])
    return path


def with_spaces(folder: Path) -> None:
    """Let an export say what the spaces of Pendulum-v1 are."""
    content = json.loads((folder / "manifest.json").read_text())
    box = {"kind": "Box", "dtype": "float32", "low": -1.0, "high": 1.0}
    content["observation_space"] = box | {"shape": [3]}
    content["action_space"] = box | {"shape": [1], "low": -2.0, "high": 2.0}
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.fixture
def exported(answered: Path, tmp_path: Path) -> Path:
    export_store(answered, tmp_path / "exported", clips=False)
    with_spaces(tmp_path / "exported")
    return tmp_path / "exported"


def test_a_reward_is_learned_from_an_export_of_an_environment_that_is_not_installed(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train.main(["--offline", str(exported), "--run-dir", str(run), *TINY]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["comparisons"], metrics["rankings"], metrics["ratings"], metrics["labels"]) == (80, 1, 1, 82)
    assert metrics["test_decided"] == 83  # a ranking of three contains three comparisons
    assert metrics["accuracy_from"] == "out of fold"
    for name in ("accuracy", "precision", "recall", "f1"):
        assert 0 <= metrics[f"test_{name}"] <= 1
    assert sum(one["count"] for one in metrics["calibration"]) == 83
    assert metrics["test_accuracy"] > 0.7 and metrics["reward_correlation"] > 0.7
    ensemble = load(run / "reward_model.safetensors")
    assert ensemble.encoder.observation_space == spaces.Box(-1, 1, (3,), np.float32)
    assert "Without --env only the reward was learned: 82 answers" in " ".join(capsys.readouterr().err.split())


def test_answers_to_test_queries_are_held_out_where_there_are_some(answered: Path, tmp_path: Path) -> None:
    with PreferenceStore.open(answered) as store:
        judge(store, 6, Purpose.TEST, first=100)
    export_store(answered, tmp_path / "exported", clips=False)
    with_spaces(tmp_path / "exported")
    train.main(["--offline", str(tmp_path / "exported"), "--run-dir", str(tmp_path / "run"), *TINY])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["accuracy_from"], metrics["test_decided"]) == ("held-out answers", 6)
    assert metrics["comparisons"] == 80


def test_an_offline_run_keeps_the_answers_that_it_learned_from(exported: Path, tmp_path: Path) -> None:
    config = settle(RunConfig(offline=str(exported)))
    directory = RunDirectory(tmp_path / "run")
    directory.create(config.to_json())
    with open_answers(config.offline or "", directory) as store:
        count = len(store.live_answers())
    with open_answers(config.offline or "", directory) as store:
        assert len(store.live_answers()) == count == 83
    assert read_config(directory) == config
    assert (config.labels.answers, config.labels.segment_length, config.feedback) == (84, LENGTH, "elsewhere")


def test_a_loop_over_given_answers_asks_nothing(exported: Path, tmp_path: Path) -> None:
    config = settle(RunConfig(offline=str(exported)))
    directory = RunDirectory(tmp_path / "run")
    directory.create(config.to_json())
    with open_answers(config.offline or "", directory) as store:
        box, torque = spaces.Box(-1, 1, (3,), np.float32), spaces.Box(-2, 2, (1,), np.float32)
        loop = FeedbackLoop(store, RewardEnsemble(box, torque), config.labels, horizon=200)
        assert not loop.finished_asking
        loop.stop_asking()
        assert loop.finished_asking


def refused(arguments: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit:
        train.main([*arguments, "--run-dir", str(run), *TINY])
    assert exit.value.code == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error")]
    return line


def test_what_cannot_be_learned_from_is_refused(
    answered: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert "there is no feedback store at" in refused(["--offline", str(tmp_path / "no")], run, capsys).lower()
    both = refused(["--offline", str(exported), "--reward", "true"], run, capsys)
    assert "leave --reward true out" in both
    elsewhere = refused(["--offline", str(exported), "--store", "postgresql://x/y"], run, capsys)
    assert "leave --store out" in elsewhere
    wrong = refused(["--offline", str(exported), "--env", "CartPole-v1"], run, capsys)
    assert "exported does not fit CartPole-v1" in wrong and not run.exists()
    unknown = refused(["--offline", str(answered)], run, capsys)
    assert "does not say what its observations and actions are" in unknown


def test_answers_that_teach_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with PreferenceStore.create(tmp_path / "skips.db", StoredEnvironment(segment_length=LENGTH)) as store:
        [id] = store.ask([Query("0/train/0", 0, (segment(0), segment(1)))])
        give_answer(store, id, "ann", "skip")
    said = refused(["--offline", str(tmp_path / "skips.db")], tmp_path / "run", capsys)
    assert "holds no answer to learn from: nothing but skips" in said


def test_settings_follow_the_answers(answered: Path) -> None:
    labels = settle(RunConfig(offline=str(answered))).labels
    assert (labels.answers, labels.held_out_queries, labels.segment_length) == (84, 0, LENGTH)


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--feedback", "web"], "leave --feedback web out"),
        (["--feedback", "boltzmann"], "leave --feedback boltzmann out"),
        (["--teacher.beta", "1"], "leave what changes a --teacher out"),
        (["--answers", "7"], "--offline asks nothing; leave --answers out"),
        (["--wait-for-answers"], "leave --wait-for-answers out"),
        (["--target-accuracy", "0.9"], "leave --target-accuracy out"),
    ],
)
def test_settings_of_what_is_asked_are_refused_where_nothing_is(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    assert said in refused(["--offline", str(answered), *flags], tmp_path / "run", capsys)
    assert not (tmp_path / "run").exists()


def test_an_environments_own_preset_is_nobodys_wish(answered: Path) -> None:
    for labels in (FeedbackConfig(reliability=True), feedback_for(EnvironmentRef("rlhf/Writing-v1"))):
        config = RunConfig(EnvironmentRef("rlhf/Writing-v1"), offline=str(answered), labels=labels)
        assert settle(config).labels.answers == 84


def test_the_folder_of_a_run_stands_for_its_answers(answered: Path, tmp_path: Path) -> None:
    own, elsewhere = RunDirectory(tmp_path / "own"), RunDirectory(tmp_path / "elsewhere")
    own.create(RunConfig().to_json())
    elsewhere.create(RunConfig(store=str(tmp_path / "elsewhere.db")).to_json())
    for directory in (own, elsewhere):
        shutil.copy(answered, directory.store_place)
        with sqlite3.connect(directory.store_place) as raw:
            whose = json.dumps({"id": directory.read_id()})
            raw.execute("UPDATE meta SET value = ? WHERE name = 'run'", (whose,))
        raw.close()
    for number, directory in enumerate((own, elsewhere)):
        given = RunConfig(offline=str(directory.path))
        config = settle(given)
        assert (config.offline, config.labels.answers) == (given.offline, 84)
        copy = RunDirectory(tmp_path / str(number))
        copy.create(config.to_json())
        with open_answers(config.offline or "", copy) as store:
            assert len(store.live_answers()) == 83
