"""Runs the page: prints the links, listens, and stops cleanly."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import uvicorn

from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.web.application import build_application
from rlhf_envs.feedback.web.tokens import ANNOTATOR, OWNER, Tokens, check_name
from rlhf_envs.queries import Purpose

_SECONDS_TO_FINISH = 5
_LAST_PORT = 65535


def serve_until_stopped(
    store: PreferenceStore,
    *,
    annotators: Sequence[str],
    clip_folder: Path,
    host: str,
    port: int,
    repeat_rate: float,
    renew: Sequence[str],
    purposes: Collection[Purpose],
) -> None:
    """See `rlhf_envs.feedback.web.serve`."""
    if not annotators:
        raise ValueError("Name at least one annotator who shall get a personal link, such as their initials.")
    for name in (*annotators, *renew):
        check_name(name)
    app = build_application(store, clip_folder=clip_folder, repeat_rate=repeat_rate, purposes=purposes)
    with _listen(host, port) as listener:
        for line in _announce(Tokens(store), f"http://{_address(listener)}", annotators, renew):
            _tell(line, sys.stdout)
        if not _is_loopback(host):
            _tell(
                f"Warning: whoever can reach {host} can reach this page, and nothing that is sent is encrypted; "
                "rather listen on 127.0.0.1 and put a proxy with TLS, or an SSH tunnel, in front of it.",
                sys.stderr,
            )
        settings = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
        server = uvicorn.Server(settings)
        with _signals_end(server):
            server.run(sockets=[listener])
    _tell("Stopped. Every answer that was acknowledged is in the store.", sys.stdout)


@contextmanager
def _signals_end(server: uvicorn.Server) -> Iterator[None]:
    """uvicorn stops cleanly on a signal and raises it once more; that must end the serving, not the process.

    A signal that comes before uvicorn listens to signals is for it too.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()

    def end(number: int, frame: object) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGTERM, end) if in_main_thread else None
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _announce(tokens: Tokens, base: str, annotators: Sequence[str], renew: Sequence[str]) -> list[str]:
    """Make the links that are missing or to be renewed, and say what to hand to whom."""
    people = {person.name: person for person in tokens.people() if person.role == ANNOTATOR}
    lines = [f"The owner's dashboard: {base}/dashboard#token={tokens.create(OWNER, OWNER)}"]
    for name in dict.fromkeys([*annotators, *renew]):
        if name in people and name not in renew:
            lines.append(
                f"{name} keeps the link from before; if it is lost, the dashboard makes a new one, or scripts.label "
                f"with --renew {name}."
            )
        else:
            lines.append(f"The personal link of {name}: {base}/label#token={tokens.create(name)}")
    return [*lines, "Anyone who has a link can answer under its name. Ctrl-C stops."]


def _tell(line: str, stream: TextIO) -> None:
    stream.write(line + "\n")
    stream.flush()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= _LAST_PORT:
        raise ValueError(f"Nothing can listen at port {port}; name one from 1 to {_LAST_PORT}, or 0 for any free one.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"Nothing can listen at {host} port {port} ({error}); name another port, or 0 for any free one."
        ) from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
