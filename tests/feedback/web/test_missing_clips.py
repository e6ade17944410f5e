"""What the page does where the server cannot show clips: nobody has to spend an answer on that."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import rlhf_envs.feedback.web.clips as clips
from rlhf_envs.feedback import Choice, PreferenceStore, Purpose
from rlhf_envs.segments import Segment
from tests.feedback.web.screens import ENVIRONMENT, Screen, Served, practised, wait_until

OpenScreen = Callable[..., Screen]


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Takes the simulator away from the server, or puts it back."""
    there = clips.clip_painter

    def missing(*arguments: Any) -> Any:
        raise RuntimeError("The simulator is not installed.")

    def put(back: bool) -> None:
        monkeypatch.setattr(clips, "clip_painter", there if back else missing)

    put(back=False)
    yield put


def test_clips_that_come_to_be_shown_are_judged_without_an_answer_lost(
    store: PreferenceStore, simulator: Any, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(2, "rating", 1))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    screen.page.get_by_role("heading", name="These clips cannot be shown").wait_for()
    said = screen.text("#stage")
    assert "the person who runs the training finds the reason" in said and "counts as your answer" in said
    for key in ("ArrowDown", "ArrowLeft", "s", " ", "Enter"):
        screen.page.keyboard.press(key)
    screen.page.get_by_role("button", name="Try again").click()
    screen.page.get_by_role("button", name="Try again").wait_for()
    assert not store.live_answers(Purpose.TRAIN)[1:]
    simulator(True)
    screen.page.get_by_role("button", name="Try again").click()
    assert screen.query() == 1
    [first, *_] = screen.page.evaluate(
        "fetch('/api/queries', {headers: {Authorization: 'Bearer ' + location.hash.slice(7)}}).then((r) => r.json())"
    )["queries"]
    assert first["frames_per_second"] == served.app.state.service.films.frames_per_second != 15
    assert not store.live_answers(Purpose.TRAIN)[1:]


def test_clips_that_cannot_be_shown_may_be_skipped_which_is_an_answer(
    store: PreferenceStore, simulator: Any, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    [first, _] = store.ask(make_queries(2))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    screen.page.get_by_role("button", name="Skip them").click()
    wait_until(lambda: store.live_answers(Purpose.TRAIN)[1:])
    [_, skipped] = store.live_answers(Purpose.TRAIN)
    assert (skipped.query_id, skipped.choice) == (first, Choice.SKIP)
    screen.page.get_by_role("button", name="Try again").wait_for()


def test_practice_whose_clips_cannot_be_shown_may_be_skipped(
    store: PreferenceStore, simulator: Any, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    def answered(number: int) -> bool:
        return len(store.live_answers(Purpose.PRACTICE)) == number

    store.ask(make_queries(1))
    screen = open_screen(served.link("new"))
    screen.page.get_by_role("button", name="Practise first").click()
    for number in range(1, 5):
        screen.page.locator("#stage", has_text="skipping costs nothing").wait_for()
        screen.page.get_by_role("button", name="Skip them").click()
        wait_until(partial(answered, number))
    screen.page.locator("#stage", has_text="counts as your answer").wait_for()


def test_states_of_another_version_of_the_environment_have_no_description_and_keep_no_question_back(
    segments: list[Segment],
) -> None:
    states = segments[0].states
    assert states is not None
    wording = clips.ClipWording(ENVIRONMENT.ref)
    assert wording.describe(replace(segments[0], states=states[:, :-4])).endswith("no description in words.")
    assert "no description" not in wording.describe(segments[1])
