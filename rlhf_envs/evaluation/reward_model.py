"""How well a reward model predicts answers, and how far it agrees with the true reward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.episodes import FIRST_SEED, Transition, make_copies, play
from rlhf_envs.evaluation.measurements import Measurements
from rlhf_envs.evaluation.policies import AnyPolicy, MixedPolicy, bind
from rlhf_envs.kinds import KINDS
from rlhf_envs.observations import Transitions, concatenate_observations, named_arrays
from rlhf_envs.queries import DEMONSTRATOR, AccuracySource, LiveAnswer, Purpose
from rlhf_envs.rewards import (
    PreferenceDataset,
    RewardEnsemble,
    calibration,
    correlation,
    predict_answers,
    predict_out_of_fold,
)
from rlhf_envs.rewards.metrics import Calibration, Correlation, Predictions, PreferenceMetrics
from rlhf_envs.wrappers.rewards import rewards_of

if TYPE_CHECKING:
    from rlhf_envs.feedback import PreferenceStore

REWARD_MODEL, CORRELATION = "the reward model", "the correlation of learned and true reward"
"""By which names `Measurements.missing` knows them."""

_SCORED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class TermCorrelation:
    """How far rewards rise and fall with one named term of the true reward, over steps (Pearson); NaN for a constant.

    Attributes:
        learned: correlation of the learned reward with the term.
        true: that of the true reward, which a perfect model would reach.
    """

    learned: float
    true: float


@dataclass(frozen=True, eq=False)
class RewardAgreement:
    """How a learned reward agrees with the true one.

    Attributes:
        true_steps, learned_steps: the rewards of all steps, (S,) each.
        true_segments, learned_segments: sums over segments that do not overlap, (M,) each.
        steps, segments: their correlations.
        terms: correlations with each named term, by name; empty where none are named.
    """

    true_steps: NDArray[np.float64]
    learned_steps: NDArray[np.float64]
    true_segments: NDArray[np.float64]
    learned_segments: NDArray[np.float64]
    steps: Correlation
    segments: Correlation
    terms: Mapping[str, TermCorrelation] = field(default_factory=dict)

    @property
    def is_constant(self) -> str:
        """Which reward is the same in all steps, so that the other cannot correlate with it, as a sentence; or "".

        CartPole, for one, pays 1 for every step.
        """
        for name, rewards in (("true", self.true_steps), ("learned", self.learned_steps)):
            if not np.ptp(rewards):
                return f"the {name} reward is the same in all steps."
        return ""


@dataclass(frozen=True)
class ModelScores:
    """How well a reward model predicts answers, and whether its probabilities are calibrated.

    Attributes:
        scores, calibration: of its predictions.
        source: where these come from, see `Predictions`.
    """

    scores: PreferenceMetrics
    calibration: Calibration
    source: AccuracySource = AccuracySource.HELD_OUT

    @classmethod
    def of(cls, found: Predictions) -> ModelScores:
        """The scores of a reward model's predictions."""
        return cls(found.metrics, calibration(found.predicted, found.labels), found.source)

    def to_metrics(self) -> dict[str, Any]:
        """As figures for metrics.json: `test_accuracy` and so on; None where there is no answer to tell."""
        return {
            "accuracy_from": self.source,
            **{f"test_{name}": value for name, value in _known(self.scores).items()},
            "calibration_error": None if np.isnan(self.calibration.expected_error) else self.calibration.expected_error,
            "calibration": [asdict(one) for one in self.calibration.bins],
        }


def predict_stored(
    ensemble: RewardEnsemble, store: PreferenceStore, dataset: PreferenceDataset | None = None
) -> Predictions:
    """What a reward model says to the answers that it was learned from: to held-out ones, or out of fold.

    Args:
        ensemble: the reward model.
        store: the answers; where none of them are held out, those to train on count, each predicted by the members that
            did not train on it.
        dataset: what the model was trained on, if that is at hand; otherwise it is read from the store.
    """
    held_out = store.live_answers(Purpose.TEST)
    if held_out:
        return predict_answers(ensemble, held_out, store)
    if dataset is None:
        dataset = PreferenceDataset(ensemble.encoder)
        dataset.add_answers((answer for answer in store.live_answers(Purpose.TRAIN) if answer.kind in KINDS), store)
    return predict_out_of_fold(ensemble, dataset)


def agreement_with_truth(answers: Iterable[LiveAnswer], store: PreferenceStore) -> dict[str, tuple[int, int]]:
    """How many preferences the true return of the segments bears out, and of how many, by annotator.

    A ranking counts as all of its comparisons. Ties, skips, and segments of equal true return say nothing; where the
    true reward is not known and 0 throughout, nobody has any.

    Args:
        answers: of any kinds.
        store: the segments.
    """
    found: dict[str, tuple[int, int]] = {}
    for answer in answers:
        if answer.kind not in KINDS or answer.annotator == DEMONSTRATOR:
            continue
        implied = KINDS[answer.kind].implied_comparisons(answer.choice, answer.payload, len(answer.segment_ids))
        decided = [(first, second, label) for first, second, label in implied if label in (0, 1)]
        returns = [segment.true_rewards.sum() for segment in store.segments(answer.segment_ids)] if decided else []
        for first, second, second_better in decided:
            difference = returns[second] - returns[first]
            if difference:
                right, cases = found.get(answer.annotator, (0, 0))
                found[answer.annotator] = right + int((difference > 0) == (second_better == 1)), cases + 1
    return found


def reward_correlation(
    ensemble: RewardEnsemble,
    policy: AnyPolicy,
    environment: EnvironmentRef | str,
    *,
    segment_length: int,
    episodes: int = 20,
) -> dict[str, RewardAgreement]:
    """Compare the learned with the true reward on fresh rollouts.

    Args:
        ensemble: the reward model.
        policy: whose rollouts.
        segment_length: steps in a segment.
        environment, episodes: as in `evaluate`.

    Returns:
        "policy": on rollouts of the policy, which vary little; and "mixture": on rollouts between the policy's and
        random behaviour (`MixedPolicy`), which say more about the reward as such.

    Raises:
        ValueError: as `evaluate`; or if even the longest episodes are shorter than a segment.
    """
    agreements = {}
    horizon = EnvironmentRef.of(environment).episode_length()
    for name, acting in (("policy", policy), ("mixture", MixedPolicy(policy, FIRST_SEED))):
        with closing(make_copies(environment, episodes)) as copies:
            agreements[name] = _agreement(
                ensemble, play(bind(acting, copies), copies, FIRST_SEED), segment_length, horizon
            )
    return agreements


def learned_return(
    ensemble: RewardEnsemble, policy: AnyPolicy, environment: EnvironmentRef | str, *, episodes: int = 50
) -> float:
    """What a policy earns in an episode by a reward model, on average.

    Args:
        ensemble: the reward model.
        policy, environment, episodes: as in `evaluate`.

    Raises:
        ValueError: as `evaluate`.
    """
    total = 0.0
    with closing(make_copies(environment, episodes)) as copies:
        for transition in play(bind(policy, copies), copies, FIRST_SEED):
            total += float(_rewards(ensemble, [transition])[transition.running].sum())
    return total / episodes


def measured_correlation(
    measurements: Measurements,
    ensemble: RewardEnsemble,
    policy: AnyPolicy,
    environment: EnvironmentRef | str,
    segment_length: int,
) -> dict[str, RewardAgreement] | None:
    """`reward_correlation`, or None where it cannot be measured; `measurements` has the reason.

    It also says why there is no correlation where one of the rewards is constant.
    """
    agreements = measurements.take(
        CORRELATION, lambda: reward_correlation(ensemble, policy, environment, segment_length=segment_length)
    )
    if agreements is not None and (constant := agreements["mixture"].is_constant):
        measurements.missing[CORRELATION] = constant
    return agreements


def correlation_metrics(agreements: Mapping[str, RewardAgreement]) -> dict[str, Any]:
    """What `reward_correlation` found as figures for metrics.json; None where a reward is the same everywhere."""
    return {
        "reward_correlation": _known(agreements["mixture"].steps)["pearson"],
        "reward_correlations": {
            rollouts: {"steps": _known(agreement.steps), "segments": _known(agreement.segments)}
            for rollouts, agreement in agreements.items()
        },
        "term_correlations": {
            rollouts: {name: _known(found) for name, found in agreement.terms.items()}
            for rollouts, agreement in agreements.items()
        },
    }


def _known(found: object) -> dict[str, Any]:
    """The figures of a dataclass, with None for NaN."""
    return {name: None if np.isnan(value) else value for name, value in asdict(found).items()}  # type: ignore[call-overload]


def _agreement(
    ensemble: RewardEnsemble, transitions: Iterable[Transition], segment_length: int, horizon: int
) -> RewardAgreement:
    rows, rewards, terms = [], [], []
    played: list[Transition] = []
    for transition in transitions:
        rows.append((transition.running, transition.result.true_rewards))
        terms.append(transition.result.terms)
        played.append(transition)
        # Whole rollouts of pictures would fill the memory.
        if len(played) * sum(array.nbytes for _, array in named_arrays(transition.observations)) > _SCORED_BYTES:
            rewards.append(_rewards(ensemble, played))
            played = []
    if played:
        rewards.append(_rewards(ensemble, played))
    running, true = (np.stack(parts) for parts in zip(*rows, strict=True))
    learned = np.concatenate(rewards).reshape(true.shape)
    # After its end an episode is worth nothing more, to the learner as in truth.
    learned[~running] = 0
    true_segments = _segment_sums(true, running, segment_length, horizon)
    learned_segments = _segment_sums(learned, running, segment_length, horizon)
    true_steps, learned_steps = true[running], learned[running]
    by_term = {}
    for name in dict.fromkeys(name for named in terms for name in named):
        # A term that an environment names only now and then was 0 otherwise.
        term = np.stack([named.get(name, np.zeros(true.shape[1])) for named in terms])[running]
        by_term[name] = TermCorrelation(*(correlation(reward, term).pearson for reward in (learned_steps, true_steps)))
    return RewardAgreement(
        true_steps,
        learned_steps,
        true_segments,
        learned_segments,
        correlation(learned_steps, true_steps),
        correlation(learned_segments, true_segments),
        by_term,
    )


def _rewards(ensemble: RewardEnsemble, played: Sequence[Transition]) -> NDArray[np.float64]:
    """The learned rewards of some steps of N copies, (steps * N,)."""
    transitions = Transitions(
        concatenate_observations([transition.observations for transition in played]),
        np.concatenate([transition.actions for transition in played]),
        concatenate_observations([transition.result.observations for transition in played]),
        np.concatenate([transition.result.done for transition in played]),
        np.concatenate([transition.result.terminated for transition in played]),
    )
    return rewards_of(ensemble, transitions).astype(np.float64)


def _segment_sums(
    rewards: NDArray[np.float64], running: NDArray[np.bool_], length: int, horizon: int
) -> NDArray[np.float64]:
    """Sums over segments that do not overlap, of rewards (T, N).

    Where an episode has ended early, its last segment goes on beyond the end; the horizon cuts off what does not fit.
    """
    count = min(-(-len(rewards) // length), horizon // length)
    if count == 0:
        raise ValueError(f"Segments of {length} steps do not fit into episodes of {horizon}; choose shorter ones.")
    missing = max(count * length - len(rewards), 0)
    tiles = np.pad(rewards, ((0, missing), (0, 0)))[: count * length].reshape(count, length, -1)
    sums: NDArray[np.float64] = tiles.sum(axis=1)[running[: count * length : length]]
    return sums
