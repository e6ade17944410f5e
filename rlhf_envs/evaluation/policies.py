"""Policies to evaluate, film and compare: trained ones, random ones, and those that environments define."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlhf_envs.envs.task import SCRIPTED_POLICIES
from rlhf_envs.evaluation.episodes import Copies
from rlhf_envs.observations import Observations

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

Policy = Callable[[Observations], NDArray[Any]]
"""From observations (N, *obs), or a dict of such, to actions (N, *act)."""

POLICY_NAMES = ("random", *SCRIPTED_POLICIES)
"""The policies that need no training."""


@runtime_checkable
class BindablePolicy(Protocol):
    """A policy that needs more of the copies it acts in than their observations, such as their action space."""

    def bind(self, copies: Copies, /) -> Policy:
        """The policy for these copies."""


AnyPolicy = Policy | BindablePolicy
"""All that can be evaluated and filmed."""


def bind(policy: AnyPolicy, copies: Copies) -> Policy:
    """A policy as a function from the observations of these copies to their actions."""
    return policy.bind(copies) if isinstance(policy, BindablePolicy) else policy


def sb3_policy(model: BaseAlgorithm, deterministic: bool = True) -> Policy:
    """The policy of a Stable-Baselines3 model.

    Args:
        model: trained on the environment's spaces.
        deterministic: take the most likely action instead of sampling one.
    """

    def act(observations: Observations) -> NDArray[Any]:
        return model.predict(observations, deterministic=deterministic)[0]

    return act


@dataclass(frozen=True)
class RandomPolicy:
    """Actions drawn uniformly from the action space.

    Attributes:
        seed: of the draws.
    """

    seed: int = 0

    def bind(self, copies: Copies) -> Policy:
        """The policy for these copies."""
        space = batch_space(copies.action_space, copies.count)
        space.seed(self.seed)
        return lambda observations: np.asarray(space.sample())


@dataclass(frozen=True)
class ScriptedPolicy:
    """A policy that the environment defines; it reads the simulator's state.

    Attributes:
        role: "expert" does well on the true reward, "proxy" maximises the proxy reward.

    Raises:
        ValueError: for another role.
    """

    role: str

    def __post_init__(self) -> None:
        if self.role not in SCRIPTED_POLICIES:
            raise ValueError(f"A scripted policy is one of {', '.join(SCRIPTED_POLICIES)}, not {self.role!r}.")

    def bind(self, copies: Copies) -> Policy:
        """The policy for these copies.

        Raises:
            ValueError: if their environment does not define it.
        """
        if self.role not in copies.scripted_policies:
            raise ValueError(
                f"{copies.environment.id} brings no scripted {self.role} policy; random actions can always be compared "
                "with."
            )
        return lambda observations: copies.scripted_action(self.role)


@dataclass(frozen=True)
class MixedPolicy:
    """Another policy with a share of random actions that rises from 0 in the first copy to 1 in the last.

    A batch of episodes so covers all behaviour between the policy's and random actions, which is what a reward model
    is trained on.

    Attributes:
        policy: whose actions are mixed.
        seed: of the draws.
    """

    policy: AnyPolicy
    seed: int = 0

    def bind(self, copies: Copies) -> Policy:
        """The policy for these copies."""
        own, random = bind(self.policy, copies), RandomPolicy(self.seed).bind(copies)
        # Not the seed that the space draws its actions from: both would then draw the same numbers.
        rng = np.random.default_rng([self.seed, 1])
        shares = np.linspace(0.0, 1.0, copies.count) if copies.count > 1 else np.full(1, 0.5)

        def act(observations: Observations) -> NDArray[Any]:
            actions, others = own(observations), random(observations)
            chosen = rng.random(copies.count) < shares
            return np.where(chosen.reshape(-1, *[1] * (actions.ndim - 1)), others, actions).astype(actions.dtype)

        return act


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
