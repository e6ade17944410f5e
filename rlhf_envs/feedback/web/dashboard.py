"""The owner's dashboard: an overview of the store, and the owner's part of the HTTP interface."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Path, Request
from pydantic import BaseModel, Field

from rlhf_envs.feedback.progress import PACE_OVER, SessionProgress, session_progress
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, OwnerRequests, StatusMessage
from rlhf_envs.feedback.web.access import REFUSALS, STRICT, Owner, Problem
from rlhf_envs.feedback.web.tokens import ANNOTATOR, Tokens, check_name
from rlhf_envs.queries import LONGEST_NAME, Choice, LiveAnswer, Purpose, QueryCounts, Tally

_LONGEST_AGE = 1.0
_SHARE_OF_TIME = 0.1
_SIDES = (Choice.LEFT, Choice.RIGHT)
_UNUSABLE: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "Not a name that can be used."}}
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No one of this name has a link."}}


@dataclass(frozen=True)
class Overview:
    """The state of a store at one moment.

    Attributes:
        answers: of each annotator, those that stand, in order of arrival, practice left out.
        practice: the same of the practice round alone.
        counts: how far the queries of each purpose are.
        statuses: the status messages of the training run and the owner.
        purposes: which queries make up the queue.
    """

    answers: Mapping[str, Sequence[LiveAnswer]]
    practice: Mapping[str, Sequence[LiveAnswer]]
    counts: Mapping[Purpose, QueryCounts]
    statuses: Mapping[str, StatusMessage]
    purposes: Collection[Purpose]

    def progress(self, annotator: str = "") -> SessionProgress:
        """How far things are, as an annotator sees it."""
        answers = self.answers.get(annotator, ())
        seconds = tuple(live.seconds for live in answers[-PACE_OVER:] if live.seconds is not None)
        return session_progress(Tally(len(answers), seconds), self.counts, self.statuses, self.purposes)

    @cached_property
    def agreement(self) -> dict[str, tuple[int, int]]:
        """How often each annotator said the same side as another one of the same query, and of how many times."""
        choices: dict[int, dict[str, Choice]] = defaultdict(dict)
        for annotator, answers in self.answers.items():
            for live in answers:
                if live.choice is not None and live.choice in _SIDES:
                    choices[live.query_id][annotator] = live.choice
        agreed: dict[str, int] = defaultdict(int)
        shared: dict[str, int] = defaultdict(int)
        for by_annotator in choices.values():
            for annotator, choice in by_annotator.items():
                others = [other for name, other in by_annotator.items() if name != annotator]
                shared[annotator] += len(others)
                agreed[annotator] += others.count(choice)
        return {annotator: (agreed[annotator], shared[annotator]) for annotator in shared}


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
        answers: dict[str, list[LiveAnswer]] = defaultdict(list)
        practice: dict[str, list[LiveAnswer]] = defaultdict(list)
        for live in self._store.live_answers():
            if live.purpose is Purpose.PRACTICE:
                practice[live.annotator].append(live)
            elif live.purpose in self._purposes:
                answers[live.annotator].append(live)
        return Overview(dict(answers), dict(practice), self._store.counts(), self._store.statuses(), self._purposes)


class RequestsChange(BaseModel):
    """What the owner requests anew; what is left out stays as it is."""

    model_config = STRICT
    paused: Annotated[bool | None, Field(strict=True)] = None
    stop: Annotated[bool | None, Field(strict=True)] = None
    extra_answers: Annotated[int | None, Field(ge=0, le=100_000, strict=True)] = Field(
        default=None, description="Beyond the run's own budget, all in all; sending it twice adds nothing."
    )


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
    names = sorted(with_link | set(overview.answers))
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
    request: Request, person: Owner, name: Annotated[str, Body(embed=True, min_length=1, max_length=LONGEST_NAME)]
) -> dict[str, str]:
    """Make a personal link; its `path` can be read this once. An older link of the same person ends."""
    tokens: Tokens = request.app.state.tokens
    try:
        check_name(name)
    except ValueError as unusable:
        raise HTTPException(409, str(unusable)) from None
    token = await asyncio.to_thread(tokens.create, name)
    return {"name": name, "path": f"/label#token={token}"}


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
    answers, practice = overview.answers.get(name, ()), overview.practice.get(name, ())
    sides = [live.choice for live in answers if live.choice in _SIDES]
    agreed, shared = overview.agreement.get(name, (0, 0))
    return AnnotatorFigures(
        name=name,
        has_link=has_link,
        answers=len(answers),
        skipped=sum(live.choice == Choice.SKIP for live in answers),
        seconds_per_answer=overview.progress(name).seconds_per_answer,
        left_share=sides.count(Choice.LEFT) / len(sides) if sides else None,
        agreement=agreed / shared if shared else None,
        agreement_over=shared,
        practice_right=sum(live.choice == live.context.get("answer") for live in practice),
        practice_answers=len(practice),
        last_answer_at=max((live.answered_at for live in answers if live.answered_at is not None), default=None),
    )
