"""What the command that trains refuses, in one sentence and before any work."""

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.callbacks import ProgressTable
from agents.config import RunConfig
from agents.train import check_settings
from rlhf_envs.cli import archive, label, report
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.runs import PROGRESS_COLUMNS, RunDirectory, read_progress
from rlhf_envs.segments import Segment
from scripts import train
from tests.answers import give_answer
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
        (["--env", "rlhf/Drivin-v0"], "There is no environment 'rlhf/Drivin-v0'. Did you mean rlhf/Driving-v1"),
        ([], "Say which environment to train on"),
        (["--env", "nowhere:Thing-v0"], "cannot be imported"),
        (["--env", "tests.cases.environments:odd/Graph-v0"], "observations are of the space Graph"),
        (["--env", "Blackjack-v1"], "Blackjack-v1 was registered without a limit of steps"),
        ([*DRIVING, "--segment-length", "21"], "Segments of 21 steps do not fit into episodes of 20"),
        ([*DRIVING, "--variant", '{"traffic": "dens"}'], "traffic must be one of light, medium, dense, not 'dens'"),
        ([*DRIVING, "--variant", "dense"], "'dense' is not JSON"),
        ([*DRIVING, "--near-ties", "1"], "near_ties is a share from 0 to below 1, not 1.0"),
        ([*DRIVING, "--variant-share", "2"], "variant_share is a share from 0 to 1, not 2.0"),
        ([*DRIVING, "--answers", "0"], "answers must be at least 1, not 0"),
        ([*DRIVING, "--answers", "many"], "invalid literal"),
        ([*DRIVING, "--answers", "many"], "see python -m scripts.train --help-all"),
        ([*DRIVING, "--answer", "9"], "run python -m scripts.train --help-all"),
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
        ([*DRIVING, "--kl-coef", "0.1"], "none is pretrained here; --pretrain N imitates N demonstrations first"),
        (
            [*DRIVING, "--pretrain", "2", "--kl-coef", "-1"],
            "kl_coef is the cost of a nat and must be a number of at least 0",
        ),
        (
            [*DRIVING, "--pretrain", "2", "--kl-target", "1"],
            "kl_target adapts kl_coef by factors, so that must begin above 0",
        ),
        ([*DRIVING, "--pretrain", "2", "--kl-coef", "1", "--kl-target", "0"], "kl_target is a number of nats per step"),
        (["--env", "Pendulum-v1", "--learner", "sac", "--kl-coef", "1"], "SAC cannot be held near a reference"),
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
    assert "is of rlhf/Driving-v1, not rlhf/Recommender-v1" in refused(capsys, *there, *RECOMMENDER)
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


def vouch_for(file: Path) -> None:
    """Write a manifest into a checkpoint as if this file had been written so."""
    manifest = json.loads((file.parent / "manifest.json").read_text())
    manifest["files"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    del manifest["digest"]
    manifest["digest"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (file.parent / "manifest.json").write_text(json.dumps(manifest))


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
    vouch_for(state)
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
    again = ["--run-dir", str(copied), "--resume", "--env", "rlhf/Driving-v1", "--answers", "8"]
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


def test_a_store_of_another_run_is_refused_by_every_command(
    capsys: pytest.CaptureFixture[str], copied: Path, tmp_path: Path
) -> None:
    assert train.main(["--run-dir", str(tmp_path / "other"), *DRIVING]) == 0
    for file in copied.glob("feedback.db*"):
        file.unlink()
    shutil.copy(tmp_path / "other" / "feedback.db", copied / "feedback.db")
    content = (copied / "feedback.db").read_bytes()
    run = ["--run-dir", str(copied)]
    commands: list[tuple[Any, list[str]]] = [
        (train.main, [*run, "--resume"]),
        (train.main, ["--run-dir", str(tmp_path / "new"), "--offline", str(copied)]),
        (label.main, [*run, "--report"]),
        (label.main, [*run, "--feedback", "oracle"]),
        (archive.main, ["export", *run, "--to", str(tmp_path / "exported"), "--no-clips"]),
        (report.main, run),
    ]
    for command, words in commands:
        with pytest.raises(SystemExit):
            command(words)
        said = " ".join(capsys.readouterr().err.split())
        assert "feedback.db belongs to run" in said and "Traceback" not in said, words
    assert (copied / "feedback.db").read_bytes() == content
    assert not (tmp_path / "new").exists() and not (tmp_path / "exported").exists()


def test_a_store_about_another_environment_is_refused(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    with sqlite3.connect(copied / "feedback.db") as connection:
        connection.execute("UPDATE meta SET value = json_set(value, '$.kwargs.horizon', 30) WHERE name = 'environment'")
    connection.close()
    said = refused(capsys, "--run-dir", str(copied), "--resume")
    assert "is about an environment with kwargs = {'horizon': 30}" in said and "says {'horizon': 20}" in said


def test_a_start_that_is_refused_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"sqlite:///{finished / 'feedback.db'}"
    new = ["--run-dir", str(tmp_path / "run"), *DRIVING]
    assert "belongs to run" in refused(capsys, *new, "--store", place)
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "demonstrations.safetensors").write_bytes(b"mine")
    assert "belongs to run" in refused(capsys, *new, "--store", place)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["demonstrations.safetensors"]
    with PreferenceStore.create(
        tmp_path / "skipped.db", StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), 5)
    ) as store:
        [id] = store.ask([Query("a", 0, tuple(other_segments(finished)))])
        give_answer(store, id, "ann", "skip")
    offline = ["--run-dir", str(tmp_path / "offline"), "--offline", str(tmp_path / "skipped.db")]
    assert "no answer to learn from" in refused(capsys, *offline)
    assert not (tmp_path / "offline").exists()


def other_segments(run: Path) -> list[Segment]:
    with RunDirectory(run).open_store() as store:
        return store.segments([1, 2])


def test_two_processes_do_not_train_with_one_store(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    with RunDirectory(copied).open_store() as store:
        store.claim_for_training()
        said = refused(capsys, "--run-dir", str(copied), "--resume")
    assert "Another process is training with the feedback store" in said


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


def test_no_flipped_bit_of_a_checkpoint_is_resumed_from(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    newest = max((copied / "checkpoints").iterdir())
    rng = np.random.default_rng(0)
    files = sorted(newest.iterdir())
    for file in files:
        content = file.read_bytes()
        for place in rng.integers(len(content), size=40 // len(files)):
            flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            file.write_bytes(flipped)
            said = refused(capsys, "--run-dir", str(copied), "--resume")
            assert "is damaged and cannot be read" in said, (file, place)
        file.write_bytes(content)
    (newest / "more.safetensors").write_bytes(b"x")
    assert "more.safetensors is none of its files" in refused(capsys, "--run-dir", str(copied), "--resume")


def test_a_checkpoint_of_another_run_is_refused(
    capsys: pytest.CaptureFixture[str], finished: Path, copied: Path
) -> None:
    manifest = max((copied / "checkpoints").iterdir()) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"run": "0" * 32}))
    vouch_for(manifest.with_name("state.json"))
    said = refused(capsys, "--run-dir", str(copied), "--resume")
    assert f"is of run {'0' * 32}, and this is run" in said


def test_an_edited_configuration_is_told_from_damage(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    changed = {**config, "config": {**config["config"], "seed": 7}}
    (copied / "config.json").write_text(json.dumps(changed))
    said = refused(capsys, "--run-dir", str(copied), "--resume")
    assert "configuration was edited" in said and "seed = 0, not 7" in said and "damaged" not in said
    changed = {**config, "config": {**config["config"], "timesteps": 100}}
    (copied / "config.json").write_text(json.dumps(changed))
    assert "timesteps = 256, not 100" in refused(capsys, "--run-dir", str(copied), "--resume")


def test_a_run_can_be_resumed_for_more_steps(capsys: pytest.CaptureFixture[str], copied: Path) -> None:
    there = ["--run-dir", str(copied), "--resume"]
    assert "timesteps = 256, not 128" in refused(capsys, *there, "--timesteps", "128")
    assert train.main([*there, "--timesteps", "384", "--evaluation-episodes", "3"]) == 0
    assert RunDirectory(copied).read_metrics()["timesteps"] == 384
    assert RunDirectory(copied).read_config()["timesteps"] == 384
    config = json.loads((copied / "config.json").read_text())
    config["config"]["timesteps"] = 448
    (copied / "config.json").write_text(json.dumps(config))
    assert train.main(there) == 0
    assert RunDirectory(copied).read_metrics()["timesteps"] == 448
