"""What the tests of the page share: a running server, and a page as its user sees it."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.feedback.web import create_app
from rlhf_envs.feedback.web.connections import ConnectionLimits, limited_config
from rlhf_envs.feedback.web.tokens import OWNER, Tokens

ENVIRONMENT = StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), 6)
PATIENCE = 60_000
"""Milliseconds to wait for what should happen."""


def practised(store: PreferenceStore, name: str) -> None:
    """Make an annotator one who has answered before, so that no practice round is asked."""
    [id] = store.ask([Query(f"earlier/{name}", 0, store.queries()[0].segments[:1] * 2, only_for=name)])
    store.answer(id, name, "left")


class Served:
    """A running server, and the links to it."""

    def __init__(
        self, store: PreferenceStore, clip_folder: Path, limits: ConnectionLimits | None = None, **settings: Any
    ) -> None:
        self.store = store
        self._limits = limits
        self._settings = {"clip_folder": clip_folder, **settings}
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, on the port from before if there was one."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        app = create_app(self.store, **self._settings)
        self.app = app
        self.tokens: Tokens = app.state.tokens
        settings = limited_config(app, self._limits, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._listener.close()

    @property
    def connections(self) -> set[Any]:
        """Those that are open."""
        return self._server.server_state.connections

    def link(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/label#token={self.tokens.create(name)}"

    def owner_link(self) -> str:
        return f"http://127.0.0.1:{self.port}/dashboard#token={self.tokens.create(OWNER, OWNER)}"


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE / 1000) -> None:
    """Wait for a condition; fail where it does not come true."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.01)


def listens(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


class Screen:
    """A labelling page, as its user sees it; problems that the browser reports fail the test."""

    def __init__(self, page: Any, link: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(link)

    def query(self, other_than: int = 0) -> int:
        """The query on screen, once it can be answered."""
        shown = self.page.locator(f"#stage[data-query]:not([data-query='{other_than}'])")
        shown.wait_for()
        return int(shown.get_attribute("data-query"))

    def press(self, key: str, query: int | None = None) -> int:
        """Press a key when a query can be answered; the query."""
        query = self.query() if query is None else query
        self.page.keyboard.press(key)
        return query

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition that depends on what this test does for the browser, such as routing its requests."""
        give_up_at = time.monotonic() + PATIENCE / 1000
        while not condition():
            assert time.monotonic() < give_up_at, "waited in vain"
            self.page.wait_for_timeout(10)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())
