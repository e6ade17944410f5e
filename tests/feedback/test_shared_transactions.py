"""Several pieces of work in one transaction of the store."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.feedback import AnswerRefusedError, PreferenceStore, StoreLockedError
from tests.answers import give_answer


def test_what_is_written_together_is_seen_together(store: PreferenceStore, path: Path, make_query: Any) -> None:
    first, second = store.ask([make_query("a"), make_query("b")])
    with PreferenceStore.open(path) as other:
        with store.database.together():
            give_answer(store, first, "ann", "left")
            taken = store.take("bob")
            assert taken is not None and taken.id == second
            assert other.live_answers() == []
        assert [live.query_id for live in other.live_answers()] == [first]
        assert other.take("carol") is None


def test_one_that_is_refused_leaves_no_trace_and_does_not_disturb_the_others(
    store: PreferenceStore, make_query: Any
) -> None:
    first, second = store.ask([make_query("a"), make_query("b")])
    with store.database.together():
        give_answer(store, first, "ann", "left")
        with pytest.raises(AnswerRefusedError):
            give_answer(store, first, "ann", "right")
        give_answer(store, second, "ann", "right")
    assert [(live.query_id, live.choice) for live in store.live_answers()] == [(first, "left"), (second, "right")]


def test_a_block_that_fails_stores_nothing(store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    with pytest.raises(RuntimeError, match="power"), store.database.together():
        give_answer(store, id, "ann", "left")
        raise RuntimeError("no power")
    assert store.live_answers() == []
    give_answer(store, id, "ann", "left")
    assert len(store.live_answers()) == 1


def test_a_locked_store_is_told_before_anything_is_done(path: Path, store: PreferenceStore, make_query: Any) -> None:
    [id] = store.ask([make_query("a")])
    with PreferenceStore.open(path, patience=0.1) as impatient:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError), impatient.database.together():
            pytest.fail("the block must not begin")
        holder.execute("ROLLBACK")
        holder.close()
        with impatient.database.together():
            give_answer(impatient, id, "ann", "left")
    assert len(store.live_answers()) == 1
