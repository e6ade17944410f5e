"""The server as a process: links, warnings, a clean end; and many clients at once."""

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rlhf_envs.feedback.web as web
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.web.tokens import Tokens
from scripts.benchmarks.labelling import Labelling

_SERVE = """
import sys
from pathlib import Path
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.web import serve
with PreferenceStore.open(sys.argv[1]) as store:
    serve(store, annotators=["ann", "bob"], clip_folder=Path(sys.argv[2]), port=0, host=sys.argv[3])
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_prints_a_link_for_each_and_ends_cleanly(
    store: PreferenceStore, tmp_path: Path, ending: signal.Signals
) -> None:
    Tokens(store).create("bob")
    command = [sys.executable, "-c", _SERVE, str(tmp_path / "feedback.db"), str(tmp_path / "clips"), "127.0.0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        lines = [server.stdout.readline() for _ in range(4)]
        assert re.search(r"dashboard: http://127\.0\.0\.1:\d+/dashboard#token=\S{40,}$", lines[0])
        link = re.search(r"link of ann: (http://127\.0\.0\.1:\d+/label)#token=(\S{40,})$", lines[1])
        assert link is not None
        assert "bob keeps the link from before" in lines[2]
        with urllib.request.urlopen(link[1]) as page:
            assert b"label.js" in page.read()
        server.send_signal(ending)
        rest, complaints = server.communicate(timeout=60)
    assert "Every answer that was acknowledged is in the store" in rest
    assert complaints == ""
    assert server.returncode in (0, -ending)
    assert Tokens(store).find(link[2]) is not None


def test_a_server_for_other_machines_warns_that_nothing_is_encrypted(store: PreferenceStore, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SERVE, str(tmp_path / "feedback.db"), str(tmp_path / "clips"), "0.0.0.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "nothing that is sent is encrypted" in server.stderr.readline()
        os.kill(server.pid, signal.SIGTERM)
        server.communicate(timeout=60)


_STOPPED_EARLY = """
import os, signal, uvicorn
run = uvicorn.Server.run
def run_late(server, **settings):
    os.kill(os.getpid(), signal.SIGTERM)
    run(server, **settings)
uvicorn.Server.run = run_late
"""


def test_a_server_that_is_stopped_while_it_starts_ends_too(store: PreferenceStore, tmp_path: Path) -> None:
    code = _STOPPED_EARLY + _SERVE
    command = [sys.executable, "-c", code, str(tmp_path / "feedback.db"), str(tmp_path / "clips"), "127.0.0.1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Stopped." in ended.stdout
    assert ended.stderr == ""


def test_bad_settings_are_refused_in_a_sentence(store: PreferenceStore, tmp_path: Path) -> None:
    def serve(**changed: Any) -> None:
        web.serve(store, **{"annotators": ["ann"], "clip_folder": tmp_path / "clips", "port": 0} | changed)

    (tmp_path / "file").write_text("")
    for changed, said in (
        ({"annotators": []}, "at least one annotator"),
        ({"annotators": ["a/b"]}, "A name has"),
        ({"port": 10**6}, "Nothing can listen"),
        ({"repeat_rate": 2.0}, "repeat_rate"),
        ({"clip_folder": tmp_path / "file" / "clips"}, "cannot be made"),
    ):
        with pytest.raises(ValueError, match=said):
            serve(**changed)


def test_without_the_extra_a_sentence_says_what_to_install(
    store: PreferenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.serving, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'rlhf-envs\[web\]'"):
        web.create_app(store, clip_folder=tmp_path)


def test_many_clients_at_full_speed_lose_and_double_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as elsewhere:  # the browser of other tests keeps an event loop in this thread
        figures = elsewhere.submit(Labelling(clients=8, queries=120).measure, tmp_path, print).result()
    assert (figures["lost"], figures["doubled"]) == (0, 0)
    assert len(figures["milliseconds"]) > 60


def test_a_new_link_is_valid_though_others_are_just_being_read(
    store: PreferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(store)
    read, was_read, go_on = store.database.read, threading.Event(), threading.Event()

    def read_slowly(work: Any) -> Any:
        found = read(work)
        if threading.current_thread() is slow:
            was_read.set()
            assert go_on.wait(10)
        return found

    monkeypatch.setattr(store.database, "read", read_slowly)
    made: list[str] = []
    slow = threading.Thread(target=tokens.people)
    creating = threading.Thread(target=lambda: made.append(tokens.create("ann")))
    slow.start()
    assert was_read.wait(10)
    creating.start()
    creating.join(0.3)
    go_on.set()
    for thread in (slow, creating):
        thread.join(10)
    assert tokens.is_fresh(made[0])
