"""Comparisons on the page, in a real browser on a real server: keys, reload, lost connections, several people."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from rlhf_envs.feedback import LiveAnswer, PreferenceStore, Purpose
from tests.answers import give_answer
from tests.feedback.web.screens import Screen, Served, practised, wait_until

OpenScreen = Callable[..., Screen]


@pytest.fixture
def ready(store: PreferenceStore, make_queries: Any) -> PreferenceStore:
    """A store with twelve comparisons, and "ann" and "bob", who have practised."""
    store.ask(make_queries(12))
    practised(store, "ann")
    practised(store, "bob")
    return store


def given(store: PreferenceStore, *names: str) -> list[LiveAnswer]:
    """The answers that count, of the comparisons of these tests."""
    return [
        live
        for live in store.live_answers(Purpose.TRAIN)
        if live.annotator in (names or ("ann", "bob")) and not store.query(live.query_id).only_for
    ]


def test_what_belongs_to_a_question_is_not_on_the_page_before_there_is_one(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen("about:blank")
    held: list[Any] = []
    screen.page.route(re.compile("/api/(queries|progress)"), lambda route: held.append(route))
    screen.page.goto(served.link("ann"))
    screen.wait_until(lambda: len(held) == 2)
    buttons = screen.page.locator("#controls button, #choices button, #reasons button")
    assert buttons.count() > 5 and not any(button.is_visible() for button in buttons.all())
    screen.page.unroute_all()
    screen.page.reload()
    screen.query()
    assert screen.page.get_by_role("button", name="Correct").is_visible()
    assert screen.page.get_by_role("button", name="Undo").is_visible()
    assert screen.page.locator("#reasons button").first.is_visible()


def test_keys_answer_and_the_store_has_it_all(ready: PreferenceStore, served: Served, open_screen: OpenScreen) -> None:
    screen = open_screen(served.link("ann"))
    asked = []
    last = 0
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"):
        last = screen.press(key, screen.query(last))
        asked.append(last)
    last = screen.query(last)
    screen.page.keyboard.press("2")
    screen.page.keyboard.press("7")
    screen.press("ArrowLeft", last)
    wait_until(lambda: len(given(ready)) == 5)
    stored = given(ready)
    assert [live.query_id for live in stored] == [*asked, last]
    assert [live.choice for live in stored] == ["left", "right", "tie", "skip", "left"]
    assert stored[-1].reasons == ("speeding", "collision") and stored[0].reasons == ()
    assert all(live.shown_at and live.answered_at and live.shown_at <= live.answered_at for live in stored)


def test_backspace_undoes_and_the_same_pair_is_there_again(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    first = screen.press("ArrowLeft")
    second = screen.query(first)
    screen.page.keyboard.press("Backspace")
    assert screen.query(second) == first
    screen.press("ArrowRight", first)
    screen.query(first)
    wait_until(lambda: [live.choice for live in given(ready)] == ["right"])


def test_undo_after_a_reload_takes_back_the_latest_answer(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    first = screen.press("ArrowLeft")
    wait_until(lambda: given(ready))
    screen.page.reload()
    second = screen.query(first)
    screen.page.keyboard.press("Backspace")
    wait_until(lambda: not given(ready))
    screen.page.reload()
    assert screen.query(second) == first


def test_a_reload_and_the_back_button_lose_and_double_nothing(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    first = screen.press("ArrowLeft")
    screen.page.reload()
    second = screen.press("ArrowRight", screen.query(first))
    screen.page.goto("about:blank")
    screen.page.go_back()
    third = screen.press("ArrowLeft", screen.query(second))
    wait_until(lambda: len(given(ready)) == 3)
    assert [live.query_id for live in given(ready)] == [first, second, third]
    assert len({first, second, third}) == 3


def test_answers_given_offline_are_kept_and_sent_in_order_once_there_is_a_connection(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    before = screen.press("ArrowUp")
    last = screen.query(before)
    wait_until(lambda: len(given(ready)) == 1)
    for ahead in range(3):  # the films of the next three are there already
        screen.page.locator(f"video >> nth={ahead % 2}").wait_for()
    screen.page.context.set_offline(True)
    asked = []
    for key in ("ArrowLeft", "ArrowRight", "ArrowLeft"):
        last = screen.press(key, last)
        asked.append(last)
        last = screen.query(last)
    screen.page.get_by_text("3 answers kept on this device").wait_for()
    assert len(given(ready)) == 1
    screen.page.context.set_offline(False)
    wait_until(lambda: len(given(ready)) == 4)
    assert [(live.query_id, live.choice) for live in given(ready)[1:]] == list(
        zip(asked, ["left", "right", "left"], strict=True)
    )
    screen.page.locator("#banner").wait_for(state="hidden")


def test_answers_survive_a_server_that_is_away_and_a_reload_meanwhile(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    screen.query()
    screen.page.route("**/api/answers", lambda route: route.abort())
    first = screen.press("ArrowLeft")
    second = screen.press("ArrowRight", screen.query(first))
    screen.query(second)
    screen.page.get_by_text("2 answers kept on this device").wait_for()
    assert not given(ready)
    screen.page.unroute("**/api/answers")
    screen.page.reload()
    wait_until(lambda: len(given(ready)) == 2)
    assert [live.query_id for live in given(ready)] == [first, second]
    assert screen.query() not in (first, second)


def test_an_answer_whose_acknowledgement_got_lost_is_not_stored_twice(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    screen.query()
    sent = []

    def lose_the_reply(route: Any) -> None:
        sent.append(route.request.post_data_json["token"])
        if len(sent) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    screen.page.route("**/api/answers", lose_the_reply)
    screen.press("ArrowLeft")
    screen.wait_until(lambda: len(sent) == 2)
    screen.page.locator("#banner").wait_for(state="hidden")
    assert sent[0] == sent[1]
    assert len(given(ready)) == 1


def test_the_page_goes_on_when_the_server_is_started_again(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    first = screen.query()
    served.stop()
    screen.press("ArrowLeft", first)
    screen.page.get_by_text("1 answer kept on this device").wait_for()
    served.start()
    wait_until(lambda: [live.query_id for live in given(ready)] == [first])


def test_two_people_at_once_never_answer_the_same_query(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screens = [open_screen(served.link("ann")), open_screen(served.link("bob"))]
    last = [0, 0]
    for _ in range(3):
        for number, screen in enumerate(screens):
            last[number] = screen.press("ArrowLeft", screen.query(last[number]))
    wait_until(lambda: len(given(ready)) == 6)
    assert len({live.query_id for live in given(ready)}) == 6
    assert {live.annotator for live in given(ready)} == {"ann", "bob"}


def test_an_answer_that_is_refused_is_told_and_does_not_hold_up_the_next(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    first = screen.query()
    give_answer(ready, first, "ann", "right")
    screen.press("ArrowLeft", first)
    screen.page.get_by_text("has answered query").wait_for()
    second = screen.press("ArrowLeft", screen.query(first))
    wait_until(lambda: len(given(ready)) == 2)
    assert [(live.query_id, live.choice) for live in given(ready)] == [(first, "right"), (second, "left")]


def test_a_link_that_was_ended_says_so_and_its_answers_wait_for_the_new_one(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    first = screen.query()
    renewed = served.link("ann")
    screen.press("ArrowLeft", first)
    screen.page.get_by_text("1 answer kept").wait_for()
    assert "not valid" in screen.text("#banner")
    screen.page.goto(renewed)
    wait_until(lambda: [live.query_id for live in given(ready)] == [first])


def test_a_wrong_link_shows_nothing_but_what_to_do(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(f"http://127.0.0.1:{served.port}/label#token=guessed")
    screen.page.get_by_text("This link does not work").wait_for()
    assert screen.page.locator("video").count() == 0
    open_screen(f"http://127.0.0.1:{served.port}/").page.get_by_text("Open your personal link").wait_for()


def test_a_tap_on_a_phone_chooses_the_clip_below(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"), viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    first = screen.query()
    top, bottom = screen.page.locator(".clip >> nth=0"), screen.page.locator(".clip >> nth=1")
    assert top.bounding_box()["y"] + top.bounding_box()["height"] <= bottom.bounding_box()["y"]
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 390
    bottom.tap()
    screen.query(first)
    wait_until(lambda: [live.choice for live in given(ready)] == ["right"])


def test_both_clips_play_in_step_and_begin_again(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    screen.query()
    times = "[...document.querySelectorAll('video')].map((video) => video.currentTime)"
    seen: list[list[float]] = []

    def began_again() -> bool:
        seen.append(screen.page.evaluate(times))
        return any(later[0] < earlier[0] for earlier, later in pairwise(seen))

    wait_until(began_again)
    apart = sorted(abs(left - right) for left, right in seen)
    assert apart[len(apart) // 2] < 0.1


def test_everything_can_be_done_and_heard_without_a_mouse(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"))
    first = screen.query()
    unnamed = """() => [...document.querySelectorAll('button, input, [role=img], progress')]
        .filter((each) => !each.getAttribute('aria-label') && !each.textContent.trim())
        .map((each) => each.outerHTML)"""
    assert screen.page.evaluate(unnamed) == []
    reached = set()
    for _ in range(25):
        screen.page.keyboard.press("Tab")
        reached.add(screen.page.evaluate("document.activeElement.textContent"))
        outline = screen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        on_body = screen.page.evaluate("document.activeElement === document.body")
        assert on_body or outline != "none"
    assert any("Equally good" in text for text in reached) and any("Undo" in text for text in reached)
    screen.page.get_by_role("button", name="Equally good").focus()
    screen.page.keyboard.press("Enter")
    screen.query(first)
    wait_until(lambda: [live.choice for live in given(ready)] == ["tie"])
    wait_until(lambda: screen.text("#live") != "")
    screen.page.keyboard.press("?")
    screen.page.get_by_role("dialog").wait_for()


def test_when_there_is_nothing_to_do_new_queries_come_by_themselves(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    [earlier] = make_queries(1)
    store.ask([earlier])
    give_answer(store, 1, "ann", "left")
    screen = open_screen(served.link("ann"))
    screen.page.get_by_text("All caught up").wait_for()
    assert screen.page.locator(".clip").count() == 0
    store.ask(make_queries(3, "ranking", 3))
    assert screen.query() == 2
