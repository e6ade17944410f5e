"""Policies to evaluate, to film and to compare with: trained ones, random ones, and those that environments bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.copies import ROLES, Copies
from rlhf_envs.observations import Observations

Policy = Callable[[Observations], NDArray[Any]]
"""From observations (N, *obs), or a dict of such, to actions (N, *act)."""

POLICY_NAMES = ("random", *ROLES)
"""The policies that need no training."""


def sb3_policy(model: BaseAlgorithm, deterministic: bool = True) -> Policy:
    """What a Stable-Baselines3 model does.

    Args:
        model: trained on the environment's spaces.
        deterministic: the most likely action instead of a drawn one.
    """

    def act(observations: Observations) -> NDArray[Any]:
        return model.predict(observations, deterministic=deterministic)[0]

    return act


def random_policy(action_space: Space[Any], seed: int = 0) -> Policy:
    """Actions drawn uniformly from a space.

    Args:
        action_space: of a single copy.
        seed: of the draws.
    """
    batched: dict[int, Space[Any]] = {}

    def act(observations: Observations) -> NDArray[Any]:
        count = batch_size(observations)
        if count not in batched:
            batched[count] = batch_space(action_space, count)
            batched[count].seed(seed)
        return np.asarray(batched[count].sample())

    return act


@runtime_checkable
class BindablePolicy(Protocol):
    """A policy that has to be shown the copies that it will act in, because it needs more than their observations."""

    def bind(self, copies: Copies, /) -> Policy:
        """The policy as it acts in these copies."""


AnyPolicy = Policy | BindablePolicy
"""All that can be evaluated and filmed."""


@dataclass(frozen=True)
class RandomPolicy:
    """Actions drawn uniformly from whatever space the copies have.

    Attributes:
        seed: of the draws.
    """

    seed: int = 0

    def bind(self, copies: Copies) -> Policy:
        """The policy as it acts in these copies."""
        return random_policy(copies.action_space, self.seed)


@dataclass(frozen=True)
class ScriptedPolicy:
    """A policy that the environment brings; it looks at the simulator.

    Attributes:
        role: "expert" does well on the true reward, "proxy" games the proxy reward.

    Raises:
        ValueError: for another role.
    """

    role: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"A scripted policy is one of {', '.join(ROLES)}, not {self.role!r}.")

    def bind(self, copies: Copies) -> Policy:
        """The policy as it acts in these copies."""

        def act(observations: Observations) -> NDArray[Any]:
            return copies.scripted_action(self.role)

        return act


@dataclass(frozen=True)
class MixedPolicy:
    """Acts like another policy, but at random now and then: never in the first copy, always in the last.

    The copies between are spread evenly, so that a batch of episodes shows everything from what the policy does to
    what chance does, which is what a reward model has been asked about.

    Attributes:
        policy: whose actions are mixed.
        seed: of the draws.
    """

    policy: AnyPolicy
    seed: int = 0

    def bind(self, copies: Copies) -> Policy:
        """The policy as it acts in these copies."""
        act_well = bound(self.policy, copies)
        act_at_random = random_policy(copies.action_space, self.seed)
        # Not the seed that the space draws its actions from: both would then draw the same numbers.
        rng = np.random.default_rng([self.seed, 1])
        shares = np.linspace(0.0, 1.0, copies.count) if copies.count > 1 else np.full(1, 0.5)

        def act(observations: Observations) -> NDArray[Any]:
            actions, others = act_well(observations), act_at_random(observations)
            chance = rng.random(copies.count) < shares
            return np.where(chance.reshape(-1, *[1] * (actions.ndim - 1)), others, actions).astype(actions.dtype)

        return act


def bound(policy: AnyPolicy, copies: Copies) -> Policy:
    """A policy as it acts in these copies."""
    return policy.bind(copies) if isinstance(policy, BindablePolicy) else policy


def named_policy(name: str, seed: int = 0) -> RandomPolicy | ScriptedPolicy:
    """A policy of `POLICY_NAMES`.

    Args:
        name: which one.
        seed: of random actions.

    Raises:
        ValueError: for another name.
    """
    if name not in POLICY_NAMES:
        raise ValueError(f"policy must be one of {', '.join(POLICY_NAMES)}, not {name!r}.")
    return RandomPolicy(seed) if name == "random" else ScriptedPolicy(name)


def batch_size(observations: Observations) -> int:
    """N of observations (N, *obs)."""
    if isinstance(observations, dict):
        return len(next(iter(observations.values())))
    return len(observations)
