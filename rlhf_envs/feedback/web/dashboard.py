"""The owner's dashboard: an overview of the store, and the owner's part of the HTTP interface."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from pydantic import BaseModel, Field, ValidationError

from rlhf_envs.feedback.progress import PACE_OVER, SessionProgress, session_progress, total_counts
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, StatusMessage
from rlhf_envs.feedback.web.access import REFUSALS, STRICT, Owner, Problem
from rlhf_envs.feedback.web.tokens import ANNOTATOR, Tokens, check_name
from rlhf_envs.queries import Choice, LiveAnswer, Purpose, QueryCounts

_SECONDS_KEPT = 1.0
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
    _agreement: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def queue(self) -> QueryCounts:
        """How far the queue is, over all purposes that are served."""
        return total_counts(self.counts, self.purposes)

    @property
    def for_training(self) -> bool:
        """Whether anything of what is served is asked by a training run."""
        return not frozenset(QUEUE).isdisjoint(self.purposes)

    def progress(self, annotator: str | None = None) -> SessionProgress:
        """How far things are, as an annotator sees it."""
        answered = self.answers.get(annotator, ()) if annotator is not None else ()
        times = [(live.shown_at, live.answered_at) for live in answered[-PACE_OVER:]]
        return session_progress(len(answered), times, self.counts, self.statuses, self.purposes)

    @property
    def requests(self) -> Mapping[str, Any]:
        """What the owner requests of the training run."""
        message = self.statuses.get(OWNER_REQUESTS)
        return {} if message is None else message.value

    def left_share(self, annotator: str) -> float | None:
        """How often they say left, of all times that they say left or right; None before they do."""
        sides = [live.choice for live in self.answers.get(annotator, ()) if live.choice in _SIDES]
        return sides.count(Choice.LEFT) / len(sides) if sides else None

    def agreement(self, annotator: str) -> tuple[int, int]:
        """How many times they said the same side as another annotator of the same query, and of how many times."""
        if not self._agreement:
            self._agreement.update(_agreements(self.answers))
        return self._agreement.get(annotator, (0, 0))

    def practice_score(self, annotator: str) -> tuple[int, int]:
        """How many practice answers were right, and how many were given."""
        answered = self.practice.get(annotator, ())
        return sum(live.choice == live.context.get("answer") for live in answered), len(answered)


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
                self._latest = _overview(self._store, self._purposes)
                ended = time.monotonic()
                # Reading a large store takes long: it may have a tenth of the time, answers come first.
                self._good_until = ended + max(_SECONDS_KEPT, (ended - started) / _SHARE_OF_TIME)
            return self._latest

    def forget(self) -> None:
        """Read the store again the next time, because something was changed that the owner wants to see."""
        with self._lock:
            self._latest = None


def _overview(store: PreferenceStore, purposes: Collection[Purpose]) -> Overview:
    given: dict[str, list[LiveAnswer]] = defaultdict(list)
    practice: dict[str, list[LiveAnswer]] = defaultdict(list)
    for live in store.live_answers():
        if live.purpose is Purpose.PRACTICE:
            practice[live.annotator].append(live)
        elif live.purpose in purposes:
            given[live.annotator].append(live)
    return Overview(dict(given), dict(practice), store.counts(), store.statuses(), purposes)


def _agreements(given: Mapping[str, Sequence[LiveAnswer]]) -> dict[str, tuple[int, int]]:
    said: dict[int, dict[str, Choice]] = defaultdict(dict)
    for annotator, answers in given.items():
        for live in answers:
            if live.choice is not None and live.choice in _SIDES:
                said[live.query_id][annotator] = live.choice
    agreed: dict[str, int] = defaultdict(int)
    met: dict[str, int] = defaultdict(int)
    for by_annotator in said.values():
        for annotator, choice in by_annotator.items():
            others = [other for name, other in by_annotator.items() if name != annotator]
            met[annotator] += len(others)
            agreed[annotator] += others.count(choice)
    return {annotator: (agreed[annotator], met[annotator]) for annotator in met}


class OwnerRequests(BaseModel):
    """What the owner requests of the training run."""

    model_config = STRICT
    paused: Annotated[bool, Field(strict=True)] = False
    stop: Annotated[bool, Field(strict=True)] = False
    extra_comparisons: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0


class RequestsChange(BaseModel):
    """What the owner requests anew; what is left out stays as it is."""

    model_config = STRICT
    paused: Annotated[bool | None, Field(strict=True)] = None
    stop: Annotated[bool | None, Field(strict=True)] = None
    extra_comparisons: Annotated[int | None, Field(ge=0, le=100_000, strict=True)] = Field(
        default=None, description="Beyond the run's own budget, all in all; sending it twice adds nothing."
    )


class AnnotatorName(BaseModel):
    """The annotator whose link is meant."""

    model_config = STRICT
    name: Annotated[str, Field(min_length=1, max_length=60)]


class Link(BaseModel):
    """A personal link; it can be read this once."""

    name: str
    path: str


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
    answered: int
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
    cache: OverviewCache = request.app.state.overview
    tokens: Tokens = request.app.state.tokens
    store: PreferenceStore = request.app.state.store
    overview = await asyncio.to_thread(cache.read)
    with_link = {each.name for each in await asyncio.to_thread(tokens.people) if each.role == ANNOTATOR}
    names = sorted(with_link | set(overview.answers))
    known = overview.progress()
    return Dashboard(
        environment=store.environment.id,
        answered=overview.queue.answered,
        asked=overview.queue.asked,
        skipped=overview.queue.skipped,
        wanted=known.wanted,
        for_training=overview.for_training,
        over=known.over,
        annotators=[_figures(overview, name, name in with_link) for name in names],
        training=None if known.training is None else dict(known.training),
        training_posted_at=known.posted_at,
        requests=_requests(overview.requests),
        now=time.time(),
    )


@router.post("/requests")
async def change_requests(request: Request, person: Owner, change: RequestsChange) -> OwnerRequests:
    """Pause or stop the training run, or have it ask more."""
    store: PreferenceStore = request.app.state.store
    changed = change.model_dump(exclude_none=True)
    after = await asyncio.to_thread(store.update_status, OWNER_REQUESTS, changed)
    request.app.state.overview.forget()
    return _requests(after)


@router.post("/annotators", responses=_UNUSABLE)
async def make_link(request: Request, person: Owner, message: AnnotatorName) -> Link:
    """Make a personal link, which can be read this once. An older link of the same person ends."""
    tokens: Tokens = request.app.state.tokens
    try:
        check_name(message.name)
    except ValueError as unusable:
        raise HTTPException(409, str(unusable)) from None
    token = await asyncio.to_thread(tokens.create, message.name)
    return Link(name=message.name, path=f"/label#token={token}")


@router.delete("/annotators/{name}", responses=_UNKNOWN)
async def end_link(request: Request, person: Owner, name: Annotated[str, Path(max_length=60)]) -> AnnotatorName:
    """End a personal link. What its holder answered stays."""
    tokens: Tokens = request.app.state.tokens
    try:
        check_name(name)
    except ValueError:
        raise HTTPException(404, f"No one called {name!r} has a link.") from None
    if not await asyncio.to_thread(tokens.revoke, name):
        raise HTTPException(404, f"No one called {name!r} has a link.")
    return AnnotatorName(name=name)


def _figures(overview: Overview, name: str, has_link: bool) -> AnnotatorFigures:
    answers = overview.answers.get(name, ())
    agreed, shared = overview.agreement(name)
    right, practised = overview.practice_score(name)
    return AnnotatorFigures(
        name=name,
        has_link=has_link,
        answers=len(answers),
        skipped=sum(live.choice == "skip" for live in answers),
        seconds_per_answer=overview.progress(name).seconds_per_answer,
        left_share=overview.left_share(name),
        agreement=agreed / shared if shared else None,
        agreement_over=shared,
        practice_right=right,
        practice_answers=practised,
        last_answer_at=max((live.answered_at for live in answers if live.answered_at is not None), default=None),
    )


def _requests(values: Mapping[str, Any]) -> OwnerRequests:
    known = {name: value for name, value in values.items() if name in OwnerRequests.model_fields}
    try:
        return OwnerRequests(**known)
    except ValidationError:
        return OwnerRequests()
