"""What an author writes: the rules of one environment, over any number of copies at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from rlhf_envs.envs.state import Field, State, StateLayout

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas

Terms = dict[str, NDArray[Any]]

_CLOCK = {
    "stream_key": Field(np.uint64),
    "stream_counter": Field(np.uint64),
    "elapsed": Field(np.int32),
}


class Task(ABC):
    """The rules of one environment: fields, begin, advance, observe; and its picture: draw.

    Everything works on N copies at once, the copies on the LAST axis of a state's arrays and on the FIRST axis of
    observations and actions. A task holds parameters only; all that changes is in the `State`, so one task serves the
    scalar environment, the vector environment, replays and films alike. Episodes last exactly `horizon` steps: an
    early end would tell the agent something about the reward.

    Class attributes that a subclass sets:
        fields: the state's own fields. `elapsed` (steps since the start of the episode, int32) is there already.
        reward_weights: the named terms of the true reward and their weights; the true reward is their weighted sum.
        draws_per_reset, draws_per_step: how many uniform numbers `begin` and `advance` are given.
        render_fps: frames per second at which a clip looks natural.
        rubric: one sentence that tells a person what to look for, with a tie-breaker.
        in_turns: whether a person who plays is waited for; otherwise time goes on.
        idle_action: what a player's desk does while no key is held; None for the action 0.

    Instance attributes that a subclass sets before calling `super().__init__`:
        observation_space, action_space: of a single copy; finite, float32 or uint8; Box actions in [-1, 1].
    """

    fields: ClassVar[Mapping[str, Field]]
    reward_weights: ClassVar[Mapping[str, float]]
    draws_per_reset: ClassVar[int] = 0
    draws_per_step: ClassVar[int] = 0
    render_fps: ClassVar[int] = 15
    rubric: ClassVar[str]
    in_turns: ClassVar[bool] = False
    idle_action: ClassVar[Any] = None

    observation_space: Space[Any]
    action_space: Space[Any]

    def __init__(self, horizon: int) -> None:
        if horizon < 1:
            raise ValueError(f"horizon is the number of steps in an episode and must be at least 1, not {horizon}.")
        self.horizon = int(horizon)
        self.layout = StateLayout({**_CLOCK, **self.fields})
        self.weights = np.array(list(self.reward_weights.values()), dtype=np.float32)

    @abstractmethod
    def begin(self, state: State, draws: NDArray[np.float32]) -> None:
        """Set the starting state of every copy in `state`, from uniform draws (draws_per_reset, N)."""

    @abstractmethod
    def advance(self, state: State, actions: NDArray[Any], draws: NDArray[np.float32]) -> tuple[Terms, NDArray[Any]]:
        """Move every copy one step on.

        Args:
            state: changed in place.
            actions: (N, *action shape); Box actions are already clipped.
            draws: uniform numbers, (draws_per_step, N).

        Returns:
            The named terms of the true reward, each (N,), one for every name in `reward_weights`; and the proxy
            reward (N,).
        """

    @abstractmethod
    def observe(self, state: State) -> NDArray[Any]:
        """What the agent sees, (N, *observation shape), as a new C-contiguous array of the space's dtype."""

    @abstractmethod
    def draw(self, row: SimpleNamespace, canvas: Canvas) -> None:
        """Draw one copy. `row` has the state's fields as plain values; nothing in it can be changed."""

    @abstractmethod
    def expert_action(self, state: State) -> NDArray[Any]:
        """A scripted policy that does well on the true reward, (N, *action shape)."""

    @abstractmethod
    def proxy_action(self, state: State) -> NDArray[Any]:
        """A scripted policy that games the proxy reward, (N, *action shape)."""

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """Keyboard control, as `gymnasium.utils.play` takes it; empty where a person cannot act."""
        return {}

    @classmethod
    def describe_term(cls, name: str) -> str:
        """A reward term's name as a person reads it."""
        return name.replace("_", " ")
