import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from rlhf_envs.wrappers import HideReward, LearnedReward, LearnedVectorReward


class SureReward:
    """Pays a number that can be changed, and offers no spread."""

    def __init__(self, pays: float) -> None:
        self.pays = pays

    def reward(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        return np.full(len(actions), self.pays)


class SharedArrayEnv(gym.Env[Any, Any]):
    """Writes each observation into one and the same array, as some environments do."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = Box(0, 99, (1,)), Discrete(2)
        self.array = np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.array[:] = 0
        return self.array, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.array += 1
        return self.array, 0.0, False, False, {}


@pytest.mark.parametrize("environment_id", ["CartPole-v1", "Pendulum-v1"])
def test_gymnasiums_checker_passes_with_a_learned_reward(
    gymnasium_checks: Any, environment_id: str, sum_reward: Any
) -> None:
    gymnasium_checks(LearnedReward(gym.make(environment_id), sum_reward))


@pytest.mark.parametrize("hidden", [False, True])
def test_the_observation_before_the_step_and_the_action_are_paid(sum_reward: Any, hidden: bool) -> None:
    inner = gym.make("CartPole-v1")
    env = LearnedReward(HideReward(inner) if hidden else inner, sum_reward)
    before, _ = env.reset(seed=1)
    for action in (0, 1, 1, 0):
        after, reward, _, _, info = env.step(action)
        assert reward == info["learned_reward"] == pytest.approx(before.sum() + 10 * action, abs=1e-5)
        assert info["reward_spread"] == action
        assert info["true_reward"] == 1.0
        before = after


def test_an_environment_that_reuses_its_array_is_paid_for_the_right_observation(sum_reward: Any) -> None:
    env = LearnedReward(SharedArrayEnv(), sum_reward)
    env.reset()
    assert [env.step(0)[1] for _ in range(3)] == [0.0, 1.0, 2.0]
    several = LearnedVectorReward(SyncVectorEnv([SharedArrayEnv], copy=False), sum_reward)
    several.reset()
    assert [several.step(np.array([0]))[1][0] for _ in range(3)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_real_step_is_paid_and_no_other(mode: AutoresetMode, cartpoles: Any, play: Any, sum_reward: Any) -> None:
    env = LearnedVectorReward(cartpoles(mode), sum_reward)
    ended = np.zeros(3, dtype=bool)
    phantoms = 0
    for step in play(env, 80):
        real = ~ended if mode is AutoresetMode.NEXT_STEP else np.ones(3, dtype=bool)
        expected = np.where(real, sum_reward.reward(step.before, step.actions), 0)
        assert np.allclose(step.rewards, expected)
        assert np.array_equal(step.info["learned_reward"], step.rewards)
        assert np.array_equal(step.info["_learned_reward"], real)
        assert np.array_equal(step.info["reward_spread"], step.actions * real)
        assert np.array_equal(step.info["true_reward"], real.astype(float))
        phantoms += (~real).sum()
        ended = step.done
    assert (phantoms > 3) == (mode is AutoresetMode.NEXT_STEP)


def test_a_masked_reset_makes_the_next_step_of_that_copy_a_real_one(cartpoles: Any, play: Any, sum_reward: Any) -> None:
    env = LearnedVectorReward(cartpoles(AutoresetMode.NEXT_STEP), sum_reward)
    done = np.zeros(3, dtype=bool)
    env.reset(seed=0)
    while not done.any():
        _, _, terminated, truncated, _ = env.step(np.ones(3, int))
        done = terminated | truncated
    env.reset(options={"reset_mask": done.copy()})
    _, rewards, _, _, info = env.step(np.ones(3, int))
    assert info["_learned_reward"].all()
    assert (rewards > 5).all()


def test_one_copy_and_several_are_paid_the_same(drift_env: Any, drift_vector_env: Any, sum_reward: Any) -> None:
    several = LearnedVectorReward(drift_vector_env(3), sum_reward)
    singles = [LearnedReward(drift_env(), sum_reward) for _ in range(3)]
    several.reset(seed=5)
    for row, single in enumerate(singles):
        single.reset(seed=5 + row)
    several.action_space.seed(0)
    for _ in range(20):
        actions = several.action_space.sample()
        _, rewards, _, truncated, info = several.step(actions)
        for row, single in enumerate(singles):
            _, reward, _, single_truncated, single_info = single.step(actions[row])
            assert reward == rewards[row]
            assert single_info["true_reward"] == info["true_reward"][row]
            assert single_info["reward_spread"] == info["reward_spread"][row]
            assert single_truncated == truncated[row]
            if single_truncated:
                single.reset()


def test_the_reward_function_is_used_and_never_copied() -> None:
    function = SureReward(1.0)
    env = LearnedReward(gym.make("CartPole-v1"), function)
    env.reset(seed=0)
    assert env.step(0)[1] == 1.0
    function.pays = 2.0
    _, reward, _, _, info = env.step(0)
    assert reward == 2.0
    assert "reward_spread" not in info


def test_the_spread_is_left_out_where_it_is_not_wanted(cartpoles: Any, sum_reward: Any) -> None:
    env = LearnedReward(gym.make("CartPole-v1"), sum_reward, report_spread=False)
    env.reset(seed=0)
    assert "reward_spread" not in env.step(1)[4]
    several = LearnedVectorReward(cartpoles(AutoresetMode.SAME_STEP), sum_reward, report_spread=False)
    several.reset(seed=0)
    assert "reward_spread" not in several.step(np.ones(3, int))[4]


def test_a_spec_and_a_pickle_make_the_environment_with_its_learned_reward_again() -> None:
    env = LearnedReward(gym.make("CartPole-v1"), SureReward(3.0))
    assert env.spec is not None
    for again in (gym.make(env.spec), pickle.loads(pickle.dumps(env))):
        again.reset(seed=0)
        assert again.step(0)[1] == 3.0


def test_what_is_no_reward_function_is_refused_in_one_sentence(cartpoles: Any) -> None:
    for wrong in (lambda observations, actions: 0, SureReward, None):
        with pytest.raises(TypeError, match=r"needs a method reward\(observations, actions\)"):
            LearnedReward(gym.make("CartPole-v1"), wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"needs a method reward\(observations, actions\)"):
            LearnedVectorReward(cartpoles(AutoresetMode.SAME_STEP), wrong)  # type: ignore[arg-type]


def test_a_learned_reward_that_is_not_a_number_is_refused_before_the_step() -> None:
    env = LearnedReward(gym.make("CartPole-v1"), SureReward(float("nan")))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="reward must be finite"):
        env.step(0)


def test_a_learned_reward_of_the_wrong_shape_is_refused() -> None:
    class Column(SureReward):
        def reward(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
            return np.zeros((len(actions), 1))

    env = LearnedReward(gym.make("CartPole-v1"), Column(0))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"must have shape \(1,\), not \(1, 1\)"):
        env.step(0)


def test_spaces_that_are_no_arrays_are_refused() -> None:
    env = SharedArrayEnv()
    env.observation_space = Tuple([Discrete(2), Discrete(3)])
    with pytest.raises(ValueError, match="observation space is Tuple"):
        LearnedReward(env, SureReward(0))


def test_a_vector_environment_must_say_when_it_begins_new_episodes(cartpoles: Callable[..., SyncVectorEnv]) -> None:
    env = cartpoles(AutoresetMode.SAME_STEP)
    del env.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match="must say when it begins new episodes"):
        LearnedVectorReward(env, SureReward(0))
    assert "autoreset_mode" not in env.metadata


def test_a_step_before_the_first_reset_is_refused(cartpoles: Any, sum_reward: Any) -> None:
    with pytest.raises(gym.error.ResetNeeded):
        LearnedReward(gym.make("CartPole-v1"), sum_reward).step(0)
    with pytest.raises(gym.error.ResetNeeded):
        LearnedVectorReward(cartpoles(AutoresetMode.SAME_STEP), sum_reward).step(np.zeros(3, int))
