"""Who takes part when robustness is measured: processes that can be killed and started again, and people over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.run_directory import RunDirectory

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS_TO_STOP = 30.0
_SECONDS_TO_RESPOND = 20.0
_PACE_SECONDS = 0.1
_RETRY_SECONDS = 0.1

_SMALL = (
    *("--env", "rlhf/Driving-v0", "--env-kwargs", '{"horizon": 40}', "--feedback", "elsewhere"),
    *("--timesteps", "4096", "--test-comparisons", "6", "--segment-length", "8", "--finish-by", "0.9"),
    *("--ppo.num-envs", "4", "--ppo.n-steps", "32", "--ppo.batch-size", "128", "--ppo.n-epochs", "2"),
    *("--ppo.net-arch", "16", "--ensemble.hidden", "16", "--fit.steps", "20", "--evaluation-episodes", "2"),
    *("--checkpoint-seconds", "0.5"),
)
_LINK = re.compile(r"http://[^:/]+:(\d+)/(\w+)#token=(\S+)")


class Command(ABC):
    """A process that is started, killed and started again.

    Args:
        run: the folder of the training run.
        said: the name of the file beside it that takes what the process says.
    """

    def __init__(self, run: Path, said: str) -> None:
        self.run = run
        self._said = run.parent / said
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def arguments(self) -> list[str]:
        """What follows `python -m`, now."""

    def start(self) -> None:
        """Begin, or begin again."""
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments()],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SDL_VIDEODRIVER": "dummy", "OMP_NUM_THREADS": "1"},
            )

    def kill(self) -> bool:
        """End it by SIGKILL; whether there was anything to end."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.kill()
        self._process.wait()
        return True

    def stop(self) -> int | None:
        """Ask it to end, and return its exit status; None if it does not."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            return None

    @property
    def ended(self) -> bool:
        """Whether it came to its end by itself."""
        return self._process is not None and self._process.poll() == 0

    @property
    def ended_badly(self) -> bool:
        """Whether it ended, and not as it should."""
        return self._process is not None and self._process.poll() not in (None, 0)

    @property
    def said(self) -> str:
        """All that it has said so far, in all of its lives."""
        return self._said.read_text(errors="replace") if self._said.exists() else ""

    @property
    def last_words(self) -> str:
        """The last line that it said."""
        return self.said.strip().rpartition("\n")[2]


class Trainer(Command):
    """A small training run that people answer from elsewhere.

    Args:
        run: its folder.
        comparisons: that it asks.
    """

    def __init__(self, run: Path, comparisons: int) -> None:
        super().__init__(run, "trainer.txt")
        self._comparisons = comparisons

    def arguments(self) -> list[str]:
        """Of a new run, or to go on with the one that there is."""
        place = ["scripts.train", "--run-dir", str(self.run)]
        if RunDirectory(self.run).config_path.exists():
            return [*place, "--resume"]
        return [
            *place,
            *_SMALL,
            "--comparisons",
            str(self._comparisons),
            "--batch",
            str(max(self._comparisons // 6, 1)),
        ]


class Server(Command):
    """The web page.

    Args:
        run: whose queries it serves.
        annotators: who answer over it.
    """

    def __init__(self, run: Path, annotators: Sequence[str]) -> None:
        super().__init__(run, "server.txt")
        self._annotators = annotators

    def arguments(self) -> list[str]:
        """At the port from before, so that links stay good; links that were never shown are renewed."""
        shown = self._links()
        renew = [name for name in self._annotators if name not in shown] if self.said else []
        command = ["scripts.label", "--run-dir", str(self.run), "--web", "--port", str(self.port or 0)]
        return [*command, "--annotators", *self._annotators, *(["--renew", *renew] if renew else [])]

    @property
    def port(self) -> int | None:
        """Where it listens, as soon as it has said so."""
        found = _LINK.search(self.said)
        return None if found is None else int(found[1])

    def token(self, name: str) -> str | None:
        """The token in an annotator's link, as soon as that was shown."""
        return self._links().get(name)

    def _links(self) -> dict[str, str]:
        links = {}
        for line in self.said.splitlines():
            who, _, link = line.removeprefix("The personal link of ").partition(": ")
            found = _LINK.fullmatch(link)
            if found is not None and found[2] == "label":
                links[who] = found[3]
        return links


class Window(Command):
    """A window that answers by itself; see `robustness_window`.

    Args:
        run: whose queries it shows.
        annotator: under what name.
    """

    def __init__(self, run: Path, annotator: str) -> None:
        super().__init__(run, "window.txt")
        self.annotator = annotator
        self._told = run.parent / "acknowledged.txt"

    def arguments(self) -> list[str]:
        """Of the window."""
        store = str(RunDirectory(self.run).store_path)
        return ["scripts.benchmarks.robustness_window", store, self.annotator, str(self._told)]

    def acknowledged(self) -> list[int]:
        """The queries whose answers it was told are stored."""
        lines = self._told.read_text().split("\n")[:-1] if self._told.exists() else []
        return [int(line) for line in lines]


class WebAnnotator:
    """Answers over HTTP as the page does: what was not acknowledged is sent again under the same token.

    Args:
        name: who answers.
        server: where.

    Attributes:
        acknowledged: by the id of each answer that was said to be stored, its query and this name.
        queued: how many of them were no practice.
        refusal: what the server said that it should not have said, after which nothing more is answered; or empty.
    """

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.acknowledged: dict[int, tuple[int, str]] = {}
        self.queued = 0
        self.refusal = ""
        self._server = server
        self._answered: set[int] = set()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._answer_all, name=name, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def leave(self) -> None:
        """Answer no more; what was sent is still seen to."""
        self._left.set()
        if self._thread.is_alive():
            self._thread.join()

    def _answer_all(self) -> None:
        while not self.refusal and not self._left.wait(_RETRY_SECONDS):
            listed = self._request("GET", "/api/queries") or {"queries": []}
            for query in listed["queries"]:
                if query["id"] not in self._answered and not self._left.wait(_PACE_SECONDS):
                    self._answer(query)

    def _answer(self, query: dict[str, Any]) -> None:
        now = time.time()
        given = {"query": query["id"], "choice": "left", "token": secrets.token_hex(8), "shown_at": now}
        give_up_at = time.monotonic() + _SECONDS_TO_STOP
        while (stored := self._request("POST", "/api/answers", given)) is None:
            if self.refusal or (self._left.is_set() and time.monotonic() > give_up_at):
                return
            time.sleep(_RETRY_SECONDS)
        self.acknowledged[int(stored["answer"])] = (int(query["id"]), self.name)
        self._answered.add(query["id"])
        self.queued += query["practice"] is None

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """What the server says; None where it is not there, has no time, or does not know the link yet."""
        port, token = self._server.port, self._server.token(self.name)
        if port is None or token is None:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS_TO_RESPOND)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if response.status in (401, 429, 503):
            return None
        if response.status != 200:
            self.refusal = f"{method} {path} of {self.name} was answered with {response.status}: {content.decode()}"
            return None
        return dict(json.loads(content))
