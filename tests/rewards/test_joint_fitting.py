"""Reward and reliability estimated from each other, on answers of which some are wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents.presets import ensemble_for
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import Choice, PreferenceStore, Query, Submission
from rlhf_envs.kinds import Judgement, TeacherConfig
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import EnsembleConfig, FitConfig, PreferenceDataset, RewardEnsemble, fit
from rlhf_envs.rewards.joint_fitting import (
    estimate_from_answers,
    estimate_from_held_out,
    fit_with_reliability,
    held_out_differences,
)
from rlhf_envs.segments import Segment
from tests.rewards.learning import ACTION_SPACE, OBSERVATION_SPACE, ONE_FORM, new_problem, pendulum_segments

EACH = 200
Pair = tuple[Segment, Segment]


def rollout_pairs(count: int, seed: int, env_id: str) -> tuple[Any, Any, list[Pair]]:
    """Spaces, and pairs of segments from copies that act between at random and as the scripted expert."""
    copies = 48
    env = gym.make_vec(env_id, num_envs=copies)
    recorder = SegmentRecorder(env.single_observation_space, env.single_action_space, copies, 240)
    rng = np.random.default_rng(seed)
    env.action_space.seed(seed)
    observations, _ = env.reset(seed=seed)
    at_random = env.action_space.sample()
    for _ in range(240):
        expert, fresh = np.asarray(env.unwrapped.expert_action()), env.action_space.sample()
        row = (slice(None),) + (None,) * (expert.ndim - 1)
        at_random = np.where((rng.random(copies) < 0.7)[row], at_random, fresh)
        acts_well = rng.random(copies) < np.linspace(0, 1, copies)
        actions = np.where(acts_well[row], expert, at_random).astype(fresh.dtype)
        following, rewards, terminated, truncated, _ = env.step(actions)
        recorder.record(observations, actions, rewards, terminated | truncated)
        observations = following
    windows = recorder.sample_windows(2 * count, 15, rng)
    segments = [recorder.segment(windows, index) for index in range(2 * count)]
    spaces = env.single_observation_space, env.single_action_space
    env.close()
    return *spaces, list(zip(segments[:count], segments[count:], strict=True))


def answers_of_three(pairs: list[Pair], seed: int) -> list[tuple[Pair, str, Choice, Choice]]:
    """Pair, annotator, answer and right answer: an oracle, one who errs in 30%, and one who always says left."""
    oracle = Judgement(TeacherConfig())
    careless = Judgement(TeacherConfig(mistake=0.3, seed=seed))
    given = []
    for number, pair in enumerate(pairs):
        query = Query(str(number), 0, pair)
        annotator = ("oracle", "careless", "lefty")[number % 3]
        right = oracle.compare(query)
        said = {"oracle": right, "careless": careless.compare(query), "lefty": Choice.LEFT}[annotator]
        given.append((pair, annotator, said, right))
    return given


def accuracy(ensemble: RewardEnsemble, pairs: list[Pair]) -> float:
    right_is_better = np.array([right.true_rewards.sum() > left.true_rewards.sum() for left, right in pairs])
    predicted = ensemble.probability_right([left for left, _ in pairs], [right for _, right in pairs])
    return float(((predicted > 0.5) == right_is_better).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env_id", "seed"),
    [("rlhf/Driving-v1", 0), ("rlhf/Driving-v1", 1), ("rlhf/Driving-v1", 2), ("rlhf/Recommender-v1", 0)],
)
def test_error_rates_are_right_within_6_points_from_200_answers_each(env_id: str, seed: int) -> None:
    observation_space, action_space, pairs = rollout_pairs(3 * EACH + 300, seed, env_id)
    answers = answers_of_three(pairs[: 3 * EACH], seed)
    config = replace(ensemble_for(EnvironmentRef(env_id)), members=15, potential=False)
    ensemble, knowing, trusting = (RewardEnsemble(observation_space, action_space, config, seed) for _ in range(3))
    dataset = PreferenceDataset(ensemble.encoder)
    for (left, right), annotator, said, _ in answers:
        dataset.add(left, right, float(said is Choice.RIGHT), annotator=annotator)
    # Of penalties a fit that trusts everybody takes more, and learns little from wrong answers either way.
    free = FitConfig(group_lasso=0, ridge=0)
    fit(trusting, dataset, free)
    fit_with_reliability(knowing, dataset, free)
    fit_with_reliability(ensemble, dataset)
    found = estimate_from_held_out(ensemble, dataset)
    # Of 200 answers that are wrong with probability 0.3, 0.3 +- 0.03 are: what can be found is what happened, within
    # two standard errors of a rate that is estimated from so many.
    happened = np.mean([said is not right for _, annotator, said, right in answers if annotator == "careless"])
    assert found["oracle"].error_rate < 0.05
    assert found["careless"].error_rate == pytest.approx(happened, abs=0.06)
    assert found["lefty"].error_rate == pytest.approx(0.5, abs=0.06)
    assert accuracy(knowing, pairs[3 * EACH :]) > accuracy(trusting, pairs[3 * EACH :])


def mixed_dataset(ensemble: RewardEnsemble, count: int = 240) -> PreferenceDataset:
    segments = pendulum_segments(2 * count, seed=1)
    dataset = PreferenceDataset(ensemble.encoder)
    for (left, right), annotator, said, _ in answers_of_three(list(zip(segments[::2], segments[1::2], strict=True)), 3):
        dataset.add(left, right, float(said is Choice.RIGHT), annotator=annotator)
    return dataset


def test_a_joint_fit_tells_a_careless_annotator_from_a_careful_one() -> None:
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, ONE_FORM)
    dataset = mixed_dataset(ensemble)
    report = fit_with_reliability(ensemble, dataset)
    rates = {name: estimate.error_rate for name, estimate in dataset.reliability.items()}
    assert rates["oracle"] < 0.12 < 0.18 < rates["careless"] < 0.42 < rates["lefty"]
    assert report.labels == 240


def test_a_joint_fit_does_not_depend_on_what_was_believed_before() -> None:
    results = []
    for before in (0, 1):
        ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, ONE_FORM)
        dataset = mixed_dataset(ensemble, 90)
        if before:
            fit_with_reliability(RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, ONE_FORM, seed=5), dataset)
            assert dataset.reliability
        results.append(fit_with_reliability(ensemble, dataset, rounds=1).train_loss)
    assert results[0] == results[1]


def test_held_out_predictions_are_those_of_the_member_that_did_not_train_on_the_label() -> None:
    ensemble, dataset = new_problem(60)
    fit(ensemble, dataset)
    rows = dataset.labels("comparison").rows
    returns = ensemble.encoded_returns(dataset.flat_steps, dataset.segment_length or 0)
    by_member = returns[:, rows[:, 1]] - returns[:, rows[:, 0]]
    found = held_out_differences(ensemble, dataset)
    distance = np.abs(by_member - found).min(axis=0)
    assert (distance < 1e-3).all()
    assert len(set(np.abs(by_member - found).argmin(axis=0))) == 7


def test_one_member_alone_predicts_only_what_it_held_out() -> None:
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(members=1, potential=False))
    dataset = mixed_dataset(ensemble, 60)
    fit(ensemble, dataset)
    known = np.isfinite(held_out_differences(ensemble, dataset))
    assert 0 < known.sum() < 30
    assert sum(one.answers for one in estimate_from_held_out(ensemble, dataset).values()) == known.sum()


def test_reliability_is_estimated_from_a_store_alone(tmp_path: Path) -> None:
    segments = pendulum_segments(120, seed=2)
    with PreferenceStore.create(tmp_path / "feedback.db") as store:
        pairs = list(zip(segments[::2], segments[1::2], strict=True))
        ids = store.ask([Query(str(number), 0, pair) for number, pair in enumerate(pairs)])
        given = answers_of_three(pairs, 0)
        for id, (_, who, _, _) in zip(ids, given, strict=True):
            store.assign(who, [id])
        store.answer_many([Submission(id, who, said) for id, (_, who, said, _) in zip(ids, given, strict=True)])
        found = estimate_from_answers(
            store.live_answers(), store, RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, ONE_FORM)
        )
        assert {name: one.answers for name, one in found.items()} == {"oracle": 20, "careless": 20, "lefty": 20}
        assert found["oracle"].error_rate < found["lefty"].error_rate


def test_a_store_without_comparisons_gives_no_estimates(tmp_path: Path) -> None:
    with PreferenceStore.create(tmp_path / "feedback.db") as store:
        assert (
            estimate_from_answers(
                store.live_answers(), store, RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, ONE_FORM)
            )
            == {}
        )


def test_no_rounds_are_refused() -> None:
    ensemble, dataset = new_problem(4)
    with pytest.raises(ValueError, match="at least 1 round, not 0"):
        fit_with_reliability(ensemble, dataset, rounds=0)
