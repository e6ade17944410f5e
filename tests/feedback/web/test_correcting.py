"""Showing on the page what the agent should have done, and the interface behind it."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import Choice, PreferenceStore, Purpose, Query
from rlhf_envs.feedback.web.corrections import MOST_STEPS
from rlhf_envs.segments import Segment
from tests.feedback.test_correcting import recorded
from tests.feedback.web.screens import Screen, Served, practised, wait_until
from tests.feedback.web.test_interface import Interface, request_  # noqa: F401

OpenScreen = Callable[..., Screen]


def the_correction(store: PreferenceStore) -> tuple[Any, Segment, Segment]:
    """The one correction in the store, once it is there: its answer, the original segment and the corrected one."""

    def found() -> list[Any]:
        return [answer for answer in store.live_answers() if "corrects" in answer.context]

    wait_until(lambda: len(found()) == 1)
    [answer] = found()
    one, other = store.segments(answer.segment_ids)
    return (answer, one, other) if answer.choice is Choice.RIGHT else (answer, other, one)


def takes_over(screen: Screen, *keys: str) -> None:
    """Press C and a key for the clip, and wait until it can be acted in."""
    screen.press("c")
    for key in keys:
        screen.page.keyboard.press(key)
    screen.page.locator(".acting canvas").wait_for()


def test_by_keys_alone_a_clip_is_taken_over_acted_looked_at_and_stored(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    [id, _] = store.ask(make_queries(2))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    page = screen.page
    screen.press(".")
    page.keyboard.press(".")
    page.keyboard.press("c")
    page.get_by_role("button", name="Take over: Right").wait_for()
    page.wait_for_timeout(200)
    page.keyboard.press(".")
    page.keyboard.press("ArrowRight")
    page.locator(".acting canvas").wait_for()
    page.wait_for_timeout(300)
    assert "step" in screen.text(".count") and page.locator("#reasons").is_hidden()
    before = screen.text(".count")
    page.keyboard.press("x")
    assert "does nothing" in screen.text("#note") and screen.text(".count") == before
    page.keyboard.down("w")
    page.get_by_role("button", name="Store: mine is better").wait_for()
    page.keyboard.up("w")
    assert not [answer for answer in store.live_answers() if "corrects" in answer.context]
    page.keyboard.press("Enter")
    page.locator("#note").get_by_text("still yours to answer").wait_for()
    answer, original, own = the_correction(store)
    step = answer.context["step"]
    assert answer.context["corrects"] == id and answer.context["position"] == 1 and 0 < step < 6
    assert original.digest == store.query(id).segments[1].digest
    assert (own.actions[step:, 0] > 0).all() and (own.actions[:step] == original.actions[:step]).all()
    assert 0 < answer.answered_at - answer.shown_at < 30
    assert screen.press("ArrowLeft") == id
    wait_until(lambda: len(store.live_answers()) == 3)


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)], ids=["phone", "desk"])
def test_by_touch_buttons_act_and_an_undone_correction_is_asked(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any, size: tuple[int, int]
) -> None:
    [id] = store.ask(make_queries(1))
    practised(store, "ann")
    screen = open_screen(
        served.link("ann"), viewport={"width": size[0], "height": size[1]}, has_touch=True, is_mobile=size[0] < 500
    )
    page = screen.page
    screen.query()
    page.get_by_role("button", name="Correct").tap()
    page.get_by_role("button", name="Take over: ").first.tap()
    page.locator(".acting canvas").wait_for()
    act = page.get_by_role("group", name="Act")
    pad = act.get_by_role("button", name="brake")
    box = pad.bounding_box()
    assert box["height"] >= 44 and box["y"] + box["height"] < size[1]
    for button in ("Act", "Your answer"):
        for one in page.get_by_role("group", name=button).get_by_role("button").all():
            place = one.bounding_box()
            assert place["x"] >= 0 and place["x"] + place["width"] <= size[0]
            assert place["y"] + place["height"] <= size[1]
    pad.tap()
    page.get_by_role("button", name="Store: mine is better").wait_for()
    page.wait_for_timeout(500)  # what has just appeared is not tapped by the finger that acted
    page.get_by_role("button", name="Act again").tap()
    act.get_by_role("button", name="faster").tap()
    page.get_by_role("button", name="Store: mine is better").wait_for()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Store: mine is better").tap()
    answer, _, own = the_correction(store)
    step = answer.context["step"]
    # A tap acts for a step, and then no key is held.
    assert own.actions[step, 0] > 0 and (own.actions[step + 1 :, 0] <= 0).all()
    screen.query()
    page.get_by_role("button", name="Undo").tap()
    assert screen.query(id) == answer.query_id
    wait_until(lambda: not [live for live in store.live_answers() if "corrects" in live.context])


def test_leaving_comes_back_to_the_question_as_it_was(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    [id] = store.ask(make_queries(1, "ranking", 3))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    page = screen.page
    assert screen.press("2") == id
    takes_over(screen, "3")
    page.keyboard.press("Escape")
    screen.query()
    page.keyboard.press("1")  # the last place fills itself
    page.keyboard.press("Enter")
    wait_until(lambda: store.live_answers(Purpose.TRAIN)[-1].query_id == id)
    assert store.live_answers()[-1].payload == {"ranking": [1, 0, 2]}


def test_a_correction_made_while_the_server_is_away_arrives_later(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(1))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    page = screen.page
    takes_over(screen, "ArrowLeft")
    page.keyboard.press("Enter")  # with no key held
    page.get_by_role("button", name="Store: mine is better").wait_for()
    served.stop()
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    served.start()
    answer, original, own = the_correction(store)
    assert own.digest != original.digest and answer.annotator == "ann"


def test_in_turns_each_key_is_a_step_and_rating_can_be_corrected(tmp_path: Any, open_screen: OpenScreen) -> None:
    described = StoredEnvironment(EnvironmentRef("rlhf/Support-v1"), 8)
    with PreferenceStore.create(tmp_path / "turns.db", described) as store:
        store.ask([Query("a", 0, (recorded("rlhf/Support-v1"),), kind="rating")])
        practised(store, "ann")
        served = Served(store, tmp_path / "clips")
        screen = open_screen(served.link("ann"))
        takes_over(screen, "Enter")
        for number in range(8):
            screen.page.get_by_text(f"step {number} of 8", exact=True).wait_for()
            screen.page.keyboard.press("s")
        screen.page.get_by_role("button", name="Store: mine is better").wait_for()
        screen.page.keyboard.press("Enter")
        _, _, own = the_correction(store)
        assert (own.actions == 1).all()
        served.stop()


def test_where_nobody_can_act_there_is_no_control(tmp_path: Any, open_screen: OpenScreen) -> None:
    described = StoredEnvironment(EnvironmentRef("CartPole-v1"), 8)
    with PreferenceStore.create(tmp_path / "keyless.db", described) as store:
        store.ask([Query("a", 0, (recorded("CartPole-v1"), recorded("CartPole-v1", 1)))])
        practised(store, "ann")
        served = Served(store, tmp_path / "clips")
        screen = open_screen(served.link("ann"))
        screen.query()
        assert screen.page.get_by_role("button", name="Correct").count() == 0
        screen.press("c")
        assert "cannot be corrected" in screen.text("#note")
        served.stop()


def test_the_interface_shows_stores_once_and_refuses_what_makes_no_sense(
    store: PreferenceStore,
    request_: Interface,  # noqa: F811
) -> None:
    token, other = request_.tokens.create("ann"), request_.tokens.create("bob")
    owner = request_.tokens.create("owner", "owner")
    me = request_("GET", "/api/me", token).json()
    assert me["correction"]["keys"]["w"] == "faster" and me["correction"]["arrows"]["up"] == "w"
    [first, *_] = request_("GET", "/api/queries", token).json()["queries"]
    assert first["correctable"]
    taken = {"query": first["id"], "position": 0, "step": 2, "held": [["w"], []]}
    shown = request_("POST", "/api/corrections/frame?theme=dark", token, json=taken)
    assert shown.status_code == 200 and shown.content[:3] == b"\xff\xd8\xff" and shown.headers["x-over"] == "0"
    assert request_("POST", "/api/corrections/frame?theme=dark", token, json=taken).content == shown.content
    whole = {**taken, "held": [["w"]] * 4, "token": "a-token-of-its-own"}
    stored = request_("POST", "/api/corrections", token, json=whole)
    assert stored.status_code == 200 and stored.json()["kind"] == "comparison"
    again = request_("POST", "/api/corrections", token, json=whole)
    assert again.json()["id"] == stored.json()["id"]
    answer, _, own = the_correction(store)
    assert answer.query_id == stored.json()["id"] and len(own) == 6
    for who, change, status in (
        (token, {"held": [["w"]] * 3}, 409),  # steps remain
        (token, {"held": [["w"]] * 5}, 409),
        (token, {"step": 6}, 409),
        (token, {"position": 2}, 409),
        (token, {"query": 10**6}, 409),
        (other, {}, 409),  # it was not shown to bob
        (token, {"held": [["w"]] * (MOST_STEPS + 1)}, 422),
        (token, {"held": [["x" * 17]] * 4}, 422),
        (token, {"position": True}, 422),
        (None, {}, 401),
        (owner, {}, 403),
    ):
        refused = request_("POST", "/api/corrections", who, json={**whole, "token": "another-token", **change})
        assert refused.status_code == status, (change, refused.text)
    practice = store.ask([Query("p", 0, store.query(first["id"]).segments, purpose=Purpose.PRACTICE, only_for="ann")])
    store.assign("ann", practice)
    refused = request_("POST", "/api/corrections/frame", token, json={**taken, "query": practice[0]})
    assert refused.status_code == 409 and "could be corrected" in refused.json()["detail"]
    assert len(store.live_answers()) == 3


def test_a_second_picture_at_once_is_refused(store: PreferenceStore, request_: Interface) -> None:  # noqa: F811
    token = request_.tokens.create("ann")
    [first, *_] = request_("GET", "/api/queries", token).json()["queries"]
    taken = {"query": first["id"], "position": 0, "step": 0, "held": []}
    request_.app.state.acting.add("ann")
    refused = request_("POST", "/api/corrections/frame", token, json=taken)
    assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
    request_.app.state.acting.clear()
    began = time.monotonic()
    pictures = {
        request_("POST", "/api/corrections/frame", token, json={**taken, "held": [["d"]] * steps}).content
        for steps in range(6)
    }
    assert len(pictures) == 6 and time.monotonic() - began < 30
    assert np.all([len(picture) < 100_000 for picture in pictures])
