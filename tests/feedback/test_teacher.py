import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlhf_envs.feedback import TEACHERS, Choice, Kind, PreferenceStore, Purpose, Query, ScriptedTeacher, TeacherConfig


def share(choices: list[Choice], choice: Choice) -> float:
    return Counter(choices)[choice] / len(choices)


def judgements(config: TeacherConfig, query: Query, times: int = 4000) -> list[Choice]:
    teacher = ScriptedTeacher(config)
    return [teacher.judge(replace(query, key=f"0/train/{number}")) for number in range(times)]


def test_the_oracle_prefers_the_higher_return_and_ties_equal_ones(make_query: Any) -> None:
    oracle = ScriptedTeacher(TEACHERS["oracle"])
    assert oracle.judge(make_query(left=[0, 1], right=[1, 1e-6])) is Choice.RIGHT
    assert oracle.judge(make_query(left=[0, 1], right=[1, -1e-6])) is Choice.LEFT
    assert oracle.judge(make_query(left=[0, 1], right=[1, 0])) is Choice.TIE


def test_the_same_rewards_in_another_order_are_a_tie(make_query: Any) -> None:
    rewards = [0.1, 1e6, 0.3, -1e6, 0.7]
    assert ScriptedTeacher(TEACHERS["oracle"]).judge(make_query(left=rewards, right=sorted(rewards))) is Choice.TIE


@pytest.mark.parametrize(("beta", "difference"), [(1.0, 0.0), (1.0, 0.8), (1.0, -1.5), (3.0, 0.4), (0.0, 9.0)])
def test_a_boltzmann_teacher_chooses_right_with_the_sigmoid_of_beta_times_the_difference(
    make_query: Any, beta: float, difference: float
) -> None:
    choices = judgements(TeacherConfig(beta=beta), make_query(left=[0, 0], right=[difference, 0]))
    assert share(choices, Choice.RIGHT) == pytest.approx(1 / (1 + math.exp(-beta * difference)), abs=0.03)
    assert set(choices) <= {Choice.LEFT, Choice.RIGHT}


def test_a_huge_difference_is_no_overflow(make_query: Any) -> None:
    query = make_query(left=[3e38], right=[-3e38])
    assert ScriptedTeacher(TeacherConfig(beta=1e300)).judge(query) is Choice.LEFT


def test_a_mistake_teacher_errs_at_its_rate_and_never_on_ties(make_query: Any) -> None:
    config = TeacherConfig(mistake=0.1)
    assert share(judgements(config, make_query()), Choice.LEFT) == pytest.approx(0.1, abs=0.015)
    assert set(judgements(config, make_query(left=[1], right=[1]))) == {Choice.TIE}


def test_a_myopic_teacher_judges_by_the_end(make_query: Any) -> None:
    query = make_query(left=[2.0, 0, 0, 0, 0], right=[0, 0, 0, 0, 1.5])
    assert ScriptedTeacher(TEACHERS["oracle"]).judge(query) is Choice.LEFT
    assert ScriptedTeacher(TEACHERS["myopic"]).judge(query) is Choice.RIGHT
    # 2 * 0.9 ** 4 = 1.3122: the last step counts in full, the first gamma to the power of H - 1.
    close = make_query(left=[2.0, 0, 0, 0, 0], right=[0, 0, 0, 0, 1.3])
    assert ScriptedTeacher(TEACHERS["myopic"]).judge(close) is Choice.LEFT


@pytest.mark.parametrize("average", [100.0, -100.0])
def test_an_equal_teacher_ties_below_its_share_of_an_average_stretch(make_query: Any, average: float) -> None:
    teacher = ScriptedTeacher(TEACHERS["equal"])
    context = {"average_return": average, "horizon": 50}
    # 5 of 50 steps of an average 100 are worth 10, and a tenth of it is 1.
    assert teacher.judge(make_query(left=[0] * 5, right=[0.99, 0, 0, 0, 0], context=context)) is Choice.TIE
    assert teacher.judge(make_query(left=[0] * 5, right=[1.01, 0, 0, 0, 0], context=context)) is Choice.RIGHT


@pytest.mark.parametrize(("average", "threshold"), [(100.0, 1.0), (-100.0, -100.0)])
def test_a_skip_teacher_skips_when_both_are_far_below_average(
    make_query: Any, average: float, threshold: float
) -> None:
    teacher = ScriptedTeacher(TEACHERS["skip"])
    context = {"average_return": average, "horizon": 50}
    low, high = [threshold - 0.5, 0, 0, 0, 0], [threshold + 0.5, 0, 0, 0, 0]
    assert teacher.judge(make_query(left=low, right=low, context=context)) is Choice.SKIP
    assert teacher.judge(make_query(left=low, right=high, context=context)) is Choice.RIGHT
    assert teacher.judge(make_query(left=high, right=low, context=context)) is Choice.LEFT


def test_deviations_combine(make_query: Any) -> None:
    config = TeacherConfig(beta=1.0, mistake=0.2, equal=0.1, skip=0.1)
    context = {"average_return": 100.0, "horizon": 50}
    choices = judgements(config, make_query(left=[5, 0, 0, 0, 0], right=[7, 0, 0, 0, 0], context=context))
    rational = 1 / (1 + math.exp(-2))
    assert share(choices, Choice.RIGHT) == pytest.approx(0.8 * rational + 0.2 * (1 - rational), abs=0.03)


def test_judgements_depend_on_seed_and_key_and_not_on_order(make_query: Any) -> None:
    queries = [make_query(str(number)) for number in range(200)]
    config = TeacherConfig(beta=0.5, mistake=0.1)
    forward = [ScriptedTeacher(config).judge(query) for query in queries]
    teacher = ScriptedTeacher(config, name="another name")
    assert [teacher.judge(query) for query in reversed(queries)][::-1] == forward
    reseeded = ScriptedTeacher(replace(config, seed=1))
    assert [reseeded.judge(query) for query in queries] != forward


def test_serving_answers_all_that_is_open_once(store: PreferenceStore, make_query: Any) -> None:
    store.ask([make_query(str(number)) for number in range(30)])
    store.ask([make_query("test", purpose=Purpose.TEST, left=[1], right=[0])])
    teacher = ScriptedTeacher(TEACHERS["oracle"])
    assert teacher.serve(store) == 31
    assert teacher.serve(store) == 0
    assert [answer.choice for answer in store.live_answers()] == [Choice.RIGHT] * 30 + [Choice.LEFT]


def test_a_teacher_gives_the_same_answers_in_another_run(tmp_path: Path, make_query: Any) -> None:
    def run(name: str, batches: list[range]) -> dict[str, Choice | None]:
        with PreferenceStore.create(tmp_path / name, environment={}) as store:
            for batch in batches:
                store.ask([make_query(str(number)) for number in batch])
                ScriptedTeacher(TEACHERS["boltzmann"]).serve(store)
            by_id = {query.id: query.key for query in store.queries()}
            return {by_id[answer.query_id]: answer.choice for answer in store.live_answers()}

    assert run("a.db", [range(40)]) == run("b.db", [range(20, 40), range(20)])


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


def test_what_a_teacher_cannot_judge_is_named(make_query: Any) -> None:
    with pytest.raises(ValueError, match="average_return and a positive horizon"):
        ScriptedTeacher(TEACHERS["skip"]).judge(make_query())
    with pytest.raises(ValueError, match="not all finite"):
        ScriptedTeacher(TEACHERS["oracle"]).judge(make_query(left=[math.nan]))
    with pytest.raises(ValueError, match="asks for a comparison"):
        ScriptedTeacher(TEACHERS["oracle"]).judge(make_query(kind=Kind.RANKING))


def test_a_habit_answers_left_without_looking(make_query: Any) -> None:
    queries = [make_query(str(number)) for number in range(200)]  # right is always better
    said = [ScriptedTeacher(TeacherConfig(habit=0.3, seed=4)).judge(query) for query in queries]
    assert 0.2 < said.count(Choice.LEFT) / 200 < 0.4
    assert {ScriptedTeacher(TeacherConfig(habit=1.0)).judge(query) for query in queries} == {Choice.LEFT}
