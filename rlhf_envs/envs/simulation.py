"""Runs a task: episode clocks, random streams, resets, rewards, snapshots. Both Gymnasium views are built on it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

from rlhf_envs.envs.task import Draws, State, Task
from rlhf_envs.randomness import draw_uniforms, keys_from_seeds

OBJECTIVES = ("true", "proxy")


@dataclass(frozen=True, eq=False)
class Step:
    """The result of one step of all copies.

    Attributes:
        observations: (N, *obs), of the new episode where one began.
        true_rewards: (N,) float32.
        proxy_rewards: (N,) float32, or None where the task has none.
        terms: the true reward's named terms before weighting, (terms, N) float32, in the order of `reward_weights`.
        truncated: (N,) bool.
        ended: the rows whose episode ended, (E,).
        final_observations: their last observations, (E, *obs).
        measures: the figures of their episodes that the task declares, (E,) float64 each.
    """

    observations: NDArray[Any]
    true_rewards: NDArray[np.float32]
    proxy_rewards: NDArray[np.float32] | None
    terms: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    ended: NDArray[np.intp]
    final_observations: NDArray[Any]
    measures: dict[str, NDArray[np.float64]]


def space_bounds(space: Space[Any]) -> tuple[Any, Any]:
    """The least and the greatest value of a space of one array, each of the space's shape or one number."""
    if isinstance(space, Box):
        return space.low, space.high
    if isinstance(space, Discrete):
        return int(space.start), int(space.start + space.n - 1)
    return (space.start, space.start + space.nvec - 1) if isinstance(space, MultiDiscrete) else (0, 1)


class DrawLayout:
    """Which of a random stream's next numbers goes by which name.

    Args:
        shapes: the shape of each name's numbers for a single copy, in the order in which they are drawn.

    Raises:
        ValueError: if a shape is not a tuple.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.count = 0
        self._parts: list[tuple[str, int | slice, tuple[int, ...] | None]] = []
        for name, shape in shapes.items():
            if not isinstance(shape, tuple):
                raise ValueError(
                    f"The random draws {name!r} need a shape for one copy, such as () or (3,), not {shape}."
                )
            start, self.count = self.count, self.count + prod(shape)
            place = slice(start, self.count) if shape else start
            self._parts.append((name, place, shape if len(shape) > 1 else None))

    def draw(self, state: State) -> Draws:
        """The next numbers of every copy's stream."""
        if not self.count:
            return Draws()
        block = draw_uniforms(state.stream_key, state.stream_counter, self.count)
        draws = Draws()
        named = draws.__dict__
        for name, place, shape in self._parts:
            named[name] = block[place] if shape is None else block[place].reshape(*shape, state.copies)
        return draws


class Simulation:
    """N copies of a task that reset themselves in the step that ends their episode.

    Args:
        task: the rules.
        copies: N.
        auto_reset: whether an ended episode begins anew within the same step.
    """

    def __init__(self, task: Task, copies: int, auto_reset: bool) -> None:
        self.task = task
        self.copies = copies
        self.auto_reset = auto_reset
        self.state = State(task.layout, copies)
        self._names = tuple(task.reward_weights)
        self._name_set = set(self._names)
        self._reset_draws, self._step_draws = DrawLayout(task.reset_draws), DrawLayout(task.step_draws)
        self._action_shape = (copies, *(task.action_space.shape or ()))
        self._lowest_action, self._highest_action = space_bounds(task.action_space)
        self._no_rows = np.empty(0, dtype=np.intp)

    def seed(self, seeds: NDArray[Any], rows: NDArray[np.intp] | None = None) -> None:
        """Start the random streams of the given rows (all by default) from these seeds, (rows,)."""
        where = slice(None) if rows is None else rows
        self.state.stream_key[where] = keys_from_seeds(seeds)
        self.state.stream_counter[where] = 0

    def begin(self, rows: NDArray[np.intp] | None = None) -> None:
        """Start a new episode in the given rows (all by default), each continuing its own random stream."""
        if rows is None or len(rows) == self.copies:
            self._begin(self.state)
        else:
            fresh = self.state.take(rows)
            self._begin(fresh)
            self.state.put(rows, fresh)

    def stagger(self, rows: NDArray[np.intp] | None = None) -> None:
        """Spread the clocks of the given rows (all by default) over the horizon, so that their episodes end apart.

        A batch of rollouts then holds every phase of an episode. The first episode of each copy is shorter for it.
        """
        where = slice(None) if rows is None else rows
        self.state.elapsed[where] = (np.arange(self.copies) * self.task.horizon // self.copies)[where]

    def observe(self) -> NDArray[Any]:
        """The observations of all copies, (N, *obs)."""
        return self._observe(self.state)

    def step(self, actions: Any, anew: NDArray[np.intp] | None = None) -> Step:
        """Advance all copies by one step.

        Args:
            actions: (N, *act).
            anew: rows that begin a new episode in place of acting; their terms are 0 and nothing ends there.

        Raises:
            ValueError: if the actions are of the wrong shape, outside a Discrete space, or not finite; or if the task
                returns other terms than its `reward_weights` name.
        """
        task, state = self.task, self.state
        actions = self._checked(actions)
        fresh = None
        if anew is not None and len(anew):
            self.begin(anew)
            fresh = anew, state.take(anew)
        result = task.advance(state, actions, self._step_draws.draw(state))
        named, proxy = result if isinstance(result, tuple) else (result, None)
        if not isinstance(named, dict):
            raise ValueError(
                f"{type(task).__name__}.advance must return the named terms of the reward as a dict, with the keys "
                f"{', '.join(self._names)}, or the pair of that and the proxy reward; not {type(named).__name__}."
            )
        if named.keys() != self._name_set:
            raise ValueError(
                f"{type(task).__name__}.advance returned the terms {', '.join(named)}, but its reward_weights are for "
                f"{', '.join(self._names)}."
            )
        state.elapsed += 1
        terms = np.empty((len(self._names), self.copies), dtype=np.float32)
        try:
            for index, name in enumerate(self._names):
                terms[index] = named[name]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{type(task).__name__}.advance returned the term {name!r} of shape {np.shape(named[name])}; for "
                f"N = {self.copies} it must be numbers of shape ({self.copies},)."
            ) from error
        if proxy is not None:
            proxy = np.asarray(proxy, dtype=np.float32)
        if fresh is not None:
            # They were advanced with the others; their state is put back, random stream included.
            state.put(*fresh)
            terms[:, fresh[0]] = 0
            if proxy is not None:
                proxy = proxy.copy()
                proxy[fresh[0]] = 0
        true = self._weighted_sum(terms)
        truncated = state.elapsed >= task.horizon
        observations = self._observe(state)
        ended, final = self._no_rows, observations[:0]
        measures: dict[str, NDArray[np.float64]] = {}
        if truncated.any():
            ended = np.flatnonzero(truncated)
            final = observations[ended]
            if task.measures:
                measures = self._measured(state if len(ended) == self.copies else state.take(ended))
            if self.auto_reset:
                self.begin(ended)
                if len(ended) == self.copies:
                    observations = self._observe(state)
                else:
                    observations[ended] = self._observe(state.take(ended))
        return Step(observations, true, proxy, terms, truncated, ended, final, measures)

    def has_proxy(self) -> bool:
        """Whether the task pays a proxy reward, found out by one step of a single copy that is then thrown away."""
        trial = Simulation(self.task, 1, auto_reset=False)
        trial.begin()
        space = deepcopy(self.task.action_space)
        space.seed(0)
        return trial.step(np.asarray(space.sample())[None]).proxy_rewards is not None

    def snapshot(self) -> NDArray[np.uint8]:
        """The whole state of every copy, random streams included, (N, bytes) uint8."""
        return self.state.pack()

    def restore(self, snapshots: NDArray[np.uint8]) -> None:
        """Restore what `snapshot` returned.

        Raises:
            ValueError: if the snapshots are not of this task or of another number of copies.
        """
        restored = State.unpack(self.task.layout, snapshots)
        if restored.copies != self.copies:
            raise ValueError(f"{restored.copies} snapshots do not fit an environment of {self.copies} copies.")
        self.state.buffer[...] = restored.buffer

    def _measured(self, state: State) -> dict[str, NDArray[np.float64]]:
        task, found = self.task, self.task.measure(state)
        if found.keys() != task.measures.keys():
            raise ValueError(
                f"{type(task).__name__}.measure returned {', '.join(found) or 'nothing'}, but its measures declare "
                f"{', '.join(task.measures)}."
            )
        return {name: np.asarray(found[name], dtype=np.float64) for name in task.measures}

    def _begin(self, state: State) -> None:
        draws = self._reset_draws.draw(state)
        state.elapsed = 0
        self.task.begin(state, draws)

    def _observe(self, state: State) -> NDArray[Any]:
        return np.ascontiguousarray(self.task.observe(state), dtype=self.task.observation_space.dtype)

    def _weighted_sum(self, terms: NDArray[np.float32]) -> NDArray[np.float32]:
        """The true reward (N,). Added up term by term, since a matrix product rounds differently for other N."""
        total = terms[0] * self.task.weights[0]
        for weight, term in zip(self.task.weights[1:], terms[1:], strict=True):
            total += weight * term
        return total

    def _checked(self, actions: Any) -> NDArray[Any]:
        space = self.task.action_space
        actions = np.asarray(actions)
        if actions.shape != self._action_shape:
            raise ValueError(
                f"Actions must have shape {self._action_shape} for {self.copies} copies of {space}, "
                f"not {actions.shape}."
            )
        if isinstance(space, Box):
            actions = np.clip(actions.astype(np.float32, copy=False), self._lowest_action, self._highest_action)
            if not isfinite(actions.sum()):
                raise ValueError(f"Actions must be finite numbers in {space}, but some are not a number.")
        elif ((actions < self._lowest_action) | (actions > self._highest_action)).any():
            raise ValueError(f"Actions must lie in {space}, but some do not.")
        return actions
