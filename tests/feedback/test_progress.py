"""What every screen says of training, of pace, and of what it waits for."""

from typing import Any

import pytest

from rlhf_envs.feedback import SessionProgress

STATUS = {
    "state": "training",
    "waiting_for": 0,
    "timesteps": 45_000,
    "total_timesteps": 100_000,
    "answers": 200,
    "test_accuracy": 0.834,
    "learned_return": 31.24,
    "curve": [[1000, -5.0, None], [2000, None, 0.5], [3000, 2.5, 0.6]],
}


def progress(**news: Any) -> SessionProgress:
    return SessionProgress(12, 14, 40, 3.14, {**STATUS, **news}, posted_at=1000.0, to_come=160)


def test_pace_and_what_is_left_are_said_in_a_few_words() -> None:
    assert progress().counts_text() == ("14 of 200 answered", "3.1 s per answer", "12 by you")
    assert progress().share == 14 / 200
    assert SessionProgress().counts_text() == ("0 of 0 answered",) and SessionProgress().share == 0.0
    assert SessionProgress(0, 10, 40).share == 0.25


@pytest.mark.parametrize(
    ("news", "said"),
    [
        ({}, "Training 45% done"),
        ({"second_policy": True}, "Training a second policy 45% done"),
        ({"state": "waiting", "waiting_for": 1}, "Training waits for 1 answer"),
        ({"state": "waiting", "waiting_for": 12}, "Training waits for 12 answers"),
        ({"state": "paused"}, "Training is paused at 45%"),
        ({"state": "stopped"}, "Training has stopped at 45%"),
        ({"state": "finished"}, "Training is finished"),
        ({"state": "something new", "total_timesteps": None}, "Training"),
    ],
)
def test_what_training_does_is_said_first_and_its_figures_after(news: dict[str, Any], said: str) -> None:
    told = progress(**news).training_text(now=1001.0)
    assert told == (said, "83% of held-out answers predicted", "return 31.2")


def test_a_training_run_that_has_fallen_silent_is_noticed() -> None:
    assert progress().training_text(now=1300.0)[0] == "Nothing heard from training for 5 min"
    assert progress(state="paused").training_text(now=1300.0)[0] == "Training is paused at 45%"
    assert "is it still running?" in progress().idle_text(now=1300.0)[1]


def test_figures_that_are_missing_are_left_out() -> None:
    assert SessionProgress(training={}).training_text() == ("Training",)
    assert SessionProgress().training_text() == ()
    assert progress().curve == (-5.0, 2.5)
    assert progress(curve=None).curve == ()


@pytest.mark.parametrize(
    ("to_come", "said"),
    [
        (0, "Nothing more is asked; a second policy is in training, 45% done."),
        (1, "The last question waits for a second policy, which is in training, 45% done."),
        (10, "The last 10 questions wait for a second policy, which is in training, 45% done."),
    ],
)
def test_people_are_told_whether_more_is_asked_once_a_second_policy_is_trained(to_come: int, said: str) -> None:
    training = {**STATUS, "second_policy": True}
    now = SessionProgress(12, 40, 40, 3.14, training, posted_at=1000.0, to_come=to_come)
    assert now.idle_text(now=1001.0)[1] == said


@pytest.mark.parametrize("state", ["training", "waiting", "paused", "stopped", "finished"])
def test_there_is_something_to_say_in_every_state_while_nothing_is_asked(state: str) -> None:
    headline, sentence = progress(state=state).idle_text(now=1001.0)
    assert headline and sentence.endswith(".")


@pytest.mark.parametrize(
    ("known", "headline"),
    [
        (SessionProgress(), "Nothing to answer yet"),
        (SessionProgress(1, 1, 1), "All caught up"),
        (SessionProgress(1, 1, 1, over=True), "All done, thank you"),
    ],
)
def test_where_no_training_run_asks_none_is_mentioned(known: SessionProgress, headline: str) -> None:
    told = known.idle_text()
    assert told[0] == headline
    assert headline == "Nothing to answer yet" or "raining" not in told[1]
