import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from rlhf_envs.segments import Segment
from rlhf_envs.wrappers import FixedHorizon, HideReward, HideVectorReward, RecordSegments, RecordVectorSegments


def seen(segment: Segment) -> NDArray[Any]:
    """A segment's observations, which are not those of a Dict space."""
    assert isinstance(segment.observations, np.ndarray)
    return segment.observations


def is_one_stretch_of_cartpole(segment: Segment) -> bool:
    """Whether every observation follows from the one before: a place moves by 0.02 s times the speed."""
    places, speeds = seen(segment)[:, 0], seen(segment)[:, 1]
    return bool(np.allclose(places[1:], places[:-1] + 0.02 * speeds[:-1], atol=1e-6))


def run(env: gym.Env[Any, Any], steps: int, seed: int = 0) -> list[tuple[Any, Any, float]]:
    """Random steps, as (observation before, action, true reward)."""
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    history = []
    for _ in range(steps):
        action = env.action_space.sample()
        after, reward, terminated, truncated, info = env.step(action)
        history.append((observation, action, float(info.get("true_reward", reward))))
        observation = env.reset()[0] if terminated or truncated else after
    return history


@pytest.mark.parametrize("environment_id", ["CartPole-v1", "Pendulum-v1"])
def test_gymnasiums_checker_passes_while_recording(gymnasium_checks: Any, environment_id: str) -> None:
    gymnasium_checks(RecordSegments(gym.make(environment_id), 10))


def test_segments_hold_what_happened_in_the_order_in_which_it_happened() -> None:
    env = RecordSegments(HideReward(gym.make("Pendulum-v1")), segment_length=50)
    history = run(env, 400)
    segments = env.segments()
    assert [len(segment) for segment in segments] == [50] * 8
    for key, values in enumerate(zip(*history, strict=True)):
        parts = [(segment.observations, segment.actions, segment.true_rewards)[key] for segment in segments]
        assert np.array_equal(np.concatenate(parts), np.array(values, dtype=np.float32))  # type: ignore[arg-type]


def test_no_segment_reaches_across_the_end_of_an_episode() -> None:
    env = RecordSegments(gym.make("CartPole-v1"), segment_length=8)
    run(env, 300)
    drawn = env.sample(200, np.random.default_rng(0))
    assert len(drawn) == 200
    assert all(is_one_stretch_of_cartpole(segment) for segment in drawn + env.segments())


def test_no_segment_reaches_across_a_reset_in_the_middle_of_an_episode() -> None:
    env = RecordSegments(gym.make("Pendulum-v1"), segment_length=6)
    for seed in range(4):
        env.reset(seed=seed)
        for _ in range(5):
            env.step(np.zeros(1, np.float32))
    assert env.segments() == []
    assert env.sample(10, np.random.default_rng(0)) == []
    env.step(np.zeros(1, np.float32))
    assert len(env.segments()) == 1


def test_only_the_last_steps_are_remembered() -> None:
    env = RecordSegments(gym.make("Pendulum-v1"), segment_length=5, capacity=12)
    history = run(env, 100)
    first, second = env.segments()
    observations = np.array([observation for observation, _, _ in history])
    assert np.array_equal(seen(first), observations[90:95])
    assert np.array_equal(seen(second), observations[95:100])


def test_nothing_is_remembered_before_the_first_step() -> None:
    env = RecordSegments(gym.make("CartPole-v1"), segment_length=5)
    assert env.segments() == env.sample(3, np.random.default_rng(0)) == []
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_sampling_is_repeated_by_the_same_seed() -> None:
    env = RecordSegments(gym.make("Pendulum-v1"), segment_length=5)
    run(env, 100)
    one, other = (env.sample(20, np.random.default_rng(7)) for _ in range(2))
    assert [segment.digest for segment in one] == [segment.digest for segment in other]
    assert len({segment.digest for segment in one}) > 10


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("length", [1, 8])
def test_segments_of_every_copy_hold_real_steps_of_one_episode_only(
    mode: AutoresetMode, length: int, cartpoles: Callable[..., SyncVectorEnv], play: Any
) -> None:
    env = RecordVectorSegments(HideVectorReward(cartpoles(mode)), segment_length=length)
    history = play(env, 150)
    segments = env.segments() + env.sample(300, np.random.default_rng(0))
    assert len(segments) > 300
    assert all(is_one_stretch_of_cartpole(segment) for segment in segments)
    # CartPole pays 1 for every real step; a step that only resets a copy pays 0.
    assert all((segment.true_rewards == 1).all() for segment in segments)
    if length == 1:
        assert len(env.segments()) == sum(step.info["true_reward"].sum() for step in history)


def test_one_copy_and_several_record_the_same_segments(drift_env: Any, drift_vector_env: Any) -> None:
    several = RecordVectorSegments(drift_vector_env(3), segment_length=3)
    singles = [RecordSegments(drift_env(), segment_length=3) for _ in range(3)]
    several.reset(seed=5)
    for row, single in enumerate(singles):
        single.reset(seed=5 + row)
    several.action_space.seed(0)
    for _ in range(20):
        actions = several.action_space.sample()
        several.step(actions)
        for row, single in enumerate(singles):
            if single.step(actions[row])[3]:
                single.reset()
    together = {segment.to_bytes() for segment in several.segments()}
    apart = {segment.to_bytes() for single in singles for segment in single.segments()}
    assert len(together) == 18
    assert together == apart


def test_the_states_of_a_segment_bring_back_what_was_observed(drift_env: Any) -> None:
    env = RecordSegments(drift_env(), segment_length=4)
    run(env, 30)
    other = drift_env()
    other.reset(seed=99)
    for segment in env.segments():
        assert segment.states is not None
        for state, observation in zip(segment.states, seen(segment), strict=True):
            other.restore(state)
            assert np.array_equal(other.simulation.observe()[0], observation)


def test_an_environment_that_reuses_its_array_is_recorded_rightly() -> None:
    env = RecordVectorSegments(
        SyncVectorEnv([lambda: gym.make("Pendulum-v1")] * 2, copy=False, autoreset_mode=AutoresetMode.SAME_STEP), 5
    )
    before = env.reset(seed=0)[0].copy()
    expected = []
    for _ in range(5):
        expected.append(before[1])
        before = env.step(np.zeros((2, 1), np.float32))[0].copy()
    assert np.array_equal(seen(env.segments()[1]), np.array(expected))


def test_flat_dict_observations_are_recorded_key_by_key() -> None:
    def named(observation: Any) -> dict[str, Any]:
        return {"place": observation[:1], "rest": observation[1:]}

    space = gym.make("CartPole-v1").observation_space
    assert isinstance(space, gym.spaces.Box)
    parts = gym.spaces.Dict(
        {
            "place": gym.spaces.Box(space.low[:1], space.high[:1]),
            "rest": gym.spaces.Box(space.low[1:], space.high[1:]),
        }
    )
    plain = RecordSegments(gym.make("CartPole-v1"), 5)
    env = RecordSegments(gym.wrappers.TransformObservation(gym.make("CartPole-v1"), named, parts), 5)
    run(plain, 60)
    run(env, 60)
    assert len(env.segments()) == len(plain.segments()) > 3
    for segment, expected in zip(env.segments(), plain.segments(), strict=True):
        assert isinstance(segment.observations, dict)
        joined = np.concatenate([segment.observations["place"], segment.observations["rest"]], axis=1)
        assert np.array_equal(joined, seen(expected))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"segment_length": 0}, "at least 1 step, not 0"),
        ({"segment_length": 20, "capacity": 10}, "A capacity of 10 steps holds no segment of 20"),
        ({"segment_length": 501}, "A segment of 501 steps does not fit into episodes of 500"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecordSegments(gym.make("CartPole-v1"), **arguments)
    with pytest.raises(ValueError, match=message):
        RecordVectorSegments(gym.make_vec("CartPole-v1", num_envs=2), **arguments)


def test_a_segment_longer_than_the_fixed_horizon_is_refused(drift_vector_env: Any) -> None:
    with pytest.raises(ValueError, match="does not fit into episodes of 30"):
        RecordSegments(FixedHorizon(gym.make("CartPole-v1"), 30), 31)
    with pytest.raises(ValueError, match="does not fit into episodes of 7"):
        RecordVectorSegments(drift_vector_env(2), 8)


def test_a_spec_and_a_pickle_make_the_recording_environment_again() -> None:
    env = RecordSegments(gym.make("Pendulum-v1"), segment_length=5, capacity=50)
    run(env, 30)
    assert env.spec is not None
    fresh = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(fresh, RecordSegments)
    assert (fresh.segment_length, fresh.capacity, fresh.segments()) == (5, 50, [])
    again = pickle.loads(pickle.dumps(env))
    assert [segment.digest for segment in again.segments()] == [segment.digest for segment in env.segments()]
