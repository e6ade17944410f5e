"""Opens the window or serves the web page in which people answer the queries of a run while it trains."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pygame
from rich.console import Console

from rlhf_envs.envs.rendering import open_display

_SECONDS_TO_CLOSE = 10.0
_USUAL_PORT = 8000


def check_people_can_answer(feedback: str) -> None:
    """Find out before any work whether this machine can open a window or serve the page.

    Args:
        feedback: "window", "web" or "elsewhere".

    Raises:
        RuntimeError: if no window can be opened, or what serves the web page is not installed.
    """
    if feedback == "window":
        try:
            open_display()
        except pygame.error as error:
            raise RuntimeError(
                f"No window can be opened ({error}); on a machine without a screen use --feedback web."
            ) from error
        pygame.display.quit()
    if feedback == "web" and any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise RuntimeError("The web page needs FastAPI and uvicorn: pip install 'rlhf-envs[web]'.")


@contextmanager
def open_screen(
    feedback: str, run_dir: Path, console: Console, on_close: Callable[[Callable[[], bool]], None]
) -> Iterator[None]:
    """Keep the window or the web page of a run open as long as the context lasts.

    It is a process of its own, so that neither drawing nor training ever waits for the other. It ends with this one
    even where this one is killed: a page that stayed would keep the port from the resumed run.

    Args:
        feedback: "window", "web", or "elsewhere", where only the command to answer with is printed.
        run_dir: the run's folder.
        console: for that command.
        on_close: is called with a function that tells whether the window or the page was closed.
    """
    if feedback == "elsewhere":
        console.print(
            f"To answer: python -m scripts.label --run-dir {run_dir} (--web for a page in the browser).",
            highlight=False,
        )
        yield
        return
    command = [sys.executable, "-m", "scripts.label", "--run-dir", str(run_dir), "--until-gone", str(os.getpid())]
    if feedback == "web":
        command += ["--web", "--port", str(_port())]
    process = subprocess.Popen(command)
    on_close(lambda: process.poll() is not None)
    try:
        yield
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
