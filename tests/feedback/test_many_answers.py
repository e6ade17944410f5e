"""What is counted and remembered so that a large store is quick says the same as a look at all rows."""

import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event, text

from rlhf_envs.archive import export_store, import_archive
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Purpose
from rlhf_envs.queries import Choice, Query
from tests.answers import give_answer

NAMES = ("ann", "bob", "cyd")
CHOICES = ("left", "right", "tie", "skip")


class Model:
    """A store of the plainest kind: every question looks at everything."""

    def __init__(self) -> None:
        self.queries: dict[int, tuple[str, str | None, int]] = {}
        self.live: dict[int, dict[str, str]] = defaultdict(dict)
        self.undone: set[tuple[int, str]] = set()
        self.leased: dict[tuple[int, str], float] = {}
        self.order: dict[str, list[int]] = defaultdict(list)

    def free(self, name: str, purposes: set[str], now: float) -> list[int]:
        found = []
        for id, (purpose, only_for, wanted) in self.queries.items():
            others = sum(
                1 for (query, other), until in self.leased.items() if query == id and other != name and until > now
            )
            if (
                purpose in purposes
                and only_for in (None, name)
                and name not in self.live[id]
                and len(self.live[id]) < wanted
                and len(self.live[id]) + others < wanted
            ):
                found.append(id)
        return sorted(found, key=lambda id: ((id, name) not in self.undone, self.queries[id][1] is None, id))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_taken_is_what_a_look_at_everything_finds(
    store: PreferenceStore, make_query: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that places are written down within a few queries.
    monkeypatch.setattr("rlhf_envs.feedback.store.taking._WORTH_NOTING", 1)
    rng, model, now = np.random.default_rng(seed), Model(), 1000.0
    for step in range(250):
        name, now = str(rng.choice(NAMES)), now + float(rng.uniform(0, 4))
        match int(rng.integers(12)):
            case 0:
                wanted = int(rng.integers(1, 4))
                purposes = [str(rng.choice(["train", "test", "practice"])) for _ in range(4)]
                only = [str(rng.choice(NAMES)) if rng.random() < 0.2 else None for _ in range(4)]
                asked = [
                    make_query(f"{step}/{place}", purpose=Purpose(purpose), only_for=for_one)
                    for place, (purpose, for_one) in enumerate(zip(purposes, only, strict=True))
                ]
                for id, purpose, for_one in zip(store.ask(asked, wanted), purposes, only, strict=True):
                    model.queries[id] = (purpose, for_one, wanted)
            case 1 | 2 | 3 | 4:
                chosen = {"train", "test"} if rng.random() < 0.7 else {"practice", "train"}
                limit = int(rng.integers(1, 5))
                expected = model.free(name, chosen, now)[:limit]
                found = store.take_many(
                    name, limit, purposes=[Purpose(each) for each in chosen], lease_seconds=10, now=now
                )
                assert [query.id for query in found] == expected
                held = min((model.leased.get((id, name), 0.0) for id in expected), default=0.0)
                if held < now + 5:
                    model.leased |= {(id, name): now + 10 for id in expected}
            case 5 | 6 | 7 | 8:
                mine = [id for id, other in model.leased if other == name and name not in model.live[id]]
                if mine:
                    id = int(rng.choice(mine))
                    choice = str(rng.choice(CHOICES))
                    store.answer(id, name, choice)
                    model.live[id][name] = choice
                    model.order[name].append(id)
                    model.leased[id, name] = 0.0
            case 9 | 10:
                row = store.undo(name, lease_seconds=10, now=now)
                assert (row and row.query_id) == (model.order[name][-1] if model.order[name] else None)
                if row is not None:
                    del model.live[model.order[name].pop()][name]
                    model.undone.add((row.query_id, name))
                    model.leased[row.query_id, name] = now + 10
            case 11:
                store.release(name)
                for (id, other), until in list(model.leased.items()):
                    if other == name and until and (id, name) not in model.undone and name not in model.live[id]:
                        model.leased[id, other] = 0.0
    assert_counted(store)
    assert any(model.live.values())


def assert_counted(store: PreferenceStore) -> None:
    """Everything that is counted as answers come in is what a look at all of them gives."""
    by_query: dict[int, dict[str, Choice | None]] = defaultdict(dict)
    for live in store.live_answers():
        by_query[live.query_id][live.annotator] = live.choice
    for query in store.queries():
        said = list(by_query[query.id or 0].values())
        [given, skipped] = store.database.read(
            lambda connection, id: connection.execute(
                text("SELECT given, skipped FROM queries WHERE id = :id"), {"id": id}
            ).one(),
            query.id,
        )
        assert (given, skipped) == (len(said), said.count(Choice.SKIP))
    for purpose in Purpose:
        tallies = store.tallies(purposes=[purpose])
        given = store.live_answers(purpose)
        assert sorted({live.annotator for live in given}) == list(tallies)
        for name, tally in tallies.items():
            own = [live for live in given if live.annotator == name]
            choices = [live.choice for live in own]
            others = [
                (live.choice, choice)
                for live in own
                for other, choice in by_query[live.query_id].items()
                if other != name and {live.choice, choice} <= {Choice.LEFT, Choice.RIGHT}
            ]
            assert tally.given == len(own)
            assert (tally.skipped, tally.lefts, tally.rights) == tuple(
                choices.count(choice) for choice in (Choice.SKIP, Choice.LEFT, Choice.RIGHT)
            )
            assert (tally.agreed, tally.compared) == (sum(one == two for one, two in others), len(others))
            assert store.tally(name, purposes=[purpose]).given == len(own)


@pytest.mark.parametrize("seed", range(4))
def test_screens_are_given_together_what_each_would_take_by_itself(
    store: PreferenceStore, make_query: Any, seed: int
) -> None:
    rng, now = np.random.default_rng(seed), 1000.0
    ids = store.ask([make_query(f"{number}", only_for="cyd" if number == 7 else None) for number in range(30)])
    together = alone = 0
    for _ in range(25):
        now += float(rng.uniform(0, 8))
        names = [str(name) for name in rng.permutation(["ann", "bob", "cyd", "dan", "eve"])]
        held = {
            name: [query.id or 0 for query in store.take_many(name, 2, lease_seconds=20, now=now)] for name in names[:2]
        }
        showing = {
            name: (int(rng.choice(held[name])) if held.get(name) and rng.random() < 0.7 else None) for name in names
        }
        with pytest.raises(Taken) as found, store.database.together():
            raise Taken(store.take_for_screens(showing, 3, lease_seconds=20, now=now), leases_of(store))
        given, leased = found.value.args
        with pytest.raises(Taken) as expected, store.database.together():
            one_by_one = {
                name: store.take_many(name, 3, lease_seconds=20, now=now, for_screen=True, showing=showing[name])
                for name in given
            }
            raise Taken(one_by_one, leases_of(store))
        assert {name: [query.id for query in queries] for name, queries in given.items()} == {
            name: [query.id for query in queries] for name, queries in expected.value.args[0].items()
        }
        assert {lease[:3] for lease in leased} == {lease[:3] for lease in expected.value.args[1]}
        assert all(
            until >= now + 10 for id, name, _, until in leased if id in [query.id for query in given.get(name, ())]
        )
        together, alone = together + len(given), alone + len(names) - len(given)
        for name in names[2:4]:
            taken = store.take_many(name, 2, lease_seconds=20, now=now)
            if taken and rng.random() < 0.6:
                store.answer(taken[0].id or 0, name, "left")
        if rng.random() < 0.1:
            store.undo(str(rng.choice(names)), lease_seconds=20, now=now)
    assert together > 20 and alone > 5
    assert store.take_for_screens({}, 3) == {}
    [wanted_twice] = store.ask([make_query("of two")], wanted=2)
    assert wanted_twice > ids[-1]
    assert store.take_for_screens(dict.fromkeys(["fay", "gil"]), 30, now=now) == {}


class Taken(Exception):
    """Ends a transaction so that it leaves no trace, and says what was taken in it."""


def leases_of(store: PreferenceStore) -> set[tuple[Any, ...]]:
    """All leases: query, annotator, whether it is held ahead, and until when."""
    statement = text("SELECT query_id, annotator, ahead, expires_at FROM leases WHERE expires_at > 0")
    return set(store.database.read(lambda connection: [tuple(row) for row in connection.execute(statement)]))


def test_answers_that_are_added_together_are_counted(store: PreferenceStore, place: str, make_query: Any) -> None:
    ids = store.ask([make_query(str(number)) for number in range(6)], wanted=3)
    for id in ids[:5]:
        for number, name in enumerate(NAMES):
            give_answer(store, id, name, CHOICES[(id * number) % 4])
    for name in ("ann", "ann", "bob", "cyd"):
        store.undo(name)
    assert_counted(store)


def test_imported_answers_are_counted(path: Path, store: PreferenceStore, make_query: Any, tmp_path: Path) -> None:
    ids = store.ask([make_query(str(number)) for number in range(6)], wanted=3)
    for id in ids:
        for name in NAMES:
            give_answer(store, id, name, "left" if id % 2 else "right")
    store.undo("bob")
    export_store(path, tmp_path / "exported", clips=False)
    import_archive(tmp_path / "exported", tmp_path / "imported.db")
    with PreferenceStore.open(tmp_path / "imported.db") as imported:
        assert_counted(imported)
        assert imported.tallies() == store.tallies()
        assert [query.id for query in imported.take_many("bob", 9)] == [6]


def instructions(place: str, work: Any) -> int:
    """How many hundred instructions SQLite's virtual machine needs for some work on a store that is opened for it."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    def watch(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_progress_handler(tick, 100)

    event.listen(Engine, "connect", watch)
    try:
        with PreferenceStore.open(place) as store:
            count = 0
            work(store)
    finally:
        event.remove(Engine, "connect", watch)
    return count


def many(path: Path, segments: Any, queries: int) -> None:
    """A store in which one annotator has answered all but the last queries, and another one the older half."""
    with PreferenceStore.create(path, StoredEnvironment(EnvironmentRef("CartPole-v1"), 5)) as store:
        ids = store.ask([Query(f"{number}", 0, segments) for number in range(queries)], wanted=2)
        for name, answered in (("ann", ids[:-4]), ("bob", ids[: queries // 2])):
            for first in range(0, len(answered), 500):
                store.assign(name, answered[first : first + 500])
                store.answer_many(
                    [submission(id, name) for id in answered[first : first + 500]],
                )
        assert store.take("ann") is not None
        store.release("ann")


def submission(query_id: int, name: str) -> Any:
    from rlhf_envs.queries import Submission

    return Submission(query_id, name, Choice.LEFT)


@pytest.mark.parametrize(
    "work",
    [
        lambda store: store.take("ann"),
        lambda store: store.take("cyd"),
        lambda store: store.tally("ann"),
        lambda store: store.tallies(),
        lambda store: store.practice(),
        lambda store: store.undo("ann"),
        lambda store: store.answer(store.take("cyd").id, "cyd", "left"),
    ],
    ids=["taking late", "taking early", "tally", "tallies", "practice", "undo", "answer"],
)
def test_work_does_not_grow_with_the_store(tmp_path: Path, make_query: Any, work: Any) -> None:
    segments = make_query("a").segments
    for size in (200, 4000):
        many(tmp_path / f"{size}.db", segments, size)
    small, large = (instructions(str(tmp_path / f"{size}.db"), work) for size in (200, 4000))
    assert large < small + 60, (small, large)


def test_live_answers_come_in_pages(store: PreferenceStore, make_query: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = store.ask([make_query(str(number)) for number in range(7)])
    for id in ids:
        give_answer(store, id, "ann", "left")
    monkeypatch.setattr("rlhf_envs.feedback.store.store._ANSWERS_PER_PAGE", 2)
    coming = store.each_live_answer()
    first = next(coming)
    store.undo("ann")
    [late] = store.ask([make_query("late")])
    give_answer(store, late, "ann", "right")
    # As the store was when the first was read.
    assert [first.query_id, *(live.query_id for live in coming)] == ids
    assert [live.query_id for live in store.live_answers()] == [*ids[:-1], late]


def test_the_latest_answers_and_a_sample_of_what_was_shown(store: PreferenceStore, make_query: Any) -> None:
    asked = store.ask(
        [make_query(str(number), purpose=Purpose("test" if number == 3 else "train")) for number in range(9)]
    )
    for id in asked[:8]:
        give_answer(store, id, "ann", "left")
    store.undo("ann")
    trained = [id for place, id in enumerate(asked[:7]) if place != 3]
    latest = store.latest_answers([Purpose.TRAIN], 3)
    assert [live.query_id for live in latest] == trained[:-4:-1]
    assert latest == list(reversed(store.live_answers(Purpose.TRAIN)))[:3]

    def shown(*ids: int) -> list[int]:
        return list(dict.fromkeys(segment for id in ids for segment in store.query(id).segment_ids))

    for most, chosen in ((100, trained), (6, trained), (3, trained[::2]), (1, trained[:1])):
        assert store.sample_of_shown([Purpose.TRAIN], most) == shown(*chosen)
    assert store.sample_of_shown([Purpose.JUDGE], 5) == []


def test_a_take_passes_what_others_hold_in_steps_that_grow_with_their_number_alone(
    tmp_path: Path, make_query: Any
) -> None:
    with PreferenceStore.create(tmp_path / "feedback.db") as store:
        store.ask([make_query(f"{number}") for number in range(900)])
        with store.database.together():
            for number in range(200):
                store.take_many(f"annotator {number}", 4)

    def take(store: PreferenceStore) -> None:
        assert len(store.take_many("one more", 4)) == 4

    # Of hundreds; 800 times 800 would be some ten thousands.
    assert 110 <= instructions(str(tmp_path / "feedback.db"), take) < 3000
