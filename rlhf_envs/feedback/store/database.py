"""Transactions on the database under a feedback store: durable, patient with locks, and clear about what failed."""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from rlhf_envs.feedback.store.errors import (
    StoreClaimedError,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
    StoreMissingError,
    StoreReadOnlyError,
    store_error,
)
from rlhf_envs.feedback.store.rows import DamagedRowError, decode_json

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

_TRAINERS_LOCK = 0x726C6867
"""PostgreSQL advisory lock that the one trainer holds as long as its connection lasts."""

_OF_SCHEMA = "hashtext(current_schema()::text)"
"""The second key of these locks, because stores that share a database have a schema each."""

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")

PEOPLE_SCHEMA = "rlhf_envs_people"
"""Of a database whose stores are served together: who may answer in all of them."""

_KEEPALIVE = ("tcp_keepalives_idle = 15", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""With these the server notices within half a minute that the machine of a trainer has gone."""


class Database:
    """One SQLite file, PostgreSQL database, or schema of one.

    Args:
        url_or_path: a path means SQLite; otherwise an SQLAlchemy URL, which may name a schema of PostgreSQL as in
            postgresql://host/database?schema=name, so that several stores can share a database.
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
        self._schema = url.query.get("schema")
        self._engine = _engine(_connectable(url), self._is_sqlite)
        self._identity = _FileIdentity(self._file)
        self._claim: _FileClaim | _DatabaseClaim | None = None
        self._shared = threading.local()

    def require_file(self) -> None:
        """Raise `StoreMissingError` where an SQLite file should be and is not; SQLite would make an empty one."""
        if self._file and not self._file.is_file():
            raise StoreMissingError(f"There is no feedback store at {self.place}; a training run creates it.")
        self._identity.remember()

    def prepare_file(self) -> None:
        """Make ready for `CREATE TABLE`: make the schema, or on SQLite turn on write-ahead logging.

        Raises:
            StoreReadOnlyError: if the directory does not exist or cannot be written.
            StoreDamagedError: if the log of another store, whose file is gone, lies there.
        """
        if not self._is_sqlite:
            if self._schema is not None:
                self._patiently(self._make_schema)
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
        self._identity.remember()

    def _make_schema(self) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")

    def claim_for_training(self) -> None:
        """Be the only trainer, which asks and reads here, until this is closed or the process ends, however it ends.

        Raises:
            StoreClaimedError: if there is another one.
            StoreReadOnlyError: if the directory of an SQLite file cannot be written.
        """
        if self._claim is None:
            claim = _FileClaim(self._file) if self._is_sqlite else _DatabaseClaim(self._engine.url, self.place)
            try:
                self._patiently(claim.take)
            except BaseException:
                claim.close()
                raise
            self._claim = claim

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
        if self._claim is not None:
            self._patiently(self._claim.take)

        return self._write_alone(work, inputs, more_inputs, durable=True)

    def write_soon(
        self,
        work: Callable[Concatenate[Connection, _Inputs], _Result],
        *inputs: _Inputs.args,
        **more_inputs: _Inputs.kwargs,
    ) -> _Result:
        """The same without waiting for the disk: whoever reads sees it, and a power cut may undo it, though no kill.

        In a block of `together` it has no savepoint, which would double its round trips: what it wrote before it failed
        stays, unless the database itself failed, so that it suits what is harmless when it is half done.

        Raises:
            StoreError: the subclass says why; the transaction then has left no trace.
        """
        if self.is_shared:
            return self.read(work, *inputs, **more_inputs)
        return self._write_alone(work, inputs, more_inputs, durable=False)

    def _write_alone(
        self, work: Callable[..., _Result], inputs: tuple[Any, ...], more_inputs: dict[str, Any], durable: bool
    ) -> _Result:
        def attempt() -> _Result:
            with self._writing(durable) as connection:
                return work(connection, *inputs, **more_inputs)

        return self._patiently(attempt)

    @property
    def is_shared(self) -> bool:
        """Whether this thread is in a block of `together`, where nobody else writes."""
        return getattr(self._shared, "connection", None) is not None

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

        shared: Connection | None = getattr(self._shared, "connection", None)
        if shared is not None:
            with self._errors_told():
                return work(shared, *inputs, **more_inputs)

        def attempt() -> _Result:
            with self._engine.connect() as connection:
                if not self._is_sqlite:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    result = work(connection, *inputs, **more_inputs)
                    self._identity.remember_logs()
                    return result

        return self._patiently(attempt)

    def close(self) -> None:
        """Close all connections; the last process to do so leaves the SQLite file complete without its log."""
        self._engine.dispose()
        self._identity.forget_logs()
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    @contextmanager
    def _writing(self, durable: bool = True) -> Iterator[Connection]:
        # SQLite would go on writing to files that have no name any more, and lose it all when they are closed.
        self._require_files()
        options = {"sqlite_begin": "BEGIN IMMEDIATE", "sqlite_synchronous": "FULL" if durable else "NORMAL"}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            if not self._is_sqlite:
                if not durable:
                    connection.execute(text("SET LOCAL synchronous_commit TO OFF"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock(:key, {_OF_SCHEMA})"), {"key": _WRITERS_LOCK})
            self._identity.remember_logs()
            yield connection
        # Once more: what was committed into a file that has gone meanwhile must not be acknowledged.
        self._require_files()

    def _require_files(self) -> None:
        """Raise `StoreMissingError` if the file or its logs are not those that are open here."""
        lost = self._identity.lost()
        if not lost:
            return
        if self._identity.may_save_log():
            # What was acknowledged is in a log that only open connections still reach: bring it into the file.
            with self._errors_told(), self._engine.connect().execution_options(sqlite_begin="") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        raise StoreMissingError(
            f"The feedback store {self.place} cannot go on: {lost} was moved, removed or replaced while it was in use; "
            "put it back, or start again with what is there now."
        )

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as failure:
            raise store_error(failure.orig, self.place) from failure
        except DamagedRowError as damage:
            raise self._damaged(damage) from damage

    def _damaged(self, damage: DamagedRowError) -> StoreDamagedError:
        return StoreDamagedError(f"The feedback store {self.place} is damaged: {damage}; restore it from a copy.")

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
            except DamagedRowError as damage:
                raise self._damaged(damage) from damage
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


class _FileIdentity:
    """Tells whether an SQLite file, its log and the index of that are still those that were opened.

    Args:
        file: of the database; None where there is none to look at.
    """

    _LOGS = ("-wal", "-shm")

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, tuple[int, int] | None] = {}

    def remember(self) -> None:
        """Take the file that is there now for the right one."""
        self._known = {"": self._inode("")}

    def remember_logs(self) -> None:
        """The same for the logs, during the first transaction, when SQLite has them open."""
        if self._file is not None and self._LOGS[0] not in self._known:
            self._known |= {suffix: self._inode(suffix) for suffix in self._LOGS}

    def forget_logs(self) -> None:
        """They go with the last connection."""
        self._known = {"": self._known.get("")}

    def lost(self) -> str:
        """The name of what is missing or replaced; empty where all is as it was."""
        found = (suffix for suffix, inode in self._known.items() if inode != self._inode(suffix))
        suffix = next(found, None)
        return "" if suffix is None or self._file is None else f"{self._file.name}{suffix}"

    def may_save_log(self) -> bool:
        """Whether the file is there and the log is gone, in whose place no other process has written another one."""
        if self._file is None or self._inode("") != self._known.get("") or self._known.get(self._LOGS[0]) is None:
            return False
        try:
            return self._file.with_name(self._file.name + self._LOGS[0]).stat().st_size == 0
        except FileNotFoundError:
            return True

    def _inode(self, suffix: str) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            status = os.stat(f"{self._file}{suffix}")
        except OSError:
            return None
        return status.st_dev, status.st_ino


class _FileClaim:
    """The right to train with an SQLite file: a lock of the operating system, which ends with the process.

    Args:
        file: of the database; None where there is none, and then nobody else can have it.
    """

    def __init__(self, file: Path | None) -> None:
        # Not on the file itself: closing another handle on it drops the locks that SQLite has. Through symbolic links
        # the lock is the same.
        self._path = None if file is None else Path(f"{os.path.realpath(file)}-trainer")
        self._handle: IO[bytes] | None = None

    def take(self) -> None:
        if self._path is None or self._handle is not None:
            return
        try:
            self._handle = self._path.open("wb")
        except OSError as error:
            raise StoreReadOnlyError(
                f"{self._path} cannot be written ({error.strerror}); training needs a store in a directory that can be."
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _claimed(os.fspath(self._path).removesuffix("-trainer")) from error

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class _DatabaseClaim:
    """The right to train with a PostgreSQL database: a lock that its server ends with the connection.

    Args:
        url: to connect to the database by.
        place: what it is called in messages.
    """

    def __init__(self, url: URL, place: str) -> None:
        self._place = place
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._connection: Connection | None = None

    def take(self) -> None:
        """Take the lock, or make sure that it is still there: where the connection broke, another may have it now."""
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
                return
            except DBAPIError:
                self._connection.invalidate()
                self._connection = None
        connection = self._engine.connect()
        try:
            for setting in _KEEPALIVE:
                connection.execute(text(f"SET {setting}"))
            taken = connection.execute(
                text(f"SELECT pg_try_advisory_lock(:key, {_OF_SCHEMA})"), {"key": _TRAINERS_LOCK}
            ).scalar()
        except BaseException:
            connection.close()
            raise
        if not taken:
            connection.close()
            raise _claimed(self._place)
        self._connection = connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()


def _claimed(place: str) -> StoreClaimedError:
    return StoreClaimedError(f"Another process is training with the feedback store {place}; wait for it, or stop it.")


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
    schema = url.query.get("schema")
    if schema is not None and (
        url.get_backend_name() != "postgresql" or not isinstance(schema, str) or not _SCHEMA.fullmatch(schema)
    ):
        raise ValueError(
            "A schema is one of a PostgreSQL database, and its name has 1 to 63 small letters, digits and _ and does "
            f"not begin with a digit, which {schema!r} has not."
        )
    return url


def _connectable(url: URL) -> URL:
    """The URL as PostgreSQL's driver takes it, which knows a schema as the path that tables are looked for in."""
    schema = url.query.get("schema")
    if schema is None:
        return url
    given = url.query.get("options", "")
    options = " ".join([*([given] if isinstance(given, str) else given), f"-csearch_path={schema}"]).strip()
    return url.difference_update_query(["schema", "options"]).update_query_dict({"options": options})


def in_schema(url: str, schema: str) -> str:
    """The URL of a schema of a PostgreSQL database.

    Raises:
        ValueError: if the URL is not of such a database, or names a schema already.
    """
    found = _url(url)
    if found.get_backend_name() != "postgresql" or "schema" in found.query:
        raise ValueError(f"Stores share a PostgreSQL database, as postgresql://host/database names one, not {url!r}.")
    place: str = found.update_query_dict({"schema": schema}).render_as_string(hide_password=False)
    return place


def stores_in(url_or_path: str | os.PathLike[str]) -> list[str]:
    """The URLs of all stores in the schemas of a PostgreSQL database, by name.

    Args:
        url_or_path: of the database, without a schema.

    Raises:
        ValueError: if it is no such database.
        StoreError: if the database cannot be read.
    """
    place = os.fspath(url_or_path)
    in_schema(place, PEOPLE_SCHEMA)  # refuses what has no schemas

    def look(connection: Connection) -> list[str]:
        # All of these tables, since others may have one that is called so.
        found = connection.execute(
            text(
                "SELECT table_schema FROM information_schema.tables WHERE table_name IN ('meta', 'answers', 'notices') "
                "GROUP BY table_schema HAVING count(*) = 3 ORDER BY table_schema"
            )
        )
        return [str(name) for name in found.scalars() if _is_of_store(str(name))]

    database = Database(place, patience=10.0)
    try:
        schemas = database.read(look)
    finally:
        database.close()
    return [in_schema(place, name) for name in schemas]


def _is_of_store(schema: str) -> bool:
    return schema != PEOPLE_SCHEMA and _SCHEMA.fullmatch(schema) is not None


def _engine(url: URL, is_sqlite: bool) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=not is_sqlite, json_deserializer=decode_json)
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
    options = connection.get_execution_options()
    statement = options.get("sqlite_begin", "BEGIN")
    if "sqlite_synchronous" in options:
        connection.exec_driver_sql(f"PRAGMA synchronous = {options['sqlite_synchronous']}")
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
