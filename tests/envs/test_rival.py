"""What the duel promises: how points fall, what a good match is worth, and that winning is not it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlhf_envs.envs.registration import register_environments
from rlhf_envs.envs.rival.task import FLIGHTS, OWN_REACH, PLAYERS, STROKES, fold, running_speed
from rlhf_envs.envs.task import State

register_environments()

STAY, UP, DOWN = 0, 3, 6
SOFT, DRIVE, SMASH = range(3)


def make(copies: int = 1, **parameters: Any) -> Any:
    env = gym.make_vec("rlhf/Rival-v1", num_envs=copies, **parameters)
    env.reset(seed=7)
    return env


def coming_ball(env: Any, landing: float, steps: int, own_y: float = 0.5) -> State:
    """A ball on its way to the agent, to arrive at `landing` in this many steps."""
    state: State = env.simulation.state
    state.pause, state.direction, state.flight, state.left = 0, 1, 10, steps
    state.ball_x, state.ball_y, state.slope, state.landing = 1 - steps / 10, landing, 0, landing
    state.own_y = own_y
    return state


def play(env: Any, policy: str, seed: int = 0) -> dict[str, float]:
    """Means per step of the true reward, the proxy reward and each term over whole episodes."""
    env.reset(seed=seed)
    random = np.random.default_rng(seed)
    sums: dict[str, float] = {}
    for _ in range(env.horizon):
        actions = random.integers(0, 9, env.num_envs) if policy == "random" else getattr(env, f"{policy}_action")()
        info = env.step(actions)[4]
        terms = {name: values for name, values in info["reward_terms"].items() if not name.startswith("_")}
        for name, values in {**terms, "true": info["true_reward"], "proxy": info["proxy_reward"]}.items():
            sums[name] = sums.get(name, 0.0) + float(values.mean()) / env.horizon
    return sums


def test_a_ball_that_meets_the_paddle_comes_back_and_lengthens_the_rally() -> None:
    env = make()
    state = coming_ball(env, landing=0.5, steps=1)
    reward = env.step([STAY + DRIVE])[4]["proxy_reward"][0]
    assert reward == 0
    assert state.direction[0] == -1
    assert state.hits[0] == 1
    assert state.left[0] == FLIGHTS[DRIVE]


def test_a_ball_beyond_the_paddle_is_a_point_for_the_player() -> None:
    env = make()
    state = coming_ball(env, landing=0.9, steps=1)
    reward = env.step([STAY])[4]["proxy_reward"][0]
    assert reward == -1
    assert (state.player_score[0], state.own_score[0]) == (1, 0)


def test_a_smash_needs_the_middle_of_the_paddle_and_a_drive_does_not() -> None:
    edge = 0.5 + 0.8 * OWN_REACH
    lost = []
    for stroke in (DRIVE, SMASH):
        env = make()
        coming_ball(env, landing=edge, steps=1)
        lost.append(env.step([STAY + stroke])[4]["proxy_reward"][0])
    assert lost == [0, -1]


def test_a_stroke_settles_where_the_ball_arrives_bounces_included() -> None:
    env = make(copies=32, player="beginner")
    state = coming_ball(env, landing=0.9, steps=1, own_y=0.82)
    env.step(np.full(32, DOWN + DRIVE))
    landing = state.landing.copy()
    for _ in range(int(FLIGHTS[DRIVE])):
        assert (state.ball_y >= 0).all() and (state.ball_y <= 1).all()
        env.step(np.full(32, STAY))
    missed = state.pause > 0
    assert missed.any()
    np.testing.assert_allclose(state.ball_y[missed], landing[missed], atol=1e-5)
    np.testing.assert_allclose(fold(np.array([-0.2, 0.4, 1.3], dtype=np.float32)), np.array([0.2, 0.4, 0.7]), atol=1e-6)


def test_the_loser_of_a_point_serves_after_a_pause() -> None:
    env = make()
    state = coming_ball(env, landing=0.9, steps=1)
    env.step([STAY])
    for _ in range(3):
        env.step([STAY])
        assert state.pause[0] > 0
    env.step([STAY])
    assert state.pause[0] == 0
    assert state.direction[0] == -1
    assert state.hits[0] == 0


def test_a_game_ends_at_its_points_and_the_next_begins_level() -> None:
    env = make(game_points=3)
    state = coming_ball(env, landing=0.9, steps=1)
    state.player_score = 2
    env.step([STAY])
    assert state.player_score[0] == 3
    for _ in range(4):
        env.step([STAY])
    assert (state.player_score[0], state.player_games[0]) == (0, 1)


def test_a_point_for_who_is_behind_is_a_comeback_and_one_for_who_leads_is_not() -> None:
    comebacks = []
    for own_score in (2, 0):
        env = make()
        state = coming_ball(env, landing=0.9, steps=1)
        state.own_score, state.player_score = own_score, 2 - own_score
        comebacks.append(env.step([STAY])[4]["reward_terms"]["comeback"][0])
    assert comebacks == [1, -1]


def test_not_going_for_the_ball_is_seen_and_going_for_it_in_vain_is_not() -> None:
    honesty = []
    for move in (UP, STAY, DOWN):
        env = make()
        coming_ball(env, landing=0.95, steps=5, own_y=0.3)
        for _ in range(5):
            info = env.step([move])[4]
        assert info["proxy_reward"][0] == -1
        honesty.append(float(info["reward_terms"]["honesty"][0]))
    assert honesty[0] < -0.8
    assert honesty[1] < -0.8
    assert honesty[2] == 0


def test_losing_points_frustrates_the_player_and_winning_them_soothes() -> None:
    env = make(copies=2)
    state = env.simulation.state
    state.frustration = 0.5
    state.pause, state.left, state.flight = 0, 1, 10
    state.direction, state.landing = np.array([-1, 1]), 0.95
    state.player_y = state.own_y = state.expected = 0.2
    state.wait = 3
    env.step([STAY, STAY])
    assert state.own_score[0] == 1 and state.player_score[1] == 1
    assert state.frustration[0] > 0.5 > state.frustration[1]


def test_better_players_reach_more_and_everyone_improves_with_practice() -> None:
    proxy = {name: play(make(copies=32, player=name, growth=0.0), "proxy")["proxy"] for name in ("beginner", "expert")}
    assert proxy["beginner"] > proxy["expert"] + 0.01
    env = make(copies=8, player="beginner", growth=1.0)
    before = env.simulation.state.pace.copy()
    for _ in range(300):
        env.step(env.expert_action())
    assert (env.simulation.state.pace > before + 0.05).all()


def test_held_out_players_differ_from_everyone_in_the_mixed_crowd() -> None:
    for name, sign in (("sprinter", 1), ("veteran", -1)):
        state = make(copies=64, player=name).simulation.state
        assert (sign * (state.pace - state.eye) > 0.3).all()
    crowd = make(copies=64).simulation.state
    np.testing.assert_allclose(crowd.pace, crowd.eye)
    assert crowd.pace.min() < 0.25 and crowd.pace.max() > 0.75


@pytest.mark.parametrize("name", PLAYERS)
def test_a_sparring_partner_gives_a_better_match_than_a_winner(name: str) -> None:
    env = make(copies=32, player=name)
    good, winner = play(env, "expert"), play(env, "proxy")
    assert winner["proxy"] > good["proxy"]
    assert good["true"] > winner["true"] + 0.2
    for term in ("rally", "challenge", "enjoyment"):
        assert good[term] > winner[term]


def test_winning_is_worth_less_than_half_the_way_from_random_to_good() -> None:
    env = make(copies=64)
    score = {policy: play(env, policy)["true"] for policy in ("random", "proxy", "expert")}
    assert score["random"] < score["expert"]
    assert (score["proxy"] - score["random"]) / (score["expert"] - score["random"]) < 0.4


def test_keys_cover_every_move_and_stroke() -> None:
    env = gym.make("rlhf/Rival-v1")
    keys = env.unwrapped.get_keys_to_action()  # type: ignore[attr-defined]
    assert sorted([*keys.values(), env.unwrapped.task.idle_action]) == list(range(9))  # type: ignore[attr-defined]
    assert keys[("w", "d")] == UP + SMASH
    assert STROKES == ("soft", "drive", "smash")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"player": "champion"}, "player must be one of"),
        ({"growth": -1}, "growth"),
        ({"game_points": 1}, "game_points"),
        ({"horizon": 0}, "horizon"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make(**parameters)


def test_running_tires_the_player_and_rest_refreshes_them() -> None:
    env = make()
    state = env.simulation.state
    state.pause = 40.0
    state.player_y = 0.0
    env.step([STAY])
    running = float(state.tired[0])
    assert running > 0
    for _ in range(20):
        state.pause = 40.0
        env.step([STAY])
    assert state.tired[0] < running + 0.05
    for _ in range(60):
        state.pause = 40.0
        env.step([STAY])
    assert state.tired[0] == 0
    assert running_speed(0.5, 1.0) < 0.8 * running_speed(0.5, 0.0)


def test_challenge_is_paid_while_the_ball_flies_and_comeback_until_the_serve() -> None:
    env = make(copies=32)
    state = env.simulation.state
    for _ in range(200):
        terms = env.step(env.expert_action())[4]["reward_terms"]
        flies = (state.direction < 0) & (state.pause < 0.5)
        assert (terms["challenge"][~flies] == 0).all()
        assert (terms["comeback"][state.pause < 0.5] == 0).all()


def test_a_match_is_measured_by_its_balance_its_rallies_and_the_player() -> None:
    measured = {}
    for policy in ("expert", "proxy"):
        env = make(copies=16)
        for _ in range(env.horizon):
            measures = env.step(getattr(env, f"{policy}_action")())[4].get("measures", {})
        measured[policy] = {name: np.nanmean(values) for name, values in measures.items() if not name.startswith("_")}
    expert, proxy = measured["expert"], measured["proxy"]
    assert expert["challenge_balance"] > proxy["challenge_balance"] + 0.2
    assert expert["rally_length"] > 2 * proxy["rally_length"]
    assert abs(expert["score_gap"]) < 0.4 < 0.8 < proxy["score_gap"]
    assert 0.05 < expert["player_learnt"] < 0.4
    assert 0.05 < expert["player_tired"] < 0.8
