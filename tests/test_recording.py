"""The recorder gives back exactly what happened, and never a window across two episodes; segments as bytes."""

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.recording import SegmentRecorder, Windows
from rlhf_envs.segments import Segment

COPIES, CAPACITY = 3, 20
SPACE = spaces.Box(-1e6, 1e6, (2,))


def filled(steps, episode_length=7, snapshots=None, terminates=False):
    """A recorder whose observation is (step, copy) and whose reward is the step; episodes end by limit or terminate."""
    recorder = SegmentRecorder(SPACE, spaces.Discrete(5), COPIES, CAPACITY, snapshots)
    for step in range(steps):
        recorder.capture()
        observations = np.stack([np.full(COPIES, step), np.arange(COPIES)], axis=1)
        ended = (step + 1 + np.arange(COPIES)) % episode_length == 0
        terminated = ended if terminates else None
        recorder.record(observations, np.full(COPIES, step % 5), np.full(COPIES, float(step)), ended, terminated)
    return recorder


class Counting:
    """States that are ten times the step, plus the copy."""

    size = COPIES

    def __init__(self):
        self.step = 0

    def capture(self, out):
        out[:] = self.step * 10 + np.arange(COPIES)
        self.step += 1

    def extract(self, captured, row):
        return captured[:, row : row + 1]


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
    recorder = filled(10, episode_length=100, snapshots=Counting())
    segment = recorder.segment(Windows(np.array([4]), np.array([2]), 3), 0)
    assert segment.states is not None
    assert segment.states[:, 0].tolist() == [42, 52, 62]
    assert segment.true_rewards.tolist() == [4, 5, 6]


@pytest.mark.parametrize("steps", [8, 20, 33, 60])
@pytest.mark.parametrize("length", [4, 20, 50])
def test_windows_go_on_beyond_a_termination_with_absorbing_steps(steps, length):
    recorder = filled(steps, terminates=True)
    windows = recorder.sample_windows(500, length, np.random.default_rng(0))
    assert len(windows) == 500
    observations, actions, rewards = recorder.gather(windows)
    absorbing = windows.absorbing
    ended = absorbing.any(axis=1)
    for window in range(500):
        lived = int((~absorbing[window]).sum())
        assert lived == windows.lived[window] and 1 <= lived <= min(length, 7)
        assert absorbing[window].tolist() == [False] * lived + [True] * (length - lived)
        first, copy = observations[window, 0]
        assert observations[window, :lived, 0].tolist() == [first + step for step in range(lived)]
        assert set(observations[window, :lived, 1]) == {copy}
        assert rewards[window, :lived].tolist() == observations[window, :lived, 0].tolist()
        assert not observations[window, lived:].any() and not rewards[window, lived:].any()
        assert not actions[window, lived:].any()
        if ended[window]:
            # The last step that was lived is the one that ended an episode.
            assert (first + lived + copy) % 7 == 0
    # Where windows of 4 fit in, those beyond a termination are a part, but at most half; longer ones are all there is.
    assert 0.2 < ended.mean() <= 0.5 if length == 4 else ended.all()
    assert len(np.unique(windows.lived[ended])) == min(length - 1, 7)


def test_windows_beyond_a_termination_are_as_frequent_as_there_are_such_windows():
    """With 2 copies and steps from 0 to 19, one episode ends at step 9: 3 windows reach beyond it, 31 do not."""
    recorder = SegmentRecorder(SPACE, spaces.Discrete(5), 2, CAPACITY)
    for step in range(CAPACITY):
        ended = np.array([step == 9, False])
        recorder.record(np.zeros((2, 2)), np.zeros(2), np.zeros(2), ended, ended)
    windows = recorder.sample_windows(1000, 4, np.random.default_rng(0))
    assert windows.absorbing.any(axis=1).sum() == round(1000 * 3 / (3 + 14 + 17))


def test_where_nothing_terminates_windows_are_drawn_as_if_nothing_ever_could():
    generators = [np.random.default_rng(3) for _ in range(2)]
    recorders = filled(60), filled(60)
    recorders[1]._terminated[:] = False
    drawn = [recorder.sample_windows(50, 4, rng) for recorder, rng in zip(recorders, generators, strict=True)]
    ends = np.random.default_rng(3)
    # The first draw is that of the windows' ends.
    assert (drawn[0].starts[0] + 3) in ends.integers(3, CAPACITY, size=100)
    assert drawn[0].lived is None and not drawn[0].absorbing.any()
    assert (drawn[0].starts == drawn[1].starts).all()
    assert generators[0].bit_generator.state == generators[1].bit_generator.state


def test_the_same_generator_draws_the_same_windows_beyond_terminations():
    recorder = filled(60, terminates=True)
    first, second = (recorder.sample_windows(50, 9, np.random.default_rng(4)) for _ in range(2))
    for name in ("starts", "rows", "lived"):
        assert (getattr(first, name) == getattr(second, name)).all()


def test_a_segment_beyond_a_termination_shows_the_last_state():
    recorder = filled(10, snapshots=Counting(), terminates=True)
    # Copy 2 ends its first episode with step 4.
    segment = recorder.segment(Windows(np.array([3]), np.array([2]), 5, np.array([2])), 0)
    assert segment.absorbing.tolist() == [False, False, True, True, True] and segment.lived == 2
    assert segment.true_rewards.tolist() == [3, 4, 0, 0, 0]
    assert segment.states[:, 0].tolist() == [32, 42, 42, 42, 42]
    lived_to_the_end = recorder.segment(Windows(np.array([3]), np.array([2]), 2, np.array([2])), 0)
    assert lived_to_the_end.absorbing is None


def test_a_segment_with_absorbing_steps_comes_back_from_its_bytes():
    recorder = filled(10, snapshots=Counting(), terminates=True)
    segment = recorder.segment(Windows(np.array([3]), np.array([2]), 5, np.array([2])), 0)
    again = Segment.from_bytes(segment.to_bytes())
    assert again.to_bytes() == segment.to_bytes() and again.digest == segment.digest
    assert again.absorbing.dtype == np.bool_ and again.absorbing.tolist() == segment.absorbing.tolist()
    alive = Segment(segment.observations, segment.actions, segment.true_rewards, segment.states)
    assert alive.digest != segment.digest and not alive.is_absorbing.any() and alive.lived == 5
    assert Segment.from_bytes(alive.to_bytes()).absorbing is None


@pytest.mark.parametrize(
    "absorbing, said",
    [
        (np.array([False, True, False]), "must be its last: no episode goes on after its end"),
        (np.array([False, True]), "of each of 3 steps whether it comes after the end of the episode, .* bool of shape"),
        (np.array([0, 0, 1]), "of each of 3 steps .* int64 of shape"),
    ],
)
def test_absorbing_steps_that_make_no_sense_are_refused(absorbing, said):
    with pytest.raises(ValueError, match=said):
        Segment(np.zeros((3, 1)), np.zeros(3), np.zeros(3, np.float32), absorbing=absorbing)


def test_a_reward_that_is_no_number_stops_the_recording():
    recorder = SegmentRecorder(SPACE, spaces.Discrete(5), COPIES, CAPACITY)
    with pytest.raises(ValueError, match="reward of nan in copy 1; rewards must be finite"):
        recorder.record(np.zeros((COPIES, 2)), np.zeros(COPIES), np.array([0, np.nan, 0]), np.zeros(COPIES, bool))


@pytest.mark.parametrize("terminates", [False, True])
def test_a_restored_recorder_goes_on_as_the_first_one(terminates):
    first = filled(33, terminates=terminates)
    second = SegmentRecorder(SPACE, spaces.Discrete(5), COPIES, CAPACITY)
    second.restore({name: array.copy() for name, array in first.arrays().items()})
    for recorder in (first, second):
        recorder.record(np.ones((COPIES, 2)), np.ones(COPIES), np.ones(COPIES), np.zeros(COPIES, bool))
    windows = [recorder.sample_windows(50, 4, np.random.default_rng(1)) for recorder in (first, second)]
    assert windows[0].absorbing.any() == terminates
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
