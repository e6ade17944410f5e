"""How fast the web page serves many annotators at once, and whether any answer is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Purpose, Query
from rlhf_envs.feedback.practice import practice_pairs
from scripts.benchmarks import Log, markdown_table, require_positive

ENVIRONMENT = StoredEnvironment(EnvironmentRef("rlhf/Driving-v1"), 25)
FEWEST_AHEAD = 4
"""The page asks for more queries when it has fewer than these left; so do the clients here."""

_START_SECONDS = 60.0
_LONGEST_PACE = 60.0


@dataclass(frozen=True)
class Labelling:
    """Let scripted clients answer over HTTP as fast as they can.

    Each does what the page does: it prefetches a few queries, sends an answer, and asks for more at the same time when
    it has few left. The time to the next query runs from sending an answer until that is acknowledged and the next
    query is there; the next answer is sent at once. Films of the queries are made meanwhile, as they are for people.

    Attributes:
        clients: how many at once, each with a token of its own.
        queries: how many comparisons they answer together.
        pace: seconds that each looks at a query before answering it, as people do; they begin at moments of their own
            within that time. With 0 the next answer is sent at once.
        store: SQLAlchemy URL of an empty database, such as PostgreSQL's; by default an SQLite file.
    """

    name: ClassVar[str] = "labelling"
    clients: int = 20
    queries: int = 1000
    pace: float = 0.0
    store: str | None = None

    def __post_init__(self) -> None:
        require_positive(self, "clients", "queries")
        if not 0 <= self.pace <= _LONGEST_PACE:
            raise ValueError(f"pace is a number of seconds from 0 to {_LONGEST_PACE:g}, not {self.pace}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Serve a new store in another process, and have clients of this one answer all of its queries.

        Returns:
            The milliseconds from sending an answer to having the next query, for every answer that had a next one; the
            answers per second of all clients; how many acknowledged answers were lost; and how many were doubled:
            queries with more than one answer of the same annotator, and answers that no client sent. At a speed at
            which no person answers, two may answer the same one that changed hands meanwhile; both answers count.
        """
        log(f"{self.clients} clients answer {self.queries} comparisons")
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as folder:
            place = self.store or str(Path(folder, "feedback.db"))
            with PreferenceStore.create(place, ENVIRONMENT) as store:
                ask(store, self.queries)
            with serving(place, self.clients) as (port, tokens):
                started = time.perf_counter()
                acknowledged, waits = asyncio.run(_answer_all(port, tokens, self.queries, self.pace))
                seconds = time.perf_counter() - started
            with PreferenceStore.open(place) as store:
                live = store.live_answers(Purpose.TRAIN)
        stored, sent = {answer.id for answer in live}, set(acknowledged)
        return {
            "database": "PostgreSQL" if place.startswith("postgresql") else "SQLite",
            "clients": self.clients,
            "pace": self.pace,
            "milliseconds": [round(1000 * wait, 2) for wait in waits],
            "answers_per_second": round(len(acknowledged) / seconds, 1),
            "lost": len(sent - stored),
            "doubled": len(live) - len({(answer.query_id, answer.annotator) for answer in live}) + len(stored - sent),
        }

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row."""
        waits = np.array(measured["milliseconds"])
        row = {
            "store": measured["database"],
            "clients": str(measured["clients"]),
            "s to look at each": f"{measured['pace']:g}",
            "answers / s": f"{measured['answers_per_second']:.0f}",
            "ms to the next query, median": f"{np.median(waits):.1f}",
            "95%": f"{np.percentile(waits, 95):.1f}",
            "lost / doubled": f"{measured['lost']} / {measured['doubled']}",
        }
        return markdown_table([row])


@contextmanager
def serving(url_or_path: str, clients: int) -> Iterator[tuple[int, list[str]]]:
    """Serve a store in another process; its port, and a token for each client."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as clips:
        server = context.Process(target=_serve, args=(url_or_path, clips, clients, theirs), daemon=True)
        server.start()
        try:
            if not ours.poll(_START_SECONDS):
                raise RuntimeError("The server did not start within a minute.")
            yield ours.recv()
        finally:
            server.terminate()
            server.join(10)


def ask(store: PreferenceStore, queries: int) -> None:
    """Ask so many comparisons of driving in a store whose environment is `ENVIRONMENT`."""
    pairs = practice_pairs(ENVIRONMENT, 8)
    segments = [segment for pair in pairs for segment in (pair.good, pair.bad)]
    count = len(segments)
    store.ask(
        [
            Query(f"{number}", 0, (segments[number % count], segments[(number // count + number + 1) % count]))
            for number in range(queries)
        ]
    )


def _serve(url_or_path: str, clips: str, clients: int, pipe: Connection) -> None:
    import uvicorn

    from rlhf_envs.feedback.web import create_app
    from rlhf_envs.feedback.web.connections import limited_config
    from rlhf_envs.feedback.web.tokens import Tokens

    with PreferenceStore.open(url_or_path) as store, socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(store, clip_folder=Path(clips), answers_per_minute=0)
        made = Tokens(store)
        pipe.send((listener.getsockname()[1], [made.create(f"client {number}") for number in range(clients)]))
        uvicorn.Server(limited_config(app)).run(sockets=[listener])


async def _answer_all(port: int, tokens: list[str], queries: int, pace: float) -> tuple[list[int], list[float]]:
    """Ids of the acknowledged answers, and the seconds to each next query."""
    acknowledged: list[int] = []
    waits: list[float] = []
    annotators = [_Client(port, token) for token in tokens]
    await asyncio.gather(*(client.begin() for client in annotators))
    places = (number / len(annotators) for number in range(len(annotators)))
    answering = (
        client.answer_until(queries, acknowledged, waits, pace, pace * place)
        for client, place in zip(annotators, places, strict=True)
    )
    await asyncio.gather(*answering)
    await asyncio.gather(*(client.close() for client in annotators))
    return acknowledged, waits


class _Connection:
    """A connection that is opened again where the server has closed it because it was idle, as browsers do.

    Args:
        port: of the server.
        reader, writer: its first streams.
    """

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self.reader, self._writer = port, reader, writer

    @classmethod
    async def to(cls, port: int) -> _Connection:
        return cls(port, *await asyncio.open_connection("127.0.0.1", port))

    async def head_after(self, request: bytes) -> str:
        """Send a request that may be sent twice; the lower-case head of its response."""
        while True:
            try:
                self._writer.write(request)
                return (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                    raise
            await self.close()
            self.reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class _Client:
    """One annotator's connection, persistent like a browser's."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        self._queries: list[int] = []
        self._answered: set[int] = set()
        self._fetching: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Connect, and go through the practice round, which is not measured."""
        self._for_answers = await _Connection.to(self._port)
        self._for_queries = await _Connection.to(self._port)
        while True:
            listed = (await self._request(self._for_queries, "GET", "/api/queries"))["queries"]
            if not listed or listed[0]["practice"] is None:
                self._queries = [query["id"] for query in listed]
                return
            for query in listed:
                await self._answer(query["id"])

    async def answer_until(
        self, queries: int, acknowledged: list[int], waits: list[float], pace: float, first_after: float
    ) -> None:
        """Answer until there are as many answers as queries, each `pace` seconds after its query was there."""
        await asyncio.sleep(first_after)
        while len(acknowledged) < queries:
            if not self._queries:
                await self._fetch()
                await asyncio.sleep(0 if self._queries else 0.05)
                continue
            query = self._queries.pop(0)
            self._answered.add(query)
            if len(self._queries) < FEWEST_AHEAD and (self._fetching is None or self._fetching.done()):
                self._fetching = asyncio.create_task(self._fetch())
            sent = time.perf_counter()
            acknowledged.append(await self._answer(query))
            if not self._queries and self._fetching is not None:
                await self._fetching
            if self._queries:
                waits.append(time.perf_counter() - sent)
            await asyncio.sleep(pace)
        if self._fetching is not None:
            await self._fetching

    async def close(self) -> None:
        """Close the connections."""
        for connection in (self._for_answers, self._for_queries):
            await connection.close()

    async def _fetch(self) -> None:
        listed = (await self._request(self._for_queries, "GET", "/api/queries"))["queries"]
        self._queries = [query["id"] for query in listed if query["id"] not in self._answered]

    async def _answer(self, query: int) -> int:
        now = time.time()
        body = {"query": query, "choice": "left", "token": secrets.token_hex(8), "shown_at": now, "answered_at": now}
        return int((await self._request(self._for_answers, "POST", "/api/answers", body))["answer"])

    async def _request(
        self, connection: _Connection, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        length = f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if content else ""
        while True:
            sent = f"{method} {path} HTTP/1.1\r\n{self._head}{length}\r\n".encode() + content
            head = await connection.head_after(sent)
            size = int(head.split("content-length:")[1].split("\r\n")[0])
            answered = json.loads(await connection.reader.readexactly(size))
            status = int(head.split(" ")[1])
            if status == 200:
                return dict(answered)
            if status != 429:
                raise RuntimeError(f"{method} {path} was answered with {status}: {answered}")
            await asyncio.sleep(0.1)
