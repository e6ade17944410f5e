"""A window in which a person plays whole episodes by keyboard or gamepad, which become demonstrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
from gymnasium import spaces

from rlhf_envs.demonstrations.episodes import Episode
from rlhf_envs.envs.palette import THEMES
from rlhf_envs.envs.rendering import opening_window
from rlhf_envs.envs.task import key_combinations
from rlhf_envs.observations import map_observations, stack_observations
from rlhf_envs.wrappers.spaces import adaptation_of

KeysToAction = Mapping[tuple[str, ...], Any]
"""Key combinations, as pygame names their keys, and the action of each; the form of `gymnasium.utils.play`."""

_DEAD_ZONE = 0.08
_AT_AN_END = 0.99  # where triggers rest, and no stick
_KEY_NAMES = {" ": "space"}
_ARROWS = {
    "up": ("w", {"up", "faster"}),
    "down": ("s", {"down", "slower", "brake"}),
    "left": ("a", {"left"}),
    "right": ("d", {"right"}),
}
"""The key that an arrow key stands for, where that key is described by one of these words."""

_AXES_OF_KEYS = (("left", "right"), ("down", "up"), ("q", "e"), ("a", "d"), ("s", "w"))
"""Keys for the numbers of a Box action of an environment that has none: the lower end of a number, and its upper."""

_STRIP_HEIGHT = 56
_MARGIN = _STRIP_HEIGHT // 4
_LINE_GAP = 4
_FONT_SIZE = 18
_POLLS_PER_SECOND = 60


class Controls:
    """Maps the keys and axes that are held down to an action.

    Args:
        env: the environment that is played.
        keys_to_action: which keys mean which action; the environment's own `get_keys_to_action()` where None.
        gamepad: whether the axes of a gamepad are the numbers of a Box action, when any of them is moved: the first
            stick moves sideways what the keys for left and right do, and upright what those for up and down do; the
            other axes are the other numbers, in order. A trigger that is not pressed is the middle of its number.

    Attributes:
        keys_to_action: what is held down, and the action of it.
        descriptions: what each key does, in a word or two.
        arrows: the key that each arrow key stands for; those that have a meaning of their own are not in it.
        idle_action: what is done while nothing is held.

    Raises:
        ValueError: if there are no keys, a combination is empty, or an action is not one of the environment's.
    """

    def __init__(
        self, env: gym.Env[Any, Any], keys_to_action: KeysToAction | None = None, gamepad: bool = False
    ) -> None:
        space, name = env.action_space, env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        own_keys = getattr(env.unwrapped, "get_keys_to_action", dict)
        found = own_keys() if keys_to_action is None else keys_to_action
        if gamepad and not isinstance(space, spaces.Box):
            raise ValueError(f"A gamepad's axes are numbers, but an action of {name} is a {type(space).__name__}.")
        described: Mapping[str, str] = getattr(getattr(env.unwrapped, "task", None), "describe_keys", dict)()
        if not found and isinstance(space, spaces.Box) and adaptation_of(env) is None:
            found, described = _keys_of_box(space)
        if not found and not gamepad:
            raise ValueError(
                f"{name} does not say which keys mean which action of {space}; say it, such as --keys "
                f"'{_example_keys(space)}'."
            )
        adapted = adaptation_of(env)
        self.keys_to_action: dict[frozenset[str], Any] = {}
        for keys, action in (found or {}).items():
            held = frozenset(_KEY_NAMES.get(key, key) for key in ((keys,) if isinstance(keys, str) else keys))
            if not held:
                raise ValueError("A key combination must have at least one key.")
            # Keys mean actions of the environment itself, as its people know them.
            own_space = space if adapted is None else adapted.env.action_space
            fitting = np.asarray(action, dtype=own_space.dtype)
            if not own_space.contains(fitting if fitting.ndim else fitting[()]):
                raise ValueError(f"{action!r} is no action of {name}, whose action space is {own_space}.")
            own = fitting if fitting.ndim else fitting[()]
            self.keys_to_action[held] = own if adapted is None else adapted.adapted_action(own)
        used = {key for keys in self.keys_to_action for key in keys}
        self.arrows = {
            arrow: key
            for arrow, (key, words) in _ARROWS.items()
            if arrow not in used and words.intersection(str(described.get(key, "")).split())
        }
        own_words = {_KEY_NAMES.get(key, key): str(text) for key, text in described.items()}
        self.descriptions = {
            key: own_words.get(key, _words_for(self.keys_to_action.get(frozenset([key])))) for key in self.keys
        }
        self.idle_action = _idle_action(env)
        self._axis_numbers = self._numbers_of_axes() if isinstance(space, spaces.Box) else {}
        self._space = space
        self._gamepad = gamepad
        self._held: list[str] = []
        self._axes: dict[int, float] = {}
        self._rests: dict[int, float] = {}

    @property
    def keys(self) -> list[str]:
        """Every key that is used, by pygame's name: first those that act alone, in the order given."""
        alone = [key for keys in self.keys_to_action if len(keys) == 1 for key in keys]
        return list(dict.fromkeys([*alone, *(key for keys in self.keys_to_action for key in sorted(keys))]))

    @property
    def held(self) -> bool:
        """Whether anything is held down or moved at the moment."""
        return bool(self._held) or self._steered

    def press(self, key: str) -> None:
        """A key went down."""
        key = self.arrows.get(key, key)
        if key in self.keys and key not in self._held:
            self._held.append(key)

    def release(self, key: str) -> None:
        """A key went up."""
        key = self.arrows.get(key, key)
        if key in self._held:
            self._held.remove(key)

    def move_axis(self, axis: int, value: float) -> None:
        """An axis of the gamepad stands at a value from -1 to 1; what is first heard of it is where it rests."""
        rest = self._rests.setdefault(axis, float(np.sign(value)) if abs(value) >= _AT_AN_END else 0.0)
        away = (value - rest) / 2 if rest else value
        self._axes[axis] = 0.0 if abs(away) < _DEAD_ZONE else float(np.clip(away, -1, 1))

    def release_all(self) -> None:
        """Forget all keys and axes that are held."""
        self._held.clear()
        self._axes.clear()

    def action(self) -> Any | None:
        """The action of what is held down now, or None where that has none.

        If more keys are held than any combination has, those pressed last count.
        """
        if isinstance(self._space, spaces.Box) and self._steered:
            return self._from_axes(self._space)
        for first in range(len(self._held)):
            action = self.keys_to_action.get(frozenset(self._held[first:]))
            if action is not None:
                return action
        return None

    @property
    def _steered(self) -> bool:
        """Whether an axis that means something is moved."""
        return self._gamepad and any(value for axis, value in self._axes.items() if axis in self._axis_numbers)

    def _from_axes(self, space: spaces.Box) -> Any:
        flat = np.zeros(int(np.prod(space.shape)), dtype=space.dtype)
        for axis, (number, sign) in self._axis_numbers.items():
            flat[number] = sign * self._axes.get(axis, 0.0)
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        # A stick at rest is the middle of the range, at its end the end.
        return ((low + high) / 2 + flat * (high - low) / 2).astype(space.dtype).reshape(space.shape)

    def _numbers_of_axes(self) -> dict[int, tuple[int, float]]:
        """Which number of the action each axis moves, and in which direction."""
        size = np.asarray(self.idle_action).size
        found: dict[int, tuple[int, float]] = {}
        # A stick that is pushed up or forward stands at -1.
        for axis, names, sign in ((0, ("right", "d"), 1.0), (1, ("up", "w"), -1.0)):
            for name in names:
                action = self.keys_to_action.get(frozenset([name]))
                if action is not None and axis not in found:
                    off = np.asarray(action, np.float64).reshape(-1) - np.asarray(self.idle_action).reshape(-1)
                    if off.any():
                        number = int(np.argmax(abs(off)))
                        found[axis] = number, sign * float(np.sign(off[number]))
        if len({number for number, _ in found.values()}) < len(found):
            found = {}
        rest = [number for number in range(size) if number not in {taken for taken, _ in found.values()}]
        free = [axis for axis in range(size + len(found)) if axis not in found]
        return found | {axis: (number, 1.0) for axis, number in zip(free, rest, strict=False)}


def _keys_of_box(space: spaces.Box) -> tuple[dict[tuple[str, ...], Any], dict[str, str]]:
    """Keys for the first numbers of a Box action, two for each, and what they do; unused where it is unbounded."""
    low, high = space.low.reshape(-1), space.high.reshape(-1)
    if not np.isfinite([*low, *high]).all():
        return {}, {}
    middle = (low + high) / 2
    count = min(len(low), len(_AXES_OF_KEYS))
    groups = [{"": 0, less: -1, more: 1} for less, more in _AXES_OF_KEYS[:count]]
    found: dict[tuple[str, ...], Any] = {}
    for keys, ends in key_combinations(*groups):
        action = middle.copy()
        action[:count] += np.array(ends) * (high - low)[:count] / 2
        found[keys] = action.astype(space.dtype).reshape(space.shape)
    name = ["action"] if len(low) == 1 else [f"action {number}" for number in range(count)]
    described: dict[str, str] = {}
    for number, (less, more) in enumerate(_AXES_OF_KEYS[:count]):
        described |= {less: f"{name[number]} {low[number]:.3g}", more: f"{name[number]} {high[number]:.3g}"}
    return found, described


def _example_keys(space: spaces.Space[Any]) -> str:
    """Two keys for actions of this space, as --keys takes them."""
    if isinstance(space, spaces.Discrete):
        actions: list[Any] = [int(space.start), int(space.start + space.n - 1)]
    elif isinstance(space, spaces.MultiDiscrete):
        actions = [[0] * space.nvec.size, [int(most) - 1 for most in space.nvec.reshape(-1)]]
    elif isinstance(space, spaces.MultiBinary):
        size = int(np.prod(space.shape))
        actions = [[0] * size, [1] + [0] * (size - 1)]
    else:
        actions = [[-1.0] * int(np.prod(space.shape or (1,))), [1.0] * int(np.prod(space.shape or (1,)))]
    return json.dumps({"left": actions[0], "right": actions[1]})


def _words_for(action: Any) -> str:
    """What a key does whose environment does not say it."""
    if action is None:
        return "with another key"
    numbers = ", ".join(f"{number:.3g}" for number in np.asarray(action).reshape(-1))
    return f"action {numbers}"


def _idle_action(env: gym.Env[Any, Any]) -> Any:
    """The action while no key is held: the environment's own idle action, or else the action 0."""
    idle = getattr(getattr(env.unwrapped, "task", None), "idle_action", None)
    adapted = adaptation_of(env)
    if adapted is not None and isinstance(adapted.env.action_space, spaces.Box):
        return adapted.adapted_action(_idle_action(adapted.env))
    space = env.action_space
    if idle is not None:
        return space.dtype.type(idle) if isinstance(space, spaces.Discrete) else np.asarray(idle, dtype=space.dtype)
    if isinstance(space, spaces.Discrete):
        return space.start
    if isinstance(space, spaces.Box):
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
    return np.zeros(space.shape or (), dtype=space.dtype)


class _Ended(Exception):
    """The person has closed the window."""


class PlayWindow:
    """A window in which a person acts in an environment.

    Args:
        env: made with render_mode="rgb_array" and episodes of a fixed length.
        controls: what the keys mean.
        frames_per_second: steps a second, unless the environment is turn-based.
        turn_based: whether a step is taken only when a key is pressed.
        theme: "light" or "dark".

    Raises:
        RuntimeError: if no window can be opened.
        ValueError: if the rate is not positive.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        controls: Controls,
        frames_per_second: float,
        turn_based: bool = False,
        theme: str = "light",
    ) -> None:
        if not frames_per_second > 0:
            raise ValueError(f"The frames per second must be above 0, not {frames_per_second}.")
        self._env, self._controls = env, controls
        self._rate, self._turn_based = frames_per_second, turn_based
        self._colors = THEMES[theme]
        self._screen: pygame.Surface | None = None
        self._clock = pygame.time.Clock()
        with opening_window(", which is needed to record demonstrations"):
            pygame.font.init()
            pygame.joystick.init()
        self._font = pygame.font.Font(None, _FONT_SIZE + 4)
        labels = {key: key.upper() if len(key) == 1 else key for key in controls.keys}
        self._keys = [(labels[key], controls.descriptions[key]) for key in labels]
        if controls.arrows:
            self._keys.append(("arrows", f"as {' '.join(key.upper() for key in controls.arrows.values())}"))
        self._keys_lines = [
            "     ".join(f"{label} {does}" for label, does in self._keys),
            f"keys  {'  '.join(labels.values())}" if labels else "",
        ]
        # A gamepad sends events only as long as its object exists.
        self._gamepads = [pygame.joystick.Joystick(number) for number in range(pygame.joystick.get_count())]

    def record(self, seed: int, episodes: int | None, on_kept: Callable[[Episode], None]) -> int:
        """Let a person play until they close the window or have recorded enough episodes.

        Args:
            seed: of the first episode; the next has seed + 1, and so on, recorded or not.
            episodes: how many to keep; None for any number.
            on_kept: called with each episode as soon as the person keeps it.

        Returns:
            How many were recorded.
        """
        recorded = 0
        try:
            while episodes is None or recorded < episodes:
                episode = self._play(seed, recorded)
                if self._ask_whether_to_keep(episode):
                    on_kept(episode)
                    recorded += 1
                seed += 1
        except _Ended:
            pass
        return recorded

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()

    def _play(self, seed: int, recorded: int) -> Episode:
        observation, _ = self._env.reset(seed=seed)
        self._controls.release_all()
        if not self._turn_based:
            self._wait_for_a_key(recorded)
        observations: list[Any] = []
        actions: list[Any] = []
        rewards: list[float] = []
        ended = False
        while not ended:
            status = f"step {len(rewards)}, return {sum(rewards):.1f}, {recorded} recorded"
            action = self._next_action(status)
            observations.append(map_observations(np.array, observation))
            actions.append(np.array(action))
            observation, reward, terminated, truncated, info = self._env.step(action)
            rewards.append(float(info.get("true_reward", reward)))
            ended = terminated or truncated
        return Episode(stack_observations(observations), np.stack(actions), np.array(rewards, np.float32))

    def _wait_for_a_key(self, recorded: int) -> None:
        """Nothing moves before the person is ready; what they hold down then counts from the first step on."""
        status = "Press a key to start" if self._keys else "Move the gamepad to start"
        while not self._controls.held:
            self._show(f"{status}, {recorded} recorded", "escape ends", self._keys_lines, self._keys)
            self._clock.tick(_POLLS_PER_SECOND)
            if self._handle_events() is not None:  # Enter begins with no key held
                return

    def _next_action(self, status: str) -> Any:
        if not self._turn_based:
            self._show(status, "escape ends", self._keys_lines)
            self._clock.tick(self._rate)
            self._handle_events()
            action = self._controls.action()
            return self._controls.idle_action if action is None else action
        self._controls.release_all()
        while True:
            self._show(status, "press a key to act, escape ends", self._keys_lines)
            self._clock.tick(_POLLS_PER_SECOND)
            self._handle_events()
            if (action := self._controls.action()) is not None:
                return action

    def _ask_whether_to_keep(self, episode: Episode) -> bool:
        status = f"Episode over, return {float(episode.true_rewards.sum()):.1f}."
        while True:
            self._show(status, "enter keeps it, backspace plays another instead")
            self._clock.tick(_POLLS_PER_SECOND)
            if (keep := self._handle_events()) is not None:
                return keep

    def _handle_events(self) -> bool | None:
        """Whether the key to keep an episode was pressed, or the one to drop it; None if neither was."""
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise _Ended
            if event.type == pygame.KEYDOWN:
                if event.key == pygame.K_ESCAPE:
                    raise _Ended
                if event.key in (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_BACKSPACE):
                    return bool(event.key != pygame.K_BACKSPACE)
                self._controls.press(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self._controls.release(pygame.key.name(event.key))
            elif event.type == pygame.JOYAXISMOTION:
                self._controls.move_axis(event.axis, event.value)
        return None

    def _show(self, left: str, right: str, below: Sequence[str] = (), listed: Sequence[tuple[str, str]] = ()) -> None:
        """Draw the picture, and below it what is going on.

        Args:
            left, right: on the first line.
            below: for the second line; the first of them for which there is room.
            listed: keys and what they do, as a panel over the picture.
        """
        picture = np.ascontiguousarray(self._env.render())
        size = (picture.shape[1], picture.shape[0])
        if self._screen is None:
            self._screen = pygame.display.set_mode((max(size[0], 480), size[1] + _STRIP_HEIGHT))
            pygame.display.set_caption("Demonstrate")
        width, height = self._screen.get_size()
        self._screen.fill(self._colors.surface)
        self._screen.blit(pygame.image.frombuffer(picture.tobytes(), size, "RGB"), ((width - size[0]) // 2, 0))
        if listed:
            self._list_keys(listed, (width, size[1]))
        lasts = [self._font.render(text, True, self._colors.muted) for text in below if text]
        lasts = [each for each in lasts if each.get_width() <= width - 2 * _MARGIN]
        has_last = bool(lasts)
        line_height = self._font.get_linesize() + _LINE_GAP
        top = height - (_STRIP_HEIGHT + line_height * (1 + has_last)) / 2
        for text, color, place in ((left, self._colors.ink, 0.0), (right, self._colors.muted, 1.0)):
            line = self._font.render(text, True, color)
            room = width - line.get_width() - 2 * _MARGIN
            self._screen.blit(line, (_MARGIN + place * room, top + (line_height - line.get_height()) / 2))
        if has_last:
            [last, *_] = lasts
            self._screen.blit(last, (_MARGIN, top + line_height + (line_height - last.get_height()) / 2))
        pygame.display.flip()

    def _list_keys(self, listed: Sequence[tuple[str, str]], room: tuple[int, int]) -> None:
        """A panel in the middle of the picture with each key and what it does, as far as there is room."""
        assert self._screen is not None
        line = self._font.get_linesize() + _LINE_GAP
        rows = [
            (self._font.render(label, True, self._colors.ink), self._font.render(does, True, self._colors.muted))
            for label, does in listed
        ]
        per_column = max((room[1] - 4 * _MARGIN) // line, 1)
        columns = [rows[start : start + per_column] for start in range(0, len(rows), per_column)]
        widths = [
            (max(key.get_width() for key, _ in column), max(does.get_width() for _, does in column))
            for column in columns
        ]
        total = sum(key + does + 3 * _MARGIN for key, does in widths) + _MARGIN
        if total > room[0] - 2 * _MARGIN:
            return
        height = max(len(column) for column in columns) * line + 2 * _MARGIN
        panel = pygame.Rect((room[0] - total) // 2, (room[1] - height) // 2, total, height)
        pygame.draw.rect(self._screen, self._colors.surface, panel, border_radius=10)
        pygame.draw.rect(self._screen, self._colors.line, panel, 1, border_radius=10)
        left = panel.left + 2 * _MARGIN
        for column, (key_width, does_width) in zip(columns, widths, strict=True):
            for number, (key, does) in enumerate(column):
                top = panel.top + _MARGIN + number * line
                self._screen.blit(key, (left, top))
                self._screen.blit(does, (left + key_width + _MARGIN, top))
            left += key_width + does_width + 3 * _MARGIN
