"""The annotators' part of the HTTP interface: its messages and its routes."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import AfterValidator, BaseModel, Field

from rlhf_envs.feedback.practice import RIGHT_TEXT, WRONG_TEXT, known_answer
from rlhf_envs.feedback.store.errors import StoreError
from rlhf_envs.feedback.web.access import REFUSALS, STRICT, Annotator, AnyPerson, Problem, RateLimit
from rlhf_envs.feedback.web.corrections import MOST_STEPS
from rlhf_envs.feedback.web.dashboard import OverviewCache
from rlhf_envs.feedback.web.service import LabellingService
from rlhf_envs.feedback.web.tokens import ANNOTATOR
from rlhf_envs.json_values import require_json
from rlhf_envs.queries import LONGEST_NAME, MOST_REASONS, Choice, Submission
from rlhf_envs.queries import Query as AskedQuery

_TRAINING_PIECES = 2
_CANNOT_BE_SHOWN = "This clip cannot be shown; the person who runs the training finds the reason in the server's log."
_log = logging.getLogger("uvicorn.error")


def _storable(payload: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON has no words for: infinite numbers, half characters, endless nesting."""
    require_json(payload, "payload of an answer")
    return payload


QueryId = Annotated[int, Field(ge=1, le=2**31 - 1)]
Payload = Annotated[dict[str, Any], AfterValidator(_storable)]
Seconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False, description="Since the epoch.")]
Token = Annotated[
    str,
    Field(
        pattern=rf"^[A-Za-z0-9_-]{{8,{LONGEST_NAME}}}$",
        description="Made anew for each submission; repeating it is harmless.",
    ),
]
Kinds = Annotated[
    list[Annotated[str, Field(max_length=LONGEST_NAME)]] | None,
    Query(max_length=50, description="The kinds of query that the page can show; all where none are named."),
]
Showing = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The query on screen, which stays the first.")]
Theme = Annotated[Literal["light", "dark"], Query(description="How the clips are drawn.")]


_REFUSED: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The answer makes no sense."}}


class CorrectionKeys(BaseModel):
    """How a person acts in the clips."""

    keys: dict[str, str] = Field(description="Each key, as pygame names it, and what it does.")
    arrows: dict[str, str] = Field(description="The key that each arrow key stands for.")
    in_turns: bool = Field(description="Whether a step is taken only when a key is pressed.")
    frames_per_second: float


class Me(BaseModel):
    """Who the holder of a link is, and what they are asked to judge."""

    name: str
    role: str
    store: str = Field(description="Names the store: answers kept in a browser never reach another one.")
    environment: str
    rubric: str
    reasons: dict[str, str] = Field(description="What can be named as a reason, and how a person reads it.")
    legend: dict[str, str] = Field(description="What can be seen in a clip, and what it means.")
    new: bool = Field(description="Whether this person has answered nothing yet.")
    correction: CorrectionKeys | None = Field(description="How to act in the clips; null where nobody can.")


class Practice(BaseModel):
    """The known answer to a practice comparison."""

    answer: Literal["left", "right"]
    if_right: str = Field(description="What to say after the right answer.")
    if_wrong: str = Field(description="What to say after any other.")
    explanation: str = Field(description="Why; {side} stands for what the page calls the better clip.")


class Question(BaseModel):
    """A query as the page shows it."""

    id: int
    kind: str
    rubric: str = Field(description="What is asked.")
    clips: list[str] = Field(description="Where the films are, in screen order.")
    descriptions: list[str] = Field(description="What happens in each, for those who cannot see it.")
    steps: int = Field(description="Frames of each film.")
    frames_per_second: float
    practice: Practice | None
    correctable: bool = Field(description="Whether its clips can be taken over.")


class Upcoming(BaseModel):
    """The next queries, the first one now."""

    queries: list[Question]


class AnswerMessage(BaseModel):
    """One answer."""

    model_config = STRICT
    query: Annotated[QueryId, Field(strict=True)]
    token: Token
    choice: Literal["left", "right", "tie", "skip"] | None = None
    payload: Payload | None = Field(default=None, description="What else the kind of query asks for.")
    reasons: list[Annotated[str, Field(max_length=LONGEST_NAME)]] = Field(default=[], max_length=MOST_REASONS)
    shown_at: Seconds | None = None
    answered_at: Seconds | None = None


class TakeOver(BaseModel):
    """A clip that was taken over, and what was done since then."""

    model_config = STRICT
    query: Annotated[QueryId, Field(strict=True)]
    position: Annotated[int, Field(ge=0, le=99, strict=True, description="Which of its clips.")]
    step: Annotated[int, Field(ge=0, le=MOST_STEPS, strict=True, description="From which of its steps on.")]
    held: Annotated[
        list[Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=8)]],
        Field(max_length=MOST_STEPS, description="The keys that were held in each step since then."),
    ]


class CorrectionMessage(TakeOver):
    """A correction that is to be stored."""

    token: Token
    shown_at: Seconds | None = None
    answered_at: Seconds | None = None


class SummaryLine(BaseModel):
    """One line of what an annotator reads at the end: what it is about, and a few words on it."""

    name: str
    text: str


class Summary(BaseModel):
    """What an annotator reads at the end."""

    lines: list[SummaryLine]


class Progress(BaseModel):
    """How far things are, as an annotator sees it."""

    own_answers: int
    answered: int
    wanted: int = Field(description="What will have been asked in the end, as far as is known.")
    seconds_per_answer: float | None
    training: str = Field(description="What training is doing; empty where no training run asks.")
    idle: list[str] = Field(description="What to say while there is nothing to answer: headline and sentence.")
    finished: bool = Field(description="Whether nothing more will be asked.")


async def _service(request: Request) -> LabellingService:
    service: LabellingService = request.app.state.service
    return service


Service = Annotated[LabellingService, Depends(_service)]
router = APIRouter(prefix="/api", responses=REFUSALS, tags=["annotators"])


@router.get("/me")
async def me(service: Service, person: AnyPerson) -> Me:
    """Who the holder of the link is, and what they are asked to judge."""
    return Me(
        name=person.name,
        role=person.role,
        store=service.identity,
        environment=service.store.environment.id,
        rubric=service.guidance.rubric,
        reasons=dict(service.guidance.reasons),
        legend=dict(service.guidance.legend),
        new=person.role == ANNOTATOR and await service.is_new(person.name),
        correction=await _correction_keys(service),
    )


@router.get("/queries")
async def queries(
    service: Service, person: Annotator, theme: Theme = "light", kinds: Kinds = None, showing: Showing = None
) -> Upcoming:
    """The next queries, the first one now; empty where there are none at the moment. They are leased for a while."""
    upcoming = await service.upcoming(person.name, theme, kinds, showing)
    rate = await service.frames_per_second()
    return Upcoming(queries=[await _question(service, query, rate) for query in upcoming])


@router.get(
    "/clips/{query}/{position}.mp4",
    response_class=FileResponse,
    responses={
        200: {"content": {"video/mp4": {}}, "description": "H.264."},
        404: {"model": Problem, "description": "Not a clip that was shown to this annotator, or it cannot be drawn."},
    },
)
async def clip(
    service: Service,
    person: Annotator,
    query: Annotated[int, Path(ge=1, le=2**31 - 1)],
    position: Annotated[int, Path(ge=0, le=99)],
    theme: Theme = "light",
) -> FileResponse:
    """A film of one segment of a query that was shown to this annotator."""
    try:
        place = await service.film(person.name, query, position, theme)
    except KeyError:
        raise HTTPException(404, "There is no such clip for you to see.") from None
    except StoreError:
        raise
    except Exception as failure:  # whatever a simulator, a codec or the disk says
        _log.warning("A clip cannot be shown: %s", failure)
        raise HTTPException(404, _CANNOT_BE_SHOWN) from failure
    return FileResponse(place, media_type="video/mp4", headers={"Cache-Control": "private, max-age=86400, immutable"})


@router.post("/answers", responses=_REFUSED)
async def answer(request: Request, service: Service, person: Annotator, message: AnswerMessage) -> dict[str, int]:
    """Store an answer. When this returns it is on the disk; sending it again with its token changes nothing."""
    submission = Submission(
        message.query,
        person.name,
        None if message.choice is None else Choice(message.choice),
        tuple(message.reasons),
        message.shown_at,
        message.answered_at,
        message.payload or None,
        message.token,
    )
    with _at_a_persons_pace(request, person.name):
        return {"answer": await service.answer(submission)}


@router.post(
    "/corrections/frame",
    response_class=Response,
    responses={
        **_REFUSED,
        200: {"content": {"image/jpeg": {}}, "description": "JPEG; X-Over is 1 once the episode has ended."},
    },
)
async def correction_frame(
    request: Request, service: Service, person: Annotator, message: TakeOver, theme: Theme = "light"
) -> Response:
    """What is to be seen after these keys in a clip that was taken over. One at a time for each annotator."""
    acting: set[str] = request.app.state.acting
    if person.name in acting:
        raise HTTPException(429, "One picture at a time; wait for the last one.", headers={"Retry-After": "1"})
    acting.add(person.name)
    try:
        frame = await service.correction_frame(
            person.name, message.query, message.position, message.step, message.held, theme
        )
    finally:
        acting.discard(person.name)
    return Response(frame.picture, media_type="image/jpeg", headers={"X-Over": str(int(frame.over))})


@router.post("/corrections", responses=_REFUSED)
async def correct(request: Request, service: Service, person: Annotator, message: CorrectionMessage) -> Question:
    """Store a correction as a comparison that is answered; that comparison, which is asked should it be undone."""
    with _at_a_persons_pace(request, person.name):
        query = await service.correct(
            person.name,
            message.query,
            message.position,
            message.step,
            message.held,
            message.shown_at,
            message.answered_at,
            message.token,
        )
    return await _question(service, query, await service.frames_per_second())


@router.post("/undo", responses=_REFUSED)
async def undo(service: Service, person: Annotator, token: Annotated[Token, Body(embed=True)]) -> dict[str, int | None]:
    """Take back the latest answer that stands; its query is the next one then, and null where there is none."""
    session = await service.session(person.name)
    undone = await service.thread.run(lambda: session.undo(token))
    return {"query": None if undone is None else undone.query_id}


@router.post("/release")
async def release(
    service: Service,
    person: Annotator,
    keep: Annotated[
        list[Annotated[QueryId, Field(strict=True)]],
        Body(embed=True, max_length=1000, description="Queries whose answers are on their way."),
    ],
) -> dict[str, int]:
    """Release the queries that are leased to this annotator, who has left the page; how many."""
    session = await service.session(person.name)
    return {"queries": await service.thread.run(lambda: session.leave(keep))}


@router.get("/progress")
async def progress(request: Request, person: Annotator) -> Progress:
    """How far things are."""
    overview: OverviewCache = request.app.state.overview
    known = (await asyncio.to_thread(overview.read)).progress(person.name)
    return Progress(
        own_answers=known.own_answers,
        answered=known.answered,
        wanted=known.wanted,
        seconds_per_answer=known.seconds_per_answer,
        training=" · ".join(known.training_text()[:_TRAINING_PIECES]),
        idle=list(known.idle_text()),
        finished=known.finished,
    )


@router.get("/summary")
async def summary(service: Service, person: Annotator) -> Summary:
    """What this annotator has done, and what became of it; for the closing page."""
    return Summary(lines=[SummaryLine(name=name, text=text) for name, text in await service.summary(person.name)])


@contextmanager
def _at_a_persons_pace(request: Request, name: str) -> Iterator[None]:
    """Refuse answers that come faster than a person gives them; those that are not stored do not count."""
    pace: RateLimit | None = request.app.state.pace
    wait = 0.0 if pace is None else pace.wait_for(name)
    if wait > 0:
        seconds = math.ceil(wait)
        told = f"Answers come in faster than anybody can look at clips; this one is taken in {seconds} s."
        raise HTTPException(429, told, headers={"Retry-After": str(seconds)})
    try:
        yield
    except BaseException:  # it is not stored, so it was not too many
        if pace is not None:
            pace.give_back(name)
        raise


async def _correction_keys(service: LabellingService) -> CorrectionKeys | None:
    found = await service.corrections.corrector()
    if found is None:
        return None
    return CorrectionKeys(
        keys=found.controls.descriptions,
        arrows=found.controls.arrows,
        in_turns=found.in_turns,
        frames_per_second=found.frames_per_second,
    )


async def _question(service: LabellingService, query: AskedQuery, rate: float) -> Question:
    known = known_answer(query)
    practice = None
    if known is not None:
        practice = Practice(
            answer="left" if known.choice is Choice.LEFT else "right",
            if_right=RIGHT_TEXT,
            if_wrong=WRONG_TEXT,
            explanation=known.explanation("{side}"),
        )
    return Question(
        id=query.id or 0,
        kind=query.kind,
        rubric=service.guidance.rubric_for(query.kind),
        clips=[f"/api/clips/{query.id}/{position}.mp4" for position in range(len(query.segments))],
        descriptions=await service.described(query),
        steps=len(query.segments[0]),
        frames_per_second=rate,
        practice=practice,
        correctable=await service.corrections.can_correct(query),
    )
