import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlhf_envs.wrappers import HideReward, HideVectorReward


class BrokenReward(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        return observation, float("nan"), terminated, truncated, info


@pytest.mark.parametrize("environment_id", ["CartPole-v1", "Pendulum-v1"])
def test_gymnasiums_checker_passes_with_a_hidden_reward(gymnasium_checks: Any, environment_id: str) -> None:
    gymnasium_checks(HideReward(gym.make(environment_id)))


def test_the_agent_is_paid_nothing_and_the_truth_is_kept() -> None:
    plain, hidden = gym.make("Pendulum-v1"), HideReward(gym.make("Pendulum-v1"))
    plain.reset(seed=3)
    hidden.reset(seed=3)
    for _ in range(20):
        expected = plain.step(np.array([1.0], np.float32))
        observation, reward, _, _, info = hidden.step(np.array([1.0], np.float32))
        assert reward == 0.0
        assert info["true_reward"] == expected[1] != 0
        assert np.array_equal(observation, expected[0])


def test_hiding_twice_keeps_the_truth() -> None:
    env = HideReward(HideReward(gym.make("CartPole-v1")))
    env.reset(seed=0)
    assert env.step(0)[4]["true_reward"] == 1.0


def test_what_the_environment_calls_its_true_reward_is_kept_when_it_pays_a_proxy(
    drift_env: Any, drift_vector_env: Any
) -> None:
    single, several = HideReward(drift_env(objective="proxy")), HideVectorReward(drift_vector_env(2, objective="proxy"))
    single.reset(seed=0)
    several.reset(seed=0)
    for _ in range(8):
        action = np.array([0.5], np.float32)
        observations, rewards, _, truncated, info = several.step(np.array([action, action]))
        assert not rewards.any()
        if not truncated[0]:
            observation, reward, _, _, single_info = single.step(action)
            assert (reward, single_info["true_reward"]) == (0.0, 2 * observation[0])
            assert np.array_equal(info["true_reward"], 2 * observations[:, 0])
        else:
            final = np.array([observation[0] for observation in info["final_obs"]])
            assert np.array_equal(info["true_reward"], 2 * final)
            single.reset()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_truth_of_every_copy_is_kept_across_the_ends_of_episodes(
    mode: AutoresetMode, cartpoles: Callable[..., SyncVectorEnv], play: Any
) -> None:
    plain, hidden = play(cartpoles(mode), 80), play(HideVectorReward(cartpoles(mode)), 80)
    assert sum(step.done.sum() for step in plain) > 3
    for expected, step in zip(plain, hidden, strict=True):
        assert not step.rewards.any()
        assert np.array_equal(step.info["true_reward"], expected.rewards)
        assert step.info["_true_reward"].all()
        assert np.array_equal(step.after, expected.after)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_hiding_inside_or_outside_a_vector_environment_is_the_same(
    mode: AutoresetMode, cartpoles: Callable[..., SyncVectorEnv], play: Any
) -> None:
    inside = play(HideVectorReward(cartpoles(mode, wrap=HideReward)), 80)
    outside = play(HideVectorReward(cartpoles(mode)), 80)
    for one, other in zip(inside, outside, strict=True):
        assert np.array_equal(one.info["true_reward"], other.info["true_reward"])


def test_the_last_steps_info_of_an_ended_episode_has_its_true_reward(cartpoles: Any, play: Any) -> None:
    ended = 0
    for step in play(HideVectorReward(cartpoles(AutoresetMode.SAME_STEP)), 80):
        if step.done.any():
            ended += 1
            assert np.array_equal(step.info["final_info"]["_true_reward"], step.done)
            assert (step.info["final_info"]["true_reward"][step.done] == 1.0).all()
    assert ended


def test_a_reward_that_is_not_a_number_is_refused_in_one_sentence(play: Any) -> None:
    env = HideReward(BrokenReward(gym.make("CartPole-v1").unwrapped))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="paid a reward of nan"):
        env.step(0)
    several = HideVectorReward(SyncVectorEnv([lambda: BrokenReward(gym.make("CartPole-v1").unwrapped)] * 2))
    with pytest.raises(ValueError, match="paid a reward of nan"):
        play(several, 1)


def test_a_spec_and_a_pickle_make_the_wrapped_environment_again() -> None:
    env = HideReward(gym.make("CartPole-v1"))
    assert env.spec is not None
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    for again in (gym.make(spec), pickle.loads(pickle.dumps(env))):
        again.reset(seed=0)
        _, reward, _, _, info = again.step(1)
        assert (reward, info["true_reward"]) == (0.0, 1.0)
