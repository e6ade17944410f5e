"""Who closes the labelling page keeps nothing from others."""

from collections.abc import Callable
from typing import Any

import pytest

from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.feedback.store.schema import ENDED, leases
from tests.feedback.web.screens import Screen, Served, practised, wait_until

OpenScreen = Callable[..., Screen]


@pytest.fixture
def ready(store: PreferenceStore, make_queries: Any) -> PreferenceStore:
    """A store with five comparisons, of which a page keeps four ready, and "ann" and "bob", who have practised."""
    store.ask(make_queries(5))
    practised(store, "ann")
    practised(store, "bob")
    return store


def held(store: PreferenceStore, name: str) -> set[int]:
    rows = store.database.read(lambda connection: connection.execute(leases.select()).all())
    return {row.query_id for row in rows if row.annotator == name and row.expires_at > ENDED}


def test_a_page_that_is_closed_gives_its_queries_to_others_at_once(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    ann, bob = open_screen(served.link("ann")), open_screen(served.link("bob"))
    first = ann.query()
    assert bob.query() != first
    assert first in held(ready, "ann")
    ann.page.close(run_before_unload=True)
    wait_until(lambda: first in held(ready, "bob"))
    assert held(ready, "ann") == set()


def test_a_page_that_was_left_and_comes_back_has_queries_again(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    ann = open_screen(served.link("ann"))
    first = ann.query()
    ann.page.goto("about:blank")
    wait_until(lambda: not held(ready, "ann"))
    ann.page.go_back()
    assert ann.query() == first
    wait_until(lambda: len(held(ready, "ann")) == 4)


def test_an_answer_that_is_kept_on_the_device_keeps_its_query(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    ann = open_screen(served.link("ann"))
    ann.query()
    ann.page.route("**/api/answers", lambda route: route.abort())
    first = ann.press("ArrowLeft")
    ann.page.get_by_text("1 answer kept on this device").wait_for()
    ann.page.goto("about:blank")
    wait_until(lambda: held(ready, "ann") == {first})
    ann.page.unroute("**/api/answers")
    ann.page.go_back()
    wait_until(lambda: [live.query_id for live in ready.live_answers(Purpose.TRAIN)][2:] == [first])


def test_one_of_two_pages_of_the_same_person_may_be_closed(
    ready: PreferenceStore, served: Served, open_screen: OpenScreen
) -> None:
    link = served.link("ann")
    kept, closed = open_screen(link), open_screen(link)
    first = kept.query()
    assert closed.query() == first
    closed.page.close(run_before_unload=True)
    wait_until(lambda: not held(ready, "ann"))
    kept.press("ArrowRight", first)
    kept.query(first)
    wait_until(lambda: [live.choice for live in ready.live_answers(Purpose.TRAIN)][2:] == ["right"])
