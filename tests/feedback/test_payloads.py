"""Rankings, ratings and strengths of preference on their way into the store."""

import re
from typing import Any

import pytest

from rlhf_envs.feedback import (
    AnswerRefusedError,
    Choice,
    PreferenceStore,
    Query,
    ranking_payload,
    rating_payload,
    strength_payload,
)
from tests.answers import give_answer


def ask(store: PreferenceStore, make_segment: Any, kind: str, shown: int, key: str = "0/train/0") -> int:
    segments = tuple(make_segment([0.0, 1.0, 2.0], seed) for seed in range(shown))
    [id] = store.ask([Query(key, 0, segments, kind)])
    return id


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"order": [2, 0, 1]},
        {"ranking": [0, 1]},
        {"ranking": [0, 1, 2, 3]},
        {"ranking": [0, 1, 1]},
        {"ranking": [1, 2, 3]},
        {"ranking": [0, 1, 2.0]},
        {"ranking": [0, True, 2]},
        {"ranking": "012"},
        {"ranking": ["a", 1, 2]},
        {"ranking": [None, [1], 2]},
    ],
)
def test_a_ranking_that_does_not_name_each_position_once_is_refused_and_nothing_is_stored(
    store: PreferenceStore, make_segment: Any, payload: Any
) -> None:
    id = ask(store, make_segment, "ranking", 3)
    with pytest.raises(AnswerRefusedError, match="each position from 0 to 2 once, the best one first, not"):
        give_answer(store, id, "ann", None, payload=payload)
    assert store.read_since(0) == ([], 0)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {"rating": [0, 0, 0]},
        {"ratings": [0, 0]},
        {"ratings": [0, 0, 0, 0]},
        {"ratings": [0, 0, 1.01]},
        {"ratings": [-2, 0, 0]},
        {"ratings": [0, 0, "1"]},
        {"ratings": [0, 0, True]},
        {"ratings": [0, 0, None]},
        {"ratings": 0.5},
        {"ratings": 10**400},
        {"ratings": [0, 0, 10**400]},
    ],
)
def test_a_rating_that_does_not_rate_every_step_from_minus_one_to_one_is_refused_and_nothing_is_stored(
    store: PreferenceStore, make_segment: Any, payload: Any
) -> None:
    id = ask(store, make_segment, "rating", 1)
    with pytest.raises(AnswerRefusedError, match="with 3 numbers from -1 to 1, not"):
        give_answer(store, id, "ann", None, payload=payload)
    assert store.read_since(0) == ([], 0)


@pytest.mark.parametrize(
    ("choice", "payload", "sentence"),
    [
        ("left", None, "left or right with {'strength': 'slightly'} or {'strength': 'clearly'}, not None"),
        ("right", {"strength": "very"}, "not {'strength': 'very'}"),
        (None, {"strength": "clearly"}, "answered with left, right or tie"),
        (None, None, "answered with left, right or tie"),
    ],
)
def test_a_preference_without_its_strength_or_side_is_refused_and_nothing_is_stored(
    store: PreferenceStore, make_segment: Any, choice: str | None, payload: Any, sentence: str
) -> None:
    id = ask(store, make_segment, "strength", 2)
    with pytest.raises(AnswerRefusedError, match=re.escape(sentence)):
        give_answer(store, id, "ann", choice, payload=payload)
    assert store.read_since(0) == ([], 0)


def test_an_answer_of_each_kind_comes_back_as_it_was_given(store: PreferenceStore, make_segment: Any) -> None:
    ranking = ask(store, make_segment, "ranking", 4, "ranking")
    rating = ask(store, make_segment, "rating", 1, "rating")
    clear, tie = (ask(store, make_segment, "strength", 2, key) for key in ("clear", "tie"))
    give_answer(store, ranking, "ann", None, payload=ranking_payload([2, 0, 3, 1]))
    give_answer(store, rating, "ann", None, payload=rating_payload([-1, 0.25, 1]) | {"replays": 2})
    give_answer(store, clear, "ann", "left", payload=strength_payload("clearly"))
    give_answer(store, tie, "ann", "tie")
    first, second, third, fourth = store.live_answers()
    assert (third.choice, third.payload, third.kind) == (Choice.LEFT, {"strength": "clearly"}, "strength")
    assert (fourth.choice, fourth.payload) == (Choice.TIE, None)
    assert (first.choice, first.payload) == (None, {"ranking": [2, 0, 3, 1]})
    assert (second.choice, second.payload) == (None, {"ratings": [-1.0, 0.25, 1.0], "replays": 2})


def test_a_ranking_and_a_rating_can_be_skipped_but_not_answered_with_a_side(
    store: PreferenceStore, make_segment: Any
) -> None:
    for kind, shown in (("ranking", 2), ("rating", 1)):
        id = ask(store, make_segment, kind, shown, str(kind))
        with pytest.raises(
            AnswerRefusedError, match=f"a {kind} is answered with a payload and no choice, not with left"
        ):
            give_answer(store, id, "ann", "left", payload={"ranking": [0, 1]})
        give_answer(store, id, "ann", "skip")
    assert [answer.choice for answer in store.live_answers()] == [Choice.SKIP, Choice.SKIP]


def test_a_retried_ranking_is_stored_once_and_another_one_under_its_token_is_refused(
    store: PreferenceStore, make_segment: Any
) -> None:
    id = ask(store, make_segment, "ranking", 3)
    first = give_answer(store, id, "ann", None, payload=ranking_payload([2, 0, 1]), token="t")
    assert give_answer(store, id, "ann", None, payload=ranking_payload([2, 0, 1]), token="t") == first
    with pytest.raises(AnswerRefusedError, match="given before with a different answer"):
        give_answer(store, id, "ann", None, payload=ranking_payload([0, 1, 2]), token="t")
    assert len(store.live_answers()) == 1


@pytest.mark.parametrize("shown", [1, 6])
def test_a_ranking_of_one_or_of_more_than_five_segments_is_not_asked(
    store: PreferenceStore, make_segment: Any, shown: int
) -> None:
    with pytest.raises(ValueError, match="shows 2 to 5 segments"):
        ask(store, make_segment, "ranking", shown)
