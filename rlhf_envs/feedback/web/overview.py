"""How far everything is: what the page tells annotators, and the owner's dashboard."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlhf_envs.feedback.session import PACE_OVER, pace, wanted_in_the_end
from rlhf_envs.feedback.status import OWNER_REQUESTS, TRAINING, StatusMessage
from rlhf_envs.feedback.store import QUEUE, PreferenceStore
from rlhf_envs.queries import Choice, LiveAnswer, Purpose, QueryCounts

_SECONDS_KEPT = 1.0
_SHARE_OF_TIME = 0.1
_SIDES = (Choice.LEFT, Choice.RIGHT)
_OVER = ("finished", "stopped")


@dataclass(frozen=True)
class Overview:
    """The state of a store at one moment.

    Attributes:
        given: answers of each annotator that stand, in order of arrival, practice left out.
        practice: the same of the practice round alone.
        counts: how far the queue is, over all purposes that are served.
        statuses: what the training run and the owner say.
        for_training: whether anything of what is served is asked by a training run.
    """

    given: Mapping[str, Sequence[LiveAnswer]]
    practice: Mapping[str, Sequence[LiveAnswer]]
    counts: QueryCounts
    statuses: Mapping[str, StatusMessage]
    for_training: bool
    _agreement: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def training(self) -> StatusMessage | None:
        """The training run's latest status message, where it is a training run that asks."""
        return self.statuses.get(TRAINING) if self.for_training else None

    @property
    def over(self) -> bool:
        """Whether whoever asks has said that nothing more will be asked."""
        message = self.statuses.get(TRAINING)
        return message is not None and message.value.get("state") in _OVER

    @property
    def wanted(self) -> int:
        """How many queries will have been asked in the end, as far as is known."""
        return wanted_in_the_end(self.counts.asked, None if self.training is None else self.training.value)

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
    counts = store.counts()
    queue = [counts[purpose] for purpose in purposes]
    return Overview(
        dict(given),
        dict(practice),
        QueryCounts(
            asked=sum(count.asked for count in queue),
            answered=sum(count.answered for count in queue),
            open=sum(count.open for count in queue),
            skipped=sum(count.skipped for count in queue),
        ),
        store.statuses(),
        for_training=not frozenset(QUEUE).isdisjoint(purposes),
    )


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
