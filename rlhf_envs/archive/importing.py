"""Imports an archive, or another store, into a feedback store: a new one, or one that has queries of its own.

A query is found again in a store, where it has another number, by its fingerprint: when it was asked, its key, kind
and purpose, and its segments. In a store with queries of its own its key becomes "import/FINGERPRINT/KEY", as the key
may be taken there or be used by a run one day. So importing twice, or importing a later export of the same store, adds
only what is new, and no import needs a name of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, select

from rlhf_envs.archive.reading import Archive, RecordSource, check_records
from rlhf_envs.archive.records import QueryRecord
from rlhf_envs.archive.tables import LARGEST_EXACT_FLOAT
from rlhf_envs.clips import Redrawing
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback.store import rows
from rlhf_envs.feedback.store.asking import add_rows, segment_row, store_segments, store_shown
from rlhf_envs.feedback.store.database import MOST_VALUES, Database, batches
from rlhf_envs.feedback.store.errors import StoreExistsError
from rlhf_envs.feedback.store.schema import answers, queries, query_segments, segments
from rlhf_envs.feedback.store.store import create_tables, read_description
from rlhf_envs.feedback.store.tallies import add_answers
from rlhf_envs.queries import Answer
from rlhf_envs.segments import Segment

_PREFIX = "import"
_SEGMENTS_PER_TRANSACTION = 256
_BYTES_PER_TRANSACTION = 16 * 2**20
_ROWS_PER_INSERT = 1_000

_Record = TypeVar("_Record", QueryRecord, Answer)


@dataclass(frozen=True)
class ImportReport:
    """What an import added, and what the store had already.

    Attributes:
        queries, answers: added; undos count as answers.
        known_queries, known_answers: that the store had already.
        new_store: whether the store was made for the import.
    """

    queries: int
    answers: int
    known_queries: int
    known_answers: int
    new_store: bool


def import_archive(
    folder: str | os.PathLike[str],
    store: str | os.PathLike[str],
    *,
    run: str | None = None,
    patience: float = 10.0,
) -> ImportReport:
    """Import everything that an archive holds into a store, which is made if there is none.

    A new store gets the same queries, answers, undos and segments in the same order. An existing store gets those that
    it does not have yet, under keys of their own and in round 0, so that no run takes them for its own; importing the
    same archive, or a later export of the same store, adds only what is new. The archive is checked completely before
    anything is stored, and queries and answers are stored all or none.

    Args:
        folder: what `export_store` made.
        store: path or SQLAlchemy URL.
        run: which training run a new store is made for.
        patience: seconds to wait for another process that has locked the store.

    Raises:
        ValueError: if pyarrow is not installed; the folder is no archive, damaged, of another version or makes no
            sense; or the store is about another environment, or contradicts the archive about an answer.
        StoreError: if the store is damaged, locked, of another version, or cannot be written.
    """
    archive = Archive(folder)
    check_records(archive)
    return import_records(archive, store, run=run, patience=patience)


def import_records(
    source: RecordSource,
    store: str | os.PathLike[str],
    *,
    run: str | None = None,
    patience: float = 10.0,
    environment: EnvironmentRef | None = None,
) -> ImportReport:
    """Import the records of any source; see `import_archive`. They are not checked (`check_records` does that).

    Args:
        source, store, run, patience: as there.
        environment: that the store is about, where it is a variant of the source's. Segments that it would draw
            otherwise are stored as pictures.
    """
    described, redraw = source.environment, None
    if environment is not None and described.ref is not None:
        redraw = Redrawing(described.ref, environment)
        described = replace(described, ref=environment)
    database = Database(store, patience)
    try:
        new_store = _create_unless_there(database, source.place, described, run)
        unchanged = new_store or database.read(_is_unfinished_import)
        stored = _add_segments(database, source, redraw)
        merge = database.write(_Merge, source, stored, unchanged)
    finally:
        database.close()
    return ImportReport(merge.added_queries, merge.added_answers, merge.known_queries, merge.known_answers, new_store)


def _create_unless_there(database: Database, place: str, described: StoredEnvironment, run: str | None) -> bool:
    """Make the store of this environment if there is none; whether there was none.

    Args:
        database: of the store.
        place: of what is to be imported, for messages.
        described, run: what a new store is about.

    Raises:
        ValueError: if there is one about another environment.
    """
    try:
        create_tables(database, described, run)
        return True
    except StoreExistsError:
        pass
    of_store, of_source = read_description(database)[0].to_json(), described.to_json()
    for name in dict.fromkeys([*of_store, *of_source]):
        if of_store.get(name) != of_source.get(name):
            raise ValueError(
                f"The store {database.place} is about {name} = {of_store.get(name)!r}, and {place} about "
                f"{of_source.get(name)!r}; import it into a store of its own."
            )
    return False


def _is_unfinished_import(connection: Connection) -> bool:
    """Whether an import into a new store ended before its queries came: a run never stores segments without them."""
    no_queries = connection.execute(select(queries.c.id).limit(1)).first() is None
    return no_queries and connection.execute(select(segments.c.id).limit(1)).first() is not None


class _StoredSegment(NamedTuple):
    id: int
    digest: str


def _add_segments(
    database: Database, source: RecordSource, redraw: Callable[[Segment], Segment] | None
) -> dict[int, _StoredSegment]:
    """Store the segments that are new; where each is in the store, by its number in the source.

    Each group is a transaction, so that nobody waits long for the store. Segments of an import that ended half way are
    found again the next time, and until then no query shows them.
    """
    stored: dict[int, _StoredSegment] = {}
    shown = ((id, segment if redraw is None else redraw(segment)) for id, segment in source.segments())
    rows = ((id, segment_row(segment.to_bytes(), len(segment))) for id, segment in shown)
    for group in batches(
        rows, _SEGMENTS_PER_TRANSACTION, _BYTES_PER_TRANSACTION, lambda numbered: len(numbered[1]["content"])
    ):
        ids = database.write(store_segments, {row["digest"]: row for _, row in group})
        stored |= {id: _StoredSegment(ids[row["digest"]], row["digest"]) for id, row in group}
    return stored


class _Fingerprint(NamedTuple):
    """The key under which a query was asked first, and 16 hex digits that stand for the query."""

    first_key: str
    digest: str

    @classmethod
    def of(cls, key: str, kind: str, purpose: str, created_at: float, segment_digests: Sequence[str]) -> _Fingerprint:
        """From a query's fields, whose key may be that of an import, and its segments in screen order."""
        prefix, _, rest = key.partition("/")
        mark, _, first_key = rest.partition("/")
        about = (kind, purpose, created_at, segment_digests)
        if prefix == _PREFIX and mark == _short_digest(first_key, *about):
            return cls(first_key, mark)
        return cls(key, _short_digest(key, *about))

    @property
    def imported_key(self) -> str:
        """The key in a store that has queries of its own."""
        return f"{_PREFIX}/{self.digest}/{self.first_key}"


def _short_digest(*content: Any) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


class _Merge:
    """Adds the queries and answers that a store does not have, within one transaction, and counts those that it has.

    Args:
        connection: of the transaction.
        source: what to add.
        stored: where each segment of the source is in the store.
        unchanged: whether queries keep their keys and rounds, because the store was made for them alone.

    Raises:
        ValueError: if the store and the source contradict each other about an answer.
    """

    def __init__(
        self, connection: Connection, source: RecordSource, stored: Mapping[int, _StoredSegment], unchanged: bool
    ) -> None:
        self._connection, self._place = connection, source.place
        self._stored, self._unchanged = stored, unchanged
        self._query_ids: dict[int, int] = {}
        self._answer_ids: dict[int, int] = {}
        self.added_queries = self.added_answers = self.known_queries = 0
        known: set[int] = set()
        for group in _independent_groups(source.queries(), lambda query: query.reference and query.reference[1]):
            known |= self._add_queries(group)
        in_store = _StoredAnswers(connection, known)
        # All known answers are matched before any is added: what is left then is in the store alone.
        for answer in source.answers():
            id = in_store.match(self._query_ids[answer.query_id], answer)
            if id is not None:
                self._answer_ids[answer.id] = id
        self.known_answers = len(self._answer_ids)
        new = (answer for answer in source.answers() if answer.id not in self._answer_ids)
        for answer_group in _independent_groups(new, lambda answer: answer.undoes):
            self._add_answers(answer_group, in_store)

    def _add_queries(self, group: Sequence[QueryRecord]) -> set[int]:
        """Add those that are new; the store's ids of the others."""
        fingerprints = {query.id: self._fingerprint(query) for query in group}
        in_store = {} if self._unchanged else self._find_queries(fingerprints.values())
        known = {query.id: in_store[mark] for query in group if (mark := fingerprints[query.id]) in in_store}
        new = [query for query in group if query.id not in known]
        self._query_ids |= known
        if new:
            rows = [self._query_values(query, fingerprints[query.id]) for query in new]
            added = add_rows(self._connection, queries, rows)
            self._query_ids |= {query.id: id for query, id in zip(new, added, strict=True)}
            shown = {self._query_ids[query.id]: [self._stored[number].id for number in query.segments] for query in new}
            store_shown(self._connection, shown)
        self.added_queries += len(new)
        self.known_queries += len(known)
        return set(known.values())

    def _fingerprint(self, query: QueryRecord) -> _Fingerprint:
        digests = [self._stored[segment].digest for segment in query.segments]
        return _Fingerprint.of(query.key, query.kind, query.purpose, query.created_at, digests)

    def _find_queries(self, fingerprints: Iterable[_Fingerprint]) -> dict[_Fingerprint, int]:
        """Those queries of the store that have one of these fingerprints."""
        keys = [key for mark in fingerprints for key in (mark.first_key, mark.imported_key)]
        same_key = select(queries).where(queries.c.key.in_(keys)).order_by(queries.c.id)
        found = self._connection.execute(same_key).all()
        digests: dict[int, list[str]] = defaultdict(list)
        for id, digest in self._connection.execute(
            select(query_segments.c.query_id, segments.c.digest)
            .join(segments, segments.c.id == query_segments.c.segment_id)
            .where(query_segments.c.query_id.in_([row.id for row in found]))
            .order_by(query_segments.c.query_id, query_segments.c.position)
        ):
            digests[id].append(digest)
        return {
            _Fingerprint.of(row.key, row.kind, row.purpose, row.created_at, digests[row.id]): row.id for row in found
        }

    def _query_values(self, query: QueryRecord, fingerprint: _Fingerprint) -> dict[str, Any]:
        values = {**vars(query), "purpose": query.purpose.value}
        if query.reference is not None:
            entry, earlier = query.reference
            values["context"] = {**query.context, entry: self._query_ids.get(earlier, earlier)}
        if not self._unchanged:
            # In a store with a run of its own, a key or a round of that run would be taken for one of its queries.
            values |= {"key": fingerprint.imported_key, "round": 0}
        del values["id"], values["segments"]
        return values

    def _add_answers(self, group: Sequence[Answer], in_store: _StoredAnswers) -> None:
        for answer in group:
            self._check_no_contradiction(answer, in_store)
        added = add_answers(self._connection, [self._answer_values(answer) for answer in group])
        self._answer_ids |= {answer.id: id for answer, id in zip(group, added, strict=True)}
        self.added_answers += len(group)

    def _check_no_contradiction(self, answer: Answer, in_store: _StoredAnswers) -> None:
        query = self._query_ids[answer.query_id]
        undoes = None if answer.undoes is None else self._answer_ids[answer.undoes]
        if in_store.contradicts(query, answer, undoes):
            raise ValueError(
                f"{self._place} and the store contradict each other about the answer of {answer.annotator} to query "
                f"{query} of the store; import it into a store of its own."
            )
        other = in_store.author_of(query, answer)
        if other is not None:
            raise ValueError(
                f"An answer of {answer.annotator} in {self._place} is an answer of {other} in the store; import an "
                "export in which annotators have the same names."
            )
        in_store.add(query, answer.annotator, undoes)

    def _answer_values(self, answer: Answer) -> dict[str, Any]:
        values = {
            **vars(answer),
            "query_id": self._query_ids[answer.query_id],
            "choice": None if answer.choice is None else answer.choice.value,
            "undoes": None if answer.undoes is None else self._answer_ids[answer.undoes],
            # Tokens keep a screen from submitting twice. Those of another store's screens could only clash here.
            "token": answer.token if self._unchanged else None,
        }
        del values["id"]
        return values


class _StoredAnswers:
    """The answers that a store has to some of its queries, and those that are added to them.

    Args:
        connection: of the transaction.
        known: the ids of the queries.
    """

    def __init__(self, connection: Connection, known: set[int]) -> None:
        self._unmatched: dict[tuple[int, str], dict[str, deque[int]]] = defaultdict(lambda: defaultdict(deque))
        self._standing: set[tuple[int, str]] = set()
        self._undone: set[int] = set()
        for ids in batches(sorted(known), MOST_VALUES):
            for row in connection.execute(select(answers).where(answers.c.query_id.in_(ids)).order_by(answers.c.id)):
                answer = rows.answer(row)
                self._unmatched[row.query_id, _content(answer)][row.annotator].append(row.id)
                self.add(row.query_id, row.annotator, row.undoes)

    def match(self, query: int, answer: Answer) -> int | None:
        """The store's own row of an answer, each row once; None where the store does not have it."""
        rows = self._unmatched.get((query, _content(answer)), {}).get(answer.annotator)
        return rows.popleft() if rows else None

    def contradicts(self, query: int, answer: Answer, undoes: int | None) -> bool:
        """Whether an answer that the store does not have is impossible together with those that it has."""
        return undoes in self._undone if undoes is not None else (query, answer.annotator) in self._standing

    def author_of(self, query: int, answer: Answer) -> str | None:
        """Under which other name the store has the very same answer, given at the very same time."""
        if answer.answered_at is None:
            return None
        return next((name for name, ids in self._unmatched.get((query, _content(answer)), {}).items() if ids), None)

    def add(self, query: int, annotator: str, undoes: int | None) -> None:
        """A row that is in the store from now on."""
        if undoes is None:
            self._standing.add((query, annotator))
        else:
            self._standing.discard((query, annotator))
            self._undone.add(undoes)


def _content(answer: Answer) -> str:
    """An answer without its author and query: equal for copies of one row."""
    undo = answer.undoes is not None
    payload = _with_floats(answer.payload)
    values = [answer.choice, undo, answer.reasons, answer.shown_at, answer.answered_at, payload]
    return json.dumps(values, sort_keys=True)


def _with_floats(value: Any) -> Any:
    """A JSON value in which whole numbers are floats, as a column of numbers gives them back."""
    if isinstance(value, Mapping):
        return {name: _with_floats(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_floats(part) for part in value]
    return float(value) if type(value) is int and abs(value) <= LARGEST_EXACT_FLOAT else value


def _independent_groups(
    records: Iterable[_Record], refers_to: Callable[[_Record], int | None]
) -> Iterator[list[_Record]]:
    """Records in lists, none of them together with a record that it refers to, whose id must be known first."""
    group: list[_Record] = []
    ids: set[int] = set()
    for record in records:
        if len(group) == _ROWS_PER_INSERT or refers_to(record) in ids:
            yield group
            group, ids = [], set()
        group.append(record)
        ids.add(record.id)
    if group:
        yield group
