"""A report is one page that stands by itself, and says what a run has to say and nothing else."""

from __future__ import annotations

import base64
import csv
import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest

from agents.config import RunConfig, RunOptions
from agents.train import train
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Query, ranking_payload, rating_payload, strength_payload
from rlhf_envs.learners.on_policy import PPOConfig
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.queries import Choice, LiveAnswer, Purpose
from rlhf_envs.report import charts, run_report
from rlhf_envs.report.pictures import query_pictures, wrong_answers
from rlhf_envs.report.run_report import write_report
from rlhf_envs.rewards.metrics import Calibration, Predictions, ReliabilityBin
from rlhf_envs.runs import RunDirectory, read_json, write_json
from rlhf_envs.segments import Segment
from tests.answers import give_answer

ENVIRONMENT = EnvironmentRef("rlhf/Driving-v1", {"horizon": 30})
CONFIG = RunConfig(
    ENVIRONMENT,
    timesteps=512,
    labels=FeedbackConfig(answers=14, held_out_share=2 / 7, segment_length=8),
    learner_settings=PPOConfig(num_envs=8, n_steps=32, batch_size=256, n_epochs=1),
    run=RunOptions(evaluation_episodes=3),
)
MODEL_SECTIONS = ("The reward model", "What it asked", "Calibration", "learned reward")


def finished_run(path: Path, config: RunConfig) -> RunDirectory:
    directory = RunDirectory(path)
    directory.create(config.to_json())
    train(config, directory, Console(file=io.StringIO()))
    return directory


def text_of(page: Path) -> str:
    """The page without its pictures and its film, whose encoding may happen to spell any word."""
    return re.sub(r"data:[^\"]*", "data:", page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return finished_run(tmp_path_factory.mktemp("runs") / "learned", CONFIG)


@pytest.fixture
def copied(learned: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A run whose files a test may spoil; without its store, which needs no copy."""
    for path in (learned.config_path, learned.metrics_path, learned.progress_path, learned.policy_path):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return RunDirectory(tmp_path)


def as_baseline(directory: RunDirectory, reward: str = "true") -> None:
    """Turn a copied run into one that was trained on the true, or the proxy, reward."""
    content = read_json(directory.config_path)
    content["config"]["reward"] = reward
    write_json(directory.config_path, content)


def test_the_page_loads_nothing_from_elsewhere(learned: RunDirectory) -> None:
    page = text_of(learned.report_path)
    links = re.findall(r'<a href="([^"]*)"', page)
    assert "quality.html" in links and all((learned.path / link).is_file() for link in links)
    sources = re.findall(r'\b(?:src|href)="([^"]*)"', re.sub(r"<a href=[^>]*>", "", page))
    assert sources
    assert all(source == "data:" or source.startswith("#") for source in sources)
    assert "<link" not in page and "<script" not in page and "@import" not in page


def test_the_page_has_everything_that_a_run_on_preferences_has_to_say(learned: RunDirectory) -> None:
    page = text_of(learned.report_path)
    for said in (*MODEL_SECTIONS, "scripted expert", "gaming the proxy", "courtesy", "labels.segment_length"):
        assert said in page
    asked = page[page.index("What it asked") : page.index("Who answered")]
    assert asked.count('class="panel query"') == 10
    preferred = asked.count('class="side preferred"')
    assert preferred == asked.count("oracle: left") + asked.count("oracle: right") > 0
    for said in (
        "What the model likes best and least",
        "Why",
        "Getting along briskly, up to the limit",
        "The legend of the clips",
    ):
        assert said in page
    assert "NaN" not in page and ">nan" not in page


def test_what_the_field_measures_is_shown_beside_the_baselines(copied: RunDirectory) -> None:
    metrics = read_json(copied.metrics_path)
    metrics |= {"measures": {"near_misses": 1.25, "calm": None}}
    metrics |= {"baseline_measures": {"expert": {"near_misses": 0.125, "calm": 3.0}}}
    write_json(copied.metrics_path, metrics)
    as_baseline(copied)
    page = text_of(write_report(copied))
    table = page[page.index("Measures of the field") : page.index("What the field itself measures")]
    cells = re.findall(r"<t[dh]>([^<]*)</t[dh]>", table)
    assert cells == ["per episode", "this policy", "expert", "near misses", "1.25", "0.125", "calm", "–", "3"]


def test_the_pictures_take_their_colours_from_the_page(learned: RunDirectory) -> None:
    page = text_of(learned.report_path)
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) == 6
    for picture in pictures:
        assert "var(--ink)" in picture
        assert re.findall(r"#[0-9a-f]{6}\b", picture) == []
    ids = [name for picture in pictures for name in re.findall(r'\bid="([^"]+)"', picture)]
    assert len(ids) == len(set(ids))


def test_the_film_shows_a_whole_episode(learned: RunDirectory) -> None:
    with av.open(str(learned.film_path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert 30 <= len(frames) <= 40
    assert frames[0].shape[1] == 600
    assert not np.array_equal(frames[0], frames[29])


def test_a_baseline_has_no_preference_model_to_tell_of(copied: RunDirectory) -> None:
    as_baseline(copied)
    page = text_of(write_report(copied))
    assert "Trained on the true reward" in page
    for said in MODEL_SECTIONS:
        assert said not in page


def test_every_known_baseline_stands_beside_the_run(copied: RunDirectory) -> None:
    as_baseline(copied)
    metrics = copied.read_metrics()
    metrics |= {"ppo_return_mean": 99.0, "pretraining": {"true_return_mean": 12.0, "true_return_std": 1.0}}
    metrics |= {"random_return_mean": -50.0, "idle_return_mean": 0.0, "proxy_return_mean": -1.0}
    metrics |= {"true_return_mean": 49.5}
    write_json(copied.metrics_path, metrics)
    page = text_of(write_report(copied))
    assert "PPO on the true reward" in page and "pretrained start" in page
    assert "50%" in page and "from the best constant action to PPO on the true reward" in page


def test_few_held_out_answers_are_told_with_how_unsure_they_leave_the_accuracy(
    learned: RunDirectory,
) -> None:
    page = text_of(learned.report_path)
    told = re.search(r"(\d+) of (\d+) held-out answers; 95% interval (\d+)% to (\d+)%", " ".join(page.split()))
    assert told is not None
    hits, decided, low, high = map(int, told.groups())
    expected = binomtest(hits, decided).proportion_ci(method="wilson")
    assert (low, high) == (round(100 * expected.low), round(100 * expected.high))
    assert f"{expected.low:.2f} to {expected.high:.2f}" in page


@pytest.mark.parametrize(
    ("reward", "mean", "best", "sentence"),
    [
        ("true", 2.0, "random", "This policy is no better than random actions: more steps are needed."),
        ("proxy", 2.0, "random", "This policy is no better than random actions."),
        ("true", 1.0, "idle", "This policy is no better than the best constant action: more steps are needed."),
        ("true", 2.0, "proxy", "This policy is no better than gaming the proxy: more steps are needed."),
        ("true", 2.1, "idle", None),
    ],
)
def test_a_policy_that_is_no_better_than_what_takes_no_learning_is_called_so(
    copied: RunDirectory, reward: str, mean: float, best: str, sentence: str | None
) -> None:
    as_baseline(copied, reward)
    untrained = {f"{name}_return_mean": 2.0 if name == best else -1.0 for name in ("random", "idle", "proxy")}
    write_json(copied.metrics_path, copied.read_metrics() | untrained | {"true_return_mean": mean})
    page = " ".join(text_of(write_report(copied)).split())
    assert sentence in page if sentence else "no better than" not in page


def test_a_run_on_preferences_that_is_no_better_than_random_actions_needs_answers_or_steps(
    learned: RunDirectory, copied: RunDirectory
) -> None:
    for path in learned.path.glob("reward_model*"):
        (copied.path / path.name).write_bytes(path.read_bytes())
    described = StoredEnvironment(copied.read_environment())
    PreferenceStore.create(copied.store_path, described, run=copied.read_id()).close()
    untrained = {"random_return_mean": 2.0, "idle_return_mean": 1.0, "proxy_return_mean": 1.0}
    write_json(copied.metrics_path, copied.read_metrics() | untrained | {"true_return_mean": -2.0})
    page = " ".join(text_of(write_report(copied)).split())
    assert "This policy is no better than random actions: more answers or more steps are needed." in page
    assert "no answer to judge by" in page


def test_figures_side_by_side_have_equally_many_decimals(copied: RunDirectory) -> None:
    as_baseline(copied)
    metrics = {"ppo_return_mean": 129.2, "random_return_mean": -7.249, "proxy_return_mean": 25.74}
    metrics |= {"expert_return_mean": 143.97, "true_return_mean": 56.92, "true_return_std": 5.772}
    write_json(copied.metrics_path, copied.read_metrics() | metrics | {"wall_seconds": 1234.5})
    page = text_of(write_report(copied))
    assert ">56.9</b>" in page and "± 5.8 over" in page and ">1,234 s</b>" in page
    shown = {text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", page)}
    assert {"144", "129", "57", "26", "-7"} <= shown
    terms = re.search(r"<table>\s*<tr><th>per step.*?</table>", page, flags=re.DOTALL)
    assert terms is not None
    cells = re.findall(r"<td[^>]*>(-?[\d.]+)</td>", terms[0])
    assert len(cells) > 20 and {len(cell.partition(".")[2]) for cell in cells} == {3}


def test_below_the_film_there_is_room_for_the_players_controls(learned: RunDirectory) -> None:
    page = learned.report_path.read_text(encoding="utf-8")
    with av.open(str(learned.film_path)) as film:
        expected = film.streams.video[0].width / film.streams.video[0].height
    proportion = re.search(r'class="screen" style="--proportion: ([\d.]+)"', page)
    assert proportion is not None and float(proportion[1]) == pytest.approx(expected, abs=1e-4)
    assert "padding-bottom: calc(100% / var(--proportion) + var(--controls))" in page


def test_a_film_that_cannot_be_made_leaves_a_report_that_says_why(
    copied: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfilmable(*arguments: object, **keywords: object) -> bytes:
        raise RuntimeError("This machine has no screen.")

    as_baseline(copied)
    monkeypatch.setattr(run_report, "film", unfilmable)
    page = text_of(write_report(copied))
    assert "There is no film: This machine has no screen." in page
    assert "<video" not in page


def test_queries_that_cannot_be_drawn_are_shown_as_what_was_observed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    segments = [
        Segment(rng.normal(size=(8, 17)).astype(np.float32), rng.normal(size=(8, 2)), np.ones(8, np.float32))
        for _ in range(2)
    ]
    with PreferenceStore.create(tmp_path / "feedback.db", StoredEnvironment(EnvironmentRef(ENVIRONMENT.id))) as store:
        asked = store.ask([Query("0/train/0", 0, (segments[0], segments[1]))])
        give_answer(store, asked[0], "someone", "tie")
        pictures = query_pictures(store, ENVIRONMENT)
    assert [(picture.answer, picture.annotator, picture.round) for picture in pictures] == [("tie", "someone", 1)]
    assert all(segment.picture.startswith("<svg") for segment in pictures[0].segments)
    assert [segment.true_return for segment in pictures[0].segments] == [8.0, 8.0]


def test_every_kind_of_feedback_is_shown_with_what_was_preferred(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, other, third = (
        Segment(rng.normal(size=(4, 17)).astype(np.float32), rng.normal(size=(4, 2)), np.ones(4, np.float32))
        for _ in range(3)
    )
    answers: list[tuple[str, tuple[Segment, ...], str | None, dict[str, Any] | None]] = [
        ("comparison", (one, other), "left", None),
        ("ranking", (one, other, third), None, ranking_payload([2, 0, 1])),
        ("rating", (one,), None, rating_payload([0.5] * 4)),
        ("strength", (one, other), "right", strength_payload("clearly")),
    ]
    with PreferenceStore.create(tmp_path / "feedback.db", environment=StoredEnvironment(ENVIRONMENT)) as store:
        asked = store.ask([Query(kind, 0, segments, kind) for kind, segments, _, _ in answers])
        for id, (_, _, choice, payload) in zip(asked, answers, strict=True):
            give_answer(store, id, "someone", choice, payload=payload)
        pictures = query_pictures(store, ENVIRONMENT)
    assert [picture.answer for picture in pictures] == ["left", "3 > 1 > 2", "rating", "right, clearly"]
    framed = [[segment.name for segment in picture.segments if segment.preferred] for picture in pictures]
    assert framed == [["left"], ["3"], [], ["right"]]


def test_few_queries_are_spread_over_all_rounds(learned: RunDirectory) -> None:
    with PreferenceStore.open(learned.store_path) as store:
        rounds = [query.round for query in store.queries()]
        pictures = query_pictures(store, ENVIRONMENT, most=3)
    assert len(pictures) == 3
    assert pictures[0].round == 1
    assert pictures[-1].round == max(rounds) + 1


def test_loading_a_policy_runs_no_code_that_somebody_put_into_the_file(copied: RunDirectory) -> None:
    marker = copied.path / "ran"
    evil = {":type:": "<class 'x'>", ":serialized:": base64.b64encode(pickle.dumps(_Touch(marker))).decode()}
    with zipfile.ZipFile(copied.policy_path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["data"] = json.dumps({**json.loads(parts["data"]), "policy_kwargs": evil}).encode()
    with zipfile.ZipFile(copied.policy_path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    copied.load_policy()
    assert not marker.exists()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: run.metrics_path.unlink(), "has not finished"),
        (lambda run: run.policy_path.unlink(), "has not finished"),
        (lambda run: _truncate(run.policy_path), "is damaged or does not fit"),
        (lambda run: run.config_path.unlink(), "holds no run"),
    ],
)
def test_a_run_that_cannot_be_reported_is_refused_in_one_sentence(
    copied: RunDirectory, spoil: Callable[[RunDirectory], None], sentence: str
) -> None:
    as_baseline(copied)
    spoil(copied)
    with pytest.raises(ValueError, match=sentence):
        write_report(copied)
    assert not copied.report_path.exists()


def test_a_policy_of_other_settings_is_refused(copied: RunDirectory) -> None:
    content = read_json(copied.config_path)
    content["config"] = replace(CONFIG, learner_settings=replace(CONFIG.learner_settings, net_arch=(7,))).to_json()
    write_json(copied.config_path, content)
    with pytest.raises(ValueError, match="does not fit the run's settings"):
        copied.load_policy()


def test_the_reward_model_that_comes_back_is_the_one_of_the_run(learned: RunDirectory) -> None:
    model = learned.load_reward_model()
    assert model is not None
    env = ENVIRONMENT.make()
    assert model.encoder.observation_space == env.observation_space
    env.close()


class _Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_calibration_is_drawn_only_from_enough_answers(learned: RunDirectory) -> None:
    page = " ".join(text_of(learned.report_path).split())
    assert "Calibration cannot be told yet: that takes at least 10 answers in each of 3 or more of ten ranges" in page
    assert read_json(learned.report_folder / "figures.json")["calibration_has_enough_answers"] is False
    told = Calibration(tuple(ReliabilityBin(at, at + 0.1, 10, at + 0.05, at) for at in (0.0, 0.5, 0.9)), 0.05)
    assert run_report._enough(told)
    assert not run_report._enough(Calibration(told.bins[:2], 0.05))
    drawn = charts.reliability(Calibration((*told.bins, ReliabilityBin(0.3, 0.4, 2, 0.35, 1.0)), 0.05), fewest=10)
    assert ">2</text>" in drawn


def test_all_figures_lie_beside_the_page_as_json_and_csv(learned: RunDirectory) -> None:
    figures = read_json(learned.report_folder / "figures.json")
    tables = {
        path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in learned.report_folder.glob("*.csv")
    }
    assert set(tables) == {"steps", "answers", "segments", "annotators"}
    metrics = learned.read_metrics()
    assert figures["metrics"] == metrics
    assert (
        figures["test_accuracy"]
        == metrics["test_accuracy"]
        == pytest.approx(
            np.mean(
                [(float(row["predicted_right"]) > 0.5) == (row["label_right"] == "1.0") for row in tables["answers"]]
            )
        )
    )
    assert len(tables["steps"]) == 30
    columns = np.array([[float(value) for name, value in row.items() if "input" in name] for row in tables["steps"]])
    learned_reward = np.array([float(row["learned_reward"]) for row in tables["steps"]])
    # The shares of a step add up to its learned reward less that of the average step.
    difference = learned_reward - columns.sum(axis=1)
    assert np.ptp(difference) < 0.1 * np.ptp(learned_reward)
    returns = [float(row["learned_return"]) for row in tables["segments"]]
    assert returns == sorted(returns, reverse=True)
    assert {"learned", "true"} == set(figures["term_correlations"]["mixture"]["progress"])
    assert figures["scale"]["zero"] and figures["rubric"].startswith("Who would you rather ride with")
    oracle = tables["annotators"][0]
    assert (oracle["annotator"], oracle["truth_count"]) == ("oracle", oracle["truth_of"])
    assert float(oracle["truth_low"]) < float(oracle["truth_high"]) == 1.0


def test_an_answer_that_the_model_gets_wrong_is_told_with_what_it_gave() -> None:
    answers = [
        LiveAnswer(
            id=id,
            query_id=id,
            annotator="ann",
            choice=Choice(choice),
            segment_ids=(1, 2),
            round=0,
            kind="comparison",
            purpose=Purpose.TRAIN,
        )
        for id, choice in enumerate(("left", "right", "left", "tie"))
    ]
    found = wrong_answers(Predictions(np.array([0.9, 0.4, 0.1, 0.9]), np.array([0.0, 1.0, 0.0, 0.5]), tuple(answers)))
    assert [(answer.id, pytest.approx(likely)) for answer, likely in found] == [(0, 0.1), (1, 0.4)]


def test_time_spent_waiting_for_people_is_no_time_of_computing(copied: RunDirectory) -> None:
    as_baseline(copied)
    content = read_json(copied.config_path)
    content["config"]["feedback"] = "web"
    content["commands"] = ["python -m scripts.train --feedback web"]
    write_json(copied.config_path, content)
    spent = {"wall_seconds": 100.0, "wait_seconds": 80.0, "timesteps": 2000}
    write_json(copied.metrics_path, copied.read_metrics() | spent)
    page = " ".join(text_of(write_report(copied)).split())
    assert "of it 80 s waiting for people; 100 steps a second of computing" in page
    assert "waiting for people 80.0 s (80%)" in page
    assert "<code>python -m scripts.train --feedback web</code>" in page


def test_the_time_of_a_second_training_is_not_that_of_the_steps_of_the_first(copied: RunDirectory) -> None:
    as_baseline(copied)
    second = {"wall_seconds": 60.0, "about": "Of two policies, the first one is kept."}
    spent = {"wall_seconds": 100.0, "wait_seconds": 0.0, "timesteps": 2000, "fresh_policy": second}
    write_json(copied.metrics_path, copied.read_metrics() | spent)
    page = " ".join(text_of(write_report(copied)).split())
    assert "of it 60 s for a second policy; 50 steps a second of computing" in page
    assert "These curves are of the first training." in page and page.count(second["about"]) == 1


@pytest.mark.parametrize("viewport", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_of_a_run(
    learned: RunDirectory, browser: Any, theme: str, viewport: tuple[int, int]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(color_scheme=theme, viewport={"width": viewport[0], "height": viewport[1]})
    page = context.new_page()
    for path in (learned.report_path, learned.quality_path):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        found = axe.Axe().run(page).response["violations"]
        assert not [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found], path.name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name
    context.close()
