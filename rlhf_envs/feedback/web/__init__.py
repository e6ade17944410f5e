"""The web page: people answer the queries of a store from any browser, each by a personal link.

Needs the extra `web` (FastAPI and uvicorn), which is imported only when a page is really made.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.queries import Purpose

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["create_app", "serve"]


def create_app(
    store: PreferenceStore, *, clip_folder: Path, repeat_rate: float = 0.0, purposes: Collection[Purpose] = QUEUE
) -> FastAPI:
    """The web application on a store.

    Args:
        store: whose queries are answered. It stays open while the application is used.
        clip_folder: where films of segments are kept; made if it is missing, and safe to delete.
        repeat_rate: how often, from 0 to 1, an answer is followed by a pair that the same person answered before.
        purposes: only queries of these are shown. New annotators practise first where they include training.

    Raises:
        ValueError: if the extra is not installed, or a setting makes no sense.
    """
    _require_extra()
    from rlhf_envs.feedback.web.application import build_application

    return build_application(store, clip_folder=clip_folder, repeat_rate=repeat_rate, purposes=purposes)


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
) -> None:
    """Print a personal link for each annotator and one for the owner, then serve until Ctrl-C or SIGTERM.

    An annotator who has a link already keeps it, so that pages that are open somewhere go on working when the server
    is started again. It cannot be shown again, only renewed.

    Args:
        store: whose queries are answered.
        annotators: the names of those who answer.
        clip_folder, repeat_rate, purposes: see `create_app`.
        host: the address to listen at; anything but this machine's own prints a warning.
        port: where to listen; 0 for any free port.
        renew: names of annotators whose old link shall end and who get a new one.

    Raises:
        ValueError: if the extra is not installed, a name or setting makes no sense, or the port is taken.
    """
    _require_extra()
    from rlhf_envs.feedback.web.serving import serve_until_stopped

    serve_until_stopped(
        store,
        annotators=annotators,
        clip_folder=clip_folder,
        host=host,
        port=port,
        repeat_rate=repeat_rate,
        renew=renew,
        purposes=purposes,
    )


def _require_extra() -> None:
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ValueError(f"The web page needs {' and '.join(missing)}: pip install 'rlhf-envs[web]'.")
