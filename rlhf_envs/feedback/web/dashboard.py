"""The owner's dashboard: an overview of the store, and the owner's part of the HTTP interface."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Path, Request
from pydantic import BaseModel, Field

from rlhf_envs.feedback.progress import PACE_OVER, SessionProgress, session_progress
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, OwnerRequests, StatusMessage
from rlhf_envs.feedback.store.tallies import AnnotatorTally
from rlhf_envs.feedback.web.access import REFUSALS, STRICT, Owner, Problem
from rlhf_envs.feedback.web.tokens import ANNOTATOR, Tokens, check_name, is_loopback_address, qr_rows
from rlhf_envs.queries import LONGEST_NAME, Purpose, QueryCounts, Tally

_LONGEST_AGE = 1.0
_SHARE_OF_TIME = 0.1
_UNUSABLE: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "Not a name that can be used."}}
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No one of this name has a link."}}


@dataclass(frozen=True)
class Overview:
    """The state of a store at one moment.

    Attributes:
        tallies: what each annotator has said, practice left out.
        practice: of how many practice answers of each annotator the right one was given: (right, all).
        counts: how far the queries of each purpose are.
        statuses: the status messages of the training run and the owner.
        purposes: which queries make up the queue.
    """

    tallies: Mapping[str, AnnotatorTally]
    practice: Mapping[str, tuple[int, int]]
    counts: Mapping[Purpose, QueryCounts]
    statuses: Mapping[str, StatusMessage]
    purposes: Collection[Purpose]

    def progress(self, annotator: str = "") -> SessionProgress:
        """How far things are, as an annotator sees it."""
        tally = self.tallies.get(annotator, Tally(0, ()))
        return session_progress(tally, self.counts, self.statuses, self.purposes)


class OverviewCache:
    """An overview that is a second old at most, however often it is read; safe to share between threads.

    Args:
        store: whose state it is.
        purposes: which queries make up the queue.
    """

    def __init__(self, store: PreferenceStore, purposes: Collection[Purpose]) -> None:
        self._store = store
        self._purposes = frozenset(purposes)
        self._lock = threading.Lock()
        self._latest: Overview | None = None
        self._good_until = -float("inf")

    def read(self) -> Overview:
        """The state of the store.

        Raises:
            StoreError: if it cannot be read.
        """
        with self._lock:
            started = time.monotonic()
            if self._latest is None or started > self._good_until:
                self._latest = self._read_store()
                ended = time.monotonic()
                # Reading a large store takes long: it may have a tenth of the time, answers come first.
                self._good_until = ended + max(_LONGEST_AGE, (ended - started) / _SHARE_OF_TIME)
            return self._latest

    def forget(self) -> None:
        """Read the store again the next time, because something was changed that the owner wants to see."""
        with self._lock:
            self._latest = None

    def _read_store(self) -> Overview:
        store, purposes = self._store, self._purposes
        tallies = store.tallies(PACE_OVER, purposes=purposes - {Purpose.PRACTICE})
        return Overview(tallies, store.practice(), store.counts(), store.statuses(), purposes)


class RequestsChange(BaseModel):
    """What the owner requests anew; what is left out stays as it is."""

    model_config = STRICT
    paused: Annotated[bool | None, Field(strict=True)] = None
    stop: Annotated[bool | None, Field(strict=True)] = None
    extra_answers: Annotated[int | None, Field(ge=0, le=100_000, strict=True)] = Field(
        default=None, description="Beyond the run's own budget, all in all; sending it twice adds nothing."
    )


class NewLink(BaseModel):
    """A personal link that was just made."""

    name: str
    path: str = Field(description="Beneath the address of the page.")
    link: str = Field(description="All of it, as far as the server knows its own address or was told it.")
    qr: list[str] = Field(description="The link as a QR code: rows of dark squares (1) and light ones (0).")


class AnnotatorFigures(BaseModel):
    """One row of the dashboard's table."""

    name: str
    has_link: bool
    answers: int
    skipped: int
    seconds_per_answer: float | None
    left_share: float | None = Field(description="Of the answers that say left or right.")
    agreement: float | None = Field(description="With others, over pairs on which both said left or right.")
    agreement_over: int
    practice_right: int
    practice_answers: int
    last_answer_at: float | None


class Dashboard(BaseModel):
    """What the owner's page shows."""

    environment: str
    answered: int = Field(description="Skips included.")
    asked: int
    skipped: int
    wanted: int = Field(description="What will have been asked in the end, as far as is known.")
    for_training: bool = Field(description="Whether a training run asks; else nothing obeys requests.")
    over: bool = Field(description="Whether nothing more will be asked.")
    annotators: list[AnnotatorFigures]
    training: dict[str, Any] | None
    training_posted_at: float | None
    requests: OwnerRequests
    now: float


router = APIRouter(prefix="/api", responses=REFUSALS, tags=["owner"])


@router.get("/dashboard")
async def dashboard(request: Request, person: Owner) -> Dashboard:
    """Progress, the annotators, and how training goes."""
    state = request.app.state
    overview: Overview = await asyncio.to_thread(state.overview.read)
    with_link = {each.name for each in await asyncio.to_thread(state.tokens.people) if each.role == ANNOTATOR}
    known = overview.progress()
    names = sorted(with_link | set(overview.tallies))
    return Dashboard(
        environment=state.store.environment.id,
        answered=known.answered,
        asked=known.asked,
        skipped=known.skipped,
        wanted=known.wanted,
        for_training=not frozenset(QUEUE).isdisjoint(overview.purposes),
        over=known.over,
        annotators=[_figures(overview, name, name in with_link) for name in names],
        training=None if known.training is None else dict(known.training),
        training_posted_at=known.posted_at,
        requests=OwnerRequests.of(overview.statuses),
        now=time.time(),
    )


@router.post("/requests")
async def change_requests(request: Request, person: Owner, change: RequestsChange) -> OwnerRequests:
    """Pause or stop the training run, or have it ask more."""
    store: PreferenceStore = request.app.state.store
    await asyncio.to_thread(store.update_status, OWNER_REQUESTS, change.model_dump(exclude_none=True))
    request.app.state.overview.forget()
    return OwnerRequests.of(await asyncio.to_thread(store.statuses))


@router.post("/annotators", responses=_UNUSABLE)
async def make_link(
    request: Request,
    person: Owner,
    name: Annotated[str, Body(embed=True, min_length=1, max_length=LONGEST_NAME)],
    base: Annotated[str, Body(embed=True, max_length=500, description="The address of the owner's page.")] = "",
) -> NewLink:
    """Make a personal link, which can be read this once. An older link of the same person ends."""
    tokens: Tokens = request.app.state.tokens
    try:
        token = await asyncio.to_thread(tokens.create, name)
    except ValueError as unusable:
        raise HTTPException(409, str(unusable)) from None
    path = f"/label#token={token}"
    link = (request.app.state.base_url or base.rstrip("/")) + path
    # A phone cannot reach this machine by the name that it has for itself.
    return NewLink(name=name, path=path, link=link, qr=[] if is_loopback_address(link) else qr_rows(link))


@router.delete("/annotators/{name}", responses=_UNKNOWN)
async def end_link(
    request: Request, person: Owner, name: Annotated[str, Path(max_length=LONGEST_NAME)]
) -> dict[str, str]:
    """End a personal link. What its holder answered stays."""
    tokens: Tokens = request.app.state.tokens
    try:
        check_name(name)
        ended = await asyncio.to_thread(tokens.revoke, name)
    except ValueError:
        ended = False
    if not ended:
        raise HTTPException(404, f"No one called {name!r} has a link.")
    return {"name": name}


def _figures(overview: Overview, name: str, has_link: bool) -> AnnotatorFigures:
    said, (right, practised) = overview.tallies.get(name), overview.practice.get(name, (0, 0))
    sides = 0 if said is None else said.lefts + said.rights
    return AnnotatorFigures(
        name=name,
        has_link=has_link,
        answers=0 if said is None else said.given,
        skipped=0 if said is None else said.skipped,
        seconds_per_answer=overview.progress(name).seconds_per_answer,
        left_share=said.lefts / sides if said and sides else None,
        agreement=said.agreed / said.compared if said and said.compared else None,
        agreement_over=0 if said is None else said.compared,
        practice_right=right,
        practice_answers=practised,
        last_answer_at=None if said is None else said.last_answered_at,
    )
