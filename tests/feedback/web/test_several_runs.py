"""One server for the stores of several runs in one database: a link for all of them, and runs that begin later."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlhf_envs.feedback import PreferenceStore
from tests.feedback.postgresql import empty_database
from tests.feedback.web.screens import ENVIRONMENT, PATIENCE, Screen, practised, wait_until
from tests.feedback.web.test_accessibility import check

ROOT = Path(__file__).parents[3]


class Shared:
    """Stores in one database, and the command that serves them, with the links that it printed."""

    def __init__(self, url: str, make_queries: Any) -> None:
        self.url, self._make_queries = url, make_queries
        self.stores: dict[str, PreferenceStore] = {}

    def begin(self, name: str, queries: int) -> PreferenceStore:
        """A run begins, and asks."""
        store = PreferenceStore.create(f"{self.url}?schema={name}", ENVIRONMENT, run=name)
        store.ask(self._make_queries(queries))
        practised(store, "ann")
        self.stores[name] = store
        return store

    def start(self) -> None:
        words = ["label", "--store", self.url, "--all-runs", "--feedback", "web", "--port", "0", "--annotators", "ann"]
        command = [sys.executable, "-m", "rlhf_envs", *words]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.links = {}
        for line in self.process.stdout or ():
            if found := re.search(r"(\w+)(?:'s dashboard)?: (http://\S+)#token=(\S+)", line):
                self.links[found[1]] = found[2], found[3]
            if line.startswith("Anyone who has a link"):
                return
        raise AssertionError(f"the server ended with status {self.process.wait()}")

    def get(self, path: str, name: str = "ann", **more: Any) -> httpx.Response:
        link, token = self.links[name]
        return httpx.get(httpx.URL(link).join(path), headers={"Authorization": f"Bearer {token}"}, timeout=30, **more)

    def post(self, path: str, body: Any) -> httpx.Response:
        link, token = self.links["ann"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.post(httpx.URL(link).join(path), headers=headers, json=body, timeout=30)

    def open_queries(self, name: str = "ann") -> dict[str, int]:
        return {run["name"]: run["open"] for run in self.get("/api/runs", name).raise_for_status().json()["runs"]}


@pytest.fixture
def shared(postgresql_server: str, make_queries: Any) -> Iterator[Shared]:
    with empty_database(postgresql_server) as url:
        made = Shared(url, make_queries)
        made.begin("run_a", 3)
        made.begin("run_b", 5)
        made.start()
        yield made
        made.process.terminate()
        made.process.communicate(timeout=60)
        assert made.process.returncode == 0
        for store in made.stores.values():
            store.close()


def test_one_link_answers_in_all_runs_and_in_those_that_begin_later(shared: Shared) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while True:
        try:
            assert shared.open_queries() == {"run_b": 5, "run_a": 3}
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
    [first, *_] = shared.get("/runs/run_a/api/queries").json()["queries"]
    body = {"query": first["id"], "choice": "left", "token": "a-token-of-this-answer"}
    assert shared.post("/runs/run_a/api/answers", body).status_code == 200
    assert [live.annotator for live in shared.stores["run_a"].live_answers()] == ["ann", "ann"]
    assert len(shared.stores["run_b"].live_answers()) == 1
    # It was handed out by the other run.
    assert shared.post("/runs/run_b/api/answers", {**body, "token": "another-token"}).status_code == 409
    shared.begin("run_c", 7)
    wait_until(lambda: "run_c" in shared.open_queries())
    assert list(shared.open_queries()) == ["run_c", "run_b", "run_a"]
    assert shared.get("/runs/run_c/label").status_code == 200
    assert shared.get("/runs/run_d/label").status_code == 404
    assert shared.get("/runs/run_c/api/dashboard").status_code == 403
    assert shared.get("/runs/run_c/api/dashboard", "owner").json()["asked"] == 8
    assert httpx.get(httpx.URL(shared.links["ann"][0]).join("/api/runs")).status_code == 401


def test_people_choose_a_run_and_answer_its_questions(shared: Shared, open_screen: Callable[..., Screen]) -> None:
    link, token = shared.links["ann"]
    screen = open_screen(f"{link}#token={token}")
    screen.page.get_by_role("link", name="run_b").wait_for()
    assert screen.page.locator("#rows tr").all_inner_texts()[0].split()[:3] == ["run_b", "rlhf/Driving-v1", "5"]
    screen.page.get_by_role("link", name="run_b").click()
    screen.press("ArrowLeft")
    wait_until(lambda: len(shared.stores["run_b"].live_answers()) == 2)
    screen.page.get_by_role("link", name="All runs").click()
    screen.page.get_by_role("link", name="run_a").click()
    screen.press("ArrowRight")
    wait_until(lambda: len(shared.stores["run_a"].live_answers()) == 2)


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_axe_finds_nothing_on_the_list_of_runs(shared: Shared, open_screen: Callable[..., Screen], width: int) -> None:
    for name in ("ann", "dashboard"):
        link, token = next(found for person, found in shared.links.items() if (person == "ann") == (name == "ann"))
        screen = open_screen(f"{link}#token={token}", viewport={"width": width, "height": 844})
        screen.page.get_by_role("link", name="run_b").wait_for()
        check(screen, f"the list of runs of {name}")
