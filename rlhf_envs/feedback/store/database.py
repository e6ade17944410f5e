"""Transactions on the database under a feedback store: durable, patient with locks, and clear about what failed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from rlhf_envs.feedback.store.errors import (
    StoreDamagedError,
    StoreError,
    StoreLockedError,
    StoreMissingError,
    StoreReadOnlyError,
    store_error,
)

MOST_VALUES = 10_000
"""Of one statement; SQLite takes at most 32,766."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Inputs = ParamSpec("_Inputs")

_SQLITE_WAIT = 250
"""Milliseconds that SQLite itself waits for a lock; `Database` repeats the attempt until its patience is over."""

_WRITERS_LOCK = 0x726C6866
"""PostgreSQL advisory lock that every writing transaction holds. One writer at a time means that answers become
visible in the order of their ids, so that no reader's cursor can step over one that is committed late."""


class Database:
    """One SQLite file or PostgreSQL database.

    Args:
        url_or_path: a path means SQLite; otherwise an SQLAlchemy URL.
        patience: seconds to wait for a lock before `StoreLockedError`.

    Raises:
        ValueError: if the URL is not understood, names no file, or names a database other than these two.
    """

    def __init__(self, url_or_path: str | os.PathLike[str], patience: float) -> None:
        url = _url(url_or_path)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._file = Path(url.database or "") if self._is_sqlite and "uri" not in url.query else None
        self._patience = patience
        self.place = str(self._file) if self._file else url.render_as_string(hide_password=True)
        self._engine = _engine(url, self._is_sqlite)
        self._inode: tuple[int, int] | None = None
        self._shared = threading.local()

    def require_file(self) -> None:
        """Raise `StoreMissingError` where an SQLite file should be and is not; SQLite would make an empty one."""
        if self._file and not self._file.is_file():
            raise StoreMissingError(f"There is no feedback store at {self.place}; a training run creates it.")
        self._inode = _inode(self._file)

    def prepare_file(self) -> None:
        """Make ready for `CREATE TABLE`: on SQLite, check the directory and turn on write-ahead logging.

        Raises:
            StoreReadOnlyError: if the directory does not exist or cannot be written.
            StoreDamagedError: if the log of another store, whose file is gone, lies there.
        """
        if not self._is_sqlite:
            return
        if self._file and not self._file.parent.is_dir():
            raise StoreReadOnlyError(f"The feedback store {self.place} needs a directory that exists: make it first.")
        if self._file is not None:
            log = self._file.with_name(self._file.name + "-wal")
            # Looked for in this order: who makes a store at this moment makes its file before its log.
            if log.exists() and log.stat().st_size and not self._file.exists():
                # SQLite would throw this log away, and answers with it.
                raise StoreDamagedError(
                    f"{log} is left from a feedback store whose file is gone, and may hold answers: put that file "
                    "back, or move this one away."
                )

        def turn_on() -> None:
            with self._engine.connect().execution_options(sqlite_begin="") as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")

        self._patiently(turn_on)
        self._inode = _inode(self._file)

    def write(
        self,
        work: Callable[Concatenate[Connection, _Inputs], _Result],
        *inputs: _Inputs.args,
        **more_inputs: _Inputs.kwargs,
    ) -> _Result:
        """Run `work(connection, *inputs)` in a transaction beside no other writer; on return, it is on the disk.

        `work` may be run again after a lock was lost, so it must change nothing but the database.

        Raises:
            StoreError: the subclass says why; the transaction then has left no trace.
        """
        shared: Connection | None = getattr(self._shared, "connection", None)
        if shared is not None:
            with self._errors_told(), shared.begin_nested():
                return work(shared, *inputs, **more_inputs)

        def attempt() -> _Result:
            with self._writing() as connection:
                return work(connection, *inputs, **more_inputs)

        return self._patiently(attempt)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let all that this thread writes within the block share one transaction, which ends with the block.

        A piece of work that fails alone leaves no trace and does not disturb the others. Nothing is on the disk before
        the block ends, so nothing may be acknowledged before.

        Raises:
            StoreError: the subclass says why; none of what was written in the block is stored then.
        """
        with self._errors_told(), ExitStack() as transaction:
            self._shared.connection = self._patiently(lambda: transaction.enter_context(self._writing()))
            try:
                yield
            finally:
                self._shared.connection = None

    def read(
        self,
        work: Callable[Concatenate[Connection, _Inputs], _Result],
        *inputs: _Inputs.args,
        **more_inputs: _Inputs.kwargs,
    ) -> _Result:
        """Run `work(connection, *inputs)` on one consistent picture of the database.

        Raises:
            StoreError: the subclass says why.
        """

        def attempt() -> _Result:
            with self._engine.connect() as connection:
                if not self._is_sqlite:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    return work(connection, *inputs, **more_inputs)

        return self._patiently(attempt)

    def close(self) -> None:
        """Close all connections; the last process to do so leaves the SQLite file complete without its log."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        # SQLite would go on writing to a file that has no name any more, and lose it all when it is closed.
        if _inode(self._file) != self._inode:
            raise StoreMissingError(
                f"The feedback store {self.place} was moved, removed or replaced while it was in use; put it back, or "
                "start again with what is there now."
            )
        options = {"sqlite_begin": "BEGIN IMMEDIATE"}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            if not self._is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS_LOCK})
            yield connection

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as failure:
            raise store_error(failure.orig, self.place) from failure

    def _patiently(self, attempt: Callable[[], _Result]) -> _Result:
        give_up_at = time.monotonic() + self._patience
        pause = 0.01
        while True:
            try:
                return attempt()
            except DBAPIError as failure:
                error = store_error(failure.orig, self.place)
                if not isinstance(error, StoreLockedError) or time.monotonic() + pause > give_up_at:
                    raise error from failure
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


def _inode(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    try:
        status = None if file is None else file.stat()
    except OSError:
        return None
    return None if status is None else (status.st_dev, status.st_ino)


def _url(url_or_path: str | os.PathLike[str]) -> URL:
    place = os.fspath(url_or_path)
    if "://" not in place:
        return URL.create("sqlite", database=os.path.abspath(place))
    try:
        url = make_url(place)
    except ArgumentError as error:
        raise ValueError(f"{place!r} is neither a path nor an SQLAlchemy URL such as sqlite:///feedback.db.") from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(f"A feedback store lives in SQLite or PostgreSQL, not in {url.get_backend_name()}.")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("A feedback store must outlive its process: give a file, such as sqlite:///feedback.db.")
    return url


def _engine(url: URL, is_sqlite: bool) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=not is_sqlite)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            f"The database driver {url.drivername} is not installed ({error}); for PostgreSQL, pip install psycopg."
        ) from error
    if is_sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own implicit BEGIN would start readers that become writers
    connection.execute(f"PRAGMA busy_timeout = {_SQLITE_WAIT}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    statement = connection.get_execution_options().get("sqlite_begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def batches(
    items: Iterable[_Item], most: int, most_bytes: int = 0, size: Callable[[_Item], int] | None = None
) -> Iterator[list[_Item]]:
    """Consecutive items in lists of a bounded size, so that only one list is in memory at a time.

    Args:
        items: any number of them.
        most: items in one list.
        most_bytes: a list ends as soon as its items together have this size.
        size: bytes of an item; without it only `most` counts.
    """
    batch: list[_Item] = []
    held = 0
    for item in items:
        batch.append(item)
        held += 0 if size is None else size(item)
        if len(batch) >= most or (size is not None and held >= most_bytes):
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
