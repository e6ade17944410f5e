"""Demonstrations: what they hold, their file, and the three places they come from."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors.numpy import save_file

import rlhf_envs  # noqa: F401 - registers the environments
from rlhf_envs.demonstrations import (
    Demonstrations,
    Episode,
    append_demonstrations,
    from_expert,
    from_file,
    from_minari,
    load_demonstrations,
    resolve,
    save_demonstrations,
)
from rlhf_envs.environment import EnvironmentRef

EYE = spaces.Box(-1, 1, (3,), np.float32)
VIEW = spaces.Dict({"picture": spaces.Box(0, 255, (4, 5, 3), np.uint8), "speed": spaces.Box(-1, 1, (2,), np.float32)})
BUTTONS = spaces.MultiDiscrete([3, 2])


def episode(steps: int, action_space: spaces.Space[Any] = BUTTONS, reward: float = 1.0) -> Episode:
    rng = np.random.default_rng(steps)
    action_space.seed(steps)
    return Episode(
        rng.uniform(-1, 1, (steps, 3)).astype(np.float32),
        np.array([action_space.sample() for _ in range(steps)]),
        np.full(steps, reward),
    )


def demonstrations(*lengths: int, environment_id: str = "Button-v0", **kwargs: Any) -> Demonstrations:
    return Demonstrations.from_episodes(
        EnvironmentRef(environment_id, kwargs), EYE, BUTTONS, [episode(steps) for steps in lengths]
    )


def assert_equal(left: Demonstrations, right: Demonstrations) -> None:
    assert left._origin() == right._origin()
    np.testing.assert_equal(left.observations, right.observations)
    for name in ("actions", "true_rewards", "episode_starts"):
        mine, yours = getattr(left, name), getattr(right, name)
        assert mine.dtype == yours.dtype
        np.testing.assert_array_equal(mine, yours)


def test_episodes_are_told_apart_and_counted() -> None:
    three = demonstrations(4, 1, 2)
    assert (len(three), three.episodes) == (7, 3)
    assert three.episode_of_step.tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert np.bincount(three.episode_of_step, three.true_rewards).tolist() == [4.0, 1.0, 2.0]


def test_the_first_episodes_are_whole() -> None:
    assert_equal(demonstrations(4, 1, 2).first(2), demonstrations(4, 1))


def test_asking_for_more_episodes_than_there_are_says_how_many_there_are() -> None:
    with pytest.raises(ValueError, match="5 episodes of demonstrations were asked for, but there are 2"):
        demonstrations(4, 1).first(5)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (Episode(np.full((2, 3), np.nan, np.float32), np.zeros((2, 2)), np.zeros(2)), "observations .* must be finite"),
        (Episode(np.zeros((2, 3), np.float32), np.zeros((2, 2)), np.array([0, np.inf])), "rewards .* must be finite"),
        (Episode(np.zeros((2, 3), np.float32), np.zeros((3, 2)), np.zeros(2)), "2 steps need as many actions, not 3"),
        (Episode(np.zeros((2, 4), np.float32), np.zeros((2, 2)), np.zeros(2)), r"must have shape \(3,\) each"),
        (Episode(np.zeros((2, 3), np.float32), np.full((2, 2), 2), np.zeros(2)), "a value outside of MultiDiscrete"),
        (Episode(np.zeros((0, 3), np.float32), np.zeros((0, 2)), np.zeros(0)), "at least one step"),
    ],
)
def test_an_impossible_episode_is_refused_with_its_reason(bad: Episode, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Demonstrations.from_episodes("Button-v0", EYE, BUTTONS, [bad])


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    saved = demonstrations(4, 1, 2, traffic="dense", lanes=[2, 3])
    save_demonstrations(saved, tmp_path / "new" / "play.safetensors")
    assert_equal(load_demonstrations(tmp_path / "new" / "play.safetensors"), saved)


def test_a_file_keeps_the_parts_of_a_dict_observation(tmp_path: Path) -> None:
    seen: dict[str, NDArray[Any]] = {
        "picture": np.full((3, 4, 5, 3), 200, np.uint8),
        "speed": np.full((3, 2), 0.5, np.float32),
    }
    saved = Demonstrations.from_episodes("Car-v0", VIEW, BUTTONS, [Episode(seen, np.zeros((3, 2)), np.ones(3))])
    save_demonstrations(saved, tmp_path / "play.safetensors")
    loaded = load_demonstrations(tmp_path / "play.safetensors")
    loaded.check_fits(VIEW, BUTTONS)
    assert_equal(loaded, saved)


def test_a_recording_grows_by_whole_episodes(tmp_path: Path) -> None:
    path = tmp_path / "play.safetensors"
    append_demonstrations(demonstrations(4), path)
    append_demonstrations(demonstrations(1), path)
    assert append_demonstrations(demonstrations(2), path).episodes == 3
    assert_equal(load_demonstrations(path), demonstrations(4, 1, 2))


def test_episodes_of_another_environment_are_not_added_to_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "play.safetensors"
    append_demonstrations(demonstrations(4, traffic="light"), path)
    with pytest.raises(ValueError, match=r"Button-v0 with .*'traffic': 'dense'.* cannot be added to .*'light'"):
        append_demonstrations(demonstrations(4, traffic="dense"), path)
    assert_equal(load_demonstrations(path), demonstrations(4, traffic="light"))


def test_a_recording_survives_kill_minus_nine_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "play.safetensors"
    append_demonstrations(demonstrations(4), path)
    program = (
        "import sys, numpy as np; from gymnasium import spaces\n"
        "from rlhf_envs.demonstrations import Demonstrations, Episode, append_demonstrations\n"
        "eye, buttons = spaces.Box(-1, 1, (3,), np.float32), spaces.MultiDiscrete([3, 2])\n"
        "played = Episode(np.zeros((1000, 3), np.float32), np.zeros((1000, 2)), np.ones(1000))\n"
        "while True:\n"
        "    more = Demonstrations.from_episodes('Button-v0', eye, buttons, [played])\n"
        "    append_demonstrations(more, sys.argv[1])\n"
        "    print('kept', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None
        told = [player.stdout.readline() for _ in range(20)]
        os.kill(player.pid, signal.SIGKILL)
        told += player.stdout.readlines()
    found = load_demonstrations(path)
    assert found.episodes >= 1 + len(told)
    assert len(found) == 4 + 1000 * (found.episodes - 1)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "play.safetensors"
    append_demonstrations(demonstrations(4), path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not be written to .*play\.safetensors: No space left on device"):
        append_demonstrations(demonstrations(1), path)
    assert_equal(load_demonstrations(path), demonstrations(4))


def test_another_space_is_refused_with_the_one_it_was_recorded_in() -> None:
    with pytest.raises(
        ValueError, match=r"Button-v0, whose observation space is Box\(-1\.0, 1\.0, \(3,\).*here it is Dict"
    ):
        demonstrations(4).check_fits(VIEW, BUTTONS)
    with pytest.raises(
        ValueError, match=r"whose action space is MultiDiscrete\(\[3 2\]\), but here it is Discrete\(2\)"
    ):
        demonstrations(4).check_fits(EYE, spaces.Discrete(2))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "play.safetensors"
    save_demonstrations(demonstrations(4), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="is damaged and cannot be read"):
        load_demonstrations(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reward_model.safetensors"
    save_file({"weights": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="holds no demonstrations, but weights"):
        load_demonstrations(path)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ('{"format_version": 1}', "its format is version 1, and this rlhf_envs reads version 2"),
        ('{"format_version": 2}', "'environment' is missing"),
        ("not JSON", "cannot be read as demonstrations"),
        ("[]", "cannot be read as demonstrations"),
    ],
)
def test_a_description_that_cannot_be_understood_is_refused(tmp_path: Path, description: str, sentence: str) -> None:
    path = tmp_path / "play.safetensors"
    save_file({"actions": np.zeros(3)}, path, {"demonstrations": description})
    with pytest.raises(ValueError, match=sentence):
        load_demonstrations(path)


def test_a_file_says_itself_where_it_was_recorded(tmp_path: Path) -> None:
    save_demonstrations(demonstrations(4, lanes=2), tmp_path / "play.safetensors")
    content = (tmp_path / "play.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["demonstrations"]) == {
        "format_version": 2,
        "environment": EnvironmentRef("Button-v0", {"lanes": 2}).to_json(),
        "observation_space": "Box(-1.0, 1.0, (3,), float32)",
        "action_space": "MultiDiscrete([3 2])",
    }


def test_the_expert_acts_as_it_would_in_single_environments() -> None:
    shown = from_expert(EnvironmentRef("rlhf/Driving-v1", {"horizon": 30}), episodes=3, seed=7)
    assert (len(shown), shown.episodes) == (90, 3)
    for index in range(3):
        env = gym.make("rlhf/Driving-v1", horizon=30)
        expert: Any = env.unwrapped
        observation, _ = env.reset(seed=7 + index)
        for step in np.flatnonzero(shown.episode_of_step == index):
            action = expert.expert_action()
            np.testing.assert_array_equal(shown.observations[step], observation)  # type: ignore[index]
            np.testing.assert_array_equal(shown.actions[step], action)
            observation, _, _, _, info = env.step(action)
            assert shown.true_rewards[step] == pytest.approx(info["true_reward"], abs=1e-6)


def test_noise_takes_the_expert_astray_and_its_own_actions_are_what_is_shown() -> None:
    ref = EnvironmentRef("rlhf/Driving-v1", {"horizon": 40})
    clean = from_expert(ref, episodes=3, seed=7)
    noisy, again = (from_expert(ref, episodes=3, seed=7, noise=0.3) for _ in range(2))
    np.testing.assert_array_equal(noisy.observations, again.observations)  # type: ignore[arg-type]
    np.testing.assert_array_equal(noisy.actions, again.actions)
    assert noisy.true_rewards.mean() < clean.true_rewards.mean()
    strays = []
    for index in range(3):
        env = gym.make("rlhf/Driving-v1", horizon=40)
        expert: Any = env.unwrapped
        observation, _ = env.reset(seed=7 + index)
        steps = np.flatnonzero(noisy.episode_of_step == index)
        # Up to the first random action it is the same episode; the expert's action is shown there as well.
        for count, step in enumerate(steps):
            if not np.array_equal(noisy.observations[step], observation):  # type: ignore[index]
                strays.append(count)
                break
            np.testing.assert_array_equal(noisy.actions[step], expert.expert_action())
            observation, *_ = env.step(noisy.actions[step])
    assert len(strays) == 3
    assert max(strays) < 20
    with pytest.raises(ValueError, match=r"from 0 and below 1, not 1\.0\."):
        from_expert(ref, episodes=3, seed=7, noise=1.0)


@pytest.mark.parametrize("environment_id", ["CartPole-v1", "Pendulum-v1"])
def test_an_environment_without_an_expert_says_what_else_there_is(environment_id: str) -> None:
    with pytest.raises(ValueError, match=f"{environment_id} has no scripted expert; give a file"):
        resolve("expert", environment_id, episodes=2, seed=0)


def test_an_unknown_environment_has_no_demonstrations() -> None:
    with pytest.raises(ValueError, match="There is no environment 'rlhf/Drivin-v0'"):
        from_expert("rlhf/Drivin-v0", episodes=2, seed=0)


def test_a_recorded_file_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "play.safetensors"
    save_demonstrations(demonstrations(4, 1, 2), path)
    assert_equal(resolve(str(path), "Button-v0", episodes=2, seed=0), demonstrations(4, 1))
    assert from_file(path).episodes == 3
    with pytest.raises(ValueError, match=r"There is no file .*absent"):
        resolve(str(tmp_path / "absent.safetensors"), "Button-v0", episodes=2, seed=0)


def test_a_source_of_no_known_kind_is_refused_with_the_kinds_there_are() -> None:
    with pytest.raises(ValueError, match=r'come from "expert", a file that ends in \.safetensors, or "minari:ID", not'):
        resolve("play.pkl", "Button-v0", episodes=2, seed=0)


def test_a_minari_dataset_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    from minari.data_collector.episode_buffer import EpisodeBuffer

    env = gym.make("CartPole-v1")
    buffers = []
    for index, steps in enumerate((5, 3)):
        seen = np.arange((steps + 1) * 4, dtype=np.float32).reshape(-1, 4) / 100
        ends = [step == steps - 1 for step in range(steps)]
        buffers.append(
            EpisodeBuffer(
                id=index,
                observations=list(seen),
                actions=[step % 2 for step in range(steps)],
                rewards=[1.0] * steps,
                terminations=ends,
                truncations=[False] * steps,
            )
        )
    minari.create_dataset_from_buffers(
        "cartpole/tiny-v0",
        buffers,
        env=env,
        eval_env=env,
        algorithm_name="by hand",
        author="the tests",
        author_email="tests@example.org",
        code_permalink="https://example.org",
        description="two short episodes",
        data_format="arrow",
    )
    both = from_minari(tmp_path / "cartpole" / "tiny-v0")
    both.check_fits(env.observation_space, env.action_space)
    assert both.environment.id == "CartPole-v1"
    assert np.bincount(both.episode_of_step, both.true_rewards).tolist() == [5.0, 3.0]
    assert both.actions.tolist() == [0, 1, 0, 1, 0, 0, 1, 0]
    assert isinstance(both.observations, np.ndarray)
    np.testing.assert_array_equal(both.observations[5], np.arange(4, dtype=np.float32) / 100)
    assert_equal(resolve("minari:cartpole/tiny-v0", "CartPole-v1", episodes=1, seed=0), both.first(1))
    with pytest.raises(ValueError, match=r"3 episodes .* were asked for, but cartpole/tiny-v0 has 2"):
        resolve("minari:cartpole/tiny-v0", "CartPole-v1", episodes=3, seed=0)
    with pytest.raises(ValueError, match=r"no Minari dataset 'cartpole/large-v0' on this machine; `minari download"):
        from_minari("cartpole/large-v0")


def test_without_minari_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ValueError, match=r'pip install "rlhf-envs\[minari\]"'):
        from_minari("cartpole/tiny-v0")
