"""The command that trains: what it refuses, how it stops, and what it says."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.building import check_settings
from agents.configuration import RunConfig
from agents.presets import PPOConfig
from agents.progress import COLUMNS, ProgressTable, read_progress
from agents.run_directory import RunDirectory
from rlhf_envs.feedback import PreferenceStore
from scripts import train
from tests.sb3 import environments
from tests.trainer import ROOT, Trainer

environments.register()

TINY = [
    *("--timesteps", "256", "--comparisons", "6", "--test-comparisons", "2", "--segment-length", "5"),
    *("--ppo.num-envs", "4", "--ppo.n-steps", "16", "--ppo.batch-size", "64", "--ppo.n-epochs", "1"),
    *("--ppo.net-arch", "8", "--ensemble.hidden", "8", "--fit.steps", "10", "--evaluation-episodes", "2"),
]
DRIVING = ["--env", "rlhf/Driving-v0", "--env-kwargs", '{"horizon": 20}', *TINY]
RECOMMENDER = ["--env", "rlhf/Recommender-v0", "--env-kwargs", '{"horizon": 20}', *TINY]
WALK = ["--env", "tests.sb3.environments:test/Walk-v0", *TINY]


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer() as started:
        yield started


@pytest.fixture(scope="module")
def finished(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    arguments = ["--run-dir", str(folder / "run"), *DRIVING, "--teacher.beta", "inf"]
    assert trainer.run(arguments, folder / "said.txt") == 0, (folder / "said.txt").read_text()
    return folder / "run"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says when it refuses its input, on one line."""
    with pytest.raises(SystemExit) as stopped:
        train.main(list(arguments))
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert captured.out == ""
    return " ".join(captured.err.replace("│", " ").split())


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--env", "rlhf/Drivin-v0"], "There is no environment 'rlhf/Drivin-v0'. Did you mean rlhf/Driving-v0"),
        ([], "Say which environment to train on"),
        (["--env", "nowhere:Thing-v0"], "cannot be imported"),
        (["--env", "Blackjack-v1", "--horizon", "5"], "Tuple"),
        (["--env", "Blackjack-v1"], "Blackjack-v1 was registered without a limit of steps"),
        ([*DRIVING, "--segment-length", "21"], "Segments of 21 steps do not fit into episodes of 20"),
        ([*DRIVING, "--comparisons", "0"], "At least 1 comparison is needed"),
        ([*DRIVING, "--comparisons", "many"], "invalid literal"),
        ([*DRIVING, "--ppo.batch-size", "60"], "batch_size must divide num_envs * n_steps = 64, which 60 does not"),
        ([*DRIVING, "--ppo.batch-size", "60"], "; 32 does"),
        ([*DRIVING, "--ppo.batch-size", "0"], "batch_size must be at least 2, not 0"),
        ([*DRIVING, "--ppo.n-epochs", "0"], "n_epochs must be at least 1, not 0"),
        ([*DRIVING, "--ppo.gamma", "1.5"], "gamma must be between 0 and 1, not 1.5"),
        ([*DRIVING, "--ppo.learning-rate", "nan"], "learning_rate must be positive and finite, not nan"),
        ([*DRIVING, "--ppo.ent-coef", "-1"], "ent_coef must be 0 or more and finite, not -1.0"),
        ([*DRIVING, "--ensemble.pessimism", "nan"], "pessimism must be 0 or more and finite, not nan"),
        ([*DRIVING, "--fit.refit", "nan"], "refit must be positive and finite, not nan"),
        ([*WALK, "--env-kwargs", '{"kind": "smell"}'], "cannot be trained on with these settings: 'smell'"),
        (["--env", ".foo:Bar-v0"], "no package's full name before its colon"),
        ([*DRIVING, "--env-kwargs", '{"lanez": 3}'], "does not take these arguments"),
        ([*DRIVING, "--env-kwargs", "lanes"], "is not JSON"),
        ([*DRIVING, "--env-kwargs", "[3]"], "is not a JSON object"),
        ([*DRIVING, "--horizon", "50"], "takes the length of its episodes as an argument of its own"),
        ([*DRIVING, "--timesteps", "0"], "timesteps must be at least 1"),
        ([*DRIVING, "--teacher.mistake", "2"], "mistake must be between 0 and 1"),
        ([*DRIVING, "--pretrain", "2", "--demonstrations", "expertise"], "Demonstrations come from"),
        (["--env", "CartPole-v1", "--pretrain", "2"], "no scripted expert"),
        (["--env", "CartPole-v1", "--reward", "proxy"], "CartPole-v1 has no proxy reward"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert said in refused(capsys, "--run-dir", str(tmp_path / "run"), *arguments)
    assert not (tmp_path / "run").exists()


def test_what_is_in_a_folder_already_is_left_alone(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path
) -> None:
    before = (finished / "config.json").read_bytes()
    assert "add --resume" in refused(capsys, "--run-dir", str(finished), *DRIVING)
    assert (finished / "config.json").read_bytes() == before
    (tmp_path / "thesis.txt").write_text("mine")
    assert "files that are no run's" in refused(capsys, "--run-dir", str(tmp_path), *DRIVING)
    assert "is a file" in refused(capsys, "--run-dir", str(tmp_path / "thesis.txt"), *DRIVING)


def test_only_the_same_run_is_resumed(capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path) -> None:
    there = ["--run-dir", str(finished), "--resume"]
    assert "is of rlhf/Driving-v0, not rlhf/Recommender-v0" in refused(capsys, *there, *RECOMMENDER)
    changed = refused(capsys, *there, "--comparisons", "9")
    assert "was started with labels.comparisons = 6, not 9" in changed
    assert "ppo.gamma" in refused(capsys, *there, "--ppo.gamma", "0.5")
    # A flag that asks for the usual value of a run that was started with another one is a change as well.
    assert "labels.comparisons = 6, not 200" in refused(capsys, *there, "--comparisons", "200")
    assert "holds no run" in refused(capsys, "--run-dir", str(tmp_path), "--resume")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"config": {"colour": "blue"}}', '{"config": {"labels": {"x": 1}}}']
)
def test_a_damaged_configuration_is_told_from_a_run(
    capsys: pytest.CaptureFixture[str], copied: Path, content: str
) -> None:
    (copied / "config.json").write_text(content)
    said = refused(capsys, "--run-dir", str(copied), "--resume")
    assert "damaged" in said or "configuration" in said


@pytest.mark.parametrize(
    "values, said",
    [
        ({"timesteps": "many"}, "timesteps must be a whole number in a run's configuration, not 'many'"),
        ({"timesteps": True}, "timesteps must be a whole number"),
        ({"labels": []}, r"labels must be an object .* not \[\]"),
        ({"labels": {"batch": "x"}}, r"labels\.batch must be a whole number or null"),
        ({"ppo": {"gamma": "much"}}, r"ppo\.gamma must be a number"),
        ({"ppo": {"net_arch": ["wide"]}}, r"ppo\.net_arch must be a list of whole numbers"),
        ({"env": 5}, "env must be a text"),
        ({"horizon": "x"}, "horizon must be a whole number or null"),
        ({"patience": "x"}, "patience must be a whole number or null"),
        ({"reward": ["true"]}, "reward must be one of learned, true, proxy"),
    ],
)
def test_a_value_of_another_type_in_a_configuration_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RunConfig.from_json(values)


def test_one_copy_of_an_environment_can_be_trained_on() -> None:
    check_settings(RunConfig(env="CartPole-v1", ppo=PPOConfig(num_envs=1, n_steps=64, batch_size=64)))


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"timesteps,\xff\xfe\n3,4\n", b"\0\0"])
def test_a_damaged_progress_table_is_begun_afresh(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "progress.csv"
    path.write_bytes(content)
    table = ProgressTable(path, 100)
    table.add(dict.fromkeys(COLUMNS, 1))
    table.close()
    assert [row["timesteps"] for row in read_progress(path)] == ["1"]


@pytest.mark.parametrize(
    "damage",
    [
        {"timesteps": "many"},
        {"loop": []},
        {"loop": {"labels": "x"}},
        {"random": {"python": 3, "numpy": 4}},
        {"random": []},
        {"notes": []},
    ],
)
def test_a_checkpoint_with_values_of_another_type_is_damaged(
    capsys: pytest.CaptureFixture[str], copied: Path, damage: dict[str, Any]
) -> None:
    state = max((copied / "checkpoints").iterdir()) / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | damage))
    assert "is damaged and cannot be read" in refused(capsys, "--run-dir", str(copied), "--resume")


def test_a_hidden_file_among_the_checkpoints_is_left_alone(copied: Path) -> None:
    (copied / "checkpoints" / ".DS_Store").write_bytes(b"")
    shutil.rmtree(max(path for path in (copied / "checkpoints").iterdir() if path.is_dir()))
    assert train.main(["--run-dir", str(copied), "--resume"]) == 0
    assert (copied / "checkpoints" / ".DS_Store").exists()


def test_repeating_some_settings_of_a_finished_run_changes_nothing(
    capsys: pytest.CaptureFixture[str], copied: Path
) -> None:
    policy = (copied / "reward_model.safetensors").read_bytes()
    again = ["--run-dir", str(copied), "--resume", "--env", "rlhf/Driving-v0", "--comparisons", "6"]
    assert train.main(again) == 0
    assert (copied / "reward_model.safetensors").read_bytes() == policy
    assert "Report:" in capsys.readouterr().out


def test_a_run_whose_store_has_gone_is_not_resumed_without_its_answers(
    capsys: pytest.CaptureFixture[str], copied: Path
) -> None:
    for file in copied.glob("feedback.db*"):
        file.unlink()
    assert "feedback.db" in refused(capsys, "--run-dir", str(copied), "--resume")
    assert not (copied / "feedback.db").exists()


def test_two_processes_do_not_train_in_one_folder(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    with RunDirectory(copied).claimed():
        assert "Another process is training in" in refused(capsys, "--run-dir", str(copied), "--resume")


@pytest.mark.slow
def test_a_run_in_which_no_segment_fits_says_that_nothing_was_learned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cart_pole = [
        "--env",
        "CartPole-v1",
        *TINY,
        "--segment-length",
        "200",
        "--ppo.n-steps",
        "32",
        "--ppo.batch-size",
        "32",
    ]
    with pytest.raises(SystemExit):
        train.main(["--run-dir", str(tmp_path / "run"), *cart_pole])
    assert "Nothing was asked, so nothing was learned" in " ".join(capsys.readouterr().err.split())


def test_a_damaged_store_is_told_and_left_as_it_is(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    store = copied / "feedback.db"
    content = b"not a database at all" * 500
    store.write_bytes(content)
    assert "is damaged or is not a feedback store" in refused(capsys, "--run-dir", str(copied), "--resume")
    assert store.read_bytes() == content


def test_a_store_of_a_newer_version_is_told(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    with sqlite3.connect(copied / "feedback.db") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    connection.close()
    assert "newer than version" in refused(capsys, "--run-dir", str(copied), "--resume")


@pytest.mark.slow
def test_a_store_that_another_process_holds_is_told(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    holder = sqlite3.connect(copied / "feedback.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert "is locked by another process" in refused(capsys, "--run-dir", str(copied), "--resume")
    finally:
        holder.close()


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_can_be_used(
    capsys: pytest.CaptureFixture[str], copied: Path
) -> None:
    newest = max((copied / "checkpoints").iterdir())
    for name in ("state.json", "arrays.safetensors", "policy.pt"):
        content = (newest / name).read_bytes()
        (newest / name).write_bytes(content[: len(content) // 2])
        assert "is damaged and cannot be read" in refused(capsys, "--run-dir", str(copied), "--resume")
        (newest / name).write_bytes(content)
    shutil.rmtree(newest)
    assert train.main(["--run-dir", str(copied), "--resume"]) == 0


def test_a_reward_that_is_no_number_stops_a_run_that_can_go_on(trainer: Trainer, tmp_path: Path) -> None:
    run, said = tmp_path / "run", tmp_path / "said.txt"
    broken = [*WALK, "--env-kwargs", '{"broken_at": 40}', "--checkpoint-seconds", "0"]
    assert trainer.run(["--run-dir", str(run), *broken], said) == 2
    last = said.read_text().splitlines()[-1]
    assert last.startswith("Error: The environment paid a reward of nan in copy")
    assert "Traceback" not in said.read_text()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000000064", "000000000128"]
    config = json.loads((run / "config.json").read_text())
    config["config"]["env_kwargs"] = {}
    (run / "config.json").write_text(json.dumps(config))
    assert trainer.run(["--run-dir", str(run), "--resume"], said) == 0, said.read_text()
    assert "its copies begin new episodes" in " ".join(said.read_text().split())
    assert json.loads((run / "metrics.json").read_text())["comparisons"] == 6


def test_how_episodes_of_other_environments_are_held_is_said(trainer: Trainer, tmp_path: Path) -> None:
    for env, expected in ((WALK, True), (DRIVING, False)):
        said = tmp_path / f"{expected}.txt"
        assert trainer.run(["--run-dir", str(tmp_path / f"{expected}"), *env, "--reward", "true"], said) == 0
        text = " ".join(said.read_text().split())
        assert ("Episodes are held to 30 steps" in text and "--on-termination" in text) is expected


def test_metrics_and_configuration_are_strict_json(finished: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    metrics = json.loads((finished / "metrics.json").read_text(), parse_constant=refuse)
    config = json.loads((finished / "config.json").read_text(), parse_constant=refuse)
    assert config["config"]["teacher"]["beta"] == "inf"
    assert RunDirectory(finished).read_config().teacher.beta == float("inf")
    for name in ("env", "seed", "timesteps", "comparisons", "true_return_mean", "true_return_std", "test_accuracy"):
        assert name in metrics
    assert metrics["own_proxy_return_mean"] != metrics["proxy_return_mean"]


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = RunConfig(env="CartPole-v1", env_kwargs={"sutton_barto_reward": True})
    directory = RunDirectory(tmp_path / "run")
    directory.create(config)
    assert directory.read_config() == config
    with pytest.raises(ValueError, match="must be JSON values"):
        RunConfig(env_kwargs={"endless": float("inf")})


def test_a_log_file_is_not_flooded_with_progress(trainer: Trainer, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    assert trainer.run(["--run-dir", str(tmp_path / "run"), *DRIVING, "--timesteps", "2048"], said) == 0
    lines = said.read_text().splitlines()
    assert len(lines) <= 6
    assert "\x1b" not in said.read_text()


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
    long = ["--timesteps", "4000000", "--ppo.n-steps", "1000000"]
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
        f"{' '.join(RECOMMENDER[:2])} {' '.join(TINY)} --timesteps 200000 --comparisons 2000 --checkpoint-seconds 0.1; "
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
