"""What can go wrong with a feedback store, each said in one sentence."""

from __future__ import annotations

import sqlite3

_DISK_IS_FULL = "53100"
_READ_ONLY_TRANSACTION = "25006"
_TRY_AGAIN = ("40001", "40P01", "55P03")
"""PostgreSQL's states for a lost serialisation race, a deadlock, and a lock that was not available."""


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
    """The store was written by a newer version of this library."""


class StoreDamagedError(StoreError):
    """The file is not a feedback store, or is damaged."""

    brief = "The store of the answers is damaged."


class StoreLockedError(StoreError):
    """Another process held the store for longer than this one was willing to wait."""

    brief = "The store of the answers is locked by another process at the moment."


class StoreReadOnlyError(StoreError):
    """The store, or the directory it stands in, cannot be written."""

    brief = "The store of the answers cannot be written at the moment."


class StoreFullError(StoreError):
    """The disk is full."""

    brief = "The disk that keeps the answers is full."


class AnswerRefusedError(ValueError):
    """An answer, or a query, that makes no sense; nothing of it was stored."""


def store_error(cause: BaseException | None, place: str) -> StoreError:
    """Say what a database driver's error means for the person who runs the store at `place`."""
    code = _code(cause)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or code in _TRY_AGAIN:
        return StoreLockedError(
            f"The feedback store {place} is locked by another process; close what holds it, or try again."
        )
    if code in ("SQLITE_FULL", _DISK_IS_FULL):
        return StoreFullError(
            f"The disk of the feedback store {place} is full; free some space and go on: what was stored is kept."
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or code == _READ_ONLY_TRANSACTION:
        return StoreReadOnlyError(
            f"The feedback store {place} cannot be written ({cause}); its directory and file must both be writable, "
            "even to read it."
        )
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StoreDamagedError(
            f"The file {place} is damaged or is not a feedback store ({cause}); it was left as it is, "
            "restore it from a copy or recover it with sqlite3's .recover."
        )
    if code.startswith("SQLITE_IOERR"):
        return StoreError(
            f"The disk of the feedback store {place} failed ({cause}); if it is full, free some space, and go on: what "
            "was stored is kept."
        )
    return StoreError(f"The feedback store {place} failed: {cause}.")


def _code(cause: BaseException | None) -> str:
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", "") or ""
    return getattr(cause, "sqlstate", "") or ""
