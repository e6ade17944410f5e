"""Observations of many numbers, of which most never vary."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors import safe_open
from safetensors.torch import save_file

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.attribution import RewardAttributor
from rlhf_envs.rewards import EnsembleConfig, FitConfig, PreferenceDataset, RewardEnsemble, fit, load, save
from rlhf_envs.rewards.network import PROJECTIONS
from rlhf_envs.segments import Segment
from tests.rewards.learning import ACTION_SPACE, OBSERVATION_SPACE, pendulum_segments

WIDTH, PLACES = 200, [5, 70, 199]
WIDE_SPACE = spaces.Box(-np.inf, np.inf, (WIDTH,), np.float32)
SMALL = EnsembleConfig(members=3, hidden=(8,))
SHORT = FitConfig(steps=20)


def widened(segment: Segment, **numbers: np.ndarray) -> Segment:
    """The segment with its numbers at `PLACES`, others at places that are given as `c90=`, and constants elsewhere."""
    observations = np.tile(np.linspace(-3, 3, WIDTH, dtype=np.float32), (len(segment), 1))
    observations[:, PLACES] = np.asarray(segment.observations)
    for place, values in numbers.items():
        observations[:, int(place[1:])] = values
    return Segment(observations, segment.actions, segment.true_rewards)


def add_answers(dataset: PreferenceDataset, segments: list[Segment]) -> None:
    for left, right in zip(segments[::2], segments[1::2], strict=True):
        dataset.add(left, right, float(right.true_rewards.sum() > left.true_rewards.sum()))


def fitted(
    space: spaces.Box,
    segments: list[Segment],
    config: EnsembleConfig = SMALL,
    absorbing: bool = False,
    how: FitConfig = SHORT,
) -> tuple[RewardEnsemble, PreferenceDataset]:
    ensemble = RewardEnsemble(space, ACTION_SPACE, config, absorbing=absorbing)
    dataset = PreferenceDataset(ensemble.encoder)
    add_answers(dataset, segments)
    fit(ensemble, dataset, how)
    return ensemble, dataset


def reward_of(ensemble: RewardEnsemble, segment: Segment) -> np.ndarray:
    return ensemble.transition_reward(segment.transitions)


@pytest.fixture
def same_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members hold out the same labels, whatever the segments show."""
    monkeypatch.setattr("rlhf_envs.rewards.dataset._key", lambda shown: round(1e6 * abs(shown[0].true_rewards.sum())))


@pytest.mark.usefixtures("same_folds")
@pytest.mark.parametrize("absorbing", [False, True])
def test_numbers_that_never_vary_change_nothing_and_cost_no_parameters(absorbing: bool) -> None:
    segments = pendulum_segments(40, seed=0)
    narrow, _ = fitted(OBSERVATION_SPACE, segments, absorbing=absorbing)
    wide, _ = fitted(WIDE_SPACE, [widened(segment) for segment in segments], absorbing=absorbing)
    assert wide.columns.tolist() == [*PLACES, WIDTH, *([WIDTH + 1] if absorbing else [])]
    assert [each.shape for each in wide.network.parameters()] == [each.shape for each in narrow.network.parameters()]
    for segment in pendulum_segments(5, seed=1):
        np.testing.assert_array_equal(reward_of(wide, widened(segment)), reward_of(narrow, segment))
        np.testing.assert_array_equal(
            wide.segment_features([widened(segment)]), narrow.segment_features([segment]), strict=True
        )


@pytest.mark.usefixtures("same_folds")
def test_where_every_number_varies_all_are_read_as_they_would_be_without_a_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segments = pendulum_segments(40, seed=0)
    expected, _ = fitted(OBSERVATION_SPACE, segments)
    monkeypatch.setattr("rlhf_envs.rewards.ensemble.ALL_COLUMNS_UP_TO", 0)
    chosen, _ = fitted(OBSERVATION_SPACE, segments)
    assert chosen.columns.tolist() == expected.columns.tolist() == [0, 1, 2, 3]
    for segment in pendulum_segments(5, seed=1):
        np.testing.assert_array_equal(reward_of(chosen, segment), reward_of(expected, segment))


def test_a_short_observation_is_read_whole() -> None:
    segments = pendulum_segments(10, seed=0)
    for segment in segments:
        np.asarray(segment.observations)[:, 1] = 0.5
    ensemble, _ = fitted(OBSERVATION_SPACE, segments)
    assert ensemble.columns.tolist() == [0, 1, 2, 3]


def test_where_nothing_varies_everything_is_read() -> None:
    still = [
        widened(Segment(np.zeros((25, 3), np.float32), segment.actions, segment.true_rewards))
        for segment in pendulum_segments(4, seed=0)
    ]
    ensemble, _ = fitted(WIDE_SPACE, still)
    assert len(ensemble.columns) == WIDTH + 1


def test_a_number_that_begins_to_vary_later_changes_no_reward_until_the_next_fit_learns_of_it() -> None:
    config = EnsembleConfig(members=3, hidden=(8,), pessimism=0.0)
    ensemble, dataset = fitted(WIDE_SPACE, [widened(each) for each in pendulum_segments(40, seed=0)], config, True)
    with torch.no_grad():
        for weights in ensemble.network.event_weights.values():
            weights.normal_(0, 0.02, generator=torch.Generator().manual_seed(3))
    rng = np.random.default_rng(2)
    probe = pendulum_segments(1, seed=3)[0]
    off, on = widened(probe, c90=np.zeros(25)), widened(probe, c90=np.ones(25))
    before = reward_of(ensemble, off)
    np.testing.assert_array_equal(reward_of(ensemble, on), before)

    later = []
    for segment in pendulum_segments(80, seed=1):
        shown = rng.integers(0, 2, 25)
        changed = widened(segment, c90=shown)
        later.append(Segment(changed.observations, changed.actions, shown.astype(np.float32)))
    add_answers(dataset, later)
    mean, std = ensemble.input_mean.clone(), ensemble.input_std.clone()
    ensemble.read_varying(dataset.flat_steps, fresh=False)
    assert ensemble.columns.tolist() == [5, 70, 90, 199, 200, 201]
    known = [5, 70, 199, 200, 201]
    assert torch.equal(ensemble.input_mean[known], mean[known]) and torch.equal(ensemble.input_std[known], std[known])
    assert ensemble.input_std[90] != 1
    for shown in (off, on):
        np.testing.assert_allclose(reward_of(ensemble, shown), before, atol=1e-5)

    fit(ensemble, dataset, FitConfig(steps=100), fresh=False)
    assert ensemble.labels_at_fresh_start == 20
    assert (reward_of(ensemble, on) - reward_of(ensemble, off)).mean() > 0.3
    fit(ensemble, dataset, FitConfig(steps=100), fresh=True)
    assert ensemble.columns.tolist() == [5, 70, 90, 199, 200, 201]
    assert (reward_of(ensemble, on) - reward_of(ensemble, off)).mean() > 0.3


def test_what_is_read_is_saved_and_a_loaded_model_goes_on_as_if_never_saved(tmp_path: Path) -> None:
    ensemble, dataset = fitted(WIDE_SPACE, [widened(each) for each in pendulum_segments(30, seed=0)], absorbing=True)
    loaded = load(save(ensemble, tmp_path / "model"))
    assert loaded.columns.tolist() == ensemble.columns.tolist()
    add_answers(dataset, [widened(each, c90=np.arange(25)) for each in pendulum_segments(6, seed=1)])
    for fresh in (False, False, True):
        for model in (ensemble, loaded):
            fit(model, dataset, SHORT, fresh=fresh)
        for segment in pendulum_segments(3, seed=2):
            shown = widened(segment, c90=np.arange(25))
            np.testing.assert_array_equal(reward_of(loaded, shown), reward_of(ensemble, shown))
        loaded = load(save(loaded, tmp_path / "model"))


@pytest.mark.parametrize("columns", [[5, 70, 199, 201], [70, 5, 199, 200], [5, 5, 199, 200], [5, 70], [[5, 70]]])
def test_a_file_whose_columns_are_none_of_its_spaces_is_damaged(columns: list[int], tmp_path: Path) -> None:
    ensemble, _ = fitted(WIDE_SPACE, [widened(each) for each in pendulum_segments(4, seed=0)])
    path = save(ensemble, tmp_path / "model")
    with safe_open(path, framework="pt") as content:
        metadata = content.metadata()
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    tensors["columns"] = torch.tensor(columns)
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="damaged or not a reward model"):
        load(path)


def test_shares_are_those_of_the_numbers_that_are_read() -> None:
    pytest.importorskip("captum")
    segments = [widened(each) for each in pendulum_segments(30, seed=0)]
    ensemble, _ = fitted(WIDE_SPACE, segments, absorbing=True)
    with torch.no_grad():
        ensemble.network.event_weights["potential"].normal_(0, 0.02, generator=torch.Generator().manual_seed(3))
    attributor = RewardAttributor(ensemble, segments[:3], EnvironmentRef("CartPole-v1"))
    assert attributor.names[:4] == ("observation 5", "observation 70", "observation 199", "action")
    shares, rewards = attributor(segments[0].transitions), reward_of(ensemble, segments[0])
    assert np.ptp(rewards - shares.sum(axis=1)) < 0.05 * np.ptp(rewards)
    spread = ensemble.spread(segments[0].observations, segments[0].actions)
    assert spread.shape == (25,) and spread.min() > 0


MIXED = 600
"""Numbers of an observation that all vary, more than the network reads by themselves."""


def mixtures(segments: list[Segment]) -> list[Segment]:
    """The segments with `MIXED` numbers, each a mixture of those that they have."""
    mixing = np.random.default_rng(4).normal(size=(3, MIXED)).astype(np.float32)
    return [Segment(np.asarray(each.observations) @ mixing, each.actions, each.true_rewards) for each in segments]


@pytest.fixture(scope="module")
def of_mixtures() -> tuple[RewardEnsemble, PreferenceDataset]:
    space = spaces.Box(-np.inf, np.inf, (MIXED,), np.float32)
    return fitted(space, mixtures(pendulum_segments(80, seed=0)), EnsembleConfig(), absorbing=True, how=FitConfig())


def test_of_hundreds_of_numbers_the_network_reads_mixtures_and_learns(
    of_mixtures: tuple[RewardEnsemble, PreferenceDataset], tmp_path: Path
) -> None:
    ensemble, _ = of_mixtures
    assert ensemble.network.weights[0].shape[1] == PROJECTIONS + 2 < len(ensemble.columns) == MIXED + 2
    fresh = mixtures(pendulum_segments(200, seed=5))
    right = ensemble.probability_right(fresh[:100], fresh[100:]) > 0.5
    returns = np.array([each.true_rewards.sum() for each in fresh])
    better = returns[100:] > returns[:100]
    assert (right == better).mean() > 0.7
    loaded = load(save(ensemble, tmp_path / "model"))
    np.testing.assert_array_equal(reward_of(loaded, fresh[0]), reward_of(ensemble, fresh[0]))


def test_mixtures_and_curves_add_up_to_what_the_last_layer_reads(
    of_mixtures: tuple[RewardEnsemble, PreferenceDataset],
) -> None:
    ensemble, dataset = of_mixtures
    network = ensemble.network
    saved = {name: weights.detach().clone() for name, weights in network.event_weights.items()}
    with torch.no_grad():
        for weights in network.event_weights.values():
            weights.normal_(0, 0.02, generator=torch.Generator().manual_seed(3))
        vector = ensemble.normalise_inputs(torch.from_numpy(dataset.flat_steps.vector[:20]))
        none = torch.zeros(20, 0, dtype=torch.int64)
        read = network.features(vector, [], none)
        expected = torch.baddbmm(network.biases[-1], read, network.weights[-1]).squeeze(2)
        torch.testing.assert_close(network(vector, [], none), expected, rtol=1e-4, atol=1e-4)
        curves = network.event_curves(vector)
        for found, weights in zip(network.events(vector), network.event_weights.values(), strict=True):
            torch.testing.assert_close(found, (curves @ weights).squeeze(2), rtol=1e-4, atol=1e-3)
        for name, weights in saved.items():
            network.event_weights[name].copy_(weights)


def test_mixtures_take_in_what_begins_to_vary_without_a_change_of_the_reward() -> None:
    def shown(segments: list[Segment], last: float) -> list[Segment]:
        mixed = mixtures(segments)
        for segment in mixed:
            np.asarray(segment.observations)[:, 10] = last * np.arange(25)
        return mixed

    space = spaces.Box(-np.inf, np.inf, (MIXED,), np.float32)
    ensemble, dataset = fitted(space, shown(pendulum_segments(20, seed=0), 0.0))
    assert len(ensemble.columns) == MIXED and ensemble.network.projection is not None
    probe = shown(pendulum_segments(1, seed=2), 0.0)[0]
    before = reward_of(ensemble, probe)
    add_answers(dataset, shown(pendulum_segments(4, seed=1), 0.1))
    ensemble.read_varying(dataset.flat_steps, fresh=False)
    assert len(ensemble.columns) == MIXED + 1
    np.testing.assert_allclose(reward_of(ensemble, probe), before, atol=1e-4)
    fit(ensemble, dataset, SHORT, fresh=False)


def test_a_fit_that_goes_on_takes_in_no_more_numbers_than_its_network_can_read() -> None:
    narrow, dataset = fitted(WIDE_SPACE, [widened(each) for each in pendulum_segments(4, seed=0)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlhf_envs.rewards.ensemble.PROJECTED_ABOVE", 3)
        add_answers(dataset, [widened(each, c90=np.arange(25)) for each in pendulum_segments(2, seed=1)])
        narrow.read_varying(dataset.flat_steps, fresh=False)
        assert 90 not in narrow.columns.tolist()
    narrow.read_varying(dataset.flat_steps, fresh=False)
    assert 90 in narrow.columns.tolist()
