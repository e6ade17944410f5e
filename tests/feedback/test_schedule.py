import math
from itertools import pairwise

import pytest

from rlhf_envs.loop.config import SCHEDULES, due


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("answers", [0, 1, 7, 200, 1000])
@pytest.mark.parametrize("ask_until", [0.3, 0.7, 1.0])
def test_labels_start_at_the_initial_share_never_fall_and_are_all_asked_in_time(
    schedule: str, answers: int, ask_until: float
) -> None:
    asked = [due(schedule, step, 10_000, answers, ask_until=ask_until) for step in range(0, 12_000, 50)]
    assert asked[0] == math.ceil(answers * 0.25)
    assert asked == sorted(asked)
    assert due(schedule, math.ceil(ask_until * 10_000), 10_000, answers, ask_until=ask_until) == answers
    assert asked[-1] == answers


def test_a_constant_schedule_asks_half_of_the_rest_in_half_of_the_time() -> None:
    assert due("constant", 350, 1000, 200) == 50 + 75


def test_a_hyperbolic_schedule_asks_sooner_and_slows_down() -> None:
    asked = [due("hyperbolic", step, 1000, 10_000, initial_share=0.0, ask_until=1.0) for step in (0, 250, 500, 750)]
    first, second, third = (later - sooner for sooner, later in pairwise(asked))
    assert asked[1] > 2500 and first > second > third > 0
    # The rate halves after a quarter of the time: the integral of T0 / (t + T0) from 0 to T0 is T0 * log 2.
    assert asked[1] == pytest.approx(10_000 * math.log(2) / math.log(5), abs=1)


def test_a_share_that_is_a_whole_number_of_labels_is_not_rounded_up() -> None:
    assert due("constant", 0, 1000, 30, initial_share=0.1) == 3


def test_the_whole_budget_may_be_asked_at_the_start() -> None:
    assert due("constant", 0, 1000, 200, initial_share=1.0) == 200


def test_an_unknown_schedule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="did you mean 'hyperbolic'"):
        due("hyperbola", 0, 1000, 200)


@pytest.mark.parametrize(
    "figures", [{"timesteps": -1}, {"total_timesteps": 0}, {"answers": -1}, {"initial_share": 2}, {"ask_until": 0}]
)
def test_a_figure_out_of_range_is_refused(figures: dict[str, int]) -> None:
    usual = {"schedule": "constant", "timesteps": 0, "total_timesteps": 1000, "answers": 200}
    with pytest.raises(ValueError, match=next(iter(figures))):
        due(**(usual | figures))  # type: ignore[arg-type]
