"""What a fit makes of the answers beyond the answers themselves, and that each of it costs nothing when it is off."""

from typing import Any

import numpy as np
import pytest
from torch import Tensor

from rlhf_envs.rewards import EnsembleConfig, FitConfig, PreferenceDataset, RewardEnsemble, fit
from rlhf_envs.segments import Segment
from tests.rewards.learning import (
    ACTION_SPACE,
    OBSERVATION_SPACE,
    STEPS,
    add_ratings,
    agreement,
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
    """Each step is worth 1, so whoever ends earlier is worse, and most windows of these show nothing but the end."""
    ensemble = RewardEnsemble(OBSERVATION_SPACE, ACTION_SPACE, EnsembleConfig(3, (16,)), absorbing=True)
    dataset = PreferenceDataset(ensemble.encoder)
    rng = np.random.default_rng(0)

    def ends_after(lived: int, segment: Segment) -> Segment:
        ended = np.arange(STEPS) >= lived
        shown = np.where(ended[:, None], 0, segment.observations).astype(np.float32)
        acted = np.where(ended[:, None], 0, segment.actions).astype(np.float32)
        return Segment(shown, acted, (~ended).astype(np.float32), absorbing=ended)

    segments = pendulum_segments(80, seed=0)
    for left, right in zip(segments[:40], segments[40:], strict=True):
        short, long = rng.integers(1, 4), rng.integers(12, STEPS + 1)
        dataset.add(ends_after(short, left), ends_after(long, right), 1.0)
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
