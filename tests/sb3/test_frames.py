"""Segments of environments that have no states are shown by pictures taken during rollouts."""

from typing import Any

import numpy as np
import pytest

from rlhf_envs.clips import FrameCapture, clip_painter, encode_mp4, frames
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.sb3 import PreferenceVecEnv, make_vec_env
from rlhf_envs.segments import Segment
from tests.sb3 import environments

environments.register()


def roll_out(venv: PreferenceVecEnv, steps: int) -> None:
    venv.reset()
    venv.action_space.seed(0)
    for _ in range(steps):
        venv.step(np.array([venv.action_space.sample() for _ in range(venv.num_envs)]))


def some_segment(venv: PreferenceVecEnv, length: int = 6) -> Segment:
    windows = venv.recorder.sample_windows(8, length, np.random.default_rng(0))
    return venv.recorder.segment(windows, 0)


@pytest.mark.parametrize("env", ["test/ImageGrid-v0", "test/Walk-v0"])
@pytest.mark.parametrize("processes", [False, True])
def test_what_cannot_be_drawn_from_states_is_shown_as_it_was_seen(env: str, processes: bool) -> None:
    env = f"tests.sb3.environments:{env}"
    venv = make_vec_env(env, 2, frames=True, processes=processes, capacity_steps=32)
    roll_out(venv, 20)
    kept = Segment.from_bytes(some_segment(venv).to_bytes())
    venv.close()
    assert kept.states is None and kept.frames is not None and len(kept.frames) == 6
    clip = clip_painter(env, (300, 200)).frames(kept)
    assert clip.shape == (6, 200, 300, 3) and clip.std() > 0
    assert encode_mp4(clip)[4:8] == b"ftyp"


def test_pictures_show_the_moment_of_the_observation() -> None:
    venv = make_vec_env("test/Walk-v0", 3, frames=True, capacity_steps=32)
    roll_out(venv, 25)
    for index in range(8):
        windows = venv.recorder.sample_windows(8, 6, np.random.default_rng(1))
        segment = venv.recorder.segment(windows, index)
        assert segment.frames is not None
        shown = segment.frames[:, 0, :, 0].argmax(axis=1) // 3 - 10
        assert shown.tolist() == np.asarray(segment.observations)[:, 0].astype(int).tolist()


def test_pictures_of_many_copies_take_no_more_memory_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_CAPTURED_BYTES", 2 * 32 * 36 * 72 * 3)
    venv = make_vec_env("test/Walk-v0", 5, frames=True, capacity_steps=32)
    roll_out(venv, 20)
    assert set(venv.recorder.sample_windows(200, 6, np.random.default_rng(0)).rows.tolist()) == {0, 1}
    assert venv.recorder.latest()[1].shape == (100,)


def test_large_pictures_are_shrunk_in_proportion() -> None:
    large = np.zeros((400, 1200, 3), np.uint8)
    capture = FrameCapture(lambda rows: [large for _ in rows], 1, 10)
    assert capture.shape == (100, 300, 3)


@pytest.mark.parametrize("env", ["CartPole-v1", "rlhf/Driving-v1"])
def test_no_pictures_are_taken_where_states_can_be_drawn(env: str) -> None:
    kwargs: dict[str, Any] = {"horizon": 20} if env.startswith("rlhf") else {}
    venv = make_vec_env(EnvironmentRef(env, kwargs), 2, frames=True, capacity_steps=32)
    roll_out(venv, 20)
    segment = some_segment(venv)
    assert segment.frames is None and segment.states is not None


def test_an_environment_that_gives_no_pictures_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments.Walk, "render", lambda self: None)
    with pytest.raises(ValueError, match="People cannot be shown this environment"):
        make_vec_env("test/Walk-v0", 2, frames=True)


def test_a_stored_picture_that_claims_another_size_is_refused() -> None:
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    segment = Segment(np.zeros((2, 1), np.float32), np.zeros(2, np.int64), np.zeros(2, np.float32), frames=frames)
    content = bytearray(segment.to_bytes())
    shape = np.array([2, 4, 4, 3], np.int64).tobytes()
    content[content.index(shape) : content.index(shape) + len(shape)] = np.array([9, 4, 4, 3], np.int64).tobytes()
    with pytest.raises(ValueError, match="not a stored segment"):
        Segment.from_bytes(bytes(content))
