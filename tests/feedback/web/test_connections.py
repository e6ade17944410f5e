"""Clients that take more connections or time than anybody needs are cut off, and others are served meanwhile."""

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.web.connections import LARGEST_HEAD, MOST_HEADERS, ConnectionLimits
from scripts.benchmarks.floods import EndlessHeader, HalfSentHeads, friendly_latency
from tests.feedback.web.screens import Served, wait_until

LIMITS = ConnectionLimits(connections=24, per_address=16, request_seconds=1.0, stall_seconds=1.0)
HALF = b"GET /api/me HTTP/1.1\r\nHost: here\r\nX-Half:"


@pytest.fixture
def limited(store: PreferenceStore, tmp_path: Path) -> Iterator[Served]:
    running = Served(store, tmp_path / "clips", LIMITS)
    yield running
    running.stop()


@pytest.fixture
def connect(limited: Served) -> Iterator[Callable[[bytes], socket.socket]]:
    with ExitStack() as opened:

        def connect(first: bytes = b"") -> socket.socket:
            client = opened.enter_context(socket.create_connection(("127.0.0.1", limited.port), timeout=20))
            client.sendall(first)
            return client

        yield connect


def everything_from(client: socket.socket) -> bytes:
    """What a client receives until the server closes the connection."""
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def test_a_head_without_end_is_refused(connect: Any) -> None:
    client = connect(HALF)
    sent = 0
    with pytest.raises(OSError):
        while True:
            client.sendall(b"x" * 1024)
            sent += 1024
            time.sleep(0.001)
    assert LARGEST_HEAD / 2 < sent < 4_000_000


def test_a_head_of_too_many_lines_is_refused(connect: Any) -> None:
    head = b"GET /api/me HTTP/1.1\r\nHost: here\r\n" + b"A: b\r\n" * MOST_HEADERS
    assert everything_from(connect(head)).startswith(b"HTTP/1.1 431 ")
    head = b"GET /api/me HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" + b"A: b\r\n" * (MOST_HEADERS - 4)
    assert everything_from(connect(head + b"\r\n")).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "first", [b"", HALF, b"POST /api/undo HTTP/1.1\r\nHost: here\r\n"], ids=["silent", "half", "post"]
)
def test_a_head_that_does_not_come_is_not_waited_for(connect: Any, first: bytes) -> None:
    began = time.monotonic()
    assert everything_from(connect(first)) == b""
    assert 0.5 < time.monotonic() - began < 10


def test_a_head_that_comes_byte_by_byte_has_no_more_time(connect: Any) -> None:
    client, began = connect(HALF), time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < began + 15:
            client.sendall(b"x")
            time.sleep(0.05)
    assert 0.5 < time.monotonic() - began < 10


def test_a_client_that_takes_nothing_of_what_it_asked_for_is_cut_off(limited: Served) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", limited.port))
        request = b"GET /static/label.js HTTP/1.1\r\nHost: here\r\n\r\n"
        client.settimeout(0.2)
        with pytest.raises((ConnectionError, TimeoutError)):
            while True:
                client.sendall(request)
        connections = limited.connections
        wait_until(lambda: not connections)


def test_whoever_asks_at_once_is_served_while_others_only_hold_connections(limited: Served, connect: Any) -> None:
    token = limited.tokens.create("ann")
    for number in range(4 * LIMITS.connections):
        connect(HALF)
        if number % 8 == 0:
            answered = httpx.get(
                f"http://127.0.0.1:{limited.port}/api/me", headers={"Authorization": f"Bearer {token}"}
            )
            assert answered.status_code == 200
        assert len(limited.connections) <= LIMITS.connections


def test_a_body_that_does_not_come_keeps_nobody_out(limited: Served, connect: Any) -> None:
    head = b"POST /api/undo HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n"
    for _ in range(2 * LIMITS.connections):
        connect(head)
    assert httpx.get(f"http://127.0.0.1:{limited.port}/api/me").status_code == 401


@pytest.mark.parametrize("flood", [EndlessHeader(), HalfSentHeads(300)], ids=["endless header", "half-sent heads"])
def test_a_flood_leaves_a_friendly_client_quick(store: PreferenceStore, served: Served, flood: Any) -> None:
    """Quick on a busy machine: the benchmark `robustness` measures it on an idle one."""
    with flood.against(served.port):
        milliseconds = friendly_latency(served.port, served.tokens.create("ann"), requests=30)
    assert sorted(milliseconds)[15] < 500


def test_descriptors_are_raised_and_connections_fit_them(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from rlhf_envs.feedback.web.connections import limited_config\n"
        "config = limited_config(None)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], config.http.limits.connections)"
    )

    def limits(soft: int, hard: int) -> list[int]:
        def lower() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, preexec_fn=lower
        )
        return [int(number) for number in done.stdout.split()]

    assert limits(256, 3000) == [3000, 1024]
    assert limits(256, 1024) == [1024, 384]
