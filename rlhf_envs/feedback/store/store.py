"""The one meeting point of a training run and its annotators: the run asks and reads, annotators take and answer."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Select, insert, inspect, select

from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.feedback.store import answering, reading, schema, status, taking
from rlhf_envs.feedback.store.asking import PreparedQueries
from rlhf_envs.feedback.store.database import MOST_VALUES, Database
from rlhf_envs.feedback.store.errors import (
    StoreDamagedError,
    StoreExistsError,
    StoreMissingError,
    StoreVersionError,
)
from rlhf_envs.feedback.store.reading import Cache
from rlhf_envs.feedback.store.schema import SCHEMA_VERSION, meta, metadata
from rlhf_envs.feedback.store.status import StatusMessage
from rlhf_envs.feedback.store.tallies import AnnotatorTally, load_practice, load_tallies, load_tally
from rlhf_envs.json_values import require_json
from rlhf_envs.queries import Answer, Choice, LiveAnswer, Purpose, Query, QueryCounts, Submission, Tally
from rlhf_envs.segments import Segment

QUEUE = (Purpose.TRAIN, Purpose.TEST, Purpose.CHECK)
"""What a training run wants answered."""

_CACHED_BYTES = 256 * 2**20
_ANSWERS_PER_PAGE = 5_000


class PreferenceStore:
    """Queries and their answers, in SQLite or PostgreSQL, shared by any number of processes.

    Make one with `create` or `open`. What a method acknowledges is on the disk when it returns. Every method raises a
    `StoreError`, whose subclass says why, when the database cannot do its work; nothing half done is left behind then.

    Attributes:
        environment: the environment that the segments are from, as far as the store's creator described it.
        run: identifies the training run that the store was made for; None for a store that belongs to no run.
        database: for what else is kept in it, such as who may answer over the network.
    """

    def __init__(self, database: Database, environment: StoredEnvironment, run: str | None = None) -> None:
        self.environment, self.run = environment, run
        self.database = database
        self._cache = Cache(_CACHED_BYTES)

    @classmethod
    def create(
        cls,
        url_or_path: str | os.PathLike[str],
        environment: StoredEnvironment | None = None,
        *,
        run: str | None = None,
        patience: float = 10.0,
    ) -> PreferenceStore:
        """Make a new store.

        Args:
            url_or_path: a path makes an SQLite file; otherwise an SQLAlchemy URL of SQLite or PostgreSQL.
            environment: which environment the segments are from, without which they cannot be drawn, and of what length
                they are.
            run: which training run it is for, so that no other one takes it for its own.
            patience: seconds to wait for another process that holds the store before `StoreLockedError`.

        Raises:
            ValueError: if the URL is not understood, or the environment's arguments are not plain JSON.
            StoreExistsError: if a store is there already.
        """
        database = Database(url_or_path, patience)
        try:
            return cls(database, create_tables(database, environment or StoredEnvironment(), run), run)
        except BaseException:
            database.close()
            raise

    @classmethod
    def open(cls, url_or_path: str | os.PathLike[str], *, patience: float = 10.0) -> PreferenceStore:
        """Open a store that was made before; see `create` for the arguments.

        Raises:
            ValueError: if the URL is not understood.
            StoreMissingError: if there is none.
            StoreVersionError: if another version of this library made it.
            StoreDamagedError: if it is something else, or damaged.
        """
        database = Database(url_or_path, patience)
        try:
            return cls(database, *read_description(database))
        except BaseException:
            database.close()
            raise

    def claim_for_training(self) -> None:
        """Be the only process that trains with this store, until it is closed or the process ends, however it ends.

        Raises:
            StoreClaimedError: if another one is, or another `PreferenceStore` of this process.
        """
        self.database.claim_for_training()

    def close(self) -> None:
        """Close the connections of this process, and let others train with the store."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What a training run does: ask, and read what was answered.

    def ask(self, asked: Sequence[Query], wanted: int = 1) -> list[int]:
        """Put queries into the store, all or none, and return their ids in the same order.

        A key that was asked before keeps its query and id, and nothing is added: a resumed run may ask again.

        Args:
            asked: the queries; their `id` and `segment_ids` are ignored.
            wanted: how many annotators should answer each of them.

        Raises:
            ValueError: if a query is not well formed, or two of them share a key.
        """
        prepared = PreparedQueries(asked, wanted)
        return self.database.write(prepared.store) if asked else []

    def read_since(self, cursor: int, *, up_to_round: int | None = None) -> tuple[list[Answer], int]:
        """What arrived after the cursor, in order of arrival, and the cursor for the next call. Start with 0.

        With `up_to_round`, reading stops before the first row that belongs to a later round. So a run that resumes at
        round k, when answers to round k + 1 are here already, reads what it read the first time, and the rest later:
        a cursor never steps over a row. No row that the first run saw in round k can stand behind that point, since
        nobody could answer round k + 1 before the run had finished reading round k.

        Raises:
            ValueError: if the cursor is negative.
        """
        if cursor < 0:
            raise ValueError(f"A cursor is the id of the last row read, or 0 at the beginning, not {cursor}.")
        rows = self.database.read(reading.load_answers_since, cursor, up_to_round)
        return rows, rows[-1].id if rows else cursor

    def live_answers(
        self, purpose: Purpose | None = None, *, as_of: int | None = None, annotator: str | None = None
    ) -> list[LiveAnswer]:
        """All answers that were not taken back, in order of arrival, without loading a segment.

        Args:
            purpose: only answers to queries of this purpose.
            as_of: a cursor of `read_since`: answers and undos that came after it are left out.
            annotator: only answers by this one.
        """
        return list(self.each_live_answer(purpose, as_of=as_of, annotator=annotator))

    def each_live_answer(
        self,
        purpose: Purpose | None = None,
        *,
        as_of: int | None = None,
        annotator: str | None = None,
        after: int = 0,
    ) -> Iterator[LiveAnswer]:
        """The same one by one, a few thousand in memory at a time; answers that come in meanwhile are left out.

        Args:
            purpose, as_of, annotator: as in `live_answers`.
            after: only answers of a higher id than this.
        """
        newest = self.database.read(reading.load_newest_answer) if as_of is None else as_of
        last = after
        while page := self.database.read(
            reading.load_live_answers, purpose, newest, annotator, last, _ANSWERS_PER_PAGE
        ):
            yield from page
            if len(page) < _ANSWERS_PER_PAGE:
                return
            last = page[-1].id

    def latest_answers(self, purposes: Collection[Purpose], limit: int) -> list[LiveAnswer]:
        """The answers to queries of these purposes that stand and arrived last, the newest first."""
        return self.database.read(reading.load_latest_answers, purposes, limit)

    def sample_of_shown(self, purposes: Collection[Purpose], most: int) -> list[int]:
        """Ids of the segments of at most `most` answered queries of these purposes, evenly chosen, oldest first."""
        return self.database.read(reading.sample_shown, purposes, most)

    def tally(self, annotator: str, latest: int = 20, *, purposes: Collection[Purpose] = tuple(Purpose)) -> Tally:
        """How many queries of these purposes an annotator has answered, and when they answered the latest of them."""
        return self.database.read(load_tally, annotator, latest, purposes)

    def tallies(self, latest: int = 20, *, purposes: Collection[Purpose] = tuple(Purpose)) -> dict[str, AnnotatorTally]:
        """The same of everybody whose answers stand, with more figures, by name in alphabetical order."""
        return self.database.read(load_tallies, latest, purposes)

    def practice(self) -> dict[str, tuple[int, int]]:
        """Of how many practice answers of each annotator the right one was given: (right, all), by name."""
        return self.database.read(load_practice)

    # What an annotator does: take, answer, undo, leave.

    def take(
        self,
        annotator: str,
        *,
        purposes: Collection[Purpose] = QUEUE,
        kinds: Collection[str] | None = None,
        lease_seconds: float = 60.0,
        now: float | None = None,
    ) -> Query | None:
        """The next query for an annotator, or None if there is none for them at the moment; see `take_many`."""
        taken = self.take_many(annotator, 1, purposes=purposes, kinds=kinds, lease_seconds=lease_seconds, now=now)
        return taken[0] if taken else None

    def take_many(
        self,
        annotator: str,
        limit: int,
        *,
        purposes: Collection[Purpose] = QUEUE,
        kinds: Collection[str] | None = None,
        lease_seconds: float = 60.0,
        now: float | None = None,
        for_screen: bool = False,
        showing: int | None = None,
    ) -> list[Query]:
        """The next queries for an annotator, oldest first.

        Before all others comes one whose answer they took back, then those that are for them alone.

        A query is kept for whoever took it until the lease ends, so that no more annotators work on it than are
        wanted. Taking again gives the same queries, until they are answered, and renews their leases where
        half of their time is over.

        Args:
            annotator: who will answer.
            limit: how many queries at most.
            purposes: only queries of these; by default no practice and no judging of policies.
            kinds: only queries of these kinds; None for all.
            lease_seconds: how long to keep them for this annotator.
            now: seconds since the epoch; None for the clock. Clocks of annotators should agree to a few seconds.
            for_screen: the first is shown to a person and the others are only taken ahead. Another screen that would
                get nothing is given one of those.
            showing: the id of the query that the screen shows already, which is the first then, if it is still theirs.

        Raises:
            ValueError: if the annotator has no name, or limit or lease are out of range.
        """
        answering.check_annotator(annotator, lease_seconds)
        if not 1 <= limit <= MOST_VALUES:
            raise ValueError(f"Take between 1 and {MOST_VALUES:,} queries at a time, not {limit:,}.")
        now = time.time() if now is None else now
        of_kinds = None if kinds is None else tuple(kinds)
        wanted = taking.Wanted(annotator, limit, tuple(purposes), of_kinds, now, for_screen, showing or 0)
        # Whoever asks again and again, as screens do, mostly gets what is theirs already, and locks nothing for it.
        found = None if self.database.is_shared else self.database.read(taking.select, wanted)
        if found is None or not found.is_held_until(now + lease_seconds / 2):
            # Only a power cut loses a lease that is not on the disk yet, and then the same queries can be taken again.
            found = self.database.write_soon(taking.take, wanted, found, now + lease_seconds)
        return self.database.read(reading.load_queries, found.ids, self._cache) if found.ids else []

    def take_for_screens(
        self,
        showing: Mapping[str, int | None],
        limit: int,
        *,
        purposes: Collection[Purpose] = QUEUE,
        kinds: Collection[str] | None = None,
        lease_seconds: float = 60.0,
        now: float | None = None,
    ) -> dict[str, list[Query]]:
        """The next queries of many annotators, taken in a few statements as `take_many` would for each screen in turn.

        Args:
            showing: by annotator, the id of the query that their screen shows already, if any.
            limit, purposes, kinds, lease_seconds, now: as in `take_many`.

        Returns:
            The queries by annotator. Those whose case is not the usual one, as where a query wants several answers or
            they have questions of their own, are left out: `take_many` does it for them.
        """
        now = time.time() if now is None else now
        of_kinds = None if kinds is None else tuple(kinds)
        wanted = [
            taking.Wanted(name, limit, tuple(purposes), of_kinds, now, True, shown or 0)
            for name, shown in showing.items()
        ]
        if not wanted:
            return {}
        taken = self.database.write_soon(taking.take_for_screens, wanted, now + lease_seconds)
        ids = sorted({id for found in taken.values() for id in found})
        loaded = {query.id: query for query in self.database.read(reading.load_queries, ids, self._cache)}
        return {name: [loaded[id] for id in found if id in loaded] for name, found in taken.items()}

    def assign(
        self, annotator: str, query_ids: Collection[int], *, lease_seconds: float = 60.0, now: float | None = None
    ) -> None:
        """Lease particular queries to an annotator, as if they had taken them: whoever answers must have been asked.

        It is for code that decides by itself who answers what, such as one that stores labels from elsewhere.

        Raises:
            ValueError: if the annotator has no name, the lease is out of range, there is no such query, or it is for
                somebody else alone.
        """
        answering.check_annotator(annotator, lease_seconds)
        now = time.time() if now is None else now
        self.database.write(answering.assign, annotator, query_ids, now + lease_seconds)

    def answer(
        self,
        query_id: int,
        annotator: str,
        choice: Choice | str | None,
        *,
        reasons: Sequence[str] = (),
        shown_at: float | None = None,
        answered_at: float | None = None,
        payload: Mapping[str, Any] | None = None,
        token: str | None = None,
    ) -> int:
        """Add an answer and return its id; the arguments are those of `Submission`, the refusals of `answer_many`."""
        choice = None if choice is None else Choice(choice)
        submission = Submission(query_id, annotator, choice, tuple(reasons), shown_at, answered_at, payload, token)
        return self.answer_many([submission])[0]

    def answer_many(self, submissions: Sequence[Submission]) -> list[int]:
        """Add answers, all or none, and return their ids in the same order.

        An answer is taken even if its lease ran out and others have answered since: no one's work is thrown away. A
        token that was stored before gives the id from then.

        Raises:
            ValueError: if a choice is unknown, a payload is not JSON, or a name or a time is missing its sense.
            AnswerRefusedError: if there is no such query, the answer does not fit its kind, this annotator was never
                asked it (by `take` or `assign`, or as the only one whom it is for), or has answered it already and not
                taken that back.
        """
        rows = answering.prepare_answers(submissions)
        return self.database.write(answering.store_answers, rows) if rows else []

    def ask_answered(
        self, query: Query, choice: Choice, *, shown_at: float | None, answered_at: float | None, token: str
    ) -> tuple[int, int]:
        """Ask one annotator a query and store their answer to it, both or neither; the ids of the two.

        Args:
            query: for the annotator of its `only_for` alone. The key of an earlier one stores nothing new.
            choice, shown_at, answered_at, token: of the answer, as in `Submission`.

        Raises:
            ValueError: if the query is not well formed, or for nobody.
            AnswerRefusedError: if the answer does not fit, or the token was given before with another answer.
        """
        if query.only_for is None:
            raise ValueError(f"The query {query.key!r} comes with an answer, so it is for the one who gave it alone.")
        annotator, prepared = query.only_for, PreparedQueries([query], 1)

        def store_both(connection: Connection) -> tuple[int, int]:
            [id] = prepared.store(connection)
            answer = Submission(id, annotator, choice, shown_at=shown_at, answered_at=answered_at, token=token)
            return id, answering.store_answers(connection, answering.prepare_answers([answer]))[0]

        return self.database.write(store_both)

    def undo(
        self, annotator: str, *, lease_seconds: float = 60.0, now: float | None = None, token: str | None = None
    ) -> Answer | None:
        """Take back an annotator's latest answer that still stands, by adding a row that says so.

        The query is open again, and kept for this annotator first. Returns the added row (its `undoes` names the
        answer), or None if there is nothing to take back. A token makes a repeated call harmless.

        Raises:
            AnswerRefusedError: if the token was given before with an answer, or by another annotator.
        """
        answering.check_annotator(annotator, lease_seconds)
        now = time.time() if now is None else now
        return self.database.write(answering.take_back, annotator, token, now, now + lease_seconds)

    def release(self, annotator: str, *, keeping: Collection[int] = ()) -> int:
        """Let others have what is kept for an annotator who leaves, and return how many queries that are.

        Queries whose answer they took back stay theirs until the lease ends, and so do those of `keeping`: ids of
        queries whose answer is on its way. An answer is taken without a lease, too.
        """
        answering.check_annotator(annotator)
        return self.database.write(answering.release, annotator, keeping)

    # Status messages between processes.

    def post_status(self, name: str, value: Mapping[str, Any]) -> None:
        """Post a status message for the other processes; it replaces the one of this name. JSON values only.

        Raises:
            ValueError: if the value is not JSON.
        """
        checked = require_json(dict(value), f"status message {name!r}")
        self.database.write(status.post, name, checked, time.time())

    def update_status(self, name: str, changed: Mapping[str, Any]) -> dict[str, Any]:
        """Change some values of a status message, leave the others, and return all of them as they are then.

        Raises:
            ValueError: if the values are not JSON.
        """
        checked = require_json(dict(changed), f"status message {name!r}")
        return self.database.write(status.update, name, checked, time.time())

    def statuses(self) -> dict[str, StatusMessage]:
        """All status messages by name, each the newest of its name."""
        return self.database.read(status.load)

    # What anyone may look at.

    def held(self, now: float | None = None) -> dict[str, tuple[int, int]]:
        """Who holds which queries: by annotator, how many are on their screens and how many are held ahead."""
        return self.database.read(taking.count_held, time.time() if now is None else now)

    def query(self, id: int) -> Query:
        """One query with its segments. Raises `KeyError` if there is none of this id."""
        found = self.database.read(reading.load_queries, [id], self._cache)
        if not found:
            raise KeyError(f"There is no query {id} in this store.")
        return found[0]

    def queries(self, round: int | None = None, purpose: Purpose | None = None) -> list[Query]:
        """Queries of a round and a purpose (None: of any), oldest first, with their segments."""
        wanted = select(schema.queries.c.id)
        if round is not None:
            wanted = wanted.where(schema.queries.c.round == round)
        if purpose is not None:
            wanted = wanted.where(schema.queries.c.purpose == purpose.value)
        ids = self.database.read(_first_column, wanted.order_by(schema.queries.c.id))
        return self.database.read(reading.load_queries, ids, self._cache)

    def keys(self, purpose: Purpose) -> list[str]:
        """The keys of the queries of a purpose, oldest first, without loading any segment."""
        wanted = select(schema.queries.c.key).where(schema.queries.c.purpose == purpose.value)
        ordered = wanted.order_by(schema.queries.c.id)
        return self.database.read(_first_column, ordered)

    def segment(self, id: int) -> Segment:
        """One segment; those used lately stay in memory. Raises `StoreDamagedError` if there is none."""
        return self.segments([id])[0]

    def segments(self, ids: Iterable[int]) -> list[Segment]:
        """Several segments, in the order of `ids`. Raises `StoreDamagedError` if one does not exist."""
        ids = list(ids)
        loaded = self._cache.get(ids)
        if len(loaded) < len(set(ids)):
            loaded = self.database.read(reading.load_segments, ids, self._cache)
        for id in ids:
            if id not in loaded:
                raise StoreDamagedError(f"There is no segment {id!r:.40} in the feedback store {self.database.place}.")
        return [loaded[id] for id in ids]

    def counts(self) -> dict[Purpose, QueryCounts]:
        """How far the queries of each purpose have come."""
        return self.database.read(reading.count_queries)


def _first_column(connection: Connection, statement: Select[Any]) -> list[Any]:
    return list(connection.execute(statement).scalars())


def create_tables(database: Database, environment: StoredEnvironment, run: str | None = None) -> StoredEnvironment:
    """Make the tables, all or none, and return the description of the environment as it is stored.

    Args:
        database: where nothing is yet.
        environment: what its segments will be from.
        run: which training run the store is for, if it is for one.

    Raises:
        ValueError: if the environment's arguments are not plain JSON.
        StoreExistsError: if a store is there already.
    """
    described = environment.to_json()

    def make_tables(connection: Connection) -> None:
        if inspect(connection).has_table(meta.name):
            raise StoreExistsError(
                f"{database.place} holds a feedback store already: name another place, or in code go on with it by "
                "rlhf_envs.feedback.PreferenceStore.open."
            )
        metadata.create_all(connection, checkfirst=False)
        facts = {
            "schema_version": SCHEMA_VERSION,
            "environment": described,
            "run": {"id": run},
            "created_at": time.time(),
        }
        connection.execute(insert(meta), [{"name": name, "value": value} for name, value in facts.items()])

    database.prepare_file()
    database.write(make_tables)
    return StoredEnvironment.from_json(described)


def read_description(database: Database) -> tuple[StoredEnvironment, str | None]:
    """Check that this is a store that this version can use; its description of the environment, and whose run it is.

    Raises:
        StoreMissingError, StoreVersionError, StoreDamagedError: if it is not.
    """

    def read_facts(connection: Connection) -> dict[str, Any]:
        inspected = inspect(connection)
        if not inspected.get_table_names():
            raise StoreMissingError(f"There is no feedback store at {database.place} yet: it is empty.")
        if not inspected.has_table(meta.name):
            raise StoreDamagedError(f"{database.place} is not a feedback store: it has none of its tables.")
        if not {meta.c.name.name, meta.c.value.name} <= {column["name"] for column in inspected.get_columns(meta.name)}:
            raise StoreDamagedError(f"{database.place} is not a feedback store: its tables are another program's.")
        return {row.name: row.value for row in connection.execute(select(meta.c.name, meta.c.value))}

    database.require_file()
    try:
        facts = database.read(read_facts)
    except ValueError:
        facts = {}
    version = facts.get("schema_version")
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise StoreVersionError(
            f"The feedback store {database.place} has version {version}, and this library reads version "
            f"{SCHEMA_VERSION}: open it with the rlhf-envs that made it."
        )
    run = facts.get("run")
    if version != SCHEMA_VERSION or "environment" not in facts or not isinstance(run, dict):
        raise StoreDamagedError(f"{database.place} is damaged: it lacks its version, its environment or its run.")
    try:
        return StoredEnvironment.from_json(facts["environment"]), run.get("id")
    except ValueError as error:
        raise StoreDamagedError(f"{database.place} is damaged: {error}") from error
