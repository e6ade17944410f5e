"""A judge who knows the truth finds the best policy, and a command that is given again goes on where it ended."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlhf_envs.cli import judge as judge_command
from rlhf_envs.cli.judge import FIGURES, PAGE
from rlhf_envs.evaluation.judging import session
from rlhf_envs.evaluation.judging.session import ClipRecorder, JudgingConfig, judge, judge_by_code
from rlhf_envs.feedback import Clip, PreferenceStore, Purpose
from rlhf_envs.report.judgement import write_judgement
from rlhf_envs.runs import RunDirectory, read_json, write_json

SIX = JudgingConfig(clip_seconds=2.0, comparisons=6)
ORACLE = judge_by_code("oracle")


def kept(run: Path) -> PreferenceStore:
    return PreferenceStore.open(run / "judgements.db")


def keys(run: Path) -> list[str]:
    with kept(run) as store:
        return [query.key for query in store.queries(purpose=Purpose.JUDGE)]


def test_the_expert_wins_and_the_scores_say_so(run: Path) -> None:
    config = JudgingConfig(clip_seconds=3.0, comparisons=60)
    found = judge(run, ("expert", "proxy", "random"), ORACLE, config)
    assert found.answers == 60 and found.open == 0 and list(found.annotators) == ["oracle"]
    rates = {(pair.first, pair.second): pair for pair in found.pairs}
    assert all(pair.comparisons == 10 for pair in found.pairs)
    assert all(pair.interval[0] <= pair.rate <= pair.interval[1] for pair in found.pairs if pair.rate and pair.interval)
    pair = rates["expert", "random"]
    assert pair.rate is not None and pair.rate >= 0.9 and pair.interval is not None and pair.interval[0] > 0.5
    # In seconds of free road who speeds gets further.
    assert (rates["expert", "proxy"].rate or 0) > 0.6
    score = {policy.name: policy.score for policy in found.policies}
    assert found.policies[0].name == "expert" and found.reference == "random" and score["random"] == 0
    assert score["expert"] > max(score["proxy"], score["trained"], 0)


def test_neither_side_is_any_policys_own(run: Path) -> None:
    judge(run, ("expert",), ORACLE, JudgingConfig(clip_seconds=0.5, comparisons=24))
    with kept(run) as store:
        queries = store.queries(purpose=Purpose.JUDGE)
    left = sum(query.context["left"] == "expert" for query in queries)
    assert 6 <= left <= 18
    assert {query.context["step"] for query in queries} == {0, 18, 37, 55}
    assert len({query.context["seed"] for query in queries}) == 24


def test_a_resumed_command_asks_nothing_twice(run: Path) -> None:
    first = judge(run, ("expert", "random"), ORACLE, SIX)
    asked = keys(run)
    again = judge(run, ("random", "expert"), ORACLE, SIX)
    assert keys(run) == asked and again.answers == first.answers == 6
    more = judge(run, ("expert", "random"), ORACLE, replace(SIX, comparisons=12))
    assert keys(run)[:6] == asked and len(set(keys(run))) == more.answers == 12


def test_a_command_that_is_killed_while_it_plays_goes_on_to_the_same_comparisons(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(shutil.copytree(run, tmp_path / "whole" / "trained"))
    judge(whole, ("expert", "random"), ORACLE, SIX)
    clip, played = ClipRecorder.clip, [0]

    def killed(self: ClipRecorder, *arguments: Any) -> Any:
        played[0] += 1
        if played[0] == 5:
            raise KeyboardInterrupt
        return clip(self, *arguments)

    monkeypatch.setattr(ClipRecorder, "clip", killed)
    with pytest.raises(KeyboardInterrupt):
        judge(run, ("expert", "random"), ORACLE, SIX)
    assert len(keys(run)) == 3
    judge(run, ("expert", "random"), ORACLE, SIX)
    assert keys(run) == keys(whole)


def test_two_judges_of_the_same_clips_are_told_apart_and_compared(run: Path) -> None:
    config = JudgingConfig(clip_seconds=1.0, comparisons=20, overlap=2)
    judge(run, ("expert",), ORACLE, config)
    found = judge(run, ("expert",), judge_by_code("mistake"), config)
    assert {name: one.answers for name, one in found.annotators.items()} == {"mistake": 20, "oracle": 20}
    assert found.agreement.shared == 20 and found.pairs[0].comparisons == 20
    assert found.annotators["oracle"].agrees.of == 20
    page = write_judgement(found, run / PAGE).read_text()
    assert "Krippendorff" in page and "trained over expert" in page


def test_the_preference_model_stands_beside_the_judgements(run: Path) -> None:
    found = judge(run, ("expert", "random"), ORACLE, SIX)
    written = found.to_json()
    assert set(written["model"]) == {"held-out answers", "judgements"}
    assert written["model"]["judgements"]["scores"]["decided"] == 6
    for figures in written["model"].values():
        assert 0 <= figures["scores"]["accuracy"] <= 1 and 0 <= figures["calibration"]["expected_error"] <= 1
    page = write_judgement(found, run / PAGE).read_text()
    assert "expected calibration error" in page and page.count("<svg") == 3
    assert "http" not in page.replace("http://www.w3.org", "") and "<script" not in page and "<link" not in page


def test_a_policy_that_was_trained_on_since_starts_without_judgements(run: Path) -> None:
    judge(run, ("expert",), ORACLE, SIX)
    policy = RunDirectory(run).load_policy()
    policy.save(run / "policy.zip")  # again, as a resumed run does: it is still the same
    assert judge(run, ("expert",), ORACLE, SIX).other_answers == 0
    with torch.no_grad():
        next(policy.policy.parameters()).add_(0.01)
    policy.save(run / "policy.zip")
    found = judge(run, ("expert",), ORACLE, SIX)
    assert (found.answers, found.other_answers) == (6, 6)


def test_the_command_prints_the_figures_and_writes_the_page(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--run-dir", str(run), "--against", "expert", "random", "--feedback", "oracle", "--comparisons", "6"]
    assert judge_command.main(arguments) == 0
    said = capsys.readouterr().out
    for part in ("Win rates", "Bradley-Terry scores", "Who judged", "held-out answers", PAGE):
        assert part in said
    written = read_json(run / FIGURES)
    assert written["answers"] == 6 and (run / PAGE).is_file()
    assert all(one["interval"][0] <= one["score"] <= one["interval"][1] for one in written["policies"])


def prefer_faster(left: Clip, right: Clip) -> str:
    """Looks at what the agent sees of its own speed."""
    speeds = [float(np.asarray(clip.observations)[:, 0].mean()) for clip in (left, right)]
    return "left" if speeds[0] > speeds[1] else "right"


def test_where_the_output_goes_to_a_file_recording_says_how_long_it_still_takes(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_SECONDS_BETWEEN_LINES", 0.0)
    assert judge_command.main(["--run-dir", str(run), "--feedback", "oracle", "--comparisons", "4"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "clips recorded from equal starts" in line]
    assert len(said) == 4 and said[0].startswith("1 of 4 clips") and said[-1].endswith(", 0:00 left")


def test_a_function_of_two_clips_judges(run: Path) -> None:
    arguments = ["--run-dir", str(run), "--against", "expert", "--comparisons", "6"]
    assert judge_command.main([*arguments, "--feedback", f"{__name__}:prefer_faster"]) == 0
    with PreferenceStore.open(run / "judgements.db") as store:
        answers = store.live_answers(Purpose.JUDGE)
    assert [live.annotator for live in answers] == ["prefer_faster"] * 6


class Silent:
    def serve(self, store: PreferenceStore, /) -> int:
        return 0


def other_task(run: Path) -> Path:
    other = Path(shutil.copytree(run, run.parent / "other"))
    content = read_json(other / "config.json")
    content["config"]["environment"]["kwargs"] = {"horizon": 50}
    write_json(other / "config.json", content)
    return other


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--against", "--feedback", "oracle"], "At least two policies are needed"),
        (["--against", "random", "random", "--feedback", "oracle"], "random and random are the same policy"),
        (["--against", "{run}", "--feedback", "oracle"], "are the same policy"),
        (["--against", "{other}", "--feedback", "oracle"], "only runs of one task can be compared"),
        (["--against", "{missing}", "--feedback", "oracle"], "holds no run"),
        (["--against", "expert", "proxy", "--feedback", "oracle", "--comparisons", "2"], "at least 3 comparisons"),
        (["--against", "expert", "--feedback", "oracle", "--clip-seconds", "0"], "clip_seconds must be"),
        (["--against", "expert", "--feedback", "orakle"], "no annotator 'orakle'; did you mean 'oracle'?"),
        (["--against", "expert", "--feedback", "equal"], "skips or ties by figures of a training"),
        (
            ["--against", "expert", "--feedback", f"{__name__}:Silent"],
            "for scripted teachers and functions of two clips",
        ),
        (["--against", "expert", "--feedback", "oracle", "--moments", "0"], "moments must be at least 1"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    places = {"{run}": run, "{other}": other_task(run), "{missing}": run / "missing"}
    with pytest.raises(SystemExit) as stopped:
        judge_command.main(["--run-dir", str(run), *(str(places.get(word, word)) for word in arguments)])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and sentence in said and said.count("\n") == 1
    assert not (run / "judgements.db").exists()


def test_clips_of_another_length_are_not_mixed_with_those_there_are(run: Path) -> None:
    judge(run, ("expert",), ORACLE, SIX)
    with pytest.raises(ValueError, match="clips of 20 steps and not of 10"):
        judge(run, ("expert",), ORACLE, JudgingConfig(clip_seconds=1.0))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_on_the_page_of_a_judgement(run: Path, browser: Any, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    place = write_judgement(judge(run, ("expert", "random"), ORACLE, SIX), run / PAGE)
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(place.as_uri())
    found = axe.Axe().run(page).response["violations"]
    assert not [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
