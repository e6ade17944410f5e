"""The feedback store: where a training run asks queries and annotators answer them, in SQLite or PostgreSQL."""

from rlhf_envs.feedback.store.errors import (
    AnswerRefusedError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreFullError,
    StoreLockedError,
    StoreMissingError,
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
    "StoreDamagedError",
    "StoreError",
    "StoreExistsError",
    "StoreFullError",
    "StoreLockedError",
    "StoreMissingError",
    "StoreReadOnlyError",
    "StoreVersionError",
]
