"""What the author of an environment writes: a `Task`, the rules over any number of copies at once, and its `State`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from gymnasium import Space
from numpy.typing import DTypeLike, NDArray

from rlhf_envs.registry import import_object

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas

Array = NDArray[np.float32]
Flags = NDArray[np.bool_]
Given = TypeVar("Given")

Terms = dict[str, NDArray[Any]]
"""Named reward terms, each (N,)."""

SCRIPTED_POLICIES = ("expert", "proxy")
"""The scripted policies that a task may define: one does well on the true reward, one games the proxy reward."""


@dataclass(frozen=True)
class Field:
    """One named quantity of a state: its dtype, and its shape for a single copy (empty for a number)."""

    dtype: DTypeLike = np.float32
    shape: tuple[int, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes that one copy takes."""
        return int(np.dtype(self.dtype).itemsize * prod(self.shape))


def numbers(*names: str, dtype: DTypeLike = np.float32) -> dict[str, Field]:
    """Fields that are single numbers, by name: `fields = numbers("speed", "heading")`."""
    return {name: Field(dtype) for name in names}


@dataclass(frozen=True)
class Measure:
    """A figure by which a field judges behaviour, besides the reward: what `Task.measures` declares.

    Attributes:
        unit: such as "km/h", or "share" for a part of one.
        about: what it is, in a line, with its source.
    """

    unit: str
    about: str


def ratio(amount: NDArray[Any], of: NDArray[Any]) -> NDArray[np.float64]:
    """`amount` / `of`, (N,); not a number where there is nothing that it could be a part of."""
    return amount / np.where(of > 0, of, np.nan).astype(np.float64)


class StateLayout:
    """Where each field lies in a buffer. Wide dtypes come first, which keeps every field aligned without padding."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.fields = dict(sorted(fields.items(), key=lambda item: -np.dtype(item[1].dtype).itemsize))
        self.row_bytes = sum(field.row_bytes for field in self.fields.values())

    def views(self, buffers: NDArray[np.uint8], copies: int) -> dict[str, NDArray[Any]]:
        """The fields of one buffer (bytes,) as arrays (*shape, copies), or of many (steps, bytes) with a steps axis."""
        lead = buffers.shape[:-1]
        arrays = {}
        start = 0
        for name, field in self.fields.items():
            stop = start + field.row_bytes * copies
            arrays[name] = buffers[..., start:stop].view(field.dtype).reshape(*lead, *field.shape, copies)
            start = stop
        return arrays

    def extract_row(self, buffers: NDArray[np.uint8], copies: int, row: int) -> NDArray[np.uint8]:
        """One copy's snapshots (steps, row_bytes) out of the buffers (steps, bytes) of all copies."""
        return _as_bytes([array[..., row] for array in self.views(buffers, copies).values()])


def _as_bytes(arrays: list[NDArray[Any]]) -> NDArray[np.uint8]:
    """Arrays (R, ...) as the bytes of each row, one array after another, (R, bytes)."""
    rows = [np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8) for array in arrays]
    return np.concatenate(rows, axis=1)


class State:
    """Named arrays over N copies, the copies on the last axis: `state.speed` is (N,), `state.cars` is (8, N).

    The arrays are views of one byte buffer, so `state.buffer.copy()` is a snapshot of everything. Assigning to a field
    writes into its array; it never replaces it.
    """

    __slots__ = ("_arrays", "buffer", "copies", "layout")

    layout: StateLayout
    copies: int
    buffer: NDArray[np.uint8]
    _arrays: dict[str, NDArray[Any]]

    def __init__(self, layout: StateLayout, copies: int, buffer: NDArray[np.uint8] | None = None) -> None:
        if buffer is None:
            buffer = np.zeros(layout.row_bytes * copies, dtype=np.uint8)
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "copies", copies)
        object.__setattr__(self, "buffer", buffer)
        object.__setattr__(self, "_arrays", layout.views(buffer, copies))

    def __getattr__(self, name: str) -> NDArray[Any]:
        try:
            return self._arrays[name]
        except KeyError:
            raise AttributeError(f"The state has no field {name!r}; it has {', '.join(self._arrays)}.") from None

    def __setattr__(self, name: str, value: Any) -> None:
        array = self.__getattr__(name)
        if value is not array:
            try:
                array[...] = value
            except ValueError as error:
                raise ValueError(
                    f"The field {name!r} cannot be set to an array of shape {np.shape(value)}: it has the shape "
                    f"{array.shape}, the copies on the last axis."
                ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return (State, (self.layout, self.copies, self.buffer))

    def take(self, rows: NDArray[np.intp]) -> State:
        """A new state that holds copies of the given rows."""
        taken = State(self.layout, len(rows))
        for name, array in self._arrays.items():
            taken._arrays[name][...] = array[..., rows]
        return taken

    def put(self, rows: NDArray[np.intp], other: State) -> None:
        """Overwrite the given rows with those of `other`, in order."""
        for name, array in self._arrays.items():
            array[..., rows] = other._arrays[name]

    def pack(self) -> NDArray[np.uint8]:
        """Every copy's snapshot as bytes, (copies, row_bytes). `unpack` is the inverse."""
        return _as_bytes([np.moveaxis(array, -1, 0) for array in self._arrays.values()])

    @classmethod
    def unpack(cls, layout: StateLayout, snapshots: NDArray[np.uint8]) -> State:
        """The state of as many copies as there are snapshots, (copies, row_bytes) uint8.

        Raises:
            ValueError: if the snapshots are not of this layout.
        """
        snapshots = np.asarray(snapshots)
        if snapshots.ndim != 2 or snapshots.shape[1] != layout.row_bytes or snapshots.dtype != np.uint8:
            raise ValueError(
                f"A snapshot of this environment is {layout.row_bytes} bytes of uint8 per copy, not an array of "
                f"{snapshots.dtype} of shape {snapshots.shape}; it was taken from another environment or version."
            )
        copies = len(snapshots)
        state = cls(layout, copies)
        start = 0
        for name, field in layout.fields.items():
            stop = start + field.row_bytes
            column = np.ascontiguousarray(snapshots[:, start:stop]).view(field.dtype).reshape(copies, *field.shape)
            state._arrays[name][...] = np.moveaxis(column, 0, -1)
            start = stop
        return state

    def row(self, index: int) -> SimpleNamespace:
        """One copy's fields as read-only values, for drawing: numbers, or arrays of the field's shape."""
        values = {}
        for name, array in self._arrays.items():
            value = array[..., index]
            if value.ndim:
                value = value.copy()
                value.setflags(write=False)
            values[name] = value if value.ndim else value.item()
        return SimpleNamespace(**values)


class Draws(SimpleNamespace):
    """Uniform random numbers in [0, 1) by name, float32, the copies on the last axis.

    With `step_draws = {"gust": (), "jitter": (12,)}`, `draws.gust` is (N,) and `draws.jitter` is (12, N). They belong
    to one call and may be changed in place. `normals_from` makes a normal number of two of them.
    """

    def __getattr__(self, name: str) -> NDArray[Any]:
        named = f"those named are {', '.join(self.__dict__)}" if self.__dict__ else "none are named"
        raise AttributeError(
            f"There are no random numbers {name!r} here; {named}. reset_draws names those of begin, and step_draws "
            "those of advance."
        )


def key_combinations(*groups: Mapping[str, Given]) -> Iterator[tuple[tuple[str, ...], tuple[Given, ...]]]:
    """Every way to hold one key of some of the groups, and what each group then gives; "" stands for none of its
    keys."""
    for keys in product(*groups):
        if any(keys):
            yield tuple(filter(None, keys)), tuple(group[key] for group, key in zip(groups, keys, strict=True))


_CLOCK = {**numbers("stream_key", "stream_counter", dtype=np.uint64), "elapsed": Field(np.int32)}


class Task(ABC):
    """The rules of one environment, over N copies at once. `register_task` makes a Gymnasium environment of it.

    A subclass needs two spaces, its `fields`, and the methods `begin`, `advance` and `observe`; all else has a default.
    The copies are on the LAST axis of a state's arrays and on the FIRST axis of observations and actions. A task holds
    parameters only; all that changes is in the `State`, so one task serves `gym.make`, `gym.make_vec`, replays and
    films alike. Every random number comes from `draws`: then copy i of a batch sees what a single environment with its
    seed sees. Episodes last exactly `horizon` steps, because an early end would tell the agent something about the
    reward.

    Needed, as class attributes or set in `__init__` before calling `super().__init__`:
        observation_space, action_space: of a single copy; one array each, finite; Box actions in [-1, 1].
        fields: the state's own fields. `elapsed` (steps since the start of the episode, int32) is there already.

    Optional:
        reward_weights: the named terms of the true reward and their weights; the true reward is their weighted sum. By
            default there is one term, "reward".
        reset_draws, step_draws: the uniform random numbers that `begin` and `advance` get, by name, with the shape for
            a single copy: () for one number.
        render_fps: frames per second at which a clip looks natural.
        rubric: one sentence that tells a person what to look for, with a tie-breaker.
        legend: what can be seen in the picture, and what it means, for people who see it for the first time.
        in_turns: whether the environment waits for a person's action; otherwise it runs in real time.
        idle_action: what a person who plays does while no key is held; None for the action 0.
        draw: a picture; without it the state's numbers are drawn as labelled bars.
        drawing: the function that `draw` calls, as "module:function", imported when the first picture is drawn.
        measures, measure: the field's own figures of a whole episode, which evaluation averages and the report shows.
        expert_action, proxy_action: scripted policies.
        get_keys_to_action, describe_keys: keyboard control, and what the keys do.
    """

    fields: ClassVar[Mapping[str, Field]] = {}
    reward_weights: ClassVar[Mapping[str, float]] = {"reward": 1.0}
    reset_draws: Mapping[str, tuple[int, ...]] = {}
    step_draws: Mapping[str, tuple[int, ...]] = {}
    render_fps: ClassVar[int] = 15
    rubric: ClassVar[str] = ""
    legend: ClassVar[Mapping[str, str]] = {}
    measures: ClassVar[Mapping[str, Measure]] = {}
    in_turns: ClassVar[bool] = False
    idle_action: ClassVar[Any] = None
    drawing: ClassVar[str] = "rlhf_envs.envs.rendering:draw_numbers"

    observation_space: Space[Any]
    action_space: Space[Any]

    def __init__(self, horizon: int = 200) -> None:
        if horizon < 1:
            raise ValueError(f"horizon is the number of steps in an episode and must be at least 1, not {horizon}.")
        name = type(self).__name__
        for space in ("observation_space", "action_space"):
            given = getattr(self, space, None)
            if not isinstance(given, Space) or given.shape is None:
                raise ValueError(f"{name}.{space} must be a Gymnasium space of one array, such as a Box, not {given}.")
        taken = [field for field in self.fields if field in _CLOCK or hasattr(State, field)]
        if taken:
            raise ValueError(f"{name}.fields must not have {', '.join(taken)}: every state has that already.")
        self.horizon = int(horizon)
        self.layout = StateLayout({**_CLOCK, **self.fields})
        self.weights = np.array(list(self.reward_weights.values()), dtype=np.float32)

    @abstractmethod
    def begin(self, state: State, draws: Draws) -> None:
        """Set the starting state of every copy in `state`, from the random numbers named in `reset_draws`."""

    @abstractmethod
    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> Terms | tuple[Terms, NDArray[Any]]:
        """Move every copy one step on.

        Args:
            state: changed in place.
            actions: (N, *action shape); Box actions are already clipped.
            draws: the random numbers named in `step_draws`.

        Returns:
            The named terms of the true reward, each (N,), one for every name in `reward_weights`; with a proxy reward
            (N,), the pair of both.
        """

    @abstractmethod
    def observe(self, state: State) -> NDArray[Any]:
        """What the agent sees, (N, *observation shape), as a new array, not a view of the state."""

    def measure(self, state: State) -> Mapping[str, NDArray[Any]]:
        """The figures that `measures` declares, each (N,), of episodes that have just ended.

        Called once an episode, with the state before a new one begins. What is not defined for an episode, such as a
        share of nothing, is not a number and left out of averages.
        """
        return {}

    def draw(self, row: SimpleNamespace, canvas: Canvas) -> None:
        """Draw one copy. `row` has the state's fields as plain values; nothing in it can be changed.

        By default `drawing` does it; and by default that shows the observation as bars, or as a picture if it is one,
        beside the state's numbers.
        """
        import_object(self.drawing, "drawing")(self, row, canvas)

    def expert_action(self, state: State) -> NDArray[Any]:
        """A scripted policy that does well on the true reward, (N, *action shape).

        Raises:
            ValueError: if the task defines none.
        """
        raise ValueError(f"{type(self).__name__} has no scripted expert; define expert_action in it to have one.")

    def proxy_action(self, state: State) -> NDArray[Any]:
        """A scripted policy that games the proxy reward, (N, *action shape).

        Raises:
            ValueError: if the task defines none.
        """
        raise ValueError(f"{type(self).__name__} has no scripted proxy policy; define proxy_action in it to have one.")

    @property
    def scripted_policies(self) -> tuple[str, ...]:
        """Which of `SCRIPTED_POLICIES` the task defines."""
        own = type(self)
        return tuple(
            name for name in SCRIPTED_POLICIES if getattr(own, f"{name}_action") is not getattr(Task, f"{name}_action")
        )

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """Keyboard control, as `gymnasium.utils.play` takes it; empty where a person cannot act."""
        return {}

    def describe_keys(self) -> Mapping[str, str]:
        """What each key does that acts alone, in a word or two for the person who plays."""
        return {}

    @classmethod
    def describe_term(cls, name: str) -> str:
        """A reward term's name as a person reads it."""
        return name.replace("_", " ")
