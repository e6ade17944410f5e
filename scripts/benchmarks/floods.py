"""Floods of connections against the web page, and how quick it stays for a friendly client meanwhile."""

from __future__ import annotations

import resource
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

_PIECE = b"x" * 65536
_HALF = b"GET /api/me HTTP/1.1\r\nHost: localhost\r\nX-Half:"
_PAUSE = 0.02


class Flood(ABC):
    """Clients that keep a server busy from a thread of this process."""

    @contextmanager
    def against(self, port: int) -> Iterator[None]:
        """Flood a server on this machine until the context ends; it begins once all clients have connected."""
        _raise_descriptors()
        ended, flowing = threading.Event(), threading.Semaphore(0)
        thread = threading.Thread(target=self._run, args=(port, ended, flowing), daemon=True)
        thread.start()
        flowing.acquire(timeout=60)
        try:
            yield
        finally:
            ended.set()
            thread.join(30)

    @abstractmethod
    def _run(self, port: int, ended: threading.Event, flowing: threading.Semaphore) -> None:
        """Flood until `ended` is set; release `flowing` once as much as there will be is flowing."""


class EndlessHeader(Flood):
    """A header that never ends, sent as fast as the server takes it, and again wherever it is cut off."""

    def _run(self, port: int, ended: threading.Event, flowing: threading.Semaphore) -> None:
        while not ended.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(_HALF)
                flowing.release()
                while not ended.is_set():
                    client.sendall(_PIECE)


class HalfSentHeads(Flood):
    """Many connections that send half a head and no more; those that are closed are opened again.

    Args:
        clients: connections at a time.
    """

    def __init__(self, clients: int) -> None:
        self.clients = clients

    def _run(self, port: int, ended: threading.Event, flowing: threading.Semaphore) -> None:
        held: list[socket.socket] = []
        opened = 0
        try:
            while not ended.is_set():
                with suppress(OSError):
                    client = socket.create_connection(("127.0.0.1", port), timeout=5)
                    client.sendall(_HALF)
                    held.append(client)
                    opened += 1
                if opened >= self.clients:
                    flowing.release()
                    time.sleep(_PAUSE)
                while len(held) > self.clients:
                    held.pop(0).close()
        finally:
            for client in held:
                client.close()


def friendly_latency(port: int, token: str, requests: int, pause: float = _PAUSE) -> list[float]:
    """Milliseconds that each of some requests of one client took: alternately who it is, and the next queries.

    Each is a connection of its own, as the first one of a page that is opened.

    Raises:
        httpx.HTTPError: if one is not answered.
    """
    taken = []
    none_kept = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, limits=none_kept) as client:
        for number in range(requests):
            began = time.perf_counter()
            client.get(("/api/me", "/api/queries")[number % 2], timeout=60).raise_for_status()
            taken.append(1000 * (time.perf_counter() - began))
            time.sleep(pause)
    return taken


def _raise_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
