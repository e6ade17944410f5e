"""A store that cannot be written, and a window that is killed: nothing is lost, nothing is stored twice."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pygame
from sqlalchemy import Engine, event

import rlhf_envs
from rlhf_envs.feedback import AnnotatorSession, Choice, PreferenceStore

Ask = Callable[..., list[int]]

WINDOW = """
import sys, threading, time
import pygame
from rlhf_envs.feedback import AnnotatorSession, PreferenceStore
from rlhf_envs.feedback.window import label_in_window

def press():
    while not pygame.display.get_init():
        time.sleep(0.01)
    while True:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LEFT))
        time.sleep(0.02)

class Telling(AnnotatorSession):
    def submit(self, submission):
        id = super().submit(submission)
        print(submission.query_id, flush=True)
        return id

with PreferenceStore.open(sys.argv[1]) as store:
    threading.Thread(target=press, daemon=True).start()
    label_in_window(Telling(store, "ann"), size=(640, 440))
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


def test_answers_to_a_locked_store_are_kept_and_stored_once_when_it_is_free(
    ask: Ask, open_for_user: Any, path: Path
) -> None:
    ask("a", "b", "c")
    user = open_for_user("a")
    with locked(path):
        user.press(pygame.K_LEFT)
        user.sees("b")
        user.press(pygame.K_RIGHT)
        user.until(lambda: "locked by another process" in (user.view.banner or ""))
        assert "2 answers are kept here" in user.view.banner and user.query == "c"
        time.sleep(1.2)  # several attempts fail
        user.ticks()
        assert user.answers() == []
    assert [answer.choice for answer in user.stored(2)] == [Choice.LEFT, Choice.RIGHT]
    user.until(lambda: user.view.banner is None)
    assert user.query == "c"
    rows, _ = user.session.store.read_since(0)
    assert len(rows) == 2


def test_an_answer_that_could_not_be_stored_can_be_taken_back_and_changed(
    ask: Ask, open_for_user: Any, path: Path
) -> None:
    ask("a", "b")
    user = open_for_user("a")
    with locked(path):
        user.press(pygame.K_LEFT)
        user.sees("b")
        user.until(lambda: user.view.banner)
        user.press(pygame.K_BACKSPACE)
        user.sees("a")
        user.press(pygame.K_RIGHT)
        user.sees("b")
    user.until(lambda: [answer.choice for answer in user.answers()] == [Choice.RIGHT])
    user.until(lambda: user.view.banner is None)
    assert user.query == "b"


def test_a_full_disk_is_told_and_the_answer_stored_when_there_is_room(ask: Ask, open_for_user: Any) -> None:
    ask("a", "b")
    user = open_for_user("a")
    full = True

    def fail(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if full and statement.startswith("INSERT INTO answers"):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"  # type: ignore[misc]
            raise error

    event.listen(Engine, "before_cursor_execute", fail)
    try:
        user.press(pygame.K_LEFT)
        user.until(lambda: "is full; free some space" in (user.view.banner or ""))
        assert "1 answer is kept here" in user.view.banner
        full = False
        assert user.stored(1)[0].choice is Choice.LEFT
    finally:
        event.remove(Engine, "before_cursor_execute", fail)


def test_leaving_with_unsaved_answers_must_be_wanted_twice(ask: Ask, open_for_user: Any, path: Path) -> None:
    ask("a", "b")
    user = open_for_user("a")
    with locked(path):
        user.press(pygame.K_LEFT)
        user.until(lambda: user.view.banner)
        user.press(pygame.K_ESCAPE)
        assert not user.window.screen.closed and "press Escape again" in user.view.banner
        warned = time.perf_counter()
        user.until(lambda: time.perf_counter() > warned + 0.15)
        user.press(pygame.K_ESCAPE)
        assert user.window.screen.closed


def test_closing_the_window_counts_as_wanting_it_once(ask: Ask, open_for_user: Any, path: Path) -> None:
    ask("a", "b")
    user = open_for_user("a")
    with locked(path):
        user.press(pygame.K_LEFT)
        user.until(lambda: user.view.banner)
        for kind in (pygame.WINDOWCLOSE, pygame.QUIT):
            pygame.event.post(pygame.event.Event(kind))
        user.ticks(2)
        assert not user.window.screen.closed


def test_queries_of_a_closed_window_are_free_for_others(store: PreferenceStore, ask: Ask, open_for_user: Any) -> None:
    ask("a", "b", "c")
    user = open_for_user("a")
    assert store.take_many("bob", 3) == []
    user.press(pygame.K_LEFT, pygame.K_ESCAPE)
    user.window.screen._outbox.close()
    assert [query.key for query in store.take_many("bob", 3)] == ["b", "c"]


def test_leaving_stores_what_was_answered_a_moment_ago(store: PreferenceStore, ask: Ask, open_for_user: Any) -> None:
    ask("a", "b")
    user = open_for_user("a")
    user.press(pygame.K_LEFT, pygame.K_ESCAPE)
    assert user.window.screen.closed
    user.window.screen._outbox.close()
    assert [answer.choice for answer in store.live_answers()] == [Choice.LEFT]


def test_an_answer_that_the_store_refuses_is_told_and_does_not_stop_the_next(ask: Ask, open_for_user: Any) -> None:
    [first, _, _] = ask("a", "b", "c")
    user = open_for_user("a")
    user.session.answer(first, "right")  # the same person, elsewhere
    user.press(pygame.K_LEFT)
    user.until(lambda: "answered query 1 already" in (user.view.banner or ""))
    user.sees("b")
    user.press(pygame.K_LEFT)
    user.sees("c")
    assert [answer.choice for answer in user.stored(2)] == [Choice.RIGHT, Choice.LEFT]


def test_every_answer_that_the_store_acknowledged_survives_kill_minus_nine(
    store: PreferenceStore, path: Path, ask: Ask
) -> None:
    ask(*"abcdefgh")
    with subprocess.Popen(
        [sys.executable, "-c", WINDOW, str(path)],
        cwd=Path(rlhf_envs.__file__).parents[1],
        env={**os.environ, "SDL_VIDEODRIVER": "dummy"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told: list[str] = []
        while len(told) < 3:
            line = process.stdout.readline()
            assert line, "the window ended by itself"
            told += [line] if line.strip().isdigit() else []
        os.kill(process.pid, signal.SIGKILL)
        told += [line for line in process.stdout if line.endswith("\n")]
    with PreferenceStore.open(path) as reopened:
        answered = [answer.query_id for answer in reopened.live_answers()]
        assert [int(line) for line in told] == answered[: len(told)]
        assert len(answered) <= len(told) + 1 and len(set(answered)) == len(answered) < 8
        assert AnnotatorSession(reopened, "ann").upcoming()
