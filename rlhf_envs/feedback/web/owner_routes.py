"""What the owner of a run asks the server for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from pydantic import ValidationError

from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.status import OWNER_REQUESTS
from rlhf_envs.feedback.web.access import Owner
from rlhf_envs.feedback.web.annotator_routes import REFUSALS
from rlhf_envs.feedback.web.messages import (
    AnnotatorFigures,
    Dashboard,
    Link,
    NameGiven,
    OwnerRequests,
    OwnerRequestsChange,
    Problem,
)
from rlhf_envs.feedback.web.overview import Overlook, Overview
from rlhf_envs.feedback.web.tokens import ANNOTATOR, Tokens, check_name

_UNUSABLE: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "Not a name that can be used."}}
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Nobody of this name has a link."}}

router = APIRouter(prefix="/api", responses=REFUSALS, tags=["owner"])


@router.get("/dashboard")
async def dashboard(request: Request, person: Owner) -> Dashboard:
    """Progress, the annotators, and how training goes."""
    overlook: Overlook = request.app.state.overlook
    tokens: Tokens = request.app.state.tokens
    store: PreferenceStore = request.app.state.store
    seen = await asyncio.to_thread(overlook.look)
    with_link = {each.name for each in await asyncio.to_thread(tokens.people) if each.role == ANNOTATOR}
    names = sorted(with_link | set(seen.given))
    known = seen.progress()
    return Dashboard(
        environment=str(store.environment.get("id", "")),
        answered=seen.queue.answered,
        asked=seen.queue.asked,
        skipped=seen.queue.skipped,
        wanted=known.wanted,
        for_training=seen.for_training,
        over=known.over,
        annotators=[_figures(seen, name, name in with_link) for name in names],
        training=None if known.training is None else dict(known.training),
        training_posted_at=known.posted_at,
        requests=_requests(seen.requests),
        now=time.time(),
    )


@router.post("/requests")
async def change_requests(request: Request, person: Owner, change: OwnerRequestsChange) -> OwnerRequests:
    """Pause or stop the training run, or have it ask more."""
    store: PreferenceStore = request.app.state.store
    changed = change.model_dump(exclude_none=True)
    after = await asyncio.to_thread(store.update_status, OWNER_REQUESTS, changed)
    request.app.state.overlook.forget()
    return _requests(after)


@router.post("/annotators", responses=_UNUSABLE)
async def make_link(request: Request, person: Owner, given: NameGiven) -> Link:
    """A personal link, told this once. Whoever had one before can use the old one no longer."""
    tokens: Tokens = request.app.state.tokens
    try:
        check_name(given.name)
    except ValueError as unusable:
        raise HTTPException(409, str(unusable)) from None
    token = await asyncio.to_thread(tokens.create, given.name)
    return Link(name=given.name, path=f"/label#token={token}")


@router.delete("/annotators/{name}", responses=_UNKNOWN)
async def end_link(request: Request, person: Owner, name: Annotated[str, Path(max_length=60)]) -> NameGiven:
    """End a personal link. What its holder answered stays."""
    tokens: Tokens = request.app.state.tokens
    try:
        check_name(name)
    except ValueError:
        raise HTTPException(404, f"Nobody called {name!r} has a link.") from None
    if not await asyncio.to_thread(tokens.revoke, name):
        raise HTTPException(404, f"Nobody called {name!r} has a link.")
    return NameGiven(name=name)


def _figures(seen: Overview, name: str, has_link: bool) -> AnnotatorFigures:
    given = seen.given.get(name, ())
    agreed, met = seen.agreement(name)
    right, practised = seen.practice_score(name)
    return AnnotatorFigures(
        name=name,
        has_link=has_link,
        given=len(given),
        skipped=sum(live.choice == "skip" for live in given),
        seconds_per_answer=seen.seconds_per_answer(name),
        left_share=seen.left_share(name),
        agreement=agreed / met if met else None,
        agreement_over=met,
        practice_right=right,
        practice_given=practised,
        last_answer_at=max((live.answered_at for live in given if live.answered_at is not None), default=None),
    )


def _requests(said: Mapping[str, Any]) -> OwnerRequests:
    known = {name: value for name, value in said.items() if name in OwnerRequests.model_fields}
    try:
        return OwnerRequests(**known)
    except ValidationError:
        return OwnerRequests()
