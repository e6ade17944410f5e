"""What the desk keeps: what a person did that the store may not know yet, and what the store says is to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from rlhf_envs.feedback.session import SessionProgress
from rlhf_envs.feedback.window.questions import Verdict
from rlhf_envs.queries import Query


@dataclass(frozen=True, eq=False)
class Given:
    """An answer on its way to the store; its token makes storing it twice impossible."""

    query: Query
    verdict: Verdict
    reasons: tuple[str, ...]
    shown_at: float
    answered_at: float
    token: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, eq=False)
class TakenBack:
    """The wish to take back an answer: one that may not be stored yet, or where None the latest that is stored."""

    given: Given | None
    token: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True)
class DeskState:
    """What the desk knows at a moment.

    Attributes:
        queries: what to show, the first one now.
        unsaved: answers that stand and are not in the store yet.
        overdue: whether the first of them has been waiting for longer than a store usually takes.
        trouble: why the store could not do its work when it was last asked, or None.
        refused: why an answer was not taken, for some seconds after it happened, or None.
        progress: how far things are, or None before it is known.
        heard_ago: seconds since training last said something, or None if it never has.
        fetched: whether the store has been asked for queries at least once.
    """

    queries: tuple[Query, ...] = ()
    unsaved: int = 0
    overdue: bool = False
    trouble: str | None = None
    refused: str | None = None
    progress: SessionProgress | None = None
    heard_ago: float | None = None
    fetched: bool = False


def standing_answers(entries: Iterable[Given | TakenBack]) -> list[Given]:
    """The answers in a list of entries that are not taken back further on."""
    standing: list[Given] = []
    for entry in entries:
        if isinstance(entry, Given):
            standing.append(entry)
        elif entry.given in standing:
            standing.remove(entry.given)
    return standing


def merged(known: Sequence[Query], fresh: Sequence[Query], first: int | None = None) -> list[Query]:
    """The fresh queries, in the order in which they have been known, so that none is pushed off the screen.

    Args:
        known: queries in the order in which they were going to be shown.
        fresh: what the store says is to be shown; only these remain, and new ones come last.
        first: the id of one whose answer was taken back, which comes before all.
    """
    by_id: Mapping[int | None, Query] = {query.id: query for query in fresh}
    order = [first] + [query.id for query in known] + [query.id for query in fresh]
    return [by_id[id] for id in dict.fromkeys(order) if id in by_id]
