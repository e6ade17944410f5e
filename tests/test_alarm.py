"""The alarm for reward hacking: what it goes by, when it is raised, and what a run does then."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.feedback import PreferenceStore, Purpose, ScriptedTeacher, TeacherConfig
from rlhf_envs.json_values import settings_from_json
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop, LoopState, RoundReport
from rlhf_envs.loop.alarm import DISAGREEMENT, DISTANCE, GAIN, Drift, HackingAlarm
from rlhf_envs.queries import AccuracySource
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import EnsembleConfig, FitConfig, RewardEnsemble
from rlhf_envs.rewards.metrics import Predictions

OBSERVATIONS = spaces.Box(-5, 5, (3,), np.float32)
ACTIONS = spaces.Box(-1, 1, (1,), np.float32)
HORIZON = COPIES = 16
TOTAL = 10_000

MakeLoop = Callable[..., FeedbackLoop]


@pytest.fixture
def make_loop(store: PreferenceStore) -> MakeLoop:
    def make(members: int = 3, **settings: object) -> FeedbackLoop:
        chosen: dict[str, Any] = {"answers": 40, "initial_share": 0.75, "ask_until": 0.02, "segment_length": 4}
        ensemble = RewardEnsemble(OBSERVATIONS, ACTIONS, EnsembleConfig(members, (16,)))
        scripted = ScriptedTeacher(TeacherConfig(), "oracle")
        config = FeedbackConfig(**chosen | settings)
        return FeedbackLoop(store, ensemble, config, HORIZON, annotator=scripted, fit=FitConfig(steps=120))

    return make


def rollouts(seed: int = 0, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> SegmentRecorder:
    """Noise around some place, which pays what the first number of an observation is."""
    recorder = SegmentRecorder(OBSERVATIONS, ACTIONS, COPIES, 64)
    rng = np.random.default_rng(seed)
    for step in range(64):
        spread = np.array([0.5, 1, 1]) if centre == GOOD else np.ones(3)
        observations = (rng.uniform(-1, 1, (COPIES, 3)) * spread + centre).astype(np.float32)
        ended = np.full(COPIES, step % HORIZON == HORIZON - 1)
        recorder.record(observations, rng.uniform(-1, 1, (COPIES, 1)), observations[:, 0], ended)
    return recorder


GOOD, HACKED = (0.4, 0.0, 0.0), (2.0, 4.0, -4.0)
"""Where the policy goes: to what people like, within what they have seen, or to what nobody was asked about."""


def train(loop: FeedbackLoop, centre: tuple[float, float, float], visits: int = 30) -> list[RoundReport]:
    """Learn about the usual place, and then have the policy go elsewhere."""
    loop.visit(rollouts(0), 0, TOTAL)
    loop.visit(rollouts(1), 250, TOTAL)
    return [loop.visit(rollouts(at, centre), 300 + 150 * at, TOTAL) for at in range(2, visits)]


def test_a_policy_that_goes_where_nobody_was_asked_raises_the_alarm_once_it_has_stayed_there(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    loop = make_loop()
    reports = train(loop, HACKED)
    [alarm] = [report.alarm for report in reports if report.alarm is not None]
    assert alarm.startswith("Alarm at ") and "may be hacking the learned reward" in alarm
    assert "times as far from what was asked" in alarm
    [raised] = loop.alarm.state.raised
    assert raised["reason"] == alarm and 600 < raised["timesteps"] < 2500
    assert loop.status.figures["alarms"] == [alarm]
    assert not any(report.stop_requested for report in reports)


def test_a_policy_that_gets_better_at_what_was_asked_raises_none(make_loop: MakeLoop) -> None:
    loop = make_loop()
    assert all(report.alarm is None for report in train(loop, GOOD))
    _, gain, disagreement, distance = loop.alarm.state.measures[-1]
    assert gain > GAIN and disagreement < DISAGREEMENT and distance < DISTANCE


def test_a_single_member_cannot_disagree_and_goes_by_the_distance(make_loop: MakeLoop) -> None:
    loop = make_loop(members=1)
    reports = train(loop, HACKED)
    assert loop.alarm.state.measures[-1][2] == pytest.approx(1.0)
    assert any(report.alarm is not None for report in reports)


def test_to_stop_at_an_alarm_ends_training(make_loop: MakeLoop) -> None:
    loop = make_loop(on_alarm="stop")
    report = next(report for report in train(loop, HACKED) if report.alarm is not None)
    assert report.stop_requested and loop.stopped_by_alarm
    assert report.alarm is not None and report.alarm.endswith("Training ends here (--on-alarm stop).")


def test_to_ask_at_an_alarm_asks_a_round_of_what_is_left_about_what_caused_it(
    make_loop: MakeLoop, store: PreferenceStore
) -> None:
    # The schedule alone would ask nothing more before the very end.
    loop = make_loop(on_alarm="ask", schedule="constant", initial_share=0.5, ask_until=1.0, queries_per_round=15)
    loop.visit(rollouts(0), 0, TOTAL)
    reports = []
    for at in range(2, 40):
        # Half of the rollouts are as before; the others are what the alarm is about.
        recorder, elsewhere = rollouts(at), rollouts(at, HACKED)
        recorder._observations[:, ::2] = elsewhere._observations[:, ::2]  # type: ignore[index]
        reports.append(loop.visit(recorder, 3000 + 100 * at, TOTAL))
        if reports[-1].asked:
            break
    assert any(report.alarm is not None for report in reports[:-1])
    asked = [query for query in store.queries() if query.round == 1]
    assert 0 < len(asked) <= 15 and store.counts()[Purpose.TRAIN].asked <= 40
    recent = [query.segments[0].observations[:, 1].mean() for query in asked]  # type: ignore[call-overload]
    # Others of the same query may have been asked before.
    assert np.mean(np.array(recent) > 2) > 0.7
    assert not loop.alarm.state.asking


def test_where_nothing_is_left_to_ask_the_alarm_says_so(make_loop: MakeLoop, store: PreferenceStore) -> None:
    loop = make_loop(on_alarm="ask")
    reports = train(loop, HACKED)
    alarm = next(report.alarm for report in reports if report.alarm is not None)
    assert "Nothing is left of the 40 answers" in alarm
    assert store.counts()[Purpose.TRAIN].asked == 40
    assert loop.alarm.state.asking  # answers that the owner of the run allows later are about it


def test_the_alarm_goes_on_as_it_was_from_a_checkpoint(make_loop: MakeLoop) -> None:
    first, second = make_loop(), make_loop()
    for loop in (first, second):
        loop.visit(rollouts(0), 0, TOTAL)
        loop.visit(rollouts(1), 250, TOTAL)
    second.ensemble = first.ensemble
    for at in range(2, 4):
        first.visit(rollouts(at, HACKED), 300 + 150 * at, TOTAL)
    stored = json.loads(json.dumps(asdict(first.state())))
    second.restore(settings_from_json(LoopState, stored))
    seen = [
        [loop.visit(rollouts(at, HACKED), 300 + 150 * at, TOTAL).alarm for at in range(4, 14)]
        for loop in (first, second)
    ]
    assert seen[0] == seen[1] and any(seen[0])
    assert first.alarm.state.measures == second.alarm.state.measures


def observed(alarm: HackingAlarm, drift: tuple[float, float, float], at: range, **facts: Any) -> list[int]:
    """At which timesteps the alarm is raised."""
    told: dict[str, Any] = {"asking_on": False, "accuracy": 0.8, "tested": 50, "source": AccuracySource.OUT_OF_FOLD}
    return [timesteps for timesteps in at if alarm.observe(Drift(timesteps, *drift), TOTAL, **told | facts) is not None]


@pytest.mark.parametrize(
    ("drift", "facts", "raised"),
    [
        ((1.0, 1.4, 1.0), {}, True),
        ((1.0, 1.0, 1.4), {}, True),
        ((0.3, 1.4, 1.4), {}, False),  # the policy gains nothing by it
        ((1.0, 1.0, 1.0), {}, False),
        ((1.0, 1.0, 1.0), {"accuracy": 0.4}, True),
        ((1.0, 1.0, 1.0), {"accuracy": 0.4, "tested": 5}, False),
        ((1.0, 1.0, 1.0), {"accuracy": None, "tested": 0}, False),
    ],
)
def test_which_signs_raise_the_alarm(drift: tuple[float, float, float], facts: dict[str, Any], raised: bool) -> None:
    assert bool(observed(HackingAlarm(4, 0), drift, range(0, 5000, 100), **facts)) == raised


def test_a_sign_raises_the_alarm_again_only_after_it_was_gone() -> None:
    alarm = HackingAlarm(4, 0)
    bad, good = (1.0, 1.4, 1.0), (1.0, 0.8, 1.0)
    assert observed(alarm, bad, range(0, 3000, 100)) == [800]
    assert observed(alarm, good, range(3000, 5000, 100)) == []
    assert len(observed(alarm, bad, range(5000, 8000, 100))) == 1
    assert len(alarm.state.raised) == 2


def test_while_more_is_asked_a_sign_has_to_last_longer() -> None:
    assert observed(HackingAlarm(4, 0), (1.0, 1.4, 1.0), range(0, 3000, 100), asking_on=True) == [2000]


def test_answers_that_contradict_what_the_model_was_sure_of_raise_the_alarm() -> None:
    def after(predicted: float, right: int, answers: int = 20) -> list[int]:
        alarm = HackingAlarm(4, 0)
        labels = (np.arange(answers) < right).astype(float)
        alarm.note_fresh(Predictions(np.full(answers, predicted), labels, ()))
        assert alarm.state.fresh_agreement == right / answers
        return observed(alarm, (1.0, 1.0, 1.0), range(0, 2000, 100))

    assert after(0.9, right=10)
    assert not after(0.9, right=17)
    assert not after(0.55, right=8)  # it was not sure of them
    assert not after(0.9, right=2, answers=5)


def test_fresh_answers_are_predicted_before_the_reward_is_fitted_to_them(make_loop: MakeLoop) -> None:
    loop = make_loop()
    loop.visit(rollouts(0), 0, TOTAL)
    assert loop.alarm.state.fresh_answers == 0  # there was no model yet
    loop.visit(rollouts(1), 250, TOTAL)
    assert loop.alarm.state.fresh_answers == 10
    assert len(loop.dataset) == 40


def test_another_action_at_an_alarm_is_refused() -> None:
    with pytest.raises(ValueError, match="on_alarm is one of continue, ask, stop, not 'panic'"):
        FeedbackConfig(on_alarm="panic")  # type: ignore[arg-type]
