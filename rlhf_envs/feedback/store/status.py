"""Status messages: what the processes around a store tell each other, the newest of each name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from rlhf_envs.feedback.store import rows
from rlhf_envs.feedback.store.schema import notices

TRAINING = "training"
"""Posted by a training run after every rollout, and while it waits: how far it is, and what it waits for."""

OWNER_REQUESTS = "owner_requests"
"""Posted by the owner of a run: whether it should pause or stop, and how many comparisons to ask beyond its budget."""


@dataclass(frozen=True)
class StatusMessage:
    """What was posted, and when (seconds since the epoch)."""

    value: Mapping[str, Any]
    posted_at: float


@dataclass(frozen=True)
class OwnerRequests:
    """What the owner of a run requests.

    Attributes:
        paused: training should stand still.
        stop: training should end so that it can be resumed.
        extra_answers: how many to ask for beyond the budget.
    """

    paused: bool = False
    stop: bool = False
    extra_answers: int = 0

    @classmethod
    def of(cls, statuses: Mapping[str, StatusMessage]) -> OwnerRequests:
        """The requests among a store's status messages; the defaults in place of what is missing or malformed."""
        message = statuses.get(OWNER_REQUESTS)
        values: Mapping[str, Any] = {} if message is None else message.value
        extra = values.get("extra_answers", 0)
        return cls(
            paused=values.get("paused") is True,
            stop=values.get("stop") is True,
            extra_answers=extra if isinstance(extra, int) and extra > 0 else 0,
        )


def post(connection: Connection, name: str, value: Mapping[str, Any], at: float) -> None:
    """Replace the message of this name."""
    connection.execute(delete(notices).where(notices.c.name == name))
    connection.execute(insert(notices), {"name": name, "value": value, "posted_at": at})


def update(connection: Connection, name: str, changed: Mapping[str, Any], at: float) -> dict[str, Any]:
    """Change some values of a message and return all of them as they are now."""
    before = load(connection).get(name)
    value = {**(before.value if before is not None else {}), **changed}
    post(connection, name, value, at)
    return value


def load(connection: Connection) -> dict[str, StatusMessage]:
    """All messages by name."""
    found = [rows.status_message(row) for row in connection.execute(select(notices))]
    return {name: StatusMessage(value, posted_at) for name, value, posted_at in found}
