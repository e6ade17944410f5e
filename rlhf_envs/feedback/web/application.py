"""The web application: interface, limits and pages put together."""

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

from rlhf_envs.envs.palette import DARK, LIGHT, Palette, css_colors
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.errors import AnswerRefusedError, StoreError
from rlhf_envs.feedback.web import annotator_api, dashboard
from rlhf_envs.feedback.web.access import (
    ANSWERS_AT_ONCE,
    ANSWERS_PER_MINUTE,
    AccessControl,
    BodyLimit,
    RateLimit,
    SecurityHeaders,
)
from rlhf_envs.feedback.web.clips import FilmCache
from rlhf_envs.feedback.web.dashboard import OverviewCache
from rlhf_envs.feedback.web.service import LabellingService
from rlhf_envs.feedback.web.tokens import Tokens
from rlhf_envs.queries import Purpose

STATIC = Path(__file__).parent / "static"
_RETRY_AFTER = "2"
READ = ["GET", "HEAD"]
_log = logging.getLogger("uvicorn.error")


def build_application(
    store: PreferenceStore,
    clip_folder: Path,
    repeat_rate: float,
    purposes: Collection[Purpose],
    tokens: Tokens | None = None,
    answers_per_minute: float = ANSWERS_PER_MINUTE,
    base_url: str = "",
    framed_by: str = "'none'",
) -> FastAPI:
    """See `rlhf_envs.feedback.web.create_app`; `tokens` are those of the store unless others are given."""
    service = LabellingService(store, FilmCache(store.environment, clip_folder), repeat_rate, purposes)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # The pages that FastAPI brings for trying an interface out load their scripts from elsewhere.
    app = FastAPI(title="Labelling", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.store = store
    app.state.service = service
    app.state.tokens = tokens = tokens or Tokens(store)
    app.state.access = AccessControl(tokens, RateLimit())
    app.state.pace = RateLimit(answers_per_minute / 60, ANSWERS_AT_ONCE) if answers_per_minute else None
    app.state.acting = set()
    app.state.overview = OverviewCache(store, purposes)
    app.add_middleware(BodyLimit)
    app.state.base_url = base_url
    app.add_middleware(SecurityHeaders, framed_by=framed_by)
    app.add_exception_handler(StoreError, unavailable)
    app.add_exception_handler(AnswerRefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.include_router(annotator_api.router)
    app.include_router(dashboard.router)
    _add_pages(app)
    return app


def _add_pages(app: FastAPI) -> None:
    @app.api_route("/", methods=READ, include_in_schema=False)
    @app.api_route("/label", methods=READ, include_in_schema=False)
    async def label_page() -> FileResponse:
        return FileResponse(STATIC / "label.html")

    @app.api_route("/dashboard", methods=READ, include_in_schema=False)
    async def dashboard_page() -> FileResponse:
        return FileResponse(STATIC / "dashboard.html")

    add_shared_files(app)


def add_shared_files(app: FastAPI) -> None:
    """Serve what all pages load: style sheets, scripts and the palette."""
    palette = palette_css()

    @app.api_route("/palette.css", methods=READ, include_in_schema=False)
    async def palette_sheet() -> PlainTextResponse:
        return PlainTextResponse(palette, media_type="text/css")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def palette_css() -> str:
    """The suite's palette as a style sheet, so that page and clips are of one colour.

    Custom properties such as `--surface-strong`: light, or dark where the visitor or their system prefers that.
    """

    def properties(palette: Palette, scheme: str) -> str:
        colors = " ".join(f"--{name}: {color};" for name, color in css_colors(palette).items())
        return f"color-scheme: {scheme}; {colors}"

    light, dark = properties(LIGHT, "light"), properties(DARK, "dark")
    return (
        f":root {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme='light']) {{ {dark} }} }}\n"
        f":root[data-theme='dark'] {{ {dark} }}\n"
    )


async def unavailable(request: Request, failure: Exception) -> Response:
    """Say that the store cannot do it now. The log has the reason; the holder of a link need not know where it is."""
    _log.warning("%s", failure)
    brief = failure.brief if isinstance(failure, StoreError) else StoreError.brief
    return JSONResponse({"detail": brief}, status_code=503, headers={"Retry-After": _RETRY_AFTER})


async def _refused(request: Request, refusal: Exception) -> Response:
    return JSONResponse({"detail": str(refusal)}, status_code=409)


async def _unreadable(request: Request, failure: Exception) -> Response:
    """FastAPI's own answer, but ASCII and without what was sent, which may be no text or no number that JSON knows."""
    problems = failure.errors() if isinstance(failure, RequestValidationError) else ()
    details = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in problems]
    return Response(json.dumps({"detail": details}), 422, media_type="application/json")
