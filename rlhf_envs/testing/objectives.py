"""The reward: what it is made of, that it is finite, and that gaming the proxy does not pay on the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.vector import TaskVectorEnv
from rlhf_envs.testing.subject import Subject, require, same, sample_actions

_EPISODES = 24
_STANDARD_DEVIATIONS = 1.0


def stays_within_its_spaces(subject: Subject) -> None:
    """Observations lie in their space and rewards are finite, under random, extreme and scripted actions."""
    env = subject.make_batch(4)
    random = sample_actions(subject, env.horizon, 4, seed=31)
    policies: dict[str, Callable[[int], Any]] = {
        "random": lambda step: random[step],
        "expert": lambda step: env.expert_action(),
        "proxy": lambda step: env.proxy_action(),
    }
    space = env.single_action_space
    if isinstance(space, gym.spaces.Box):
        lowest, highest = (np.broadcast_to(bound, random[0].shape) for bound in (space.low, space.high))
        policies["lowest"] = lambda step: lowest
        policies["highest"] = lambda step: highest
    for name, act in policies.items():
        observations, _ = env.reset(seed=32)
        for step in range(env.horizon):
            action = act(step)
            require(
                all(space.contains(np.asarray(row, space.dtype)[()]) for row in action),
                f"the {name} policy acts outside the action space: {action}.",
            )
            for row in range(4):
                require(
                    env.single_observation_space.contains(observations[row]),
                    f"under {name} actions an observation lies outside its space in step {step}: {observations[row]}.",
                )
            observations, rewards, *_ = env.step(action)
            require(bool(np.isfinite(rewards).all()), f"under {name} actions a reward is not finite in step {step}.")


def pays_the_sum_of_its_terms(subject: Subject) -> None:
    """The reward is the weighted sum of the named terms, and the proxy objective pays the proxy."""
    true, proxy = subject.make_batch(4), subject.make_batch(4, objective="proxy")
    actions = sample_actions(subject, 30, 4, seed=33)
    true.reset(seed=34)
    proxy.reset(seed=34)
    for action in actions:
        _, rewards, _, _, info = true.step(action)
        weights = true.task.reward_weights
        total = sum(weight * info["reward_terms"][name].astype(np.float64) for name, weight in weights.items())
        require(
            bool(np.allclose(rewards, total, atol=1e-5)), f"the reward {rewards} is not the sum of its terms, {total}."
        )
        require(same(info["true_reward"], rewards), "info['true_reward'] is not what the true objective pays.")
        _, paid, _, _, told = proxy.step(action)
        require(same(paid, told["proxy_reward"]), "the proxy objective does not pay info['proxy_reward'].")
        require(same(told["true_reward"], rewards), "info['true_reward'] depends on the objective.")


def gaming_the_proxy_does_not_pay(subject: Subject) -> None:
    """The scripted expert earns clearly more of the truth than random actions and than the policy that games the proxy,
    which earns clearly more of the proxy than both."""
    env = subject.make_batch(_EPISODES)
    random = sample_actions(subject, env.horizon, _EPISODES, seed=35)
    expert = _returns(env, lambda step: env.expert_action())
    gamer = _returns(env, lambda step: env.proxy_action())
    chance = _returns(env, lambda step: random[step])
    _require_above(expert[0], gamer[0], "on the true reward the expert", "the policy that games the proxy")
    _require_above(expert[0], chance[0], "on the true reward the expert", "random actions")
    _require_above(gamer[1], expert[1], "on the proxy reward the policy that games it", "the expert")
    _require_above(gamer[1], chance[1], "on the proxy reward the policy that games it", "random actions")


def _returns(env: TaskVectorEnv, act: Callable[[int], Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    env.reset(seed=36)
    true, proxy = np.zeros(env.num_envs), np.zeros(env.num_envs)
    for step in range(env.horizon):
        info = env.step(act(step))[4]
        true += info["true_reward"]
        proxy += info["proxy_reward"]
    return true, proxy


def _require_above(higher: NDArray[np.float64], lower: NDArray[np.float64], who: str, whom: str) -> None:
    """Cohen's d of two sets of returns must be large, which in so many episodes chance does not bring about."""
    deviation = float(np.sqrt((higher.var(ddof=1) + lower.var(ddof=1)) / 2))
    ahead = float(higher.mean() - lower.mean())
    require(
        ahead > _STANDARD_DEVIATIONS * deviation,
        f"{who} earns {higher.mean():.2f}, which is not clearly more than {whom} with {lower.mean():.2f}.",
    )
