"""Every page by the keyboard alone: a whole labelling run, judging policies, and everything that an owner can do."""

from collections.abc import Callable
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, TRAINING
from tests.feedback.web.screens import Screen, Served, practised, wait_until
from tests.feedback.web.test_endings import FINISHED

OpenScreen = Callable[..., Screen]


def tab_to(screen: Screen, selector: str) -> None:
    """Press Tab until this element has the focus."""
    for _ in range(80):
        if screen.page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
            return
        screen.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {selector}.")


def test_a_whole_labelling_run(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    for kind, shown in (("comparison", 2), ("strength", 2), ("ranking", 3), ("rating", 1)):
        store.ask(make_queries(1, kind, shown))
    screen = open_screen(served.link("new"))
    keyboard, page = screen.page.keyboard, screen.page
    page.locator(".introduction").wait_for()
    keyboard.press("Enter")
    last = 0
    for _ in range(4):
        last = screen.query(last)
        screen.press("ArrowLeft", last)
        page.locator("#feedback").wait_for()
        keyboard.press("Enter")
    comparison = screen.query(last)
    keyboard.press("?")
    page.locator("#keys[open]").wait_for()
    assert "take over a clip" in screen.text("#keys")
    keyboard.press("Escape")
    page.locator("#keys[open]").wait_for(state="detached")
    keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    screen.query()
    for key in ("+", "-", ",", ".", " ", "1"):
        keyboard.press(key)
    screen.press("ArrowRight", comparison)
    strength = screen.query(comparison)
    keyboard.press("Backspace")
    assert screen.query(strength) == comparison
    keyboard.press("c")
    page.get_by_role("button", name="Take over: Left").wait_for()
    keyboard.press("ArrowLeft")
    page.locator(".acting canvas").wait_for()
    tab_to(screen, ".keypad button")  # the buttons for touch can be reached and pressed as well
    keyboard.press("Enter")
    page.get_by_role("button", name="Store: mine is better").wait_for()
    tab_to(screen, "#choices button.strong")
    keyboard.press("Enter")
    assert screen.press("ArrowRight", screen.query()) == comparison
    strength = screen.query(comparison)
    keyboard.press("Shift+ArrowLeft")
    ranking = screen.query(strength)
    for key in ("2", "3", "Enter"):
        keyboard.press(key)
    screen.query(ranking)
    keyboard.press(" ")
    keyboard.down("ArrowUp")
    page.locator("#choices button.strong[aria-disabled=false]").wait_for()
    keyboard.up("ArrowUp")
    keyboard.press("Enter")
    page.get_by_text("All caught up").wait_for()
    wait_until(lambda: len(store.live_answers(Purpose.TRAIN)) == 5)
    store.post_status(TRAINING, FINISHED)
    page.locator(".summary").wait_for()
    answers = store.live_answers(Purpose.TRAIN)
    assert [answer.kind for answer in answers] == ["comparison", "comparison", "strength", "ranking", "rating"]
    assert answers[0].context["position"] == 0 and answers[2].payload == {"strength": "clearly"}
    assert answers[3].payload == {"ranking": [1, 2, 0]} and max(answers[4].payload["ratings"]) > 0


def test_policies_are_judged(store: PreferenceStore, tmp_path: Any, open_screen: OpenScreen, make_queries: Any) -> None:
    store.ask(make_queries(2, purpose=Purpose.JUDGE))
    practised(store, "ann")
    served = Served(store, tmp_path / "judged", purposes=(Purpose.JUDGE,))
    screen = open_screen(served.link("ann"))
    first = screen.query()
    assert screen.page.get_by_role("button", name="Correct").count() == 0
    screen.press("ArrowLeft", first)
    screen.query(first)
    screen.page.keyboard.press("ArrowUp")
    wait_until(lambda: [str(live.choice) for live in store.live_answers(Purpose.JUDGE)] == ["left", "tie"])
    served.stop()


@pytest.mark.parametrize(
    "viewport", [{"width": 1280, "height": 800}, {"width": 390, "height": 844}], ids=["desk", "phone"]
)
def test_an_owner_pauses_asks_for_more_invites_and_stops(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any, viewport: Any
) -> None:
    store.ask(make_queries(2))
    store.post_status(TRAINING, FINISHED | {"state": "training"})
    screen = open_screen(served.owner_link(), viewport=viewport)
    keyboard, page = screen.page.keyboard, screen.page
    page.locator("#pause:enabled").wait_for()

    def requested() -> Any:
        message = store.statuses().get(OWNER_REQUESTS)
        return {} if message is None else message.value

    tab_to(screen, "#pause")
    keyboard.press("Enter")
    wait_until(lambda: requested().get("paused"))
    tab_to(screen, "#extra")
    keyboard.press("Control+a")
    keyboard.type("7")
    keyboard.press("Enter")
    wait_until(lambda: requested().get("extra_answers") == 7)
    tab_to(screen, "#name")
    keyboard.type("eve")
    keyboard.press("Enter")
    page.locator("#ask[open]").wait_for()
    assert "#token=" in page.locator("#ask-link").input_value()
    keyboard.press("Escape")
    page.locator("#ask[open]").wait_for(state="detached")
    page.locator("#people").get_by_text("eve").first.wait_for()
    tab_to(screen, "#stop")
    keyboard.press("Enter")
    page.locator("#ask[open]").wait_for()
    tab_to(screen, "#ask-yes")
    keyboard.press("Enter")
    wait_until(lambda: requested().get("stop"))
