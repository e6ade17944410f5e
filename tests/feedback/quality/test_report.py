"""The quality report: what it says, prints and writes."""

import io
import json
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.quality import (
    QualityReport,
    print_quality,
    quality_report,
    quality_warnings,
    write_quality_report,
)
from rlhf_envs.feedback.quality.report import COLUMNS, MEANINGS, meanings, table_rows
from rlhf_envs.rewards.reliability import ReliabilityEstimate

ERRS = ReliabilityEstimate(1.0, 0.28, 0.5, 0.1, 120, measured_error_rate=0.3, error_interval=(0.24, 0.37))
FEW = ReliabilityEstimate(1.0, 0.23, 0.5, 0.25, 99)
RELIABILITY = {"ann": ERRS}


@pytest.fixture
def report(say: Any) -> QualityReport:
    rng = np.random.default_rng(0)
    answers = []
    for number in range(120):
        pair = (2 * number, 2 * number + 1)
        answers.append(say("ann", "left" if number % 6 else "right", pair, seconds=float(rng.lognormal(1, 0.4))))
        answers.append(say("<b>bob</b> [red]", ("left", "right")[number % 2], pair, seconds=0.3))
    answers += [say("ann", "left", pair) for pair in ((1, 3), (3, 5), (5, 1))]
    return quality_report(answers, RELIABILITY)


def test_worries_name_who_and_show_the_figure(report: QualityReport) -> None:
    said = quality_warnings(report)
    assert any(line.startswith("ann chose left in 84% of 123 answers (p < 0.001)") for line in said)
    assert any("<b>bob</b> [red] gave 100% of 120 answers in less than 0.7 s" in line for line in said)
    assert any(
        "ann is wrong about 30% (24% to 37%) of clear differences: their weight is reduced" in line for line in said
    )


def test_good_work_gives_no_reason_to_worry(say: Any) -> None:
    choices = ("left", "right")
    good = [say(name, choices[n % 2], (2 * n, 2 * n + 1), seconds=3.0) for n in range(60) for name in ("ann", "bob")]
    fine = ReliabilityEstimate(1.0, 0.02, 0.5, 0.1, 60, measured_error_rate=0.02, error_interval=(0.0, 0.05))
    assert quality_warnings(quality_report(good, {"ann": fine})) == []
    # What reaches below the threshold is no reason either.
    perhaps = ReliabilityEstimate(1.0, 0.3, 0.5, 0.1, 100, measured_error_rate=0.3, error_interval=(0.14, 0.41))
    assert quality_warnings(quality_report(good, {"ann": perhaps})) == []


def test_only_who_surely_tells_nothing_is_said_to(say: Any) -> None:
    answers = [say("ann", choice, (2 * n, 2 * n + 1)) for n in range(30) for choice in ("left", "right")]
    for low, useless in ((0.38, False), (0.42, True)):
        coin = ReliabilityEstimate(1.0, 0.5, 0.5, 0.1, 120, measured_error_rate=0.48, error_interval=(low, 0.5))
        said = [line for line in quality_warnings(quality_report(answers, {"ann": coin})) if "48%" in line]
        assert [("next to nothing" in line) for line in said] == [useless]


def test_too_few_answers_give_no_error_rate_but_the_reason(say: Any, tmp_path: Path) -> None:
    answers = [say(name, "left", (2 * n, 2 * n + 1)) for n in range(5) for name in ("ann", "[b]bob")]
    report = quality_report(answers, {"ann": ERRS, "[b]bob": FEW})
    reason = "An error rate takes at least 100 decided comparisons, which these do not have yet: [b]bob."
    assert [row[COLUMNS.index("error rate")] for row in table_rows(report)] == ["–", "30% (24% to 37%)"]
    assert not any("bob is wrong" in line for line in quality_warnings(report))
    assert reason in printed(report, 200)
    assert reason in write_quality_report(report, tmp_path / "quality.html").read_text()
    shown = json.loads(json.dumps(report.to_json()))["reliability"]
    assert shown["[b]bob"]["error_rate"] is None and shown["[b]bob"]["error_interval"] is None
    assert shown["ann"]["error_rate"] == 0.3 and shown["ann"]["error_interval"] == [0.24, 0.37]
    for everyone in ({}, {"ann": ERRS, "[b]bob": ERRS}):
        assert "decided comparisons, which" not in printed(quality_report(answers, everyone), 200)


def test_a_few_answers_are_not_held_against_anybody(say: Any) -> None:
    assert quality_warnings(quality_report([say("ann", "left", seconds=0.1) for _ in range(5)])) == []


def test_the_printed_report_names_everybody_and_lists_cycles(report: QualityReport) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    print_quality(report, console)
    text = console.export_text()
    assert "<b>bob</b> [red]" in text
    assert "1 > 3 > 5 > 1 (ann)" in text
    assert "30% (24% to 37%)" in text


def printed(report: QualityReport, width: int) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    print_quality(report, console)
    text = console.export_text()
    assert all(len(line) <= width for line in text.splitlines()) and "…" not in text
    return text


def column(text: str, place: int) -> str:
    """What stands in a column of the printed tables, without its breaks."""
    lines = [line for line in text.splitlines() if line[:1] in "┃│"]
    cells = [line.replace("┃", "│").split("│") for line in lines]
    return "".join(cell[place].strip() for cell in cells if place < len(cell) - 1)


def test_four_annotators_with_long_names_can_be_read_on_80_columns(say: Any) -> None:
    names = [f"{name}.van.der.berg@a-university.example.org" for name in ("ann", "bob", "cleo", "dora")]
    answers = [say(name, "left", (2 * n, 2 * n + 1), seconds=2.5) for n in range(1200) for name in names]
    reliability = dict.fromkeys(names, ERRS)
    text = printed(quality_report(answers, reliability), 80)
    figures = column(text, 1)
    for figure in ("answers", "left share", "agrees", "seconds", "too fast", "error rate", "temperature", "on cycles"):
        assert figure in figures
    for place, name in enumerate(names):
        cells = column(text, place + 2)
        assert (
            cells.startswith(f"{name}1,200") and "100% of 1200" in cells and "30%(24%to37%)" in cells.replace(" ", "")
        )
    # No pair was repeated, so there is nothing to say about consistency.
    assert "consistent" not in figures and "–" not in text


def test_more_annotators_than_fit_stand_in_several_tables(say: Any) -> None:
    names = [f"annotator-{number}" for number in range(9)]
    text = printed(quality_report([say(name, "left", seconds=2.5) for name in names], {}), 80)
    assert text.count("annotator  ┃") == 3
    assert sorted(name for name in names if any(name in column(text, place) for place in range(2, 6))) == names
    assert printed(quality_report([say(name, "left") for name in names], {}), 30).count("┏") == len(names)


def test_the_page_is_whole_and_runs_nobodys_markup(report: QualityReport, tmp_path: Path) -> None:
    page = write_quality_report(report, tmp_path / "quality.html").read_text()
    assert "&lt;b&gt;bob&lt;/b&gt;" in page
    assert "<b>bob" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "1 &gt; 3 &gt; 5 &gt; 1" in page
    assert [path.name for path in tmp_path.iterdir()] == ["quality.html"]


def test_the_picture_is_written_alone_as_png_or_svg(report: QualityReport, tmp_path: Path) -> None:
    assert write_quality_report(report, tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
    ElementTree.parse(write_quality_report(report, tmp_path / "quality.svg"))


def test_other_file_types_are_refused(report: QualityReport, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"written as \.html, \.png, \.svg or \.json, not as 'quality\.pdf'"):
        write_quality_report(report, tmp_path / "quality.pdf")


def test_a_store_without_answers_says_so(store: PreferenceStore, tmp_path: Path) -> None:
    empty = quality_report(store.live_answers())
    assert empty.answers == 0
    with pytest.raises(ValueError, match="Nobody has answered yet"):
        write_quality_report(empty, tmp_path / "quality.html")
    console = Console(record=True, file=io.StringIO())
    print_quality(empty, console)
    assert "Nobody has answered yet" in console.export_text()


def test_the_report_is_plain_json(report: QualityReport) -> None:
    read_back = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert read_back["annotators"]["ann"]["choices"]["left"] == 103
    assert read_back["cycles"]["shortest"][0]["segments"] == [1, 3, 5]


def test_the_figures_are_written_alone_as_json(report: QualityReport, tmp_path: Path) -> None:
    written = json.loads(write_quality_report(report, tmp_path / "quality.json").read_text())
    assert written == json.loads(json.dumps(report.to_json()))
    assert written["agreement"]["ac1"] == pytest.approx(report.agreement.ac1)


def test_ten_thousand_answers_are_reported_on_in_seconds(say: Any) -> None:
    rng = np.random.default_rng(0)
    answers = [
        say(f"annotator {who}", ("left", "right", "tie")[rng.integers(3)], (2 * number, 2 * number + 1), seconds=2.0)
        for number in range(5000)
        for who in rng.choice(8, 2, replace=False)
    ]
    started = time.perf_counter()
    assert quality_report(answers).answers == 10_000
    assert time.perf_counter() - started < 6


def test_every_heading_that_does_not_say_all_is_explained_and_nothing_else(report: QualityReport, say: Any) -> None:
    plain = {"annotator", "answers", "left", "right", "tie", "skip"}
    assert set(COLUMNS) - plain == set(MEANINGS)
    text = printed(report, 80)
    explained = set(meanings(report))
    assert {"left share", "seconds", "too fast", "error rate", "alpha", "AC1"} <= explained
    assert "consistent" not in explained and "Share of repeated pairs" not in " ".join(text.split())
    alone = quality_report([say("ann", "left") for _ in range(3)])
    assert set(meanings(alone)) == {"left share", "on cycles"}


def test_skewed_answers_are_told_with_ac1_and_give_no_reason_to_worry(say: Any) -> None:
    ties = [say(name, "tie", (2 * n, 2 * n + 1)) for n in range(30) for name in ("ann", "bob")]
    other = [say(name, side, (100, 101)) for name, side in (("ann", "left"), ("bob", "tie"))]
    report = quality_report(ties + other)
    assert "Krippendorff's alpha is 0.00 and Gwet's AC1 0.97 over 31 pairs" in " ".join(printed(report, 80).split())
    assert not [line for line in quality_warnings(report) if "agree little" in line]


def test_a_report_takes_some_tens_of_bytes_for_each_answer(say: Any) -> None:
    def answers(count: int) -> Iterator[Any]:
        rng = np.random.default_rng(0)
        for number in range(count):
            pair = tuple(rng.choice(400, 2, replace=False).tolist())
            yield say(f"annotator {number % 20}", ("left", "right")[int(rng.integers(2))], pair, seconds=2.0)

    quality_report(answers(100))
    tracemalloc.start()
    try:
        quality_report(answers(20_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000 * 400
