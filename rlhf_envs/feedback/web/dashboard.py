"""The owner's dashboard: an overview of the store, and the owner's part of the HTTP interface."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Body, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from rlhf_envs.feedback.progress import PACE_OVER, SessionProgress, session_progress
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.store.errors import StoreError
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, OwnerRequests, StatusMessage
from rlhf_envs.feedback.store.tallies import AnnotatorTally
from rlhf_envs.feedback.web.access import REFUSALS, STRICT, Owner, Problem
from rlhf_envs.feedback.web.tokens import ANNOTATOR, Tokens, check_name, is_loopback_address, qr_rows
from rlhf_envs.observations import named_arrays
from rlhf_envs.queries import LONGEST_NAME, Choice, Purpose, QueryCounts, Tally

_LONGEST_AGE = 1.0
_LATEST_ANSWERS = 6
_MAP_POINTS, _FEWEST_POINTS, _MAP_NUMBERS = 300, 6, 2048
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
        held: who holds which queries; see `PreferenceStore.held`.
    """

    tallies: Mapping[str, AnnotatorTally]
    practice: Mapping[str, tuple[int, int]]
    counts: Mapping[Purpose, QueryCounts]
    statuses: Mapping[str, StatusMessage]
    purposes: Collection[Purpose]
    held: Mapping[str, tuple[int, int]] = field(default_factory=dict)

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
        return Overview(tallies, store.practice(), store.counts(), store.statuses(), purposes, store.held())


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
    left_over: int = Field(description="How many say left or right.")
    agreement: float | None = Field(description="With others, over pairs on which both said left or right.")
    agreement_over: int
    practice_right: int
    practice_answers: int
    last_answer_at: float | None
    on_screen: int = Field(description="Queries that this person looks at.")
    held_ahead: int = Field(description="Queries that their page holds ready.")


class GivenAnswer(BaseModel):
    """One of the latest answers."""

    query: int
    kind: str
    annotator: str
    text: str = Field(description="What was answered, in a few words.")
    reasons: list[str]
    seconds: float | None
    answered_at: float | None
    clips: list[str] = Field(description="Where the films of its clips are.")


class Asked(BaseModel):
    """What has been asked of late."""

    answers: list[GivenAnswer] = Field(description="The newest first.")
    points: list[tuple[float, float, float]] = Field(
        description="A point for each segment that was asked about, where segments alike are near each other, and how "
        "late in the run it was asked, from 0 to 1.",
        json_schema_extra={"items": {"type": "array", "items": {"type": "number"}}},
    )


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


@router.get("/asked")
async def asked(request: Request, person: Owner) -> Asked:
    """The latest answers, and a map of the segments that were asked about."""
    state = request.app.state
    return await asyncio.to_thread(read_asked, state.store, state.service.purposes)


@router.get(
    "/asked/{query}/{position}.mp4",
    response_class=FileResponse,
    responses={200: {"content": {"video/mp4": {}}}, 404: {"model": Problem, "description": "No such clip."}},
)
async def asked_clip(
    request: Request,
    person: Owner,
    query: Annotated[int, Path(ge=1, le=2**31 - 1)],
    position: Annotated[int, Path(ge=0, le=99)],
    theme: Annotated[Literal["light", "dark"], Query(description="How the clip is drawn.")] = "light",
) -> FileResponse:
    """The film of a segment, for the owner."""
    try:
        place = await request.app.state.service.film_of(query, position, theme)
    except StoreError:
        raise
    except Exception as failure:  # there is no such clip, or whatever a simulator says
        raise HTTPException(404, "This clip cannot be shown.") from failure
    return FileResponse(place, media_type="video/mp4", headers={"Cache-Control": "private, max-age=86400, immutable"})


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


def read_asked(store: PreferenceStore, purposes: Collection[Purpose]) -> Asked:
    """The latest answers to queries of these purposes, and a map of what was asked about."""
    answers = [
        GivenAnswer(
            query=each.query_id,
            kind=each.kind,
            annotator=each.annotator,
            text=answer_text(each.kind, each.choice, each.payload),
            reasons=list(each.reasons),
            seconds=each.seconds,
            answered_at=each.answered_at,
            clips=[f"/api/asked/{each.query_id}/{position}.mp4" for position in range(len(each.segment_ids))],
        )
        for each in store.latest_answers(purposes, _LATEST_ANSWERS)
    ]
    return Asked(answers=answers, points=_map_of(store, store.sample_of_shown(purposes, _MAP_POINTS // 2)))


def _map_of(store: PreferenceStore, ids: Sequence[int]) -> list[tuple[float, float, float]]:
    """The two directions in which segments differ most (principal components of their mean observations and actions).

    Args:
        store: where they are.
        ids: of the segments, in the order in which they were asked about.
    """
    chosen = [ids[number] for number in np.linspace(0, len(ids) - 1, min(len(ids), _MAP_POINTS)).astype(int)]
    if len(chosen) < _FEWEST_POINTS:
        return []
    rows = []
    for segment in store.segments(chosen):
        parts = [np.asarray(part, np.float64) for _, part in named_arrays(segment.observations)]
        flat = np.concatenate([part.reshape(len(part), -1).mean(axis=0) for part in (*parts, segment.actions)])
        rows.append(flat[:: max(len(flat) // _MAP_NUMBERS, 1)])
    features = np.stack(rows)
    features -= features.mean(axis=0)
    features /= features.std(axis=0) + 1e-8
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    places = np.zeros((len(chosen), 2))
    places[:, : min(2, len(sizes))] = left[:, :2] * sizes[:2]
    late = np.linspace(0, 1, len(chosen))
    return [
        (round(float(x), 3), round(float(y), 3), round(float(at), 3)) for (x, y), at in zip(places, late, strict=True)
    ]


def answer_text(kind: str, choice: Choice | None, payload: Mapping[str, Any] | None) -> str:
    """An answer in a few words."""
    said = {None: "", "left": "left", "right": "right", "tie": "equally good", "skip": "cannot tell"}[choice]
    payload = payload or {}
    if "ranking" in payload and not said:
        return " > ".join(str(int(clip) + 1) for clip in payload["ranking"])
    if "ratings" in payload and not said:
        return f"rated {float(np.mean(payload['ratings'])):+.2f} on average"
    if "strength" in payload:
        return f"{said}, {payload['strength']}"
    return said or kind


def _figures(overview: Overview, name: str, has_link: bool) -> AnnotatorFigures:
    said, (right, practised) = overview.tallies.get(name), overview.practice.get(name, (0, 0))
    sides = 0 if said is None else said.lefts + said.rights
    return AnnotatorFigures(
        name=name,
        has_link=has_link,
        on_screen=overview.held.get(name, (0, 0))[0],
        held_ahead=overview.held.get(name, (0, 0))[1],
        answers=0 if said is None else said.given,
        skipped=0 if said is None else said.skipped,
        seconds_per_answer=overview.progress(name).seconds_per_answer,
        left_share=said.lefts / sides if said and sides else None,
        left_over=sides,
        agreement=said.agreed / said.compared if said and said.compared else None,
        agreement_over=0 if said is None else said.compared,
        practice_right=right,
        practice_answers=practised,
        last_answer_at=None if said is None else said.last_answered_at,
    )
