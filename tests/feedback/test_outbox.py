"""What is on the way to the store, and the order of what is shown."""

from typing import Any

from rlhf_envs.feedback import Choice, Submission
from rlhf_envs.feedback.outbox import Undo, merged, standing_answers


def test_an_answer_on_its_way_stands_until_it_is_taken_back() -> None:
    first, second = (Submission(query, "ann", Choice.LEFT, token=f"token {query}") for query in (1, 2))
    assert standing_answers([first, second]) == [first, second]
    assert standing_answers([first, second, Undo(second, "x")]) == [first]
    assert standing_answers([Undo(first, "x"), second]) == [second]
    assert standing_answers([first, Undo(None, "x")]) == [first]


def test_queries_keep_their_order_and_one_that_was_taken_back_comes_first(make_query: Any) -> None:
    a, b, c, d = (make_query(key, id=number) for number, key in enumerate("abcd"))
    assert merged([b, c], [a, b, c, d]) == [b, c, a, d]
    assert merged([b, c], [c, d]) == [c, d]
    assert merged([b, c], [a, b, c], first=0) == [a, b, c]
    assert merged([], [a, b]) == [a, b]
