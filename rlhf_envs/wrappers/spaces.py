"""Spaces as Gymnasium allows them, made into those that Stable-Baselines3 and the reward model take.

Both read a Box, Discrete, MultiDiscrete, MultiBinary, or a flat Dict of these, counted from 0 and with at least one
number, and a Gaussian policy explores well where actions lie in [-1, 1]. Every other space is adapted here, or refused
with what would help.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from rlhf_envs.observations import SMALLEST_IMAGE, is_image

Path = tuple[str | int, ...]
"""Where a part of a nested space lies: keys of Dicts and places in Tuples."""

_SEPARATOR = "/"
_MOST_CHANNELS = 4
"""An array of floats with at most this many numbers a pixel is a picture."""

_LARGEST_GRID, _FEW_VALUES = 36, 32
"""Bytes below this many values, in an array with a shorter side than this, are symbols."""

_MOST_VALUES = 20_000
"""Networks have a column for each value of a choice; with more, training takes minutes for a thousand steps."""

_MOST_ACTIONS = 32

_NO_BOUND = 1e30
"""A bound beyond this is "unbounded", written as the largest number."""

_TAKEN_NAMES = frozenset(
    {"apply", "buffers", "children", "clear", "compile", "cpu", "cuda", "double", "eval", "float", "forward", "half"}
    | {"items", "keys", "modules", "parameters", "pop", "to", "train", "training", "type", "update", "values"}
)
"""Keys that Stable-Baselines3's network for Dict observations cannot have, because PyTorch's modules use the names."""


@dataclass(frozen=True)
class Adaptation:
    """A space in the place of another one.

    Attributes:
        space: the space that is shown.
        forward: turns a value of the original space into one of `space`.
        back: the reverse; only for actions.
        notes: sentences that say what is otherwise than in the original, where that is more than a matter of form.
    """

    space: Space[Any]
    forward: Callable[[Any], Any]
    back: Callable[[Any], Any] | None = None
    notes: tuple[str, ...] = ()


def adapt(env: gym.Env[Any, Any], name: str) -> gym.Env[Any, Any]:
    """The environment with spaces that can be learned from; itself where nothing has to be adapted.

    Args:
        env: any environment.
        name: what it is called in sentences.

    Raises:
        ValueError: if a space cannot be adapted; the sentence says what would help.
    """
    shown = adapt_observations(env.observation_space, name)
    taken = adapt_actions(env.action_space, name)
    if shown.space is env.observation_space and taken.space is env.action_space:
        return env
    return AdaptSpaces(env, shown, taken)


class AdaptSpaces(gym.Wrapper[Any, Any, Any, Any]):
    """Shows an environment with adapted spaces; `adapt` makes it.

    Args:
        env: any environment.
        shown, taken: the adaptations of its observation and its action space.

    Attributes:
        space_notes: sentences for people: what was left out or is otherwise.
    """

    def __init__(self, env: gym.Env[Any, Any], shown: Adaptation, taken: Adaptation) -> None:
        super().__init__(env)
        self._shown, self._taken = shown, taken
        self.observation_space, self.action_space = shown.space, taken.space
        self.space_notes = shown.notes + taken.notes

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._shown.forward(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act for one step."""
        assert self._taken.back is not None
        observation, reward, terminated, truncated, info = self.env.step(self._taken.back(action))
        return self._shown.forward(observation), reward, terminated, truncated, info

    def adapted_action(self, action: Any) -> Any:
        """An action of the wrapped environment as one of this."""
        return self._taken.forward(action)


def adaptation_of(env: gym.Env[Any, Any]) -> AdaptSpaces | None:
    """The wrapper that has adapted the spaces of an environment; None where there is none."""
    layer: Any = env
    while isinstance(layer, gym.Wrapper) and not isinstance(layer, AdaptSpaces):
        layer = layer.env
    return layer if isinstance(layer, AdaptSpaces) else None


class BoundActions(gym.ActionWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Gives an environment whose Box actions have no bounds the bounds that it works with.

    On the command line: `--wrapper 'rlhf_envs.wrappers:BoundActions={"low": -1, "high": 1}'`.

    Args:
        env: an environment with Box actions.
        low, high: numbers, or one for each number of an action; finite, and within the bounds that it has.

    Raises:
        ValueError: if its actions are no Box, or the bounds are not such.
    """

    def __init__(self, env: gym.Env[Any, Any], low: Any, high: Any) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, low=low, high=high)
        gym.ActionWrapper.__init__(self, env)
        space = env.action_space
        if not isinstance(space, spaces.Box):
            raise ValueError(f"BoundActions is for Box actions, not for {space}.")
        try:
            bounds = [np.broadcast_to(np.asarray(side, np.float64), space.shape) for side in (low, high)]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"BoundActions needs numbers, or {space.shape} numbers, as low and high, not {low!r} and {high!r}."
            ) from error
        lowest, highest = bounds
        within = np.isfinite(bounds).all() and (lowest < highest).all()
        if not within or (lowest < space.low).any() or (highest > space.high).any():
            raise ValueError(
                f"BoundActions needs finite bounds, low below high and within those of {space}, not {low} and {high}."
            )
        self.action_space = spaces.Box(
            lowest.astype(space.dtype), highest.astype(space.dtype), space.shape, space.dtype.type
        )

    def action(self, action: Any) -> Any:
        """The action as it is."""
        return action


def adapt_observations(space: Space[Any], name: str) -> Adaptation:
    """The adaptation of an observation space; with `space` itself where it can be read as it is.

    Args:
        space: any space.
        name: what the environment is called in sentences.

    Raises:
        ValueError: if it cannot be adapted.
    """
    _require_few_values(space, f"{name} shows", "a Box of numbers")
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        found = _observation_part(space, name, "", space)
        if found is None:
            raise ValueError(f"{name} shows nothing: its observation space {space} has no numbers to learn from.")
        return found
    parts: dict[str, tuple[Path, Adaptation]] = {}
    notes: list[str] = []
    for path, leaf in _leaves(space):
        key = _key(path, parts)
        found = None if _is_text(leaf) else _observation_part(leaf, name, key, space)
        if found is not None:
            parts[key] = path, found
            notes += found.notes
        else:
            kind = "is text" if _is_text(leaf) else "has no numbers"
            notes.append(f"The part {_spoken(path)} of the observations {kind}, and is left out.")
    if not parts:
        raise ValueError(
            f"{name} shows nothing to learn from: no part of its observation space {space} has numbers. "
            + _remedy("a Box")
        )
    if isinstance(space, spaces.Dict) and len(parts) == len(space.spaces):
        same = all(path == (key,) and found.space is space.spaces[key] for key, (path, found) in parts.items())
    else:
        same = False
    if same:
        return Adaptation(space, _as_it_is)
    if any(path != (key,) for key, (path, _) in parts.items()):
        notes.append(f"The observations are flattened to the keys {', '.join(parts)}.")

    def forward(observation: Any) -> dict[str, Any]:
        return {key: found.forward(_at(observation, path)) for key, (path, found) in parts.items()}

    return Adaptation(
        spaces.Dict([(key, found.space) for key, (_, found) in parts.items()]), forward, notes=tuple(notes)
    )


def adapt_actions(space: Space[Any], name: str) -> Adaptation:
    """The adaptation of an action space; with `space` itself where it can be used as it is.

    Args:
        space: any space.
        name: what the environment is called in sentences.

    Raises:
        ValueError: if it cannot be adapted, or there is nothing to choose.
    """
    _require_few_values(space, f"{name} takes", "fewer choices, or a Box,")
    parts = [(path, leaf, _action_part(leaf, name)) for path, leaf in _leaves(space)]
    if not any(_choices(part.space) for *_, part in parts):
        raise ValueError(f"{name} leaves nothing to choose: its action space {space} has a single action.")
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return parts[0][2]
    return _joined(space, parts)


def _require_few_values(space: Space[Any], whose: str, wanted: str) -> None:
    values = 0
    for path, leaf in _leaves(space):
        if isinstance(leaf, spaces.Discrete | spaces.MultiDiscrete):
            values += int(np.sum(_counts(leaf), dtype=np.float64))
        elif isinstance(leaf, spaces.Text) and not path:
            values += leaf.max_length * (len(leaf.character_list) + 1)
    if values > _MOST_VALUES:
        raise ValueError(
            f"{whose} choices of {values:,} values in all, each of which would be a column of its own; at most "
            f"{_MOST_VALUES:,} can be learned from. {_remedy(wanted)}"
        )


def _observation_part(space: Space[Any], name: str, key: str, whole: Space[Any]) -> Adaptation | None:
    """The adaptation of a part that is no Dict or Tuple; None where it has no numbers."""
    if isinstance(space, spaces.Box):
        return _box_observation(space, key) if space.shape is not None and np.prod(space.shape) else None
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return _counted_from_zero(space) if np.prod(np.shape(getattr(space, "nvec", 1))) else None
    if isinstance(space, spaces.Text):
        return _characters(space)
    where = f"the part {key!r} of its observations is" if key else "its observations are"
    rest = [f'"{other}"' for other in getattr(whole, "spaces", ()) if isinstance(other, str)]
    others = [other for other in rest if other != f'"{key.split(_SEPARATOR)[0]}"']
    hint = ""
    if isinstance(whole, spaces.Dict) and others:
        hint = (
            " To leave it out, add --wrapper 'gymnasium.wrappers:FilterObservation="
            f'{{"filter_keys": [{", ".join(others)}]}}\'.'
        )
    raise ValueError(
        f"{name} cannot be learned from: {where} of the space {type(space).__name__}, which has no fixed size. "
        + _remedy("a Box of a fixed size")
        + hint
    )


def _box_observation(space: spaces.Box, key: str) -> Adaptation:
    shape, dtype = space.shape, space.dtype
    where = f"The pictures {key!r}" if key else "The pictures"
    steps: list[Callable[[NDArray[Any]], NDArray[Any]]] = []
    notes: list[str] = []
    low, high = space.low, space.high
    brightest = _brightest(space)
    if brightest is not None:
        scale = 255 / brightest
        steps.append(lambda values: np.rint(np.clip(values * scale, 0, 255)).astype(np.uint8))
        notes.append(f"{where} are kept as bytes: values from 0 to {brightest:g} become 0 to 255.")
        low, high, dtype = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), np.dtype(np.uint8)
    elif dtype.kind == "f" and dtype != np.float32:
        with np.errstate(over="ignore"):
            low, high = low.astype(np.float32), high.astype(np.float32)
        dtype = np.dtype(np.float32)
        steps.append(lambda values: values.astype(np.float32))
    elif dtype.kind == "b":
        low, high, dtype = np.zeros(shape, np.int8), np.ones(shape, np.int8), np.dtype(np.int8)
        steps.append(lambda values: values.astype(np.int8))
    if np.isnan(low).any() or np.isnan(high).any():
        low, high = np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf)
        steps.append(_as_it_is)
    reshape = _reshaping(spaces.Box(low, high, shape, dtype.type))
    if reshape is not None:
        steps.append(reshape)
        low, high = reshape(low), reshape(high)
    if not steps:
        return Adaptation(space, _as_it_is)

    def forward(values: Any) -> NDArray[Any]:
        array = np.asarray(values)
        for step in steps:
            array = step(array)
        return array

    return Adaptation(spaces.Box(low, high, low.shape, dtype.type), forward, notes=tuple(notes))


def _reshaping(space: spaces.Box) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    """How values of a Box are given a shape that is read right, if they are not in one."""
    shape = space.shape
    if not shape:
        return lambda values: values.reshape(1)
    if space.dtype != np.uint8:
        return None
    if _is_grid_of_symbols(space):
        # A convolutional network would average them.
        return lambda values: values.reshape(-1)
    if len(shape) == 2 and is_image(space):
        return lambda values: values[..., None]
    if len(shape) == 4 and is_image(spaces.Box(0, 255, shape[1:], np.uint8)):
        # Pictures of several times become the channels of one.
        if int(np.argmin(shape[1:])) == 0:
            return lambda values: values.reshape(-1, *shape[2:])
        return lambda values: np.moveaxis(values, 0, 2).reshape(*shape[1:3], -1)
    return None


def _brightest(space: spaces.Box) -> float | None:
    """The largest value of a picture, or of several in time, that is not in bytes from 0 to 255; None for others.

    Numbers of other types than bytes are a picture where they lie in [0, 1] (floats) or [0, 255], and there are few a
    pixel.
    """
    shape, high = space.shape[-3:], space.high.reshape(-1)[:1]
    if len(space.shape) not in (2, 3, 4) or sorted(shape)[-2] < SMALLEST_IMAGE or _is_grid_of_symbols(space):
        return None
    if space.low.any() or (space.high != high).any() or not 1 <= high[0] <= 255:
        return None
    if space.dtype == np.uint8:
        return float(high[0]) if high[0] < 255 else None
    few = len(shape) == 3 and min(shape[0], shape[2]) <= _MOST_CHANNELS
    return float(high[0]) if few and (high[0] == 255 or (high[0] == 1 and space.dtype.kind == "f")) else None


def _is_grid_of_symbols(space: spaces.Box) -> bool:
    """Whether bytes are no colours but numbers of things: in small arrays, and in larger ones of few values."""
    if space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    if not is_image(space):
        return len(space.shape) == 3
    return bool(space.high.max() < _FEW_VALUES and sorted(space.shape)[-2] < _LARGEST_GRID)


def _counted_from_zero(space: spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) -> Adaptation:
    """Choices in one row and counted from 0."""
    start = np.asarray(getattr(space, "start", 0))
    if not start.any() and len(space.shape or ()) <= 1:
        return Adaptation(space, _as_it_is, _as_it_is)
    flat: Space[Any] = spaces.MultiDiscrete(_counts(space))
    if isinstance(space, spaces.Discrete):
        flat = spaces.Discrete(int(space.n))
    elif isinstance(space, spaces.MultiBinary):
        flat = spaces.MultiBinary(int(np.prod(space.shape)))
    return Adaptation(
        flat,
        lambda value: (np.asarray(value) - start).reshape(flat.shape or ()).astype(flat.dtype)[()],
        lambda value: (np.asarray(value).reshape(space.shape or ()) + start).astype(space.dtype)[()],
    )


def _characters(space: spaces.Text) -> Adaptation:
    """A text as its characters: their places among the known ones, counted from 1, and 0 where there is none."""
    known = {character: place for place, character in enumerate(space.character_list, start=1)}
    longest = int(space.max_length)

    def forward(text: Any) -> NDArray[np.int64]:
        places = np.zeros(longest, np.int64)
        for place, character in enumerate(str(text)[:longest]):
            places[place] = known.get(character, 0)
        return places

    note = f"Texts are read character by character, {longest} of {len(known)} kinds; their meaning has to be learned."
    return Adaptation(spaces.MultiDiscrete(np.full(longest, len(known) + 1)), forward, notes=(note,))


def _action_part(space: Space[Any], name: str) -> Adaptation:
    if isinstance(space, spaces.Box):
        return _rescaled(space, name)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return _counted_from_zero(space)
    raise ValueError(
        f"{name} cannot be learned in: actions of the space {type(space).__name__} cannot be chosen by a policy. "
        + _remedy("actions that are a Box, Discrete, MultiDiscrete or MultiBinary")
    )


def _rescaled(space: spaces.Box, name: str) -> Adaptation:
    """A Box action as numbers in [-1, 1]; those of an integer Box are rounded."""
    shape, dtype = space.shape, space.dtype
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    bounded = np.abs(low) < _NO_BOUND, np.abs(high) < _NO_BOUND  # neither where it is NaN
    if not np.all(bounded):
        lowest = np.where(bounded[0], low, np.where(bounded[1], high - 2, -1))
        example = json.dumps({"low": lowest.tolist(), "high": np.where(bounded[1], high, lowest + 2).tolist()})
        raise ValueError(
            f"{name} takes actions without bounds, {space}, so it is not known how large they should be; say it with "
            f"--wrapper 'rlhf_envs.wrappers:BoundActions={example}' and the numbers that make sense there, in code "
            "with the same text in wrappers=(...,)."
        )
    if dtype == np.float32 and shape and (low == -1).all() and (high == 1).all():
        return Adaptation(space, _as_it_is, _as_it_is)
    middle, half = (low + high) / 2, (high - low) / 2
    wide = np.where(half > 0, half, 1.0)
    taken = spaces.Box(-1, 1, shape or (1,), np.float32)

    def forward(action: Any) -> NDArray[np.float32]:
        values = np.where(half > 0, (np.asarray(action, np.float64) - middle) / wide, 0.0)
        return values.astype(np.float32).reshape(taken.shape)

    def back(action: Any) -> Any:
        # A float32 action times a float64 array is float64.
        values = middle + half * np.asarray(action).reshape(shape)
        if dtype.kind != "f":
            values = np.rint(values)
        return np.asarray(np.minimum(np.maximum(values, low), high).astype(dtype))

    return Adaptation(taken, forward, back)


_Parts = list[tuple[Path, Space[Any], Adaptation]]


def _joined(space: Space[Any], parts: _Parts) -> Adaptation:
    """A Dict or Tuple of choices as one MultiDiscrete; with Boxes among its parts as one Box, in which there is a score
    for each value of a choice."""
    scored = any(isinstance(part.space, spaces.Box) for *_, part in parts)
    counts: list[NDArray[np.int64]] = []  # empty for a Box
    widths = []
    for *_, part in parts:
        is_box = isinstance(part.space, spaces.Box)
        counts.append(np.zeros(0, np.int64) if is_box else _counts(part.space))
        chosen = int(counts[-1].sum()) if scored else len(counts[-1])
        widths.append(int(np.prod(part.space.shape or ())) if is_box else chosen)
    ends = np.cumsum(widths)
    taken: Space[Any] = (
        spaces.Box(-1, 1, (int(ends[-1]),), np.float32) if scored else spaces.MultiDiscrete(np.concatenate(counts))
    )

    def forward(action: Any) -> NDArray[Any]:
        pieces = []
        for each, (path, _, part) in zip(counts, parts, strict=True):
            value = np.reshape(part.forward(_at(action, path)), -1)
            if scored and len(each):
                value = np.concatenate([np.where(np.arange(n) == v, 1, -1) for n, v in zip(each, value, strict=True)])
            pieces.append(value)
        return np.concatenate(pieces).astype(taken.dtype)

    def back(action: Any) -> Any:
        found = {}
        split = np.split(np.asarray(action), ends[:-1])
        for each, (path, leaf, part), numbers in zip(counts, parts, split, strict=True):
            assert part.back is not None
            if scored and len(each):
                numbers = np.array([int(np.argmax(scores)) for scores in np.split(numbers, np.cumsum(each)[:-1])])
            value = part.back(numbers.reshape(part.space.shape or ()))
            found[path] = np.asarray(value, leaf.dtype)[()] if len(each) else value
        return _nested(space, found)

    if not scored:
        notes = [f"Actions are joined: {len(parts)} parts are chosen at once as one MultiDiscrete."]
    else:
        notes = [f"Actions are joined: {len(parts)} parts are one Box of {ends[-1]} numbers."]
        if any(map(len, counts)):
            notes.append("For choices among these there is a number for each value, of which the largest counts.")
    return Adaptation(taken, forward, back, tuple(notes))


def _counts(space: Space[Any]) -> NDArray[np.int64]:
    """How many values each choice of a Discrete, MultiDiscrete or MultiBinary has, (choices,)."""
    if isinstance(space, spaces.Discrete):
        return np.array([space.n], np.int64)
    if isinstance(space, spaces.MultiBinary):
        return np.full(int(np.prod(space.shape)), 2, np.int64)
    assert isinstance(space, spaces.MultiDiscrete)
    return space.nvec.reshape(-1).astype(np.int64)


def choice_counts(space: Space[Any]) -> NDArray[np.int64] | None:
    """How many values each choice has, (choices,), over all parts of an action space; None if a part is no choice."""
    parts = [leaf for _, leaf in _leaves(space)]
    if not parts or not all(
        isinstance(part, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) for part in parts
    ):
        return None
    return np.concatenate([_counts(part) for part in parts])


def _choices(space: Space[Any]) -> bool:
    """Whether there is more than one action."""
    return bool(np.prod(space.shape)) if isinstance(space, spaces.Box) else bool((_counts(space) > 1).any())


def _is_text(space: Space[Any]) -> bool:
    """Whether values are texts: of Gymnasium's Text, or of a space of somebody's own, as MiniGrid's missions are."""
    return isinstance(space, spaces.Text) or (space.dtype is not None and np.dtype(space.dtype).kind in "US")


def _leaves(space: Space[Any], path: Path = ()) -> Iterator[tuple[Path, Space[Any]]]:
    """The parts of a nested space that are no Dict or Tuple, and where they lie."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for place, part in enumerate(space.spaces):
            yield from _leaves(part, (*path, place))
    else:
        yield path, space


def _key(path: Path, taken: Mapping[str, Any]) -> str:
    """A key of a flat Dict that networks can use as a name: without dots, and none that is there already."""
    key = _SEPARATOR.join(map(str, path)).replace(".", "_") or "_"
    while key in taken or key in _TAKEN_NAMES:
        key += "_"
    return key


def _spoken(path: Path) -> str:
    return repr(_SEPARATOR.join(map(str, path)))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _nested(space: Space[Any], found: Mapping[Path, Any], path: Path = ()) -> Any:
    """Values of the leaves of a Dict or Tuple in its structure."""
    if isinstance(space, spaces.Dict):
        return {key: _nested(part, found, (*path, key)) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_nested(part, found, (*path, place)) for place, part in enumerate(space.spaces))
    return found[path]


def _remedy(wanted: str) -> str:
    return (
        f"A Gymnasium wrapper that makes {wanted} of it helps: --wrapper mymodule:MyWrapper on the command line, "
        'wrappers=("mymodule:MyWrapper",) in code.'
    )


def _as_it_is(value: Any) -> Any:
    return value


def constant_actions(space: Space[Any]) -> NDArray[Any]:
    """Actions that a policy which never looks may repeat, (K, *act) in the dtype of the space.

    All actions of a Discrete space, and every value of each component of a MultiDiscrete one while the others are at
    their first. Of a Box rest (zero, or what is nearest to it within the bounds), the middle, both ends, and each
    component at either end while the others rest; an infinite bound counts as 1. Of any other space, samples.

    At most `_MOST_ACTIONS`, spread evenly over all of them.

    Args:
        space: of a single action.
    """
    if isinstance(space, spaces.Discrete):
        found = np.arange(space.start, space.start + space.n, dtype=space.dtype)
    elif isinstance(space, spaces.MultiDiscrete):
        first, ends = space.start.reshape(-1), (space.start + space.nvec).reshape(-1)
        changed = [(part, value) for part in range(len(first)) for value in range(first[part] + 1, ends[part])]
        flat = np.repeat(first[None], len(changed) + 1, axis=0)
        for row, (part, value) in enumerate(changed, start=1):
            flat[row, part] = value
        found = flat.reshape(-1, *space.shape)
    elif isinstance(space, spaces.Box):
        low, high = (np.where(np.isfinite(end), end, sign) for end, sign in ((space.low, -1.0), (space.high, 1.0)))
        rest = np.clip(0.0, low, high).reshape(-1)
        flat = np.repeat(rest[None], 4 + 2 * rest.size, axis=0)
        flat[1], flat[2], flat[3] = ((low + high) / 2).reshape(-1), low.reshape(-1), high.reshape(-1)
        parts = np.arange(rest.size)
        flat[4 + 2 * parts, parts], flat[5 + 2 * parts, parts] = low.reshape(-1), high.reshape(-1)
        found = flat.reshape(-1, *space.shape)
    else:
        space.seed(0)
        found = np.stack([np.asarray(space.sample()) for _ in range(_MOST_ACTIONS)])
    chosen = np.unique(np.linspace(0, len(found) - 1, min(_MOST_ACTIONS, len(found))).astype(int))
    return found[chosen].astype(space.dtype)
