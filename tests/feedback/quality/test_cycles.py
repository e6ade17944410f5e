"""Cycles of preferences."""

import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlhf_envs.feedback.quality import preference_cycles


def test_a_cycle_of_three_is_found_and_says_who_made_it(say: Any) -> None:
    answers = [say("ann", "left", (5, 6)), say("bob", "left", (6, 7)), say("ann", "right", (5, 7))]
    found = preference_cycles(answers)
    assert (found.decided, found.on_a_cycle) == (3, 3)
    assert [(cycle.segments, cycle.annotators) for cycle in found.shortest] == [((5, 6, 7), ("ann", "bob"))]


def test_an_order_without_contradiction_has_no_cycle(say: Any) -> None:
    answers = [say("ann", "left", (a, b)) for a in range(6) for b in range(a + 1, 6)]
    found = preference_cycles(answers)
    assert (found.decided, found.on_a_cycle, found.shortest) == (15, 0, ())


def test_shortest_cycles_come_first_and_the_list_ends(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    five = [say("ann", "left", (n, (n + 1) % 5)) for n in range(5)]
    three = [say("ann", "left", (10 + n, 10 + (n + 1) % 3)) for n in range(3)]
    found = preference_cycles(five + three)
    assert [len(cycle.segments) for cycle in found.shortest] == [3, 5]
    assert found.on_a_cycle == 8
    monkeypatch.setattr(sys.modules[preference_cycles.__module__], "_MOST_CYCLES", 1)
    assert [len(cycle.segments) for cycle in preference_cycles(five + three).shortest] == [3]


def test_the_majority_counts_and_ties_and_even_splits_do_not(say: Any) -> None:
    cycle = [say("ann", "left", (1, 2)), say("ann", "left", (2, 3)), say("ann", "left", (3, 1))]
    assert preference_cycles([*cycle, say("bob", "right", (3, 1))]).on_a_cycle == 0
    outvoted = [say("bob", "right", (3, 1)), say("cy", "right", (3, 1))]
    assert preference_cycles(cycle + outvoted).on_a_cycle == 0
    assert preference_cycles([*cycle, say("bob", "tie", (3, 1))]).on_a_cycle == 3


def test_a_ranking_counts_as_preferences(say: Any) -> None:
    ranking = replace(say("ann", None, (1, 2, 3)), kind="ranking", payload={"ranking": [0, 1, 2]})
    assert preference_cycles([ranking, say("ann", "left", (3, 1))]).shortest[0].segments == (1, 2, 3)


def test_every_preference_on_some_cycle_is_counted_even_where_cycles_are_long(say: Any) -> None:
    found = preference_cycles([say("ann", "left", (n, (n + 1) % 30)) for n in range(30)])
    assert (found.on_a_cycle, found.shortest) == (30, ())


def test_ten_thousand_random_preferences_are_searched_within_seconds(say: Any) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(3000, size=(10_000, 2))
    answers = [say("ann", "left", (int(a), int(b))) for a, b in pairs if a != b]
    started = time.perf_counter()
    found = preference_cycles(answers)
    assert time.perf_counter() - started < 10
    assert len(found.shortest) == 20
    lengths = [len(cycle.segments) for cycle in found.shortest]
    assert lengths == sorted(lengths)
    preferred = {live.segment_ids for live in answers}
    worse: dict[int, list[int]] = {}
    for a, b in preferred:
        worse.setdefault(a, []).append(b)
    triangles = sum((c, a) in preferred for a, b in preferred for c in worse.get(b, [])) // 3
    assert lengths.count(3) == triangles > 0
    for cycle in found.shortest:
        assert set(zip(cycle.segments, cycle.segments[1:] + cycle.segments[:1], strict=True)) <= preferred
