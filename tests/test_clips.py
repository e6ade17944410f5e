"""The same stretch of experience as pictures: states recorded in a rollout, drawn later, encoded for a browser."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray

from rlhf_envs.clips import clip_painter, encode_mp4, snapshot_source, state_adapter
from rlhf_envs.envs.palette import THEMES
from rlhf_envs.envs.registration import ENVIRONMENTS
from rlhf_envs.recording import SnapshotSource
from rlhf_envs.segments import Segment

CLASSIC = ("CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1")


def roll(env: Any, step: Callable[[], None], steps: int = 6) -> tuple[SnapshotSource, NDArray[np.uint8]]:
    """Captures (steps, size) taken before each of some steps."""
    source = snapshot_source(env)
    assert source is not None
    captured = np.zeros((steps, source.size), dtype=np.uint8)
    for row in captured:
        source.capture(row)
        step()
    return source, captured


def segment_of(states: NDArray[Any] | None, frames: NDArray[np.uint8] | None = None) -> Segment:
    steps = len(states) if states is not None else len(frames) if frames is not None else 3
    return Segment(np.zeros((steps, 1), np.float32), np.zeros(steps), np.zeros(steps, np.float32), states, frames)


def random_frames(steps: int = 5, height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (steps, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("environment_id", CLASSIC)
def test_a_classic_control_clip_shows_what_the_environment_itself_rendered(environment_id: str) -> None:
    env = gym.make(environment_id, render_mode="rgb_array")
    env.action_space.seed(0)
    env.reset(seed=0)
    seen: list[Any] = []

    def step() -> None:
        seen.append(env.render())
        env.step(env.action_space.sample())

    source, captured = roll(env, step)
    height, width = seen[0].shape[:2]
    clip = clip_painter(environment_id, frame_size=(width, height)).frames(segment_of(source.extract(captured, 0)))
    assert np.array_equal(clip, np.stack(seen))
    assert not np.array_equal(clip[0], clip[-1])


@pytest.mark.parametrize("environment_id", [*ENVIRONMENTS])
def test_a_clip_of_the_suite_shows_what_the_environment_itself_rendered(environment_id: str) -> None:
    envs: Any = gym.make_vec(environment_id, num_envs=3, render_mode="rgb_array", frame_size=(300, 200), theme="dark")
    envs.action_space.seed(0)
    envs.reset(seed=0)
    seen: list[Any] = []

    def step() -> None:
        seen.append(envs.render()[1])
        envs.step(envs.action_space.sample())

    source, captured = roll(envs, step)
    states = source.extract(captured, 1)
    painter = clip_painter(environment_id, theme="dark")
    assert np.array_equal(painter.frames(segment_of(states)), np.stack(seen))
    assert np.array_equal(painter.frame(states[2]), seen[2])
    assert painter.frames_per_second == envs.metadata["render_fps"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("source", ["states", "frames"])
def test_absorbing_steps_show_the_last_picture_dimmed_and_say_that_the_episode_is_over(source: str, theme: str) -> None:
    absorbing = np.arange(5) >= 3
    if source == "states":
        segment = segment_of(np.tile([0.0, 0.0, 0.3, 0.0], (5, 1)))
    else:
        segment = segment_of(None, np.repeat(random_frames(1), 5, axis=0))
    segment = replace(segment, absorbing=absorbing)
    clip = clip_painter("CartPole-v1", theme=theme).frames(segment).astype(int)
    assert clip.shape == (5, 200, 300, 3)
    assert (clip[:3] == clip[0]).all() and (clip[3:] == clip[3]).all()
    background = np.array(THEMES[theme].background)
    caption, below = slice(0, 70), slice(70, None)
    # Every colour comes as much nearer to the background, and the caption stands out from it.
    dimmed = np.rint(0.4 * clip[0] + 0.6 * background)
    assert np.abs(clip[3, below] - dimmed[below]).max() <= 1
    assert (np.abs(clip[3, caption] - dimmed[caption]).max(axis=2) > 60).mean() > 0.1


@pytest.mark.parametrize("environment_id", ["Pendulum-v1", *ENVIRONMENTS])
def test_states_of_environments_in_a_list_are_each_ones_own(environment_id: str) -> None:
    envs = SyncVectorEnv([lambda: gym.make(environment_id)] * 3)
    envs.reset(seed=4)
    source, captured = roll(envs, lambda: None, steps=2)
    for row in range(3):
        single = gym.make(environment_id)
        single.reset(seed=4 + row)
        alone, expected = roll(single, lambda: None, steps=2)
        assert np.array_equal(source.extract(captured, row), alone.extract(expected, 0))


def test_states_of_the_vectorised_cartpole_are_those_of_its_copies() -> None:
    envs = gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="vector_entry_point")
    observations, _ = envs.reset(seed=0)
    source, captured = roll(envs, lambda: None, steps=2)
    assert np.allclose(source.extract(captured, 2)[0], observations[2])


def test_mujoco_states_are_positions_and_velocities_and_can_be_set_again() -> None:
    pytest.importorskip("mujoco")
    env, other = gym.make("Hopper-v5"), gym.make("Hopper-v5")
    env.reset(seed=0)
    other.reset(seed=1)
    adapter = state_adapter(env)
    assert adapter is not None
    simulator: Any = env.unwrapped
    state = adapter.get_state(simulator)
    adapter.set_state(other.unwrapped, state)
    assert state.tolist() == [*simulator.data.qpos, *simulator.data.qvel]
    assert np.array_equal(adapter.get_state(other.unwrapped), state)


class _Unknown(gym.Env[Any, Any]):
    """A simulator that nobody has written an adapter for."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 200}
    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(1, np.float32), {}


@pytest.fixture
def unknown_id() -> Any:
    gym.register("ClipTest/Unknown-v0", entry_point=lambda **arguments: _Unknown(**arguments))
    yield "ClipTest/Unknown-v0"
    del gym.registry["ClipTest/Unknown-v0"]


def test_an_unknown_simulator_is_shown_by_its_captured_frames(unknown_id: str) -> None:
    env = gym.make(unknown_id)
    env.reset()
    assert snapshot_source(env) is None
    frames = np.full((3, 50, 50, 3), 7, dtype=np.uint8)
    clip = clip_painter(unknown_id, frame_size=(150, 100), theme="dark").frames(segment_of(None, frames))
    assert clip.shape == (3, 100, 150, 3)
    assert (clip[:, :, 25:125] == 7).all()
    assert (clip[:, :, :25] == THEMES["dark"].background).all()
    assert (clip[:, :, 125:] == THEMES["dark"].background).all()


def test_a_clip_never_plays_faster_than_a_person_can_follow(unknown_id: str) -> None:
    assert clip_painter(unknown_id).frames_per_second == 40


def test_a_segment_that_cannot_be_shown_says_why(unknown_id: str) -> None:
    with pytest.raises(ValueError, match="neither simulator states nor frames"):
        clip_painter(unknown_id).frames(segment_of(None))
    with pytest.raises(ValueError, match="no adapter for its simulator"):
        clip_painter(unknown_id).frames(segment_of(np.zeros((3, 4))))


def test_states_of_another_environment_are_refused() -> None:
    with pytest.raises(ValueError, match="4 numbers of float64"):
        clip_painter("CartPole-v1").frames(segment_of(np.zeros((3, 5))))
    with pytest.raises(ValueError, match="bytes of uint8"):
        clip_painter("rlhf/Driving-v1").frames(segment_of(np.zeros((3, 5), np.uint8)))


@pytest.mark.parametrize(
    ("arguments", "message"), [({"theme": "sepia"}, "light, dark"), ({"frame_size": (10, 10)}, "60x40")]
)
def test_a_wrong_look_is_refused_before_anything_is_drawn(arguments: dict[str, Any], message: str) -> None:
    for environment_id in ("CartPole-v1", "rlhf/Driving-v1"):
        with pytest.raises(ValueError, match=message):
            clip_painter(environment_id, **arguments)


def test_a_film_holds_every_frame_at_its_rate(tmp_path: Path) -> None:
    content = encode_mp4(random_frames(25), tmp_path / "clip.mp4", 12.5)
    assert (tmp_path / "clip.mp4").read_bytes() == content
    with av.open(io.BytesIO(content), mode="r") as film:
        video = film.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.average_rate == 12.5
        assert len([*film.decode(video=0)]) == 25


def test_a_film_can_start_before_it_has_been_loaded() -> None:
    content = encode_mp4(random_frames())
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_film_keeps_the_colours() -> None:
    color = (29, 99, 201)
    frames = np.empty((4, 40, 60, 3), dtype=np.uint8)
    frames[:] = color
    with av.open(io.BytesIO(encode_mp4(frames)), mode="r") as film:
        shown = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(shown[20, 30].astype(int) - color).max() <= 4


def test_odd_sizes_are_filmed_too() -> None:
    with av.open(io.BytesIO(encode_mp4(random_frames(height=41, width=61))), mode="r") as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (62, 42)


@pytest.mark.parametrize("frames", [random_frames()[0], random_frames().astype(np.float32), random_frames(0)])
def test_what_is_not_a_clip_is_not_encoded(frames: Any) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        encode_mp4(frames)
