"""The web application: routes, limits and pages put together."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles

from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.errors import AnswerRefusedError, StoreError
from rlhf_envs.feedback.web import annotator_routes, owner_routes
from rlhf_envs.feedback.web.access import Door
from rlhf_envs.feedback.web.clips import ClipMaker
from rlhf_envs.feedback.web.labelling import Labelling
from rlhf_envs.feedback.web.limits import BodyLimit, RateLimit, SecurityHeaders
from rlhf_envs.feedback.web.overview import Overlook
from rlhf_envs.feedback.web.palette_css import palette_css
from rlhf_envs.feedback.web.tokens import Tokens
from rlhf_envs.queries import Purpose

STATIC = Path(__file__).parent / "static"
_RETRY_AFTER = "2"
_log = logging.getLogger("uvicorn.error")


def build_application(
    store: PreferenceStore, *, clip_folder: Path, repeat_rate: float, purposes: Collection[Purpose]
) -> FastAPI:
    """See `rlhf_envs.feedback.web.create_app`."""
    labelling = Labelling(store, ClipMaker(store.environment, clip_folder), repeat_rate, purposes)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        labelling.close()

    # The pages that FastAPI brings for trying an interface out load their scripts from elsewhere.
    app = FastAPI(title="Labelling", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    tokens = Tokens(store)
    app.state.store = store
    app.state.labelling = labelling
    app.state.tokens = tokens
    app.state.door = Door(tokens, RateLimit())
    app.state.overlook = Overlook(store, purposes)
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    app.add_exception_handler(StoreError, _say_unavailable)
    app.add_exception_handler(AnswerRefusedError, _say_refused)
    app.add_exception_handler(RequestValidationError, _say_unreadable)
    app.include_router(annotator_routes.router)
    app.include_router(owner_routes.router)
    _add_pages(app)
    return app


def _add_pages(app: FastAPI) -> None:
    palette = palette_css()

    @app.get("/", include_in_schema=False)
    @app.get("/label", include_in_schema=False)
    async def label_page() -> FileResponse:
        return FileResponse(STATIC / "label.html")

    @app.get("/dashboard", include_in_schema=False)
    async def dashboard_page() -> FileResponse:
        return FileResponse(STATIC / "dashboard.html")

    @app.get("/palette.css", include_in_schema=False)
    async def palette_sheet() -> PlainTextResponse:
        return PlainTextResponse(palette, media_type="text/css")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


async def _say_unavailable(request: Request, failure: Exception) -> Response:
    """Whoever runs the server reads all of it; who has a link need not know where the store is."""
    _log.warning("%s", failure)
    brief = failure.brief if isinstance(failure, StoreError) else StoreError.brief
    return JSONResponse({"detail": brief}, status_code=503, headers={"Retry-After": _RETRY_AFTER})


async def _say_refused(request: Request, refused: Exception) -> Response:
    return JSONResponse({"detail": str(refused)}, status_code=409)


async def _say_unreadable(request: Request, failure: Exception) -> Response:
    """FastAPI's own answer, but ASCII and without what was sent, which may be no text or no number that JSON knows."""
    problems = failure.errors() if isinstance(failure, RequestValidationError) else ()
    told = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in problems]
    return Response(json.dumps({"detail": told}), 422, media_type="application/json")
