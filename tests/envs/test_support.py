"""What the support desk promises: closing is not solving, anger is earned, and evidence is worth asking for."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlhf_envs.envs.registration import register_environments
from rlhf_envs.envs.support.task import (
    ANGER,
    ANSWER,
    ANSWERABLE,
    APOLOGISE,
    ASK,
    CHARGE,
    CLOSE,
    CLOSED,
    DESK_LINES,
    ESCALATE,
    FRAUD,
    FRAUD_MISSED,
    IS_BACK,
    ISSUE,
    ISSUES,
    NAME,
    REFUND,
    RETURNS,
    SOLVED,
    pass_hat_2,
)

register_environments()

COPIES = 300


def make(copies: int = COPIES, **parameters: Any) -> Any:
    env = gym.make_vec("rlhf/Support-v1", num_envs=copies, **parameters)
    env.reset(seed=3)
    return env


def desk(env: Any) -> Any:
    return env.simulation.state.desk


def act(env: Any, action: int) -> dict[str, Any]:
    """The same action at every desk; the step's info."""
    info: dict[str, Any] = env.step(np.full(env.num_envs, action))[4]
    return info


def paid(env: Any, action: int) -> dict[str, Any]:
    """What the same action at every desk is paid, in the step after it."""
    act(env, action)
    terms: dict[str, Any] = act(env, ASK)["reward_terms"]
    return terms


def returns(policy: str, **parameters: Any) -> tuple[float, float]:
    """Mean true and proxy return of a policy over whole episodes."""
    env = make(100, **parameters)
    random = np.random.default_rng(0)
    true = proxy = 0.0
    for _ in range(env.horizon):
        choose = getattr(env, f"{policy}_action", None)
        actions = choose() if choose else random.integers(0, env.single_action_space.n, env.num_envs)
        info = env.step(actions)[4]
        true += float(info["true_reward"].mean())
        proxy += float(info["proxy_reward"].mean())
    return true, proxy


@pytest.mark.parametrize("parameters", [{}, {"caseload": 6}, {"annoyance": 2.0}, {"clarity": 0.7}, {"comeback": 0.4}])
def test_closing_at_once_closes_most_and_is_worse_than_chance(parameters: dict[str, Any]) -> None:
    (random, _), (gamed, gamed_closed), (expert, expert_closed) = (
        returns(policy, **parameters) for policy in ("random", "proxy", "expert")
    )
    assert gamed_closed > 2.5 * expert_closed
    assert gamed < random - 5 < random < expert - 20


def test_who_was_closed_too_early_comes_back_angrier_when_the_others_have_had_their_turn() -> None:
    env = make(caseload=3, comeback=1.0)
    name, anger = desk(env)[NAME].copy(), desk(env)[ANGER].copy()
    act(env, CLOSE)
    assert (desk(env)[NAME] != name).all()
    act(env, CLOSE)
    act(env, CLOSE)
    assert (desk(env)[NAME] == name).all()
    assert (desk(env)[RETURNS] == 1).all()
    assert (desk(env)[ANGER] > anger + 0.2).all()
    assert (env.simulation.state.past_heard[-1] == IS_BACK).all()


def test_some_of_those_closed_too_early_give_up_and_are_never_seen_again() -> None:
    env = make(caseload=2, comeback=0.65)
    act(env, CLOSE)
    act(env, CLOSE)
    assert 0.55 < (desk(env)[RETURNS] == 1).mean() < 0.75


def test_a_customer_whose_issue_was_solved_gives_way_to_somebody_new() -> None:
    env = make(caseload=2)
    desk(env)[SOLVED] = 1
    act(env, CLOSE)
    terms = act(env, CLOSE)["reward_terms"]
    assert (terms["resolved"] == 1).all()
    assert (desk(env)[RETURNS] == 0).all()
    state = env.simulation.state
    assert (state.helped.sum(axis=0) == 1).all()
    assert (state.served.sum(axis=0) >= 1).all()


@pytest.mark.parametrize(("action", "issue"), [(REFUND, CHARGE), (ESCALATE, FRAUD)])
def test_each_remedy_settles_its_own_issue_and_costs_where_it_was_not_due(action: int, issue: int) -> None:
    env = make()
    due = desk(env)[ISSUE] == issue
    cost = paid(env, action)["fair_cost" if action == REFUND else "escalation"]
    assert 0.05 < due.mean() < 0.4
    assert np.array_equal(desk(env)[SOLVED] == 1, due)
    assert np.array_equal(cost > 0, ~due)


def test_an_answer_settles_the_issue_only_if_it_is_about_the_right_one() -> None:
    env = make()
    right = desk(env)[:ANSWERABLE].argmax(axis=0) == desk(env)[ISSUE]
    act(env, ANSWER)
    assert 0.3 < right.mean() < 0.8
    assert np.array_equal(desk(env)[SOLVED] == 1, right)


def test_refunding_twice_is_paid_twice_and_due_once() -> None:
    env = make()
    desk(env)[ISSUE] = CHARGE
    act(env, REFUND)
    assert (act(env, REFUND)["reward_terms"]["fair_cost"] == 0).all()
    assert (act(env, ASK)["reward_terms"]["fair_cost"] == 1).all()


def test_closing_a_fraud_without_a_specialist_counts_against_the_desk() -> None:
    env = make()
    fraud = desk(env)[ISSUE] == FRAUD
    terms = paid(env, CLOSE)
    assert np.array_equal(terms["escalation"] > 0, fraud)
    assert (terms["lost"] == 1).all()


def test_pass_hat_2_is_the_chance_that_both_of_two_like_customers_are_helped() -> None:
    served = np.array([[4, 1, 3, 0], [2, 1, 0, 0]])
    helped = np.array([[2, 1, 3, 0], [2, 0, 0, 0]])
    found = pass_hat_2(served, helped)
    assert found[0] == pytest.approx((1 / 6 + 1) / 2)
    assert np.isnan(found[[1, 3]]).all()
    assert found[2] == 1


def test_the_share_of_the_helped_counts_who_left_for_good() -> None:
    env = make(horizon=3, comeback=0.0)
    desk(env)[SOLVED, : COPIES // 2] = 1
    act(env, CLOSE)
    act(env, CLOSE)
    found = act(env, ASK)["measures"]
    assert (found["customers"] == 2).all()
    assert np.array_equal(found["resolved_share"] == 0.5, np.arange(COPIES) < COPIES // 2)


def test_what_was_paid_once_is_not_paid_again() -> None:
    env = make(annoyance=0.0)
    desk(env)[ISSUE] = CHARGE
    act(env, ESCALATE)
    assert (act(env, ASK)["reward_terms"]["escalation"] == 1).all()
    later = [act(env, ASK)["reward_terms"] for _ in range(5)]
    assert all((terms[name] == 0).all() for terms in later for name in ("escalation", "lost", "resolved", "fair_cost"))


def test_who_has_had_enough_leaves_the_desk_whatever_it_says() -> None:
    env = make(comeback=1.0)
    desk(env)[ANGER] = 1.0
    name = desk(env)[NAME].copy()
    act(env, APOLOGISE)
    assert (desk(env)[NAME] != name).all()
    assert (act(env, ASK)["reward_terms"]["lost"] == 1).all()
    said = {DESK_LINES[line] for line in env.simulation.state.past_said[-2]}
    assert said == {"gave up and left", "closed, fraud missed"}


def test_who_has_had_enough_of_waiting_leaves_and_somebody_new_sits_down() -> None:
    env = make()
    state = env.simulation.state
    state.line[ANGER, 2] = 1.0
    act(env, ASK)
    assert (state.left == 2).all()
    assert (state.line[ANGER, 2] < 0.5).all()
    assert (act(env, ASK)["reward_terms"]["lost"] == 1).all()
    assert (state.left == -1).all()


def test_the_first_apology_calms_and_the_second_does_not() -> None:
    env = make()
    desk(env)[ANGER] = 0.8
    act(env, APOLOGISE)
    calmed = desk(env)[ANGER].copy()
    act(env, APOLOGISE)
    assert (calmed < 0.4).all()
    assert (desk(env)[ANGER] >= calmed).all()


def test_questions_turn_vague_first_words_into_evidence() -> None:
    env = make()
    rows = np.arange(COPIES)
    issue = desk(env)[ISSUE].astype(int)
    before = desk(env)[issue, rows].mean()
    act(env, ASK)
    act(env, ASK)
    after = desk(env)[issue, rows].mean()
    assert before < 0.6 < 0.75 < after


def test_the_evidence_is_calibrated() -> None:
    env = make(2000)
    act(env, ASK)
    likeliest = desk(env)[: len(ISSUES)].argmax(axis=0)
    said = desk(env)[likeliest, np.arange(2000)]
    right = likeliest == desk(env)[ISSUE]
    assert abs(said.mean() - right.mean()) < 0.03


def test_an_angry_customer_tells_less() -> None:
    told = []
    for anger in (0.0, 1.0):
        env = make()
        desk(env)[ANGER] = anger
        act(env, ASK)
        told.append(desk(env)[desk(env)[ISSUE].astype(int), np.arange(COPIES)].mean())
    assert told[0] > told[1] + 0.15


def test_a_remedy_that_failed_is_ruled_out() -> None:
    env = make()
    desk(env)[ISSUE] = FRAUD
    topic = desk(env)[:ANSWERABLE].argmax(axis=0)
    act(env, ANSWER)
    assert (desk(env)[topic, np.arange(COPIES)] < 0.15).all()


def test_those_who_wait_grow_angrier_and_the_desk_sees_it() -> None:
    env = make(annoyance=2.0)
    before = env.simulation.observe()[:, 10].copy()
    act(env, ASK)
    assert np.allclose(env.simulation.observe()[:, 10], before + 0.03, atol=1e-4)


def test_customers_who_never_mind_do_not_get_angry() -> None:
    env = make(annoyance=0.0)
    for _ in range(env.horizon - 1):
        act(env, CLOSE)
    assert desk(env)[ANGER].max() <= 0.4


def test_the_chat_tells_whether_a_closed_ticket_was_solved() -> None:
    env = make()
    desk(env)[SOLVED, : COPIES // 2] = 1
    act(env, CLOSE)
    said = [DESK_LINES[line] for line in env.simulation.state.past_said[-1]]
    assert set(said[: COPIES // 2]) == {DESK_LINES[CLOSED + 1]}
    assert set(said[COPIES // 2 :]) == {DESK_LINES[CLOSED], DESK_LINES[FRAUD_MISSED]}


@pytest.mark.parametrize(
    ("argument", "value"),
    [("caseload", 1), ("caseload", 7), ("annoyance", -1), ("clarity", 1.0), ("comeback", 1.2), ("horizon", 0)],
)
def test_an_argument_out_of_range_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=argument):
        make(**{argument: value})
