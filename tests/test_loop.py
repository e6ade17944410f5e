"""The feedback loop: what it asks when, what it waits for, and what it makes of the answers."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.demonstrations import Demonstrations, Episode
from rlhf_envs.feedback import Choice, PreferenceStore, Purpose, ScriptedTeacher, TeacherConfig
from rlhf_envs.feedback.annotators.demonstrator import DEMONSTRATOR, Demonstrator
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, TRAINING
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
    with PreferenceStore.create(tmp_path / "feedback.db") as made:
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
            annotator=scripted,
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


def answers(loop: FeedbackLoop, *choices: Choice) -> Callable[[str], None]:
    """Somebody who gives these answers as soon as the loop waits for any."""

    def give(_awaited: str) -> None:
        for choice in choices:
            if (query := loop.store.take("ann")) is not None and query.id is not None:
                loop.store.answer(query.id, "ann", choice)

    return give


def test_an_answer_that_was_taken_back_is_forgotten(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None, initial_share=0.5, comparisons=8, batch=4, test_comparisons=0, finish_by=1.0)
    loop.on_wait = answers(loop, *[Choice.LEFT] * 4)
    assert loop.visit(rollouts(), 1, TOTAL).labels == 4
    store.undo("ann")
    assert loop.visit(rollouts(2), 3, TOTAL).labels == 3
    query = store.take("ann")
    assert query is not None and query.id is not None
    store.answer(query.id, "ann", Choice.RIGHT)
    assert loop.visit(rollouts(3), 4, TOTAL).labels == 4
    assert loop.dataset.labels("comparison").targets[:, 0].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_skips_teach_nothing_and_ties_teach_that_both_are_equal(make_loop: MakeLoop) -> None:
    loop = make_loop(teacher=None, comparisons=4, initial_share=1.0, test_comparisons=0)
    loop.on_wait = answers(loop, Choice.SKIP, Choice.TIE, Choice.LEFT, Choice.RIGHT)
    assert loop.visit(rollouts(), 1, TOTAL).labels == 3
    assert loop.dataset.labels("comparison").targets[:, 0].tolist() == [0.5, 0.0, 1.0]


def test_training_waits_for_answers_that_come_from_elsewhere(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None, wait=True, comparisons=6, initial_share=1.0, test_comparisons=2)
    awaited: list[str] = []
    loop.on_wait = awaited.append

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
    assert awaited and "answers" in awaited[0]
    assert store.statuses()[TRAINING].value["state"] == "waiting"


def test_training_goes_on_while_people_answer_but_not_far_ahead_of_them(make_loop: MakeLoop) -> None:
    loop = make_loop(teacher=None, comparisons=40, test_comparisons=0, open_limit=6)
    loop.on_wait = answers(loop, Choice.LEFT)
    first = loop.visit(rollouts(), 1, TOTAL)
    assert (first.asked, first.labels) == (10, 4)
    for number in range(2, 20):
        loop.visit(rollouts(number), number * TOTAL // 20, TOTAL)
        assert loop.store.counts()[Purpose.TRAIN].open <= 6
    assert len(loop.dataset) == 34


def test_training_waits_for_the_first_answer_in_any_case(make_loop: MakeLoop) -> None:
    loop = make_loop(teacher=None, open_limit=1000)
    loop.on_wait = answers(loop, Choice.LEFT)
    assert [report.labels for report in visits(loop)] == [1] * 10


def test_the_owner_can_pause_a_run_and_let_it_go_on(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop()
    store.post_status(OWNER_REQUESTS, {"paused": True})
    told: list[str] = []

    def owner(awaited: str) -> None:
        told.append(awaited)
        assert store.statuses()[TRAINING].value["state"] == "paused"
        if len(told) == 2:
            store.post_status(OWNER_REQUESTS, {"paused": False})

    loop.on_wait = owner
    assert loop.visit(rollouts(), 1, TOTAL).asked == 10
    assert len(told) == 2 and "owner" in told[0]


def test_the_owner_can_stop_a_run_that_waits(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None)
    loop.on_wait = lambda _: store.post_status(OWNER_REQUESTS, {"stop": True})
    assert loop.visit(rollouts(), 1, TOTAL).stop_requested
    # A run that goes on later was not stopped.
    assert not make_loop().visit(rollouts(), 1, TOTAL).stop_requested


def test_the_owner_can_ask_for_more_than_the_budget(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(finish_by=0.5)
    visits(loop)
    assert loop.finished_asking
    store.post_status(OWNER_REQUESTS, {"extra_comparisons": 7})
    report = loop.visit(rollouts(20), TOTAL, TOTAL)
    assert (report.asked, report.labels, loop.budget) == (7, 47, 47)
    assert loop.visit(rollouts(21), TOTAL, TOTAL).asked == 0


def test_every_query_is_answered_by_as_many_annotators_as_are_wanted(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop(overlap=2, initial_share=1.0, comparisons=5, test_comparisons=0)
    assert loop.visit(rollouts(), 1, TOTAL).labels == 5
    assert store.counts()[Purpose.TRAIN].open == 5
    assert len(store.take_many("ann", 9)) == 5


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
    given, again = first.dataset.labels("comparison"), second.dataset.labels("comparison")
    assert np.array_equal(given.rows, again.rows) and np.array_equal(given.targets, again.targets)
    first.visit(rollouts(9), 500, TOTAL)
    keys = [query.key for query in store.queries()]
    second.visit(rollouts(9), 500, TOTAL)
    assert [query.key for query in store.queries()] == keys


def test_a_round_that_was_asked_before_a_crash_is_not_asked_again_about_other_segments(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    killed, resumed = make_loop(teacher=None), make_loop(teacher=None)

    def kill(_awaited: str) -> None:
        raise KeyboardInterrupt

    killed.on_wait = kill
    with pytest.raises(KeyboardInterrupt):
        killed.visit(rollouts(0), 1, TOTAL)
    asked = store.queries()
    resumed.on_wait = answers(resumed, *[Choice.LEFT] * 20)
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
        ({"selection": "best"}, "no selection rule 'best'; choose one of uniform"),
        ({"schedule": "never"}, "no label schedule 'never'"),
        ({"finish_by": 0.0}, "finish_by"),
        ({"open_limit": -1}, "open_limit"),
        ({"overlap": 0}, "overlap"),
        ({"target_accuracy": 0.4}, "target_accuracy"),
        ({"target_accuracy": 0.9, "test_comparisons": 0}, "needs held-out answers"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FeedbackConfig(**settings)  # type: ignore[arg-type]


def test_demonstrations_are_preferred_over_what_the_agent_does(store: PreferenceStore) -> None:
    episode = Episode(np.ones((8, 3), np.float32), np.ones((8, 1), np.float32), np.ones(8, np.float32))
    shown = Demonstrations.from_episodes("test/Noise-v0", OBSERVATIONS, ACTIONS, [episode] * 2)
    config = FeedbackConfig(comparisons=40, test_comparisons=0, segment_length=4, demonstrated=20)
    ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
    teacher = ScriptedTeacher(TeacherConfig(), "oracle")
    loop = FeedbackLoop(store, ensemble, config, HORIZON, annotator=teacher, fit=FIT, demonstrations=shown)
    reports = visits(loop)
    assert sum(report.asked for report in reports) == 40 and reports[-1].labels == 60
    answers = [live for live in store.live_answers() if live.annotator == DEMONSTRATOR]
    assert len(answers) == 20 and {live.choice for live in answers} == {Choice.LEFT, Choice.RIGHT}
    for live in answers:
        left, right = store.segments(live.segment_ids)
        chosen, other = (left, right) if live.choice is Choice.LEFT else (right, left)
        assert np.all(chosen.actions == 1) and not np.all(other.actions == 1)
    rounds = {live.round for live in answers}
    assert len(rounds) > 2
    # Done again, as after a crash, nothing is added.
    again = [segment for live in answers[:3] for segment in store.segments(live.segment_ids)]
    assert Demonstrator(shown, 4).prefer(store, 0, again, 2, np.random.default_rng(0)) == 2
    assert len(store.live_answers()) == len(loop.dataset)


def test_demonstrations_that_are_wanted_and_missing_or_too_short_are_refused(make_loop: MakeLoop) -> None:
    with pytest.raises(ValueError, match="there are no demonstrations"):
        make_loop(demonstrated=5)
    episode = Episode(np.ones((3, 3), np.float32), np.ones((3, 1), np.float32), np.ones(3, np.float32))
    short = Demonstrations.from_episodes("test/Noise-v0", OBSERVATIONS, ACTIONS, [episode] * 4)
    with pytest.raises(ValueError, match="as long as a segment of 4"):
        Demonstrator(short, 4)


def test_annotators_who_err_are_believed_less(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(reliability=True, overlap=2, teacher="good", comparisons=60, test_comparisons=0)
    liar = ScriptedTeacher(TeacherConfig(mistake=0.5, seed=1), "bad")
    for number in range(12):
        loop.visit(rollouts(number), (number + 1) * TOTAL // 12, TOTAL)
        liar.serve(store)
    reliability = loop.dataset.reliability
    assert reliability["bad"].error_rate > reliability["good"].error_rate + 0.1
