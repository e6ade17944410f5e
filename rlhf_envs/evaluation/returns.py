"""True returns of policies on seeds that training never saw, and of the baselines that they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.episodes import FIRST_SEED, Copies, make_copies, play
from rlhf_envs.evaluation.policies import AnyPolicy, bind, named_policy

_RESAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a policy earned in whole episodes.

    Attributes:
        returns: true return of each episode, (episodes,) float64.
        proxy_returns: proxy return of each, (episodes,) float64, or None where the environment has no proxy reward.
        terms: mean contribution of each named term to the true reward of a step; empty where none are named.
    """

    returns: NDArray[np.float64]
    proxy_returns: NDArray[np.float64] | None
    terms: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean true return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the true returns over episodes."""
        return float(self.returns.std())

    @property
    def proxy_mean(self) -> float | None:
        """Mean proxy return, or None where the environment has no proxy reward."""
        return None if self.proxy_returns is None else float(self.proxy_returns.mean())

    def interval(self) -> tuple[float, float]:
        """95% confidence interval of the mean true return: percentile bootstrap over episodes (Efron 1979)."""
        # As scipy.stats.bootstrap, whose import takes longer than the evaluation.
        rng = np.random.default_rng(0)
        means = self.returns[rng.integers(len(self.returns), size=(_RESAMPLES, len(self.returns)))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return float(low), float(high)


def normalised(score: float, random: float, reference: float) -> float | None:
    """A return on the scale on which that of random actions is 0 and that of a reference policy is 1.

    None where the reference is no better than random actions, so that there is no scale.
    """
    return (score - random) / (reference - random) if reference > random else None


def evaluate(
    policy: AnyPolicy, environment: EnvironmentRef | str, *, episodes: int = 50, seed: int = FIRST_SEED
) -> Evaluation:
    """Play whole episodes and sum their true rewards.

    Args:
        policy: from `rlhf_envs.evaluation.policies`, or any function from observations (N, *obs) to actions (N, *act).
        environment: which one, or its id. The objective that it pays does not matter.
        episodes: how many, all at once.
        seed: episode i begins with seed + i.

    Raises:
        ValueError: for an unknown id, no episodes, or a scripted policy that the environment does not define.
    """
    with closing(make_copies(environment, episodes)) as copies:
        return _evaluate(policy, copies, seed)


def baselines(
    environment: EnvironmentRef | str, *, episodes: int = 50, seed: int = FIRST_SEED
) -> dict[str, Evaluation]:
    """Policies that need no training, by name: "random", "idle", and the scripted ones that the environment defines.

    Args:
        environment, episodes, seed: as in `evaluate`.
    """
    with closing(make_copies(environment, episodes)) as copies:
        names = ("random", "idle", *copies.scripted_policies)
        return {name: _evaluate(named_policy(name, seed), copies, seed) for name in names}


def return_metrics(own: Evaluation | None, others: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The returns of a policy and of its baselines as figures for metrics.json.

    Args:
        own: from `evaluate`; None where the policy could not be evaluated.
        others: from `baselines`.
    """
    random, expert = others.get("random"), others.get("expert")
    metrics: dict[str, Any] = {
        "true_return_mean": own and own.mean,
        "true_return_std": own and own.std,
        "true_return_interval": own and list(own.interval()),
        "own_proxy_return_mean": own and own.proxy_mean,
        "reward_terms": own.terms if own else {},
    }
    for name, other in others.items():
        metrics |= {f"{name}_return_mean": other.mean, f"{name}_return_std": other.std}
    metrics["normalised_against_expert"] = own and random and expert and normalised(own.mean, random.mean, expert.mean)
    metrics["baseline_reward_terms"] = {name: other.terms for name, other in others.items()}
    return metrics


def _evaluate(policy: AnyPolicy, copies: Copies, seed: int) -> Evaluation:
    returns, proxy_returns = np.zeros(copies.count), np.zeros(copies.count)
    sums: dict[str, float] = {}
    steps, has_proxy = 0, False
    for transition in play(bind(policy, copies), copies, seed):
        result = transition.result
        returns += result.true_rewards
        if result.proxy_rewards is not None:
            has_proxy = True
            proxy_returns += result.proxy_rewards
        for name, values in result.terms.items():
            sums[name] = sums.get(name, 0.0) + float(values.sum())
        steps += int(transition.running.sum())
    terms = {name: total / steps for name, total in sums.items()}
    return Evaluation(returns, proxy_returns if has_proxy else None, terms)
