"""Everybody can use the pages: axe-core finds nothing on any screen in both themes, and a keyboard is enough."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.store.status import TRAINING
from tests.feedback.web.screens import Screen, Served, practised, wait_until
from tests.feedback.web.test_endings import FINISHED

OpenScreen = Callable[..., Screen]
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
DESKTOP, PHONE, ZOOMED = {"width": 1280, "height": 800}, {"width": 390, "height": 844}, {"width": 640, "height": 400}
"""A page at 200% of 1280x800 has 640x400 pixels of its own."""


def check(screen: Screen, what: str) -> None:
    """Fail where axe-core finds a violation in one of the themes."""
    for _ in range(2):
        screen.page.wait_for_timeout(200)  # colours fade
        found = axe.Axe().run(screen.page)
        violations = [
            (violation["id"], [node["html"][:160] for node in violation["nodes"]])
            for violation in found.response["violations"]
        ]
        assert not violations, (what, screen.page.evaluate("document.documentElement.dataset.theme"), violations)
        screen.page.evaluate("document.querySelector('#theme').click()")


@pytest.fixture
def kinds(store: PreferenceStore, make_queries: Any) -> PreferenceStore:
    """A store with a comparison, a strength, a ranking and a rating, and "ann", who has practised."""
    for kind, shown in (("comparison", 2), ("strength", 2), ("ranking", 4), ("rating", 1)):
        store.ask(make_queries(1, kind, shown))
    practised(store, "ann")
    return store


ANSWERS = {
    "comparison": ["ArrowLeft"],
    "strength": ["Shift+ArrowLeft"],
    "ranking": ["3", "1", "2", "Enter"],
    "rating": [],
}


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_on_any_labelling_screen(
    kinds: PreferenceStore, served: Served, open_screen: OpenScreen, viewport: dict[str, int]
) -> None:
    screen = open_screen(served.link("ann"), viewport=viewport)
    last = 0
    for kind, keys in ANSWERS.items():
        last = screen.query(last)
        assert kinds.query(last).kind == kind
        check(screen, kind)
        screen.query()
        screen.page.keyboard.press("Enter" if kind != "ranking" else "9")
        screen.page.locator("#note span").wait_for()
        check(screen, f"{kind}, with a key refused")
        screen.query()
        for key in keys or ["s"]:
            screen.page.keyboard.press(key)
    screen.page.get_by_text("All caught up").wait_for()
    check(screen, "nothing to answer")
    screen.page.keyboard.press("?")
    screen.page.locator("#keys[open]").wait_for()
    check(screen, "the list of keys")
    screen.page.keyboard.press("Escape")
    wait_until(lambda: len(kinds.live_answers()) == 5)
    kinds.post_status(TRAINING, FINISHED)
    screen.page.locator(".summary").wait_for()
    check(screen, "the end")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE, ZOOMED], ids=["desktop", "phone", "zoomed"])
def test_axe_finds_nothing_while_a_clip_is_corrected(
    kinds: PreferenceStore, served: Served, open_screen: OpenScreen, forms: Any, viewport: dict[str, int]
) -> None:
    screen = open_screen(served.link("ann"), viewport=viewport)
    screen.press("c")
    screen.page.get_by_role("button", name="Take over: ").first.wait_for()
    check(screen, "choosing clip and moment")
    assert forms(screen) == []
    screen.page.keyboard.press("ArrowLeft")
    screen.page.locator(".acting canvas").wait_for()
    check(screen, "acting")
    assert forms(screen) == []
    screen.page.keyboard.press("Enter")
    screen.page.get_by_role("button", name="Store: mine is better").wait_for()
    check(screen, "looking at both")
    assert forms(screen) == []


def test_axe_finds_nothing_in_practice_nor_where_something_is_wrong(
    kinds: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("new"))
    screen.page.locator(".introduction").wait_for()
    check(screen, "what a new annotator reads first")
    screen.page.keyboard.press("Enter")
    screen.query()
    check(screen, "practice")
    screen.press("ArrowLeft", screen.query())
    screen.page.locator("#feedback").wait_for()
    check(screen, "what a practice answer was worth")
    check(open_screen(f"http://127.0.0.1:{served.port}/label#token=wrong"), "a link that does not work")
    check(open_screen(f"http://127.0.0.1:{served.port}/label"), "no link")
    broken = open_screen("about:blank")
    broken.page.route("**/*.mp4*", lambda route: route.fulfill(status=404, json={"detail": "It cannot be drawn."}))
    broken.page.goto(served.link("ann"))
    broken.page.get_by_role("heading", name="These clips cannot be shown").wait_for()
    check(broken, "clips that cannot be shown")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_on_the_dashboard(
    kinds: PreferenceStore, served: Served, open_screen: OpenScreen, viewport: dict[str, int]
) -> None:
    screen = open_screen(served.owner_link(), viewport=viewport)
    screen.page.locator("#people tr").first.wait_for()
    check(screen, "before anything was heard from training")
    kinds.post_status(TRAINING, FINISHED | {"state": "training", "alarms": ["It is odd."], "concerns": ["Look at it."]})
    screen.page.get_by_text("It is odd.").wait_for()
    check(screen, "while training goes on")
    screen.page.get_by_role("button", name="Stop").click()
    screen.page.locator("#ask[open]").wait_for()
    check(screen, "a question to the owner")


@pytest.fixture
def forms(browser: Any) -> Iterator[Callable[[Screen], list[str]]]:
    """What of a page lies outside of the window and cannot be scrolled to."""

    def cut_off(screen: Screen) -> list[str]:
        found: list[str] = screen.page.evaluate(
            """() => [...document.querySelectorAll('button, h1, h2, input, .clip')].filter((each) => {
                if (!each.checkVisibility({ visibilityProperty: true })) return false;
                each.scrollIntoView({ block: 'nearest', inline: 'nearest' });
                const { top, bottom, left, right, height } = each.getBoundingClientRect();
                const fits = bottom <= innerHeight + 1 || height > innerHeight;
                return left < -1 || right > innerWidth + 1 || top < -1 || !fits;
            }).map((each) => each.outerHTML.slice(0, 80))"""
        )
        return found

    yield cut_off


def test_everything_can_be_reached_at_twice_the_size(
    kinds: PreferenceStore, served: Served, open_screen: OpenScreen, forms: Any
) -> None:
    screen = open_screen(served.link("ann"), viewport=ZOOMED)
    last = 0
    for kind, keys in ANSWERS.items():
        last = screen.query(last)
        assert forms(screen) == [], kind
        for clip in screen.page.locator(".clip").all():
            box = clip.bounding_box()
            assert box["height"] >= 90, (kind, box)
        for key in keys:
            screen.page.keyboard.press(key)
    dashboard = open_screen(served.owner_link(), viewport=ZOOMED)
    dashboard.page.locator("#people tr").first.wait_for()
    assert forms(dashboard) == []


def test_a_whole_labelling_run_can_be_heard(kinds: PreferenceStore, served: Served, open_screen: OpenScreen) -> None:
    screen = open_screen(served.link("ann"))
    comparison = screen.query()
    heard = screen.page.locator("#live")
    heard.get_by_text("Two clips: which is better? Left: ").wait_for()
    said = heard.inner_text()
    assert "Right: " in said and "Progress" in said and "comfort" in said.lower()
    described = [clip.get_attribute("aria-describedby") for clip in screen.page.locator(".clip").all()]
    assert all(screen.page.locator(f"#{id}").inner_text() in said for id in described)
    strength = screen.query(screen.press("ArrowLeft", comparison))
    heard.get_by_text("slightly or clearly").wait_for()
    ranking = screen.query(screen.press("ArrowLeft", strength))
    heard.get_by_text("4 clips to put in order. Clip 1: ").wait_for()
    screen.page.keyboard.press("2")
    heard.get_by_text("Order: clip 2, open, open, open.").wait_for()
    for key in ("1", "4", "Enter"):
        screen.page.keyboard.press(key)
    rating = screen.query(ranking)
    heard.get_by_text("One clip to rate").wait_for()
    assert ":" in (screen.page.locator(".clip").get_attribute("aria-label") or "")
    screen.press("s", rating)
    heard.get_by_text("skipped").wait_for()
    wait_until(lambda: len(kinds.live_answers(Purpose.TRAIN)) == 5)


def test_little_motion_is_shown_to_who_wants_little(
    kinds: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    screen = open_screen(served.link("ann"), reduced_motion="reduce")
    screen.query()
    still = "() => { const [v] = document.querySelectorAll('video'); return v.ended || v.paused; }"
    screen.page.wait_for_function(still)
    screen.page.wait_for_timeout(600)
    assert screen.page.evaluate(still)
    durations = "() => [...document.querySelectorAll('button')].map((b) => getComputedStyle(b).transitionDuration)"
    assert set(screen.page.evaluate(durations)) == {"0s"}


def test_tab_reaches_every_button_and_shows_where_it_is(
    kinds: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    for link in (served.link("ann"), served.owner_link()):
        screen = open_screen(link)
        screen.page.locator(".clip, #people tr").first.wait_for()
        if "label" in link:
            screen.query()
        buttons = screen.page.locator("button:visible:enabled, input:visible:enabled").count()
        seen = set()
        for _ in range(buttons + 3):
            screen.page.keyboard.press("Tab")
            at = screen.page.evaluate(
                """() => { const e = document.activeElement; const s = getComputedStyle(e);
                return [e.outerHTML.slice(0, 200), e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]; }"""
            )
            if at[1] in ("BUTTON", "INPUT"):
                seen.add(at[0])
                assert at[2] != "none" and at[3] >= 2, at
        assert len(seen) >= buttons - 1, (len(seen), buttons)
