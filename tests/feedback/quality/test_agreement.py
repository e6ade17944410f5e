"""How far annotators agree about the same pairs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlhf_envs.feedback import Purpose
from rlhf_envs.feedback.quality import Share, agreement, annotator_figures


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
