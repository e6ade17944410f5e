"""What scripted teachers say to rankings and ratings."""

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from rlhf_envs.feedback import TEACHERS, Choice, Kind, PreferenceStore, Query, ScriptedTeacher, TeacherConfig

SCALE = {"reward_middle": 1.0, "reward_scale": 2.0}


@pytest.fixture
def ask_about(make_segment: Any) -> Any:
    def make(*rewards: Any, key: str = "0/train/0", **fields: Any) -> Query:
        kind = Kind.RATING if len(rewards) == 1 else Kind.RANKING
        segments = tuple(make_segment(each, seed) for seed, each in enumerate(rewards))
        return Query(key, 0, segments, kind, **{"context": SCALE} | fields)

    return make


def rankings(config: TeacherConfig, query: Query, times: int = 4000) -> list[tuple[int, ...] | None]:
    teacher = ScriptedTeacher(config)
    return [teacher.rank(replace(query, key=str(number))) for number in range(times)]


def test_the_oracle_ranks_by_return_and_leaves_equal_ones_in_screen_order(ask_about: Any) -> None:
    oracle = ScriptedTeacher(TEACHERS["oracle"])
    assert oracle.rank(ask_about([0, 1], [3, 0], [1, 1], [0, -1])) == (1, 2, 0, 3)
    assert oracle.rank(ask_about([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [1, 0, 0])) == (2, 0, 1)


def test_a_myopic_teacher_ranks_by_the_end(ask_about: Any) -> None:
    assert ScriptedTeacher(TEACHERS["myopic"]).rank(ask_about([2.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.5])) == (1, 0)


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_a_boltzmann_teacher_draws_orders_from_plackett_luce(ask_about: Any, beta: float) -> None:
    returns = [0.0, 1.0, 2.5]
    drawn = Counter(rankings(TeacherConfig(beta=beta), ask_about(*([each] for each in returns))))
    for order in permutations(range(3)):
        odds = [math.exp(beta * returns[place]) for place in order]
        expected = math.prod(odds[place] / sum(odds[place:]) for place in range(3))
        assert drawn[order] / 4000 == pytest.approx(expected, abs=0.025)


def test_a_mistake_teacher_swaps_two_neighbours_at_its_rate(ask_about: Any) -> None:
    drawn = Counter(rankings(TeacherConfig(mistake=0.3), ask_about([3], [2], [1])))
    assert set(drawn) == {(0, 1, 2), (1, 0, 2), (0, 2, 1)}
    assert drawn[1, 0, 2] / 4000 == pytest.approx(0.15, abs=0.025)
    assert drawn[0, 2, 1] / 4000 == pytest.approx(0.15, abs=0.025)


def test_the_oracle_rates_each_step_on_the_scale_of_the_context_and_cuts_at_its_ends(ask_about: Any) -> None:
    ratings = ScriptedTeacher(TEACHERS["oracle"]).rate(ask_about([1.0, 2.0, -1.0, 9.0, -9.0]))
    assert ratings == (0.0, 0.5, -1.0, 1.0, -1.0)


def test_a_mistaken_rating_is_turned_round(ask_about: Any) -> None:
    query = ask_about([2.0, 1.0])
    drawn = Counter(ScriptedTeacher(TeacherConfig(mistake=0.2)).rate(replace(query, key=str(k))) for k in range(4000))
    assert set(drawn) == {(0.5, 0.0), (-0.5, -0.0)}
    assert drawn[-0.5, -0.0] / 4000 == pytest.approx(0.2, abs=0.02)


def test_two_ratings_of_a_boltzmann_teacher_order_segments_as_its_comparisons_would(ask_about: Any) -> None:
    teacher = ScriptedTeacher(TeacherConfig(beta=1.5))
    wide = {"reward_middle": 0.0, "reward_scale": 100.0}
    better, worse = ask_about([0.5, 0.3, 0.0], context=wide), ask_about([0.0, 0.0, 0.0], context=wide)
    right = [
        sum(teacher.rate(replace(better, key=f"a{k}")) or ()) > sum(teacher.rate(replace(worse, key=f"b{k}")) or ())
        for k in range(4000)
    ]
    assert np.mean(right) == pytest.approx(1 / (1 + math.exp(-1.5 * 0.8)), abs=0.025)


def test_a_coin_tossing_teacher_rates_in_range(ask_about: Any) -> None:
    drawn = {ScriptedTeacher(TeacherConfig(beta=0)).rate(ask_about([0.0], key=str(key))) for key in range(50)}
    assert drawn == {(1.0,), (-1.0,)}


def test_a_skip_teacher_skips_what_is_far_below_average(ask_about: Any, store: PreferenceStore) -> None:
    context = SCALE | {"average_return": 100.0, "horizon": 50}
    low, high = [0.5, 0, 0, 0, 0], [1.5, 0, 0, 0, 0]
    asked = [
        ask_about(low, low, low, key="a", context=context),
        ask_about(low, high, low, key="b", context=context),
        ask_about(low, key="c", context=context),
        ask_about(high, key="d", context=context),
    ]
    store.ask(asked)
    assert ScriptedTeacher(TEACHERS["skip"]).serve(store) == 4
    assert [live.choice for live in store.live_answers()] == [Choice.SKIP, None, Choice.SKIP, None]


def test_serving_answers_every_kind_of_query_in_one_go(ask_about: Any, make_query: Any, store: PreferenceStore) -> None:
    store.ask([make_query("a"), ask_about([0], [2], [1], key="b"), ask_about([2.0, 1.0], key="c")])
    assert ScriptedTeacher(TEACHERS["oracle"]).serve(store) == 3
    assert [(live.choice, live.payload) for live in store.live_answers()] == [
        (Choice.RIGHT, None),
        (None, {"ranking": [1, 2, 0]}),
        (None, {"ratings": [0.5, 0.0]}),
    ]


def test_answers_depend_on_seed_and_key_alone(ask_about: Any) -> None:
    ranking, rating = ask_about([0], [0.1], [0.2]), ask_about([0.0, 0.1])
    first, same, other = (ScriptedTeacher(TeacherConfig(beta=1.0, seed=seed)) for seed in (0, 0, 1))
    keys = [str(number) for number in range(30)]
    for query, say in ((ranking, "rank"), (rating, "rate")):
        said = [[getattr(teacher, say)(replace(query, key=key)) for key in keys] for teacher in (first, same, other)]
        assert said[0] == said[1] != said[2]


def test_what_a_teacher_cannot_judge_is_named(ask_about: Any, make_query: Any) -> None:
    oracle = ScriptedTeacher(TEACHERS["oracle"])
    with pytest.raises(ValueError, match="reward_middle and a positive reward_scale"):
        oracle.rate(ask_about([0.0], context={"reward_middle": 0.0, "reward_scale": 0.0}))
    with pytest.raises(ValueError, match="asks for a rating"):
        oracle.rate(make_query())
    with pytest.raises(ValueError, match="not all finite"):
        oracle.rank(ask_about([0.0], [math.nan]))
    with pytest.raises(ValueError, match="must be asked in a store"):
        oracle.answer(ask_about([0.0]))
