"""Lets in whoever has a token, as fast as is sensible."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from rlhf_envs.feedback.web.limits import RateLimit
from rlhf_envs.feedback.web.tokens import ANNOTATOR, OWNER, Person, Tokens

_STRANGERS = "\0strangers"
_bearer = HTTPBearer(auto_error=False, description="The token of a personal link.")


class Door:
    """Knows the holder of a request's token, or refuses.

    Args:
        tokens: who may come in.
        rate: how often each of them may; all without a valid token together have one share.
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
        wait = self._rate.wait_for(_STRANGERS if person is None else person.name)
        if wait > 0:
            raise HTTPException(429, "Too many requests; wait a moment.", headers={"Retry-After": str(math.ceil(wait))})
        if person is None:
            raise HTTPException(
                401,
                "This link is not valid, or not any more; ask whoever runs the training for a new one.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return person


async def anyone(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Person:
    """Whoever has a valid token."""
    door: Door = request.app.state.door
    return await door.admit(None if credentials is None else credentials.credentials)


async def annotator(person: Annotated[Person, Depends(anyone)]) -> Person:
    """An annotator; 403 for the owner."""
    if person.role != ANNOTATOR:
        raise HTTPException(403, "This is for annotators; the owner's link opens the dashboard.")
    return person


async def owner(person: Annotated[Person, Depends(anyone)]) -> Person:
    """The owner; 403 for annotators."""
    if person.role != OWNER:
        raise HTTPException(403, "This is for the owner of the run.")
    return person


Anyone = Annotated[Person, Depends(anyone)]
Annotator = Annotated[Person, Depends(annotator)]
Owner = Annotated[Person, Depends(owner)]
