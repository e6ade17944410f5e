import time

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy.special import ndtr

from rlhf_envs.observations import Transitions
from rlhf_envs.rewards import EnsembleConfig, FitConfig, PreferenceDataset, RewardEnsemble, correlation, fit
from rlhf_envs.rewards.resampling import RESAMPLING
from rlhf_envs.segments import Segment
from tests.rewards.learning import (
    ACTION_SPACE,
    OBSERVATION_SPACE,
    add_comparisons,
    add_rankings,
    agreement,
    flat_steps,
    new_problem,
    parameters_of,
    pendulum_segments,
    returns_of,
)

KEYS = np.random.default_rng(0).integers(0, 2**64, 10_000, dtype=np.uint64)


def test_a_hundred_comparisons_teach_a_reward_that_agrees_with_the_true_one_on_fresh_steps() -> None:
    ensemble, dataset = new_problem(100)
    report = fit(ensemble, dataset)
    observations, actions, true_rewards = flat_steps(pendulum_segments(200, seed=99))
    learned = ensemble.reward(observations, actions)
    assert correlation(learned, true_rewards).pearson > 0.85
    assert report.labels == 100
    assert report.held_out_accuracy > 0.75
    assert report.held_out_loss < np.log(2)


def test_a_category_of_many_values_does_not_take_the_credit_of_what_says_it_plainly() -> None:
    """Every value is seen a few times; one number beside it is all that the reward depends on."""

    def segments(count: int, seed: int) -> list[Segment]:
        rng = np.random.default_rng(seed)
        words, verdicts = rng.integers(500, size=(count, 15)), rng.integers(3, size=(count, 15))
        actions, rewards = rng.integers(4, size=(count, 15)), (verdicts - 1).astype(np.float32)
        return [Segment(*part) for part in zip(np.stack([words, verdicts], axis=2), actions, rewards, strict=True)]

    ensemble = RewardEnsemble(spaces.MultiDiscrete([500, 3]), spaces.Discrete(4))
    dataset, shown = PreferenceDataset(ensemble.encoder), segments(200, seed=0)
    for left, right in zip(shown[:100], shown[100:], strict=True):
        dataset.add(left, right, float(right.true_rewards.sum() > left.true_rewards.sum()))
    fit(ensemble, dataset)
    observations, actions, true_rewards = flat_steps(segments(500, seed=1))
    assert correlation(ensemble.reward(observations, actions), true_rewards).pearson > 0.95


def test_returns_perceived_with_normal_errors_teach_the_reward_too() -> None:
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(objective="probit"))
    dataset = PreferenceDataset(ensemble.encoder)
    add_comparisons(dataset, 60, seed=0)
    add_rankings(dataset, 10, seed=1)
    report = fit(ensemble, dataset)
    assert agreement(ensemble) > 0.85
    assert report.held_out_accuracy > 0.75
    # What it predicts follows from the objective.
    left, right = pendulum_segments(6, seed=3), pendulum_segments(6, seed=4)
    returns = [returns_of(ensemble, side) for side in (left, right)]
    expected = (0.05 + 0.9 * ndtr((returns[1] - returns[0]) / np.sqrt(2))).mean(axis=0)
    np.testing.assert_allclose(ensemble.probability_right(left, right), expected, rtol=1e-4)


def test_all_answers_reversed_teach_the_opposite_reward() -> None:
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE)
    dataset = PreferenceDataset(ensemble.encoder)
    segments = pendulum_segments(200, seed=0)
    for left, right in zip(segments[:100], segments[100:], strict=True):
        dataset.add(left, right, float(right.true_rewards.sum() < left.true_rewards.sum()))
    fit(ensemble, dataset)
    observations, actions, true_rewards = flat_steps(segments)
    assert correlation(ensemble.reward(observations, actions), true_rewards).pearson < -0.8


def test_fitting_twice_from_the_same_seed_gives_the_same_reward_bit_for_bit() -> None:
    first, second = new_problem(30), new_problem(30)
    for ensemble, dataset in (first, second):
        fit(ensemble, dataset)
        add_comparisons(dataset, 10, seed=5)
        fit(ensemble, dataset, fresh=False)
    for one, other in zip(parameters_of(first[0]), parameters_of(second[0]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first[0].scale == second[0].scale


def test_fitting_leaves_the_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    fit(*new_problem(5))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", RESAMPLING)
def test_later_labels_never_change_who_holds_out_earlier_ones(name: str) -> None:
    few, many = RESAMPLING[name](3, KEYS[:50], 5), RESAMPLING[name](3, KEYS[:500], 5)
    np.testing.assert_array_equal(few, many[:, :50])
    assert not np.array_equal(few, RESAMPLING[name](4, KEYS[:50], 5))


def test_folds_let_exactly_one_member_hold_out_each_label_and_a_bootstrap_about_one_in_e() -> None:
    assert ((RESAMPLING["folds"](0, KEYS[:1000], 5) == 0).sum(axis=0) == 1).all()
    bootstrap = RESAMPLING["bootstrap"](0, KEYS, 3)
    np.testing.assert_allclose((bootstrap == 0).mean(axis=1), np.exp(-1), atol=0.02)
    np.testing.assert_allclose(bootstrap.mean(axis=1), 1, atol=0.03)


def test_the_reward_has_zero_mean_and_unit_std_over_the_experience_it_is_normalised_on() -> None:
    ensemble, dataset = new_problem(20)
    fit(ensemble, dataset)
    observations, actions, _ = flat_steps(pendulum_segments(50, seed=7))
    ensemble.normalise(Transitions(observations, actions))
    members = ensemble.member_rewards(observations, actions)
    np.testing.assert_allclose(members.mean(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(members.std(axis=1), 1, atol=1e-3)
    reward = ensemble.reward(observations, actions)
    np.testing.assert_allclose([reward.mean(), reward.std()], [0, 1], atol=1e-3)


def test_the_spread_is_larger_far_from_what_was_compared() -> None:
    ensemble, dataset = new_problem(60)
    fit(ensemble, dataset)
    observations, actions, _ = flat_steps(pendulum_segments(50, seed=7))
    unseen = np.tile(np.array([[4.0, -4.0, 20.0]], np.float32), (len(actions), 1))
    assert ensemble.spread(unseen, actions).mean() > 1.5 * ensemble.spread(observations, actions).mean()


def test_segment_returns_are_the_log_odds_behind_the_predicted_probability() -> None:
    ensemble, dataset = new_problem(40)
    fit(ensemble, dataset)
    left, right = pendulum_segments(6, seed=3), pendulum_segments(6, seed=4)
    returns = [returns_of(ensemble, side) for side in (left, right)]
    expected = (0.05 + 0.9 / (1 + np.exp(returns[0] - returns[1]))).mean(axis=0)
    np.testing.assert_allclose(ensemble.probability_right(left, right), expected, rtol=1e-4)
    np.testing.assert_allclose(ensemble.probability_right(right, left), 1 - expected, rtol=1e-4)


def test_a_fit_that_goes_on_keeps_the_input_normaliser_and_so_what_was_learned() -> None:
    ensemble, dataset = new_problem(40)
    fit(ensemble, dataset)
    segments = pendulum_segments(20, seed=3)
    before = ensemble.probability_right(segments[:10], segments[10:])
    add_comparisons(dataset, 60, seed=8)
    fit(ensemble, dataset, FitConfig(learning_rate=1e-12), fresh=False)
    np.testing.assert_allclose(ensemble.probability_right(segments[:10], segments[10:]), before, atol=1e-4)


def test_an_additive_reward_needs_few_answers_where_many_inputs_count_each_by_itself() -> None:
    observation_space = spaces.Box(-np.inf, np.inf, (16,), np.float32)
    rng = np.random.default_rng(0)

    def segments(count: int) -> list[Segment]:
        observations = (rng.normal(size=(count, 1, 16)) + 0.3 * rng.normal(size=(count, 10, 16))).astype(np.float32)
        rewards = -np.abs(observations[..., :5]).sum(axis=-1)
        actions = np.zeros((count, 10, 1), np.float32)
        return [Segment(*arrays) for arrays in zip(observations, actions, rewards, strict=True)]

    asked, fresh = segments(120), segments(600)
    returns = np.array([segment.true_rewards.sum() for segment in fresh])
    right = returns[1::2] > returns[::2]

    def accuracy(additive: bool) -> float:
        ensemble = RewardEnsemble(observation_space, ACTION_SPACE, EnsembleConfig(additive=additive))
        dataset = PreferenceDataset(ensemble.encoder)
        for one, other in zip(asked[::2], asked[1::2], strict=True):
            dataset.add(one, other, float(other.true_rewards.sum() > one.true_rewards.sum()))
        fit(ensemble, dataset)
        return float(((ensemble.probability_right(fresh[::2], fresh[1::2]) > 0.5) == right).mean())

    assert accuracy(True) > accuracy(False) + 0.1


def test_one_comparison_or_only_ties_can_be_fitted_and_give_finite_rewards() -> None:
    for answer in (1.0, 0.5):
        ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE)
        dataset = PreferenceDataset(ensemble.encoder)
        left, right = pendulum_segments(2, seed=0)
        dataset.add(left, right, answer)
        fit(ensemble, dataset)
        assert np.isfinite(ensemble.reward(left.observations, left.actions)).all()


def test_a_label_of_weight_zero_teaches_nothing() -> None:
    ensemble, dataset = new_problem(30)
    twin, same = new_problem(30)
    left, right = pendulum_segments(2, seed=77)
    dataset.add(left, right, 0.0, weight=0.0)
    same.add(left, right, 1.0, weight=0.0)
    fit(ensemble, dataset)
    fit(twin, same)
    for one, other in zip(parameters_of(ensemble), parameters_of(twin), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_segment_in_many_comparisons_is_stored_once() -> None:
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE)
    dataset = PreferenceDataset(ensemble.encoder)
    segments = pendulum_segments(10, seed=0)
    for left in segments:
        for right in segments:
            dataset.add(left, right, 0.5)
    assert len(dataset) == 100
    assert dataset.steps.vector.shape == (10, 25, 4)


def test_pictures_teach_a_reward_too() -> None:
    rng = np.random.default_rng(0)
    space = spaces.Box(0, 255, (16, 16, 3), np.uint8)
    ensemble = RewardEnsemble(space, spaces.Discrete(2), EnsembleConfig(members=2, hidden=(16,)))
    dataset = PreferenceDataset(ensemble.encoder)

    def segment() -> Segment:
        brightness = rng.integers(0, 200, size=(4, 1, 1, 1))
        pictures = (brightness + rng.integers(0, 50, size=(4, 16, 16, 3))).astype(np.uint8)
        return Segment(pictures, rng.integers(0, 2, size=4), brightness.ravel().astype(np.float32))

    for _ in range(40):
        left, right = segment(), segment()
        dataset.add(left, right, float(right.true_rewards.sum() > left.true_rewards.sum()))
    fit(ensemble, dataset)
    fresh = [segment() for _ in range(40)]
    observations, actions, true_rewards = flat_steps(fresh)
    assert correlation(ensemble.reward(observations, actions), true_rewards).pearson > 0.8


def test_a_fit_to_few_labels_starts_afresh() -> None:
    ensemble, dataset = new_problem(10)
    fit(ensemble, dataset)
    add_comparisons(dataset, 1, seed=1)
    fit(ensemble, dataset)
    assert ensemble.labels_at_fresh_start == 11


def test_with_many_labels_a_fit_starts_afresh_when_they_have_grown_by_half_and_otherwise_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rlhf_envs.rewards.fitting.ALWAYS_FRESH_UP_TO", 0)
    ensemble, dataset = new_problem(10)
    first = fit(ensemble, dataset)
    add_comparisons(dataset, 4, seed=1)
    went_on = fit(ensemble, dataset)
    add_comparisons(dataset, 1, seed=2)
    afresh = fit(ensemble, dataset)
    assert went_on.steps <= 0.4 * 160 < first.steps
    assert ensemble.labels_at_fresh_start == afresh.labels == 15


def test_a_fit_to_very_many_labels_takes_no_more_steps_than_allowed() -> None:
    ensemble, dataset = new_problem(64)
    config = FitConfig(batch=4, steps=20, epochs=8, most_steps=50)
    assert fit(ensemble, dataset, config, fresh=True).steps == 50
    assert fit(ensemble, dataset, config, fresh=False).steps == 20
    assert fit(ensemble, dataset, FitConfig(batch=4, steps=20, epochs=2, most_steps=50), fresh=True).steps == 32


def test_segments_read_back_from_bytes_fit_and_reward_as_the_originals() -> None:
    rng = np.random.default_rng(0)
    space = spaces.Dict({"camera": spaces.Box(0, 255, (12, 12), np.uint8), "gear": spaces.Discrete(3)})
    originals = [
        Segment(
            {"camera": rng.integers(0, 256, (4, 12, 12), np.uint8), "gear": rng.integers(0, 3, 4)},
            rng.integers(0, 2, 4),
            np.zeros(4, np.float32),
        )
        for _ in range(6)
    ]
    results = []
    for segments in (originals, [Segment.from_bytes(segment.to_bytes()) for segment in originals]):
        ensemble = RewardEnsemble(space, spaces.Discrete(2), EnsembleConfig(members=2, hidden=(8,)))
        dataset = PreferenceDataset(ensemble.encoder)
        for left, right in zip(segments[:3], segments[3:], strict=True):
            dataset.add(left, right, 1.0)
        fit(ensemble, dataset, FitConfig(steps=10))
        results.append(ensemble.probability_right(segments[:3], segments[3:]))
        results.append(ensemble.reward(segments[0].observations, segments[0].actions))
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])


def test_bad_labels_lengths_and_settings_are_refused_in_one_sentence() -> None:
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE)
    dataset = PreferenceDataset(ensemble.encoder)
    left, right = pendulum_segments(2, seed=0)
    short = Segment(left.observations[:5], left.actions[:5], left.true_rewards[:5])  # type: ignore[index]
    broken = Segment(left.observations * np.float32("nan"), left.actions, left.true_rewards)  # type: ignore[operator]
    with pytest.raises(ValueError, match="at least one answer"):
        fit(ensemble, dataset)
    with pytest.raises(ValueError, match=r"probability in \[0, 1\]"):
        dataset.add(left, right, 2.0)
    with pytest.raises(ValueError, match="weight"):
        dataset.add(left, right, 1.0, weight=-1.0)
    with pytest.raises(ValueError, match="one length, here 25"):
        dataset.add(left, short, 1.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        dataset.add(left, broken, 1.0)
    assert len(dataset) == 0
    with pytest.raises(ValueError, match="no objective 'hinge'; choose one of bradley_terry, probit"):
        RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(objective="hinge"))
    with pytest.raises(ValueError, match="at least one member"):
        EnsembleConfig(members=0)


def test_rewarding_a_step_costs_microseconds() -> None:
    ensemble = RewardEnsemble(spaces.Box(-1, 1, (30,)), spaces.Box(-1, 1, (4,)))
    observations, actions = np.zeros((8192, 30), np.float32), np.zeros((8192, 4), np.float32)
    ensemble.reward(observations, actions)
    started = time.perf_counter()
    ensemble.reward(observations, actions)
    assert (time.perf_counter() - started) / 8192 < 50e-6
