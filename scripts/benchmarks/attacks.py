"""Attacks on what the library reads and serves, each with how often it was tried and how often it succeeded."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.feedback.practice import practice_pairs
from scripts.benchmarks import Log
from scripts.benchmarks.damage import fuzz_archives, fuzz_folders, fuzz_stores
from scripts.benchmarks.floods import EndlessHeader, Flood, HalfSentHeads, friendly_latency
from scripts.benchmarks.labelling import ENVIRONMENT, ask, serving

ROLES = ("annotator", "owner", "stranger")

_CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
_OPERATIONS = 22  # each in a sensible and a senseless form
_QUICK_MS = 50.0
_RUN = (
    *("--env", "rlhf/Driving-v1", "--env-kwargs", '{"horizon": 20}', "--timesteps", "256", "--answers", "8"),
    *("--segment-length", "5", "--visit-every", "1", "--learner.num-envs", "4", "--learner.n-steps", "16"),
    *("--learner.batch-size", "64", "--learner.n-epochs", "1", "--learner.net-arch", "8", "--ensemble.hidden", "8"),
    *("--fit.steps", "10", "--evaluation-episodes", "2"),
)


@dataclass(frozen=True)
class Attack:
    """What was attacked, how often, and how that ended.

    Attributes:
        name: of the attack.
        tried: how often.
        failed: how often the library did something else than to work or to refuse in a sentence.
        note: more about it.
        failures: what happened.
    """

    name: str
    tried: int
    failed: int
    note: str = ""
    failures: list[str] = field(default_factory=list)


def attack_files(folder: Path, stores: int, folders: int, archives: int, seed: int, log: Log) -> Iterator[Attack]:
    """Damage so many copies of a store, of an archive and of the folder of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    run = folder / "run"
    if folders and not run.exists():
        command = [sys.executable, "-m", "scripts.train", "--run-dir", str(run), *_RUN]
        subprocess.run(command, check=True, capture_output=True)
    for name, count in (("stores", stores), ("run folders", folders), ("archives", archives)):
        if not count:
            continue
        began = time.monotonic()
        if name == "stores":
            found = fuzz_stores(folder / "stores", count, seed)
        elif name == "archives":
            found = fuzz_archives(folder / "archives", count, seed)
        else:
            found = fuzz_folders(run, folder / "folders", count, seed)
        seconds = time.monotonic() - began
        log(f"{found.tried} damaged {name}: {len(found.failures)} failed, {seconds:.0f} s")
        note = f"{found.refused:,} refused in a sentence, the others harmless"
        yield Attack(f"damaged and forged {name}", found.tried, len(found.failures), note, found.failures)


def attack_over_http(folder: Path, requests: int, log: Log) -> Iterator[Attack]:
    """Send generated requests, sensible and senseless, as an annotator, as the owner and as a stranger."""
    folder.mkdir(parents=True, exist_ok=True)
    sent, failures = 0, []
    examples = -(-requests // (len(ROLES) * _OPERATIONS))
    for role in ROLES:
        place = folder / f"{role}.db"
        place.unlink(missing_ok=True)
        with PreferenceStore.create(place, ENVIRONMENT) as store:
            ask(store, 6)
            with served(store, folder / "clips") as (port, token):
                # Until as many have been sent: some operations know fewer ways to be called.
                while sent < requests * (ROLES.index(role) + 1) // len(ROLES):
                    found = send_generated(port, token(role), examples, seed=sent)
                    sent += sum(found.statuses.values())
                    failures += found.failures
                    log(f"{sent:,} requests up to the {role}'s: {len(failures)} failed")
                    if not found.statuses:
                        break
    if requests:
        yield Attack("generated requests over HTTP", sent, len(failures), "no server error, all as described", failures)


@dataclass
class Sent:
    """Generated requests: how many were answered by each (operation, status), and what was wrong."""

    statuses: dict[tuple[str, int], int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def send_generated(port: int, token: str, examples: int, seed: int = 0) -> Sent:
    """Send up to so many requests of each operation and form that a server describes; check every response.

    Raises:
        ValueError: if schemathesis is not installed.
    """
    try:
        import schemathesis
        from hypothesis import HealthCheck, Phase, given, settings
        from hypothesis import seed as seeded
        from hypothesis.errors import Unsatisfiable
    except ImportError as error:
        raise ValueError(f"Requests are generated by schemathesis: pip install schemathesis ({error}).") from error
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/api/openapi.json")
    schemathesis.checks.load_all_checks()
    checks = schemathesis.checks.CHECKS.get_by_names(_CHECKS)
    sent = Sent()

    def send(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        key = (case.operation.label, response.status_code)
        sent.statuses[key] = sent.statuses.get(key, 0) + 1
        try:
            case.validate_response(response, checks=checks)
        except Exception as problem:  # whatever a check raises, each is another failure
            sent.failures.append(f"{key}: {problem}"[:500])

    quick = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    operations: Any = schema.get_all_operations()
    for found in operations:
        for mode in schemathesis.GenerationMode:
            try:
                seeded(seed)(quick(given(case=found.ok().as_strategy(generation_mode=mode))(send)))()
            except Unsatisfiable:
                continue  # there is nothing in this operation that could be sent wrongly
    return sent


@contextmanager
def served(store: PreferenceStore, clips: Path) -> Iterator[tuple[int, Any]]:
    """Serve a store from a thread of this process, without limits of rate; its port, and tokens by role."""
    import socket

    import uvicorn

    from rlhf_envs.feedback.web import create_app
    from rlhf_envs.feedback.web.access import RateLimit
    from rlhf_envs.feedback.web.connections import limited_config
    from rlhf_envs.feedback.web.tokens import OWNER, Tokens

    tokens = Tokens(store)
    # Somebody who has answered before gets no practice.
    [earlier] = store.ask([Query("earlier", 0, store.queries()[0].segments, only_for="ann")])
    store.answer(earlier, "ann", "left")

    def token(role: str) -> str:
        if role == "stranger":
            return "no-token-of-anybody"
        return tokens.create("ann") if role == "annotator" else tokens.create(OWNER, OWNER)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(store, clip_folder=clips, answers_per_minute=0)
        app.state.access._rate = RateLimit(per_second=1e9, burst=1e9)
        server = uvicorn.Server(limited_config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], token
        finally:
            server.should_exit = True
            thread.join(20)


def attack_by_floods(folder: Path, requests: int, log: Log) -> Iterator[Attack]:
    """Flood a server in another process, and send requests of a friendly client meanwhile."""
    if not requests:
        return
    folder.mkdir(parents=True, exist_ok=True)
    practice_pairs(ENVIRONMENT, 1)
    place = folder / "floods.db"
    place.unlink(missing_ok=True)
    with PreferenceStore.create(place, ENVIRONMENT) as store:
        ask(store, 50)
    floods: dict[str, Flood | None] = {
        "no flood": None,
        "a header without end": EndlessHeader(),
        "1,100 half-sent heads": HalfSentHeads(1100),
    }
    for name, flood in floods.items():
        with serving(str(place), clients=1) as (port, [token]):
            friendly_latency(port, token, 10)
            with nullcontext() if flood is None else flood.against(port):
                milliseconds = friendly_latency(port, token, requests)
        median, worst = float(np.median(milliseconds)), max(milliseconds)
        log(f"{name}: {median:.1f} ms")
        note = f"a friendly client's median {median:.1f} ms, longest {worst:.0f} ms"
        slow = [] if median <= _QUICK_MS or flood is None else [note]
        yield Attack(f"requests under {name}", len(milliseconds), len(slow) * len(milliseconds), note, slow)
