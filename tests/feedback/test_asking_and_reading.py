from typing import Any

import numpy as np
import pytest
from sqlalchemy import create_engine, event

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import (
    ANNOTATORS,
    Choice,
    PreferenceStore,
    Purpose,
    Query,
    QueryCounts,
    ScriptedTeacher,
    Submission,
)
from rlhf_envs.feedback.store.errors import StoreDamagedError
from tests.answers import give_answer


def test_a_query_comes_back_as_it_was_asked(store: PreferenceStore, place: str, make_query: Any) -> None:
    asked = make_query("3/test/1", round=3, purpose=Purpose.TEST, context={"average_return": -1.5, "horizon": 200})
    [id] = store.ask([asked])
    with PreferenceStore.open(place) as other:
        assert other.environment == StoredEnvironment(EnvironmentRef("CartPole-v1"), 5)
        found = other.query(id)
    assert (found.key, found.round, found.purpose, found.kind) == ("3/test/1", 3, Purpose.TEST, "comparison")
    assert found.context == asked.context
    for mine, theirs in zip(asked.segments, found.segments, strict=True):
        np.testing.assert_array_equal(mine.observations, theirs.observations)
        np.testing.assert_array_equal(mine.true_rewards, theirs.true_rewards)


def test_asking_the_same_key_again_asks_nothing_new(store: PreferenceStore, make_query: Any) -> None:
    first = store.ask([make_query("a"), make_query("b")])
    again = store.ask([make_query("b"), make_query("c"), make_query("a")])
    assert [again[2], again[0]] == first
    assert [query.key for query in store.queries()] == ["a", "b", "c"]


def test_a_segment_shown_in_two_queries_is_stored_once(store: PreferenceStore, make_segment: Any) -> None:
    shared, other, third = (make_segment(seed=seed) for seed in range(3))
    store.ask([Query("a", 0, (shared, other))])
    store.ask([Query("b", 0, (third, shared)), Query("c", 0, (shared, other))])
    a, b, c = (query.segment_ids for query in store.queries())
    assert a == c and a[0] == b[1] and len({*a, *b}) == 3


def test_the_two_segments_of_a_query_may_be_one_in_behaviour_and_differ_in_reward(
    store: PreferenceStore, make_segment: Any
) -> None:
    store.ask([Query("hidden", 0, (make_segment([0.0, 0.0], seed=1), make_segment([1.0, 0.0], seed=1)))])
    left, right = store.queries()[0].segments
    assert (left.true_rewards.sum(), right.true_rewards.sum()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"key": ""}, "needs a key"),
        ({"round": -1}, "counted from 0"),
        ({"kind": "rating"}, "rating shows 1 segment"),
        ({"context": {"average_return": float("nan")}}, "plain JSON"),
        ({"context": {"average_return": np.float32(1)}}, "plain JSON"),
    ],
)
def test_a_query_that_is_not_well_formed_is_refused_and_none_beside_it_is_stored(
    store: PreferenceStore, make_query: Any, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        store.ask([make_query("good"), make_query(**({"key": "bad"} | change))])
    assert store.queries() == []


def test_two_queries_of_one_key_in_one_call_are_refused(store: PreferenceStore, make_query: Any) -> None:
    with pytest.raises(ValueError, match="names two queries"):
        store.ask([make_query("a"), make_query("a")])


def test_a_reader_gets_every_row_once(store: PreferenceStore, make_query: Any) -> None:
    ids = store.ask([make_query(str(number)) for number in range(3)])
    give_answer(store, ids[0], "ann", "left")
    first, cursor = store.read_since(0)
    give_answer(store, ids[1], "ann", "tie")
    store.undo("ann")
    second, cursor = store.read_since(cursor)
    assert [row.choice for row in first] == [Choice.LEFT]
    assert [(row.choice, row.undoes) for row in second] == [(Choice.TIE, None), (None, second[0].id)]
    assert store.read_since(cursor) == ([], cursor)


def test_a_resumed_run_reads_in_each_round_what_the_first_run_read(store: PreferenceStore, make_query: Any) -> None:
    teacher = ScriptedTeacher(ANNOTATORS["oracle"])
    seen, cursors = [], [0]
    for round in range(3):
        store.ask([make_query(f"{round}/{number}", round=round) for number in range(4)])
        teacher.serve(store)
        rows, cursor = store.read_since(cursors[-1], up_to_round=round)
        seen.append(rows)
        cursors.append(cursor)
    for start in range(3):
        cursor = cursors[start]
        for round in range(start, 3):
            store.ask([make_query(f"{round}/{number}", round=round) for number in range(4)])
            assert teacher.serve(store) == 0
            rows, cursor = store.read_since(cursor, up_to_round=round)
            assert rows == seen[round] and len(rows) == 4


def test_a_late_answer_behind_a_later_round_is_read_later_and_once(store: PreferenceStore, make_query: Any) -> None:
    early, late = store.ask([make_query("0/a"), make_query("0/b")])
    [next_round] = store.ask([make_query("1/a", round=1)])
    answered = [give_answer(store, id, "ann", "left") for id in (early, next_round, late)]
    rows, cursor = store.read_since(0, up_to_round=0)
    assert [row.id for row in rows] == answered[:1]
    rows, cursor = store.read_since(cursor, up_to_round=0)
    assert rows == []
    rows, cursor = store.read_since(cursor, up_to_round=1)
    assert [row.id for row in rows] == answered[1:]


def test_live_answers_as_of_a_cursor_do_not_know_what_came_later(store: PreferenceStore, make_query: Any) -> None:
    a, b = store.ask([make_query("a"), make_query("b", purpose=Purpose.TEST)])
    give_answer(store, a, "ann", "left")
    give_answer(store, b, "ann", "skip")
    _, cursor = store.read_since(0)
    store.undo("ann")
    store.undo("ann")
    give_answer(store, a, "ann", "right")
    before = store.live_answers(as_of=cursor)
    assert [(answer.query_id, answer.choice) for answer in before] == [(a, Choice.LEFT), (b, Choice.SKIP)]
    assert [(answer.query_id, answer.choice) for answer in store.live_answers()] == [(a, Choice.RIGHT)]
    assert [answer.query_id for answer in store.live_answers(Purpose.TEST, as_of=cursor)] == [b]
    assert before[0].segment_ids == store.query(a).segment_ids


def test_reading_answers_loads_no_segment(store: PreferenceStore, place: str, make_query: Any) -> None:
    ids = store.ask([make_query(str(number)) for number in range(3)])
    store.assign("ann", ids)
    store.answer_many([Submission(id, "ann", Choice.TIE) for id in ids])
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    engine_class = type(create_engine("sqlite://"))
    event.listen(engine_class, "before_cursor_execute", note)
    try:
        with PreferenceStore.open(place) as reader:
            live = reader.live_answers()
            reader.read_since(0)
            reader.counts()
            assert not any("segments.content" in statement for statement in statements)
            once = reader.segment(live[0].segment_ids[0])
            assert reader.segment(live[0].segment_ids[0]) is once
            assert sum("segments.content" in statement for statement in statements) == 1
    finally:
        event.remove(engine_class, "before_cursor_execute", note)


def test_counts_say_what_is_open_answered_and_skipped(store: PreferenceStore, make_query: Any) -> None:
    train = store.ask([make_query(str(number)) for number in range(4)])
    store.ask([make_query("t", purpose=Purpose.TEST)])
    [twice] = store.ask([make_query("twice")], wanted=2)
    give_answer(store, train[0], "ann", "left")
    give_answer(store, train[1], "ann", "skip")
    give_answer(store, twice, "ann", "left")
    give_answer(store, train[2], "ann", "left")
    store.undo("ann")
    counts = store.counts()
    assert counts[Purpose.TRAIN] == QueryCounts(asked=5, answered=1, open=3, skipped=1, wanted=6)
    assert counts[Purpose.TEST] == QueryCounts(asked=1, answered=0, open=1, skipped=0, wanted=1)
    assert counts[Purpose.CHECK] == QueryCounts()


def test_what_does_not_exist_is_named(store: PreferenceStore) -> None:
    with pytest.raises(KeyError, match="no query 7"):
        store.query(7)
    with pytest.raises(StoreDamagedError, match="no segment 8"):
        store.segment(8)
    with pytest.raises(ValueError, match="cursor"):
        store.read_since(-1)
