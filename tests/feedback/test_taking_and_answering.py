import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.feedback import AnswerRefusedError, Choice, PreferenceStore, Query, Submission
from tests.answers import give_answer


def keys(queries: list[Query]) -> list[str]:
    return [query.key for query in queries]


def test_queries_are_taken_oldest_first(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(key) for key in "cab"])
    assert keys(store.take_many("ann", 2)) == ["c", "a"]


def test_two_annotators_do_not_get_the_same_query(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(key) for key in "abc"])
    assert keys(store.take_many("ann", 2)) == ["a", "b"]
    assert keys(store.take_many("bob", 9)) == ["c"]
    assert store.take("cyd") is None


def test_as_many_annotators_as_are_wanted_get_the_same_query(store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")], wanted=2)
    assert store.take("ann") and store.take("bob")
    assert store.take("cyd") is None
    store.answer(id, "ann", "left")
    assert store.take("ann") is None
    assert store.take("cyd") is None
    store.answer(id, "bob", "right")
    assert store.take("cyd") is None


def test_taking_again_gives_the_same_queries_and_renews_the_lease(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query("a")])
    assert store.take("ann", lease_seconds=10, now=100)
    assert store.take("ann", lease_seconds=10, now=108)
    assert store.take("bob", now=115) is None
    assert store.take("bob", now=118)


def test_a_lease_that_ran_out_frees_the_query(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query("a")])
    store.take("ann", lease_seconds=10, now=100)
    assert store.take("bob", now=109.9) is None
    assert keys(store.take_many("bob", 1, now=110)) == ["a"]
    assert store.take("ann", now=111) is None


def test_a_clock_that_was_far_ahead_keeps_no_query_from_others(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query("a")])
    assert store.take("ann", now=1e9)
    assert store.take("bob", now=100)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e6])
def test_a_lease_that_makes_no_sense_is_refused(store: PreferenceStore, seconds: float) -> None:
    with pytest.raises(ValueError, match="A lease lasts more than 0 and at most 86,400 seconds"):
        store.take("ann", lease_seconds=seconds)


def test_an_answer_after_the_lease_ran_out_is_kept_even_if_another_has_answered(
    store: PreferenceStore, make_query: Any
) -> None:
    [id] = store.ask([make_query("a")])
    store.take("ann", lease_seconds=10, now=100)
    store.take("bob", lease_seconds=10, now=120)
    store.answer(id, "bob", "left")
    store.answer(id, "ann", "right")
    live = [(answer.annotator, answer.choice) for answer in store.live_answers()]
    assert live == [("bob", Choice.LEFT), ("ann", Choice.RIGHT)]


def test_an_answer_keeps_all_that_was_said(store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    give_answer(
        store,
        id,
        "ann",
        Choice.TIE,
        reasons=["comfort"],
        shown_at=1.5,
        answered_at=3.0,
        payload={"replays": 2},
        token="t",
    )
    [answer], _ = store.read_since(0)
    assert (answer.query_id, answer.annotator, answer.choice, answer.reasons) == (id, "ann", Choice.TIE, ("comfort",))
    assert (answer.shown_at, answer.answered_at, answer.payload) == (1.5, 3.0, {"replays": 2})


def test_a_submit_that_is_repeated_stores_one_answer(store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    first = give_answer(store, id, "ann", "left", token="press-1")
    assert give_answer(store, id, "ann", "left", token="press-1") == first
    store.undo("ann", token="press-2")
    store.undo("ann", token="press-2")
    assert give_answer(store, id, "ann", "left", token="press-1") == first
    rows, _ = store.read_since(0)
    assert len(rows) == 2


def test_a_token_of_another_answer_is_refused(store: PreferenceStore, make_query: Any) -> None:
    a, b = store.ask([make_query("a"), make_query("b")])
    give_answer(store, a, "ann", "left", token="t")
    for id, choice in ((b, "left"), (a, "right")):
        with pytest.raises(AnswerRefusedError, match="different answer"):
            give_answer(store, id, "ann", choice, token="t")
    with pytest.raises(ValueError, match="share a token"):
        store.answer_many([Submission(id, "bob", Choice.LEFT, token="u") for id in (a, b)])


@pytest.mark.parametrize("choice", ["lft", "", "LEFT", "0"])
def test_an_unknown_choice_is_refused_and_nothing_is_stored(
    store: PreferenceStore, make_query: Any, choice: str
) -> None:
    [id] = store.ask([make_query("a")])
    with pytest.raises(ValueError, match="say left, right, tie or skip"):
        give_answer(store, id, "ann", choice)
    assert store.read_since(0) == ([], 0)


def test_a_second_answer_needs_an_undo_first(store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    give_answer(store, id, "ann", "left")
    with pytest.raises(AnswerRefusedError, match="ann has answered query 1 already"):
        give_answer(store, id, "ann", "right")
    store.undo("ann")
    store.answer(id, "ann", "right")
    assert [answer.choice for answer in store.live_answers()] == [Choice.RIGHT]


def test_one_refused_answer_refuses_all_that_came_with_it(store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")], wanted=2)
    for name in ("ann", "bob"):
        store.assign(name, [id])
    with pytest.raises(AnswerRefusedError, match="no query 99"):
        store.answer_many([Submission(id, "ann", Choice.LEFT), Submission(99, "ann", Choice.LEFT)])
    with pytest.raises(AnswerRefusedError, match="a comparison is answered with left, right or tie"):
        store.answer_many([Submission(id, "ann", Choice.LEFT), Submission(id, "bob", None)])
    assert store.live_answers() == []


def test_a_ranking_is_answered_by_a_payload_or_skipped(store: PreferenceStore, make_query: Any) -> None:
    a, b = store.ask([make_query(key, kind="ranking") for key in "ab"])
    with pytest.raises(AnswerRefusedError, match="with a payload"):
        give_answer(store, a, "ann", "left")
    store.answer(a, "ann", None, payload={"ranking": [1, 0]})
    give_answer(store, b, "ann", "skip")
    assert [answer.payload for answer in store.live_answers()] == [{"ranking": [1, 0]}, None]


def test_undo_takes_back_one_answer_after_the_other_and_reopens_their_queries(
    store: PreferenceStore, make_query: Any
) -> None:
    a, b, c = store.ask([make_query(key) for key in "abc"])
    first = give_answer(store, b, "ann", "left")
    second = give_answer(store, a, "ann", "left")
    give_answer(store, c, "bob", "left")
    rows = [store.undo("ann"), store.undo("ann")]
    assert [row and row.undoes for row in rows] == [second, first]
    assert store.undo("ann") is None
    assert [answer.annotator for answer in store.live_answers()] == ["bob"]


def test_a_query_taken_back_comes_first_and_to_whoever_took_it_back(store: PreferenceStore, make_query: Any) -> None:
    _, b = store.ask([make_query(key) for key in "ab"])
    give_answer(store, b, "ann", "left")
    store.undo("ann")
    assert keys(store.take_many("bob", 9)) == ["a"]
    assert keys(store.take_many("ann", 9)) == ["b"]


def test_a_query_taken_back_is_shown_before_older_ones(store: PreferenceStore, make_query: Any) -> None:
    _, b = store.ask([make_query(key) for key in "ab"])
    give_answer(store, b, "ann", "left")
    store.undo("ann")
    assert keys(store.take_many("ann", 9)) == ["b", "a"]


def test_who_leaves_gives_up_what_was_kept_for_them_and_nothing_of_others(
    store: PreferenceStore, make_query: Any
) -> None:
    store.ask([make_query(key) for key in "abcd"])
    store.take_many("ann", 3)
    store.take_many("bob", 1)
    assert store.release("ann") == 3
    assert store.release("ann") == 0
    assert keys(store.take_many("cyd", 9)) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="needs a name"):
        store.release(" ")


def test_who_leaves_keeps_what_they_took_back_and_what_they_are_about_to_answer(
    store: PreferenceStore, make_query: Any
) -> None:
    a, b, _ = store.ask([make_query(key) for key in "abc"])
    store.take_many("ann", 3, lease_seconds=60, now=100)
    store.answer(a, "ann", "left")
    store.undo("ann", lease_seconds=60, now=110)
    assert store.release("ann", keeping=[b]) == 1
    assert keys(store.take_many("bob", 9, lease_seconds=10, now=120)) == ["c"]
    store.answer(b, "ann", "right")
    assert keys(store.take_many("bob", 9, now=171)) == ["a", "c"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE answers SET choice = 'right'",
        "DELETE FROM answers",
        "INSERT OR REPLACE INTO answers (id, query_id, annotator, choice, reasons) VALUES (1, 1, 'eve', 'right', '[]')",
        "INSERT OR REPLACE INTO answers (query_id, annotator, reasons, token) VALUES (1, 'eve', '[]', 't')",
    ],
)
def test_the_database_itself_refuses_to_change_an_answer(
    store: PreferenceStore, path: Path, make_query: Any, statement: str
) -> None:
    [id] = store.ask([make_query("a")])
    give_answer(store, id, "ann", "left", token="t")
    before = store.read_since(0)
    raw = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(statement)
    raw.close()
    assert store.read_since(0) == before


def test_only_those_who_were_asked_may_answer(store: PreferenceStore, make_query: Any) -> None:
    a, b = store.ask([make_query("a"), make_query("b", only_for="bob")])
    store.take("ann", lease_seconds=10, now=100)
    for id, name in ((a, "bob"), (a, "cyd"), (b, "ann")):
        with pytest.raises(AnswerRefusedError, match=f"{name} was not asked query {id}"):
            store.answer(id, name, "left")
    assert store.live_answers() == []
    store.release("ann")
    store.take("cyd", lease_seconds=10, now=200)
    store.answer(a, "ann", "left")  # late, and after leaving
    store.answer(b, "bob", "right")
    assert [answer.annotator for answer in store.live_answers()] == ["ann", "bob"]


def test_queries_can_be_assigned_but_not_those_for_somebody_else(store: PreferenceStore, make_query: Any) -> None:
    a, b = store.ask([make_query("a"), make_query("b", only_for="bob")])
    store.assign("ann", [a])
    assert keys(store.take_many("bob", 9)) == ["b"]
    store.answer(a, "ann", "left")
    with pytest.raises(AnswerRefusedError, match="Query 2 is for bob alone"):
        store.assign("ann", [b])
    with pytest.raises(AnswerRefusedError, match="no query 99"):
        store.assign("ann", [99])


def test_an_undo_is_told_by_its_annotator_and_is_no_answer(store: PreferenceStore, make_query: Any) -> None:
    a, b = store.ask([make_query(key) for key in "ab"])
    give_answer(store, a, "ann", "left", token="answer")
    give_answer(store, b, "bob", "left")
    store.undo("ann", token="undo")
    for name, token in (("bob", "undo"), ("ann", "answer"), ("bob", "answer")):
        with pytest.raises(AnswerRefusedError, match=f"something else than an undo of {name}"):
            store.undo(name, token=token)
    with pytest.raises(AnswerRefusedError, match="different answer"):
        store.answer_many([Submission(a, "ann", None, token="undo")])
    assert [answer.annotator for answer in store.live_answers()] == ["bob"]


UNPRINTABLE = ["\x1b[2J", "two\nlines", "half \ud800", "\u202eback", "x" * 65]


@pytest.mark.parametrize("text", UNPRINTABLE)
def test_text_that_no_screen_or_file_can_take_is_refused(store: PreferenceStore, make_query: Any, text: str) -> None:
    [id] = store.ask([make_query("a")])
    store.take("ann")
    question = make_query("b")
    given: list[dict[str, Any]] = [{"annotator": text}, {"reasons": [text]}, {"token": text}]
    for details in given:
        with pytest.raises(ValueError, match="one line of at most 64 characters"):
            store.answer(id, **{"annotator": "ann", "choice": "left"} | details)
    for act in (store.take, store.undo, store.release, lambda name: store.ask([replace(question, only_for=name)])):
        with pytest.raises(ValueError, match="one line of at most 64 characters"):
            act(text)
    with pytest.raises(ValueError, match="one line of at most 256 characters"):
        store.ask([replace(question, key=4 * text)])
    assert store.read_since(0) == ([], 0)


def test_half_a_character_is_refused_wherever_json_is_stored(store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    store.take("ann")
    half: dict[str, Any] = {"said": "\ud800"}
    acts = (
        lambda: store.answer(id, "ann", "left", payload=half),
        lambda: store.ask([make_query("b", context=half)]),
        lambda: store.post_status("training", half),
    )
    for act in acts:
        with pytest.raises(ValueError, match="must be plain JSON"):
            act()


@pytest.mark.parametrize("annotator", ["", "  "])
def test_an_annotator_needs_a_name(store: PreferenceStore, make_query: Any, annotator: str) -> None:
    store.ask([make_query("a")])
    for act in (store.take, store.undo, lambda name: give_answer(store, 1, name, "left")):
        with pytest.raises(ValueError, match="needs a name"):
            act(annotator)
