"""Vector environments whose last steps are remembered."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from rlhf_envs.clips import snapshot_source
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.segments import Segment
from rlhf_envs.wrappers import HideReward, RecordSegments


def seen(segment: Segment) -> NDArray[Any]:
    """A segment's observations, which are not those of a Dict space."""
    assert isinstance(segment.observations, np.ndarray)
    return segment.observations


def drawn(env: RecordSegments, count: int, length: int, seed: int = 0) -> list[Segment]:
    """Segments drawn from what is remembered."""
    windows = env.recorder.sample_windows(count, length, np.random.default_rng(seed))
    return [env.recorder.segment(windows, index) for index in range(len(windows))]


def is_one_stretch_of_cartpole(segment: Segment) -> bool:
    """Whether every observation of a life follows from the one before: a place moves by 0.02 s times the speed."""
    places, speeds = seen(segment)[: segment.lived, 0], seen(segment)[: segment.lived, 1]
    return bool(np.allclose(places[1:], places[:-1] + 0.02 * speeds[:-1], atol=1e-6))


def test_what_happened_is_remembered_in_the_order_in_which_it_happened(play: Any) -> None:
    env = RecordSegments(EnvironmentRef("Pendulum-v1").make_vector(2), 100)
    history = play(HideReward(env), 130)[-100:]
    observations, actions, rewards = env.recorder.latest()
    assert isinstance(observations, np.ndarray)
    assert np.array_equal(observations.reshape(100, 2, 3), np.array([step.before for step in history]))
    assert np.array_equal(actions.reshape(100, 2, 1), np.array([step.actions for step in history]))
    truth = np.array([step.info["true_reward"] for step in history])
    assert np.array_equal(rewards.reshape(100, 2), truth.astype(np.float32))


@pytest.mark.parametrize("length", [1, 8])
def test_segments_of_every_copy_hold_steps_of_one_episode_only(
    length: int, cartpoles: Callable[..., SyncVectorEnv], play: Any
) -> None:
    env = RecordSegments(cartpoles())
    history = play(env, 150)
    assert sum(step.done.sum() for step in history) > 3
    segments = drawn(env, 300, length)
    assert len(segments) == 300
    assert all(is_one_stretch_of_cartpole(segment) for segment in segments)
    # Every episode has ended by termination, and segments of more than one step may go on beyond it.
    assert any(segment.lived < length for segment in segments) == (length > 1)


def test_no_segment_reaches_across_a_reset_in_the_middle_of_an_episode() -> None:
    env = RecordSegments(EnvironmentRef("Pendulum-v1").make_vector(2))
    for mask in (None, np.array([True, False]), np.array([True, False])):
        env.reset(options=None if mask is None else {"reset_mask": mask})
        for _ in range(5):
            env.step(np.zeros((2, 1), np.float32))
    rows = env.recorder.sample_windows(50, 6, np.random.default_rng(0)).rows
    assert len(rows) == 50 and not (rows == 0).any()


def test_more_steps_can_be_remembered_on_demand(cartpoles: Callable[..., SyncVectorEnv], play: Any) -> None:
    env = RecordSegments(cartpoles(), 8)
    play(env, 20)
    assert len(env.recorder) == 8
    env.remember(5)
    assert len(env.recorder) == 8
    env.remember(16)
    play(env, 20)
    assert len(env.recorder) == 16


def test_the_states_of_a_segment_bring_back_what_was_observed(drift_env: Any, drift_vector_env: Any, play: Any) -> None:
    vector = drift_vector_env(2)
    env = RecordSegments(vector, snapshots=snapshot_source(vector))
    play(env, 30)
    other = drift_env()
    other.reset(seed=99)
    for segment in drawn(env, 20, 4):
        assert segment.states is not None
        for state, observation in zip(segment.states, seen(segment), strict=True):
            other.restore(state)
            assert np.array_equal(other.simulation.observe()[0], observation)


def test_flat_dict_observations_are_recorded_key_by_key(play: Any) -> None:
    ref = EnvironmentRef("tests.sb3.environments:test/Walk-v0", {"kind": "dict"})
    env = RecordSegments(ref.make_vector(2))
    env.reset(seed=0)
    for _ in range(40):
        env.step(np.array([0, 1]))
    for segment in drawn(env, 10, 5):
        assert isinstance(segment.observations, dict)
        assert np.array_equal(segment.observations["side"], segment.observations["place"][:, 0] > 0)


def test_an_environment_that_reuses_its_array_is_refused() -> None:
    env = SyncVectorEnv([lambda: gym.make("Pendulum-v1")], copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match="make it with copy=True"):
        RecordSegments(env)


def test_an_environment_that_inserts_steps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"make it with autoreset_mode=AutoresetMode\.SAME_STEP"):
        RecordSegments(SyncVectorEnv([lambda: gym.make("Pendulum-v1")]))


def test_a_step_before_the_first_reset_is_refused(cartpoles: Callable[..., SyncVectorEnv]) -> None:
    with pytest.raises(gym.error.ResetNeeded):
        RecordSegments(cartpoles()).step(np.zeros(3, int))
