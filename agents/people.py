"""Opens the window or serves the web page in which people answer the queries of a run while it trains."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from agents.config import PageOptions
from rlhf_envs.feedback.progress import GRACE_SECONDS

_SECONDS_TO_CLOSE = 10.0
_USUAL_PORT = 8000


@contextmanager
def open_screen(
    feedback: str,
    run_dir: Path,
    console: Console,
    on_close: Callable[[Callable[[], bool]], None],
    page: PageOptions,
) -> Iterator[Callable[[], None]]:
    """Keep the window or the web page of a run open as long as the context lasts.

    It is a process of its own, so that neither drawing nor training ever waits for the other. It ends with this one
    even where this one is killed: a page that stayed would keep the port from the resumed run.

    Args:
        feedback: "window", "web", or "elsewhere", where only the command to answer with is printed.
        run_dir: the run's folder.
        console: for that command.
        on_close: is called with a function that returns whether the window or the page was closed.
        page: where the web page is.

    Returns:
        A function to call at the end of a finished training: it waits until people have read how it ended, or some
        minutes have passed, so that nothing vanishes while they look at it. Ctrl-C ends the waiting.
    """
    if feedback == "elsewhere":
        console.print(
            f"To answer: rlhf-envs label --run-dir {run_dir} (--feedback web for a page in the browser).",
            highlight=False,
            soft_wrap=True,
        )
        yield lambda: None
        return
    command = [sys.executable, "-m", "rlhf_envs", "label", "--run-dir", str(run_dir), "--until-gone", str(os.getpid())]
    command.append("--until-finished")
    if feedback == "web":
        port = _port() if page.port is None else page.port
        command += ["--feedback", "web", "--host", page.host, "--port", str(port)]
        command += ["--url", page.url] if page.url else []
        command += ["--annotators", *page.annotators] if page.annotators else []
    process = subprocess.Popen(command)
    on_close(lambda: process.poll() is not None)

    def wait_until_read() -> None:
        if process.poll() is None:
            console.print(
                f"The {'page' if feedback == 'web' else 'window'} stays until everybody has read how it ended, at most "
                f"{GRACE_SECONDS / 60:.0f} min; Ctrl-C ends it now.",
                highlight=False,
            )
        with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS + _SECONDS_TO_CLOSE)

    try:
        yield wait_until_read
    finally:
        process.terminate()
        try:
            process.wait(_SECONDS_TO_CLOSE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port() -> int:
    """The usual port, so that links stay good when the run is resumed; any free one where another program has it."""
    try:
        socket.create_server(("127.0.0.1", _USUAL_PORT)).close()
    except OSError:
        return 0
    return _USUAL_PORT
