"""What the server refuses to everybody: too much at once, too often; and what it tells browsers to refuse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 64 * 1024
"""Bytes. A rating of 1,000 steps takes about 20 kB."""

SECONDS_FOR_BODY = 20.0
"""How long a request may take to arrive whole."""

REQUESTS_PER_SECOND = 50.0
BURST = 200.0

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class SecurityHeaders:
    """Adds to every response what keeps a browser from loading or telling anything elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies above `LARGEST_BODY` with 413, whether they say their length or not, and slow ones with 408.

    Args:
        app: what gets the others.
        seconds: how long a request may take to arrive whole.
    """

    def __init__(self, app: ASGIApp, seconds: float = SECONDS_FOR_BODY) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await _whole_body(receive)
        # Cancelled is what a server does to requests that are unfinished when it stops.
        except (TimeoutError, asyncio.CancelledError):
            await JSONResponse({"detail": "The request took too long to arrive."}, status_code=408)(
                scope, receive, send
            )
            return
        if body is None:
            return
        if len(body) > LARGEST_BODY:
            detail = f"A request may have at most {LARGEST_BODY // 1024} kB."
            await JSONResponse({"detail": detail}, status_code=413)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)


async def _whole_body(receive: Receive) -> bytes | None:
    """The body, or as much of it as shows that it is too large; None where the sender has gone."""
    body = b""
    more = True
    while more and len(body) <= LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


class RateLimit:
    """One bucket of permits per person: full at first, refilled steadily.

    Args:
        per_second: how many permits are added each second.
        burst: how many a bucket holds.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        per_second: float = REQUESTS_PER_SECOND,
        burst: float = BURST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait_for(self, name: str) -> float:
        """Take a permit out of this person's bucket: 0.0, or the seconds until there is one."""
        now = self._clock()
        left, at = self._buckets.get(name, (self._burst, now))
        left = min(left + (now - at) * self._per_second, self._burst)
        if left < 1:
            self._buckets[name] = (left, now)
            return (1 - left) / self._per_second
        self._buckets[name] = (left - 1, now)
        return 0.0
