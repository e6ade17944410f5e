"""Policies to evaluate, film and compare: trained ones, random ones, and those that environments define."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.registration import find_spec
from rlhf_envs.envs.task import SCRIPTED_POLICIES
from rlhf_envs.evaluation.episodes import Copies, make_copies, play
from rlhf_envs.observations import Observations
from rlhf_envs.randomness import own_random_numbers
from rlhf_envs.wrappers.spaces import choice_counts, constant_actions

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

Policy = Callable[[Observations], NDArray[Any]]
"""From observations (N, *obs), or a dict of such, to actions (N, *act)."""

POLICY_NAMES = ("random", "idle", *SCRIPTED_POLICIES)
"""The policies that need no training."""

_TRIAL_SEED = 2_000_000
"""Far from the seeds of training and of evaluation."""

_TRIALS = 2

_DRAWN_IN = ("minigrid", "AtariEnv")
"""Parts of the entry points of environments in which rl-zoo3 judges policies by drawn actions."""


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


@dataclass(frozen=True, eq=False)
class SB3Policy:
    """The policy of a Stable-Baselines3 model, with whatever it acts by besides observations as they are.

    That is the model's normalisation of observations (`VecNormalize`), and for algorithms of sb3-contrib the memory of
    a recurrent policy, which is empty when an episode begins, and the masks of actions that are allowed.

    Attributes:
        model: trained on the environment's spaces.
        deterministic: whether to take the most likely action or to draw one, the same ones in each evaluation. None
            draws in the environments of MiniGrid and of Atari, as rl-zoo3 does: where nothing moves by itself, a policy
            whose most likely actions turn it round once turns round for ever, though it hardly ever did in training.
    """

    model: BaseAlgorithm
    deterministic: bool | None = None

    def bind(self, copies: Copies) -> Policy:
        """The policy for these copies, from the first step of their episodes on."""
        predict: Any = self.model.predict
        names = inspect.signature(predict).parameters
        normaliser = self.model.get_vec_normalize_env()
        memory: Any = None
        drawn, seeds = self.draws(copies.environment), count()

        def act(observations: Observations) -> NDArray[Any]:
            nonlocal memory
            seen: Any = observations if normaliser is None else normaliser.normalize_obs(observations)
            masks = {"action_masks": copies.action_masks()} if "action_masks" in names else {}
            # A memory of None marks the beginning of all episodes.
            with own_random_numbers(self.model, next(seeds)) if drawn else nullcontext():
                actions, memory = predict(seen, state=memory, deterministic=not drawn, **masks)
            chosen: NDArray[Any] = actions
            return chosen

        return act

    def draws(self, environment: EnvironmentRef) -> bool:
        """Whether actions are drawn in this environment."""
        if self.deterministic is not None:
            return not self.deterministic
        entry_point = str(find_spec(environment.id).entry_point)
        return any(family in entry_point for family in _DRAWN_IN)


def _keep_to_masks(copies: Copies, seed: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Puts an allowed action, drawn uniformly, in the place of each that the environment's masks forbid."""
    counts = choice_counts(copies.action_space)
    if counts is None or not copies.has_action_masks:
        return lambda actions: actions
    rng, ends = np.random.default_rng([seed, 2]), np.cumsum(counts)[:-1]

    def keep(actions: NDArray[Any]) -> NDArray[Any]:
        chosen = actions.reshape(copies.count, -1).copy()
        for place, allowed in enumerate(np.split(copies.action_masks(), ends, axis=1)):
            forbidden = ~allowed[np.arange(copies.count), chosen[:, place]] & allowed.any(axis=1)
            drawn = np.argmax(rng.random(allowed.shape) * allowed, axis=1)
            chosen[forbidden, place] = drawn[forbidden]
        return chosen.reshape(actions.shape)

    return keep


@dataclass(frozen=True)
class RandomPolicy:
    """Actions drawn uniformly from the action space; from those that are allowed where the environment has masks.

    Attributes:
        seed: of the draws.
    """

    seed: int = 0

    def bind(self, copies: Copies) -> Policy:
        """The policy for these copies."""
        space = batch_space(copies.action_space, copies.count)
        space.seed(self.seed)
        keep = _keep_to_masks(copies, self.seed)
        return lambda observations: keep(np.asarray(space.sample()))


@dataclass(frozen=True)
class IdlePolicy:
    """Repeats one action whatever happens: the constant action that earns most, as no one knows which one is rest.

    It is found by playing two episodes with each of `constant_actions`, in copies and on seeds of their own. What does
    not beat it has learned nothing. Where the environment has masks that forbid it, an allowed one is drawn instead.

    Attributes:
        seed: added to the seeds of these episodes.
    """

    seed: int = 0

    def bind(self, copies: Copies) -> Policy:
        """The policy for these copies."""
        best = _best_constant_action(json.dumps(copies.environment.to_json()), self.seed)
        repeated, keep = np.repeat(best[None], copies.count, axis=0), _keep_to_masks(copies, self.seed)
        return lambda observations: keep(repeated)


@lru_cache(maxsize=32)
def _best_constant_action(environment: str, seed: int) -> NDArray[Any]:
    ref = EnvironmentRef.from_json(json.loads(environment))
    with closing(make_copies(ref, 1)) as copies:
        candidates = constant_actions(copies.action_space)
    repeated = np.repeat(candidates, _TRIALS, axis=0)
    with closing(make_copies(ref, len(repeated))) as copies:
        keep = _keep_to_masks(copies, seed)
        steps = play(lambda observations: keep(repeated), copies, _TRIAL_SEED + seed)
        returns = sum((step.result.true_rewards for step in steps), np.zeros(len(repeated)))
    best: NDArray[Any] = candidates[int(np.argmax(returns.reshape(len(candidates), _TRIALS).mean(axis=1)))]
    return best


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


def named_policy(name: str, seed: int = 0) -> RandomPolicy | IdlePolicy | ScriptedPolicy:
    """A policy of `POLICY_NAMES`.

    Args:
        name: which one.
        seed: of random actions.

    Raises:
        ValueError: for another name.
    """
    if name not in POLICY_NAMES:
        raise ValueError(f"policy must be one of {', '.join(POLICY_NAMES)}, not {name!r}.")
    if name == "idle":
        return IdlePolicy(seed)
    return RandomPolicy(seed) if name == "random" else ScriptedPolicy(name)
