"""The first seconds of a command, in which it imports what it needs."""

import os
import signal
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from rlhf_envs.cli import COMMANDS, main, one_sentence_errors, stop_at_once
from tests.trainer import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if "def main(" in path.read_text())
STARTED = [["scripts." + name] for name in SCRIPTS] + [["rlhf_envs", name] for name in COMMANDS]


@pytest.mark.parametrize("command", STARTED, ids=" ".join)
def test_ctrl_c_while_a_command_imports_ends_it_in_one_word(command: list[str], tmp_path: Path) -> None:
    # Stands before the installed one, and takes as long as heavy imports do on a slow machine.
    (tmp_path / "tyro.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    started = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None and started.stdout.readline() == "importing\n"
    started.send_signal(signal.SIGINT)
    said = started.communicate(timeout=30)
    assert (*said, started.returncode) == ("", "Stopped.\n", 130)


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    fresh = {name: value for name, value in os.environ.items() if name != "PYGAME_HIDE_SUPPORT_PROMPT"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=fresh, check=True, capture_output=True, text=True
    ).stdout


def test_programs_that_import_a_command_keep_their_signals() -> None:
    told = python("import scripts, signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)")
    assert told == "True\n"


def test_the_work_of_a_command_is_interrupted_as_usual() -> None:
    before = signal.signal(signal.SIGINT, stop_at_once)
    try:
        with one_sentence_errors():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_of_somebody_elses_is_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with one_sentence_errors():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_pygame_does_not_greet() -> None:
    assert python("import scripts, pygame") == ""


def test_the_command_lists_its_commands_and_imports_none_of_them() -> None:
    said = python("import sys; from rlhf_envs.cli import main; main(['--help']); print('tyro' in sys.modules)")
    *usage, imported = said.splitlines()
    assert imported == "False"
    for name, purpose in COMMANDS.items():
        assert any(line.split() == [name, *purpose.split()] for line in usage)
        assert (ROOT / "rlhf_envs" / "cli" / f"{name}.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [([], "usage: rlhf-envs COMMAND"), (["labl"], "did you mean label?"), (["x"], "choose one of")],
)
def test_a_command_that_there_is_not_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert told in said.out + said.err


def test_the_command_is_installed_with_the_library() -> None:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    (script,) = settings["options.entry_points"]["console_scripts"].split("\n")[1:]
    name, place = script.split(" = ")
    assert name == "rlhf-envs" and EntryPoint(name, place, "console_scripts").load() is main


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "Error: There is not enough memory for this.\n"),
        (MemoryError("3 GiB"), "Error: There is not enough memory for this: 3 GiB.\n"),
        (ValueError("a\x1b[2Jb\n c\ud800"), "Error: a\\x1b[2Jb c\\ud800\n"),
    ],
)
def test_errors_are_one_line_that_any_terminal_can_show(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, one_sentence_errors():
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (2, said)
