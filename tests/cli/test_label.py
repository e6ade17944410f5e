"""The command with which people answer: what it refuses, and when it ends."""

import getpass
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from operator import eq
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.config import RunConfig, read_config
from agents.train import open_store
from rlhf_envs.cli import label
from rlhf_envs.cli.flags import ScreenFlags
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import Clip, PreferenceStore, Query
from rlhf_envs.feedback.store import QUEUE
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.queries import look_of
from rlhf_envs.runs import RunDirectory
from rlhf_envs.segments import Segment
from tests.answers import give_answer
from tests.trainer import ROOT

STARTER = """
import os, subprocess, sys, time
subprocess.Popen([*sys.argv[1:], "--until-gone", str(os.getpid())])
time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has asked nothing yet."""
    directory = RunDirectory(tmp_path / "run")
    config = RunConfig(EnvironmentRef("rlhf/Driving-v1"), feedback="elsewhere").settled()
    directory.create(config.to_json())
    open_store(config, directory).close()
    return directory.path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says when it refuses, on one line."""
    with pytest.raises(SystemExit) as stopped:
        label.main(list(arguments))
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    *waiting, last = captured.err.splitlines()
    assert last.startswith("Error: ") and all(line.startswith("Waiting ") for line in waiting)
    return last


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say whose queries to answer"),
        (["--run-dir", "somewhere", "--store", "feedback.db"], "Say whose queries to answer"),
        (["--run-dir", "nowhere", "--wait-seconds", "0"], "nowhere holds no run"),
        (["--store", "nowhere.db", "--wait-seconds", "0"], "There is no feedback store"),
        (["--run-dir", "nowhere", "--report"], "nowhere holds no run"),
        (["--store", "nowhere.db", "--report"], "There is no feedback store"),
        (["--store", "mysql://host/labels"], "SQLite or PostgreSQL, not in mysql"),
        (["--run-dir", "somewhere", "--report", "--feedback", "web"], "--report asks nobody; leave --feedback out"),
        (["--run-dir", "somewhere", "--feedback", "orakle"], "There is no annotator 'orakle'; did you mean 'oracle'?"),
        (["--run-dir", "somewhere", "--port", "70000"], "A port is a number from 0 to 65535"),
        (["--run-dir", "somewhere", "--repeat-rate", "nan"], "repeat_rate is a share from 0 to 1"),
        (["--run-dir", "somewhere", "--wait-seconds", "nan"], "wait_seconds must be 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert said in refused(capsys, *arguments)


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "x" * 65, " "])
@pytest.mark.parametrize("page", [[], ["--feedback", "web", "--port", "0"]])
def test_a_name_that_would_spoil_tables_and_terminals_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], name: str, page: list[str]
) -> None:
    assert "name" in refused(capsys, "--run-dir", str(run), "--annotator", name, *page)


@pytest.mark.parametrize("name", ["Ann", "\u0430nn", "a\u0301nn"])
def test_a_name_that_looks_like_that_of_somebody_who_has_answered_is_refused(tmp_path: Path, name: str) -> None:
    with PreferenceStore.create(tmp_path / "feedback.db") as store:
        zeros = np.zeros((5, 1), np.float32)
        [id] = store.ask(
            [Query("0/train/0", 0, (Segment(zeros, zeros, zeros[:, 0]), Segment(zeros + 1, zeros, zeros[:, 0])))]
        )
        give_answer(store, id, "ann", "left")
        with pytest.raises(ValueError, match="looks like 'ann', who is here already"):
            ScreenFlags(annotator=name).open_window(store, QUEUE)


@pytest.mark.parametrize(("one", "other"), [("Al", "AI"), ("rnax", "max"), ("\uff22ob", "bob"), ("b0b", "bob")])
def test_names_that_may_be_taken_for_each_other_share_a_look(one: str, other: str) -> None:
    assert any(map(eq, look_of(one), look_of(other)))
    assert not any(map(eq, look_of("Ian"), look_of("Lan")))


def test_somebody_without_a_name_in_the_system_is_asked_for_one(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert "say who answers with --annotator" in refused(capsys, "--run-dir", str(run))


def test_a_port_that_is_taken_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in refused(capsys, "--run-dir", str(run), "--feedback", "web", "--port", port)


def test_a_store_that_a_starting_run_is_still_making_is_waited_for(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "feedback.db").unlink()
    sqlite3.connect(run / "feedback.db").execute("PRAGMA journal_mode = WAL").connection.close()
    began = time.monotonic()
    assert "it is empty" in refused(capsys, "--run-dir", str(run), "--wait-seconds", "0.5")
    assert time.monotonic() - began >= 0.5


def test_a_run_that_is_started_after_the_command_is_waited_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = tmp_path / "later"
    threading.Timer(0.5, lambda: run.rename(later)).start()
    assert "has no link" in refused(
        capsys, "--run-dir", str(later), "--feedback", "web", "--port", "0", "--renew", "zed"
    )


def test_a_store_that_is_made_after_the_command_is_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "later.db"
    later = threading.Timer(0.5, lambda: PreferenceStore.create(place, StoredEnvironment(None)).close())
    later.start()
    with pytest.raises(SystemExit) as stopped:
        label.main(["--store", str(place), "--feedback", "web", "--port", "0"])
    later.join()
    assert stopped.value.code == 2 and place.is_file()


def prefer_left(left: Clip, right: Clip) -> str:
    """Has no reason for it."""
    return "left"


@pytest.mark.parametrize(
    ("feedback", "told"), [(f"{__name__}:prefer_left", "answers comparison queries"), ("oracle", "")]
)
def test_code_answers_until_the_training_has_finished(
    run: Path, make_query: Any, capsys: pytest.CaptureFixture[str], feedback: str, told: str
) -> None:
    with PreferenceStore.open(run / "feedback.db") as store:
        store.ask([make_query("a"), make_query("b")])
        store.post_status(TRAINING, {"state": "training"})
    threading.Timer(1.0, finish, (run / "feedback.db",)).start()
    assert label.main(["--run-dir", str(run), "--feedback", feedback, "--annotator", "code", "--until-finished"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The annotator code answers") and told in said
    with PreferenceStore.open(run / "feedback.db") as store:
        assert [live.annotator for live in store.live_answers()] == ["code"] * 2


def finish(place: Path) -> None:
    with PreferenceStore.open(place) as store:
        store.post_status(TRAINING, {"state": "finished"})


@pytest.mark.parametrize("page", [[], ["--feedback", "web", "--port", "0"]])
def test_nobody_is_asked_about_what_cannot_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], page: list[str]
) -> None:
    for id, said in (("missing_package:Point-v0", "PYTHONPATH"), ("Nowhere-v7", "package:id")):
        place = tmp_path / f"{id.partition(':')[0]}.db"
        PreferenceStore.create(place, StoredEnvironment(EnvironmentRef(id))).close()
        assert said in refused(capsys, "--store", str(place), *page)
    PreferenceStore.create(tmp_path / "nameless.db").close()
    assert "does not say which environment" in refused(capsys, "--store", str(tmp_path / "nameless.db"), *page)


@pytest.mark.parametrize(("steps", "told"), [(15, True), (60, False)])
def test_clips_too_short_to_judge_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: int, told: bool
) -> None:
    place = tmp_path / "feedback.db"
    PreferenceStore.create(place, StoredEnvironment(EnvironmentRef("CartPole-v1"), steps)).close()
    with pytest.raises(SystemExit):
        label.main(["--store", str(place), "--feedback", "web", "--port", "0", "--annotators", "ann", "--renew", "zed"])
    assert ("a run with --clip-seconds 1.5 would show longer ones" in capsys.readouterr().err) == told


def test_a_run_that_was_killed_while_it_made_its_store_can_be_resumed(run: Path) -> None:
    directory = RunDirectory(run)
    directory.store_path.write_bytes(b"")
    with open_store(read_config(directory), directory) as store:
        assert store.environment.id == "rlhf/Driving-v1"


@pytest.mark.slow
def test_a_page_does_not_outlive_the_training_that_opened_it(run: Path) -> None:
    serve = [
        sys.executable,
        "-m",
        "rlhf_envs",
        "label",
        "--run-dir",
        str(run),
        "--feedback",
        "web",
        "--port",
        "0",
        "--annotators",
        "ann",
    ]
    with subprocess.Popen([sys.executable, "-c", STARTER, *serve], cwd=ROOT, stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        for line in training.stdout:
            if b"Ctrl-C stops" in line:
                break
        os.kill(training.pid, signal.SIGKILL)
        # Whoever still serves keeps this end of the pipe open.
        assert b"Stopped. Every answer that was acknowledged is in the store." in training.stdout.read()
    with PreferenceStore.open(run / "feedback.db") as store:
        assert store.live_answers() == []
