"""The status that a training run posts for all who use its store, and the requests of its owner."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from rlhf_envs.feedback.store import PreferenceStore, StoreLockedError
from rlhf_envs.feedback.store.status import OWNER_REQUESTS, TRAINING

_SECONDS_BETWEEN = 1.0
_MOST_POINTS = 200


def withdraw_stop(store: PreferenceStore) -> None:
    """Forget a request to stop or to pause, which was for a training that has ended; the others stay."""
    if OWNER_REQUESTS in store.statuses():
        store.update_status(OWNER_REQUESTS, {"stop": False, "paused": False})


class StatusReporter:
    """Posts the TRAINING status message: how far training is, and what it waits for.

    Args:
        store: where it is posted.

    Attributes:
        figures: what is known of the training so far, by name; see `report`.
    """

    def __init__(self, store: PreferenceStore) -> None:
        self._store = store
        before = store.statuses().get(TRAINING)
        kept = before.value.get("curve") if before is not None else None
        self._curve: list[list[Any]] = list(kept) if isinstance(kept, list) else []
        self._next_at = 0.0
        self.figures: dict[str, Any] = {}

    def report(self, state: str, waiting_for: int = 0, *, immediately: bool = False, **figures: Any) -> bool:
        """Post how training is, at most once a second unless it is to be known immediately; whether it was time for it.

        Args:
            state: "training", "waiting", "paused", "stopped" or "finished".
            waiting_for: how many answers training waits for.
            immediately: post it in any case.
            figures: whatever has changed of: timesteps, total_timesteps, labels, answers (the budget), overlap,
                test_accuracy, accuracy_from, learned_return, linked_return (the learned return carried on over
                fits), true_return, concerns, alarms, second_policy (whether it is the training of one).
        """
        self.figures |= figures
        timesteps = figures.get("timesteps")
        if timesteps is not None and (not self._curve or timesteps > self._curve[-1][0]):
            names = ("learned_return", "test_accuracy", "linked_return")
            self._curve.append([timesteps, *(self.figures.get(name) for name in names)])
            if len(self._curve) > _MOST_POINTS:
                self._curve = self._curve[1::2]
        if not immediately and time.monotonic() < self._next_at:
            return False
        self._next_at = time.monotonic() + _SECONDS_BETWEEN
        value = {"state": state, "waiting_for": waiting_for, **self.figures, "curve": self._curve}
        # Status is no reason to end a training: while another process has locked the store, it is posted later.
        with suppress(StoreLockedError):
            self._store.post_status(TRAINING, value)
        return True

    @property
    def linked_return(self) -> float:
        """Where the curve of `linked_return` ends; 0 before it has begun."""
        linked = [point[3] for point in self._curve if len(point) > 3 and isinstance(point[3], int | float)]
        return float(linked[-1]) if linked else 0.0

    def begin_at(self, timesteps: int) -> None:
        """Forget what an earlier process has posted of steps that come again."""
        self._curve = [point for point in self._curve if point[0] <= timesteps]
