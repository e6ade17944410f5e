"""What a ride teaches: motion pays at once, sickness comes later, and not to all alike."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from rlhf_envs.envs import TaskVectorEnv
from rlhf_envs.envs.headset.drawing import BAR_LENGTHS
from rlhf_envs.envs.headset.task import Headset, direction

RIDES = 64
STAND, RIDE, RUSH = 0.0, 0.5, 1.0


def ride(pace: float, vignette: float = 0.0, steps: int = 100, **arguments: Any) -> NDArray[np.float32]:
    """Sickness (steps, rides) of wearers whose view follows the path at a steady pace."""
    env = TaskVectorEnv(Headset, RIDES, **arguments)
    env.reset(seed=1)
    state = env.simulation.state
    state.onset = state.fast = state.slow = state.sickness = state.reading = 0.0
    felt = []
    for _ in range(steps):
        wheel = np.clip(4.0 * state.gaze, -1.0, 1.0)
        env.step(np.stack([8.0 * (pace - state.speed), wheel, 8.0 * (vignette - state.vignette)], axis=1))
        felt.append(state.sickness.copy())
    return np.array(felt)


def returns(policy: str, seed: int = 3, **arguments: Any) -> NDArray[np.float32]:
    """True returns (rides,) of a whole episode under "expert", "proxy" or "random"."""
    env = TaskVectorEnv(Headset, RIDES, **arguments)
    env.reset(seed=seed)
    task, state = env.task, env.simulation.state
    random = np.random.default_rng(seed)
    total = np.zeros(RIDES, dtype=np.float32)
    for _ in range(task.horizon):
        if policy == "random":
            actions = random.uniform(-1.0, 1.0, (RIDES, 3)).astype(np.float32)
        else:
            actions = task.expert_action(state) if policy == "expert" else task.proxy_action(state)
        total += env.step(actions)[4]["true_reward"]
    return total


def test_sickness_builds_up_late() -> None:
    felt = ride(RUSH).mean(axis=1)
    assert felt[5] < 0.05
    assert felt[60] > 0.5


def test_sickness_passes_when_the_ride_stands_still() -> None:
    env = TaskVectorEnv(Headset, RIDES, horizon=400)
    env.reset(seed=1)
    state = env.simulation.state
    state.onset = state.fast = state.slow = 0.6
    for _ in range(100):
        env.step(np.stack([np.full(RIDES, -1.0), np.zeros(RIDES), np.zeros(RIDES)], axis=1))
    assert state.sickness.max() < 0.05


def test_the_same_ride_sickens_sensitive_wearers_and_leaves_hardy_ones_well() -> None:
    assert ride(RIDE, susceptibility="sensitive")[-1].mean() > 0.4
    assert ride(RIDE, susceptibility="hardy")[-1].mean() < 0.05


def test_a_narrowed_view_relieves() -> None:
    assert ride(RUSH, vignette=0.7)[-1].mean() < 0.5 * ride(RUSH)[-1].mean()


def test_rocks_at_hand_sicken_more_than_a_meadow() -> None:
    assert ride(RIDE, scene="gorge")[-1].mean() > ride(RIDE, scene="meadow")[-1].mean() + 0.1


def test_the_reading_of_sickness_lags_by_its_delay() -> None:
    lags = []
    for delay in (0.2, 4.0):
        env = TaskVectorEnv(Headset, RIDES, delay=delay)
        env.reset(seed=2)
        state = env.simulation.state
        for _ in range(20):
            env.step(np.stack([np.ones(RIDES), np.zeros(RIDES), -np.ones(RIDES)], axis=1))
        lags.append(float(np.abs(state.sickness - state.reading).mean()))
    assert lags[0] < 1e-4
    assert lags[1] > 0.05


def test_reading_and_trend_tell_the_sickness_of_now() -> None:
    env = TaskVectorEnv(Headset, RIDES)
    env.reset(seed=4)
    for _ in range(40):
        observations = env.step(np.tile(np.float32([0.4, 0.1, -0.2]), (RIDES, 1)))[0]
    before = (observations[:, 2] + 1.0) / 2.0 - observations[:, 9] * 0.2 / env.task.delay
    np.testing.assert_allclose(before + observations[:, 9], env.simulation.state.sickness, atol=1e-5)


def test_susceptibility_is_never_observed() -> None:
    env = TaskVectorEnv(Headset, RIDES)
    env.reset(seed=5)
    before = env.simulation.observe()
    env.simulation.state.susceptibility = 9.0
    np.testing.assert_array_equal(env.simulation.observe(), before)


def test_a_view_that_never_turns_loses_the_path_and_stops_with_the_seat() -> None:
    env = gym.make("rlhf/Headset-v1", horizon=100).unwrapped
    env.reset(seed=1)
    for _ in range(60):
        terms = env.step(np.float32([0.5, 1.0, -1.0]))[4]["reward_terms"]
    assert terms["disorientation"] > 0.8


def test_the_ride_that_cares_beats_chance_and_the_thrill_does_not() -> None:
    expert, proxy, random = (returns(policy).mean() for policy in ("expert", "proxy", "random"))
    assert (proxy - random) / (expert - random) < 0.1


def test_a_sight_draws_the_eyes_to_its_side_until_it_is_passed() -> None:
    env = TaskVectorEnv(Headset, RIDES)
    env.reset(seed=7)
    state = env.simulation.state
    state.sight, state.side = state.travelled + 8.0, -1.0
    state.view = direction(env.task.scenery, state, 4.0)
    before = state.sight.copy()
    env.step(np.zeros((RIDES, 3), dtype=np.float32))
    assert (state.gaze < -0.2).all()
    for _ in range(40):
        env.step(np.tile(np.float32([1.0, 0.0, 0.0]), (RIDES, 1)))
    assert (state.sight > before + 25.0).all()


def test_a_sight_is_enjoyed_slowly_and_the_way_between_sights_at_a_brisk_pace() -> None:
    env = TaskVectorEnv(Headset, 4)
    env.reset(seed=8)
    state = env.simulation.state
    enjoyed = {}
    for away in (8.0, 25.0):
        state.sight, state.vignette, state.turning = state.travelled + away, 0.0, 0.0
        state.speed = np.float32([0.0, 0.35, 0.65, 1.0])
        state.view += state.gaze
        env.step(np.zeros((4, 3), dtype=np.float32))
        enjoyed[away] = state.immersion / (1.0 - state.astray)
    assert enjoyed[8.0].argmax() == 1
    assert enjoyed[25.0].argmax() == 2
    assert enjoyed[25.0][0] == 0.0


def test_the_questionnaire_scores_the_sickness_at_the_end_of_the_ride() -> None:
    env = TaskVectorEnv(Headset, RIDES, horizon=30)
    env.reset(seed=10)
    for _ in range(29):
        env.step(np.tile(np.float32([1.0, 0.3, -1.0]), (RIDES, 1)))
    state = env.simulation.state
    travelled = state.travelled.copy()
    info = env.step(np.tile(np.float32([1.0, 0.3, -1.0]), (RIDES, 1)))[4]
    found = info["measures"]
    assert (found["ssq_total"] >= 0.0).all() and (found["ssq_total"] <= 235.62 + 1e-3).all()
    assert found["ssq_total"].std() > 20.0
    assert (found["mean_speed"] > travelled / 6.0).all()
    assert "measures" not in env.step(np.zeros((RIDES, 3), dtype=np.float32))[4]


def test_a_step_pays_what_could_be_seen_before_it() -> None:
    env = TaskVectorEnv(Headset, RIDES)
    env.reset(seed=9)
    state = env.simulation.state
    for _ in range(5):
        seen = {"immersion": state.immersion, "sickness": state.sickness, "disorientation": state.astray}
        seen = {name: values.copy() for name, values in {**seen, "jolts": state.jolts}.items()}
        paid = env.step(env.action_space.sample())[4]["reward_terms"]
        for name, values in seen.items():
            np.testing.assert_array_equal(paid[name], values)


@pytest.mark.parametrize("variant", [{"scene": "meadow"}, {"scene": "gorge"}, {"susceptibility": "sensitive"}])
def test_the_ride_that_cares_wins_in_every_variant(variant: dict[str, str]) -> None:
    assert returns("expert", **variant).mean() > returns("proxy", **variant).mean() + 50.0


def test_the_caring_ride_is_gentler_to_those_who_need_it() -> None:
    env = TaskVectorEnv(Headset, RIDES)
    env.reset(seed=6)
    state = env.simulation.state
    for _ in range(100):
        env.step(env.task.expert_action(state))
    touchy = state.susceptibility > np.median(state.susceptibility)
    assert state.speed[touchy].mean() < state.speed[~touchy].mean() - 0.03


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"susceptibility": "iron"}, "susceptibility must be one of mixed, hardy, sensitive"),
        ({"scene": "moon"}, "scene must be one of meadow, forest, gorge"),
        ({"delay": 0.0}, "delay is in seconds"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TaskVectorEnv(Headset, 1, **arguments)


def test_a_picture_shows_sickness_and_vignette() -> None:
    env = gym.make("rlhf/Headset-v1", render_mode="rgb_array", frame_size=(300, 200)).unwrapped
    env.reset(seed=1)
    state = env.simulation.state
    state.sickness, state.vignette = 0.0, 0.0
    well = env.render().astype(int)
    state.sickness = 1.0
    sick = env.render().astype(int)
    state.vignette = 0.8
    narrow = env.render().astype(int)
    assert (well[:152] == sick[:152]).all()
    assert (well[152:] != sick[152:]).any()
    assert narrow[:152].sum() < 0.5 * sick[:152].sum()


def test_a_bar_is_as_long_as_what_it_shows_counts() -> None:
    weights = np.abs(list(Headset.reward_weights.values()))
    np.testing.assert_allclose(np.array(BAR_LENGTHS) / BAR_LENGTHS[0], weights / weights[0])
