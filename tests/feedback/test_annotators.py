"""Annotators that are code: what names one, and functions of two clips."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import (
    ANNOTATORS,
    Annotator,
    Choice,
    Clip,
    FunctionAnnotator,
    PreferenceStore,
    Purpose,
    Query,
    ScriptedTeacher,
    TeacherConfig,
    make_annotator,
)
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.sb3 import PreferenceCallback, make_vec_env


def quieter(left: Clip, right: Clip) -> str:
    """Prefers what moves less, by its first observation."""
    heard = [float(np.abs(clip.observations[:, 0]).sum()) for clip in (left, right)]  # type: ignore[call-overload,index]
    return "left" if heard[0] < heard[1] else "right"


class Nodder:
    """Says that everything is equally good."""

    name = "nodder"

    def serve(self, store: PreferenceStore, /) -> int:
        taken = store.take_many(self.name, 100, kinds=["comparison"])
        for query in taken:
            store.answer(query.id or 0, self.name, "tie")
        return len(taken)


class Judge:
    """A function of two clips that is an object."""

    def __call__(self, left: Clip, right: Clip) -> Choice:
        return Choice.SKIP


class Costly:
    def __init__(self, price: float) -> None:
        self.price = price


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's own."""
    (tmp_path / "annotators_of_mine.py").write_text(
        "from rlhf_envs.feedback import TeacherConfig\n"
        "def leftist(left, right):\n    return 'left'\n"
        "class Silent:\n    def serve(self, store):\n        return 0\n"
        "sloppy = TeacherConfig(mistake=0.4)\n"
        "number = 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "annotators_of_mine"


@pytest.fixture
def registered() -> Iterator[str]:
    ANNOTATORS.register("quieter", quieter)
    yield "quieter"
    ANNOTATORS.unregister("quieter")


def test_a_function_of_two_clips_is_asked_about_every_comparison(store: PreferenceStore, make_query: Any) -> None:
    ids = store.ask([make_query(str(number)) for number in range(5)])
    store.ask([make_query("test", purpose=Purpose.TEST), make_query("judged", purpose=Purpose.JUDGE)])
    annotator = make_annotator(quieter)
    assert annotator.serve(store) == 6
    assert annotator.serve(store) == 0
    answers = store.live_answers(Purpose.TRAIN)
    assert [live.query_id for live in answers] == ids and {live.annotator for live in answers} == {"quieter"}
    for live in answers:
        left, right = (float(np.abs(segment.observations[:, 0]).sum()) for segment in store.segments(live.segment_ids))
        assert live.choice is (Choice.LEFT if left < right else Choice.RIGHT)


def test_other_kinds_than_comparisons_stay_open_for_others(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query("a", kind="ranking"), make_query("b"), make_query("c", kind="strength")])
    store.ask([Query("d", 0, make_query("d").segments[:1], "rating")])
    assert FunctionAnnotator(quieter).serve(store) == 1
    assert [live.kind for live in store.live_answers()] == ["comparison"]
    assert store.counts()[Purpose.TRAIN].open == 3
    assert [query.key for query in store.take_many("somebody", 9)] == ["a", "c", "d"]


@pytest.mark.parametrize("said", ["left", "right", "tie", "skip", Choice.SKIP])
def test_a_function_may_say_what_people_may(store: PreferenceStore, make_query: Any, said: str) -> None:
    store.ask([make_query("a")])
    assert FunctionAnnotator(lambda left, right: said, name="model").serve(store) == 1
    assert [(live.annotator, live.choice) for live in store.live_answers()] == [("model", Choice(said))]


@pytest.mark.parametrize("said", ["LEFT", "", None, 1, True])
def test_a_function_that_says_anything_else_is_refused_and_its_query_stays_open(
    store: PreferenceStore, make_query: Any, said: Any
) -> None:
    store.ask([make_query("a")])
    said_so = "The annotator model gave no answer to query 1: .* is no answer to a comparison; say left, right, tie"
    with pytest.raises(ValueError, match=said_so):
        FunctionAnnotator(lambda left, right: said, name="model").serve(store)
    assert store.live_answers() == [] and store.take("model") is not None


def test_an_error_in_a_function_names_it_the_query_and_the_line(store: PreferenceStore, make_query: Any) -> None:
    def forgetful(left: Clip, right: Clip) -> str:
        return {"left": "left"}["right"]

    store.ask([make_query("a")])
    said = r"The annotator forgetful raised KeyError: 'right' \(test_annotators.py:\d+\), at query 1\."
    with pytest.raises(ValueError, match=said):
        FunctionAnnotator(forgetful).serve(store)
    assert store.live_answers() == []


@pytest.mark.parametrize("kinds", [{"ranking": 0.3, "rating": 0.2}, {"strength": 1.0}])
def test_an_annotator_is_not_asked_what_it_does_not_answer(tmp_path: Path, kinds: dict[str, float]) -> None:
    config = FeedbackConfig(kinds=kinds, segment_length=4)
    asked = " and ".join(kinds)
    for annotator in (None, make_annotator("oracle"), Nodder()):
        config.check_annotator(annotator)
    with pytest.raises(ValueError, match=f"annotator quieter answers comparison queries only, but {asked} queries are"):
        config.check_annotator(make_annotator(quieter))
    env = make_vec_env("rlhf/Driving-v1", 2)
    with closing(env), pytest.raises(ValueError, match="answers comparison queries only"):
        PreferenceCallback(env, tmp_path / "feedback.db", config, quieter)
    assert not (tmp_path / "feedback.db").exists()


def test_kinds_of_which_nothing_is_asked_need_no_answer() -> None:
    FeedbackConfig(kinds={"ranking": 0.0}).check_annotator(make_annotator(quieter))
    ranks_only = SimpleNamespace(kinds=("ranking",))
    FeedbackConfig(kinds={"ranking": 1.0}).check_annotator(ranks_only)
    with pytest.raises(ValueError, match="SimpleNamespace answers ranking queries only, but comparison queries are"):
        FeedbackConfig(kinds={"ranking": 1.0}, held_out_share=0.2).check_annotator(ranks_only)


def test_a_function_may_look_at_the_clips_as_people_see_them(store: PreferenceStore, make_segment: Any) -> None:
    dark, bright = (
        replace(make_segment(seed=seed), frames=np.full((5, 40, 60, 3), seed, np.uint8)) for seed in (9, 99)
    )

    def brighter(left: Clip, right: Clip) -> str:
        assert left.frames.shape == right.frames.shape and left.frames.shape[0] == 5 and left.frames_per_second > 0
        return "left" if left.frames.mean() > right.frames.mean() else "right"

    store.ask([Query("a", 0, (dark, bright)), Query("b", 0, (bright, dark))])
    assert FunctionAnnotator(brighter).serve(store) == 2
    assert [live.choice for live in store.live_answers()] == [Choice.RIGHT, Choice.LEFT]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [(None, "does not say which environment its segments are from"), (EnvironmentRef("nobody/Knows-v0"), "nobody")],
)
def test_an_environment_that_cannot_be_made_matters_only_to_who_looks(
    path: Path, make_query: Any, environment: EnvironmentRef | None, sentence: str
) -> None:
    with PreferenceStore.create(path, StoredEnvironment(environment)) as store:
        store.ask([make_query("a")])
        with pytest.raises(ValueError, match=sentence):
            FunctionAnnotator(lambda left, right: str(left.frames)).serve(store)
        store.release("<lambda>")
        assert FunctionAnnotator(quieter).serve(store) == 1


def test_whatever_names_an_annotator_makes_one(module: str, registered: str) -> None:
    nodder = Nodder()
    assert make_annotator(nodder) is nodder
    assert isinstance(make_annotator(Nodder), Nodder)
    assert isinstance(make_annotator(f"{module}:Silent"), Annotator)
    for wanted, name in (
        (quieter, "quieter"),
        (registered, "quieter"),
        (f"{module}:leftist", "leftist"),
        (Judge(), "Judge"),
        (Judge, "Judge"),
    ):
        made = make_annotator(wanted)
        assert isinstance(made, FunctionAnnotator) and made.name == name
    for wanted, name, config in (
        ("mistake", "mistake", TeacherConfig(mistake=0.1)),
        (TeacherConfig(beta=2.0), "teacher", TeacherConfig(beta=2.0)),
        (f"{module}:sloppy", f"{module}:sloppy", TeacherConfig(mistake=0.4)),
    ):
        teacher = make_annotator(wanted)
        assert isinstance(teacher, ScriptedTeacher) and (teacher.name, teacher.config) == (name, config)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("orakle", "There is no annotator 'orakle'; did you mean 'oracle'?"),
        ("annotators_of_mine:nobody", "The module annotators_of_mine has no nobody"),
        ("nowhere_at_all:judge", "The module of the annotator 'nowhere_at_all:judge' cannot be imported"),
        ("annotators_of_mine:number", "'annotators_of_mine:number' is no annotator: it needs a method serve"),
        (7, "7 is no annotator: it needs a method serve"),
        (None, "None is no annotator"),
        (dict, "<class 'dict'> is no annotator"),
        (Costly, "must be made without arguments: .*price"),
        (ScriptedTeacher, "must be made without arguments: .*config"),
    ],
)
def test_what_is_no_annotator_is_refused_in_one_sentence(module: str, wanted: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refusal:
        make_annotator(wanted)
    assert "\n" not in str(refusal.value)
