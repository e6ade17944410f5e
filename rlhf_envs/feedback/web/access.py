"""Which requests are let in: by personal token, at a limited rate and size; and what browsers must refuse."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlhf_envs.feedback.web.tokens import ANNOTATOR, OWNER, Person, Tokens

LARGEST_BODY = 64 * 1024
"""Bytes. A rating of 1,000 steps takes about 20 kB."""

SECONDS_FOR_BODY = 20.0
"""How long a request may take to arrive whole."""

ANSWERS_PER_MINUTE = 60.0
"""How fast a person may answer for long. Looking at two clips and deciding takes about three seconds."""

ANSWERS_AT_ONCE = 60.0
"""How many answers may come faster than that: those that a browser kept while it had no connection, or quick ones."""

REQUESTS_PER_SECOND = 50.0
BURST = 200.0

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_WITHOUT_TOKEN = "\0without token"
_bearer = HTTPBearer(auto_error=False, description="The token of a personal link.")

STRICT = ConfigDict(extra="forbid")
"""Of messages from browsers: what they do not know is refused."""


class Problem(BaseModel):
    """Why a request was refused, in a sentence for the person who made it."""

    detail: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Not a request that can be read."},
    401: {"model": Problem, "description": "No valid token."},
    403: {"model": Problem, "description": "Not for this role."},
    408: {"model": Problem, "description": "Did not arrive whole in time."},
    413: {"model": Problem, "description": "Too large."},
    429: {"model": Problem, "description": "Too often; Retry-After says when."},
    503: {"model": Problem, "description": "The store cannot do it now; Retry-After says when to try again."},
}


class RateLimit:
    """A token bucket for each person: full at first, refilled steadily.

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

    def give_back(self, name: str) -> None:
        """Put back a permit that was taken for nothing."""
        left, at = self._buckets.get(name, (self._burst, self._clock()))
        self._buckets[name] = (min(left + 1, self._burst), at)


class AccessControl:
    """Finds the person whose token a request carries, or refuses it.

    Args:
        tokens: the valid ones.
        rate: how often each person may send a request; all requests without a valid token share one allowance.
    """

    def __init__(self, tokens: Tokens, rate: RateLimit) -> None:
        self._tokens = tokens
        self._rate = rate

    async def admit(self, token: str | None) -> Person:
        """The person with this token.

        Raises:
            HTTPException: 401 without a valid token, 429 for one who asks too often.
            StoreError: if the store cannot be read.
        """
        person = None
        if token and self._tokens.is_fresh(token):
            person = self._tokens.find(token)
        elif token:
            person = await asyncio.to_thread(self._tokens.find, token)
        wait = self._rate.wait_for(_WITHOUT_TOKEN if person is None else person.name)
        if wait > 0:
            raise HTTPException(429, "Too many requests; wait a moment.", headers={"Retry-After": str(math.ceil(wait))})
        if person is None:
            raise HTTPException(
                401,
                "This link is not valid, or not any more; ask the person who runs the training for a new one.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return person


async def any_person(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Person:
    """The person with the request's token."""
    access: AccessControl = request.app.state.access
    return await access.admit(None if credentials is None else credentials.credentials)


async def annotator(person: Annotated[Person, Depends(any_person)]) -> Person:
    """An annotator; 403 for the owner."""
    if person.role != ANNOTATOR:
        raise HTTPException(403, "This is for annotators; the owner's link opens the dashboard.")
    return person


async def owner(person: Annotated[Person, Depends(any_person)]) -> Person:
    """The owner; 403 for annotators."""
    if person.role != OWNER:
        raise HTTPException(403, "This is for the owner of the run.")
    return person


AnyPerson = Annotated[Person, Depends(any_person)]
Annotator = Annotated[Person, Depends(annotator)]
Owner = Annotated[Person, Depends(owner)]


class SecurityHeaders:
    """Adds headers to every response that keep a browser from loading anything from, or sending it to, another site.

    Args:
        app: what serves the requests.
        framed_by: pages that may show this one in a frame, as the Content-Security-Policy names them.
    """

    def __init__(self, app: ASGIApp, framed_by: str = "'none'") -> None:
        self._app = app
        self._headers = _HEADERS | {"Content-Security-Policy": _POLICY + framed_by}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies above `LARGEST_BODY` with 413, whether they declare their length or not, and slow ones with 408.

    Args:
        app: what handles all other requests.
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
    """The body, or as much of it as shows that it is too large; None where the client has disconnected."""
    body = b""
    more = True
    while more and len(body) <= LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
