"""How counts, times and paths are worded for terminals."""

from io import StringIO

import pytest
from rich.console import Console

from agents import callbacks
from rlhf_envs.queries import AccuracySource
from rlhf_envs.terminal import TextTable, at_separators, counted, time_left


def test_one_is_singular_and_everything_else_plural() -> None:
    assert [counted(number, "answer") for number in (0, 1, 2, 2000)] == [
        "0 answers",
        "1 answer",
        "2 answers",
        "2,000 answers",
    ]
    assert counted(3, "query", "queries") == "3 queries"


@pytest.mark.parametrize(
    ("seconds", "done", "total", "said"),
    [(10, 0, 100, ""), (10, 10, 75, "1:05 left"), (3600, 10, 30, "2:00:00 left"), (10, 100, 100, "0:00 left")],
)
def test_the_time_that_is_left_follows_from_the_pace(seconds: float, done: int, total: int, said: str) -> None:
    assert time_left(seconds, done, total) == said


def test_paths_are_broken_between_words_only() -> None:
    path = "/home/somebody/runs/demo-20260102-101112"
    lines = at_separators(path, 14).splitlines()
    assert "".join(lines) == path and lines == ["/home/", "somebody/runs/", "demo-20260102-", "101112"]
    assert at_separators("random", 14) == "random"


@pytest.mark.parametrize(
    ("source", "accuracy", "answers", "said"),
    [
        (AccuracySource.HELD_OUT, 1.0, 3, "3 of 3 held-out answers predicted (100%)"),
        (AccuracySource.OUT_OF_FOLD, 0.0, 1, "0 of 1 comparison predicted out of fold (0%)"),
        (AccuracySource.OUT_OF_FOLD, 0.825, 40, "82% of 40 comparisons predicted out of fold"),
        (AccuracySource.HELD_OUT, 0.5, None, "50% of held-out answers predicted"),
    ],
)
def test_of_few_answers_it_is_said_how_many_were_predicted(
    source: AccuracySource, accuracy: float, answers: int | None, said: str
) -> None:
    assert source.sentence(accuracy, answers) == said


def test_a_run_whose_output_goes_to_a_file_says_how_long_it_still_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = StringIO()
    now = iter([100.0, 140.0, 150.0])
    display = callbacks.ProgressDisplay(1000, Console(file=written))
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(now))
    display.update("collecting", 200)
    display.update("3 answers", 600)  # 40 s later, and lines are 30 s apart
    display.update("not said, because the last line is 10 s old", 700)
    assert written.getvalue().splitlines() == [
        " 20% 200 of 1,000 steps: collecting",
        " 60% 600 of 1,000 steps, 0:40 left: 3 answers",
    ]


PATHS = ("/home/somebody/experiments/2026-11/driving-curiosity-seed3", "runs/a_fairly_long_name.with.dots", "random")


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_tables_fit_their_terminal_and_break_no_word(width: int) -> None:
    columns = ["policy", "true return", "std", "95% interval", "normalised", f"{PATHS[0]} over {PATHS[1]}"]
    cells = ["-12345.67", "1234.50", "-12345.67 to -11000.25", "104%", "67% of 12"]
    tables = TextTable("rlhf/Driving-v1, 50 episodes", 1, columns, [[path, *cells] for path in PATHS]).fitted(width)
    console = Console(width=width, file=StringIO(), record=True)
    console.print(*tables, sep="\n")
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines()) and "…" not in text
    assert text.count("rlhf/Driving-v1") == 1 and (len(tables) == 1) == (width == 200)
    words = set(text.replace("┃", " ").replace("│", " ").split())
    for path in PATHS:
        lines = at_separators(path, 16).split("\n")
        assert words.issuperset(lines)
        assert all(len(line) <= 16 for line in lines)
    assert words.issuperset({"-12345.67", "1234.50", "104%", "normalised", "interval"})
    if width > 40:  # where a number and a name stand beside each other
        assert "-12345.67 to -11000.25" in text
