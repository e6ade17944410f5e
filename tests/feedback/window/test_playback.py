"""Which frame is on screen when."""

import pytest

from rlhf_envs.feedback.window.clips import SPEEDS, Playback, next_speed


def test_clips_loop_and_hold_their_last_frame_for_a_moment() -> None:
    playback = Playback(frames=10, frames_per_second=10, speed=1.0, now=100.0)
    assert [playback.index(100 + t) for t in (0.05, 0.55, 0.95, 1.1, 1.19)] == [0, 5, 9, 9, 9]
    assert [playback.index(101.2 + t) for t in (0.05, 0.55)] == [0, 5]


def test_speed_changes_the_rate_and_not_the_place() -> None:
    playback = Playback(10, 10, 1.0, 0.0)
    playback.change_speed(2.0, 0.45)
    assert [playback.index(t) for t in (0.45, 0.46, 0.51, 0.61)] == [4, 4, 5, 7]


def test_stepping_pauses_and_space_goes_on_from_there() -> None:
    playback = Playback(10, 10, 1.0, 0.0)
    playback.step(1, 0.45)
    assert playback.paused and playback.index(9.0) == 5
    playback.step(-1, 9.0)
    playback.step(-1, 9.0)
    assert playback.index(20.0) == 3
    playback.replay(20.0)
    assert not playback.paused and playback.index(20.25) == 5
    playback.replay(20.3)
    assert playback.index(20.3) == 0


def test_stepping_back_from_the_first_frame_shows_the_last() -> None:
    playback = Playback(10, 10, 1.0, 0.0)
    playback.step(-1, 0.0)
    assert playback.index(0.0) == 9


def test_a_clip_that_is_rated_plays_once() -> None:
    playback = Playback(10, 10, 1.0, 0.0, loops=False)
    assert playback.index(55.0) == 9
    playback.step(1, 60.0)
    assert playback.index(60.0) == 9
    playback.replay(61.0)
    playback.replay(62.0)
    assert playback.index(62.0) == 0


@pytest.mark.parametrize("speed", SPEEDS)
def test_faster_and_slower_stay_within_what_can_be_followed(speed: float) -> None:
    assert SPEEDS[0] <= next_speed(speed, -1) <= speed <= next_speed(speed, 1) <= SPEEDS[-1]
    assert next_speed(0.6, 1) == 0.75 and next_speed(0.6, -1) == 0.5
