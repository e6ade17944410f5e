"""Who may use the page: personal tokens, of which the store keeps only digests."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select

from rlhf_envs.feedback.store import PreferenceStore, rows
from rlhf_envs.feedback.store.reading import look_alike
from rlhf_envs.feedback.store.schema import annotators
from rlhf_envs.queries import LONGEST_NAME

OWNER = "owner"
ANNOTATOR = "annotator"
_ROLES = (ANNOTATOR, OWNER)
_NAME = re.compile(rf"[\w.@+-](?:[\w .@+-]{{0,{LONGEST_NAME - 2}}}[\w.@+-])?")
_REFRESH_SECONDS = 5.0
_SOONEST_REFRESH = 0.5


@dataclass(frozen=True)
class Person:
    """A person with a token.

    Attributes:
        name: who they are; answers are stored under it.
        role: "annotator" answers, "owner" sees the dashboard.
        created_at: when their token was made, seconds since the epoch.
    """

    name: str
    role: str
    created_at: float


class Tokens:
    """The personal tokens of a store: makes them, knows them again, takes them back. Safe to share between threads.

    Args:
        store: in whose database their digests lie. Another process may change them; that is seen within seconds.
    """

    def __init__(self, store: PreferenceStore) -> None:
        self._database = store.database
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._known: dict[str, Person] = {}
        self._read_at = -float("inf")

    def create(self, name: str, role: str = ANNOTATOR) -> str:
        """A new token for this person, in place of any that they had; only this call ever returns it.

        Raises:
            ValueError: if the name or the role is unusable, or somebody else has a name that looks the same.
        """
        check_name(name, role)
        token = secrets.token_urlsafe(32)
        row = {"name": name, "role": role, "token_digest": digest(token), "created_at": time.time()}

        def replace(connection: Connection) -> None:
            other = look_alike(connection, name)
            if other is not None:
                raise ValueError(
                    f"{name!r} looks like {other!r}, who is here already; use that name, or give another one."
                )
            connection.execute(delete(annotators).where(annotators.c.name == name))
            connection.execute(insert(annotators), row)

        self._database.write(replace)
        self._read()
        return token

    def revoke(self, name: str) -> bool:
        """End this person's token, and say whether they had one. What they answered stays."""

        def remove(connection: Connection) -> int:
            return connection.execute(delete(annotators).where(annotators.c.name == name)).rowcount

        removed = self._database.write(remove)
        self._read()
        return removed > 0

    def is_fresh(self, token: str) -> bool:
        """Whether `find` knows this token without reading the store."""
        return time.monotonic() - self._read_at <= _REFRESH_SECONDS and self._match(token) is not None

    def find(self, token: str) -> Person | None:
        """The person with this token. It takes equally long for every person, and however nearly a wrong one is right.

        Raises:
            StoreError: if the store cannot be read.
        """
        found = self._match(token)
        age = time.monotonic() - self._read_at
        if age > _REFRESH_SECONDS or (found is None and age > _SOONEST_REFRESH):
            self._read()
            found = self._match(token)
        return found

    def people(self) -> list[Person]:
        """All people with a token, by name."""
        self._read()
        with self._lock:
            return sorted(self._known.values(), key=lambda person: person.name)

    def _match(self, token: str) -> Person | None:
        presented = digest(token)
        found = None
        with self._lock:
            for known, person in self._known.items():
                if hmac.compare_digest(known, presented):
                    found = person
        return found

    def _read(self) -> None:
        def read(connection: Connection) -> dict[str, Person]:
            found = [rows.person(row) for row in connection.execute(select(annotators))]
            return {row["token_digest"]: Person(row["name"], row["role"], row["created_at"]) for row in found}

        # One at a time: what was read before a new token was written must not replace what was read after it.
        with self._reading:
            known = self._database.read(read)
            with self._lock:
                self._known = known
                self._read_at = time.monotonic()


def is_loopback_address(link: str) -> bool:
    """Whether a link leads to the machine itself and nowhere else, or nowhere at all."""
    host = urlsplit(link).hostname
    return not host or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether a name or an address of a machine is that of the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def qr_rows(link: str) -> list[str]:
    """A link as a QR code: rows of dark squares (1) and light ones (0), without a margin."""
    import segno

    return ["".join(str(int(bool(square))) for square in row) for row in segno.make(link, micro=False).matrix]


def digest(token: str) -> str:
    """What is stored of a token: its SHA-256, 64 hex digits. Tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def check_name(name: str, role: str = ANNOTATOR) -> None:
    """Raise `ValueError` for a name or a role that cannot be used."""
    if role not in _ROLES:
        raise ValueError(f"A role is one of {', '.join(_ROLES)}, not {role!r}.")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"A name has 1 to {LONGEST_NAME} letters, digits, spaces and the signs . _ - + @, which {name!r} has not; "
            "initials are enough."
        )
    if (name == OWNER) != (role == OWNER):
        raise ValueError(f"The name {OWNER!r} is reserved for the owner of the run; give annotators other names.")
