"""What scripted teachers answer to queries of every kind."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlhf_envs.feedback import ANNOTATORS, KINDS, Choice, PreferenceStore, Purpose, Query, ScriptedTeacher, Submission
from rlhf_envs.kinds import TeacherConfig

AskAbout = Callable[..., Query]

SCALE = {"reward_middle": 1.0, "reward_scale": 2.0}
CLEAR = {"clear_difference": 1.0}


@pytest.fixture
def ask_about(make_segment: Any) -> AskAbout:
    """A rating of one segment or a ranking of several, by their rewards."""

    def make(*rewards: Any, key: str = "0/train/0", **fields: Any) -> Query:
        described: dict[str, Any] = {"kind": "rating" if len(rewards) == 1 else "ranking", "context": SCALE} | fields
        return Query(key, 0, tuple(make_segment(each, seed) for seed, each in enumerate(rewards)), **described)

    return make


def answer(config: TeacherConfig, query: Query) -> Submission:
    return ScriptedTeacher(config).answer(replace(query, id=1))


def answers(config: TeacherConfig, query: Query, times: int = 4000) -> list[Submission]:
    """To the same question under many keys."""
    return [answer(config, replace(query, key=f"0/train/{number}")) for number in range(times)]


def compare(config: TeacherConfig, query: Query) -> Choice | None:
    return answer(config, query).choice


def comparisons(config: TeacherConfig, query: Query) -> list[Choice | None]:
    return [given.choice for given in answers(config, query)]


def rank(config: TeacherConfig, query: Query) -> tuple[int, ...]:
    return ranking(answer(config, query))


def ranking(given: Submission) -> tuple[int, ...]:
    assert given.choice is None and given.payload is not None
    return tuple(given.payload["ranking"])


def ratings(given: Submission) -> tuple[float, ...]:
    assert given.choice is None and given.payload is not None
    return tuple(given.payload["ratings"])


def share(choices: list[Choice | None], choice: Choice) -> float:
    return Counter(choices)[choice] / len(choices)


# Comparisons.


def test_the_oracle_prefers_the_higher_return_and_ties_equal_ones(make_query: Any) -> None:
    oracle = ANNOTATORS["oracle"]
    assert compare(oracle, make_query(left=[0, 1], right=[1, 1e-6])) is Choice.RIGHT
    assert compare(oracle, make_query(left=[0, 1], right=[1, -1e-6])) is Choice.LEFT
    assert compare(oracle, make_query(left=[0, 1], right=[1, 0])) is Choice.TIE


def test_the_same_rewards_in_another_order_are_a_tie(make_query: Any) -> None:
    rewards = [0.1, 1e6, 0.3, -1e6, 0.7]
    assert compare(ANNOTATORS["oracle"], make_query(left=rewards, right=sorted(rewards))) is Choice.TIE


@pytest.mark.parametrize(("beta", "difference"), [(1.0, 0.0), (1.0, 0.8), (1.0, -1.5), (3.0, 0.4), (0.0, 9.0)])
def test_a_boltzmann_teacher_chooses_right_with_the_sigmoid_of_beta_times_the_difference(
    make_query: Any, beta: float, difference: float
) -> None:
    choices = comparisons(TeacherConfig(beta=beta), make_query(left=[0, 0], right=[difference, 0]))
    assert share(choices, Choice.RIGHT) == pytest.approx(1 / (1 + math.exp(-beta * difference)), abs=0.03)
    assert set(choices) <= {Choice.LEFT, Choice.RIGHT}


def test_a_huge_difference_is_no_overflow(make_query: Any) -> None:
    query = make_query(left=[3e38], right=[-3e38])
    assert compare(TeacherConfig(beta=1e300), query) is Choice.LEFT


def test_a_mistake_teacher_errs_at_its_rate_and_never_on_ties(make_query: Any) -> None:
    config = TeacherConfig(mistake=0.1)
    assert share(comparisons(config, make_query()), Choice.LEFT) == pytest.approx(0.1, abs=0.015)
    assert set(comparisons(config, make_query(left=[1], right=[1]))) == {Choice.TIE}


def test_a_myopic_teacher_judges_by_the_end(make_query: Any, ask_about: AskAbout) -> None:
    query = make_query(left=[2.0, 0, 0, 0, 0], right=[0, 0, 0, 0, 1.5])
    assert compare(ANNOTATORS["oracle"], query) is Choice.LEFT
    assert compare(ANNOTATORS["myopic"], query) is Choice.RIGHT
    assert rank(ANNOTATORS["myopic"], ask_about([2.0, 0, 0, 0, 0], [0, 0, 0, 0, 1.5])) == (1, 0)
    # 2 * 0.9 ** 4 = 1.3122: the last step counts in full, the first gamma to the power of H - 1.
    close = make_query(left=[2.0, 0, 0, 0, 0], right=[0, 0, 0, 0, 1.3])
    assert compare(ANNOTATORS["myopic"], close) is Choice.LEFT


@pytest.mark.parametrize("average", [100.0, -100.0])
def test_an_equal_teacher_ties_below_its_share_of_an_average_stretch(make_query: Any, average: float) -> None:
    equal = ANNOTATORS["equal"]
    context = {"average_return": average, "horizon": 50}
    # 5 of 50 steps of an average 100 are worth 10, and a tenth of it is 1.
    assert compare(equal, make_query(left=[0] * 5, right=[0.99, 0, 0, 0, 0], context=context)) is Choice.TIE
    assert compare(equal, make_query(left=[0] * 5, right=[1.01, 0, 0, 0, 0], context=context)) is Choice.RIGHT


@pytest.mark.parametrize(("average", "threshold"), [(100.0, 1.0), (-100.0, -100.0)])
def test_a_skip_teacher_skips_when_both_are_far_below_average(
    make_query: Any, average: float, threshold: float
) -> None:
    skip = ANNOTATORS["skip"]
    context = {"average_return": average, "horizon": 50}
    low, high = [threshold - 0.5, 0, 0, 0, 0], [threshold + 0.5, 0, 0, 0, 0]
    assert compare(skip, make_query(left=low, right=low, context=context)) is Choice.SKIP
    assert compare(skip, make_query(left=low, right=high, context=context)) is Choice.RIGHT
    assert compare(skip, make_query(left=high, right=low, context=context)) is Choice.LEFT


def test_deviations_combine(make_query: Any) -> None:
    config = TeacherConfig(beta=1.0, mistake=0.2, equal=0.1, skip=0.1)
    context = {"average_return": 100.0, "horizon": 50}
    choices = comparisons(config, make_query(left=[5, 0, 0, 0, 0], right=[7, 0, 0, 0, 0], context=context))
    rational = 1 / (1 + math.exp(-2))
    assert share(choices, Choice.RIGHT) == pytest.approx(0.8 * rational + 0.2 * (1 - rational), abs=0.03)


def test_a_habit_answers_left_without_looking(make_query: Any) -> None:
    queries = [make_query(str(number)) for number in range(200)]  # right is always better
    said = [compare(TeacherConfig(habit=0.3, seed=4), query) for query in queries]
    assert 0.2 < said.count(Choice.LEFT) / 200 < 0.4
    assert {compare(TeacherConfig(habit=1.0), query) for query in queries} == {Choice.LEFT}


# Rankings.


def test_the_oracle_ranks_by_return_and_leaves_equal_ones_in_screen_order(ask_about: AskAbout) -> None:
    oracle = ANNOTATORS["oracle"]
    assert rank(oracle, ask_about([0, 1], [3, 0], [1, 1], [0, -1])) == (1, 2, 0, 3)
    assert rank(oracle, ask_about([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [1, 0, 0])) == (2, 0, 1)


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_a_boltzmann_teacher_draws_orders_from_plackett_luce(ask_about: AskAbout, beta: float) -> None:
    returns = [0.0, 1.0, 2.5]
    drawn = Counter(map(ranking, answers(TeacherConfig(beta=beta), ask_about(*([each] for each in returns)))))
    for order in permutations(range(3)):
        odds = [math.exp(beta * returns[place]) for place in order]
        expected = math.prod(odds[place] / sum(odds[place:]) for place in range(3))
        assert drawn[order] / 4000 == pytest.approx(expected, abs=0.025)


def test_a_mistake_teacher_swaps_two_neighbours_at_its_rate(ask_about: AskAbout) -> None:
    drawn = Counter(map(ranking, answers(TeacherConfig(mistake=0.3), ask_about([3], [2], [1]))))
    assert set(drawn) == {(0, 1, 2), (1, 0, 2), (0, 2, 1)}
    assert drawn[1, 0, 2] / 4000 == pytest.approx(0.15, abs=0.025)
    assert drawn[0, 2, 1] / 4000 == pytest.approx(0.15, abs=0.025)


# Ratings.


def test_the_oracle_rates_each_step_on_the_scale_of_the_context_and_cuts_at_its_ends(ask_about: AskAbout) -> None:
    given = answer(ANNOTATORS["oracle"], ask_about([1.0, 2.0, -1.0, 9.0, -9.0]))
    assert ratings(given) == (0.0, 0.5, -1.0, 1.0, -1.0)


def test_a_mistaken_rating_is_turned_round(ask_about: AskAbout) -> None:
    drawn = Counter(map(ratings, answers(TeacherConfig(mistake=0.2), ask_about([2.0, 1.0]))))
    assert set(drawn) == {(0.5, 0.0), (-0.5, -0.0)}
    assert drawn[-0.5, -0.0] / 4000 == pytest.approx(0.2, abs=0.02)


def test_two_ratings_of_a_boltzmann_teacher_order_segments_as_its_comparisons_would(ask_about: AskAbout) -> None:
    config = TeacherConfig(beta=1.5)
    wide = {"reward_middle": 0.0, "reward_scale": 100.0}
    better, worse = ask_about([0.5, 0.3, 0.0], context=wide), ask_about([0.0, 0.0, 0.0], context=wide)
    right = [
        sum(ratings(answer(config, replace(better, key=f"a{k}"))))
        > sum(ratings(answer(config, replace(worse, key=f"b{k}"))))
        for k in range(4000)
    ]
    assert np.mean(right) == pytest.approx(1 / (1 + math.exp(-1.5 * 0.8)), abs=0.025)


def test_a_coin_tossing_teacher_rates_in_range(ask_about: AskAbout) -> None:
    assert set(map(ratings, answers(TeacherConfig(beta=0), ask_about([0.0]), 50))) == {(1.0,), (-1.0,)}


# All kinds.


def test_a_skip_teacher_skips_rankings_and_ratings_of_what_is_far_below_average(
    ask_about: AskAbout, store: PreferenceStore
) -> None:
    context = SCALE | {"average_return": 100.0, "horizon": 50}
    low, high = [0.5, 0, 0, 0, 0], [1.5, 0, 0, 0, 0]
    asked = [
        ask_about(low, low, low, key="a", context=context),
        ask_about(low, high, low, key="b", context=context),
        ask_about(low, key="c", context=context),
        ask_about(high, key="d", context=context),
    ]
    store.ask(asked)
    assert ScriptedTeacher(ANNOTATORS["skip"]).serve(store) == 4
    assert [live.choice for live in store.live_answers()] == [Choice.SKIP, None, Choice.SKIP, None]


def test_serving_answers_all_that_is_open_once(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(30)])
    store.ask([make_query("test", purpose=Purpose.TEST, left=[1], right=[0])])
    teacher = ScriptedTeacher(ANNOTATORS["oracle"])
    assert teacher.serve(store) == 31
    assert teacher.serve(store) == 0
    assert [live.choice for live in store.live_answers()] == [Choice.RIGHT] * 30 + [Choice.LEFT]


def test_serving_answers_every_kind_of_query_in_one_go(
    ask_about: AskAbout, make_query: Any, store: PreferenceStore
) -> None:
    asked = [make_query("a"), ask_about([0], [2], [1], key="b"), ask_about([2.0, 1.0], key="c")]
    store.ask([*asked, make_query("d", kind="strength", context=CLEAR)])
    assert ScriptedTeacher(ANNOTATORS["oracle"]).serve(store) == 4
    assert [(live.choice, live.payload) for live in store.live_answers()] == [
        (Choice.RIGHT, None),
        (None, {"ranking": [1, 2, 0]}),
        (None, {"ratings": [0.5, 0.0]}),
        (Choice.RIGHT, {"strength": "clearly"}),
    ]


def test_a_teacher_gives_the_same_answers_in_another_run(tmp_path: Path, make_query: Any) -> None:
    def run(name: str, batches: list[range]) -> dict[str, Choice | None]:
        with PreferenceStore.create(tmp_path / name) as store:
            for batch in batches:
                store.ask([make_query(str(number)) for number in batch])
                ScriptedTeacher(ANNOTATORS["boltzmann"]).serve(store)
            by_id = {query.id: query.key for query in store.queries()}
            return {by_id[live.query_id]: live.choice for live in store.live_answers()}

    assert run("a.db", [range(40)]) == run("b.db", [range(20, 40), range(20)])


@pytest.mark.parametrize("kind", KINDS)
def test_answers_depend_on_seed_and_key_alone(ask_about: AskAbout, kind: str) -> None:
    shown = {"rating": 1, "ranking": 3}.get(kind, 2)
    query = ask_about(*([0.1 * place] for place in range(shown)), kind=kind, context=SCALE | CLEAR)
    config = TeacherConfig(beta=0.5, mistake=0.1)
    queries = [replace(query, id=1, key=str(number)) for number in range(60)]
    forward = [ScriptedTeacher(config).answer(query) for query in queries]
    teacher = ScriptedTeacher(config, name="another name")
    backward = [replace(teacher.answer(query), annotator="oracle") for query in reversed(queries)][::-1]
    assert backward == forward
    reseeded = ScriptedTeacher(replace(config, seed=1))
    assert [reseeded.answer(query) for query in queries] != forward


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"beta": -1.0}, "beta"),
        ({"beta": math.nan}, "beta"),
        ({"gamma": 0.0}, "gamma"),
        ({"gamma": 1.1}, "gamma"),
        ({"mistake": 1.5}, "mistake"),
        ({"skip": -0.1}, "skip"),
        ({"equal": math.nan}, "equal"),
    ],
)
def test_a_figure_out_of_range_is_refused(fields: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TeacherConfig(**fields)  # type: ignore[arg-type]


def test_what_a_teacher_cannot_judge_is_named(ask_about: AskAbout, make_query: Any) -> None:
    oracle = ANNOTATORS["oracle"]
    with pytest.raises(ValueError, match="average_return and a positive horizon"):
        compare(ANNOTATORS["skip"], make_query())
    with pytest.raises(ValueError, match="not all finite"):
        compare(oracle, make_query(left=[math.nan]))
    with pytest.raises(ValueError, match="not all finite"):
        rank(oracle, ask_about([0.0], [math.nan]))
    with pytest.raises(ValueError, match="reward_middle and a positive reward_scale"):
        answer(oracle, ask_about([0.0], context={"reward_middle": 0.0, "reward_scale": 0.0}))
    with pytest.raises(ValueError, match="must be asked in a store"):
        ScriptedTeacher(oracle).answer(ask_about([0.0]))
