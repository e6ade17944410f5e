"""How far everything is: what the page tells annotators, and the owner's dashboard."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlhf_envs.feedback.progress import PACE_OVER, SessionProgress, pace, session_progress, total_counts
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, StatusMessage
from rlhf_envs.queries import Choice, LiveAnswer, Purpose, QueryCounts

_SECONDS_KEPT = 1.0
_SHARE_OF_TIME = 0.1
_SIDES = (Choice.LEFT, Choice.RIGHT)


@dataclass(frozen=True)
class Overview:
    """The state of a store at one moment.

    Attributes:
        given: answers of each annotator that stand, in order of arrival, practice left out.
        practice: the same of the practice round alone.
        counts: how far the queries of each purpose are.
        statuses: what the training run and the owner say.
        purposes: which queries make up the queue.
    """

    given: Mapping[str, Sequence[LiveAnswer]]
    practice: Mapping[str, Sequence[LiveAnswer]]
    counts: Mapping[Purpose, QueryCounts]
    statuses: Mapping[str, StatusMessage]
    purposes: Collection[Purpose]
    _agreement: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def queue(self) -> QueryCounts:
        """How far the queue is, over all purposes that are served."""
        return total_counts(self.counts, self.purposes)

    @property
    def for_training(self) -> bool:
        """Whether anything of what is served is asked by a training run."""
        return not frozenset(QUEUE).isdisjoint(self.purposes)

    def progress(self, annotator: str | None = None) -> SessionProgress:
        """How far things are, as an annotator sees it."""
        answered = self.given.get(annotator, ()) if annotator is not None else ()
        times = [(live.shown_at, live.answered_at) for live in answered[-PACE_OVER:]]
        return session_progress(len(answered), times, self.counts, self.statuses, self.purposes)

    @property
    def requests(self) -> Mapping[str, Any]:
        """What the owner requests of the training run."""
        message = self.statuses.get(OWNER_REQUESTS)
        return {} if message is None else message.value

    def seconds_per_answer(self, annotator: str) -> float | None:
        """The annotator's pace, over their last answers."""
        latest = self.given.get(annotator, [])[-PACE_OVER:]
        return pace([(live.shown_at, live.answered_at) for live in latest])

    def left_share(self, annotator: str) -> float | None:
        """How often they say left, of all times that they say left or right; None before they do."""
        sides = [live.choice for live in self.given.get(annotator, ()) if live.choice in _SIDES]
        return sides.count(Choice.LEFT) / len(sides) if sides else None

    def agreement(self, annotator: str) -> tuple[int, int]:
        """How many times they said the same side as another annotator of the same query, and of how many times."""
        if not self._agreement:
            self._agreement.update(_agreements(self.given))
        return self._agreement.get(annotator, (0, 0))

    def practice_score(self, annotator: str) -> tuple[int, int]:
        """How many practice answers were right, and how many were given."""
        answered = self.practice.get(annotator, ())
        return sum(live.choice == live.context.get("answer") for live in answered), len(answered)


class Overlook:
    """Gives an overview that is a second old at most, however many ask; safe to share between threads.

    Args:
        store: what is looked over.
        purposes: which queries make up the queue.
    """

    def __init__(self, store: PreferenceStore, purposes: Collection[Purpose]) -> None:
        self._store = store
        self._purposes = frozenset(purposes)
        self._lock = threading.Lock()
        self._latest: Overview | None = None
        self._good_until = -float("inf")

    def look(self) -> Overview:
        """The state of the store.

        Raises:
            StoreError: if it cannot be read.
        """
        with self._lock:
            started = time.monotonic()
            if self._latest is None or started > self._good_until:
                self._latest = _overview(self._store, self._purposes)
                ended = time.monotonic()
                # Of a large store, looking takes long: it may have a tenth of the time, answers come first.
                self._good_until = ended + max(_SECONDS_KEPT, (ended - started) / _SHARE_OF_TIME)
            return self._latest

    def forget(self) -> None:
        """Look again the next time, because something was changed that its owner wants to see."""
        with self._lock:
            self._latest = None


def _overview(store: PreferenceStore, purposes: Collection[Purpose]) -> Overview:
    given: dict[str, list[LiveAnswer]] = defaultdict(list)
    practice: dict[str, list[LiveAnswer]] = defaultdict(list)
    for live in store.live_answers():
        if live.purpose is Purpose.PRACTICE:
            practice[live.annotator].append(live)
        elif live.purpose in purposes:
            given[live.annotator].append(live)
    return Overview(dict(given), dict(practice), store.counts(), store.statuses(), purposes)


def _agreements(given: Mapping[str, Sequence[LiveAnswer]]) -> dict[str, tuple[int, int]]:
    said: dict[int, dict[str, Choice]] = defaultdict(dict)
    for annotator, answers in given.items():
        for live in answers:
            if live.choice is not None and live.choice in _SIDES:
                said[live.query_id][annotator] = live.choice
    agreed: dict[str, int] = defaultdict(int)
    met: dict[str, int] = defaultdict(int)
    for by_annotator in said.values():
        for annotator, choice in by_annotator.items():
            others = [other for name, other in by_annotator.items() if name != annotator]
            met[annotator] += len(others)
            agreed[annotator] += others.count(choice)
    return {annotator: (agreed[annotator], met[annotator]) for annotator in met}
