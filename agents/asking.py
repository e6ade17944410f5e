"""Opens the window, or serves the web page, in which people answer a run's queries, beside the training."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pygame
from rich.console import Console

from agents.configuration import ASK_PEOPLE, RunConfig
from agents.interruption import StopRequest
from agents.run_directory import RunDirectory
from rlhf_envs.envs.rendering import open_display

_SECONDS_TO_CLOSE = 10.0
_USUAL_PORT = 8000


def check_people_can_be_asked(config: RunConfig) -> None:
    """Find out before any work whether the run asks people as it wants to, and this machine can.

    Raises:
        ValueError: if people are to answer, but the reward is not learned from them.
        RuntimeError: if no window can be opened, or what serves the web page is not installed.
    """
    if config.reward != "learned" and config.feedback in ASK_PEOPLE:
        raise ValueError(
            f"--reward {config.reward} learns nothing from people, who are asked with --feedback {config.feedback}; "
            "leave one of them out."
        )
    if not config.asks_people:
        return
    if config.feedback == "window":
        try:
            open_display()
        except pygame.error as error:
            raise RuntimeError(
                f"No window can be opened ({error}); on a machine without a screen use --feedback web."
            ) from error
        pygame.display.quit()
    if config.feedback == "web" and any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise RuntimeError("The web page needs FastAPI and uvicorn: pip install 'rlhf-envs[web]'.")


@contextmanager
def asking_people(config: RunConfig, directory: RunDirectory, stop: StopRequest, console: Console) -> Iterator[None]:
    """Keep a window or a web page open as long as the context lasts; when people close it, the run should stop.

    It is a process of its own, so that neither its pictures nor the training ever wait for the other. It ends with this
    one even where this one is killed: a page that was left behind would keep the port from the resumed run.
    """
    if config.feedback == "elsewhere":
        console.print(
            f"To answer: python -m scripts.label --run-dir {directory.path} (--web for a page in the browser).",
            highlight=False,
        )
        yield
        return
    command = [sys.executable, "-m", "scripts.label", "--run-dir", str(directory.path)]
    command += ["--until-gone", str(os.getpid())]
    if config.feedback == "web":
        command += ["--web", "--port", str(_port())]
    process = subprocess.Popen(command)
    stop.also_when(lambda: process.poll() is not None)
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
