import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.wrappers import FixedHorizon, HideReward


def episode(env: gym.Env[Any, Any], seed: int | None, actions: list[int]) -> list[tuple[Any, ...]]:
    """The steps of one episode; the actions are repeated for as long as it lasts."""
    env.reset(seed=seed)
    steps: list[tuple[Any, ...]] = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(actions[len(steps) % len(actions)]))
    return steps


@pytest.mark.parametrize("environment_id", ["CartPole-v1", "Pendulum-v1"])
def test_gymnasiums_checker_passes_with_a_fixed_horizon(gymnasium_checks: Any, environment_id: str) -> None:
    gymnasium_checks(FixedHorizon(gym.make(environment_id), 30))


def test_every_episode_is_exactly_as_long_as_the_horizon_and_never_terminates() -> None:
    env = FixedHorizon(gym.make("CartPole-v1"), 60)
    for seed in range(5):
        steps = episode(env, seed, [0, 1, 1])
        assert len(steps) == 60
        assert not any(terminated for _, _, terminated, _, _ in steps)
        assert [truncated for _, _, _, truncated, _ in steps] == [False] * 59 + [True]


def test_restarting_goes_on_with_the_next_episode_of_the_same_random_stream() -> None:
    plain, fixed = gym.make("CartPole-v1"), FixedHorizon(gym.make("CartPole-v1"), 40)
    steps = episode(fixed, 0, [1])
    expected: list[Any] = []
    restarts: list[bool] = []
    while len(expected) < 40:
        observation, _ = plain.reset(seed=None if expected else 0)
        if expected:
            expected[-1] = observation
        terminated = False
        while not terminated and len(expected) < 40:
            observation, _, terminated, _, _ = plain.step(1)
            expected.append(observation)
            restarts.append(terminated and len(expected) < 40)
    assert sum(restarts) > 2
    assert [info["restarted"] for _, _, _, _, info in steps] == restarts
    assert all(np.array_equal(step[0], observation) for step, observation in zip(steps, expected, strict=True))


def test_a_termination_at_the_horizon_itself_is_only_a_truncation() -> None:
    plain = episode(gym.make("CartPole-v1"), 0, [1])
    steps = episode(FixedHorizon(gym.make("CartPole-v1"), len(plain)), 0, [1])
    observation, reward, terminated, truncated, info = steps[-1]
    assert np.array_equal(observation, plain[-1][0])
    assert (reward, terminated, truncated) == (1.0, False, True)
    assert not info["restarted"]


def test_restarting_goes_on_across_a_shorter_time_limit_too() -> None:
    env = FixedHorizon(gym.make("Pendulum-v1", max_episode_steps=10), 25)
    env.reset(seed=0)
    restarts = [env.step(np.zeros(1, np.float32))[4]["restarted"] for _ in range(25)]
    assert np.flatnonzero(restarts).tolist() == [9, 19]


def test_nothing_changes_around_an_environment_that_never_ends_early() -> None:
    plain, fixed = gym.make("Pendulum-v1"), FixedHorizon(gym.make("Pendulum-v1"))
    plain.reset(seed=2)
    fixed.reset(seed=2)
    for _ in range(200):
        expected = plain.step(np.array([0.3], np.float32))
        observation, reward, terminated, truncated, _ = fixed.step(np.array([0.3], np.float32))
        assert np.array_equal(observation, expected[0])
        assert (reward, terminated, truncated) == expected[1:4]
    assert truncated


def test_copies_in_a_vector_environment_end_together(play: Any) -> None:
    env = HideReward(EnvironmentRef("CartPole-v1", horizon=50, on_termination="restart").make_vector(3))
    history = play(env, 50)
    assert not any(step.done.any() for step in history[:-1])
    assert history[-1].truncated.all()
    assert not any(step.terminated.any() for step in history)
    # One is paid for every step, those that end an inner episode included.
    assert sum(step.info["true_reward"] for step in history).tolist() == [50.0] * 3


def test_a_horizon_below_one_step_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        FixedHorizon(gym.make("CartPole-v1"), 0)


def test_a_horizon_that_nobody_knows_is_asked_for() -> None:
    unlimited = gym.make("CartPole-v1", max_episode_steps=-1)
    with pytest.raises(ValueError, match="has no time limit to take the horizon from"):
        FixedHorizon(unlimited)
    assert FixedHorizon(unlimited, 900).horizon == 900


def test_a_step_outside_of_an_episode_is_refused() -> None:
    env = FixedHorizon(gym.make("CartPole-v1"), 5)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    episode(env, 0, [0])
    with pytest.raises(gym.error.ResetNeeded, match="after each episode of 5 steps"):
        env.step(0)


def test_a_spec_and_a_pickle_make_the_same_horizon_again() -> None:
    env = FixedHorizon(gym.make("CartPole-v1"), 45)
    assert env.spec is not None
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    expected = episode(env, 4, [1])
    for again in (gym.make(spec), pickle.loads(pickle.dumps(env))):
        steps = episode(again, 4, [1])
        assert all(np.array_equal(one[0], other[0]) for one, other in zip(steps, expected, strict=True))
