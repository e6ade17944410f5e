"""The feedback loop: what it asks when, what it waits for, and what it makes of the answers."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.demonstrations import Demonstrations, Episode
from rlhf_envs.feedback import AnnotatorSession, Choice, PreferenceStore, Purpose, ScriptedTeacher, TeacherConfig
from rlhf_envs.feedback.annotators.demonstrator import DEMONSTRATOR, Demonstrator
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, TRAINING
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop, LoopState, RoundReport
from rlhf_envs.queries import AccuracySource, Correction
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import EnsembleConfig, FitConfig, FitReport, RewardEnsemble, fit
from rlhf_envs.rewards.encoding import Encoded

OBSERVATIONS = spaces.Box(-1, 1, (3,), np.float32)
ACTIONS = spaces.Box(-1, 1, (1,), np.float32)
HORIZON = COPIES = 16
TOTAL = 1000
FIT = FitConfig(steps=60, epochs=1)

MakeLoop = Callable[..., FeedbackLoop]


@pytest.fixture
def make_loop(store: PreferenceStore) -> MakeLoop:
    def make(teacher: str | None = "oracle", **settings: object) -> FeedbackLoop:
        chosen: dict[str, Any] = {"answers": 50, "held_out_share": 0.2, "segment_length": 4, **settings}
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


def rollouts(seed: int = 0, steps: int = 64) -> SegmentRecorder:
    """A recorder full of noise that pays what the first number of an observation is."""
    recorder = SegmentRecorder(OBSERVATIONS, ACTIONS, COPIES, 64)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        observations = rng.uniform(-1, 1, (COPIES, 3)).astype(np.float32)
        ended = np.full(COPIES, step % HORIZON == HORIZON - 1)
        recorder.record(observations, rng.uniform(-1, 1, (COPIES, 1)), observations[:, 0], ended)
    return recorder


def visits(loop: FeedbackLoop, count: int = 10) -> list[RoundReport]:
    return [loop.visit(rollouts(number), (number + 1) * TOTAL // count, TOTAL) for number in range(count)]


def test_a_quarter_is_asked_first_and_the_whole_budget_by_ask_until(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop(ask_until=0.7, queries_per_round=4)
    asked = [report.asked for report in visits(loop)]
    assert sum(asked) == sum(asked[:7]) == 40
    rounds = list(Counter(query.round for query in store.queries()).values())
    # A quarter of 50 are 13 queries, of which a fifth, 2, are held out.
    assert (rounds[0], asked[0]) == (13, 11)
    assert len(rounds) > 3
    assert min(rounds[:-1]) >= 4
    assert loop.finished_asking


def test_progress_is_that_of_the_last_visit(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop()
    report = loop.visit(rollouts(), 1, TOTAL)
    progress = loop.progress
    assert (progress.asked, progress.labels, progress.test_accuracy) == (
        report.asked,
        report.labels,
        report.test_accuracy,
    )
    assert progress.cursor == store.read_since(0)[1] and progress.generator["bit_generator"] == "PCG64"


def test_a_visit_names_the_stages_that_it_goes_through(make_loop: MakeLoop) -> None:
    loop, stages = make_loop(), list[str]()
    loop.on_stage = stages.append
    loop.visit(rollouts(), 1, 1000)
    assert stages == ["choosing queries", "getting answers", "fitting the reward"]
    loop.visit(rollouts(), 2, 1000)
    assert len(stages) == 3


def test_rounds_become_rarer_as_training_goes_on(make_loop: MakeLoop) -> None:
    loop = make_loop(queries_per_round=1, answers=125, ask_until=1.0)
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
    assert loop.progress.spent == 50 and loop.finished_asking
    assert reports[-1].labels == len(loop.dataset) == 40
    assert reports[-1].test_accuracy is not None and reports[-1].test_accuracy >= 0.7


def test_without_held_out_answers_each_is_predicted_by_members_that_did_not_train_on_it(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop(held_out_share=0)
    reports = visits(loop)
    assert store.counts()[Purpose.TEST].asked == 0
    assert len(loop.dataset) == 50
    found = loop.predictions()
    assert found.source is reports[-1].accuracy_from is AccuracySource.OUT_OF_FOLD
    assert found.metrics.decided == loop.progress.tested == 50
    assert reports[-1].test_accuracy == found.metrics.accuracy >= 0.7
    assert loop.status.figures["accuracy_from"] == "out of fold"


def test_few_answers_do_not_say_that_the_target_accuracy_is_reached(make_loop: MakeLoop) -> None:
    loop = make_loop(held_out_share=0, target_accuracy=0.55, answers=8, initial_share=0.5, queries_per_round=1)
    assert sum(report.asked for report in visits(loop)) == 8


def answers(loop: FeedbackLoop, *choices: Choice) -> Callable[[str], None]:
    """Somebody who gives these answers as soon as the loop waits for any."""

    def give(_awaited: str) -> None:
        for choice in choices:
            if (query := loop.store.take("ann")) is not None and query.id is not None:
                loop.store.answer(query.id, "ann", choice)

    return give


def test_an_answer_that_was_taken_back_is_forgotten(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None, initial_share=0.5, answers=8, queries_per_round=4, held_out_share=0, ask_until=1.0)
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
    loop = make_loop(teacher=None, answers=4, initial_share=1.0, held_out_share=0)
    loop.on_wait = answers(loop, Choice.SKIP, Choice.TIE, Choice.LEFT, Choice.RIGHT)
    assert loop.visit(rollouts(), 1, TOTAL).labels == 3
    assert loop.dataset.labels("comparison").targets[:, 0].tolist() == [0.5, 0.0, 1.0]


def test_training_waits_for_answers_that_come_from_elsewhere(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None, wait_for_answers=True, answers=8, initial_share=1.0, held_out_share=0.25)
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
    loop = make_loop(teacher=None, answers=40, held_out_share=0, max_open=6)
    loop.on_wait = answers(loop, Choice.LEFT)
    first = loop.visit(rollouts(), 1, TOTAL)
    assert (first.asked, first.labels) == (10, 4)
    for number in range(2, 20):
        loop.visit(rollouts(number), number * TOTAL // 20, TOTAL)
        assert loop.store.counts()[Purpose.TRAIN].open <= 6
    assert len(loop.dataset) == 34


def test_training_waits_for_the_first_answer_in_any_case(make_loop: MakeLoop) -> None:
    loop = make_loop(teacher=None, max_open=1000)
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
    assert loop.visit(rollouts(), 1, TOTAL).asked == 11
    assert len(told) == 2 and "owner" in told[0]


def test_the_owner_can_stop_a_run_that_waits(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(teacher=None)
    loop.on_wait = lambda _: store.post_status(OWNER_REQUESTS, {"stop": True})
    assert loop.visit(rollouts(), 1, TOTAL).stop_requested
    # A run that goes on later was not stopped.
    assert not make_loop().visit(rollouts(), 1, TOTAL).stop_requested


def test_the_owner_can_ask_for_more_than_the_budget(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(ask_until=0.5)
    visits(loop)
    assert loop.finished_asking
    store.post_status(OWNER_REQUESTS, {"extra_answers": 7})
    report = loop.visit(rollouts(20), TOTAL, TOTAL)
    # A fifth of 57 are 11, of which 10 were held out before.
    assert (report.asked, report.labels, loop.budget) == (6, 46, 57)
    assert loop.visit(rollouts(21), TOTAL, TOTAL).asked == 0


def test_every_query_is_answered_by_as_many_annotators_as_are_wanted(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop(overlap=2, initial_share=1.0, answers=10, held_out_share=0)
    assert loop.visit(rollouts(), 1, TOTAL).labels == 5
    assert store.counts()[Purpose.TRAIN].open == 5
    assert len(store.take_many("ann", 9)) == 5


def test_the_budget_counts_every_answer_to_a_query_that_several_are_asked(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop(overlap=2, answers=11, held_out_share=0.2)
    visits(loop)
    counts = store.counts()
    # 11 answers are enough for 5 queries, of which a fifth is held out.
    assert (counts[Purpose.TRAIN].asked, counts[Purpose.TEST].asked) == (4, 1)
    assert sum(count.wanted for count in counts.values()) == loop.progress.spent == 10
    assert loop.finished_asking


def test_checks_and_practice_that_screens_ask_come_out_of_the_budget(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop(answers=20, held_out_share=0)
    assert loop.visit(rollouts(), 1, TOTAL).asked == 5
    [pair, *_] = store.queries()
    for number in range(3):
        store.ask([replace(pair, id=None, key=f"check/{number}", purpose=Purpose.CHECK, only_for="ann")])
    for number in range(4):
        store.ask([replace(pair, id=None, key=f"practice/{number}", purpose=Purpose.PRACTICE, only_for="ann")])
    visits(loop)
    assert store.counts()[Purpose.TRAIN].asked == 20 - 3 - 4
    assert loop.progress.spent == 20 and loop.finished_asking


def test_corrections_come_out_of_the_budget_and_are_learned_from(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(answers=20, held_out_share=0)
    assert loop.visit(rollouts(), 1, TOTAL).asked == 5
    [pair, other, *_] = store.queries()
    session = AnnotatorSession(store, "ann")
    for number in range(3):
        session.correct(Correction(pair.id or 0, 0, 1, other.segments[0], 1.0, 2.0, f"token-{number}"))
    reports = visits(loop)
    assert store.counts()[Purpose.TRAIN].asked == 20 and store.counts()[Purpose.TRAIN].corrections == 3
    assert loop.progress.asked == 20 - 3 and loop.progress.spent == 20 and loop.finished_asking
    assert reports[-1].labels == 20
    assert not any("corrects" in answer.context for answer in loop.predictions().answers)
    loop.ask_on()
    assert loop.progress.checked_before == 3


def test_rounds_of_a_single_query_hold_out_as_many_as_large_ones(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(answers=12, held_out_share=0.5, queries_per_round=1)
    reports = visits(loop, 40)
    counts = store.counts()
    assert (counts[Purpose.TRAIN].asked, counts[Purpose.TEST].asked) == (6, 6)
    assert sum(report.asked for report in reports) == reports[-1].labels == 6 and loop.finished_asking


@pytest.mark.parametrize("settings", [{"initial_share": 0.0}, {"initial_share": 0.02}, {"overlap": 20}])
def test_something_is_asked_after_the_first_rollout_whatever_the_schedule(
    make_loop: MakeLoop, settings: dict[str, object]
) -> None:
    assert make_loop(**settings).visit(rollouts(), 1, TOTAL).asked == 1


@pytest.mark.parametrize("held_out_share", [0, 1 / 6])
def test_nothing_more_is_asked_once_the_target_accuracy_is_reached(make_loop: MakeLoop, held_out_share: float) -> None:
    reports = visits(make_loop(target_accuracy=0.6, answers=240, held_out_share=held_out_share))
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
    assert resumed.progress.held_out == killed.progress.held_out


def test_nothing_is_asked_before_a_segment_fits(make_loop: MakeLoop) -> None:
    loop = make_loop()
    empty = SegmentRecorder(OBSERVATIONS, ACTIONS, COPIES, 64)
    report = loop.visit(empty, 1, TOTAL)
    assert (report.asked, report.labels, report.fit) == (0, 0, None)
    assert loop.visit(rollouts(), 2, TOTAL).asked == 11


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"answers": -1}, "answers must be at least 0, not -1"),
        ({"held_out_share": 1.0}, "held_out_share is a share from 0 to below 1, not 1.0"),
        ({"answers": 2, "overlap": 3}, "2 answers are not enough for an overlap of 3"),
        ({"segment_length": 0}, "segment_length"),
        ({"queries_per_round": 0}, "queries_per_round"),
        ({"selection": "best"}, "no selection rule 'best'; choose one of uniform"),
        ({"schedule": "never"}, "no schedule 'never'"),
        ({"ask_until": 0.0}, "ask_until"),
        ({"max_open": -1}, "max_open"),
        ({"overlap": 0}, "overlap"),
        ({"target_accuracy": 0.4}, "target_accuracy"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FeedbackConfig(**settings)  # type: ignore[arg-type]


def test_demonstrations_are_preferred_over_what_the_agent_does(store: PreferenceStore) -> None:
    episode = Episode(np.ones((8, 3), np.float32), np.ones((8, 1), np.float32), np.ones(8, np.float32))
    shown = Demonstrations.from_episodes("test/Noise-v0", OBSERVATIONS, ACTIONS, [episode] * 2)
    config = FeedbackConfig(answers=40, held_out_share=0, segment_length=4, demonstration_comparisons=20)
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
    # Nobody is asked for them, so they cost none of the budget.
    assert loop.progress.spent == store.counts()[Purpose.TRAIN].wanted == 40


def test_demonstrations_that_are_wanted_and_missing_or_too_short_are_refused(make_loop: MakeLoop) -> None:
    with pytest.raises(ValueError, match="there are no demonstrations"):
        make_loop(demonstration_comparisons=5)
    episode = Episode(np.ones((3, 3), np.float32), np.ones((3, 1), np.float32), np.ones(3, np.float32))
    short = Demonstrations.from_episodes("test/Noise-v0", OBSERVATIONS, ACTIONS, [episode] * 4)
    with pytest.raises(ValueError, match="as long as a segment of 4"):
        Demonstrator(short, 4)


def test_annotators_who_err_are_believed_less(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(reliability=True, overlap=2, teacher="good", answers=120, held_out_share=0)
    liar = ScriptedTeacher(TeacherConfig(mistake=0.5, seed=1), "bad")
    for number in range(12):
        loop.visit(rollouts(number), (number + 1) * TOTAL // 12, TOTAL)
        liar.serve(store)
    reliability = loop.dataset.reliability
    assert reliability["bad"].error_rate > reliability["good"].error_rate + 0.1


def test_fits_are_given_recent_segments_where_they_make_use_of_them_and_asking_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Encoded | None] = []

    def look(*args: Any, unlabelled: Encoded | None, **settings: Any) -> FitReport:
        given.append(unlabelled)
        return fit(*args, unlabelled=unlabelled, **settings)

    monkeypatch.setattr("rlhf_envs.loop.feedback_loop.fit_reward", look)
    asked = []
    for name, config in (("off", FIT), ("on", replace(FIT, dynamics=0.1, pseudo_labels=0.6)), ("again", None)):
        with PreferenceStore.create(tmp_path / f"{name}.db") as store:
            ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(3, (16,)))
            teacher = ScriptedTeacher(TeacherConfig(), "oracle")
            settings = FeedbackConfig(answers=20, segment_length=4, selection="uniform")
            chosen = config or replace(FIT, dynamics=0.1, pseudo_labels=0.6)
            loop = FeedbackLoop(store, ensemble, settings, HORIZON, annotator=teacher, fit=chosen)
            visits(loop, 3)
            asked.append([query.segments[0].digest for query in store.queries()])
    fits = len(given) // 3
    assert fits and given[:fits] == [None] * fits
    used, again = given[fits : 2 * fits], given[2 * fits :]
    for one, other in zip(used, again, strict=True):
        assert one is not None and other is not None
        assert one.vector.shape == (256, 4, 4)
        np.testing.assert_array_equal(one.vector, other.vector)
    assert asked[0] == asked[1] == asked[2]
