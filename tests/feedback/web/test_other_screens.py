"""Practice, rankings, ratings and the owner's dashboard in a real browser."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, TRAINING
from tests.answers import give_answer
from tests.feedback.web.screens import ENVIRONMENT, Screen, Served, practised, wait_until

OpenScreen = Callable[..., Screen]


def test_a_new_annotator_practises_first_and_is_told_what_most_prefer(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(2))
    screen = open_screen(served.link("new"))
    screen.page.get_by_role("button", name="Practise first").wait_for()
    assert "blue car" in screen.text("#stage") and "Who would you rather ride with" in screen.text("#stage")
    screen.page.keyboard.press("Enter")
    last, right = 0, 0
    for number in range(4):
        last = screen.query(last)
        query = store.query(last)
        assert query.purpose is Purpose.PRACTICE and query.only_for == "new"
        known = str(query.context["answer"])
        other = {"left": "right", "right": "left"}[known]
        screen.press({"left": "ArrowLeft", "right": "ArrowRight"}[known if number else other], last)
        verdict = screen.page.locator("#feedback")
        verdict.wait_for()
        assert f"The reference answer is the {known} one, because it does better on" in verdict.inner_text()
        assert ("Right." in verdict.inner_text()) == (number > 0)
        right += number > 0
        screen.page.keyboard.press("Enter")
    assert store.query(screen.query(last)).purpose is Purpose.TRAIN
    wait_until(lambda: len(store.live_answers(Purpose.PRACTICE)) == 4)
    assert not store.live_answers(Purpose.TRAIN)
    dashboard = open_screen(served.owner_link())
    dashboard.page.get_by_text(f"{right} of 4").wait_for()


def test_a_ranking_by_number_keys_is_stored_best_first(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(1, "ranking", 4))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    query = screen.query()
    screen.page.keyboard.press("Enter")
    for key in ("3", "1", "1", "4", "1"):  # the second 1 takes clip 1 out again; the last place fills itself
        screen.page.keyboard.press(key)
    screen.page.keyboard.press("Enter")
    wait_until(lambda: store.live_answers(Purpose.TRAIN)[-1].query_id == query)
    assert store.live_answers()[-1].payload == {"ranking": [2, 3, 0, 1]}


def test_the_whole_order_typed_is_stored_and_what_is_refused_is_seen(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(1, "ranking", 4) + make_queries(1, "rating", 1) + make_queries(1))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    ranking = screen.query()

    def refused(key: str, sentence: str) -> None:
        screen.page.keyboard.press(key)
        screen.page.locator("#note").get_by_text(sentence).wait_for()

    for key in ("3", "1"):
        screen.page.keyboard.press(key)
    refused("Enter", "Clips 2 and 4 have no place yet: type their numbers, the best first.")
    refused("7", "There are only 4 clips.")
    refused("ArrowLeft", "The number keys put the clips in order")
    refused("q", "Q does nothing here; ? lists the keys.")
    screen.page.keyboard.press("4")
    assert screen.text("#note") == ""  # a key that means something wipes out what was said of another
    screen.page.keyboard.press("2")  # stands in the last place already, as the only one left
    screen.page.keyboard.press("Enter")
    rating = screen.query(ranking)
    refused("Enter", "Rate the clip first: Space starts it.")
    refused("ArrowUp", "Space starts the clip; hold ↑ or ↓ while it plays.")
    screen.press("s", rating)
    comparison = screen.query(rating)
    refused("Enter", "Choose with ← or →")
    screen.press("ArrowLeft", comparison)
    wait_until(lambda: len(store.live_answers(Purpose.TRAIN)) == 4)
    assert store.live_answers()[1].payload == {"ranking": [2, 0, 3, 1]}
    screen.page.get_by_text("All caught up").wait_for()
    refused("ArrowLeft", "There is nothing to answer right now.")


def test_a_ranking_by_dragging_clips_into_places(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(1, "ranking", 3))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    query = screen.query()

    def drag(from_: str, to: str) -> None:
        boxes = [screen.page.locator(selector).bounding_box() for selector in (from_, to)]
        (x, y), (to_x, to_y) = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes]
        screen.page.mouse.move(x, y)
        screen.page.mouse.down()
        screen.page.mouse.move((x + to_x) / 2, (y + to_y) / 2)
        screen.page.mouse.move(to_x, to_y)
        screen.page.mouse.up()

    drag(".clip >> nth=0", ".place >> nth=2")
    screen.page.locator(".place.filled >> text=Clip 1").wait_for()
    drag(".clip >> nth=1", ".place >> nth=0")
    screen.page.locator(".place.filled >> text=Clip 3").wait_for()  # the only clip left takes the only place left
    drag(".place >> nth=1", ".place >> nth=0")
    screen.page.locator(".place >> nth=0 >> text=Clip 3").wait_for()
    screen.page.get_by_role("button", name="This is my order").click()
    wait_until(lambda: store.live_answers(Purpose.TRAIN)[-1].query_id == query)
    assert store.live_answers()[-1].payload == {"ranking": [2, 1, 0]}


def test_a_rating_follows_the_keys_that_are_held_while_the_clip_plays(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(1, "rating", 1))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    query = screen.query()
    for _ in range(4):
        screen.page.keyboard.press("-")
    screen.page.keyboard.press(" ")
    screen.page.keyboard.down("ArrowUp")
    wait_until(lambda: float(screen.page.locator("input[type=range]").input_value()) > 0.5)
    screen.page.keyboard.up("ArrowUp")
    keep = screen.page.locator("button[aria-disabled='false']", has_text="Keep this rating")
    keep.wait_for()
    screen.page.keyboard.press("Enter")
    wait_until(lambda: store.live_answers(Purpose.TRAIN)[-1].query_id == query)
    ratings = (store.live_answers()[-1].payload or {})["ratings"]
    assert len(ratings) == 6 and all(-1 <= rating <= 1 for rating in ratings)
    assert ratings == sorted(ratings) and 0 <= ratings[0] <= ratings[-1] and ratings[-1] > 0.5


def test_a_strength_of_preference_by_keys_buttons_and_taps(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    ids = store.ask(make_queries(6, "strength"))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    last = screen.press("ArrowLeft")
    last = screen.press("Shift+ArrowRight", screen.query(last))
    last = screen.press("ArrowUp", screen.query(last))
    last = screen.query(last)
    screen.page.get_by_role("button", name="Left is clearly better").click()
    last = screen.query(last)
    screen.page.locator(".clip >> nth=1").click()
    screen.press("ArrowDown", screen.query(last))
    wait_until(lambda: len(store.live_answers(Purpose.TRAIN)) == 7)
    said = {live.query_id: (live.choice, live.payload) for live in store.live_answers(Purpose.TRAIN)}
    assert [said[id] for id in ids] == [
        ("left", {"strength": "slightly"}),
        ("right", {"strength": "clearly"}),
        ("tie", None),
        ("left", {"strength": "clearly"}),
        ("right", {"strength": "slightly"}),
        ("skip", None),
    ]


def test_the_dashboard_shows_who_did_what_and_how_training_goes(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    ids = store.ask(make_queries(4), wanted=2)
    now = time.time()
    for id in ids[:3]:
        for name, choice in (("ann", "left"), ("bob", "left" if id == ids[0] else "right")):
            give_answer(store, id, name, choice, shown_at=now - 3, answered_at=now)
    curve = [[step * 1000, step * 2.0, 0.5 + step / 20] for step in range(8)]
    # Of 80 answers, two for each query, 8 were asked for.
    state = {"state": "training", "timesteps": 7000, "total_timesteps": 10000, "answers": 80, "overlap": 2}
    store.post_status(TRAINING, state | {"curve": curve})
    screen = open_screen(served.owner_link())
    screen.page.get_by_text("3 of 40 answered").wait_for()
    assert screen.text("#rest") == "1 open, 36 not asked yet"
    rows = [" ".join(row.split()) for row in screen.page.locator("#people tr").all_inner_texts()]
    assert rows[0].startswith("ann 3 0 3.0 s 100% of 3 33% of 3")
    assert rows[1].startswith("bob 3 0 3.0 s 33% of 3 33% of 3")
    assert "7,000 of 10,000" in screen.text("#training")
    assert screen.page.locator("#curves svg").count() == 2
    store.post_status(TRAINING, {**state, "timesteps": 8000, "curve": [*curve, [8000, 99.0, None]]})
    screen.page.get_by_text("8,000 of 10,000").wait_for()
    assert "99" in screen.text("#curves figure >> nth=0")


def test_the_owners_buttons_pause_ask_for_more_and_stop_only_when_sure(
    store: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    def requests() -> Any:
        message = store.statuses().get(OWNER_REQUESTS)
        return {"paused": None, "stop": False, "extra_answers": 0} | dict(message.value if message else {})

    screen = open_screen(served.owner_link())
    click = lambda name: screen.page.get_by_role("button", name=name, exact=True).click()  # noqa: E731
    click("Pause")
    wait_until(lambda: requests() == {"paused": True, "stop": False, "extra_answers": 0})
    click("Go on")
    wait_until(lambda: requests()["paused"] is False)
    screen.page.get_by_label("Ask for").fill("30")
    click("more")
    wait_until(lambda: requests()["extra_answers"] == 30)
    screen.page.get_by_text("Asks 30 answers beyond").wait_for()
    click("more")
    click("more")
    wait_until(lambda: requests()["extra_answers"] == 90)
    click("Stop …")
    click("Cancel")
    assert requests()["stop"] is False
    click("Stop …")
    click("Stop training")
    wait_until(lambda: requests() == {"paused": False, "stop": True, "extra_answers": 90})


def test_the_owner_makes_and_ends_links(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(2))
    practised(store, "carol")
    owner = open_screen(served.owner_link())
    owner.page.get_by_label("New annotator").fill("carol")
    owner.page.get_by_role("button", name="Make a personal link").click()
    owner.page.get_by_role("button", name="Done").wait_for()
    link = owner.page.get_by_role("textbox", name="Personal link").input_value()
    owner.page.get_by_role("button", name="Done").click()
    carol = open_screen(link)
    carol.query()
    owner.page.get_by_role("button", name="End the link of carol").click()
    owner.page.get_by_role("button", name="End the link", exact=True).click()
    owner.page.get_by_role("button", name="End the link of carol").wait_for(state="detached")
    carol.press("ArrowLeft")
    carol.page.get_by_text("1 answer kept on this device").wait_for()
    owner.page.get_by_role("button", name="Make a new link for carol").wait_for()


def test_the_dashboard_shows_everything_on_a_phone_without_scrolling_sideways(
    store: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    name = "carol-with-the-long-name@university.example.org"
    served.tokens.create(name)
    screen = open_screen(served.owner_link(), viewport={"width": 390, "height": 844})
    screen.page.get_by_role("row", name=name).wait_for()
    for width in (390, 820, 1024):
        screen.page.set_viewport_size({"width": width, "height": 844})
        assert screen.page.evaluate("document.documentElement.scrollWidth") <= width
        hidden = screen.page.locator(".scroll").evaluate("(region) => region.scrollWidth - region.clientWidth")
        assert hidden == 0
        for button in (f"Make a new link for {name}", f"End the link of {name}"):
            box = screen.page.get_by_role("button", name=button).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width
    # However it is laid out, whoever hears the page hears a table.
    assert screen.page.get_by_role("columnheader").count() == 10
    assert screen.page.get_by_role("cell").count() == 9


def test_what_the_owner_is_about_to_press_stays_where_it_is(
    store: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    served.tokens.create("ann")
    screen = open_screen(served.owner_link())
    screen.page.get_by_role("button", name="End the link of ann").focus()
    store.post_status(TRAINING, {"state": "training", "timesteps": 5, "total_timesteps": 10})
    screen.page.get_by_text("5 of 10 steps").wait_for()
    focused = "document.activeElement.getAttribute('aria-label')"
    assert screen.page.evaluate(focused) == "End the link of ann"


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_a_training_that_is_over_can_be_asked_for_nothing(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, state: str
) -> None:
    store.post_status(TRAINING, {"state": "training", "answers": 30})
    screen = open_screen(served.owner_link())
    controls = [screen.page.locator(selector) for selector in ("#pause", "#extra", "#ask-more", "#stop")]
    wait_until(lambda: all(control.is_enabled() for control in controls))
    store.post_status(TRAINING, {"state": state, "answers": 30})
    wait_until(lambda: not any(control.is_enabled() for control in controls))


def test_where_policies_are_judged_nobody_is_told_of_a_training(
    store: PreferenceStore, tmp_path: Path, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(2, purpose=Purpose.JUDGE))
    store.post_status(TRAINING, {"state": "finished"})
    served = Served(store, tmp_path / "clips", purposes=[Purpose.JUDGE])
    try:
        judge = open_screen(served.link("ann"))
        judge.page.get_by_role("button", name="Begin").click()
        first = judge.query()
        judge.page.get_by_text("0 of 2").wait_for()
        assert "raining" not in judge.text("body")
        judge.press("ArrowLeft", first)
        judge.press("ArrowLeft", judge.query(first))
        judge.page.get_by_text("All done, thank you").wait_for()
        assert "raining" not in judge.text("body")
        owner = open_screen(served.owner_link())
        owner.page.get_by_text("2 of 2 answered").wait_for()
        assert "raining" not in owner.text("body")
        assert owner.page.get_by_role("button", name="Pause").count() == 0
        owner.page.get_by_role("heading", name="What was asked").wait_for()
        headings = [ENVIRONMENT.id, "Answers", "Latest answers", "What was asked", "Annotators"]
        assert owner.page.get_by_role("heading").all_inner_texts() == headings
    finally:
        served.stop()


def test_progress_is_measured_by_the_budget_and_never_falls_back_when_more_is_asked(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.post_status(TRAINING, {"state": "waiting", "waiting_for": 1, "answers": 30})
    asked = make_queries(10)
    store.ask(asked[:3])
    practised(store, "ann")
    screen, owner = open_screen(served.link("ann")), open_screen(served.owner_link())
    screen.press("ArrowDown")
    screen.page.get_by_text("2 of 30 · 2 by you").wait_for()
    owner.page.get_by_text("2 of 30 answered, 1 of them skipped").wait_for()
    store.ask(asked)
    owner.page.get_by_text("9 open, 19 not asked yet").wait_for()
    for page in (screen.page, owner.page):
        assert page.locator("#done").evaluate("(bar) => [bar.value, bar.max]") == [2, 30]


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (844, 390)])
def test_what_training_waits_for_can_be_read_on_phones_and_tablets(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any, width: int, height: int
) -> None:
    store.ask(make_queries(3))
    practised(store, "ann")
    notice = {"state": "waiting", "waiting_for": 1234, "answers": 3000, "test_accuracy": 0.51}
    store.post_status(TRAINING, notice)
    screen = open_screen(served.link("ann"), viewport={"width": width, "height": height})
    screen.query()
    shown = screen.page.locator("#training")
    shown.get_by_text("Training waits for 1,234 answers").wait_for()
    cut_off = "(text) => [text.scrollWidth - text.clientWidth, text.scrollHeight - text.clientHeight]"
    assert shown.evaluate(cut_off) == [0, 0]
    assert shown.bounding_box()["x"] + shown.bounding_box()["width"] <= width
    assert screen.page.locator(".clip >> nth=1").bounding_box()["height"] > 150


def test_the_owner_sees_who_holds_what_the_latest_answers_and_a_map(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    first, second, third, fourth, fifth, *_ = store.ask(make_queries(8), wanted=2)
    for query in (fourth, fifth):
        give_answer(store, query, "bob", "left")
    for name in ("ann", "bob"):
        for query, choice in ((first, "left"), (second, "right" if name == "ann" else "left"), (third, "tie")):
            give_answer(store, query, name, choice, reasons=["progress"])
    screen = open_screen(served.link("ann"))
    screen.query()
    board = open_screen(served.owner_link())
    board.page.locator("#people tr", has_text="looks at 1, 3 ahead").wait_for()
    board.page.get_by_text("Of 2 times that two of them decided the same pair, they agreed in 50%.").wait_for()
    latest = board.page.locator("#latest li")
    latest.nth(5).wait_for()
    assert latest.count() == 6 and "equally good" in latest.first.inner_text() and "bob" in latest.first.inner_text()
    board.page.locator("#latest video.preferred[src^='blob:']").first.wait_for()
    assert board.page.locator("#map circle").count() == 6
    token = served.link("cyd").rpartition("=")[2]
    for path in ("/api/asked", f"/api/asked/{first}/0.mp4"):
        answered = board.page.request.get(
            f"http://127.0.0.1:{served.port}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        assert answered.status == 403
