"""From keys and gamepads to actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

KeysToAction = Mapping[tuple[str, ...], Any]
"""Key combinations, as pygame names their keys, and the action of each; the form of `gymnasium.utils.play`."""

_DEAD_ZONE = 0.08
_KEY_NAMES = {" ": "space"}


class Controls:
    """What a person holds down, and the action that this means.

    Args:
        env: the environment that is played.
        keys_to_action: which keys mean which action; the environment's own `get_keys_to_action()` where None.
        gamepad: let the axes of a gamepad be the numbers of a Box action, in order, where any of them is moved.

    Raises:
        ValueError: if there are no keys, they contain the empty combination, or an action is none of the environment's.
    """

    def __init__(
        self, env: gym.Env[Any, Any], keys_to_action: KeysToAction | None = None, gamepad: bool = False
    ) -> None:
        space, name = env.action_space, env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        found = keys_to_action if keys_to_action is not None else _own_keys(env)
        if gamepad and not isinstance(space, spaces.Box):
            raise ValueError(f"A gamepad's axes are numbers, but an action of {name} is a {type(space).__name__}.")
        if not found and not gamepad:
            raise ValueError(
                f"{name} does not say which keys mean which action; say it, such as --keys "
                """'{"left": 0, "right": 1}' for a Discrete action."""
            )
        self.keys_to_action: dict[frozenset[str], Any] = {}
        for keys, action in (found or {}).items():
            held = frozenset(_KEY_NAMES.get(key, key) for key in ((keys,) if isinstance(keys, str) else keys))
            if not held:
                raise ValueError("A key combination must have at least one key.")
            fitting = np.asarray(action, dtype=space.dtype)
            if not space.contains(fitting if fitting.ndim else fitting[()]):
                raise ValueError(f"{action!r} is no action of {name}, whose action space is {space}.")
            self.keys_to_action[held] = fitting if fitting.ndim else fitting[()]
        self.idle_action = _idle_action(env)
        self._space = space
        self._gamepad = gamepad
        self._held: list[str] = []
        self._axes: dict[int, float] = {}

    @property
    def keys(self) -> list[str]:
        """Every key that means something, by pygame's name: first those that do so alone, in the order given."""
        alone = [key for keys in self.keys_to_action if len(keys) == 1 for key in keys]
        return list(dict.fromkeys([*alone, *(key for keys in self.keys_to_action for key in sorted(keys))]))

    def press(self, key: str) -> None:
        """A key went down."""
        if key in self.keys and key not in self._held:
            self._held.append(key)

    def release(self, key: str) -> None:
        """A key went up."""
        if key in self._held:
            self._held.remove(key)

    def move_axis(self, axis: int, value: float) -> None:
        """An axis of the gamepad stands at a value from -1 to 1."""
        self._axes[axis] = 0.0 if abs(value) < _DEAD_ZONE else float(np.clip(value, -1, 1))

    def let_go(self) -> None:
        """Nothing is held any more."""
        self._held.clear()
        self._axes.clear()

    def action(self) -> Any | None:
        """What is held down now as an action, or None where that means nothing.

        Of more keys than any combination has, those pressed last count.
        """
        if self._gamepad and isinstance(self._space, spaces.Box) and any(self._axes.values()):
            return self._from_axes(self._space)
        for first in range(len(self._held)):
            action = self.keys_to_action.get(frozenset(self._held[first:]))
            if action is not None:
                return action
        return None

    def _from_axes(self, space: spaces.Box) -> Any:
        flat = np.zeros(int(np.prod(space.shape)), dtype=space.dtype)
        for axis, value in self._axes.items():
            if axis < len(flat):
                flat[axis] = value
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        # A stick at rest is the middle of the range, at its end the end.
        return ((low + high) / 2 + flat * (high - low) / 2).astype(space.dtype).reshape(space.shape)


def _own_keys(env: gym.Env[Any, Any]) -> KeysToAction | None:
    own = getattr(env.unwrapped, "get_keys_to_action", None)
    return None if own is None else own()


def _idle_action(env: gym.Env[Any, Any]) -> Any:
    """What happens while nobody touches a key: what the environment says, or else the action 0."""
    task = getattr(env.unwrapped, "task", None)
    said = getattr(task, "idle_action", None)
    space = env.action_space
    if said is not None:
        return space.dtype.type(said) if isinstance(space, spaces.Discrete) else np.asarray(said, dtype=space.dtype)
    if isinstance(space, spaces.Discrete):
        return space.start
    if isinstance(space, spaces.Box):
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
    return np.zeros(space.shape or (), dtype=space.dtype)
