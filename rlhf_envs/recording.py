"""Remembers recent rollouts, so that segments can be cut out of them at next to no cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from rlhf_envs.observations import Observations, Transitions, map_observations, merge_leading_axes, named_arrays
from rlhf_envs.segments import Segment

_MOST_TRIES = 20
_MOST_BEYOND_TERMINATION = 0.5
"""The part of all windows that may end with absorbing steps: people should mostly be shown what the agent does."""


class SnapshotSource(Protocol):
    """Gives the simulators' states of all copies as one run of bytes, and finds one copy's states in it again."""

    size: int

    def capture(self, out: NDArray[np.uint8]) -> None:
        """Write the states of all copies into `out`, (size,)."""

    def extract(self, captured: NDArray[np.uint8], row: int) -> NDArray[Any]:
        """The states (T, state size) of one copy from captures (T, size)."""


class FrameSource(Protocol):
    """Takes pictures of some of the copies, for environments that cannot be drawn from states.

    Attributes:
        copies: how many; the first ones. Segments are cut out of their steps only.
        shape: (height, width, 3) of a picture.
    """

    copies: int
    shape: tuple[int, int, int]

    def capture(self, out: NDArray[np.uint8]) -> None:
        """Take a picture of each of these copies into `out`, (copies, height, width, 3)."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Where segments lie in a recorder: M windows of `length` steps.

    Attributes:
        starts: the first step of each, counted from the oldest step that is remembered, (M,).
        rows: the copy of each, (M,).
        length: T.
        lived: how many steps of each were lived, (M,). Those after them come after the environment has terminated the
            episode: they are absorbing (see `Segment.absorbing`). All steps were lived where None.
    """

    starts: NDArray[np.intp]
    rows: NDArray[np.intp]
    length: int
    lived: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, indices: NDArray[np.intp]) -> Windows:
        """Some of the windows, in the order of `indices`."""
        lived = None if self.lived is None else self.lived[indices]
        return Windows(self.starts[indices], self.rows[indices], self.length, lived)

    @property
    def lived_steps(self) -> NDArray[np.intp]:
        """`lived`, or the whole length of each, (M,)."""
        return np.full(len(self), self.length) if self.lived is None else self.lived

    @property
    def absorbing(self) -> NDArray[np.bool_]:
        """Which steps of each window come after a termination, (M, T) bool."""
        return np.arange(self.length) >= self.lived_steps[:, None]

    @property
    def steps(self) -> NDArray[np.intp]:
        """The steps of each window, counted as `starts`, (M, T); in place of absorbing ones the last that was lived."""
        return self.starts[:, None] + np.minimum(np.arange(self.length), self.lived_steps[:, None] - 1)


class SegmentRecorder:
    """A ring of the last steps of N copies: one array assignment per quantity and step, and nothing else.

    Args:
        observation_space, action_space: of a single copy.
        copies: N.
        capacity_steps: how many steps of every copy are remembered.
        snapshots: where simulator states come from, or None where segments shall not have any.
        frames: where pictures come from, or None where segments shall not have any.
    """

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        copies: int,
        capacity_steps: int,
        snapshots: SnapshotSource | None = None,
        frames: FrameSource | None = None,
    ) -> None:
        if capacity_steps < 1:
            raise ValueError(f"A recorder must remember at least 1 step, not {capacity_steps}.")
        lead = (capacity_steps, copies)
        self.copies, self.capacity = copies, capacity_steps
        parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else observation_space
        self._observations: Observations = map_observations(lambda part: _room_for(part, lead), parts)
        self._actions = _room_for(action_space, lead)
        self._true_rewards = np.zeros(lead, dtype=np.float32)
        # How many steps of the same episode end with this one, as far as they are remembered: a window fits where
        # this number at its last step is at least its length.
        self._age = np.zeros(lead, dtype=np.int32)
        self._next_age = np.ones(copies, dtype=np.int32)
        self._terminated = np.zeros(lead, dtype=np.bool_)
        self._snapshots = snapshots
        self._captured = np.zeros((capacity_steps, snapshots.size if snapshots else 0), dtype=np.uint8)
        self._frames = frames
        self._pictures = np.zeros((capacity_steps, frames.copies, *frames.shape), np.uint8) if frames else None
        self._position = 0
        self._filled = 0

    def __len__(self) -> int:
        """Steps that are remembered of every copy."""
        return self._filled

    @property
    def step_bytes(self) -> int:
        """Memory that a step of all copies takes."""
        pictures = () if self._pictures is None else (self._pictures,)
        return sum(array.nbytes for array in (*self.arrays().values(), *pictures)) // self.capacity

    def capture(self) -> None:
        """Remember states and pictures; to be called before the step that is recorded next."""
        if self._snapshots is not None:
            self._snapshots.capture(self._captured[self._position])
        if self._frames is not None and self._pictures is not None:
            self._frames.capture(self._pictures[self._position])

    def record(
        self,
        observations: Observations,
        actions: NDArray[Any],
        true_rewards: NDArray[Any],
        dones: NDArray[Any],
        terminated: NDArray[Any] | None = None,
    ) -> None:
        """Remember one step of all copies.

        Args:
            observations: before the step, (N, *obs) or a dict of such.
            actions: (N, *act).
            true_rewards: (N,).
            dones: (N,) bool, whether the step ended the episode.
            terminated: (N,) bool, whether the step ended it by termination, so that windows may go on with absorbing
                steps; None for no.

        Raises:
            ValueError: if a reward is not a finite number.
        """
        at = self._position
        map_observations(lambda array, shown: array.__setitem__(at, shown), self._observations, observations)
        self._actions[at] = actions
        rewards = self._true_rewards[at]
        rewards[:] = true_rewards
        if not np.isfinite(rewards).all():
            bad = int(np.flatnonzero(~np.isfinite(rewards))[0])
            raise ValueError(
                f"The environment paid a reward of {rewards[bad]} in copy {bad}; rewards must be finite numbers, so "
                "training stopped before it learned from this one."
            )
        self._age[at] = self._next_age
        self._terminated[at] = False if terminated is None else terminated
        self._next_age += 1
        self._next_age[dones] = 1
        self._position = (at + 1) % self.capacity
        self._filled = min(self._filled + 1, self.capacity)

    def episodes_begin(self, rows: NDArray[np.bool_]) -> None:
        """The given rows, (N,) bool, begin a new episode with the next step, whether or not the last one ended."""
        self._next_age[rows] = 1

    @property
    def filled(self) -> int:
        """How many steps of every copy are remembered."""
        return self._filled

    def latest(self, steps: int | None = None) -> tuple[Observations, NDArray[Any], NDArray[np.float32]]:
        """What happened in the last steps (all that are remembered by default) of all copies, oldest step first.

        Returns:
            Observations (steps * N, *obs), actions (steps * N, *act) and true rewards (steps * N,).

        Raises:
            ValueError: if fewer steps are remembered.
        """
        steps = self._filled if steps is None else steps
        if steps > self._filled:
            raise ValueError(f"The last {steps} steps were wanted, but only {self._filled} are remembered.")
        order = self._places(np.arange(self._filled - steps, self._filled))
        picked = self._pick(order), self._actions[order], self._true_rewards[order]
        observations, actions, rewards = (merge_leading_axes(part) for part in picked)
        return observations, actions, rewards  # type: ignore[return-value]

    def latest_transitions(self, steps: int | None = None, following: Observations | None = None) -> Transitions:
        """What happened in the last steps (all that are remembered by default) of all copies, oldest step first.

        Args:
            steps: how many steps of every copy.
            following: what the environment showed after the newest step, (N, *obs). Where it is not said, the newest
                steps count as the last ones of their episodes.

        Returns:
            steps * N transitions.

        Raises:
            ValueError: if fewer steps are remembered.
        """
        steps = self._filled if steps is None else steps
        observations, actions, _ = self.latest(steps)
        newest = following
        if newest is None:
            newest = map_observations(lambda shown: shown[-self.copies :], observations)
        next_observations = map_observations(
            lambda shown, last: np.concatenate([shown[self.copies :], last]), observations, newest
        )
        places = self._places(np.arange(self._filled - steps, self._filled))
        ages, terminated = self._age[places], self._terminated[places]
        ended = np.concatenate([ages[1:], self._next_age[None]]) == 1
        if following is None:
            ended[-1] = True
        return Transitions(observations, actions, next_observations, ended.reshape(-1), terminated.reshape(-1))

    def sample_windows(self, count: int, length: int, rng: np.random.Generator) -> Windows:
        """Up to `count` windows of `length` steps, each of one episode, drawn with replacement.

        A window may go on beyond the termination of its episode with absorbing steps. As many do as there are such
        windows among all, but at most half, unless hardly any other fits. Returns fewer than `count` (or none) where
        hardly any window fits, such as just after a reset.
        """
        # Nothing is drawn for these where nothing was terminated.
        beyond, share = self._windows_beyond_termination(count, length, rng)
        within = self._windows_within_episodes(count, length, rng)
        if not len(beyond):
            return within
        kept = min(len(within), count - round(count * share))
        windows = Windows(
            np.concatenate([within.starts[:kept], beyond.starts[kept:]]),
            np.concatenate([within.rows[:kept], beyond.rows[kept:]]),
            length,
            np.concatenate([within.lived_steps[:kept], beyond.lived_steps[kept:]]),
        )
        return windows.take(rng.permutation(count))

    def gather(self, windows: Windows) -> tuple[Observations, NDArray[Any], NDArray[np.float32]]:
        """What happened in M windows: observations (M, T, *obs), actions (M, T, *act), true rewards (M, T).

        They are 0 at absorbing steps.
        """
        observations = self._pick((self._places(windows.steps), windows.rows[:, None]))
        for _, array in named_arrays(observations):
            array[windows.absorbing] = 0
        return observations, *self.gather_actions(windows)

    def gather_actions(self, windows: Windows) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Actions (M, T, *act) and true rewards (M, T) of M windows, as `gather` gives them."""
        index = (self._places(windows.steps), windows.rows[:, None])
        actions, true_rewards = self._actions[index], self._true_rewards[index]
        actions[windows.absorbing] = 0
        true_rewards[windows.absorbing] = 0
        return actions, true_rewards

    def gather_steps(self, windows: Windows) -> tuple[Observations, NDArray[Any], NDArray[np.bool_]]:
        """The steps of M windows, one after another: observations (M * T, *obs), actions (M * T, *act), and which of
        them are absorbing, (M * T,)."""
        observations, actions, _ = self.gather(windows)
        return merge_leading_axes(observations), merge_leading_axes(actions), windows.absorbing.reshape(-1)  # type: ignore[return-value]

    def step_numbers(self, windows: Windows) -> NDArray[np.intp]:
        """A number for each step of M windows by which `steps` finds it, until the next step is recorded, (M, T).

        Equal steps have equal numbers; absorbing ones have -1.
        """
        numbers = self._places(windows.steps) * self.copies + windows.rows[:, None]
        numbers[windows.absorbing] = -1
        return numbers

    def steps(self, numbers: NDArray[np.intp]) -> tuple[Observations, NDArray[Any]]:
        """Observations (B, *obs) and actions (B, *act) of B steps, by the numbers that `step_numbers` gave."""
        index = np.divmod(numbers, self.copies)
        return self._pick(index), self._actions[index]

    def segment(self, windows: Windows, index: int) -> Segment:
        """One window as a segment of its own, with its states and pictures where there are any."""
        window = windows.take(np.array([index]))
        row, steps, absorbing = int(window.rows[0]), self._places(window.steps[0]), window.absorbing[0]
        observations, actions, true_rewards = self.gather(window)
        states = None
        if self._snapshots is not None:
            states = self._snapshots.extract(self._captured[steps], row)
        return Segment(
            map_observations(lambda array: array[0], observations),
            actions[0],
            true_rewards[0],
            states,
            None if self._pictures is None else self._pictures[steps, row],
            absorbing if absorbing.any() else None,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is remembered but the pictures, by name, for a checkpoint; `restore` takes it back."""
        return {
            **{f"observations/{name}": array for name, array in named_arrays(self._observations)},
            "actions": self._actions,
            "true_rewards": self._true_rewards,
            "age": self._age,
            "terminated": self._terminated,
            "next_age": self._next_age,
            "captured": self._captured,
            "place": np.array([self._position, self._filled], dtype=np.int64),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take back what `arrays` gave.

        Raises:
            ValueError: if it comes from a recorder of another size.
        """
        for name, array in self.arrays().items():
            if name not in arrays or arrays[name].shape != array.shape:
                given = arrays[name].shape if name in arrays else "missing"
                raise ValueError(f"The checkpoint's recorded {name} is {given}, but this run needs {array.shape}.")
            array[...] = arrays[name]
        self._position, self._filled = (int(value) for value in arrays["place"])

    @property
    def _shown(self) -> int:
        """How many copies segments are cut out of; the first ones."""
        return self.copies if self._frames is None else self._frames.copies

    def _windows_within_episodes(self, count: int, length: int, rng: np.random.Generator) -> Windows:
        """Up to `count` windows without absorbing steps, drawn uniformly."""
        starts = np.empty(0, dtype=np.intp)
        rows = np.empty(0, dtype=np.intp)
        for _ in range(_MOST_TRIES if self._filled >= length else 0):
            ends = rng.integers(length - 1, self._filled, size=2 * count)
            drawn = rng.integers(0, self._shown, size=2 * count)
            fits = self._age[self._places(ends), drawn] >= length
            starts = np.concatenate([starts, ends[fits] - length + 1])
            rows = np.concatenate([rows, drawn[fits]])
            if len(starts) >= count:
                break
        return Windows(starts[:count], rows[:count], length)

    def _windows_beyond_termination(self, count: int, length: int, rng: np.random.Generator) -> tuple[Windows, float]:
        """`count` windows that end with absorbing steps, and what part of all windows should be such ones.

        Each termination is drawn as often as any other, and for each how many of the episode's last steps are shown.
        """
        places = self._places(np.arange(self._filled))
        steps, rows = np.nonzero(self._terminated[places, : self._shown])
        if length < 2 or not len(steps):
            nothing = np.empty(0, dtype=np.intp)
            return Windows(nothing, nothing, length), 0.0
        remembered = np.minimum(self._age[places[steps], rows], steps + 1)
        most = np.minimum(remembered, length - 1)
        drawn = rng.integers(0, len(steps), size=count)
        lived = 1 + (rng.random(count) * most[drawn]).astype(np.intp)
        within = np.count_nonzero(self._age[places[length - 1 :], : self._shown] >= length)
        share = float(most.sum() / (most.sum() + within))
        return Windows(steps[drawn] - lived + 1, rows[drawn], length, lived), min(share, _MOST_BEYOND_TERMINATION)

    def _places(self, logical: NDArray[np.intp]) -> NDArray[np.intp]:
        """Positions in the ring of steps counted from the oldest."""
        oldest = self._position if self._filled == self.capacity else 0
        return (logical + oldest) % self.capacity

    def _pick(self, index: Any) -> Observations:
        picked: Observations = map_observations(lambda array: array[index], self._observations)
        return picked


def _room_for(space: Space[Any], lead: tuple[int, int]) -> NDArray[Any]:
    if space.shape is None or space.dtype is None:
        raise ValueError(
            f"{space} cannot be recorded; supported are Box, Discrete, MultiDiscrete and flat Dict of them."
        )
    return np.zeros((*lead, *space.shape), dtype=space.dtype)
