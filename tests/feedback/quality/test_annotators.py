"""What annotators' own answers say of their work."""

from typing import Any

import pytest

from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Purpose
from rlhf_envs.feedback.quality import Share, annotator_figures


def test_a_repeated_pair_counts_as_alike_after_its_sides_are_put_back(say: Any) -> None:
    first = [say("ann", "left", query=1), say("ann", "right", query=2), say("ann", "tie", query=3)]
    again = [
        say("ann", "right", purpose=Purpose.CHECK, repeats=1, swapped=True),
        say("ann", "left", purpose=Purpose.CHECK, repeats=2, swapped=False),
        say("ann", "tie", purpose=Purpose.CHECK, repeats=3, swapped=True),
    ]
    assert annotator_figures(first + again)["ann"].consistent == Share(2, 3)


def test_repetitions_that_are_skipped_or_whose_first_answer_was_taken_back_say_nothing(say: Any) -> None:
    answers = [
        say("ann", "left", query=1),
        say("ann", "skip", purpose=Purpose.CHECK, repeats=1, swapped=False),
        say("ann", "left", purpose=Purpose.CHECK, repeats=99, swapped=False),
        say("bob", "left", query=99),
    ]
    consistent = annotator_figures(answers)["ann"].consistent
    assert (consistent.of, consistent.value, consistent.interval) == (0, None, None)


def test_somebody_who_always_presses_left_is_consistent_only_where_sides_stay(
    store: PreferenceStore, make_query: Any
) -> None:
    store.ask([make_query(str(number)) for number in range(30)])
    session = AnnotatorSession(store, "ann", repeat_rate=1.0)
    while upcoming := session.upcoming():
        session.answer(upcoming[0].id, "left")
    figures = annotator_figures(store.live_answers())["ann"]
    checks = store.live_answers(Purpose.CHECK)
    assert figures.consistent == Share(sum(not live.context["swapped"] for live in checks), len(checks))
    assert 0.1 < figures.consistent.value < 0.9
    assert figures.left == Share(30, 30)


def test_choices_are_counted_and_practice_is_not(say: Any) -> None:
    given = [say("ann", choice) for choice in ("left", "left", "right", "tie", "skip")]
    figures = annotator_figures([*given, say("ann", "left", purpose=Purpose.PRACTICE)])["ann"]
    assert figures.answers == 5
    assert figures.choices == {"left": 2, "right": 1, "tie": 1, "skip": 1}
    assert figures.left == Share(2, 3)


def test_left_bias_is_tested_against_shuffled_sides(say: Any) -> None:
    uneven = [say("ann", "left") for _ in range(97)] + [say("ann", "right") for _ in range(23)]
    even = [say("bob", "left") for _ in range(62)] + [say("bob", "right") for _ in range(58)]
    figures = annotator_figures(uneven + even)
    assert figures["ann"].left.p_value_of_half < 1e-9
    assert figures["bob"].left.p_value_of_half > 0.5


def test_the_interval_of_a_share_is_wilsons() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 15 of 148 gives 0.0624 to 0.1605.
    low, high = Share(15, 148).interval
    assert (low, high) == (pytest.approx(0.0624, abs=1e-4), pytest.approx(0.1605, abs=1e-4))


def test_pace_leaves_out_pauses_and_counts_what_is_too_fast(say: Any) -> None:
    figures = annotator_figures([say("ann", "left", seconds=taken) for taken in (0.2, 2.0, 3.0, 4.0, 900.0)])["ann"]
    assert figures.seconds == pytest.approx((1.55, 2.5, 3.25))
    assert figures.too_fast == Share(1, 4)
    assert sum(figures.seconds_histogram) == 4
    assert figures.seconds_histogram[0] == figures.seconds_histogram[4] == 1


def test_answers_without_times_have_no_pace(say: Any) -> None:
    figures = annotator_figures([say("oracle", "left")])["oracle"]
    assert figures.seconds is None
    assert figures.too_fast.value is None
