"""Win rates and scores say what was answered, and how sure that is."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from rlhf_envs.evaluation.judging.scores import answers_about, bradley_terry, pair_results, wilson_interval, win_matrix
from rlhf_envs.feedback import Choice, LiveAnswer, Purpose


def judged(*said: tuple[str, str, str], annotator: str = "ann", first_query: int = 1) -> list[LiveAnswer]:
    """One answer for each (policy on the left, policy on the right, choice)."""
    return [
        LiveAnswer(
            id=query,
            query_id=query,
            annotator=annotator,
            choice=Choice(choice),
            payload=None,
            segment_ids=(2 * query, 2 * query + 1),
            round=0,
            kind="comparison",
            purpose=Purpose.JUDGE,
            context={"left": left, "right": right},
        )
        for query, (left, right, choice) in enumerate(said, first_query)
    ]


def matrix(*rows: Sequence[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64)


@pytest.mark.parametrize(("wins", "count"), [(0, 7), (3, 10), (10, 10), (141, 200)])
def test_the_interval_of_whole_wins_is_that_of_scipy(wins: int, count: int) -> None:
    expected = binomtest(wins, count).proportion_ci(method="wilson")
    assert wilson_interval(wins / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_interval_always_holds_the_rate() -> None:
    for count in range(1, 60):
        for rate in (0.0, 0.5 / count, 0.5, 1 - 0.5 / count, 1.0):
            low, high = wilson_interval(rate, count)
            assert 0 <= low <= rate <= high <= 1 and high - low < 1


def test_a_win_counts_for_the_policy_whichever_side_it_was_shown_on() -> None:
    answers = judged(("a", "b", "left"), ("b", "a", "right"), ("b", "a", "left"), ("a", "b", "tie"), ("a", "b", "skip"))
    [pair] = pair_results(answers, ["a", "b"])
    assert (pair.wins, pair.losses, pair.ties, pair.skips, pair.comparisons) == (2, 1, 1, 1, 4)
    assert pair.rate == pytest.approx(2.5 / 4)
    [other] = pair_results(answers, ["b", "a"])
    assert (other.wins, other.losses, other.rate) == (1, 2, pytest.approx(1.5 / 4))


def test_several_annotators_of_the_same_clips_are_no_more_evidence_than_one() -> None:
    alone = judged(("a", "b", "left"), ("a", "b", "left"), ("a", "b", "right"))
    together = alone + judged(("a", "b", "left"), ("a", "b", "left"), ("a", "b", "right"), annotator="bob")
    [one], [both] = pair_results(alone, ["a", "b"]), pair_results(together, ["a", "b"])
    assert (both.rate, both.interval, both.comparisons) == (one.rate, one.interval, one.comparisons)
    assert both.wins == 2 * one.wins


def test_a_pair_that_nobody_has_judged_has_no_rate() -> None:
    [pair] = pair_results(judged(("a", "b", "skip")), ["a", "b"])
    assert pair.rate is None and pair.interval is None and pair.skips == 1
    assert not win_matrix([pair], ["a", "b"]).any()


def test_answers_about_other_policies_are_left_out() -> None:
    answers = judged(("a", "b", "left"), ("a", "c", "left"))
    assert answers_about(answers, ["a", "b"]) == answers[:1]


def test_two_policies_differ_by_the_log_odds_of_their_wins() -> None:
    values, std_errors = bradley_terry(matrix([0, 30], [10, 0]), reference=1, prior_std=1000.0)
    assert values == pytest.approx([np.log(3), 0], abs=1e-4)
    # The standard error of a logit over n cases is 1 / sqrt(n p (1 - p)).
    assert std_errors == pytest.approx([(40 * 0.75 * 0.25) ** -0.5, 0], abs=1e-4)


def test_scores_come_back_from_the_comparisons_that_they_predict() -> None:
    truth = np.array([1.5, 0.2, -0.4, -1.3])
    wins = 400 / (1 + np.exp(truth[None] - truth[:, None]))
    np.fill_diagonal(wins, 0)
    values, std_errors = bradley_terry(wins)
    assert values == pytest.approx(truth - truth.mean(), abs=0.01)
    assert values.sum() == pytest.approx(0, abs=1e-9)
    assert (np.abs(values - (truth - truth.mean())) < 1.96 * std_errors).all()


def test_a_policy_that_never_lost_has_a_finite_score_and_more_wins_raise_it() -> None:
    few, many = (bradley_terry(matrix([0, wins], [0, 0]), reference=1)[0][0] for wins in (5, 100_000))
    assert 1 < few < many < 20


def test_policies_that_never_met_are_placed_by_whom_both_met() -> None:
    values, _ = bradley_terry(matrix([0, 8, 0], [2, 0, 8], [0, 2, 0]), reference=2)
    assert values[0] > values[1] > values[2] == 0
    unknown, std_errors = bradley_terry(np.zeros((3, 3)), reference=2)
    assert not unknown.any() and (std_errors[:2] > 3).all()
