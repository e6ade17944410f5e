import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.rewards import EnsembleConfig, InputEncoder, RewardEnsemble

OBSERVATIONS: dict[str, spaces.Space] = {
    "vector": spaces.Box(-np.inf, np.inf, (5,), np.float32),
    "float64 matrix": spaces.Box(-1, 1, (3, 4), np.float64),
    "one hot": spaces.Discrete(6, start=-2),
    "large discrete": spaces.Discrete(1000),
    "multi": spaces.MultiDiscrete([3, 500, 4]),
    "bits": spaces.MultiBinary(9),
    "grey image": spaces.Box(0, 255, (28, 20), np.uint8),
    "image, channels last": spaces.Box(0, 255, (84, 84, 3), np.uint8),
    "image, channels first": spaces.Box(0, 255, (4, 36, 36), np.uint8),
    "grid of symbols": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "dict": spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (16, 16, 3), np.uint8),
            "speed": spaces.Box(0, 9, (2,)),
            "gear": spaces.Discrete(5),
        }
    ),
}
ACTIONS: dict[str, spaces.Space] = {
    "box": spaces.Box(-2, 4, (2,), np.float32),
    "unbounded box": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "discrete": spaces.Discrete(4),
    "multi": spaces.MultiDiscrete([2, 3]),
    "bits": spaces.MultiBinary(3),
}


def batch_of(space: spaces.Space, size: int):  # type: ignore[no-untyped-def]
    space.seed(0)
    samples = [space.sample() for _ in range(size)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


@pytest.mark.parametrize("observation_space", OBSERVATIONS.values(), ids=OBSERVATIONS)
@pytest.mark.parametrize("action_space", ACTIONS.values(), ids=ACTIONS)
def test_every_supported_pair_of_spaces_yields_one_reward_per_step_and_member(
    observation_space: spaces.Space, action_space: spaces.Space
) -> None:
    ensemble = RewardEnsemble(observation_space, action_space, EnsembleConfig(members=3, hidden=(8, 8)))
    observations, actions = batch_of(observation_space, 7), batch_of(action_space, 7)
    rewards = ensemble.member_rewards(observations, actions)
    assert rewards.shape == (3, 7)
    assert rewards.dtype == np.float32
    assert np.ptp(rewards, axis=1).min() > 0  # members see their input
    assert np.ptp(rewards, axis=0).min() > 0  # and differ from one another


def test_each_step_is_rewarded_for_itself_whatever_else_is_in_the_batch() -> None:
    for space in OBSERVATIONS.values():
        ensemble = RewardEnsemble(space, ACTIONS["box"], EnsembleConfig(members=2, hidden=(8,)))
        observations, actions = batch_of(space, 6), batch_of(ACTIONS["box"], 6)
        last = (
            {key: value[5:] for key, value in observations.items()}
            if isinstance(observations, dict)
            else observations[5:]
        )
        alone = ensemble.reward(last, actions[5:])
        np.testing.assert_allclose(ensemble.reward(observations, actions)[5:], alone, rtol=1e-4, atol=1e-6)


def test_bounded_actions_are_scaled_to_one_and_unbounded_observations_are_marked_for_normalisation() -> None:
    encoder = InputEncoder(spaces.Box(-np.inf, np.inf, (1,)), spaces.Box(-2, 4, (2,)))
    encoded = encoder.encode(np.array([[7.0]]), np.array([[-2.0, 4.0]]))
    assert encoded.vector.tolist() == [[7.0, -1.0, 1.0]]
    assert encoder.normalised.tolist() == [True, False, False]


def test_a_discrete_start_other_than_zero_is_the_first_one_hot_column() -> None:
    encoder = InputEncoder(spaces.Discrete(3, start=-1), spaces.MultiDiscrete([2, 2]))
    encoded = encoder.encode(np.array([-1, 1]), np.array([[0, 1], [1, 0]]))
    assert encoded.vector.tolist() == [[1, 0, 0, 1, 0, 0, 1], [0, 0, 1, 0, 1, 1, 0]]


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(5),
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Dict({"mission": spaces.Text(5)}),
        spaces.Dict({"inner": spaces.Dict({"x": spaces.Discrete(2)})}),
    ],
    ids=str,
)
def test_a_space_that_cannot_be_read_is_named_with_what_is_supported(space: spaces.Space) -> None:
    with pytest.raises(ValueError, match=r"cannot read observations.*supported are Box, Discrete, MultiDiscrete"):
        InputEncoder(space, spaces.Discrete(2))
    with pytest.raises(ValueError, match=r"cannot read actions.*supported are Box, Discrete, MultiDiscrete and MultiB"):
        InputEncoder(spaces.Discrete(2), space)


def test_arrays_that_do_not_belong_to_the_spaces_are_refused_with_the_shape_wanted() -> None:
    encoder = InputEncoder(OBSERVATIONS["dict"], spaces.Discrete(2))
    good = batch_of(OBSERVATIONS["dict"], 3)
    with pytest.raises(ValueError, match="key 'gear'"):
        encoder.encode({key: good[key] for key in ("camera", "speed")}, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"observations\['speed'\] of shape \(3, 2\), not \(3, 1\)"):
        encoder.encode({**good, "speed": good["speed"][:, :1]}, np.zeros(3, int))
    with pytest.raises(ValueError, match="outside of their space"):
        encoder.encode(good, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="not a Dict"):
        InputEncoder(spaces.Discrete(2), spaces.Discrete(2)).encode({"x": np.zeros(1)}, np.zeros(1, int))


@pytest.mark.parametrize(
    ("space", "cells"),
    [
        (spaces.Box(0, 255, (28, 28, 1), np.uint8), 7 * 7),
        (spaces.Box(0, 255, (210, 160, 3), np.uint8), 3 * 10 * 8),
    ],
    ids=["digits", "Atari"],
)
def test_a_thumbnail_of_a_picture_is_among_the_columns_and_belongs_to_the_picture(
    space: spaces.Box, cells: int
) -> None:
    encoder = InputEncoder(space, spaces.Discrete(2))
    assert encoder.observed == cells and encoder.columns == cells + 2
    assert {source.place for source in encoder.column_sources if not source.is_action} == {0}
    pictures = np.zeros((2, *space.shape), np.uint8)
    pictures[1] = 255
    vector = encoder.encode(pictures, np.zeros(2, int)).vector[:, :cells]
    np.testing.assert_allclose(vector, np.repeat([[0.0], [1.0]], cells, axis=1))
    np.testing.assert_array_equal(encoder.encode_numbers(pictures, 2), vector)


def test_a_cell_of_a_thumbnail_is_as_bright_as_that_part_of_the_picture() -> None:
    encoder = InputEncoder(spaces.Box(0, 255, (28, 28, 1), np.uint8), spaces.Discrete(2))
    picture = np.zeros((1, 28, 28, 1), np.uint8)
    picture[0, 24:, 4:8] = 255
    cells = encoder.encode(picture, np.zeros(1, int)).vector[0, :49].reshape(7, 7)
    assert cells[6, 1] == 1 and cells.sum() == 1
