"""A segment: a short stretch of one episode, the unit that people compare."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from rlhf_envs.observations import Observations, Transitions, map_observations

_SINGLE = "observations"
_DICT_PREFIX = "observations/"
MOST_FRAME_BYTES = 2**29
"""Of one segment; a minute of 640 x 480 pictures at 10 a second takes as much."""

_PACKED, _PACKED_SHAPE = "frames_zlib", "frames_shape"


@dataclass(frozen=True, eq=False)
class Segment:
    """T consecutive steps of one episode, and what is needed to show them.

    Attributes:
        observations: what the policy saw before each action, (T, *obs), or a dict of such arrays for a flat Dict space.
        actions: the action taken at each step, (T, *act), as the environment received it (clipped).
        true_rewards: the environment's own reward at each step, (T,) float32. For scripted teachers and evaluation
            only; it is never shown to the agent or to a person.
        states: simulator snapshots before each action, (T, size), or None where the environment offers none.
        frames: captured pictures, (T, height, width, 3) uint8, or None. Used only where there are no states.
        absorbing: (T,) bool, the steps that come after the environment has terminated the episode, all at the end; None
            where there are none. Nothing happens in them: observations, actions and rewards are 0, and what is shown is
            the last state, dimmed. By them people say what the end is worth.

    Raises:
        ValueError: if `absorbing` is of another shape or type, or lets an episode go on after its end.
    """

    observations: Observations
    actions: NDArray[Any]
    true_rewards: NDArray[np.float32]
    states: NDArray[Any] | None = None
    frames: NDArray[np.uint8] | None = None
    absorbing: NDArray[np.bool_] | None = None
    _digest: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.absorbing is None:
            return
        if self.absorbing.dtype != np.bool_ or self.absorbing.shape != (len(self),):
            raise ValueError(
                f"absorbing must say of each of {len(self)} steps whether it comes after the end of the episode, which "
                f"{self.absorbing.dtype} of shape {self.absorbing.shape} does not."
            )
        if (self.absorbing[:-1] & ~self.absorbing[1:]).any():
            raise ValueError("The absorbing steps of a segment must be its last: no episode goes on after its end.")

    def __len__(self) -> int:
        return len(self.true_rewards)

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays take in memory."""
        arrays = [*_observation_tensors(self.observations).values(), self.actions, self.true_rewards]
        return sum(array.nbytes for array in (*arrays, self.states, self.frames) if array is not None)

    @property
    def is_absorbing(self) -> NDArray[np.bool_]:
        """`absorbing`, or none of the steps, (T,) bool."""
        return np.zeros(len(self), dtype=np.bool_) if self.absorbing is None else self.absorbing

    @property
    def lived(self) -> int:
        """How many steps come before the end of the episode."""
        return len(self) - int(self.is_absorbing.sum())

    @property
    def transitions(self) -> Transitions:
        """The steps that were lived; what the last one led to is not known."""
        lived = self.lived
        observations = map_observations(lambda array: array[:lived], self.observations)
        following = map_observations(lambda array: np.concatenate([array[1:], array[-1:]]), observations)
        last = np.arange(lived) == lived - 1
        return Transitions(observations, self.actions[:lived], following, last, last & self.is_absorbing.any())

    @property
    def digest(self) -> str:
        """A hex fingerprint of observations, actions and absorbing steps: equal digests mean equal behaviour."""
        if not self._digest:
            content = hashlib.blake2b(digest_size=16)
            for name, array in sorted(_observation_tensors(self.observations).items()):
                content.update(name.encode())
                content.update(np.ascontiguousarray(array).tobytes())
            content.update(np.ascontiguousarray(self.actions).tobytes())
            if self.absorbing is not None:
                content.update(self.absorbing.tobytes())
            self._digest.append(content.hexdigest())
        return self._digest[0]

    def to_bytes(self) -> bytes:
        """The segment as safetensors bytes; `from_bytes` is its inverse."""
        tensors = _observation_tensors(self.observations)
        tensors["actions"] = np.asarray(self.actions)
        tensors["true_rewards"] = np.asarray(self.true_rewards, dtype=np.float32)
        if self.states is not None:
            tensors["states"] = self.states
        if self.absorbing is not None:
            tensors["absorbing"] = self.absorbing
        if self.frames is not None:
            # Pictures of most simulators are flat areas: they shrink to a few percent.
            packed = zlib.compress(np.ascontiguousarray(self.frames).tobytes(), level=1)
            tensors[_PACKED] = np.frombuffer(packed, np.uint8)
            tensors[_PACKED_SHAPE] = np.array(self.frames.shape, np.int64)
        return save_safetensors({name: np.ascontiguousarray(array) for name, array in tensors.items()})

    @classmethod
    def from_bytes(cls, content: bytes) -> Segment:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if the bytes are not a segment.
        """
        try:
            tensors = load_safetensors(content)
            observations: Observations
            if _SINGLE in tensors:
                observations = tensors[_SINGLE]
            else:
                observations = {
                    name.removeprefix(_DICT_PREFIX): array
                    for name, array in tensors.items()
                    if name.startswith(_DICT_PREFIX)
                }
            segment = cls(
                observations,
                tensors["actions"],
                _rewards(tensors["true_rewards"]),
                tensors.get("states"),
                _unpacked(tensors),
                tensors.get("absorbing"),
            )
        except (SafetensorError, KeyError, zlib.error) as error:
            raise ValueError(f"These {len(content)} bytes are not a stored segment: {error}.") from error
        segment.check_steps()
        return segment

    def check_steps(self) -> None:
        """Refuse arrays that do not belong together; for segments from files that anybody may have written.

        Raises:
            ValueError: if there is no step or no observation, or an array has another number of steps.
        """
        arrays: dict[str, NDArray[Any] | None] = {
            **_observation_tensors(self.observations),
            "actions": self.actions,
            "true_rewards": self.true_rewards,
            "states": self.states,
            "frames": self.frames,
        }
        if not len(self) or len(arrays) < 5:
            raise ValueError("A segment has at least one step and one observation of each.")
        for name, array in arrays.items():
            if array is not None and (array.ndim < 1 or len(array) != len(self) or array.dtype.kind not in "biuf"):
                raise ValueError(
                    f"The {name} of a segment of {len(self)} steps are {array.dtype} of shape {array.shape}."
                )


def _rewards(array: NDArray[Any]) -> NDArray[np.float32]:
    if array.dtype != np.float32 or array.ndim != 1:
        raise ValueError(f"The true rewards of a segment are float32, one per step, not {array.dtype} {array.shape}.")
    return array


def _unpacked(tensors: dict[str, NDArray[Any]]) -> NDArray[np.uint8] | None:
    if _PACKED not in tensors:
        return None
    sides = tensors[_PACKED_SHAPE]
    shape = [int(side) for side in sides] if sides.shape == (4,) and sides.dtype.kind == "i" else [0]
    if shape[-1] != 3 or not all(0 < side <= MOST_FRAME_BYTES for side in shape):
        raise KeyError("frames")
    if math.prod(shape) > MOST_FRAME_BYTES:
        raise ValueError(f"The frames of a segment take {math.prod(shape) / 2**30:,.0f} GiB, which is too much.")
    # Not a byte more than the shape has room for is unpacked, whatever a file from elsewhere may claim.
    content = zlib.decompressobj().decompress(tensors[_PACKED].tobytes(), math.prod(shape) + 1)
    if len(content) != math.prod(shape):
        raise KeyError("frames")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _observation_tensors(observations: Observations) -> dict[str, NDArray[Any]]:
    if isinstance(observations, Mapping):
        return {_DICT_PREFIX + name: np.asarray(array) for name, array in observations.items()}
    return {_SINGLE: np.asarray(observations)}
