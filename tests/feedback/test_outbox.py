"""What is on the way to the store, and the order of what is shown."""

from typing import Any

from rlhf_envs.feedback import Choice
from rlhf_envs.feedback.outbox import PendingAnswer, PendingUndo, Response, merged, standing_answers


def test_an_answer_on_its_way_stands_until_it_is_taken_back(make_query: Any) -> None:
    first, second = (PendingAnswer(make_query(key), Response(Choice.LEFT), (), 0.0, 1.0) for key in "ab")
    assert standing_answers([first, second]) == [first, second]
    assert standing_answers([first, second, PendingUndo(second)]) == [first]
    assert standing_answers([PendingUndo(first), second]) == [second]
    assert standing_answers([first, PendingUndo(None)]) == [first]
    assert first.token != second.token


def test_queries_keep_their_order_and_one_that_was_taken_back_comes_first(make_query: Any) -> None:
    a, b, c, d = (make_query(key, id=number) for number, key in enumerate("abcd"))
    assert merged([b, c], [a, b, c, d]) == [b, c, a, d]
    assert merged([b, c], [c, d]) == [c, d]
    assert merged([b, c], [a, b, c], first=0) == [a, b, c]
    assert merged([], [a, b]) == [a, b]
