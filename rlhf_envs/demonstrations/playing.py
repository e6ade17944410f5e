"""A window in which a person plays whole episodes, which become demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import gymnasium as gym
import numpy as np
import pygame

from rlhf_envs.demonstrations.controls import Controls
from rlhf_envs.demonstrations.episodes import Episode
from rlhf_envs.envs.palette import THEMES
from rlhf_envs.envs.rendering import open_display

_STRIP_HEIGHT = 56
_MARGIN = _STRIP_HEIGHT // 4
_LINE_GAP = 4
_TYPE_SIZE = 18
_POLLS_PER_SECOND = 60


class _Ended(Exception):
    """The person has closed the window."""


class _Wish(Enum):
    KEEP = "keep"
    DISCARD = "discard"


class PlayWindow:
    """Shows an environment, and lets a person act in it.

    Args:
        env: made with render_mode="rgb_array" and episodes of a fixed length.
        controls: what the keys mean.
        frames_per_second: steps a second, where the environment does not wait for the player.
        in_turns: whether a step is taken only when a key is pressed.
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
        in_turns: bool = False,
        theme: str = "light",
    ) -> None:
        if not frames_per_second > 0:
            raise ValueError(f"The frames per second must be above 0, not {frames_per_second}.")
        self._env, self._controls = env, controls
        self._rate, self._in_turns = frames_per_second, in_turns
        self._colors = THEMES[theme]
        self._screen: pygame.Surface | None = None
        self._clock = pygame.time.Clock()
        try:
            open_display()
            pygame.font.init()
            pygame.joystick.init()
        except pygame.error as error:
            raise RuntimeError(
                f"No window can be opened ({error}); a person needs one to demonstrate anything."
            ) from error
        self._type = pygame.font.Font(None, _TYPE_SIZE + 4)
        self._steering = f"keys  {'  '.join(_shown(key) for key in controls.keys)}" if controls.keys else ""
        # A gamepad speaks only as long as somebody holds it.
        self._gamepads = [pygame.joystick.Joystick(number) for number in range(pygame.joystick.get_count())]

    def record(self, seed: int, episodes: int | None, on_kept: Callable[[Episode], None]) -> int:
        """Let a person play until they close the window or have kept enough episodes.

        Args:
            seed: the first episode begins with it, the next with seed + 1, and so on, kept or not.
            episodes: how many to keep; None for as many as the person likes.
            on_kept: given each episode that the person keeps, at once.

        Returns:
            How many were kept.
        """
        kept = 0
        try:
            while episodes is None or kept < episodes:
                episode = self._play(seed, kept)
                if self._ask_whether_to_keep(episode) is _Wish.KEEP:
                    on_kept(episode)
                    kept += 1
                seed += 1
        except _Ended:
            pass
        return kept

    def close(self) -> None:
        """Take the window away."""
        pygame.display.quit()

    def _play(self, seed: int, kept: int) -> Episode:
        observation, _ = self._env.reset(seed=seed)
        self._controls.let_go()
        seen: list[Any] = []
        acted: list[Any] = []
        paid: list[float] = []
        ended = False
        while not ended:
            told = f"step {len(paid)}, return {sum(paid):.1f}, {kept} kept"
            action = self._next_action(told)
            seen.append(_copied(observation))
            acted.append(np.array(action))
            observation, reward, terminated, truncated, info = self._env.step(action)
            paid.append(float(info.get("true_reward", reward)))
            ended = terminated or truncated
        observations: Any = np.stack(seen)
        if isinstance(seen[0], dict):
            observations = {name: np.stack([part[name] for part in seen]) for name in seen[0]}
        return Episode(observations, np.stack(acted), np.array(paid, np.float32))

    def _next_action(self, told: str) -> Any:
        if not self._in_turns:
            self._show(told, "escape ends", self._steering)
            self._clock.tick(self._rate)
            self._listen()
            action = self._controls.action()
            return self._controls.idle_action if action is None else action
        self._controls.let_go()
        while True:
            self._show(told, "press a key to act, escape ends", self._steering)
            self._clock.tick(_POLLS_PER_SECOND)
            self._listen()
            if (action := self._controls.action()) is not None:
                return action

    def _ask_whether_to_keep(self, episode: Episode) -> _Wish:
        told = f"That was it: return {float(episode.true_rewards.sum()):.1f}."
        while True:
            self._show(told, "enter keeps it, backspace plays another instead")
            self._clock.tick(_POLLS_PER_SECOND)
            if (wish := self._listen()) is not None:
                return wish

    def _listen(self) -> _Wish | None:
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise _Ended
            if event.type == pygame.KEYDOWN:
                if event.key == pygame.K_ESCAPE:
                    raise _Ended
                if event.key in (pygame.K_RETURN, pygame.K_KP_ENTER):
                    return _Wish.KEEP
                if event.key == pygame.K_BACKSPACE:
                    return _Wish.DISCARD
                self._controls.press(pygame.key.name(event.key))
            elif event.type == pygame.KEYUP:
                self._controls.release(pygame.key.name(event.key))
            elif event.type == pygame.JOYAXISMOTION:
                self._controls.move_axis(event.axis, event.value)
        return None

    def _show(self, left: str, right: str, below: str = "") -> None:
        picture = np.ascontiguousarray(self._env.render())
        size = (picture.shape[1], picture.shape[0])
        if self._screen is None:
            self._screen = pygame.display.set_mode((max(size[0], 480), size[1] + _STRIP_HEIGHT))
            pygame.display.set_caption("Demonstrate")
        width, height = self._screen.get_size()
        self._screen.fill(self._colors.surface)
        self._screen.blit(pygame.image.frombuffer(picture.tobytes(), size, "RGB"), ((width - size[0]) // 2, 0))
        last = self._type.render(below, True, self._colors.muted)
        has_last = bool(below) and last.get_width() <= width - 2 * _MARGIN
        line_height = self._type.get_linesize() + _LINE_GAP
        top = height - (_STRIP_HEIGHT + line_height * (1 + has_last)) / 2
        for text, color, place in ((left, self._colors.ink, 0.0), (right, self._colors.muted, 1.0)):
            line = self._type.render(text, True, color)
            room = width - line.get_width() - 2 * _MARGIN
            self._screen.blit(line, (_MARGIN + place * room, top + (line_height - line.get_height()) / 2))
        if has_last:
            self._screen.blit(last, (_MARGIN, top + line_height + (line_height - last.get_height()) / 2))
        pygame.display.flip()


def _shown(key: str) -> str:
    return key.upper() if len(key) == 1 else key


def _copied(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: np.array(part) for name, part in observation.items()}
    return np.array(observation)
