"""How well a reward model predicts held-out answers, and how far it agrees with the true reward."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.episodes import FIRST_SEED, Transition, make_copies, play
from rlhf_envs.evaluation.policies import AnyPolicy, MixedPolicy, bind
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.kinds import Comparison
from rlhf_envs.observations import concatenate_observations
from rlhf_envs.queries import LiveAnswer, Purpose
from rlhf_envs.rewards import RewardEnsemble, calibration, correlation, preference_metrics
from rlhf_envs.rewards.metrics import Calibration, Correlation, PreferenceMetrics

_AT_ONCE = 50


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


@dataclass(frozen=True)
class ModelScores:
    """How well a reward model predicts answers, and whether its probabilities are calibrated."""

    scores: PreferenceMetrics
    calibration: Calibration

    @classmethod
    def of(cls, predicted: NDArray[np.float32], labels: NDArray[np.float64]) -> ModelScores:
        """The scores of what `predictions` returned."""
        return cls(preference_metrics(predicted, labels), calibration(predicted, labels))


def reward_correlation(
    ensemble: RewardEnsemble,
    policy: AnyPolicy,
    environment: EnvironmentRef | str,
    *,
    segment_length: int,
    episodes: int = 20,
    seed: int = FIRST_SEED,
) -> dict[str, RewardAgreement]:
    """Compare the learned with the true reward on fresh rollouts.

    Args:
        ensemble: the reward model.
        policy: whose rollouts.
        segment_length: steps in a segment.
        environment, episodes, seed: as in `evaluate`.

    Returns:
        "policy": on rollouts of the policy, which vary little; and "mixture": on rollouts between the policy's and
        random behaviour (`MixedPolicy`), which say more about the reward as such.

    Raises:
        ValueError: as `evaluate`; or if episodes are shorter than a segment.
    """
    agreements = {}
    for name, acting in (("policy", policy), ("mixture", MixedPolicy(policy, seed))):
        with closing(make_copies(environment, episodes)) as copies:
            transitions = list(play(bind(acting, copies), copies, seed))
        agreements[name] = _agreement(ensemble, transitions, segment_length)
    return agreements


def predictions(
    store: PreferenceStore, ensemble: RewardEnsemble, answers: Sequence[LiveAnswer]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The reward model's predictions of stored comparisons; others are left out.

    Returns:
        The predicted probability that right is better, and the answer (0 left, 1 right, 0.5 a tie, NaN a skip), each
        (comparisons,).
    """
    compared = [live for live in answers if live.kind == Comparison.name and live.choice is not None]
    predicted = [np.zeros(0, dtype=np.float32)]
    # In parts, because segments may hold pictures.
    for begin in range(0, len(compared), _AT_ONCE):
        part = compared[begin : begin + _AT_ONCE]
        sides = [store.segments(live.segment_ids[side] for live in part) for side in (0, 1)]
        predicted.append(ensemble.probability_right(*sides))
    labels = [live.choice.probability_right for live in compared if live.choice is not None]
    return np.concatenate(predicted), np.array(labels, dtype=np.float64)


def held_out_predictions(
    store: PreferenceStore, ensemble: RewardEnsemble
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The `predictions` of the answers that were held out to test the reward model; those taken back do not count."""
    return predictions(store, ensemble, store.live_answers(Purpose.TEST))


def test_scores(store: PreferenceStore, ensemble: RewardEnsemble) -> PreferenceMetrics | None:
    """How well the reward model predicts the held-out answers; None where none of them is decided."""
    scores = preference_metrics(*held_out_predictions(store, ensemble))
    return scores if scores.decided else None


def _agreement(ensemble: RewardEnsemble, transitions: list[Transition], segment_length: int) -> RewardAgreement:
    running = np.stack([transition.running for transition in transitions])
    true = np.stack([transition.result.true_rewards for transition in transitions])
    actions = np.concatenate([transition.actions for transition in transitions])
    observations = concatenate_observations([transition.observations for transition in transitions])
    learned = np.asarray(ensemble.reward(observations, actions), dtype=np.float64).reshape(true.shape)
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
