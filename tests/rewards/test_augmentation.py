"""What a fit makes of the answers beyond the answers themselves, and that each of it costs nothing when it is off."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from rlhf_envs.objectives import BradleyTerry
from rlhf_envs.rewards import EnsembleConfig, FitConfig, PreferenceDataset, RewardEnsemble, fit
from rlhf_envs.rewards.encoding import Encoded
from rlhf_envs.rewards.unlabelled import PseudoLabels
from rlhf_envs.segments import Segment
from tests.rewards.learning import (
    ACTION_SPACE,
    OBSERVATION_SPACE,
    STEPS,
    add_comparisons,
    add_ratings,
    agreement,
    flat_steps,
    new_ensemble,
    new_problem,
    parameters_of,
    pendulum_segments,
)


def counted_segments(count: int) -> list[Segment]:
    """Segments that observe their own number and that of the step, and are the better the higher their number is."""
    numbers = np.repeat(np.arange(count, dtype=np.float32)[:, None], STEPS, axis=1)
    steps = np.tile(np.arange(STEPS, dtype=np.float32), (count, 1))
    observations = np.stack([numbers, steps, 0 * steps], axis=2)
    return [Segment(seen, np.zeros((STEPS, 1), np.float32), seen[:, 0]) for seen in observations]


def unlabelled(ensemble: RewardEnsemble, count: int = 64, seed: int = 50) -> Encoded:
    """Segments that no answer is about."""
    observations, actions, _ = flat_steps(pendulum_segments(count, seed))
    return ensemble.encoder.encode(observations, actions).unflatten(count, STEPS)


def same_parameters(one: RewardEnsemble, other: RewardEnsemble) -> bool:
    return all(map(np.array_equal, parameters_of(one), parameters_of(other)))


def fitted(config: FitConfig, labels: int = 30, **given: Any) -> RewardEnsemble:
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(3, (32,)))
    dataset = PreferenceDataset(ensemble.encoder)
    add_comparisons(dataset, labels, seed=0)
    fit(ensemble, dataset, config, **given)
    return ensemble


def ends_after(lived: int, segment: Segment) -> Segment:
    """The same where the episode ends after so many steps, each of which is worth 1."""
    ended = np.arange(STEPS) >= lived
    shown = np.where(ended[:, None], 0, segment.observations).astype(np.float32)
    acted = np.where(ended[:, None], 0, segment.actions).astype(np.float32)
    return Segment(shown, acted, (~ended).astype(np.float32), absorbing=ended)


def ending_problem() -> tuple[RewardEnsemble, PreferenceDataset]:
    """Whoever ends earlier is worse."""
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(3, (16,)), absorbing=True)
    dataset = PreferenceDataset(ensemble.encoder)
    rng = np.random.default_rng(0)
    segments = pendulum_segments(80, seed=0)
    for left, right in zip(segments[:40], segments[40:], strict=True):
        short, long = rng.integers(1, 4), rng.integers(12, STEPS + 1)
        dataset.add(ends_after(short, left), ends_after(long, right), 1.0)
    return ensemble, dataset


def trained_on(ensemble: RewardEnsemble, dataset: PreferenceDataset, config: FitConfig) -> list[np.ndarray]:
    """The inputs (steps, columns) of each step of the optimiser in a fit that goes on, in their own units."""
    fit(ensemble, dataset, FitConfig(steps=1, epochs=1))
    inputs: list[np.ndarray] = []

    def look(network: Any, given: tuple[Tensor, ...], rewards: Tensor) -> None:
        if rewards.requires_grad:
            inputs.append((given[0] * ensemble.input_std + ensemble.input_mean).detach().numpy())

    hook = ensemble.network.register_forward_hook(look)
    fit(ensemble, dataset, config, fresh=False)
    hook.remove()
    return inputs


def test_every_step_of_the_optimiser_sees_windows_of_one_length_each_at_a_place_of_its_own() -> None:
    ensemble, dataset = new_ensemble()
    segments = counted_segments(16)
    for left, right in zip(segments[::2], segments[1::2], strict=True):
        dataset.add(left, right, 1.0)
    inputs = trained_on(ensemble, dataset, FitConfig(steps=100, crop=0.4))
    assert len(inputs) == 40
    lengths = set()
    for steps in inputs:
        windows = steps.reshape(16, -1, 4).round().astype(int)
        lengths.add(windows.shape[1])
        assert (windows[:, :, 0] == windows[:, :1, 0]).all(), "a window is of one segment"
        assert (np.diff(windows[:, :, 1]) == 1).all(), "its steps follow each other"
        if windows.shape[1] < STEPS - 3:
            assert len(set(windows[:, 0, 1])) > 1
    assert min(lengths) >= 10 and max(lengths) <= STEPS and len(lengths) > 8


def test_without_cropping_whole_segments_are_seen_and_nothing_is_drawn_for_it() -> None:
    ensemble, dataset = new_problem(8)
    assert {len(steps) for steps in trained_on(ensemble, dataset, FitConfig(crop=1.0))} == {16 * STEPS}
    # Half a step of 25 less is no shorter a window, so nothing is drawn either.
    first, second = new_problem(20), new_problem(20)
    fit(*first, FitConfig(crop=1.0))
    fit(*second, FitConfig(crop=0.99))
    for one, other in zip(parameters_of(first[0]), parameters_of(second[0]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ratings_of_every_step_are_never_cut() -> None:
    ensemble, dataset = new_ensemble()
    add_ratings(dataset, 10, seed=0)
    inputs = trained_on(ensemble, dataset, FitConfig(crop=0.3))
    assert {len(steps) for steps in inputs} == {10 * STEPS}
    mixed, dataset = new_problem(60)
    add_ratings(dataset, 20, seed=1)
    fit(mixed, dataset, FitConfig(crop=0.3))
    assert agreement(mixed) > 0.85


def test_a_window_that_begins_after_the_end_of_an_episode_is_learned_from() -> None:
    """Most windows of the worse segments show nothing but the end."""
    ensemble, dataset = ending_problem()
    fit(ensemble, dataset, FitConfig(crop=0.2))
    assert ensemble.anchored
    lived = pendulum_segments(40, seed=1)
    rewards = ensemble.reward(
        np.concatenate([np.asarray(each.observations) for each in lived]),
        np.concatenate([each.actions for each in lived]),
    )
    assert (rewards > 0).mean() > 0.95


@pytest.mark.parametrize("crop", [0.0, 1.1, float("nan")])
def test_a_crop_of_nothing_or_of_more_than_a_segment_is_refused(crop: float) -> None:
    with pytest.raises(ValueError, match="crop must be above 0 and at most 1"):
        FitConfig(crop=crop)


def moves_explained(ensemble: RewardEnsemble) -> float:
    """R^2 of the best linear prediction, from the last hidden layers, of how fresh observations change in a step."""
    steps = unlabelled(ensemble, 100, seed=70)
    with torch.inference_mode():
        vector = ensemble.normalise_inputs(torch.from_numpy(steps.vector))
        rows = vector[:, :-1].flatten(0, 1)
        hidden = ensemble.network.hidden(rows, [], torch.zeros(len(rows), 0, dtype=torch.int64)).numpy()
    changes = (vector[:, 1:, :3] - vector[:, :-1, :3]).flatten(0, 1).numpy()
    explained = []
    for member in hidden:
        inputs = np.concatenate([member, np.ones((len(member), 1), np.float32)], axis=1)
        residual = changes - inputs @ np.linalg.lstsq(inputs, changes, rcond=None)[0]
        explained.append(1 - (residual.var(axis=0) / changes.var(axis=0)).mean())
    return float(np.mean(explained))


def narrow(dynamics: float, given: bool) -> RewardEnsemble:
    """Fitted with hidden layers that have no room for what nothing asks for."""
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(3, (16, 4)))
    dataset = PreferenceDataset(ensemble.encoder)
    add_comparisons(dataset, 20, seed=0)
    windows = unlabelled(ensemble) if given else None
    fit(ensemble, dataset, FitConfig(dynamics=dynamics), unlabelled=windows)
    return ensemble


def test_the_dynamics_loss_makes_the_hidden_layers_tell_how_the_environment_moves() -> None:
    without, labelled, more = narrow(0.0, True), narrow(1.0, False), narrow(1.0, True)
    assert moves_explained(labelled) > moves_explained(without) + 0.1
    assert moves_explained(more) > moves_explained(without) + 0.1
    assert not same_parameters(labelled, more)
    assert [each.shape for each in parameters_of(more)] == [each.shape for each in parameters_of(without)]


def test_nothing_moves_after_a_termination() -> None:
    """The jump to the absorbing state would be by far the largest change, and nothing tells when it comes."""
    ensemble, dataset = ending_problem()
    report = fit(ensemble, dataset, FitConfig(dynamics=1.0))
    assert np.isfinite(report.train_loss) and report.held_out_accuracy > 0.9
    alone = PreferenceDataset(ensemble.encoder)
    left, right = pendulum_segments(2, seed=0)
    alone.add(ends_after(1, left), ends_after(1, right), 1.0)
    assert np.isfinite(fit(ensemble, alone, FitConfig(dynamics=1.0)).train_loss)


def test_large_categories_alone_have_no_numbers_whose_change_could_be_predicted() -> None:
    ensemble = RewardEnsemble(spaces.Discrete(1000), spaces.Discrete(2), EnsembleConfig(2, (8,)))
    dataset = PreferenceDataset(ensemble.encoder)
    low, high = (Segment(np.full(4, category), np.zeros(4, np.int64), np.zeros(4, np.float32)) for category in (3, 700))
    dataset.add(low, high, 1.0)
    with pytest.raises(ValueError, match="set dynamics to 0"):
        fit(ensemble, dataset, FitConfig(dynamics=0.1))


def test_an_ensemble_answers_where_it_is_sure_and_its_members_agree() -> None:
    returns = torch.tensor([[0.0, 6.0, 0.1, 6.0], [0.0, 6.0, -0.1, -6.0], [0.0, 6.0, 0.1, 60.0]])
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(10, 14)
    labels = PseudoLabels(returns, rows, 0.95, BradleyTerry(), generator)
    seen: set[tuple[int, int, float]] = set()

    def rewards(segments: Tensor, steps: Tensor) -> Tensor:
        assert steps.shape == (len(segments), 3)
        left, right = segments.flatten().chunk(2)
        seen.update((int(one), int(other), 0.0) for one, other in zip(left, right, strict=True))
        return torch.zeros(3, len(segments), 3)

    for _ in range(20):
        labels.loss(rewards, 5, 3, generator)
    # Only the second segment is better than the first and the third to everybody; about the fourth members disagree.
    assert seen and {frozenset(pair[:2]) for pair in seen} <= {frozenset({10, 11}), frozenset({11, 12})}
    better = {segment: 4.0 if segment == 11 else 0.0 for segment in range(10, 14)}

    def loss_if(sign: float) -> float:
        def of(segments: Tensor, steps: Tensor) -> Tensor:
            values = [sign * better[int(segment)] for segment in segments.flatten()]
            return torch.tensor(values)[None, :, None].expand(3, -1, 3)

        return float(labels.loss(of, 5, 3, generator))

    assert loss_if(1.0) < 0.1 * loss_if(-1.0)
    assert len(PseudoLabels(returns, rows, 0.9999, BradleyTerry(), generator)) == 0


def test_pseudo_labels_make_members_surer_of_segments_that_nobody_was_asked_about() -> None:
    free = FitConfig(group_lasso=0, ridge=0)
    without = fitted(free, 20)
    windows = unlabelled(without)
    with_them = fitted(replace(free, pseudo_labels=0.8), 20, unlabelled=windows)

    def certainty(ensemble: RewardEnsemble) -> float:
        vector = windows.vector.reshape(-1, 4)
        steps = Encoded(vector, (), np.zeros((len(vector), 0), np.int64))
        returns = torch.from_numpy(ensemble.encoded_returns(steps, STEPS))
        return float((returns[:, 1:] - returns[:, :-1]).abs().sigmoid().mean())

    assert certainty(with_them) > certainty(without)
    assert agreement(with_them) > agreement(without) - 0.05


def test_what_is_off_costs_nothing_and_what_is_on_is_reproducible() -> None:
    plain = fitted(FitConfig())
    assert same_parameters(plain, fitted(FitConfig(), unlabelled=unlabelled(plain)))
    assert same_parameters(plain, fitted(FitConfig(pseudo_labels=0.9)))  # no segments, no pseudo-labels
    everything = FitConfig(dynamics=0.1, pseudo_labels=0.9, label_smoothing=0.1, small_loss=0.5)
    one, other = (fitted(everything, unlabelled=unlabelled(plain)) for _ in range(2))
    assert same_parameters(one, other) and not same_parameters(one, plain)


def test_label_smoothing_keeps_the_members_from_being_sure() -> None:
    segments = pendulum_segments(80, seed=3)
    sides = segments[:40], segments[40:]
    sure, smoothed = (fitted(FitConfig(label_smoothing=share), 60) for share in (0.0, 0.4))
    predicted = [ensemble.probability_right(*sides) for ensemble in (sure, smoothed)]
    assert np.abs(predicted[1] - 0.5).mean() < 0.9 * np.abs(predicted[0] - 0.5).mean()
    assert ((predicted[0] > 0.5) == (predicted[1] > 0.5)).mean() >= 0.8


def test_labels_that_the_others_contradict_count_less_and_are_contradicted_more() -> None:
    pairs = list(zip(*[iter(pendulum_segments(160, seed=0))] * 2, strict=True))
    wrong = np.arange(80) % 8 == 0

    def believed(small_loss: float) -> np.ndarray:
        """The probability of the answers that were given."""
        # A network alone: curves of single inputs follow hardly any wrong answer here.
        ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(5, (32,), additive=False))
        dataset = PreferenceDataset(ensemble.encoder)
        for (left, right), turned in zip(pairs, wrong, strict=True):
            dataset.add(left, right, float((right.true_rewards.sum() > left.true_rewards.sum()) != turned))
        add_ratings(dataset, 5, seed=4)
        fit(ensemble, dataset, FitConfig(small_loss=small_loss, ridge=0))
        predicted = ensemble.probability_right(*map(list, zip(*pairs, strict=True)))
        return np.where(dataset.labels("comparison").targets[:, 0] > 0.5, predicted, 1 - predicted)

    plain, trusting = believed(0.0), believed(0.3)
    assert trusting[wrong].mean() < plain[wrong].mean() - 0.02
    assert (trusting[~wrong] > 0.5).mean() > 0.85


def test_unlabelled_segments_of_another_length_and_senseless_settings_are_refused() -> None:
    ensemble, dataset = new_problem(4)
    observations, actions, _ = flat_steps(pendulum_segments(2, seed=0))
    shorter = ensemble.encoder.encode(observations, actions).unflatten(10, 5)
    with pytest.raises(ValueError, match=r"\(T, columns\) \(25, 4\), not \(5, 4\)"):
        fit(ensemble, dataset, FitConfig(dynamics=0.1), unlabelled=shorter)
    for settings in ({"dynamics": -1.0}, {"pseudo_labels": 0.3}, {"label_smoothing": 1.0}, {"small_loss": -0.1}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            FitConfig(**settings)  # type: ignore[arg-type]
