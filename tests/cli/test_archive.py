"""The command that brings data in and out, and training on what it brought."""

import json
import re
from pathlib import Path

import pytest

from rlhf_envs.cli import archive
from rlhf_envs.feedback import PreferenceStore
from tests.scripts.settings import DRIVING, TINY
from tests.trainer import Trainer

_ASKING = ("--ask-until", "--answers", "--held-out-share", "--segment-length", "--visit-every")
OFFLINE = [
    part
    for flag, value in zip(DRIVING[::2], DRIVING[1::2], strict=True)
    if flag not in _ASKING
    for part in (flag, value)
]
"""Settings of a run to which the answers bring what was asked."""


def test_a_run_is_exported_imported_and_learned_from(
    trainer: Trainer, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, store, said = tmp_path / "out", tmp_path / "new.db", tmp_path / "said.txt"
    assert archive.main(["export", "--run-dir", str(finished), "--to", str(out), "--no-clips"]) == 0
    assert capsys.readouterr().out.startswith("Exported 8 queries, 8 standing answers")
    assert archive.main(["import", "--from", str(out), "--store", str(store)]) == 0
    assert "Imported 8 queries and 8 rows of answers into a new store" in capsys.readouterr().out
    assert archive.main(["import", "--from", str(out), "--store", str(store)]) == 0
    assert "; 8 queries and 8 rows were there already" in capsys.readouterr().out
    arguments = ["--run-dir", str(tmp_path / "run"), *OFFLINE, "--offline", str(out)]
    assert trainer.run(arguments, said, report=False) == 0, said.read_text()
    assert "rlhf-envs label" not in said.read_text()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["comparisons"], metrics["labels"], metrics["timesteps"]) == (6, 6, 256)
    with PreferenceStore.open(tmp_path / "run" / "feedback.db") as kept:
        assert len(kept.queries()) == 8
    assert {"policy.zip", "reward_model.safetensors"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_an_export_says_how_far_it_is_where_the_output_goes_to_a_file(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert archive.main(["export", "--run-dir", str(finished), "--to", str(tmp_path / "quick"), "--no-clips"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(archive, "_SECONDS_BETWEEN_LINES", 0.0)
    for more, what in (([], "clips made"), (["--no-clips"], "segments written")):
        out = tmp_path / what
        assert archive.main(["export", "--run-dir", str(finished), "--to", str(out), *more]) == 0
        said = [line.rpartition(", ") for line in capsys.readouterr().err.splitlines()]
        assert [line for line, _, _ in said] == [f"{done} of 14 {what}" for done in range(1, 15)]
        assert all(re.fullmatch(r"\d+:\d\d left", left) for _, _, left in said)


def test_a_folder_that_cannot_be_made_is_named(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    within_a_file = finished / "config.json" / "out"
    with pytest.raises(SystemExit) as exit:
        archive.main(["export", "--run-dir", str(finished), "--to", str(within_a_file), "--no-clips"])
    said = capsys.readouterr().err
    assert exit.value.code == 2
    assert "config.json" in said and "cannot be used: file exists" in said and "Errno" not in said


def test_an_offline_run_that_was_killed_goes_on(trainer: Trainer, finished: Path, tmp_path: Path) -> None:
    said, store = tmp_path / "said.txt", str(finished / "feedback.db")
    arguments = ["--checkpoint-seconds", "0", *OFFLINE, "--offline", store]
    assert trainer.run(["--run-dir", str(tmp_path / "whole"), *arguments], said, report=False) == 0, said.read_text()
    die = ("agents.checkpoint.Checkpoints.save", 3, "after")
    assert trainer.run(["--run-dir", str(tmp_path / "run"), *arguments], said, die=die, report=False) < 0
    assert trainer.run(["--run-dir", str(tmp_path / "run"), "--resume"], said, report=False) == 0, said.read_text()
    whole, resumed = ((tmp_path / name / "reward_model.safetensors").read_bytes() for name in ("whole", "run"))
    assert whole == resumed


def test_what_cannot_be_done_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in (
        (["export", "--to", str(tmp_path / "out")], "Error: Say what to export: either --run-dir"),
        (
            ["export", "--to", str(tmp_path / "out"), "--run-dir", str(tmp_path)],
            "holds no run: there is no",
        ),
        (["export", "--to", str(tmp_path), "--store", str(tmp_path / "a.db")], "is there already; name a new folder"),
        (["export", "--to", str(tmp_path / "b"), "--store", str(tmp_path / "a.db")], "There is no feedback store at"),
        (["import", "--from", str(tmp_path), "--store", str(tmp_path / "new.db")], "is no export"),
    ):
        with pytest.raises(SystemExit) as exit:
            archive.main(arguments)
        said = capsys.readouterr().err
        assert exit.value.code == 2 and expected in said and len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_training_needs_an_environment_or_answers(trainer: Trainer, tmp_path: Path) -> None:
    assert trainer.run(["--run-dir", str(tmp_path / "run"), *TINY], tmp_path / "said.txt") == 2
    assert "Say which environment to train on" in (tmp_path / "said.txt").read_text()
