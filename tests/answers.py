"""Answers that a test stores by the number of their query, whoever would be asked next."""

from typing import Any

from rlhf_envs.feedback import PreferenceStore


def give_answer(store: PreferenceStore, query_id: int, annotator: str, *said: Any, **details: Any) -> int:
    """Assign a query to an annotator, store their answer and return its id; see `PreferenceStore.answer`."""
    store.assign(annotator, [query_id])
    return store.answer(query_id, annotator, *said, **details)
