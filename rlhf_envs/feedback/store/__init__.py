"""The feedback store: where a training run asks queries and annotators answer them, in SQLite or PostgreSQL."""

from rlhf_envs.feedback.store.errors import (
    AnswerRefusedError,
    StoreClaimedError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreLockedError,
    StoreMissingError,
    StoreOfAnotherRunError,
    StoreReadOnlyError,
    StoreVersionError,
)
from rlhf_envs.feedback.store.status import StatusMessage
from rlhf_envs.feedback.store.store import QUEUE, PreferenceStore

__all__ = [
    "QUEUE",
    "AnswerRefusedError",
    "PreferenceStore",
    "StatusMessage",
    "StoreClaimedError",
    "StoreDamagedError",
    "StoreError",
    "StoreExistsError",
    "StoreFullError",
    "StoreLockedError",
    "StoreMissingError",
    "StoreOfAnotherRunError",
    "StoreReadOnlyError",
    "StoreVersionError",
]
