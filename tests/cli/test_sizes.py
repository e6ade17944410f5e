"""Numbers that cannot be meant: every flag that takes a whole number refuses them at once, in a sentence."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.config import RunConfig
from rlhf_envs.cli import demonstrate, evaluate, judge, label, watch
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.json_values import LARGEST_OF, check_sizes
from scripts import benchmark, illustrate, sweep, train

COMMANDS = {
    "train": (train.main, ["--run-dir", "run", "--env", "rlhf/Driving-v1"]),
    "train with sac": (train.main, ["--run-dir", "run", "--env", "Pendulum-v1", "--learner", "sac"]),
    "label": (label.main, ["--store", "none.db"]),
    "evaluate": (evaluate.main, ["--run-dir", "run"]),
    "judge": (judge.main, ["--run-dir", "run"]),
    "watch": (watch.main, ["--env", "rlhf/Driving-v1"]),
    "demonstrate": (demonstrate.main, ["--env", "rlhf/Driving-v1", "--run-dir", "run"]),
    "illustrate": (illustrate.main, []),
    "sweep": (sweep.main, ["--env", "rlhf/Driving-v1"]),
    "benchmark scale": (benchmark.main, ["scale"]),
}
FEWEST = {"train": 25, "train with sac": 25}
HUGE = "99999999999999999999"


@pytest.fixture
def refusal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, list[str]], str]:
    """What a command says that refuses its arguments within a few seconds, and has written nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def refuse(command: str, words: list[str]) -> str:
        main, usual = COMMANDS[command]
        started = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            main([*usual, *words])
        assert ended.value.code == 2 and time.monotonic() - started < 10
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().err

    return refuse


def whole_number_flags(command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main, usual = COMMANDS[command]
    with pytest.raises(SystemExit):
        main([*usual, "--help-all" if main is train.main else "--help"])
    return re.findall(r"(--[a-z.-]+) (?:\{None\}\|)?\[?INT\b", capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_whole_number_has_a_bound(
    command: str, capsys: pytest.CaptureFixture[str], refusal: Callable[[str, list[str]], str]
) -> None:
    flags = whole_number_flags(command, capsys)
    assert len(flags) >= FEWEST.get(command, 1)
    for flag in flags:
        for given in (HUGE, f"-{HUGE}"):
            said = refusal(command, [f"{flag}={given}"])
            assert len(said) < 1500 and "Traceback" not in said, (flag, said)
            name = flag[2:].rpartition(".")[2].removesuffix("s")
            assert name in said or name.replace("-", "_") in said, (flag, said)


def test_sizes_that_would_take_days_or_all_memory_are_refused(refusal: Callable[[str, list[str]], str]) -> None:
    for flag, given in (("--answers", 10**9), ("--learner.num-envs", 10**6), ("--ensemble.members", 10**6)):
        assert "must be at most" in refusal("train", [flag, str(given)])
    assert "hidden must be at most 16,384, not 1000000" in refusal("train", ["--ensemble.hidden", "1000000"])
    assert "horizon must be at most" in refusal("train", ["--env-kwargs", f'{{"horizon": {HUGE}}}'])


def test_a_number_of_thousands_of_digits_is_refused(refusal: Callable[[str, list[str]], str]) -> None:
    digits = "9" * (sys.get_int_max_str_digits() + 1)
    assert "--answers" in refusal("train", ["--answers", digits])
    refusal("train", ["--answers", digits[:-2]])


def test_a_configuration_on_the_disk_has_the_same_bounds() -> None:
    settings = RunConfig(EnvironmentRef("rlhf/Driving-v1")).to_json()
    settings["labels"]["answers"] = 10**30
    with pytest.raises(ValueError, match="answers must be at most 10,000,000"):
        RunConfig.from_json(settings)


def test_the_names_with_bounds_of_their_own_are_those_of_settings() -> None:
    assert min(LARGEST_OF.values()) > 0
    check_sizes(RunConfig(EnvironmentRef("rlhf/Driving-v1")))
