"""True returns of policies on seeds that training never saw, and of the baselines that they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.episodes import FIRST_SEED, Copies, make_copies, play
from rlhf_envs.evaluation.policies import AnyPolicy, bind, named_policy

_RESAMPLES = 10_000
_CLEARLY = 3
"""Standard errors of a difference."""

_NOTEWORTHY = 0.05
"""Of what a policy is ahead of random actions."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a policy earned in whole episodes.

    Attributes:
        returns: true return of each episode, (episodes,) float64.
        proxy_returns: proxy return of each, (episodes,) float64, or None where the environment has no proxy reward.
        terms: mean contribution of each named term to the true reward of a step; empty where none are named.
        measures: means over the episodes of the figures that the environment gives of each; None where no episode has
            one.
    """

    returns: NDArray[np.float64]
    proxy_returns: NDArray[np.float64] | None
    terms: dict[str, float]
    measures: dict[str, float | None] = field(default_factory=dict)

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


UNTRAINED = ("random", "idle", "proxy")
"""Policies that know nothing of what people want; the best of them is the zero of a scale."""

IN_WORDS = {
    "random": "random actions",
    "idle": "the best constant action",
    "proxy": "gaming the proxy",
    "expert": "the scripted expert",
    "ppo": "PPO on the true reward",
}
"""How a sentence names the policies that a scale may be between."""


@dataclass(frozen=True)
class Scale:
    """True returns on a scale from what takes no learning of people's goals (0) to a reference (1).

    The zero is the best of random actions, of every constant action, and of a policy that optimises the proxy: doing
    nothing earns most of what an expert earns in some environments, and a scale that begins at random actions flatters
    there. The reference is the same learner on the true reward where such runs are known, as in benchmarks, and the
    scripted expert otherwise.

    Attributes:
        zero_policy: the name of the policy whose return is 0.
        zero: its true return.
        one_policy: the name of the reference, None where there is none.
        one: its true return.
    """

    zero_policy: str
    zero: float
    one_policy: str | None = None
    one: float | None = None

    @classmethod
    def between(cls, untrained: Mapping[str, float | None], references: Mapping[str, float | None]) -> Scale | None:
        """The scale from the best of some policies to the first known one of others; None if no zero is known.

        Args:
            untrained: true returns, by name, of policies that know nothing of what people want; None where unknown.
            references: of those that may be 1, the preferred one first.
        """
        known = {name: value for name, value in untrained.items() if value is not None}
        if not known:
            return None
        zero = max(known, key=lambda name: known[name])
        one = next((name for name, value in references.items() if value is not None), None)
        return cls(zero, known[zero], one, None if one is None else references[one])

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], *references: str) -> Scale | None:
        """The scale of the returns in metrics.json; None if no return of `UNTRAINED` is there.

        Args:
            metrics: of a run.
            references: names of policies that may be 1, the preferred one first.
        """
        untrained, known = ({name: metrics.get(f"{name}_return_mean") for name in of} for of in (UNTRAINED, references))
        return cls.between(untrained, known)

    def score(self, true_return: float | None) -> float | None:
        """A true return on this scale; None if it is not known, or the reference is missing or no better than zero."""
        if true_return is None or self.one is None or self.one <= self.zero:
            return None
        return (true_return - self.zero) / (self.one - self.zero)

    def __str__(self) -> str:
        """Both ends, such as "idle 108.3, expert 144.0"."""
        zero = f"{self.zero_policy} {self.zero:.1f}"
        return zero if self.one is None else f"{zero}, {self.one_policy} {self.one:.1f}"


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
    metrics: dict[str, Any] = {
        "true_return_mean": own and own.mean,
        "true_return_std": own and own.std,
        "true_return_interval": own and list(own.interval()),
        "own_proxy_return_mean": own and own.proxy_mean,
        "reward_terms": own.terms if own else {},
    }
    for name, other in others.items():
        metrics |= {f"{name}_return_mean": other.mean, f"{name}_return_std": other.std}
    scale = Scale.of_metrics(metrics, "expert")
    metrics["normalised_against_expert"] = scale and own and scale.score(own.mean)
    metrics["scale"] = scale and asdict(scale)
    metrics["baseline_reward_terms"] = {name: other.terms for name, other in others.items()}
    metrics["measures"] = own.measures if own else {}
    metrics["baseline_measures"] = {name: other.measures for name, other in others.items()}
    return metrics


def drawn_metrics(drawn: Evaluation | None, own: Evaluation | None, random: Evaluation | None) -> dict[str, Any]:
    """The return of a policy by drawn actions for metrics.json, with a sentence where it is clearly the larger one.

    In training actions are drawn. Where the most likely ones earn less, as of a policy that turns round in one place, a
    single figure of either kind would tell half of what was learned.

    Args:
        drawn, own: by drawn actions, and by those that the policy is judged by.
        random: of random actions, which says what is little.
    """
    if drawn is None:
        return {}
    metrics: dict[str, Any] = {"drawn_return_mean": drawn.mean, "drawn_return_std": drawn.std}
    if own is None or random is None:
        return metrics
    gain = drawn.mean - own.mean
    error = math.hypot(*(each.std / math.sqrt(len(each.returns)) for each in (drawn, own)))
    if gain > max(_CLEARLY * error, _NOTEWORTHY * abs(drawn.mean - random.mean)):
        metrics["concerns"] = [
            f"By its most likely actions the policy earns {own.mean:.4g} in an episode, by drawn ones, as in training, "
            f"{drawn.mean:.4g}: act with deterministic=False, or train for longer."
        ]
    return metrics


def _evaluate(policy: AnyPolicy, copies: Copies, seed: int) -> Evaluation:
    returns, proxy_returns = np.zeros(copies.count), np.zeros(copies.count)
    sums: dict[str, float] = {}
    measured: dict[str, list[NDArray[np.float64]]] = {}
    steps, has_proxy = 0, False
    for transition in play(bind(policy, copies), copies, seed):
        result = transition.result
        returns += result.true_rewards
        if result.proxy_rewards is not None:
            has_proxy = True
            proxy_returns += result.proxy_rewards
        for name, values in result.terms.items():
            sums[name] = sums.get(name, 0.0) + float(values.sum())
        for name, values in result.measures.items():
            measured.setdefault(name, []).append(values[np.isfinite(values)])
        steps += int(transition.running.sum())
    figures = {name: np.concatenate(values) for name, values in measured.items()}
    measures = {name: float(values.mean()) if len(values) else None for name, values in figures.items()}
    terms = {name: total / steps for name, total in sums.items()}
    return Evaluation(returns, proxy_returns if has_proxy else None, terms, measures)
