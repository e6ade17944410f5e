"""What annotators ask the server for."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse

from rlhf_envs.feedback.store.errors import StoreError
from rlhf_envs.feedback.web.access import Annotator, Anyone
from rlhf_envs.feedback.web.labelling import Labelling
from rlhf_envs.feedback.web.messages import (
    Acknowledged,
    AnswerGiven,
    IdleText,
    Leaving,
    Me,
    Problem,
    Progress,
    Released,
    Undone,
    UndoWanted,
    Upcoming,
)
from rlhf_envs.feedback.web.overview import Overlook

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Not a request that can be read."},
    401: {"model": Problem, "description": "No valid token."},
    403: {"model": Problem, "description": "Not for this role."},
    408: {"model": Problem, "description": "Did not arrive whole in time."},
    413: {"model": Problem, "description": "Too large."},
    429: {"model": Problem, "description": "Too often; Retry-After says when."},
    503: {"model": Problem, "description": "The store cannot do it now; Retry-After says when to try again."},
}
_REFUSED: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "The answer makes no sense."}}

Theme = Annotated[Literal["light", "dark"], Query(description="How the clips are drawn.")]

_TRAINING_PIECES = 2

_log = logging.getLogger("uvicorn.error")

router = APIRouter(prefix="/api", responses=REFUSALS, tags=["annotators"])


@router.get("/me")
async def me(request: Request, person: Anyone) -> Me:
    """Who the holder of the link is, and what they are asked to judge."""
    labelling: Labelling = request.app.state.labelling
    return Me(
        name=person.name,
        role=person.role,
        store=labelling.identity,
        environment=str(labelling.store.environment.get("id", "")),
        rubric=labelling.guidance.rubric,
        reasons=dict(labelling.guidance.reasons),
    )


@router.get("/queries")
async def queries(request: Request, person: Annotator, theme: Theme = "light") -> Upcoming:
    """The next queries, the first one now; empty where there are none at the moment. They are kept for a while."""
    labelling: Labelling = request.app.state.labelling
    return Upcoming(queries=await labelling.upcoming(person.name, theme))


@router.get(
    "/clips/{query}/{position}.mp4",
    response_class=FileResponse,
    responses={
        200: {"content": {"video/mp4": {}}, "description": "H.264."},
        404: {"model": Problem, "description": "Not a clip that was given to this annotator, or it cannot be drawn."},
    },
)
async def clip(
    request: Request,
    person: Annotator,
    query: Annotated[int, Path(ge=1, le=2**31 - 1)],
    position: Annotated[int, Path(ge=0, le=99)],
    theme: Theme = "light",
) -> FileResponse:
    """A film of one segment of a query that was given to this annotator."""
    labelling: Labelling = request.app.state.labelling
    try:
        place = await labelling.film(person.name, query, position, theme)
    except KeyError:
        raise HTTPException(404, "There is no such clip for you to see.") from None
    except StoreError:
        raise
    except Exception as failure:  # whatever a simulator, a codec or the disk says
        _log.warning("A clip cannot be shown: %s", failure)
        raise HTTPException(404, "This clip cannot be shown; whoever runs the training was told why.") from failure
    return FileResponse(place, media_type="video/mp4", headers={"Cache-Control": "private, max-age=86400, immutable"})


@router.post("/answers", responses=_REFUSED)
async def answer(request: Request, person: Annotator, given: AnswerGiven) -> Acknowledged:
    """Store an answer. When this returns it is on the disk; sending it again with its token changes nothing."""
    labelling: Labelling = request.app.state.labelling
    return Acknowledged(answer=await labelling.answer(person.name, given))


@router.post("/undo", responses=_REFUSED)
async def undo(request: Request, person: Annotator, wanted: UndoWanted) -> Undone:
    """Take back the latest answer that stands; its query is the next one then."""
    labelling: Labelling = request.app.state.labelling
    return Undone(query=await labelling.undo(person.name, wanted.token))


@router.post("/release")
async def release(request: Request, person: Annotator, leaving: Leaving) -> Released:
    """Let others have the queries that are kept for this annotator, who has left the page."""
    labelling: Labelling = request.app.state.labelling
    return Released(queries=await labelling.release(person.name, leaving.keep))


@router.get("/progress")
async def progress(request: Request, person: Annotator) -> Progress:
    """How far things are."""
    overlook: Overlook = request.app.state.overlook
    seen = await asyncio.to_thread(overlook.look)
    known = seen.progress(person.name)
    headline, sentence = known.idle_text()
    return Progress(
        given=known.own_answers,
        answered=known.answered,
        wanted=known.wanted,
        seconds_per_answer=known.seconds_per_answer,
        training=" · ".join(known.training_text()[:_TRAINING_PIECES]),
        idle=IdleText(headline=headline, sentence=sentence),
    )
