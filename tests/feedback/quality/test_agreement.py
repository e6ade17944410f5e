"""How far annotators agree about the same pairs."""

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np
import pytest

from rlhf_envs.feedback import Purpose
from rlhf_envs.feedback.quality import Share, agreement, annotator_figures
from rlhf_envs.feedback.quality.agreement import gwet_ac1
from rlhf_envs.queries import Choice


def test_the_side_a_segment_was_shown_on_plays_no_part(say: Any) -> None:
    agreed = agreement([say("ann", "left", (1, 2)), say("bob", "right", (2, 1)), say("cy", "left", (2, 1))])
    assert {(pair.first, pair.second): pair.alike for pair in agreed.pairs} == {
        ("ann", "bob"): 1,
        ("ann", "cy"): 0,
        ("bob", "cy"): 0,
    }
    assert agreed.shared == 1


def test_skips_repetitions_and_pairs_of_one_annotator_say_nothing_of_agreement(say: Any) -> None:
    answers = [
        say("ann", "left", (1, 2)),
        say("ann", "right", (1, 2), purpose=Purpose.CHECK, repeats=1, swapped=False),
        say("bob", "skip", (1, 2)),
        say("bob", "left", (3, 4)),
    ]
    agreed = agreement(answers)
    assert (agreed.alpha, agreed.shared, agreed.pairs) == (None, 0, ())


def test_preferences_with_their_strength_agree_as_comparisons_do(say: Any) -> None:
    clearly = replace(say("ann", "left"), kind="strength", payload={"strength": "clearly"})
    slightly = replace(say("bob", "left"), kind="strength", payload={"strength": "slightly"})
    figures = annotator_figures([clearly, slightly, say("cy", "right")])
    assert (figures["ann"].agrees, figures["cy"].agrees) == (Share(1, 2), Share(0, 2))
    assert (figures["ann"].choices["left"], figures["ann"].other) == (1, 0)


def test_answers_of_a_kind_that_is_not_registered_here_say_nothing_of_agreement(say: Any) -> None:
    agreed = agreement([replace(say(name, "left"), kind="unknown") for name in ("ann", "bob")])
    assert agreed.shared == 0


def test_agreement_with_others_adds_up_over_them(say: Any) -> None:
    answers = [say("ann", "left"), say("bob", "left"), say("cy", "tie")]
    assert annotator_figures(answers)["ann"].agrees == Share(1, 2)


def test_alpha_is_one_when_all_agree_and_near_zero_for_coins(say: Any) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=400)
    alike = [say(name, ("left", "right")[side], (2 * n, 2 * n + 1)) for n, side in enumerate(truth) for name in "ab"]
    assert agreement(alike).alpha == pytest.approx(1.0)
    coins = [say(name, ("left", "right")[rng.integers(2)], (2 * n, 2 * n + 1)) for n in range(400) for name in "ab"]
    assert abs(agreement(coins).alpha) < 0.15


def test_a_tie_is_nearer_to_either_side_than_the_sides_are_to_each_other(say: Any) -> None:
    def alpha_with(odd: str) -> float:
        agreed = [
            say(name, side, (n, n + 50)) for n in range(20) for name in "ab" for side in [("left", "right")[n % 2]]
        ]
        ties = [say(name, "tie", (n, n + 50)) for n in range(20, 30) for name in "ab"]
        differing = [say("a", "left", (n, n + 50)) for n in range(30, 34)] + [
            say("b", odd, (n, n + 50)) for n in range(30, 34)
        ]
        return agreement(agreed + ties + differing).alpha

    assert alpha_with("tie") > alpha_with("right")


def test_alpha_is_not_defined_where_only_one_thing_was_ever_said(say: Any) -> None:
    assert agreement([say("ann", "left"), say("bob", "left")]).alpha is None


def test_ac1_is_gwets_also_where_nearly_all_answers_are_the_same(say: Any) -> None:
    # Two raters and 125 subjects: both say yes of 118, one of them of 5 and the other of 2. Cohen's kappa is -0.02.
    counts = np.array([[2, 0]] * 118 + [[1, 1]] * 7)
    assert gwet_ac1(counts) == pytest.approx(0.9408, abs=1e-4)
    assert gwet_ac1(np.array([[0, 3, 0]] * 4)) == 1.0
    ties = [say(name, "tie", (2 * n, 2 * n + 1)) for n in range(60) for name in ("ann", "bob")]
    few = [
        say(name, side, (200 + 2 * n, 201 + 2 * n))
        for n in range(2)
        for name, side in (("ann", "left"), ("bob", "tie"))
    ]
    agreed = agreement(ties + few)
    assert agreed.alpha is not None and abs(agreed.alpha) < 0.1
    assert agreed.ac1 is not None and agreed.ac1 > 0.95
    assert agreement([say("ann", "left")]).ac1 is None


def test_agreement_is_what_a_plain_count_gives(say: Any) -> None:
    rng = np.random.default_rng(0)
    names, choices = ("cy", "ann", "bob", "dora"), ("left", "right", "tie", "skip")
    answers = [
        say(str(rng.choice(names)), str(rng.choice(choices)), tuple(rng.choice(8, 2, replace=False).tolist()))
        for _ in range(400)
    ]
    first: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for answer in answers:
        left, right = answer.segment_ids
        if answer.choice is not Choice.SKIP:
            better = {Choice.LEFT: -1, Choice.RIGHT: 1, Choice.TIE: 0}[answer.choice] * (1 if left < right else -1)
            first[min(left, right), max(left, right)].setdefault(answer.annotator, better)
    counted: Counter[tuple[str, str]] = Counter()
    alike: Counter[tuple[str, str]] = Counter()
    for said in first.values():
        for two in combinations(sorted(said), 2):
            counted[two] += 1
            alike[two] += said[two[0]] == said[two[1]]
    found = agreement(answers)
    assert {(pair.first, pair.second): (pair.compared, pair.alike) for pair in found.pairs} == {
        two: (counted[two], alike[two]) for two in counted
    }
    shared = [list(said.values()) for said in first.values() if len(said) > 1]
    table = [[next(iter(said[k : k + 1]), np.nan) for said in shared] for k in range(4)]
    expected = krippendorff.alpha(table, level_of_measurement="ordinal", value_domain=[-1, 0, 1])
    assert (found.shared, found.alpha) == (len(shared), pytest.approx(expected))
