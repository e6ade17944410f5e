"""How good a policy really is, and how far a learned reward agrees with the truth, on seeds that training never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.copies import FIRST_SEED, ROLES, Copies, Moment, make_copies, play
from agents.policies import AnyPolicy, MixedPolicy, RandomPolicy, ScriptedPolicy, bound
from rlhf_envs.feedback import Kind, PreferenceStore, Purpose
from rlhf_envs.observations import Observations
from rlhf_envs.rewards import RewardEnsemble, correlation, preference_metrics
from rlhf_envs.rewards.metrics import Correlation, PreferenceMetrics

_RESAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a policy earned in whole episodes.

    Attributes:
        returns: true return of each episode, (episodes,) float64.
        proxy_returns: proxy return of each, (episodes,) float64, or None where the environment has no proxy reward.
        terms: what each named term adds to the true reward of a step, on average; empty where none are named.
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

    def interval(self, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Where the true mean lies with this confidence: percentile bootstrap over episodes (Efron 1979).

        Raises:
            ValueError: if the confidence is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, not {confidence}.")
        rng = np.random.default_rng(seed)
        means = self.returns[rng.integers(len(self.returns), size=(_RESAMPLES, len(self.returns)))].mean(axis=1)
        low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def normalised(score: float, random: float, reference: float) -> float | None:
    """How far a return has come from that of random actions (0) to that of a reference (1).

    None where the reference is no better than random actions, so that there is no way to go.
    """
    return (score - random) / (reference - random) if reference > random else None


def evaluate(
    policy: AnyPolicy,
    environment_id: str,
    environment_kwargs: Mapping[str, Any] | None = None,
    *,
    episodes: int = 50,
    seed: int = FIRST_SEED,
    horizon: int | None = None,
    on_termination: str = "absorb",
) -> Evaluation:
    """Play whole episodes and add up what they truly earn.

    Args:
        policy: from `agents.policies`, or any function from observations (N, *obs) to actions (N, *act).
        environment_id, environment_kwargs: where. The objective that the environment pays does not matter.
        episodes: how many, all at once.
        seed: episode i begins with seed + i.
        horizon, on_termination: of a third-party environment, as in training.

    Raises:
        ValueError: for an unknown id, no episodes, or a scripted policy that the environment does not bring.
    """
    copies = make_copies(environment_id, episodes, environment_kwargs, horizon=horizon, on_termination=on_termination)
    try:
        return _added_up(policy, copies, seed)
    finally:
        copies.close()


@dataclass(frozen=True, eq=False)
class RewardAgreement:
    """How a learned reward agrees with the true one.

    Attributes:
        true_steps, learned_steps: the rewards of all steps, (S,) each.
        true_segments, learned_segments: sums over segments that do not overlap, (M,) each.
        steps, segments: their correlations.
    """

    true_steps: NDArray[np.float64]
    learned_steps: NDArray[np.float64]
    true_segments: NDArray[np.float64]
    learned_segments: NDArray[np.float64]
    steps: Correlation
    segments: Correlation


def reward_correlation(
    ensemble: RewardEnsemble,
    policy: AnyPolicy,
    environment_id: str,
    environment_kwargs: Mapping[str, Any] | None = None,
    *,
    segment_length: int,
    episodes: int = 20,
    seed: int = FIRST_SEED,
    horizon: int | None = None,
    on_termination: str = "absorb",
) -> dict[str, RewardAgreement]:
    """Compare the learned with the true reward on fresh rollouts.

    Args:
        ensemble: the reward model.
        policy: whose rollouts.
        segment_length: steps in a segment.
        environment_id, environment_kwargs, episodes, seed, horizon, on_termination: as in `evaluate`.

    Returns:
        "policy": on what the policy itself does, where all is well or all goes wrong in the same way; and "mixture": on
        everything from the policy's to random behaviour (`MixedPolicy`), which says more about the reward as such.

    Raises:
        ValueError: as `evaluate`; or if episodes are shorter than a segment.
    """
    agreements = {}
    for name, acting in (("policy", policy), ("mixture", MixedPolicy(policy, seed))):
        copies = make_copies(
            environment_id, episodes, environment_kwargs, horizon=horizon, on_termination=on_termination
        )
        try:
            moments = list(play(bound(acting, copies), copies, seed))
        finally:
            copies.close()
        agreements[name] = _agreement(ensemble, moments, segment_length)
    return agreements


def held_out_predictions(
    store: PreferenceStore, ensemble: RewardEnsemble
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What the reward model says about the answers that were held out to test it.

    Returns:
        The predicted probability that right is better, and the answer (0 left, 1 right, 0.5 a tie, NaN a skip), each
        (answers,). Every answer to a test query counts that was not taken back.
    """
    given = store.live_answers(Purpose.TEST)
    answers = [live for live in given if live.kind is Kind.COMPARISON and live.choice is not None]
    if not answers:
        return np.zeros(0, dtype=np.float32), np.zeros(0)
    left = store.segments(live.segment_ids[0] for live in answers)
    right = store.segments(live.segment_ids[1] for live in answers)
    said = [live.choice.probability_right for live in answers if live.choice is not None]
    return ensemble.probability_right(left, right), np.array(said, dtype=np.float64)


def test_scores(store: PreferenceStore, ensemble: RewardEnsemble) -> PreferenceMetrics | None:
    """How well the reward model predicts the answers that were held out; None where none of them is decided."""
    scores = preference_metrics(*held_out_predictions(store, ensemble))
    return scores if scores.decided else None


def baselines(
    environment_id: str,
    environment_kwargs: Mapping[str, Any] | None = None,
    *,
    episodes: int = 50,
    seed: int = FIRST_SEED,
    horizon: int | None = None,
    on_termination: str = "absorb",
) -> dict[str, Evaluation]:
    """Policies that need no training: "random", and "expert" and "proxy" where the environment brings them."""
    copies = make_copies(environment_id, episodes, environment_kwargs, horizon=horizon, on_termination=on_termination)
    try:
        scores = {"random": _added_up(RandomPolicy(seed), copies, seed)}
        if copies.has_scripted_policies:
            scores |= {role: _added_up(ScriptedPolicy(role), copies, seed) for role in ROLES}
        return scores
    finally:
        copies.close()


def _added_up(policy: AnyPolicy, copies: Copies, seed: int) -> Evaluation:
    returns, proxy_returns = np.zeros(copies.count), np.zeros(copies.count)
    sums: dict[str, float] = {}
    steps, has_proxy = 0, False
    for moment in play(bound(policy, copies), copies, seed):
        outcome = moment.outcome
        returns += outcome.true_rewards
        if outcome.proxy_rewards is not None:
            has_proxy = True
            proxy_returns += outcome.proxy_rewards
        for name, values in outcome.terms.items():
            sums[name] = sums.get(name, 0.0) + float(values.sum())
        steps += int(moment.running.sum())
    return Evaluation(
        returns, proxy_returns if has_proxy else None, {name: total / steps for name, total in sums.items()}
    )


def _agreement(ensemble: RewardEnsemble, moments: list[Moment], segment_length: int) -> RewardAgreement:
    running = np.stack([moment.running for moment in moments])
    true = np.stack([moment.outcome.true_rewards for moment in moments])
    actions = np.stack([moment.actions for moment in moments])
    observations = _joined([moment.observations for moment in moments])
    rewards = ensemble.reward(observations, actions.reshape(-1, *actions.shape[2:]))
    learned = np.asarray(rewards, dtype=np.float64).reshape(true.shape)
    true_segments = _segment_sums(true, running, segment_length)
    learned_segments = _segment_sums(learned, running, segment_length)
    true_steps, learned_steps = true[running], learned[running]
    return RewardAgreement(
        true_steps,
        learned_steps,
        true_segments,
        learned_segments,
        correlation(learned_steps, true_steps),
        correlation(learned_segments, true_segments),
    )


def _segment_sums(rewards: NDArray[np.float64], running: NDArray[np.bool_], length: int) -> NDArray[np.float64]:
    """Sums over segments that do not overlap, of rewards (T, N); segments that outlast their episode are left out."""
    count = len(rewards) // length
    if count == 0:
        raise ValueError(f"Segments of {length} steps do not fit into episodes of {len(rewards)}; choose shorter ones.")
    tiles = rewards[: count * length].reshape(count, length, -1)
    whole = running[: count * length].reshape(count, length, -1).all(axis=1)
    sums: NDArray[np.float64] = tiles.sum(axis=1)[whole]
    return sums


def _joined(observations: list[Observations]) -> Observations:
    """T batches (N, *obs) as (T * N, *obs)."""
    if isinstance(observations[0], Mapping):
        return {name: np.concatenate([each[name] for each in observations]) for name in observations[0]}
    return np.concatenate(observations)  # type: ignore[arg-type]
