"""What the window says of training, of pace, and of what it waits for."""

from typing import Any

import pytest

from rlhf_envs.feedback.session import SessionProgress
from rlhf_envs.feedback.window import wording
from rlhf_envs.feedback.window.entries import DeskState

NOTICE = {
    "state": "training",
    "waiting_for": 0,
    "timesteps": 45_000,
    "total_timesteps": 100_000,
    "comparisons": 200,
    "test_accuracy": 0.834,
    "learned_return": 31.24,
    "curve": [[1000, -5.0, None], [2000, None, 0.5], [3000, 2.5, 0.6]],
}


def progress(**news: Any) -> SessionProgress:
    return SessionProgress(12, 14, 40, 3.14, {**NOTICE, **news})


def test_pace_and_what_is_left_are_said_in_a_few_words() -> None:
    assert wording.status(progress()) == ("14 of 200 answered", "3.1 s per answer", "12 by you")
    assert wording.share(progress()) == 14 / 200
    assert wording.status(None) == () and wording.share(None) == 0.0
    assert wording.share(SessionProgress(0, 10, 40, None, None)) == 0.25


@pytest.mark.parametrize(
    ("news", "said"),
    [
        ({}, "Training 45% done"),
        ({"state": "waiting", "waiting_for": 1}, "Training waits for 1 answer"),
        ({"state": "waiting", "waiting_for": 12}, "Training waits for 12 answers"),
        ({"state": "paused"}, "Training is paused at 45%"),
        ({"state": "stopped"}, "Training has stopped at 45%"),
        ({"state": "finished"}, "Training is finished"),
        ({"state": "something new", "total_timesteps": None}, "Training"),
    ],
)
def test_what_training_does_is_said_first_and_its_figures_after(news: dict[str, Any], said: str) -> None:
    assert wording.training(progress(**news), 1.0) == (said, "83% of test answers predicted", "return 31.2")


def test_a_training_run_that_has_fallen_silent_is_noticed() -> None:
    assert wording.training(progress(), 300.0)[0] == "Nothing heard from training for 5 min"
    assert wording.training(progress(state="paused"), 300.0)[0] == "Training is paused at 45%"
    silent = DeskState(progress=progress(), heard_ago=300.0, fetched=True)
    assert "is it still running?" in wording.waiting(silent)[1]


def test_figures_that_are_missing_are_left_out() -> None:
    assert wording.training(SessionProgress(0, 0, 0, None, {}), None) == ("Training",)
    assert wording.curve(progress()) == (-5.0, 2.5)
    assert wording.curve(progress(curve=None)) == ()


@pytest.mark.parametrize("state", ["training", "waiting", "paused", "stopped", "finished"])
def test_there_is_something_to_say_in_every_state_while_nothing_is_asked(state: str) -> None:
    headline, sentence = wording.waiting(DeskState(progress=progress(state=state), heard_ago=1.0, fetched=True))
    assert headline and sentence.endswith(".")
