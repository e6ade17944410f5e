"""The processes of the robustness benchmark, which can be killed and restarted, and its annotators over HTTP.

`python -m scripts.benchmarks.robustness_processes STORE ANNOTATOR FILE` is a window that answers by itself and logs
which answers were acknowledged.
"""

from __future__ import annotations

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

import httpx
import pygame

from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Submission
from rlhf_envs.feedback.window import SMALLEST_SIZE, open_window
from rlhf_envs.runs import RunDirectory

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS_TO_STOP = 30.0
_SECONDS_TO_RESPOND = 20.0
_PACE_SECONDS = 0.1
_KEY_SECONDS = 0.15
_RETRY_SECONDS = 0.1

_SMALL = (
    *("--env", "rlhf/Driving-v1", "--env-kwargs", '{"horizon": 40}', "--feedback", "elsewhere"),
    *("--timesteps", "4096", "--segment-length", "8", "--ask-until", "0.9"),
    *("--learner.num-envs", "4", "--learner.n-steps", "32", "--learner.batch-size", "128", "--learner.n-epochs", "2"),
    *("--learner.net-arch", "16", "--ensemble.hidden", "16", "--fit.steps", "20", "--evaluation-episodes", "2"),
    *("--checkpoint-seconds", "0.5"),
)
_LINK = re.compile(r"http://[^:/]+:(\d+)/(\w+)#token=(\S+)")


class SubProcess(ABC):
    """A process that is started, killed and restarted.

    Args:
        run: the folder of the training run.
        output: the name of the file next to that folder to which the process writes.
    """

    def __init__(self, run: Path, output: str) -> None:
        self.run = run
        self._output_path = run.parent / output
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def arguments(self) -> list[str]:
        """What follows `python -m`, at this moment."""

    def start(self) -> None:
        """Start, or restart."""
        with self._output_path.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments()],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SDL_VIDEODRIVER": "dummy", "OMP_NUM_THREADS": "1"},
            )

    def kill(self) -> bool:
        """End it by SIGKILL; whether it was running."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.kill()
        self._process.wait()
        return True

    def stop(self) -> int | None:
        """End it by SIGTERM and return its exit status; None if it goes on."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            return None

    @property
    def ended(self) -> bool:
        """Whether it ended without an error."""
        return self._process is not None and self._process.poll() == 0

    @property
    def failed(self) -> bool:
        """Whether it ended with an error."""
        return self._process is not None and self._process.poll() not in (None, 0)

    @property
    def output(self) -> str:
        """All of its output so far, from before restarts too."""
        return self._output_path.read_text(errors="replace") if self._output_path.exists() else ""

    @property
    def last_line(self) -> str:
        """The last line of its output."""
        return self.output.strip().rpartition("\n")[2]


class Trainer(SubProcess):
    """A small training run whose annotators are other processes.

    Args:
        run: its folder.
        answers: that it asks.
    """

    def __init__(self, run: Path, answers: int) -> None:
        super().__init__(run, "trainer.txt")
        self._answers = answers

    def arguments(self) -> list[str]:
        """Of a new run, or to resume the one that there is."""
        place = ["scripts.train", "--run-dir", str(self.run)]
        if RunDirectory(self.run).config_path.exists():
            return [*place, "--resume"]
        per_round = str(max(self._answers // 6, 1))
        return [*place, *_SMALL, "--answers", str(self._answers), "--queries-per-round", per_round]


class Server(SubProcess):
    """The server of the labelling page.

    Args:
        run: whose queries it serves.
        annotators: their names.
    """

    def __init__(self, run: Path, annotators: Sequence[str]) -> None:
        super().__init__(run, "server.txt")
        self._annotators = annotators

    def arguments(self) -> list[str]:
        """With the port from before, so that links stay valid; links that were never printed are renewed."""
        shown = self._links()
        renew = [name for name in self._annotators if name not in shown] if self.output else []
        command = ["rlhf_envs", "label", "--run-dir", str(self.run), "--feedback", "web", "--port", str(self.port or 0)]
        return [*command, "--annotators", *self._annotators, *(["--renew", *renew] if renew else [])]

    @property
    def port(self) -> int | None:
        """Where it listens, as soon as it has printed it."""
        found = _LINK.search(self.output)
        return None if found is None else int(found[1])

    def token(self, name: str) -> str | None:
        """The token in an annotator's link, as soon as that was printed."""
        return self._links().get(name)

    def _links(self) -> dict[str, str]:
        links = {}
        for line in self.output.splitlines():
            name, _, link = line.removeprefix("The personal link of ").partition(": ")
            found = _LINK.fullmatch(link)
            if found is not None and found[2] == "label":
                links[name] = found[3]
        return links


class Window(SubProcess):
    """A window that answers by itself; see `answer_until_closed`.

    Args:
        run: whose queries it shows.
        annotator: the name under which it answers.
    """

    def __init__(self, run: Path, annotator: str) -> None:
        super().__init__(run, "window.txt")
        self.annotator = annotator
        self._acknowledged_path = run.parent / "acknowledged.txt"

    def arguments(self) -> list[str]:
        """Of the window."""
        store = str(RunDirectory(self.run).store_path)
        return ["scripts.benchmarks.robustness_processes", store, self.annotator, str(self._acknowledged_path)]

    def acknowledged(self) -> list[int]:
        """The queries whose answers were acknowledged."""
        lines = self._acknowledged_path.read_text().split("\n")[:-1] if self._acknowledged_path.exists() else []
        return [int(line) for line in lines]


class WebAnnotator:
    """Answers over HTTP as the page does: what was not acknowledged is sent again under the same token.

    Args:
        name: of the annotator.
        server: that serves the page.

    Attributes:
        acknowledged: by the id of each acknowledged answer, its query and this name.
        queued: how many of them were no practice.
        refusal: an unexpected response of the server, after which nothing more is answered; or empty.
    """

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.acknowledged: dict[int, tuple[int, str]] = {}
        self.queued = 0
        self.refusal = ""
        self._server = server
        self._answered: set[int] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._answer_all, name=name, daemon=True)

    def start(self) -> None:
        """Start to answer, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Give no more answers, and wait until those that were sent are acknowledged."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _answer_all(self) -> None:
        while not self.refusal and not self._stopped.wait(_RETRY_SECONDS):
            listed = self._request("GET", "/api/queries") or {"queries": []}
            for query in listed["queries"]:
                if query["id"] not in self._answered and not self._stopped.wait(_PACE_SECONDS):
                    self._answer(query)

    def _answer(self, query: dict[str, Any]) -> None:
        now = time.time()
        body = {"query": query["id"], "choice": "left", "token": secrets.token_hex(8), "shown_at": now}
        deadline = time.monotonic() + _SECONDS_TO_STOP
        while (stored := self._request("POST", "/api/answers", body)) is None:
            if self.refusal or (self._stopped.is_set() and time.monotonic() > deadline):
                return
            time.sleep(_RETRY_SECONDS)
        self.acknowledged[int(stored["answer"])] = (int(query["id"]), self.name)
        self._answered.add(query["id"])
        self.queued += query["practice"] is None

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The response; None where the server is not there, is busy, or does not know the link yet."""
        port, token = self._server.port, self._server.token(self.name)
        if port is None or token is None:
            return None
        headers = {"Authorization": f"Bearer {token}"}
        try:
            response = httpx.request(
                method, f"http://127.0.0.1:{port}{path}", json=body, headers=headers, timeout=_SECONDS_TO_RESPOND
            )
        except httpx.HTTPError:
            return None
        if response.status_code in (401, 429, 503):
            return None
        if response.status_code != 200:
            self.refusal = f"{method} {path} of {self.name} was answered with {response.status_code}: {response.text}"
            return None
        return dict(response.json())


class _LoggingSession(AnnotatorSession):
    """Writes each answer to a file once the store has acknowledged it.

    Attributes:
        file: descriptor of a file that is open for appending; each answer is a line with its query's number.
    """

    file: int

    def submit(self, submission: Submission) -> int:
        """Store an answer, log it, and return its id."""
        id = super().submit(submission)
        os.write(self.file, f"{submission.query_id}\n".encode())
        return id


def answer_until_closed(place: str, annotator: str, file: str) -> None:
    """Open a window and press the left arrow whenever there is a query, until the window is closed."""
    with PreferenceStore.open(place) as store:
        session = _LoggingSession(store, annotator)
        session.file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with open_window(session, size=SMALLEST_SIZE) as window:
            press_at = 0.0
            while not window.screen.closed:
                window.tick()
                if window.screen.clips is not None and time.perf_counter() >= press_at:
                    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
                    press_at = time.perf_counter() + _KEY_SECONDS


if __name__ == "__main__":
    answer_until_closed(*sys.argv[1:])
