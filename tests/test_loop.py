"""The feedback loop: what it asks when, what it waits for, and what it makes of the answers."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.feedback import Choice, PreferenceStore, Purpose, ScriptedTeacher, TeacherConfig
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop, LoopState, RoundReport
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import EnsembleConfig, FitConfig, RewardEnsemble

OBSERVATIONS = spaces.Box(-1, 1, (3,), np.float32)
ACTIONS = spaces.Box(-1, 1, (1,), np.float32)
HORIZON = COPIES = 16
TOTAL = 1000
FIT = FitConfig(steps=20, epochs=1)

MakeLoop = Callable[..., FeedbackLoop]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore.create(tmp_path / "feedback.db", environment={}) as made:
        yield made


@pytest.fixture
def make_loop(store: PreferenceStore) -> MakeLoop:
    def make(teacher: str | None = "oracle", **settings: object) -> FeedbackLoop:
        chosen: dict[str, Any] = {"comparisons": 40, "test_comparisons": 10, "segment_length": 4, **settings}
        ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
        scripted = ScriptedTeacher(TeacherConfig(), teacher) if teacher else None
        return FeedbackLoop(
            store,
            ensemble,
            FeedbackConfig(**chosen),
            HORIZON,
            teacher=scripted,
            fit=FIT,
        )

    return make


def rollouts(seed: int = 0) -> SegmentRecorder:
    """A recorder full of noise that pays what the first number of an observation is."""
    recorder = SegmentRecorder(OBSERVATIONS, ACTIONS, COPIES, 64)
    rng = np.random.default_rng(seed)
    for step in range(64):
        observations = rng.uniform(-1, 1, (COPIES, 3)).astype(np.float32)
        ended = np.full(COPIES, step % HORIZON == HORIZON - 1)
        recorder.record(observations, rng.uniform(-1, 1, (COPIES, 1)), observations[:, 0], ended)
    return recorder


def visits(loop: FeedbackLoop, count: int = 10) -> list[RoundReport]:
    return [loop.visit(rollouts(number), (number + 1) * TOTAL // count, TOTAL) for number in range(count)]


def test_a_quarter_is_asked_first_and_the_whole_budget_by_finish_by(make_loop: MakeLoop) -> None:
    loop = make_loop(finish_by=0.7, batch=4)
    asked = [report.asked for report in visits(loop)]
    assert asked[0] == 10
    assert sum(asked) == sum(asked[:7]) == 40
    rounds = [count for count in asked if count]
    assert len(rounds) > 3
    assert min(rounds[:-1]) >= 4
    assert loop.finished_asking


def test_rounds_become_rarer_as_training_goes_on(make_loop: MakeLoop) -> None:
    loop = make_loop(batch=1, comparisons=100, finish_by=1.0)
    asked = [report.asked for report in visits(loop)]
    assert sum(asked[1:4]) > 1.5 * sum(asked[-3:])


def test_test_answers_are_held_out_of_training(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop()
    reports = visits(loop)
    counts = store.counts()
    assert (counts[Purpose.TRAIN].asked, counts[Purpose.TEST].asked) == (40, 10)
    trained = {id for live in store.live_answers(Purpose.TRAIN) for id in live.segment_ids}
    tested = {id for live in store.live_answers(Purpose.TEST) for id in live.segment_ids}
    assert not trained & tested
    assert reports[-1].labels == len(loop.dataset) == 40
    assert reports[-1].test_accuracy is not None and reports[-1].test_accuracy >= 0.7


def test_an_answer_that_was_taken_back_is_forgotten(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None, wait=False, initial_share=0.5, comparisons=8, test_comparisons=0, finish_by=1.0)
    loop.visit(rollouts(), 1, TOTAL)
    while query := store.take("ann"):
        store.answer(query.id or 0, "ann", Choice.LEFT)
    assert loop.visit(rollouts(1), 2, TOTAL).labels == 4
    store.undo("ann")
    assert loop.visit(rollouts(2), 3, TOTAL).labels == 3
    query = store.take("ann")
    assert query is not None and query.id is not None
    store.answer(query.id, "ann", Choice.RIGHT)
    assert loop.visit(rollouts(3), 4, TOTAL).labels == 4
    assert loop.dataset.probability_right.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_skips_teach_nothing_and_ties_teach_that_both_are_equal(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None, wait=False, comparisons=4, initial_share=1.0, test_comparisons=0)
    loop.visit(rollouts(), 1, TOTAL)
    for choice in (Choice.SKIP, Choice.TIE, Choice.LEFT, Choice.RIGHT):
        query = store.take("ann")
        assert query is not None and query.id is not None
        store.answer(query.id, "ann", choice)
    assert loop.visit(rollouts(1), 2, TOTAL).labels == 3
    assert loop.dataset.probability_right.tolist() == [0.5, 0.0, 1.0]


def test_training_waits_for_answers_that_come_from_elsewhere(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None, comparisons=6, initial_share=1.0, test_comparisons=2)
    missing: list[int] = []
    loop.on_wait = missing.append

    def person() -> None:
        answered = 0
        while answered < 6:
            query = store.take("ann")
            if query is not None and query.purpose is Purpose.TRAIN and query.id is not None:
                store.answer(query.id, "ann", Choice.LEFT)
                answered += 1
            time.sleep(0.02)

    thread = threading.Thread(target=person)
    thread.start()
    report = loop.visit(rollouts(), 1, TOTAL)
    thread.join()
    assert report.labels == 6
    assert missing and missing[0] > 0


def test_training_goes_on_without_answers_if_it_is_not_to_wait(make_loop: MakeLoop) -> None:
    loop = make_loop(teacher=None, wait=False)
    reports = visits(loop)
    assert sum(report.asked for report in reports) == 40
    assert [report.labels for report in reports] == [0] * 10
    assert not loop.has_labels


def test_nothing_more_is_asked_once_the_target_accuracy_is_reached(make_loop: MakeLoop) -> None:
    reports = visits(make_loop(target_accuracy=0.6, comparisons=200, test_comparisons=40))
    reached = next(at for at, report in enumerate(reports) if (report.test_accuracy or 0.0) >= 0.6)
    assert sum(report.asked for report in reports[: reached + 1]) < 200
    assert all(report.asked == 0 for report in reports[reached + 1 :])


def test_a_loop_that_goes_on_elsewhere_knows_the_same_and_asks_the_same(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    first = make_loop()
    for number in range(3):
        first.visit(rollouts(number), (number + 1) * 100, TOTAL)
    state = LoopState(**vars(first.state()))
    state.generator = {**state.generator}
    second = make_loop()
    second.ensemble = first.ensemble
    second.restore(LoopState(**vars(state)))
    assert np.array_equal(first.dataset.steps.vector, second.dataset.steps.vector)
    assert np.array_equal(first.dataset.probability_right, second.dataset.probability_right)
    first.visit(rollouts(9), 500, TOTAL)
    keys = [query.key for query in store.queries()]
    second.visit(rollouts(9), 500, TOTAL)
    assert [query.key for query in store.queries()] == keys


def test_a_round_that_was_asked_before_a_crash_is_not_asked_again_about_other_segments(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    killed, resumed = make_loop(teacher=None, wait=False), make_loop(teacher=None, wait=False)
    killed.visit(rollouts(0), 1, TOTAL)
    asked = store.queries()
    # What the resumed run has rolled out is not what the killed one had.
    report = resumed.visit(rollouts(5), 1, TOTAL)
    assert [query.id for query in store.queries()] == [query.id for query in asked]
    assert report.asked == resumed.progress.asked == killed.progress.asked
    assert resumed.progress.asked_test == killed.progress.asked_test


def test_nothing_is_asked_before_a_segment_fits(make_loop: MakeLoop) -> None:
    loop = make_loop()
    empty = SegmentRecorder(OBSERVATIONS, ACTIONS, COPIES, 64)
    report = loop.visit(empty, 1, TOTAL)
    assert (report.asked, report.labels, report.fit) == (0, 0, None)
    assert loop.visit(rollouts(), 2, TOTAL).asked == 10


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"comparisons": 0}, "At least 1 comparison"),
        ({"segment_length": 0}, "segment_length"),
        ({"batch": 0}, "batch"),
        ({"selection": "best"}, "selection must be one of"),
        ({"schedule": "never"}, "no label schedule 'never'"),
        ({"finish_by": 0.0}, "finish_by"),
        ({"target_accuracy": 0.4}, "target_accuracy"),
        ({"target_accuracy": 0.9, "test_comparisons": 0}, "needs held-out answers"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FeedbackConfig(**settings)  # type: ignore[arg-type]
