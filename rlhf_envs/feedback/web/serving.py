"""Makes the web application and runs it: prints the links, listens, and stops cleanly."""

from __future__ import annotations

import html
import io
import math
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

from rlhf_envs.feedback.progress import GRACE_SECONDS, is_finished
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.web.tokens import ANNOTATOR, OWNER, Tokens, check_name, is_loopback, is_loopback_address
from rlhf_envs.queries import Purpose
from rlhf_envs.terminal import leave_terminal, with_hangup

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

_SECONDS_TO_FINISH = 5
_WATCH_SECONDS = 0.5
_SECONDS_TO_LEARN = 5.0
_AWAY_SECONDS = 60.0
_LAST_PORT = 65535


def create_app(
    store: PreferenceStore,
    *,
    clip_folder: Path,
    repeat_rate: float = 0.0,
    purposes: Collection[Purpose] = QUEUE,
    answers_per_minute: float = 60.0,
    base_url: str = "",
    framed_by: str = "'none'",
) -> FastAPI:
    """The web application on a store.

    Args:
        store: whose queries are answered. It stays open while the application is used.
        clip_folder: where films of segments are stored; made if it is missing, and safe to delete.
        repeat_rate: how often, from 0 to 1, an answer is followed by a pair that the same person answered before.
        purposes: only queries of these are shown. New annotators practise first where they include training.
        answers_per_minute: how fast anybody may answer for long, so that a link in wrong hands does not use up the
            queue; a minute's worth may come at once. With 0 there is no limit.
        base_url: where people reach the page if it stands behind a proxy, such as "https://lab.example.org/study"; the
            page itself works beneath any path.
        framed_by: pages that may show this one in a frame, as a Content-Security-Policy names them; by default none.

    Raises:
        ValueError: if the extra is not installed, or a setting makes no sense.
    """
    base_url = checked_url(base_url)
    if not 0 <= answers_per_minute < math.inf:
        raise ValueError(f"answers_per_minute must be 0 or more, and finite, not {answers_per_minute}.")
    _require_extra()
    from rlhf_envs.feedback.web.application import build_application

    return build_application(
        store,
        clip_folder,
        repeat_rate,
        purposes,
        answers_per_minute=answers_per_minute,
        base_url=base_url,
        framed_by=framed_by,
    )


def checked_url(base_url: str) -> str:
    """The public address of a page without a slash at its end; empty where none is given.

    Raises:
        ValueError: if it is no address of a page.
    """
    parts = urlsplit(base_url)
    if base_url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
        raise ValueError(
            f"A public address looks like https://lab.example.org/study, without query and fragment, not {base_url!r}."
        )
    return base_url.rstrip("/")


def _require_extra() -> None:
    missing = [name for name in ("fastapi", "uvicorn", "segno") if find_spec(name) is None]
    if missing:
        raise ValueError(f"The web page needs {' and '.join(missing)}: pip install 'rlhf-envs[web]'.")


def serve(
    store: PreferenceStore,
    *,
    annotators: Sequence[str],
    clip_folder: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    repeat_rate: float = 0.0,
    renew: Sequence[str] = (),
    purposes: Collection[Purpose] = QUEUE,
    until_finished: bool = False,
    answers_per_minute: float = 60.0,
    base_url: str = "",
) -> None:
    """Print a personal link for each annotator and one for the owner, then serve until Ctrl-C, SIGTERM or SIGHUP.

    An annotator who has a link already keeps it, so that open pages go on working when the server is started again.
    It cannot be shown again, only renewed.

    Args:
        store: whose queries are answered.
        annotators: the names of those who answer.
        clip_folder, repeat_rate, purposes, answers_per_minute: see `create_app`.
        host: the address to listen at; anything but this machine's own prints a warning.
        port: where to listen; 0 for any free port.
        renew: names of annotators who get a new link; their old one ends.
        until_finished: stop by itself once the training has finished and everybody who has the page open has read how
            it ended, or `GRACE_SECONDS` later.
        base_url: see `create_app`; the links begin with it. A QR code for a phone goes with each new link that leads to
            more than this machine.

    Raises:
        ValueError: if the extra is not installed, a name or setting makes no sense, or the port is taken.
    """
    _check_people(annotators, renew)
    base_url = checked_url(base_url)
    app = create_app(
        store,
        clip_folder=clip_folder,
        repeat_rate=repeat_rate,
        purposes=purposes,
        answers_per_minute=answers_per_minute,
        base_url=base_url,
    )
    service = app.state.service

    def watch(server: uvicorn.Server) -> None:
        _stop_after_the_end(server, store, lambda: service.somebody_is_here(_AWAY_SECONDS))

    _run(app, Tokens(store), annotators, renew, host, port, base_url, watch if until_finished else None)


def serve_several(
    database: str,
    *,
    annotators: Sequence[str],
    clip_folder: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    repeat_rate: float = 0.0,
    renew: Sequence[str] = (),
    purposes: Collection[Purpose] = QUEUE,
    base_url: str = "",
) -> None:
    """`serve` for all stores in the schemas of a PostgreSQL database, those that are made later as well.

    Each annotator has one link, which shows the runs that ask.

    Args:
        database: its URL, without a schema.
        annotators, clip_folder, host, port, repeat_rate, renew, purposes, base_url: as for `serve`.

    Raises:
        ValueError: as `serve`, or if it is no such database.
        StoreError: if it cannot be used.
    """
    _check_people(annotators, renew)
    _require_extra()
    from rlhf_envs.feedback.web.several import Runs, build_shared_application, people_of

    with people_of(database) as people:
        tokens = Tokens(people)
        runs = Runs(database, tokens, clip_folder, repeat_rate, purposes)
        _run(build_shared_application(runs, tokens), tokens, annotators, renew, host, port, checked_url(base_url))


def _check_people(annotators: Sequence[str], renew: Sequence[str]) -> None:
    if not annotators:
        raise ValueError("Name at least one annotator who shall get a personal link, such as their initials.")
    for name in (*annotators, *renew):
        check_name(name)


def _run(
    app: FastAPI,
    tokens: Tokens,
    annotators: Sequence[str],
    renew: Sequence[str],
    host: str,
    port: int,
    base_url: str,
    watch: Callable[[uvicorn.Server], None] | None = None,
) -> None:
    """Print the links, and serve until the process is asked to stop, or `watch` stops the server."""
    import uvicorn

    from rlhf_envs.feedback.web.connections import limited_config

    server = uvicorn.Server(limited_config(app, timeout_graceful_shutdown=_SECONDS_TO_FINISH))
    # Who has read the links may stop the server at once.
    with _listen(host, port) as listener, _stopped_by_signals(server):
        for line in _make_links(tokens, base_url or f"http://{_address(listener)}", annotators, renew):
            _print(line, sys.stdout)
        if not is_loopback(host):
            _print(
                f"Warning: everyone who can reach {host} can reach this page, and nothing that is sent is encrypted; "
                "rather listen on 127.0.0.1 and put a proxy with TLS, or an SSH tunnel, in front of it.",
                sys.stderr,
            )
        if watch is not None:
            threading.Thread(target=watch, args=(server,), daemon=True).start()
        server.run(sockets=[listener])
    _print("Stopped. Every answer that was acknowledged is in the store.", sys.stdout)


class NotebookPage:
    """The labelling page in the output of a notebook's cell; made by `show_page`.

    Attributes:
        link: the personal link that it shows, for another window or machine.
        height: of the frame, in pixels.
    """

    def __init__(self, link: str, height: int, close: Callable[[], None]) -> None:
        self.link = link
        self.height = height
        self._close = close

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self.height}px; border: 0; border-radius: 8px"
        return f'<iframe src="{html.escape(self.link)}" title="Labelling page" style="{style}"></iframe>'

    def close(self) -> None:
        """Stop the page's server. Every answer that was acknowledged is in the store."""
        self._close()


def show_page(
    store: PreferenceStore,
    annotator: str = "you",
    *,
    port: int = 0,
    base_url: str = "",
    repeat_rate: float = 0.0,
    height: int = 760,
) -> NotebookPage:
    """Show the labelling page in a notebook while training goes on in its kernel.

    As the last line of a cell it shows the page below that cell; a cell further down then trains, such as
    `model.learn(..., callback=PreferenceCallback(env, store, annotator=None))`. The server runs in a thread of this
    process and ends with it, or with `close`.

    Args:
        store: whose queries are answered, such as `callback.loop.store`.
        annotator: the name of the person; a link that they had before ends.
        port: where to listen on this machine; 0 for any free port.
        base_url: where a browser on another machine reaches that port, such as by jupyter-server-proxy:
            "https://hub.example.org/user/me/proxy/8000".
        repeat_rate: how often, from 0 to 1, an answer is followed by a pair that was answered before.
        height: of the frame, in pixels.

    Raises:
        ValueError: if the extra `web` is not installed, the name or a setting makes no sense, or the port is taken.
    """
    check_name(annotator)
    folder = tempfile.TemporaryDirectory(prefix="rlhf-envs-clips-")
    app = create_app(store, clip_folder=Path(folder.name), repeat_rate=repeat_rate, base_url=base_url, framed_by="*")
    import uvicorn

    from rlhf_envs.feedback.web.connections import limited_config

    listener = _listen("127.0.0.1", port)
    server = uvicorn.Server(limited_config(app, timeout_graceful_shutdown=_SECONDS_TO_FINISH, log_level="error"))
    thread = threading.Thread(target=server.run, args=([listener],), name="labelling-page", daemon=True)
    thread.start()

    def close() -> None:
        server.should_exit = True
        thread.join(2 * _SECONDS_TO_FINISH)
        listener.close()
        folder.cleanup()

    base = checked_url(base_url) or f"http://{_address(listener)}"
    return NotebookPage(f"{base}/label#token={Tokens(store).create(annotator)}", height, close)


def _stop_after_the_end(server: uvicorn.Server, store: PreferenceStore, somebody_is_here: Callable[[], bool]) -> None:
    """Stop a server once the training has finished and nobody needs it any more."""
    while not is_finished(store):
        time.sleep(_WATCH_SECONDS)
    give_up_at = time.monotonic() + GRACE_SECONDS
    # Pages ask every few seconds; those that are open learn of the end within that time.
    time.sleep(_SECONDS_TO_LEARN)
    while somebody_is_here() and time.monotonic() < give_up_at:
        time.sleep(_WATCH_SECONDS)
    server.should_exit = True


@contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """uvicorn stops cleanly on a signal and raises it once more; that must end the serving, not the process.

    A signal that arrives before uvicorn has installed its handlers stops it too.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()

    def end(number: int, frame: object) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        server.should_exit = True

    numbers = with_hangup(signal.SIGTERM) if in_main_thread else []
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_links(tokens: Tokens, base: str, annotators: Sequence[str], renew: Sequence[str]) -> list[str]:
    """Make the links that are missing or to be renewed; the lines that say which link is for whom."""
    people = {person.name: person for person in tokens.people() if person.role == ANNOTATOR}
    lines = [f"The owner's dashboard: {base}/dashboard#token={tokens.create(OWNER, OWNER)}"]
    for name in dict.fromkeys([*annotators, *renew]):
        if name in people and name not in renew:
            lines.append(
                f"{name} keeps the link from before; if it is lost, the dashboard makes a new one, or rlhf-envs label "
                f"with --renew {name}."
            )
        else:
            link = f"{base}/label#token={tokens.create(name)}"
            lines.append(f"The personal link of {name}: {link}")
            if not is_loopback_address(link):
                lines.append(_qr_text(link))
    return [*lines, "Anyone who has a link can answer under its name. Ctrl-C stops."]


def _qr_text(link: str) -> str:
    """A QR code of half blocks, two rows of squares in a line, light on whatever colour the terminal has."""
    import segno

    drawn = io.StringIO()
    segno.make(link, micro=False).terminal(out=drawn, border=2, compact=True)
    return drawn.getvalue().rstrip("\n")


def _print(line: str, stream: TextIO) -> None:
    stream.write(line + "\n")
    stream.flush()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= _LAST_PORT:
        raise ValueError(f"Nothing can listen at port {port}; name one from 1 to {_LAST_PORT}, or 0 for any free one.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"Nothing can listen at {host} port {port} ({error}); name another port, or 0 for any free one."
        ) from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = _own_address() or host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _own_address() -> str | None:
    """The address by which other machines reach this one; None where it has none."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("192.0.2.1", 9))  # sends nothing, but chooses the network device
        return str(out.getsockname()[0])
    return None
