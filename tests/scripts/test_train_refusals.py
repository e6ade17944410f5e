"""What the command that trains refuses, in one sentence and before any work."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agents.callbacks import ProgressTable
from agents.config import RunConfig
from agents.train import check_settings
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.runs import PROGRESS_COLUMNS, RunDirectory, read_progress
from scripts import train
from tests.sb3 import environments
from tests.scripts.settings import DRIVING, RECOMMENDER, WALK

environments.register()


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
        (["--env", "tests.cases.environments:odd/Graph-v0"], "observations are of the space Graph"),
        (["--env", "Blackjack-v1"], "Blackjack-v1 was registered without a limit of steps"),
        ([*DRIVING, "--segment-length", "21"], "Segments of 21 steps do not fit into episodes of 20"),
        ([*DRIVING, "--answers", "0"], "answers must be at least 1, not 0"),
        ([*DRIVING, "--answers", "many"], "invalid literal"),
        ([*DRIVING, "--answers", "many"], "python -m scripts.train --help"),
        ([*DRIVING, "--answer", "9"], "Perhaps you meant: --answers"),
        ([*DRIVING, "--kinds", "ranking"], "'ranking' are not names and shares in turn"),
        ([*DRIVING, "--kinds", "ranking", "much"], "'ranking much' are not names and shares in turn"),
        ([*DRIVING, "--feedback", "oracl"], "There is no annotator 'oracl'; did you mean 'oracle'"),
        ([*DRIVING, "--feedback", "nowhere:nobody"], "module of the annotator 'nowhere:nobody' cannot be imported"),
        ([*DRIVING, "--feedback", "math:pi"], "'math:pi' is no annotator: it needs a method serve(store)"),
        ([*DRIVING, "--feedback", "math:pow", "--teacher.beta", "1"], "with --feedback math:pow none answers"),
        ([*DRIVING, "--learner.batch-size", "60"], "batch_size must divide num_envs * n_steps = 64, which 60 does not"),
        ([*DRIVING, "--learner.batch-size", "60"], "; 32 does"),
        ([*DRIVING, "--learner.batch-size", "0"], "batch_size must be at least 2, not 0"),
        ([*DRIVING, "--learner.n-epochs", "0"], "n_epochs must be at least 1, not 0"),
        ([*DRIVING, "--learner.gamma", "1.5"], "gamma must be between 0 and 1, not 1.5"),
        ([*DRIVING, "--learner.learning-rate", "nan"], "learning_rate must be positive and finite, not nan"),
        ([*DRIVING, "--learner.ent-coef", "-1"], "ent_coef must be 0 or more and finite, not -1.0"),
        ([*DRIVING, "--ensemble.pessimism", "nan"], "pessimism must be 0 or more and finite, not nan"),
        ([*DRIVING, "--fit.warm-start-share", "nan"], "warm_start_share must be positive and finite, not nan"),
        ([*WALK, "--env-kwargs", '{"kind": "smell"}'], "cannot be made, it raised KeyError: 'smell' (environments.py:"),
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
        ([*DRIVING, "--reward", "proxy", "--feedback", "web"], "--reward proxy learns nothing from people"),
        ([*DRIVING, "--reward", "true", "--feedback", "window"], "--feedback window; leave one of them out"),
        ([*DRIVING, "--reward", "true", "--feedback", "elsewhere"], "--reward true learns nothing from people"),
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
    changed = refused(capsys, *there, "--answers", "9")
    assert "was started with answers = 8, not 9" in changed
    assert "learner.gamma" in refused(capsys, *there, "--learner.gamma", "0.5")
    # A flag that asks for the usual value of a run that was started with another one is a change as well.
    assert "answers = 8, not 240" in refused(capsys, *there, "--answers", "240")
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
        ({"timesteps": "many"}, "timesteps must be a whole number, not 'many'"),
        ({"timesteps": True}, "timesteps must be a whole number"),
        ({"labels": []}, r"labels must be an object, not \[\]"),
        ({"labels": {"queries_per_round": "x"}}, r"labels\.queries_per_round must be a whole number or null"),
        ({"learner": "ppo", "learner_settings": {"gamma": "much"}}, r"learner_settings\.gamma must be a number"),
        (
            {"learner": "ppo", "learner_settings": {"net_arch": ["wide"]}},
            r"learner_settings\.net_arch must be a list of whole numbers",
        ),
        ({"learner": 3}, "learner must be a text"),
        ({"learner": "pbo"}, "no learner 'pbo'; did you mean 'ppo'"),
        ({"learner_settings": {"gamma": 0.5}}, "settings of the learner ppo must be a PPOConfig"),
        ({"environment": {"id": 5}}, "named by its id"),
        ({"environment": {"id": "a", "horizon": "x"}}, "horizon of a must be a whole number"),
        ({"labels": {"kinds": {"rating": "x"}}}, r"labels\.kinds must be an object of numbers"),
        ({"labels": {"kind_settings": [3]}}, r"labels\.kind_settings must be a list of texts"),
        ({"run": {"patience": "x"}}, "run.patience must be a whole number or null"),
        ({"reward": ["true"]}, "reward must be one of learned, true, proxy"),
    ],
)
def test_a_value_of_another_type_in_a_configuration_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RunConfig.from_json(values)


def test_one_copy_of_an_environment_can_be_trained_on() -> None:
    check_settings(
        RunConfig(EnvironmentRef("CartPole-v1"), learner_settings=PPOConfig(num_envs=1, n_steps=64, batch_size=64))
    )


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"timesteps,\xff\xfe\n3,4\n", b"\0\0"])
def test_a_damaged_progress_table_is_begun_afresh(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "progress.csv"
    path.write_bytes(content)
    table = ProgressTable(path, 100)
    table.add(dict.fromkeys(PROGRESS_COLUMNS, 1))
    table.close()
    assert [row["timesteps"] for row in read_progress(path)] == ["1"]


@pytest.mark.parametrize(
    "damage",
    [
        {"timesteps": "many"},
        {"scoring": []},
        {"scoring": {"labels": "x"}},
        {"random": {"python": 3, "numpy": 4}},
        {"random": []},
        {"parts": []},
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


def test_a_baseline_that_was_started_when_people_could_be_named_in_vain_goes_on(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["config"] |= {"reward": "true", "feedback": "web", "teacher": {}}
    (copied / "config.json").write_text(json.dumps(config))
    shutil.rmtree(copied / "checkpoints")
    assert train.main(["--run-dir", str(copied), "--resume"]) == 0


def test_the_errors_of_a_resumed_run_name_the_command_too(capsys: pytest.CaptureFixture[str], finished: Path) -> None:
    said = refused(capsys, "--run-dir", str(finished), "--resume", "--learner.batch-size", "1024")
    assert "python -m scripts.train --help" in said


def test_repeating_some_settings_of_a_finished_run_changes_nothing(
    capsys: pytest.CaptureFixture[str], copied: Path
) -> None:
    policy = (copied / "reward_model.safetensors").read_bytes()
    again = ["--run-dir", str(copied), "--resume", "--env", "rlhf/Driving-v0", "--answers", "8"]
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
    with RunDirectory(copied).locked():
        assert "Another process is training in" in refused(capsys, "--run-dir", str(copied), "--resume")


def test_a_damaged_store_is_told_and_left_as_it_is(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    store = copied / "feedback.db"
    content = b"not a database at all" * 500
    store.write_bytes(content)
    said = refused(capsys, "--run-dir", str(copied), "--resume")
    assert "is damaged or is not a feedback store" in said
    # What has just failed is no advice.
    assert "--resume" not in said
    assert store.read_bytes() == content


def test_a_store_of_a_newer_version_is_told(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    with sqlite3.connect(copied / "feedback.db") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    connection.close()
    assert "has version 99, and this library reads version" in refused(capsys, "--run-dir", str(copied), "--resume")


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
