"""A person plays, and what they keep becomes demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest

import rlhf_envs
from rlhf_envs.cli import demonstrate
from rlhf_envs.demonstrations import load_demonstrations
from rlhf_envs.demonstrations.playing import Controls, PlayWindow
from tests.cli.test_watch import refused
from tests.gamepad import plugged_in

rlhf_envs.register_environments()


class Person:
    """Presses keys at given looks at the keyboard, of which there is one per step or poll."""

    def __init__(self, *moments: str | None) -> None:
        self._moments: Iterator[str | None] = iter(moments)
        self.looks = 0

    def events(self) -> list[pygame.event.Event]:
        self.looks += 1
        key = next(self._moments, "escape")
        if key is None:
            return []
        if key == "close":
            return [pygame.event.Event(pygame.QUIT)]
        down, _, name = key.rpartition(" ")
        kind = pygame.KEYUP if down == "up" else pygame.KEYDOWN
        return [pygame.event.Event(kind, key=pygame.key.key_code(name))]


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Any:
    def sit(*moments: str | None) -> Person:
        person = Person(*moments)
        monkeypatch.setattr(pygame.event, "get", person.events)
        return person

    return sit


def play(path: Path, *more: str, horizon: int = 6) -> int:
    arguments = ["--env", "rlhf/Driving-v1", "--env-kwargs", f'{{"horizon": {horizon}}}', "--fps", "1000"]
    return demonstrate.main([*arguments, "--out", str(path), *more])


def test_what_the_keys_say_is_done_and_kept(player: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    player(None, "w", None, None, "d", "up w", None, "up d", "return")
    assert play(path, "--episodes", "1", "--seed", "3") == 0
    kept = load_demonstrations(path)
    assert kept.episodes == 1 and kept.environment.kwargs == {"horizon": 6}
    expected = [(0.6, 0), (0.6, 0), (0.6, 0.5), (0, 0.5), (0, 0.5), (0, 0)]
    assert np.allclose(kept.actions, expected)
    env = gym.make("rlhf/Driving-v1", horizon=6)
    observation, _ = env.reset(seed=3)
    for step, action in enumerate(kept.actions):
        assert np.array_equal(kept.observations[step], observation)
        observation, reward, *_ = env.step(action)
        assert kept.true_rewards[step] == np.float32(reward)


def test_an_episode_can_be_played_again_instead_and_the_one_at_hand_is_dropped(player: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    six = [None] * 6
    player("w", *six, "backspace", "s", *six, "return", "return", "close")
    assert play(path) == 0
    kept = load_demonstrations(path)
    assert kept.episodes == 1
    assert (np.asarray(kept.actions)[:, 0] < 0).all()


def test_more_episodes_are_added_to_the_same_file(player: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    for episodes in (1, 2):
        player("return", *[None] * 6, "return")
        play(path, "--episodes", "1")
        assert load_demonstrations(path).episodes == episodes


def test_an_environment_of_turns_waits_for_the_player(player: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    env = gym.make("rlhf/Support-v1", horizon=3)
    (first, action), *_ = env.unwrapped.get_keys_to_action().items()  # type: ignore[attr-defined]
    person = player(None, None, first[0], None, first[0], first[0], "return")
    arguments = ["--env", "rlhf/Support-v1", "--env-kwargs", '{"horizon": 3}', "--out", str(path), "--episodes", "1"]
    assert demonstrate.main(arguments) == 0
    assert load_demonstrations(path).actions.tolist() == [action] * 3
    assert person.looks == 7


def test_a_gamepad_steers_a_box_action() -> None:
    env = gym.make("rlhf/Driving-v1")
    controls = Controls(env, gamepad=True)
    assert controls.action() is None
    controls.move_axis(1, -0.5)  # pushed forward: faster, as W
    controls.move_axis(0, 0.01)
    assert np.allclose(controls.action(), [0.5, 0.0])
    controls.move_axis(0, 0.25)  # to the right: steers to the right, as D
    assert np.allclose(controls.action(), [0.5, 0.25])
    controls.move_axis(1, 0.0)
    controls.move_axis(0, 0.0)
    controls.press("w")
    assert np.allclose(controls.action(), [0.6, 0.0])


def test_a_trigger_at_rest_and_an_axis_without_meaning_move_nothing() -> None:
    controls = Controls(gym.make("rlhf/Driving-v1"), gamepad=True)
    controls.move_axis(4, -1.0)
    controls.move_axis(4, 0.5)
    assert not controls.held and controls.action() is None
    controls.press("w")
    assert np.allclose(controls.action(), [0.6, 0.0])
    unplayed = Controls(gym.make("rlhf/Driving-v1"))
    unplayed.move_axis(0, 0.5)
    assert not unplayed.held and unplayed.action() is None
    three = gym.spaces.Box(-1, 1, (3,))
    env = gym.wrappers.TransformAction(gym.make("Pendulum-v1"), lambda action: action[:1], three)
    triggered = Controls(env, gamepad=True)
    triggered.move_axis(2, -1.0)
    assert not triggered.held
    triggered.move_axis(2, 1.0)
    assert triggered.action().tolist() == [0.0, 0.0, 1.0]


def test_a_demonstration_is_played_with_a_gamepad_that_rests_until_it_is_moved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, get = tmp_path / "d.safetensors", pygame.event.get
    with plugged_in() as pad:
        moves = iter([None] * 5 + [(1, -1.0), (0, 0.5)] + [None] * 30)
        looks = []

        def events() -> list[pygame.event.Event]:
            looks.append(len(looks))
            if (move := next(moves, None)) is not None:
                pad.move(*move)
            found = get()
            return [*found, pygame.event.Event(pygame.KEYDOWN, key=pygame.K_RETURN)] if looks[-1] >= 20 else found

        monkeypatch.setattr(pygame.event, "get", events)
        assert play(path, "--episodes", "1", "--gamepad") == 0
    actions = load_demonstrations(path).actions
    assert (actions[:, 0] > 0.99).all()  # the stick is forward from the first step on: nothing had moved before
    assert np.allclose(actions[1:, 1], 0.5, atol=0.01)


def test_keys_that_are_held_too_many_leave_those_pressed_last() -> None:
    controls = Controls(gym.make("CartPole-v1"), {("left",): 0, ("right",): 1})
    controls.press("left")
    controls.press("right")
    assert controls.action() == 1
    controls.release("right")
    assert controls.action() == 0


def test_keys_are_named_in_the_order_of_the_environment_those_that_act_alone_first() -> None:
    controls = Controls(gym.make("CartPole-v1"), {("w", "left"): 0, ("right",): 1, ("left",): 0, ("s", "right"): 1})
    assert controls.keys == ["right", "left", "w", "s"]


def test_third_party_environments_are_played_with_keys_that_one_names(player: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    player("right", *[None] * 8, "return")
    arguments = ["--env", "CartPole-v1", "--horizon", "8", "--keys", '{"left": 0, "right": 1}', "--fps", "1000"]
    assert demonstrate.main([*arguments, "--run-dir", str(folder), "--episodes", "1"]) == 0
    assert load_demonstrations(folder / "demonstrations.safetensors").actions.tolist() == [1] * 8


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--run-dir", "nowhere"], "holds no run"),
        (
            ["--env", "CartPole-v1", "--out", "d.safetensors"],
            """which keys mean which action of Discrete(2); say it, such as --keys '{"left": 0, "right": 1}'""",
        ),
        (["--env", "CartPole-v1", "--out", "d.safetensors", "--keys", '{"a": 7}'], "is no action of CartPole"),
        (["--env", "CartPole-v1", "--out", "d.safetensors", "--gamepad"], "A gamepad's axes are numbers"),
        (["--env", "CartPole-v1"], "Say where the demonstrations go"),
        (["--env", "rlhf/Drivng-v0", "--out", "d.safetensors"], "Did you mean rlhf/Driving-v1"),
        (["--env", "rlhf/Driving-v1", "--out", "d.safetensors", "--fps", "0"], "must be above 0"),
        (["--env", "rlhf/Driving-v1", "--out", "d.safetensors", "--episodes", "0"], "at least 1"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, demonstrate.main, *arguments)


DRIVING_KEYS = "W faster     S brake     A left     D right     arrows as W S A D"


def test_arrows_do_as_the_letters_that_mean_the_same() -> None:
    controls = Controls(gym.make("rlhf/Driving-v1"))
    controls.press("up")
    controls.press("left")
    assert np.allclose(controls.action(), [0.6, -0.5])
    controls.release("up")
    assert np.allclose(controls.action(), [0.0, -0.5])
    assert controls.descriptions == {"w": "faster", "s": "brake", "a": "left", "d": "right"}
    assert not Controls(gym.make("rlhf/Support-v1")).arrows
    assert not Controls(gym.make("rlhf/Recommender-v1")).arrows
    assert Controls(gym.make("rlhf/Rival-v1")).arrows == {"up": "w", "down": "s"}


@pytest.mark.parametrize("name", [id for id in gym.registry if id.startswith("rlhf/")])
def test_every_key_of_the_suite_says_what_it_does(name: str) -> None:
    env = gym.make(name)
    if env.unwrapped.get_keys_to_action():  # type: ignore[attr-defined]
        controls = Controls(env)
        assert set(controls.descriptions) == set(controls.keys)
        assert not [text for text in controls.descriptions.values() if text.startswith(("action", "with"))]


def test_box_actions_without_keys_of_their_own_have_arrows_and_a_stick() -> None:
    pendulum = Controls(gym.make("Pendulum-v1"))
    pendulum.press("right")
    assert pendulum.action().tolist() == [2.0]
    assert pendulum.descriptions == {"left": "action -2", "right": "action 2"}
    two = gym.spaces.Box(-1, 1, (2,))
    lander = Controls(
        gym.wrappers.TransformAction(gym.make("Pendulum-v1"), lambda action: action[:1], two), gamepad=True
    )
    lander.press("up")
    lander.press("left")
    assert lander.action().tolist() == [-1.0, 1.0]
    lander.move_axis(1, -0.5)
    assert lander.action().tolist() == [0.0, 0.5]
    with pytest.raises(ValueError, match=r"action of MultiDiscrete.*\{\"left\": \[0, 0\], \"right\": \[2, 1\]\}"):
        Controls(gym.wrappers.TransformAction(gym.make("Pendulum-v1"), lambda a: a, gym.spaces.MultiDiscrete([3, 2])))


class Pen:
    """Remembers what a font has written."""

    def __init__(self, font: pygame.font.Font) -> None:
        self._font, self.written = font, set[str]()

    def render(self, text: str, *arguments: Any) -> pygame.Surface:
        self.written.add(text)
        return self._font.render(text, *arguments)

    def get_linesize(self) -> int:
        return self._font.get_linesize()


@pytest.mark.parametrize(
    "environment_id, keys", [("Driving", "W S A D"), ("Glimpse", "0 1 2 3 4 5 6 7 8 9 space W D S A")]
)
def test_the_window_says_while_playing_which_keys_steer(player: Any, environment_id: str, keys: str) -> None:
    env = gym.make(f"rlhf/{environment_id}-v1", render_mode="rgb_array")
    window = PlayWindow(env, Controls(env), 1000.0)
    pen: Any = Pen(window._font)
    window._font = pen
    player("close")
    window.record(0, None, lambda episode: None)
    said = next(text for text in pen.written if text.startswith("W faster" if keys[0] == "W" else "keys  "))
    assert said in (DRIVING_KEYS, "keys  " + keys.replace(" ", "  ")) and pen._font.size(said)[0] < 580
    assert {"faster", "brake"} <= pen.written or {"cannot tell", "it is a 7"} <= pen.written
    window.close()


def test_keys_for_which_there_is_no_room_are_left_out(player: Any) -> None:
    env = gym.make("rlhf/Rival-v1", render_mode="rgb_array")
    few = {("a",): 0, ("d",): 1}
    many = {**few, **{(f"f{number}", "left shift", "page down"): 1 for number in range(1, 13)}}
    many |= {(f"[{number}]", "right shift", "caps lock", "num lock"): 1 for number in range(10)}
    strips = []
    for keys in (few, many):
        window = PlayWindow(env, Controls(env, keys), 1000.0)
        player("close")
        window.record(0, None, lambda episode: None)
        screen = pygame.display.get_surface()
        assert screen is not None
        pixels = pygame.surfarray.array3d(screen)[:, -56:]
        inked = (pixels != pixels[0, 0]).any(axis=2)
        strips.append(np.flatnonzero(inked.any(axis=0)))
        window.close()
    lines = [1 + int((np.diff(rows) > 3).sum()) for rows in strips]
    assert lines == [2, 1]


def test_a_window_tells_how_the_episode_goes(player: Any) -> None:
    env = gym.make("rlhf/Driving-v1", render_mode="rgb_array", horizon=4)
    window = PlayWindow(env, Controls(env), 1000.0)
    player("close")
    assert window.record(0, None, lambda episode: None) == 0
    screen = pygame.display.get_surface()
    assert screen is not None and screen.get_width() == 600
    strip = pygame.surfarray.array3d(screen)[:, -40:]
    assert len(np.unique(strip.reshape(-1, 3), axis=0)) > 3
    window.close()
