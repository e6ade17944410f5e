"""What a person does in the place of the agent, and what the store then holds."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import AnnotatorSession, AnswerRefusedError, Choice, PreferenceStore, Purpose, Query
from rlhf_envs.feedback.correcting import Corrector, can_be_corrected, corrector
from rlhf_envs.feedback.outbox import Outbox
from rlhf_envs.queries import Correction
from rlhf_envs.sb3 import make_vec_env
from rlhf_envs.segments import Segment
from tests.trainer import ROOT

LENGTH, STEP = 8, 3


def recorded(environment: str | EnvironmentRef, seed: int = 0, length: int = LENGTH) -> Segment:
    """What random actions did in an environment, as a training records it."""
    env: Any = make_vec_env(environment, 2, seed=seed)
    env.reset()
    env.action_space.seed(seed)
    for _ in range(40):
        env.step(np.stack([env.action_space.sample() for _ in range(2)]))
    segment: Segment = env.recorder.segment(env.recorder.sample_windows(1, length, np.random.default_rng(seed)), 0)
    env.close()
    return segment


@pytest.fixture(scope="module")
def drive() -> Segment:
    return recorded("rlhf/Driving-v1")


def corrected(segment: Segment, step: int = STEP, held: tuple[str, ...] = ("w",)) -> Segment:
    person = Corrector(EnvironmentRef("rlhf/Driving-v1"))
    person.begin(segment, step)
    while not person.complete:
        person.act_by_keys(held)
    return person.segment()


def as_correction(query: Query, segment: Segment, token: str = "token-1", position: int = 0) -> Correction:
    assert query.id is not None
    return Correction(query.id, position, STEP, segment, 100.0, 104.0, token)


@pytest.fixture
def store(place: str, drive: Segment) -> Any:
    described = StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), LENGTH)
    with PreferenceStore.create(place, described) as made:
        made.ask([Query("0/train/0", 0, (drive, recorded("rlhf/Driving-v1", 1)))])
        yield made


@pytest.mark.parametrize(
    "environment",
    [
        "rlhf/Driving-v1",
        "rlhf/Support-v1",
        "rlhf/Rival-v1",
        "MountainCarContinuous-v0",
        EnvironmentRef("MountainCarContinuous-v0", on_termination="restart"),
    ],
    ids=str,
)
def test_the_agents_own_actions_from_the_middle_on_give_the_segment_again(environment: Any) -> None:
    segment = recorded(environment)
    ref = EnvironmentRef.of(environment)
    person = Corrector(ref)
    for step in (0, STEP, LENGTH - 1):
        person.begin(segment, step)
        for action in segment.actions[step:]:
            assert not person.complete
            person.act(action)
        again = person.segment()
        if ref.is_native:
            assert again.digest == segment.digest and again.to_bytes() == segment.to_bytes()
        else:  # that simulator goes on with fewer digits than it begins with
            assert np.allclose(again.states, segment.states, atol=1e-7)  # type: ignore[arg-type]
            assert np.allclose(again.observations, segment.observations, atol=1e-7)  # type: ignore[arg-type]
            assert (again.actions == segment.actions).all()
            assert np.allclose(again.true_rewards, segment.true_rewards)
    person.close()


def test_what_was_before_stays_and_keys_decide_what_follows(drive: Segment) -> None:
    faster, braking = corrected(drive, held=("w",)), corrected(drive, held=("s",))
    for one in (faster, braking):
        assert (one.observations[: STEP + 1] == drive.observations[: STEP + 1]).all()  # type: ignore[index]
        assert (one.actions[:STEP] == drive.actions[:STEP]).all()
        assert (one.states[: STEP + 1] == drive.states[: STEP + 1]).all()  # type: ignore[index]
        assert (one.actions.dtype, one.observations.dtype) == (drive.actions.dtype, drive.observations.dtype)  # type: ignore[union-attr]
    assert (faster.actions[STEP:] != braking.actions[STEP:]).any(axis=1).all()
    assert corrected(drive, held=("w",)).digest == faster.digest
    assert corrected(drive, held=("up",)).digest == faster.digest  # an arrow stands for its key
    assert (corrected(drive, held=("x",)).actions[STEP:] == corrected(drive, held=()).actions[STEP:]).all()


def test_an_episode_that_the_person_ends_goes_on_with_absorbing_steps() -> None:
    ref = EnvironmentRef("MountainCarContinuous-v0")
    slow = recorded(ref)
    states = np.tile(np.array([0.44, 0.0]), (LENGTH, 1))  # a little before the goal, without speed
    states[:, 1] = 0.02
    close_by = Segment(states.astype(np.float32), slow.actions, slow.true_rewards, states)
    person = Corrector(ref)
    person.begin(close_by, STEP)
    person.act_by_keys(["right"])
    assert person.over and person.complete
    done = person.segment()
    assert done.lived == STEP + 1 and done.absorbing is not None and done.absorbing[STEP + 1 :].all()
    assert (done.actions[STEP + 1 :] == 0).all() and (done.observations[STEP + 1 :] == 0).all()  # type: ignore[index]
    assert done.true_rewards[STEP] > 90
    done.check_steps()
    again = Corrector(EnvironmentRef("MountainCarContinuous-v0", on_termination="restart"))
    again.begin(close_by, STEP)
    while not again.complete:
        again.act_by_keys(["right"])
    begun_anew = again.segment()
    assert begun_anew.absorbing is None and abs(begun_anew.states[STEP + 1, 0] + 0.5) < 0.2  # type: ignore[index]


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (EnvironmentRef("rlhf/Driving-v1", wrappers=("gymnasium.wrappers:FlattenObservation",)), "wrappers"),
        (EnvironmentRef("CartPole-v1"), "keys"),
        (EnvironmentRef("rlhf/Writing-v1"), "keys"),
        (EnvironmentRef("Blackjack-v1"), "not all of it"),
        (EnvironmentRef("Nowhere-v1"), "Nowhere"),
        (None, ""),
    ],
    ids=str,
)
def test_where_nothing_can_be_restored_or_no_key_acts_there_are_no_corrections(environment: Any, reason: str) -> None:
    assert corrector(environment) is None
    if environment is not None:
        with pytest.raises((ValueError, gym.error.Error), match=reason):
            Corrector(environment)


def test_only_segments_with_states_and_steps_before_the_end_can_be_taken_over(drive: Segment) -> None:
    person = Corrector(EnvironmentRef("rlhf/Driving-v1"))
    blind = Segment(drive.observations, drive.actions, drive.true_rewards)
    for segment, step in ((blind, 0), (drive, LENGTH), (drive, -1)):
        with pytest.raises(ValueError, match="cannot be taken over"):
            person.begin(segment, step)
    with pytest.raises(ValueError, match="are of shape"):
        person.begin(Segment(drive.observations[:, :1], drive.actions, drive.true_rewards, drive.states), 0)  # type: ignore[index,call-overload]
    person.begin(drive, LENGTH - 1)
    with pytest.raises(ValueError, match="1 of 8 steps remain"):
        person.segment()
    person.act()
    with pytest.raises(ValueError, match="are over"):
        person.act()
    pair = Query("a", 0, (drive, drive))
    assert can_be_corrected(pair)
    assert not can_be_corrected(Query("a", 0, (drive, drive), purpose=Purpose.PRACTICE))
    assert not can_be_corrected(Query("a", 0, (blind, blind)))


def test_a_correction_is_a_comparison_with_its_answer_and_the_question_stays(
    store: PreferenceStore, drive: Segment
) -> None:
    session = AnnotatorSession(store, "ann")
    [query] = session.upcoming()
    query_id, answer_id = session.correct(as_correction(query, corrected(drive)))
    [answer] = store.live_answers(Purpose.TRAIN)
    assert (answer.id, answer.query_id, answer.annotator, answer.kind) == (answer_id, query_id, "ann", "comparison")
    assert answer.context == {"corrects": query.id, "position": 0, "step": STEP} and not answer.was_asked
    assert answer.seconds == 4.0 and answer.round == query.round
    sides = dict(zip((Choice.LEFT, Choice.RIGHT), store.segments(answer.segment_ids), strict=True))
    assert answer.choice is not None
    preferred = sides.pop(answer.choice)
    assert preferred.digest == corrected(drive).digest and [one.digest for one in sides.values()] == [drive.digest]
    assert [shown.id for shown in session.upcoming()] == [query.id]
    assert [shown.id for shown in AnnotatorSession(store, "bob").upcoming()] == []
    counts = store.counts()[Purpose.TRAIN]
    assert (counts.asked, counts.answered, counts.open, counts.wanted, counts.corrections) == (2, 1, 1, 2, 1)
    assert session.progress().own_answers == 1


def test_a_repeated_correction_stores_nothing_new_and_an_undone_one_is_asked(
    store: PreferenceStore, drive: Segment
) -> None:
    session = AnnotatorSession(store, "ann")
    [query] = session.upcoming()
    first = session.correct(as_correction(query, corrected(drive)))
    assert session.correct(as_correction(query, corrected(drive))) == first
    assert len(store.live_answers()) == 1 and len(store.queries()) == 2
    assert session.undo() is not None and store.live_answers() == []
    assert session.correct(as_correction(query, corrected(drive))) == first  # a retry that arrives late
    assert store.live_answers() == []
    pair, asked = session.upcoming()
    assert (pair.id, asked.id) == (first[0], query.id)
    session.answer(first[0], "skip")
    assert [each.id for each in session.upcoming()] == [query.id]


def test_sides_are_drawn_and_other_tokens_make_other_corrections(store: PreferenceStore, drive: Segment) -> None:
    session = AnnotatorSession(store, "ann")
    [query] = session.upcoming()
    for number in range(12):
        session.correct(as_correction(query, corrected(drive, held=("wd", "w")[number % 2 :]), f"token-{number}"))
    choices = [answer.choice for answer in store.live_answers()]
    assert {Choice.LEFT, Choice.RIGHT} == set(choices) and len(choices) == 12


def test_what_is_no_correction_is_refused_and_leaves_no_trace(store: PreferenceStore, drive: Segment) -> None:
    session = AnnotatorSession(store, "ann")
    [query] = session.upcoming()
    done = corrected(drive)
    short = recorded("rlhf/Driving-v1", length=LENGTH - 1)
    for wrong, reason in (
        (as_correction(query, short), "as long"),
        (as_correction(query, done, position=2), "no segment 2"),
        (Correction(query.id or 0, 0, LENGTH, done, None, None, "t"), "begins at one"),
    ):
        with pytest.raises(ValueError, match=reason):
            session.correct(wrong)
    with pytest.raises(KeyError):
        session.correct(Correction(999, 0, STEP, done, None, None, "t"))
    session.answer(query.id or 0, "left", token="taken")
    with pytest.raises(AnswerRefusedError, match="token"):
        session.correct(as_correction(query, done, "taken"))
    assert len(store.queries()) == 1 and len(store.live_answers()) == 1
    with pytest.raises(ValueError, match="for the one who gave it"):
        store.ask_answered(Query("k", 0, (drive, done)), Choice.LEFT, shown_at=None, answered_at=None, token="t2")


def test_the_outbox_stores_a_correction_leaves_its_question_and_takes_it_back(
    store: PreferenceStore, drive: Segment
) -> None:
    session = AnnotatorSession(store, "ann")
    outbox = Outbox(session)

    def until(condition: Any) -> None:
        for _ in range(2000):
            if condition():
                return
            outbox.wake()
            time.sleep(0.01)
        raise AssertionError("waited in vain")

    until(lambda: outbox.state().queries)
    [query] = outbox.state().queries
    outbox.correct(as_correction(query, corrected(drive)))
    assert outbox.state().unsaved == 1 and [each.id for each in outbox.state().queries] == [query.id]
    until(lambda: len(store.live_answers()) == 1)
    outbox.undo()
    until(lambda: len(outbox.state().queries) == 2)
    assert store.live_answers() == [] and outbox.state().queries[0].id != query.id
    assert outbox.close() == 0


KILLED = """
import sys
from tests.feedback.test_correcting import *
store = PreferenceStore.open(sys.argv[1])
session = AnnotatorSession(store, "ann")
[query] = session.upcoming()
done = corrected(query.segments[0])
for number in range(1000):
    print(session.correct(as_correction(query, done, f"token-{number}"))[1], flush=True)
"""


def test_corrections_that_were_acknowledged_survive_kill_minus_nine(path: Any, drive: Segment) -> None:
    with PreferenceStore.create(path, StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), LENGTH)) as store:
        store.ask([Query("0/train/0", 0, (drive, drive))])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(5)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split()]
    with PreferenceStore.open(path) as store:
        stored = [answer.id for answer in store.live_answers()]
        assert stored[: len(acknowledged)] == acknowledged and len(stored) <= len(acknowledged) + 1
        counts = store.counts()[Purpose.TRAIN]
        assert counts.corrections == len(stored) and counts.open == 1  # none without its answer
