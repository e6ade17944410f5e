"""What must hold when processes die, meet, or find the store in a state that nobody wants."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

import rlhf_envs.feedback
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import (
    PreferenceStore,
    StoreClaimedError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreLockedError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
)
from rlhf_envs.feedback.store.schema import SCHEMA_VERSION
from tests.answers import give_answer
from tests.feedback.postgresql import empty_database

ANNOTATOR = """
import sys
from rlhf_envs.feedback import PreferenceStore
path, name = sys.argv[1:]
with PreferenceStore.open(path) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while query := store.take(name):
        store.answer(query.id, name, "left")
        print(query.id, flush=True)
"""


@contextmanager
def annotator(place: str, name: str) -> Iterator[subprocess.Popen[str]]:
    root = Path(rlhf_envs.feedback.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", ANNOTATOR, place, name],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_an_answer_survives_kill_minus_nine(store: PreferenceStore, place: str, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(2000)])
    store.close()
    with annotator(place, "ann") as process:
        begin(process)
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(25)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [line for line in process.stdout if line.endswith("\n")]
    with PreferenceStore.open(place) as reopened:
        answered = [answer.query_id for answer in reopened.live_answers()]
        assert set(map(int, acknowledged)) <= set(answered)
        assert len(answered) <= len(acknowledged) + 1 < 2000
        assert reopened.take("ann") is not None


def test_processes_that_take_at_the_same_time_never_share_a_query(
    store: PreferenceStore, place: str, make_query: Any
) -> None:
    # So many that neither process is done before the other one has begun.
    ids = store.ask([make_query(str(number)) for number in range(250)])
    with annotator(place, "ann") as one, annotator(place, "bob") as two:
        begin(one)
        begin(two)
        answered = [[int(line) for line in process.communicate(timeout=60)[0].split()] for process in (one, two)]
    assert all(answered)
    assert sorted(answered[0] + answered[1]) == ids
    assert len(store.live_answers()) == len(ids)


def test_threads_may_share_a_store(store: PreferenceStore, make_query: Any) -> None:
    ids = store.ask([make_query(str(number)) for number in range(40)])

    def work(name: str) -> None:
        while query := store.take(name):
            assert query.id is not None
            store.answer(query.id, name, "tie")

    threads = [threading.Thread(target=work, args=(name,)) for name in ("ann", "bob", "cyd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.query_id for answer in store.live_answers()) == ids


def test_a_store_is_never_created_over_another(store: PreferenceStore, place: str, make_query: Any) -> None:
    store.ask([make_query("a")])
    with pytest.raises(
        StoreExistsError,
        match=r"in code go on with it by rlhf_envs\.feedback\.PreferenceStore\.open",
    ):
        PreferenceStore.create(place, StoredEnvironment(EnvironmentRef("other")))
    assert len(store.queries()) == 1


def test_opening_where_nothing_is_makes_nothing(path: Path) -> None:
    with pytest.raises(StoreMissingError, match="no feedback store"):
        PreferenceStore.open(path)
    assert not path.exists()


def test_a_store_whose_making_was_interrupted_can_be_made_again(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreMissingError, match="it is empty"):
        PreferenceStore.open(path)
    assert path.read_bytes() == b""
    PreferenceStore.create(path, StoredEnvironment(EnvironmentRef("x"))).close()
    PreferenceStore.open(path).close()


@pytest.mark.parametrize("version", [1, 99])
def test_a_store_of_another_version_is_left_alone(store: PreferenceStore, path: Path, version: int) -> None:
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"UPDATE meta SET value = '{version}' WHERE name = 'schema_version'")
        raw.execute("DELETE FROM meta WHERE name = 'environment'")
    raw.close()
    with pytest.raises(
        StoreVersionError, match=f"has version {version}, and this library reads version {SCHEMA_VERSION}"
    ):
        PreferenceStore.open(path)


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_bytes(b"These are my holiday notes. " * 300)
    for enter in (PreferenceStore.open, lambda place: PreferenceStore.create(place)):
        with pytest.raises(StoreDamagedError, match="not a feedback store"):
            enter(path)
    assert path.read_bytes() == b"These are my holiday notes. " * 300


def test_a_database_of_another_program_is_not_taken_for_a_store(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(StoreDamagedError, match="none of its tables"):
        PreferenceStore.open(path)
    with raw:
        raw.execute("CREATE TABLE meta (recipes INTEGER)")
    raw.close()
    with pytest.raises(StoreDamagedError, match="another program's"):
        PreferenceStore.open(path)


def test_a_torn_file_is_said_to_be_damaged(store: PreferenceStore, path: Path, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(200)])
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreDamagedError, match="damaged"), PreferenceStore.open(path) as torn:
        torn.queries()


def test_a_flipped_bit_in_a_segment_is_noticed(store: PreferenceStore, path: Path, make_query: Any) -> None:
    asked = make_query("a", left=(0.125,) * 5)
    store.ask([asked])
    store.close()
    content = path.read_bytes()
    place = content.index(asked.segments[0].true_rewards.tobytes())
    path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with PreferenceStore.open(path) as flipped, pytest.raises(StoreDamagedError, match="segment 1"):
        flipped.query(1)


def test_a_lock_that_is_let_go_in_time_is_waited_for(store: PreferenceStore, path: Path, make_query: Any) -> None:
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    raw.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.6, lambda: raw.execute("COMMIT"))
    release.start()
    assert store.ask([make_query("a")]) == [1]
    release.join()
    raw.close()


def test_a_lock_that_is_not_let_go_is_named_and_nothing_is_lost(
    store: PreferenceStore, path: Path, make_query: Any
) -> None:
    [id] = store.ask([make_query("a")])
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    with PreferenceStore.open(path, patience=0.1) as hasty:
        began = time.monotonic()
        with pytest.raises(StoreLockedError, match="locked by another process"):
            give_answer(hasty, id, "ann", "left")
        assert time.monotonic() - began < 2
        assert hasty.live_answers() == []
        raw.execute("ROLLBACK")
        give_answer(hasty, id, "ann", "left")
        assert len(hasty.live_answers()) == 1
    raw.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnlyError, match="needs a directory that exists"):
        PreferenceStore.create(tmp_path / "missing" / "feedback.db")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc is the directory that no user can write")
def test_a_read_only_directory_is_named() -> None:
    with pytest.raises(StoreReadOnlyError, match="cannot be written"):
        PreferenceStore.create("/proc/feedback.db")


def test_a_store_on_read_only_ground_can_be_read_and_says_why_it_cannot_be_written(
    store: PreferenceStore, path: Path, make_query: Any
) -> None:
    [id] = store.ask([make_query("a")])
    with PreferenceStore.open(f"sqlite:///file:{path}?mode=ro&uri=true") as read_only:
        assert read_only.query(id).key == "a"
        with pytest.raises(StoreReadOnlyError, match="cannot be written"):
            give_answer(read_only, id, "ann", "left")


def test_a_disk_that_fills_loses_nothing_that_was_acknowledged(
    store: PreferenceStore, path: Path, make_query: Any
) -> None:
    [id] = store.ask([make_query("a")])
    give_answer(store, id, "ann", "left")
    store.close()

    def shrink_disk(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {path.stat().st_size // 4096 + 2}")

    event.listen(Engine, "connect", shrink_disk)
    try:
        with PreferenceStore.open(path) as full:
            with pytest.raises(StoreFullError, match="free some space"):
                full.ask([make_query(str(number)) for number in range(100)])
            assert len(full.queries()) == len(full.live_answers()) == 1
    finally:
        event.remove(Engine, "connect", shrink_disk)
    with PreferenceStore.open(path) as roomy:
        assert len(roomy.ask([make_query(str(number)) for number in range(100)])) == 100


def test_the_log_of_a_store_whose_file_is_gone_is_not_thrown_away(
    store: PreferenceStore, path: Path, make_query: Any
) -> None:
    store.ask([make_query("a")])
    log = path.with_name(path.name + "-wal")
    kept = log.read_bytes()
    moved = path.rename(path.with_name("moved.db"))
    with pytest.raises(StoreDamagedError, match="put that file back"):
        PreferenceStore.create(path, StoredEnvironment(EnvironmentRef("CartPole-v1")))
    assert log.read_bytes() == kept
    moved.rename(path)
    with PreferenceStore.open(path) as restored:
        assert [query.key for query in restored.queries()] == ["a"]


def test_nothing_is_acknowledged_once_the_file_has_gone(
    store: PreferenceStore, path: Path, tmp_path: Path, make_query: Any
) -> None:
    [id] = store.ask([make_query("a")])
    elsewhere = path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreMissingError, match="was moved, removed or replaced"):
        give_answer(store, id, "ann", "left")
    path.write_bytes(b"another file")
    with pytest.raises(StoreMissingError, match="was moved, removed or replaced"):
        give_answer(store, id, "ann", "left")
    elsewhere.replace(path)
    give_answer(store, id, "ann", "left")
    assert len(store.live_answers()) == 1


@pytest.mark.parametrize("gone", [("-wal",), ("-shm",), ("-wal", "-shm"), ("-wal", "reopened")])
def test_nothing_is_acknowledged_once_its_log_has_gone_and_what_was_before_is_kept(
    path: Path, tmp_path: Path, make_query: Any, gone: tuple[str, ...]
) -> None:
    acknowledged = []
    with PreferenceStore.create(path, StoredEnvironment(EnvironmentRef("CartPole-v1"), 5)) as made:
        made.ask([make_query(str(number)) for number in range(60)])
    with annotator(str(path), "ann") as process:
        begin(process)
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(10)]
        for suffix in gone:
            if suffix == "reopened":
                with sqlite3.connect(path) as other, suppress(sqlite3.Error):
                    other.execute("SELECT * FROM answers")
                other.close()
            else:
                path.with_name(path.name + suffix).unlink()
        acknowledged += [int(line) for line in process.stdout]
        assert process.wait() == 1
    assert len(acknowledged) < 60
    with PreferenceStore.open(path) as reopened:
        stored = {answer.query_id for answer in reopened.live_answers()}
    assert set(acknowledged) <= stored
    assert len(stored) <= len(acknowledged) + 1


def test_a_missing_log_is_named(store: PreferenceStore, path: Path, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    path.with_name(path.name + "-wal").unlink()
    with pytest.raises(StoreMissingError, match=r"feedback\.db-wal was moved, removed or replaced"):
        give_answer(store, id, "ann", "left")
    with PreferenceStore.open(path) as reopened:
        assert [query.key for query in reopened.queries()] == ["a"]
        give_answer(reopened, id, "ann", "left")


TRAINER = """
import sys
from rlhf_envs.feedback import PreferenceStore
with PreferenceStore.open(sys.argv[1]) as store:
    store.claim_for_training()
    print("claimed", flush=True)
    sys.stdin.readline()
"""


def test_one_process_at_a_time_trains_with_a_store(store: PreferenceStore, place: str, make_query: Any) -> None:
    root = Path(rlhf_envs.feedback.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, place], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == "claimed\n"
        with pytest.raises(StoreClaimedError, match="Another process is training with the feedback store"):
            store.claim_for_training()
        # Annotators are not kept out by a trainer.
        [id] = store.ask([make_query("a")])
        give_answer(store, id, "ann", "left")
        process.kill()
    give_up_at = time.monotonic() + 10
    while True:
        try:
            store.claim_for_training()
            break
        except StoreClaimedError:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
    store.claim_for_training()
    with PreferenceStore.open(place) as other, pytest.raises(StoreClaimedError):
        other.claim_for_training()
    store.close()
    with PreferenceStore.open(place) as other:
        other.claim_for_training()


def test_a_trainer_whose_claim_broke_takes_it_again_or_stops(postgresql_server: str, make_query: Any) -> None:
    with empty_database(postgresql_server) as url, PreferenceStore.create(url) as store:
        store.claim_for_training()

        def break_claim() -> None:
            with create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as connection:
                # The server is shared with tests that run at the same time, in databases of their own.
                here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                holders = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND {here}"
                assert connection.exec_driver_sql(holders).all()

        break_claim()
        store.ask([make_query("a")])
        break_claim()
        with PreferenceStore.open(url) as other:
            other.claim_for_training()
            with pytest.raises(StoreClaimedError):
                store.ask([make_query("b")])
            assert len(other.queries()) == 1


def test_a_store_says_whose_it_is(place: str) -> None:
    with PreferenceStore.create(place, run="abc") as made:
        assert made.run == "abc"
    with PreferenceStore.open(place) as opened:
        assert opened.run == "abc"


def test_a_copy_taken_after_closing_is_complete(store: PreferenceStore, path: Path, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    give_answer(store, id, "ann", "left")
    store.close()
    copy = shutil.copy(path, path.with_name("copy.db"))
    with PreferenceStore.open(copy) as copied:
        assert len(copied.live_answers()) == 1


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("sqlite://", "must outlive its process"),
        ("mysql://host/labels", "SQLite or PostgreSQL, not in mysql"),
        ("://", "neither a path nor an SQLAlchemy URL"),
    ],
)
def test_a_place_that_can_hold_no_store_is_refused(place: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PreferenceStore.open(place)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(StoreError) as caught:
        PreferenceStore.open("postgresql://ann:secret@127.0.0.1:1/labels", patience=0.1)
    assert "secret" not in str(caught.value)
