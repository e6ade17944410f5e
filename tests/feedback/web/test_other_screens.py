"""Practice, rankings, ratings and the owner's dashboard in a real browser."""

import time
from collections.abc import Callable
from typing import Any

from rlhf_envs.feedback import Kind, PreferenceStore, Purpose
from rlhf_envs.feedback.notices import TRAINING, WISHES
from tests.feedback.web.screens import Screen, Served, practised, wait_until

OpenScreen = Callable[..., Screen]


def test_a_new_annotator_practises_first_and_is_told_what_most_prefer(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(2))
    screen = open_screen(served.link("new"))
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
        assert f"Most people prefer the {known} one, because it does better on" in verdict.inner_text()
        assert ("That is what most say" in verdict.inner_text()) == (number > 0)
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
    store.ask(make_queries(1, Kind.RANKING, 4))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    query = screen.query()
    screen.page.keyboard.press("Enter")
    for key in ("3", "1", "1", "4", "1"):  # the second 1 takes clip 1 out again; the last place fills itself
        screen.page.keyboard.press(key)
    screen.page.keyboard.press("Enter")
    wait_until(lambda: store.live_answers(Purpose.TRAIN)[-1].query_id == query)
    assert store.live_answers()[-1].payload == {"ranking": [2, 3, 0, 1]}


def test_a_ranking_by_dragging_clips_into_places(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    store.ask(make_queries(1, Kind.RANKING, 3))
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
    store.ask(make_queries(1, Kind.RATING, 1))
    practised(store, "ann")
    screen = open_screen(served.link("ann"))
    query = screen.query()
    for _ in range(4):
        screen.page.keyboard.press("-")
    screen.page.keyboard.press(" ")
    screen.page.keyboard.down("ArrowUp")
    wait_until(lambda: float(screen.page.locator("input[type=range]").input_value()) > 0.5)
    screen.page.keyboard.up("ArrowUp")
    keep = screen.page.locator("button:not([disabled])", has_text="Keep this rating")
    keep.wait_for()
    screen.page.keyboard.press("Enter")
    wait_until(lambda: store.live_answers(Purpose.TRAIN)[-1].query_id == query)
    ratings = (store.live_answers()[-1].payload or {})["ratings"]
    assert len(ratings) == 6 and all(-1 <= rating <= 1 for rating in ratings)
    assert ratings == sorted(ratings) and 0 <= ratings[0] <= ratings[-1] and ratings[-1] > 0.5


def test_the_dashboard_shows_who_did_what_and_how_training_goes(
    store: PreferenceStore, served: Served, open_screen: OpenScreen, make_queries: Any
) -> None:
    ids = store.ask(make_queries(4), wanted=2)
    now = time.time()
    for id in ids[:3]:
        for name, choice in (("ann", "left"), ("bob", "left" if id == ids[0] else "right")):
            store.answer(id, name, choice, shown_at=now - 3, answered_at=now)
    curve = [[step * 1000, step * 2.0, 0.5 + step / 20] for step in range(8)]
    state = {"state": "training", "timesteps": 7000, "total_timesteps": 10000, "comparisons": 40, "curve": curve}
    store.post_notice(TRAINING, state)
    screen = open_screen(served.owner_link())
    screen.page.get_by_text("3 of 4 answered").wait_for()
    rows = [" ".join(row.split()) for row in screen.page.locator("#people tr").all_inner_texts()]
    assert rows[0].startswith("ann 3 0 3.0 s 100% 33% of 3")
    assert rows[1].startswith("bob 3 0 3.0 s 33% 33% of 3")
    assert "7,000 of 10,000" in screen.text("#training")
    assert screen.page.locator("#curves svg").count() == 2
    store.post_notice(TRAINING, {**state, "timesteps": 8000, "curve": [*curve, [8000, 99.0, None]]})
    screen.page.get_by_text("8,000 of 10,000").wait_for()
    assert "99" in screen.text("#curves figure >> nth=0")


def test_the_owners_buttons_pause_ask_for_more_and_stop_only_when_sure(
    store: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    def wishes() -> Any:
        notice = store.notices().get(WISHES)
        return {"paused": None, "stop": False, "extra_comparisons": 0} | dict(notice.value if notice else {})

    screen = open_screen(served.owner_link())
    click = lambda name: screen.page.get_by_role("button", name=name, exact=True).click()  # noqa: E731
    click("Pause")
    wait_until(lambda: wishes() == {"paused": True, "stop": False, "extra_comparisons": 0})
    click("Go on")
    wait_until(lambda: wishes()["paused"] is False)
    screen.page.get_by_label("Ask for").fill("30")
    click("more")
    wait_until(lambda: wishes()["extra_comparisons"] == 30)
    screen.page.get_by_text("Asks 30 comparisons beyond").wait_for()
    click("more")
    click("more")
    wait_until(lambda: wishes()["extra_comparisons"] == 90)
    click("Stop …")
    click("Cancel")
    assert wishes()["stop"] is False
    click("Stop …")
    click("Stop training")
    wait_until(lambda: wishes() == {"paused": False, "stop": True, "extra_comparisons": 90})


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
    carol.press("ArrowLeft")
    carol.page.get_by_text("1 answer kept on this device").wait_for()
    owner.page.get_by_role("button", name="Make a new link for carol").wait_for()


def test_the_dashboard_fits_a_phone(store: PreferenceStore, served: Served, open_screen: OpenScreen) -> None:
    served.tokens.create("ann")
    screen = open_screen(served.owner_link(), viewport={"width": 390, "height": 844})
    screen.page.locator("#people tr").wait_for()
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 390
