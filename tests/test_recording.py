"""The recorder gives back exactly what happened, and never a window across two episodes."""

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.recording import SegmentRecorder, Windows

COPIES, CAPACITY = 3, 20
SPACE = spaces.Box(-1e6, 1e6, (2,))


def filled(steps, episode_length=7, snapshots=None):
    """A recorder whose observation is (step, copy) and whose reward is the step."""
    recorder = SegmentRecorder(SPACE, spaces.Discrete(5), COPIES, CAPACITY, snapshots)
    for step in range(steps):
        recorder.capture()
        observations = np.stack([np.full(COPIES, step), np.arange(COPIES)], axis=1)
        ended = (step + 1 + np.arange(COPIES)) % episode_length == 0
        recorder.record(observations, np.full(COPIES, step % 5), np.full(COPIES, float(step)), ended)
    return recorder


@pytest.mark.parametrize("steps", [8, 20, 33, 60])
def test_no_window_crosses_the_end_of_an_episode(steps):
    recorder = filled(steps)
    windows = recorder.sample_windows(500, 4, np.random.default_rng(0))
    observations, actions, rewards = recorder.gather(windows)
    assert len(windows) == 500
    for window in range(500):
        first, copy = observations[window, 0]
        assert observations[window, :, 0].tolist() == [first, first + 1, first + 2, first + 3]
        assert set(observations[window, :, 1]) == {copy}
        assert rewards[window].tolist() == observations[window, :, 0].tolist()
        assert actions[window].tolist() == [step % 5 for step in rewards[window].astype(int)]
        episodes = {int(step + copy) // 7 for step in rewards[window]}
        assert len(episodes) == 1


def test_only_recent_steps_are_remembered():
    observations, _, rewards = filled(50).latest(5)
    assert rewards.reshape(5, COPIES)[:, 0].tolist() == [45, 46, 47, 48, 49]
    assert observations.reshape(5, COPIES, 2)[0, :, 1].tolist() == [0, 1, 2]


def test_asking_for_more_steps_than_are_remembered_says_so():
    with pytest.raises(ValueError, match="The last 30 steps were wanted, but only 20 are remembered"):
        filled(50).latest(30)


def test_no_window_is_found_where_episodes_are_shorter():
    assert len(filled(50, episode_length=3).sample_windows(10, 4, np.random.default_rng(0))) == 0


def test_a_segment_carries_the_states_of_its_own_copy():
    class Counting:
        size = COPIES

        def __init__(self):
            self.step = 0

        def capture(self, out):
            out[:] = self.step * 10 + np.arange(COPIES)
            self.step += 1

        def extract(self, captured, row):
            return captured[:, row : row + 1]

    recorder = filled(10, episode_length=100, snapshots=Counting())
    segment = recorder.segment(Windows(np.array([4]), np.array([2]), 3), 0)
    assert segment.states is not None
    assert segment.states[:, 0].tolist() == [42, 52, 62]
    assert segment.true_rewards.tolist() == [4, 5, 6]


def test_a_reward_that_is_no_number_stops_the_recording():
    recorder = SegmentRecorder(SPACE, spaces.Discrete(5), COPIES, CAPACITY)
    with pytest.raises(ValueError, match="reward of nan in copy 1; rewards must be finite"):
        recorder.record(np.zeros((COPIES, 2)), np.zeros(COPIES), np.array([0, np.nan, 0]), np.zeros(COPIES, bool))


def test_a_restored_recorder_goes_on_as_the_first_one():
    first, second = filled(33), SegmentRecorder(SPACE, spaces.Discrete(5), COPIES, CAPACITY)
    second.restore({name: array.copy() for name, array in first.arrays().items()})
    for recorder in (first, second):
        recorder.record(np.ones((COPIES, 2)), np.ones(COPIES), np.ones(COPIES), np.zeros(COPIES, bool))
    windows = [recorder.sample_windows(50, 4, np.random.default_rng(1)) for recorder in (first, second)]
    assert (first.gather(windows[0])[0] == second.gather(windows[1])[0]).all()


def test_dict_observations_are_recorded_by_key():
    space = spaces.Dict({"near": spaces.Box(0, 1, (2,)), "far": spaces.Discrete(4)})
    recorder = SegmentRecorder(space, spaces.Box(-1, 1, (1,)), 2, 5)
    for step in range(5):
        recorder.record(
            {"near": np.full((2, 2), step / 5), "far": np.full(2, step % 4)},
            np.zeros((2, 1)),
            np.zeros(2),
            np.zeros(2, bool),
        )
    observations, actions, _ = recorder.gather(Windows(np.array([1]), np.array([0]), 3))
    assert isinstance(observations, dict)
    assert observations["far"].tolist() == [[1, 2, 3]]
    assert observations["near"].shape == (1, 3, 2)
    assert actions.shape == (1, 3, 1)
