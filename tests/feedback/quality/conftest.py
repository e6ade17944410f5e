"""Answers of made-up annotators, without a store."""

from collections.abc import Callable
from itertools import count

import pytest

from rlhf_envs.feedback import Choice, LiveAnswer, Purpose

Say = Callable[..., LiveAnswer]


@pytest.fixture
def say() -> Say:
    """Make an answer: `say("ann", "left", (1, 2), query=7, seconds=2.5)`."""
    numbers = count(1)

    def make(
        annotator: str,
        choice: str | None,
        segments: tuple[int, ...] = (1, 2),
        *,
        query: int | None = None,
        seconds: float | None = None,
        purpose: Purpose = Purpose.TRAIN,
        **context: object,
    ) -> LiveAnswer:
        id = next(numbers)
        return LiveAnswer(
            id=id,
            query_id=id if query is None else query,
            annotator=annotator,
            choice=None if choice is None else Choice(choice),
            payload=None,
            segment_ids=segments,
            round=0,
            kind="comparison",
            purpose=purpose,
            context=context,
            shown_at=None if seconds is None else 100.0,
            answered_at=None if seconds is None else 100.0 + seconds,
        )

    return make
