"""Vector environments that hide the true reward, or pay a learned one."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.wrappers import HideReward, LearnedReward


class SureReward:
    """Pays a number that can be changed."""

    def __init__(self, pays: float) -> None:
        self.pays = pays

    def reward(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
        return np.full(len(actions), self.pays)


class BrokenReward(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float("nan"), terminated, truncated, info


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


def separate(copies: int = 3) -> Any:
    """Copies whose infos are kept apart."""
    return EnvironmentRef("CartPole-v1", horizon=20).make_vector(copies)


def test_the_truth_of_every_copy_is_kept_across_the_ends_of_episodes(
    cartpoles: Callable[..., SyncVectorEnv], play: Any
) -> None:
    for make in (cartpoles, separate):
        plain, hidden = play(make(), 80), play(HideReward(make()), 80)
        assert sum(step.done.sum() for step in plain) > 3
        for expected, step in zip(plain, hidden, strict=True):
            assert not step.rewards.any()
            assert np.array_equal(step.info["true_reward"], expected.rewards)
            assert step.info["_true_reward"].all()
            assert np.array_equal(step.after, expected.after)


def test_hiding_twice_keeps_the_truth(cartpoles: Callable[..., SyncVectorEnv], play: Any) -> None:
    assert all((step.info["true_reward"] == 1).all() for step in play(HideReward(HideReward(cartpoles())), 30))


def test_what_the_environment_calls_its_true_reward_is_kept_when_it_pays_a_proxy(drift_vector_env: Any) -> None:
    env = HideReward(drift_vector_env(2, objective="proxy"))
    env.reset(seed=0)
    for _ in range(8):
        observations, rewards, _, truncated, info = env.step(np.full((2, 1), 0.5, np.float32))
        assert not rewards.any()
        last = np.array(info["final_obs"].tolist()) if truncated[0] else observations
        assert np.array_equal(info["true_reward"], 2 * last[:, 0])


def test_a_reward_that_is_not_a_number_is_refused_in_one_sentence(play: Any) -> None:
    makers = [lambda: BrokenReward(gym.make("CartPole-v1").unwrapped)] * 2
    env = HideReward(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP))
    with pytest.raises(ValueError, match="paid a reward of nan in copy 0"):
        play(env, 1)


def test_every_step_is_paid_by_the_observation_before_it_and_the_action(
    cartpoles: Callable[..., SyncVectorEnv], play: Any, sum_reward: Any
) -> None:
    for wrap in (lambda env: env, HideReward):
        for step in play(LearnedReward(wrap(cartpoles()), sum_reward), 80):
            assert np.allclose(step.rewards, sum_reward.reward(step.before, step.actions))
            assert np.array_equal(step.info["learned_reward"], step.rewards)
            assert np.array_equal(step.info["true_reward"], np.ones(3))


def test_an_environment_that_reuses_its_array_is_paid_for_the_right_observation(sum_reward: Any) -> None:
    env = SyncVectorEnv([SharedArrayEnv], copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
    paying = LearnedReward(env, sum_reward)
    paying.reset()
    assert [paying.step(np.array([0]))[1][0] for _ in range(3)] == [0.0, 1.0, 2.0]


def test_the_reward_function_is_used_and_never_copied(cartpoles: Callable[..., SyncVectorEnv]) -> None:
    function = SureReward(1.0)
    env = LearnedReward(cartpoles(), function)
    env.reset(seed=0)
    assert env.step(np.zeros(3, int))[1].tolist() == [1.0] * 3
    function.pays = 2.0
    assert env.step(np.zeros(3, int))[1].tolist() == [2.0] * 3


def test_what_is_no_reward_function_is_refused_in_one_sentence(cartpoles: Callable[..., SyncVectorEnv]) -> None:
    for wrong in (lambda observations, actions: 0, SureReward, None):
        with pytest.raises(TypeError, match=r"needs a method reward\(observations, actions\)"):
            LearnedReward(cartpoles(), wrong)  # type: ignore[arg-type]


def test_a_learned_reward_that_is_not_a_number_is_refused_before_the_step(
    cartpoles: Callable[..., SyncVectorEnv],
) -> None:
    env = LearnedReward(cartpoles(), SureReward(float("nan")))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="a finite number each, not some that are not finite"):
        env.step(np.zeros(3, int))


def test_a_learned_reward_of_the_wrong_shape_is_refused(cartpoles: Callable[..., SyncVectorEnv]) -> None:
    class Column(SureReward):
        def reward(self, observations: Any, actions: NDArray[Any]) -> NDArray[np.float64]:
            return np.zeros((len(actions), 1))

    env = LearnedReward(cartpoles(), Column(0))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"3 steps a finite number each, not shape \(3, 1\)"):
        env.step(np.zeros(3, int))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED, None])
def test_environments_that_insert_steps_are_refused(mode: AutoresetMode | None) -> None:
    env = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=mode or AutoresetMode.SAME_STEP)
    env.metadata = {**env.metadata, "autoreset_mode": mode}
    for wrap in (HideReward, lambda env: LearnedReward(env, SureReward(0))):
        with pytest.raises(ValueError, match=r"make it with autoreset_mode=AutoresetMode\.SAME_STEP"):
            wrap(env)


def test_a_step_before_the_first_reset_is_refused(cartpoles: Callable[..., SyncVectorEnv], sum_reward: Any) -> None:
    with pytest.raises(gym.error.ResetNeeded):
        LearnedReward(cartpoles(), sum_reward).step(np.zeros(3, int))
