"""Terminals that go away, and terminals that know no more than ASCII."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.runs import RunDirectory
from scripts.benchmarks.damage import fill_store
from tests.trainer import ROOT

Start = Callable[[list[str]], tuple[subprocess.Popen[bytes], int]]


@pytest.fixture
def in_terminal() -> Iterator[Start]:
    """Start a program in a terminal of its own; the process, and what closes the terminal when it is closed."""
    started = []

    def start(arguments: list[str]) -> tuple[subprocess.Popen[bytes], int]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: _control(theirs),
        )
        os.close(theirs)
        started.append(process)
        return process, ours

    yield start
    for process in started:
        process.kill()
        process.wait()


def _control(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def said(terminal: int, until: str, seconds: float = 90.0) -> None:
    seen, give_up_at = "", time.monotonic() + seconds
    while until not in seen:
        assert time.monotonic() < give_up_at, seen
        seen += os.read(terminal, 65536).decode(errors="replace")


def test_a_run_whose_terminal_goes_away_stops_so_that_it_can_be_resumed(in_terminal: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--run-dir", str(run), "--env", "CartPole-v1", "--reward", "true", "--timesteps", "100000000"]
    process, terminal = in_terminal(["scripts.train", *words])
    give_up_at = time.monotonic() + 90
    while not (run / "progress.csv").exists() or len((run / "progress.csv").read_text().splitlines()) < 2:
        assert time.monotonic() < give_up_at and process.poll() is None
        time.sleep(0.1)
    os.close(terminal)
    assert process.wait(90) == 130
    assert RunDirectory(run).has_checkpoint


def test_a_server_whose_terminal_goes_away_stops_cleanly(in_terminal: Start, tmp_path: Path) -> None:
    place = tmp_path / "feedback.db"
    PreferenceStore.create(place, StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), 15)).close()
    words = ["--store", str(place), "--feedback", "web", "--port", "0", "--annotators", "ann"]
    process, terminal = in_terminal(["rlhf_envs", "label", *words])
    said(terminal, "Ctrl-C stops")
    os.close(terminal)
    assert process.wait(60) == 0
    assert not place.with_name("feedback.db-wal").exists()


def test_code_that_answers_stops_with_its_terminal_unless_that_is_ignored(in_terminal: Start, tmp_path: Path) -> None:
    place = tmp_path / "feedback.db"
    fill_store(place)
    words = ["rlhf_envs", "label", "--store", str(place), "--feedback", "oracle"]
    process, terminal = in_terminal(words)
    said(terminal, "until it is stopped")
    os.close(terminal)
    assert process.wait(60) == 130
    with subprocess.Popen(["nohup", sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE) as ignoring:
        assert ignoring.stdout is not None and b"until it is stopped" in ignoring.stdout.readline()
        ignoring.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert ignoring.poll() is None
        ignoring.send_signal(signal.SIGINT)
        assert ignoring.wait(60) == 130


def test_a_terminal_of_ascii_is_shown_what_it_can_show(tmp_path: Path) -> None:
    place = tmp_path / "feedback.db"
    fill_store(place)
    environment = os.environ | {
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
    }
    for words in (
        ["label", "--store", str(place), "--report"],
        ["label", "--store", str(tmp_path / "größer.db"), "--report"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "rlhf_envs", *words], cwd=tmp_path, env=environment, capture_output=True, timeout=120
        )
        assert b"Traceback" not in done.stderr and done.returncode in (0, 2)
        assert (done.stdout + done.stderr).isascii()
