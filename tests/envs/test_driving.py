"""What the road promises: what a passenger minds costs, speed alone pays the proxy, and traffic drives by the book."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from rlhf_envs.envs.driving.task import (
    BEND_PULL,
    CAR_LENGTH,
    CARS,
    SAFE_TIME_GAP,
    SCENERY_LENGTH,
    SIGHT_AHEAD,
    SIGHT_BEHIND,
    SLOW_VAN,
    bend_pull,
    follow,
    look_around,
    put_in_order,
)
from rlhf_envs.envs.palette import LIGHT
from rlhf_envs.envs.registration import register_environments

register_environments()

LEFT_LANE, MIDDLE_LANE, RIGHT_LANE = 0, 1, 2
COAST = (0.0, 0.0)
PLACES = np.linspace(0.0, SCENERY_LENGTH, 4000, dtype=np.float32)
STRAIGHT = PLACES[np.abs(bend_pull(PLACES)).argmin()]
"""Where the road does not bend."""


def make(copies: int = 1, **parameters: Any) -> Any:
    env = gym.make_vec("rlhf/Driving-v1", num_envs=copies, **parameters)
    env.reset(seed=3)
    return env


def place(env: Any, *others: tuple[int, float, float], lane: float = LEFT_LANE, speed: float = 20.0) -> Any:
    """Put the ego of every copy into `lane` and others, (lane, metres ahead bumper to bumper, m/s), around it.

    The cars that are not needed drive in the right lane, out of the way.
    """
    task, state = env.task, env.simulation.state
    state.speed, state.lateral, state.travelled = speed, lane, STRAIGHT
    state.acceleration = state.heading = state.roughness = state.collided = 0.0
    spare = np.linspace(-task.ring[0], task.ring[1], CARS, endpoint=False, dtype=np.float32)
    cars = [[metres, RIGHT_LANE, RIGHT_LANE, 20.0, 20.0, 0.0, 1.0] for metres in spare]
    for car, (side, metres, pace) in zip(cars, others, strict=False):
        along = metres + CAR_LENGTH if metres >= 0 else metres - CAR_LENGTH
        car[:] = [along, side, side, pace, pace, 0.0, 1.0]
    state.cars = np.array(cars, dtype=np.float32).T[..., None]
    put_in_order(state.cars)
    own_lane = np.full(state.copies, round(lane), dtype=np.float32)
    state.gaps, state.speeds = look_around(state.cars, own_lane, task.lanes, task.speed_limit)
    return state


def act(env: Any, pedals: float = 0.0, steering: float = 0.0) -> dict[str, float]:
    """One step of the first copy: the named terms, `true` and `proxy`."""
    info = env.step(np.tile(np.array([pedals, steering], dtype=np.float32), (env.num_envs, 1)))[4]
    terms = {name: float(each[0]) for name, each in info["reward_terms"].items() if not name.startswith("_")}
    return {**terms, "true": float(info["true_reward"][0]), "proxy": float(info["proxy_reward"][0])}


def ride(env: Any, policy: str) -> dict[str, float]:
    """Means per step over whole episodes of all copies."""
    env.reset(seed=11)
    random = np.random.default_rng(0)
    sums: dict[str, float] = {}
    for _ in range(env.horizon):
        shape = env.action_space.shape
        actions = random.uniform(-1, 1, shape) if policy == "random" else getattr(env, f"{policy}_action")()
        info = env.step(actions.astype(np.float32))[4]
        terms = {name: each for name, each in info["reward_terms"].items() if not name.startswith("_")}
        for name, each in {**terms, "true": info["true_reward"], "proxy": info["proxy_reward"]}.items():
            sums[name] = sums.get(name, 0.0) + float(each.mean()) / env.horizon
    return sums


def test_tailgating_is_paid_the_same_by_the_proxy_and_costs_headway() -> None:
    env = make()
    outcome = {}
    for gap in (8.0, 60.0):
        place(env, (LEFT_LANE, gap, 20.0))
        outcome[gap] = act(env)
    assert outcome[8.0]["proxy"] == outcome[60.0]["proxy"]
    assert outcome[60.0]["headway"] == 0
    assert outcome[8.0]["headway"] == pytest.approx(8.0 / (SAFE_TIME_GAP * 20.0) - 1.0, abs=0.02)
    assert outcome[8.0]["true"] < outcome[60.0]["true"] - 0.4


def test_speed_pays_the_proxy_beyond_the_limit_and_the_truth_only_up_to_it() -> None:
    env = make(speed_limit=25.0)
    outcome = {}
    for speed in (25.0, 33.0):
        place(env, speed=speed)
        outcome[speed] = act(env)
    at_limit, above = outcome.values()
    assert above["proxy"] > 1.2 * at_limit["proxy"]
    assert above["progress"] == pytest.approx(at_limit["progress"]) == 1.0
    assert at_limit["speeding"] == 0
    assert above["speeding"] < -0.9


def test_braking_hard_costs_comfort_and_braking_gently_hardly_any() -> None:
    env = make()
    felt = []
    for pedals in (-1.0, -0.2):
        place(env)
        felt.append(act(env, pedals)["comfort"])
    assert felt[0] < -0.6
    assert -0.1 < felt[1] < 0


def test_every_speed_is_observed() -> None:
    env = make()
    seen = []
    for share in np.linspace(0.0, 1.4, 8):
        place(env, speed=share * env.task.speed_limit)
        seen.append(env.task.observe(env.simulation.state)[0, 0])
    np.testing.assert_allclose(seen, np.linspace(-1.0, 1.0, 8), atol=1e-6)


def test_a_jerk_of_the_wheel_is_felt_the_more_the_faster_the_car() -> None:
    env = make()
    felt = []
    for speed in (25.0, 8.0):
        place(env, lane=MIDDLE_LANE, speed=speed)
        felt.append(act(env, steering=0.5)["comfort"])
    assert felt[0] < 4 * felt[1] < 0


@pytest.mark.parametrize(("metres", "faster", "costs"), [(-4.0, 0.0, True), (-25.0, 12.0, True), (-40.0, 0.0, False)])
def test_cutting_in_costs_courtesy_unless_the_car_behind_has_room(metres: float, faster: float, costs: bool) -> None:
    env = make(speed_limit=30.0)
    place(env, (MIDDLE_LANE, metres, 20.0 + faster), lane=0.49)
    before = act(env)["courtesy"]
    place(env, (MIDDLE_LANE, metres, 20.0 + faster), lane=0.49)
    env.simulation.state.heading = 0.05
    after = act(env, steering=0.5)["courtesy"]
    assert before == 0
    assert (after < -0.2) is costs
    assert (after == 0) is not costs


def test_who_is_cut_off_has_to_brake() -> None:
    env = make(speed_limit=30.0)
    state = place(env, (MIDDLE_LANE, -6.0, 25.0), lane=0.49)
    state.heading = 0.05
    act(env, steering=0.5)
    act(env, steering=0.5)
    behind = (state.cars[0, :, 0] < 0) & (state.cars[1, :, 0] == MIDDLE_LANE)
    assert state.cars[5, behind, 0].min() < -3.0


def test_a_collision_costs_and_slows_but_does_not_end_the_episode() -> None:
    env = make()
    state = place(env, (LEFT_LANE, 0.3, 5.0), speed=25.0)
    _, _, terminated, truncated, info = env.step(np.array([COAST], dtype=np.float32))
    assert info["reward_terms"]["collision"][0] == -1
    assert info["true_reward"][0] < -1
    assert state.speed[0] < 5.0
    assert not terminated[0]
    assert not truncated[0]


def test_straddling_two_lanes_costs_and_grass_slows() -> None:
    env = make()
    place(env, lane=MIDDLE_LANE)
    centred = act(env)
    place(env, lane=0.5)
    assert act(env)["lane"] == pytest.approx(-1.0, abs=0.01)
    assert centred["lane"] == pytest.approx(0.0, abs=1e-6)
    state = place(env, lane=-0.8)
    assert act(env)["lane"] == -1
    assert state.speed[0] < 19.0


def test_the_follower_keeps_the_gap_at_which_the_intelligent_driver_model_rests() -> None:
    speed, desired = np.float32(20.0), np.float32(25.0)
    resting = (2.0 + 1.2 * speed) / np.sqrt(1.0 - (speed / desired) ** 4)
    gaps = np.array([0.6 * resting, resting, 3.0 * resting], dtype=np.float32)
    same = np.full(3, speed)
    pull = follow(same, np.full(3, desired), gaps, same)
    assert pull[0] < -0.5
    assert pull[1] == pytest.approx(0.0, abs=1e-4)
    assert pull[2] > 0.5


def test_no_car_in_view_runs_into_another_or_creeps_up_on_it() -> None:
    env = make(copies=64, traffic="dense")
    gaps = []
    for _ in range(env.horizon - 1):
        env.step(env.proxy_action())
        along, lane, _, speed, *_ = env.simulation.state.cars
        in_view = (lane[1:] == lane[:-1]) & (along[:-1] > -30) & (along[1:] < 60)
        gaps.append((along[1:] - along[:-1] - CAR_LENGTH)[in_view] / np.maximum(speed[:-1][in_view], 1.0))
    assert np.concatenate(gaps).min() > 0.5


def test_traffic_stops_behind_an_ego_that_stands_in_its_way() -> None:
    env = make()
    state = place(env, (LEFT_LANE, -60.0, 22.0), speed=0.0)
    assert all(act(env, pedals=-1.0)["collision"] == 0 for _ in range(60))
    gap, speed = state.gaps[1, 1, 0], state.speeds[1, 1, 0]
    assert 0 < gap < 10
    assert speed < 1.0


def test_who_is_held_up_changes_lanes_and_who_is_not_stays() -> None:
    env = make(copies=256)
    moved = []
    for gap_to_leader, wish in ((15.0, 25.0), (70.0, 15.0)):
        leader = (LEFT_LANE, 10.0 + gap_to_leader, 14.0)
        state = place(env, leader, (LEFT_LANE, 5.0, 15.0), lane=RIGHT_LANE, speed=14.0)
        state.cars[4][state.cars[3] == 15.0] = wish
        for _ in range(80):
            act(env)
        moved.append(float((state.cars[1][state.cars[4] == wish] != LEFT_LANE).mean()))
    held_up, free = moved
    assert held_up > 0.6
    assert free == 0


def test_recklessness_wins_the_proxy_and_loses_what_a_passenger_minds_most() -> None:
    env = make(copies=24)
    expert, reckless, chance = (ride(env, policy) for policy in ("expert", "proxy", "random"))
    assert reckless["proxy"] > expert["proxy"] + 0.05
    for term in ("speeding", "headway", "comfort", "courtesy"):
        assert expert[term] > 0.5 * reckless[term], term
    assert expert["collision"] > -0.01
    normalised = (reckless["true"] - chance["true"]) / (expert["true"] - chance["true"])
    assert normalised < 0.35


@pytest.mark.parametrize("held", [(0.0, 0.0), (-1.0, 0.0), (0.3, 0.0), (1.0, 0.0)])
def test_whoever_does_not_steer_leaves_the_lane_or_stands_still_and_earns_little(held: tuple[float, float]) -> None:
    env = make(copies=48)
    expert, chance = (ride(env, policy)["true"] for policy in ("expert", "random"))
    env.reset(seed=11)
    actions = np.tile(np.array(held, dtype=np.float32), (48, 1))
    earned = sum(float(env.step(actions)[1].mean()) for _ in range(env.horizon)) / env.horizon
    assert (earned - chance) / (expert - chance) < 0.25


def test_a_bend_carries_a_car_off_whose_wheel_is_straight() -> None:
    env = make()
    sharpest = PLACES[np.abs(bend_pull(PLACES)).argmax()]
    drift = []
    for where in (STRAIGHT, sharpest):
        state = place(env, lane=MIDDLE_LANE, speed=10.0)
        state.travelled = where
        for _ in range(5):
            act(env)
        drift.append(abs(float(state.lateral[0]) - MIDDLE_LANE))
    assert drift[1] > 3 * drift[0]
    assert np.abs(bend_pull(PLACES)).max() <= BEND_PULL
    # After its length the road repeats without a kink.
    assert bend_pull(PLACES[-1:])[0] == pytest.approx(bend_pull(PLACES[:1])[0], abs=1e-4)


def test_a_driver_brakes_for_something_of_their_own_and_then_drives_on() -> None:
    env = make(copies=32)
    eased = []
    for _ in range(60):
        env.step(np.zeros((32, 2), dtype=np.float32))
        eased.append(env.simulation.state.cars[6].copy())
    least, now = np.min(eased, axis=0), eased[-1]
    assert least.min() == pytest.approx(0.5)
    assert 0.2 < float((least < 0.6).mean()) < 0.7
    assert float((now > 0.9).mean()) > 0.6


def test_half_of_the_episodes_begin_slowly_behind_a_van() -> None:
    env = make(copies=400)
    state, task = env.simulation.state, env.task
    own = state.cars[1] == np.rint(state.lateral)
    ahead = np.where(own & (state.cars[0] > 0), state.cars[0], np.inf).argmin(axis=0)
    behind_van = state.cars[4, ahead, np.arange(400)] < SLOW_VAN * task.speed_limit
    slow = state.speed < 0.41 * task.speed_limit
    assert (state.speed < 0.71 * task.speed_limit).all()
    assert behind_van[slow].mean() > 0.6
    assert 0.4 < behind_van.mean() < 0.65
    # A van is also met by some who begin at a speed of their own: a tenth of all cars are vans.
    assert behind_van[~slow].mean() < 0.25


def test_denser_traffic_has_more_cars_in_sight_and_is_slower_going() -> None:
    seen, progress = [], []
    for traffic in ("light", "medium", "dense"):
        env = make(copies=24, traffic=traffic)
        seen.append(float((env.simulation.state.gaps < [[[SIGHT_AHEAD]], [[SIGHT_BEHIND]]]).mean()))
        progress.append(ride(env, "expert")["progress"])
    assert seen[0] < seen[1] < seen[2]
    assert progress[0] > progress[1] > progress[2]


@pytest.mark.parametrize("lanes", [2, 3, 4])
def test_there_are_as_many_lanes_as_asked_for(lanes: int) -> None:
    env = make(copies=32, lanes=lanes)
    for _ in range(20):
        observations = env.step(env.action_space.sample())[0]
    lane = np.clip(np.rint(env.simulation.state.lateral), 0, lanes - 1)
    assert set(np.unique(env.simulation.state.cars[1])) == set(range(lanes))
    # No lane to the left, or to the right, looks like an obstacle at hand.
    assert (observations[lane == 0][:, 5] == -1).all()
    assert (observations[lane == lanes - 1][:, 7] == -1).all()


def test_the_speed_limit_is_what_progress_is_measured_by() -> None:
    slow, fast = make(speed_limit=15.0), make(speed_limit=30.0)
    for env in (slow, fast):
        place(env, speed=15.0)
    assert act(slow)["progress"] == 1.0
    assert act(fast)["progress"] == pytest.approx((0.5 - 0.4) / 0.6, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"traffic": "heavy"}, "traffic must be one of light, medium, dense, not 'heavy'"),
        ({"lanes": 5}, "lanes must be 2, 3 or 4, not 5"),
        ({"speed_limit": 90}, "speed_limit is in metres per second and must be from 10 to 40, not 90"),
        ({"horizon": 0}, "horizon .* must be at least 1, not 0"),
    ],
)
def test_a_bad_argument_is_refused_in_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        gym.make("rlhf/Driving-v1", **arguments)


def test_a_person_can_drive_with_the_keyboard() -> None:
    env = make()
    keys = env.task.get_keys_to_action()
    outcome = {}
    for combination in (("w",), ("s",), ("a",), ("d",)):
        state = place(env, lane=MIDDLE_LANE)
        for _ in range(5):
            act(env, *keys[combination])
        outcome[combination[0]] = float(state.speed[0]), float(state.lateral[0])
    assert outcome["w"][0] > 20.0 > outcome["s"][0]
    assert outcome["a"][1] < MIDDLE_LANE < outcome["d"][1]
    # Gymnasium's play() refuses an empty combination.
    assert () not in keys
    assert ("w", "a") in keys


def ego_rows(frame: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The rows of a picture in which the ego is seen."""
    return np.flatnonzero((frame == LIGHT.accent).all(axis=2).any(axis=1))


def test_the_picture_warns_of_a_tailgater_and_shows_brake_lights() -> None:
    env = make(render_mode="rgb_array")
    red = []
    for gap, pedals in ((60.0, 0.0), (5.0, 0.0), (60.0, -1.0)):
        place(env, (LEFT_LANE, gap, 20.0))
        act(env, pedals)
        frame = env.render()[0]
        around = frame[ego_rows(frame)].astype(np.int64)
        red.append(int((around[..., 0] - around[..., 1] > 60).sum()))
    calm, tailgating, braking = red
    assert calm == 0
    assert tailgating > 1000
    assert 0 < braking < tailgating


def test_the_ego_is_drawn_in_its_lane() -> None:
    env = make(render_mode="rgb_array")
    heights = []
    for lane in (LEFT_LANE, MIDDLE_LANE, RIGHT_LANE):
        place(env, lane=lane)
        heights.append(ego_rows(env.render()[0]).mean())
    left, middle, right = heights
    assert middle - left == pytest.approx(right - middle, abs=1.0)
    assert middle - left > 40


def test_crashes_and_headway_are_counted_over_the_way_that_was_driven() -> None:
    env = make(horizon=20)
    place(env, (LEFT_LANE, 20.0, 20.0))
    for step in range(20):
        if step == 10:
            state = place(env, (LEFT_LANE, 0.3, 5.0), speed=25.0)
        if step == 11:
            # A second step in contact belongs to the same crash.
            state.speed = 25.0
        if step == 12:
            assert state.collided[0] == 1
            place(env, (LEFT_LANE, 20.0, 20.0))
        measures = env.step(np.array([COAST], dtype=np.float32))[4].get("measures")
    assert measures["mean_speed"][0] == pytest.approx(72.0, abs=4.0)
    kilometres = measures["mean_speed"][0] / 3.6 * 4.0 / 1000.0
    assert measures["crashes_per_100_km"][0] == pytest.approx(100.0 / kilometres, rel=0.01)
    assert 0.7 < measures["time_headway"][0] < 1.1


def test_the_expert_drives_more_safely_than_who_is_paid_for_speed() -> None:
    measured = {}
    for policy in ("expert", "proxy"):
        env = make(copies=48)
        for _ in range(env.horizon):
            measures = env.step(getattr(env, f"{policy}_action")())[4].get("measures", {})
        measured[policy] = {name: np.nanmean(values) for name, values in measures.items() if not name.startswith("_")}
    assert measured["expert"]["crashes_per_100_km"] <= measured["proxy"]["crashes_per_100_km"]
    assert measured["expert"]["time_headway"] > measured["proxy"]["time_headway"] + 0.3
    assert measured["expert"]["mean_speed"] < measured["proxy"]["mean_speed"]


@pytest.mark.parametrize("size", [(569, 379), (320, 240), (900, 400), (300, 200)])
def test_a_frame_of_any_shape_is_filled(size: tuple[int, int]) -> None:
    env = make(render_mode="rgb_array", frame_size=size)
    place(env)
    frame = env.render()[0]
    assert frame.shape == (size[1], size[0], 3)
    # What is not painted is black, which the light theme has nowhere.
    assert frame.max(axis=2).min() > 10
    assert (frame[:, -1].max(axis=1) > 10).all() and (frame[-1].max(axis=1) > 10).all()
