"""What can go wrong with a feedback store, each said in one sentence."""

from __future__ import annotations


class StoreError(RuntimeError):
    """The feedback store cannot do what was asked of it. Everything it acknowledged before is kept.

    Attributes:
        brief: the same for strangers: what is wrong, and nothing of where the store is.
    """

    brief = "The store of the answers cannot be used at the moment."


class StoreMissingError(StoreError):
    """There is no feedback store at this place."""

    brief = "The store of the answers is not where it was."


class StoreExistsError(StoreError):
    """A feedback store is here already and will not be overwritten."""


class StoreVersionError(StoreError):
    """The store was written by another version of this library."""


class StoreDamagedError(StoreError):
    """The file is not a feedback store, or is damaged."""

    brief = "The store of the answers is damaged."


class StoreLockedError(StoreError):
    """Another process held the store for longer than this one was willing to wait."""

    brief = "The store of the answers is locked by another process at the moment."


class StoreClaimedError(StoreError):
    """Another process trains with the store, and one at a time is enough."""


class StoreOfAnotherRunError(StoreError):
    """The store that was found is not that of the run that looks for it."""

    brief = "The store of the answers is not that of this run."


class StoreReadOnlyError(StoreError):
    """The store, or the directory it stands in, cannot be written."""

    brief = "The store of the answers cannot be written at the moment."


class StoreFullError(StoreError):
    """The disk is full."""

    brief = "The disk that keeps the answers is full."


class AnswerRefusedError(ValueError):
    """An answer, or a query, that makes no sense; nothing of it was stored."""


_CAUSES: tuple[tuple[tuple[str, ...], type[StoreError], str], ...] = (
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED", "40001", "40P01", "55P03"),  # a lost race, a deadlock, a lock not available
        StoreLockedError,
        "The feedback store {place} is locked by another process; close what holds it, or try again.",
    ),
    (
        ("SQLITE_FULL", "53100"),
        StoreFullError,
        "The disk of the feedback store {place} is full; free some space and go on: what was stored is kept.",
    ),
    (
        ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "25006"),
        StoreReadOnlyError,
        "The feedback store {place} cannot be written ({cause}); its directory and file must both be writable, even to "
        "read it.",
    ),
    (
        ("SQLITE_NOTADB", "SQLITE_CORRUPT"),
        StoreDamagedError,
        "The file {place} is damaged or is not a feedback store ({cause}); it was left as it is, restore it from a "
        "copy or recover it with sqlite3's .recover.",
    ),
    (
        ("SQLITE_IOERR",),
        StoreError,
        "The disk of the feedback store {place} failed ({cause}); if it is full, free some space, and go on: what was "
        "stored is kept.",
    ),
    (("",), StoreError, "The feedback store {place} failed: {cause}."),
)
"""How the code of an error begins, of SQLite by name or of PostgreSQL by state, and what it means."""


def store_error(cause: BaseException | None, place: str) -> StoreError:
    """Say what a database driver's error means for the person who runs the store at `place`."""
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
    kind, sentence = next((kind, sentence) for starts, kind, sentence in _CAUSES if code.startswith(starts))
    return kind(sentence.format(place=place, cause=cause))
