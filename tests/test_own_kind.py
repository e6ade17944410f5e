"""A kind of feedback of a user's own, which the rest of the library learns of by its registration alone."""

import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from rlhf_envs.archive import export_store, import_archive
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import (
    KINDS,
    AnswerRefusedError,
    Choice,
    FeedbackKind,
    Label,
    PreferenceStore,
    Query,
    ScriptedTeacher,
    TeacherConfig,
)
from rlhf_envs.kinds import Judgement, LabelBatch
from rlhf_envs.objectives import Objective
from rlhf_envs.queries import Purpose
from rlhf_envs.rewards import fit, predict_answers
from tests.answers import give_answer
from tests.rewards.learning import add_comparisons, agreement, new_ensemble, pendulum_segments


@dataclass(frozen=True)
class Thumbs(FeedbackKind):
    """Whether one segment is good, which is fitted as if it had been compared with a segment of return 0."""

    name: ClassVar[str] = "thumbs"
    fewest_segments: ClassVar[int] = 1
    most_segments: ClassVar[int] = 1

    def label(
        self, choice: Choice | None, payload: Mapping[str, Any] | None, segments: int, steps: int
    ) -> Label | None:
        if (segments, steps) != (1, 25):
            raise ValueError(f"this test shows 1 segment of 25 steps, not {segments} of {steps}")
        said = None if payload is None else payload.get("thumb")
        if choice is not None or said not in ("good", "bad"):
            raise ValueError("a thumb is {'thumb': 'good'} or {'thumb': 'bad'}")
        return Label((0,), (float(said == "good"),))

    def scripted_answer(self, teacher: Judgement, query: Query) -> tuple[Choice | None, Mapping[str, Any] | None]:
        good = teacher.returns(query)[0] > query.context["usual_return"]
        return None, {"thumb": "good" if good else "bad"}

    def predict(self, rewards: Tensor) -> Tensor:
        return rewards[:, 0].sum(dim=2)

    def loss(self, predictions: Tensor, labels: LabelBatch, objective: Objective) -> Tensor:
        return objective.comparison_loss(predictions, labels.targets[:, 0], labels.error_rates)

    def context(self, true_rewards: NDArray[np.float32]) -> dict[str, Any]:
        return {"usual_return": float(np.median(true_rewards.sum(axis=1)))}


@pytest.fixture
def thumbs() -> Iterator[FeedbackKind]:
    kind = KINDS.register("thumbs", Thumbs())
    yield kind
    if "thumbs" in KINDS:
        KINDS.unregister("thumbs")


@pytest.fixture
def store(tmp_path: Path, thumbs: FeedbackKind) -> Iterator[PreferenceStore]:
    """Sixty segments to say good or bad to."""
    with PreferenceStore.create(tmp_path / "feedback.db", StoredEnvironment(EnvironmentRef("Pendulum-v1"))) as made:
        segments = pendulum_segments(60, seed=0)
        context = thumbs.context(np.stack([segment.true_rewards for segment in segments]))
        made.ask(
            [Query(f"0/train/thumbs/{n}", 0, (each,), "thumbs", context=context) for n, each in enumerate(segments)]
        )
        yield made


def test_a_reward_is_learned_from_a_kind_of_ones_own(store: PreferenceStore) -> None:
    assert ScriptedTeacher(TeacherConfig()).serve(store) == 60
    answers = store.live_answers()
    assert {live.kind for live in answers} == {"thumbs"}
    ensemble, dataset = new_ensemble()
    assert dataset.add_answers(answers, store) == 60
    assert dataset.counts == {"thumbs": 60}
    good = dataset.labels("thumbs").targets.mean()
    assert good == 0.5
    report = fit(ensemble, dataset)
    assert report.labels == 60 and report.held_out_loss < np.log(2)
    assert np.isnan(report.held_out_accuracy)  # it says nothing about pairs
    assert agreement(ensemble) > 0.8
    assert len(predict_answers(ensemble, answers, store)) == 0


def test_it_is_learned_beside_the_other_kinds(store: PreferenceStore) -> None:
    ScriptedTeacher(TeacherConfig()).serve(store)
    ensemble, dataset = new_ensemble()
    add_comparisons(dataset, 30, seed=1)
    dataset.add_answers(store.live_answers(), store)
    assert fit(ensemble, dataset).labels == 90
    assert agreement(ensemble) > 0.9


def test_the_store_refuses_what_is_no_query_or_answer_of_it(store: PreferenceStore) -> None:
    with pytest.raises(ValueError, match="A thumbs shows 1 segment, but query 'two' has 2"):
        store.ask([Query("two", 0, tuple(pendulum_segments(2, seed=3)), "thumbs")])
    for choice, payload in (("left", None), (None, None), (None, {"thumb": "up"}), ("tie", {"thumb": "good"})):
        with pytest.raises(AnswerRefusedError, match=r"cannot be answered so: a thumb is \{'thumb': 'good'\}"):
            give_answer(store, 1, "ann", choice, payload=payload)
    give_answer(store, 1, "ann", None, payload={"thumb": "good", "replays": 2})
    give_answer(store, 2, "ann", "skip")
    assert [live.choice for live in store.live_answers()] == [None, Choice.SKIP]
    assert [query.kind for query in store.take_many("bob", 3, kinds=["thumbs"])] == ["thumbs"] * 3
    assert store.take("bob", kinds=["comparison"]) is None


def test_an_archive_holds_it(store: PreferenceStore, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    ScriptedTeacher(TeacherConfig()).serve(store)
    export_store(tmp_path / "feedback.db", tmp_path / "exported", clips=False)
    import_archive(tmp_path / "exported", tmp_path / "again.db")
    with PreferenceStore.open(tmp_path / "again.db") as again:
        assert [(live.kind, live.payload) for live in again.live_answers()] == [
            (live.kind, live.payload) for live in store.live_answers()
        ]
    KINDS.unregister("thumbs")
    with pytest.raises(ValueError, match="holds queries of the kind 'thumbs', which is not registered here"):
        import_archive(tmp_path / "exported", tmp_path / "elsewhere.db")


def test_where_it_is_not_registered_every_part_says_so(store: PreferenceStore) -> None:
    ScriptedTeacher(TeacherConfig(), "ann").answer(store.queries()[0])
    give_answer(store, 1, "ann", None, payload={"thumb": "good"})
    KINDS.unregister("thumbs")
    ensemble, dataset = new_ensemble()
    assert [live.kind for live in store.live_answers()] == ["thumbs"]
    assert len(predict_answers(ensemble, store.live_answers(), store)) == 0
    with pytest.raises(ValueError, match="There is no kind of feedback 'thumbs'"):
        dataset.add_answers(store.live_answers(), store)
    with pytest.raises(ValueError, match="There is no kind of feedback 'thumbs'"):
        ScriptedTeacher(TeacherConfig()).serve(store)
    with pytest.raises(ValueError, match="There is no kind of feedback 'thumbs'"):
        give_answer(store, 2, "ann", None, payload={"thumb": "good"})
    with pytest.raises(ValueError, match="There is no kind of feedback 'thumbs'"):
        store.ask([Query("more", 0, store.queries()[0].segments, "thumbs")])


def test_a_kind_that_a_store_names_is_never_imported(
    store: PreferenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("class Kind:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with sqlite3.connect(tmp_path / "feedback.db") as raw:
        raw.execute("UPDATE queries SET kind = 'planted:Kind'")
    raw.close()
    _, dataset = new_ensemble()
    for act in (
        lambda: ScriptedTeacher(TeacherConfig()).serve(store),
        lambda: give_answer(store, 1, "ann", None, payload={"thumb": "good"}),
    ):
        with pytest.raises(ValueError, match="There is no kind of feedback 'planted:Kind'"):
            act()
    give_answer(store, 1, "ann", "skip")
    assert dataset.add_answers(store.live_answers(Purpose.TRAIN), store) == 0
    assert "planted" not in sys.modules
