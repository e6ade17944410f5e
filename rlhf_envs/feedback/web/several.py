"""One server for the stores of several runs, which share a database: each under /runs/ and its name, one link for all.

Runs that begin later are found by themselves. Whoever has a personal link sees which runs have questions, and answers
them on the pages that a single run has as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.store.database import PEOPLE_SCHEMA, in_schema, stores_in
from rlhf_envs.feedback.store.errors import StoreError, StoreExistsError
from rlhf_envs.feedback.web.access import REFUSALS, AccessControl, AnyPerson, BodyLimit, RateLimit, SecurityHeaders
from rlhf_envs.feedback.web.application import READ, STATIC, add_shared_files, build_application, unavailable
from rlhf_envs.feedback.web.dashboard import Overview
from rlhf_envs.feedback.web.tokens import Person, Tokens
from rlhf_envs.queries import Purpose

_SECONDS_BETWEEN_LOOKS = 2.0
_log = logging.getLogger("uvicorn.error")


class RunFigures(BaseModel):
    """A run, as a person with a link sees it."""

    name: str
    path: str = Field(description="Where its pages are.")
    environment: str
    open: int = Field(description="Queries that wait for answers.")
    answered: int
    own_answers: int
    training: str = Field(description="What training is doing; empty where no training run asks.")
    over: bool = Field(description="Whether nothing more will be asked.")


class RunList(BaseModel):
    """The runs that ask, and who asks for them."""

    name: str
    role: str
    runs: list[RunFigures]


@contextmanager
def people_of(database: str) -> Iterator[PreferenceStore]:
    """The store that knows who may answer in all stores of a database, in a schema of its own; it is made if missing.

    Args:
        database: its URL, without a schema.

    Raises:
        ValueError, StoreError: if it is no PostgreSQL database, or cannot be used.
    """
    place = in_schema(database, PEOPLE_SCHEMA)
    try:
        store = PreferenceStore.create(place)
    except StoreExistsError:
        store = PreferenceStore.open(place)
    with store:
        yield store


class Runs:
    """The stores of a database, each with a web application of its own, found as they appear.

    Args:
        database: its URL, without a schema.
        tokens: who may answer, in all of them.
        clip_folder, repeat_rate, purposes: see `rlhf_envs.feedback.web.create_app`.
    """

    def __init__(
        self, database: str, tokens: Tokens, clip_folder: Path, repeat_rate: float, purposes: Collection[Purpose]
    ) -> None:
        self._database, self._tokens = database, tokens
        self._clip_folder, self._repeat_rate, self._purposes = clip_folder, repeat_rate, purposes
        self.applications: dict[str, FastAPI] = {}
        self._refused: set[str] = set()

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Look for stores as long as the context lasts, and close what was opened when it ends."""
        async with AsyncExitStack() as opened:
            await self._look(opened)
            following = asyncio.create_task(self._follow(opened))
            try:
                yield
            finally:
                following.cancel()
                with suppress(asyncio.CancelledError):
                    await following

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection to a run's pages."""
        name = scope.get("path_params", {}).get("name")
        application: Any = self.applications.get(name) or JSONResponse({"detail": "There is no such run."}, 404)
        await application(scope, receive, send)

    def figures(self, person: Person) -> list[RunFigures]:
        """The runs with their figures, those with most open queries first."""
        found = []
        for name, application in list(self.applications.items()):
            try:
                overview: Overview = application.state.overview.read()
            except StoreError as failure:
                _log.warning("%s: %s", name, failure)
                continue
            progress = overview.progress(person.name)
            found.append(
                RunFigures(
                    name=name,
                    path=f"/runs/{name}",
                    environment=application.state.store.environment.id,
                    open=max(progress.asked - progress.answered, 0),
                    answered=progress.answered,
                    own_answers=progress.own_answers,
                    training=", ".join(progress.training_text()),
                    over=progress.over,
                )
            )
        return sorted(found, key=lambda run: (-run.open, run.name))

    async def _follow(self, opened: AsyncExitStack) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            try:
                await self._look(opened)
            except StoreError as failure:
                _log.warning("%s", failure)

    async def _look(self, opened: AsyncExitStack) -> None:
        for place in await asyncio.to_thread(stores_in, self._database):
            name = _schema_of(place)
            if name is None or name in self.applications or name in self._refused:
                continue
            try:
                application = await asyncio.to_thread(self._open, place, name)
            except StoreError as failure:
                _log.warning("%s", failure)  # it may be just being made
                continue
            except ValueError as refusal:
                _log.warning("The questions of %s cannot be shown: %s", name, refusal)
                self._refused.add(name)
                continue
            opened.callback(application.state.store.close)
            await opened.enter_async_context(application.router.lifespan_context(application))
            self.applications[name] = application

    def _open(self, place: str, name: str) -> FastAPI:
        store = PreferenceStore.open(place)
        try:
            if store.environment.ref is None:
                raise ValueError("the store does not say which environment its segments are from.")
            store.environment.required.make().close()
            folder = self._clip_folder / name
            return build_application(store, folder, self._repeat_rate, self._purposes, self._tokens)
        except BaseException:
            store.close()
            raise


def build_shared_application(runs: Runs, tokens: Tokens) -> FastAPI:
    """The web application of several runs: the list of them, and the pages of each.

    Args:
        runs: those that are served.
        tokens: who may see and answer them.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with runs.followed():
            yield

    app = FastAPI(title="Labelling", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.access = AccessControl(tokens, RateLimit())
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    app.add_exception_handler(StoreError, unavailable)

    @app.get("/api/runs", responses=REFUSALS)
    async def list_runs(person: AnyPerson) -> RunList:
        """The runs that ask, those with most open queries first."""
        return RunList(name=person.name, role=person.role, runs=await asyncio.to_thread(runs.figures, person))

    @app.api_route("/", methods=READ, include_in_schema=False)
    @app.api_route("/label", methods=READ, include_in_schema=False)
    @app.api_route("/dashboard", methods=READ, include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "runs.html")

    add_shared_files(app)
    app.mount("/runs/{name}", runs)
    return app


def _schema_of(place: str) -> str | None:
    found = re.search(r"[?&]schema=(\w+)", os.fspath(place))
    return None if found is None else found[1]
