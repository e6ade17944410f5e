"""Several people answer one run over HTTP: nobody waits while there is a question that nobody looks at."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from rlhf_envs.feedback import PreferenceStore, Purpose
from tests.feedback.web.screens import PATIENCE, Served, practised, wait_until

PEOPLE = ("ann", "bob", "cyd")
SECONDS_PER_ANSWER = 0.12


class Client:
    """A person at a page: looks at the first query, answers it, goes on with the next, and asks for more meanwhile."""

    def __init__(self, served: Served, name: str) -> None:
        self._store = served.store
        self.answers = 0
        self.waited_in_vain = 0
        self.looking_at: int | None = None
        self.stopped = False
        self._random = random.Random(name)
        token = served.tokens.create(name)
        address = f"http://127.0.0.1:{served.port}"
        self._http = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self.stopped:
            open_before = self._open()
            showing = {} if self.looking_at is None else {"showing": self.looking_at}
            listed = [query["id"] for query in self._http.get("/api/queries", params=showing).json()["queries"]]
            if not listed:
                # The others look at one each: of more there is one that nobody looks at.
                self.waited_in_vain += min(open_before, self._open()) >= len(PEOPLE)
                time.sleep(0.02)
                continue
            # Before the page has said what it shows now, that may have gone to somebody else.
            assert self.looking_at is None or self.looking_at not in listed[1:]
            self.looking_at = listed[0]
            time.sleep(SECONDS_PER_ANSWER * self._random.uniform(0.7, 1.3))
            message = {"query": listed[0], "token": f"{listed[0]:08d}", "choice": "left"}
            self._http.post("/api/answers", json=message).raise_for_status()
            self.answers += 1
            self.looking_at = listed[1] if len(listed) > 1 else None

    def _open(self) -> int:
        counts = self._store.counts()[Purpose.TRAIN]
        return counts.asked - counts.answered - counts.skipped

    def close(self) -> None:
        self.stopped = True
        self.thread.join(PATIENCE / 1000)
        self._http.close()


@contextmanager
def working(served: Served) -> Iterator[list[Client]]:
    clients = [Client(served, name) for name in PEOPLE]
    for client in clients:
        client.thread.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def test_three_people_share_fifty_questions_and_none_waits_while_one_is_open(
    store: PreferenceStore, served: Served, make_queries: Callable[..., Any]
) -> None:
    asked = make_queries(50)
    store.ask(asked[:1])
    for name in PEOPLE:
        practised(store, name)
    with working(served) as clients:
        for start in range(1, 50, 15):  # a run asks bit by bit, and waits until all of that is answered
            store.ask(asked[start : start + 15])
            give_up_at = time.monotonic() + PATIENCE / 1000
            while store.counts()[Purpose.TRAIN].answered - len(PEOPLE) < min(start + 15, 50):
                assert time.monotonic() < give_up_at
                time.sleep(0.05)
    shares = [client.answers for client in clients]
    assert sum(shares) == 50  # nobody answered what another had answered
    assert max(shares) <= 1.3 * min(shares), shares
    assert [client.waited_in_vain for client in clients] == [0, 0, 0]


def test_who_comes_later_gets_a_question_that_another_page_holds_ahead(
    store: PreferenceStore, served: Served, make_queries: Callable[..., Any], open_screen: Callable[..., Any]
) -> None:
    store.ask(make_queries(2))
    practised(store, "ann")
    practised(store, "bob")
    practised(store, "cyd")
    ann = open_screen(served.link("ann"))
    first = ann.query()
    bob = open_screen(served.link("bob"))
    second = bob.query()
    assert second != first
    cyd = open_screen(served.link("cyd"))
    cyd.page.get_by_text("Others have the open ones").wait_for()
    ann.press("ArrowLeft", first)
    bob.press("ArrowRight", second)
    wait_until(lambda: store.counts()[Purpose.TRAIN].answered == 5)
    answers = {live.query_id: live.annotator for live in store.live_answers(Purpose.TRAIN)}
    assert (answers[first], answers[second]) == ("ann", "bob")
