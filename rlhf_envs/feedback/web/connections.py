"""Limits below HTTP: how many connections there are, how long each may take to ask, and how large a request's head is.

uvicorn bounds the bytes of a head (with h11), but neither the time in which it must arrive nor the number of
connections, and middleware is called only once a head is there. So this is a subclass of its protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # there is no such limit on Windows
    resource = None  # type: ignore[assignment]

LARGEST_HEAD = 16 * 1024
"""Bytes of the request line and the headers. The page needs some 700, and browsers add cookies of other local pages."""

MOST_HEADERS = 100

_DESCRIPTORS = 8192
_DESCRIPTORS_OF_OTHERS = 256
_BACKLOG = 128
"""Connections that the system queues: asyncio accepts them all at once, and nobody else is served meanwhile."""

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class ConnectionLimits:
    """What a client may take.

    Where there are too many connections, the one that has waited for longest for its client is closed: a flood of
    silent ones displaces itself, and a browser that asks at once is served.

    Attributes:
        connections: in all.
        per_address: from one address. Behind a proxy or a tunnel, all people have the same one.
        request_seconds: from connecting, or from the last response, until the head of a request is there.
        stall_seconds: for which a client may take nothing of a response.
    """

    connections: int = 1024
    per_address: int = 512
    request_seconds: float = 10.0
    stall_seconds: float = 20.0


class _Open:
    """The open connections of a server."""

    def __init__(self) -> None:
        self.per_address: Counter[str] = Counter()
        # Dictionaries for their order: those that wait for longest come first.
        self.strangers: dict[LimitedProtocol, None] = {}
        self.idle: dict[LimitedProtocol, None] = {}


class LimitedProtocol(H11Protocol):
    """uvicorn's protocol of one connection, within limits; `limited_config` makes a subclass for each server."""

    limits: ClassVar[ConnectionLimits]
    open: ClassVar[_Open]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for a new connection, or refuse it."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._head_lines = 0
        self._known = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self.open.per_address[self._address] += 1
        of_address = self.open.per_address[self._address] > self.limits.per_address
        too_many = of_address or len(self.connections) > self.limits.connections
        if too_many and not self._displace(self._address if of_address else None):
            transport.write(_BUSY)
            transport.close()
            return
        self._note_progress()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        super().connection_lost(exc)
        self.open.per_address[self._address] -= 1
        if not self.open.per_address[self._address]:
            del self.open.per_address[self._address]
        self._stop_waiting()
        self._cancel_stall()

    def data_received(self, data: bytes) -> None:
        """Count the lines of a head before it is parsed, which takes longer the more there are."""
        if self._deadline is not None:
            self._head_lines += data.partition(_END_OF_HEAD)[0].count(b"\n")
            if self._head_lines > MOST_HEADERS:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)
        self._note_progress()

    def on_response_complete(self) -> None:
        """From now on the next request is waited for."""
        super().on_response_complete()
        self._known = True
        self._note_progress()

    def pause_writing(self) -> None:
        """The client does not take what is sent; it has some time to go on."""
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(self.limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client goes on taking what is sent."""
        super().resume_writing()
        self._cancel_stall()

    def _note_progress(self) -> None:
        """Start and stop the deadline, and say whether this connection may be displaced by others."""
        responding = self.cycle is not None and not self.cycle.response_complete
        if not responding and self._deadline is None:
            self._head_lines = 0
            self._deadline = self.loop.call_later(self.limits.request_seconds, self.transport.abort)
        elif responding and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        # A body that does not come is no better than a head that does not.
        if responding and self.conn.their_state is not h11.SEND_BODY:
            self.open.strangers.pop(self, None)
            self.open.idle.pop(self, None)
        elif self not in self.open.strangers and self not in self.open.idle:
            (self.open.idle if self._known else self.open.strangers)[self] = None

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.open.strangers.pop(self, None)
        self.open.idle.pop(self, None)

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _displace(self, address: str | None) -> bool:
        """Close the connection, of this address or of any, that has waited for longest; False where none waits."""
        for waiting in (self.open.strangers, self.open.idle):
            for other in waiting:
                if address is None or other._address == address:
                    other._stop_waiting()
                    other.connections.discard(other)
                    other.transport.abort()
                    return True
        return False


def limited_config(app: Any, limits: ConnectionLimits | None = None, **settings: Any) -> uvicorn.Config:
    """uvicorn's settings for a server within limits.

    Args:
        app: the ASGI application.
        limits: what each client may take; the number of connections is lowered to what this process has descriptors
            for, which are raised as far as the system allows.
        settings: more of `uvicorn.Config`.
    """
    limits = limits or ConnectionLimits()
    # Each connection takes one descriptor, and one more while it is sent a film.
    room = max((_raised_descriptors() - _DESCRIPTORS_OF_OTHERS) // 2, 16)
    fitting = ConnectionLimits(**vars(limits) | {"connections": min(limits.connections, room)})
    protocol = type("Protocol", (LimitedProtocol,), {"limits": fitting, "open": _Open()})
    logging.getLogger("uvicorn.error").addFilter(_is_worth_saying)
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        h11_max_incomplete_event_size=LARGEST_HEAD,
        backlog=_BACKLOG,
        access_log=False,
        server_header=False,
        **{"log_level": "warning"} | settings,
    )


def _raised_descriptors() -> int:
    """How many files and connections this process may open, after raising that as far as it is allowed to."""
    if resource is None:
        return _DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return _DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Not every malformed request: whoever sends them could fill the disk with what is said about them."""
    return record.msg not in ("Invalid HTTP request received.", "Unsupported upgrade request.") and (
        "No supported WebSocket library" not in str(record.msg)
    )
