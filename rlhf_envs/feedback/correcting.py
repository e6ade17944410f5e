"""Corrections: a person takes over in the middle of a segment and shows what the agent should have done."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from rlhf_envs.clips import state_adapter
from rlhf_envs.demonstrations.playing import Controls
from rlhf_envs.environment import EnvironmentRef, picture_rate
from rlhf_envs.envs.views import TaskEnv
from rlhf_envs.feedback.store import QUEUE
from rlhf_envs.observations import map_observations, named_arrays, space_parts
from rlhf_envs.queries import Query
from rlhf_envs.segments import Segment

_USUAL_RATE = 15.0
_HIGHEST_RATE = 40.0
_SEED = 0
"""Of what a simulator draws after it was restored, so that the same actions always give the same correction."""

_log = logging.getLogger(__name__)


class Corrector:
    """Lets a person act in an environment from the middle of a segment to its end.

    Once its `begin` was called, `act` is called for each step that remains, and `segment` is what came of it: the steps
    before are those of the original. The same actions from the same step give the same segment in every process.

    Args:
        environment: that the segments are from.

    Attributes:
        controls: what the keys mean, as in demonstrations.
        frames_per_second: steps a second at which a person acts.
        in_turns: whether the environment waits for a person's action.

    Raises:
        ValueError: if a state cannot be restored in it such that it goes on from there, as in environments with
            wrappers, or keys mean no action of it.
    """

    def __init__(self, environment: EnvironmentRef) -> None:
        if environment.wrappers:
            raise ValueError(f"{environment.id} cannot be corrected, because states of its wrappers are not recorded.")
        self._env = environment.make(limited=False)
        self._task = self._env.unwrapped if isinstance(self._env.unwrapped, TaskEnv) else None
        self._adapter = None if self._task is not None else state_adapter(self._env)
        if self._task is None and (self._adapter is None or not self._adapter.is_whole):
            raise ValueError(f"{environment.id} cannot be corrected, because its recorded states are not all of it.")
        self._restarts = environment.on_termination == "restart"
        self.controls = Controls(self._env, gamepad=isinstance(self._env.action_space, spaces.Box))
        if not self.controls.keys:
            raise ValueError(f"{environment.id} cannot be corrected, because no key means an action of it.")
        self.frames_per_second = min(picture_rate(self._env) or _USUAL_RATE, _HIGHEST_RATE)
        self.in_turns = self._task is not None and self._task.task.in_turns
        self._original: Segment | None = None
        self._begun_at = 0

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def begin(self, original: Segment, step: int) -> None:
        """Take over a segment before the action of one of its steps, counted from 0.

        Raises:
            ValueError: if it has no states, or not this step before the end of its episode, or is of another
                environment.
        """
        if original.states is None or not 0 <= step < original.lived:
            raise ValueError(f"A segment of {original.lived} steps with states cannot be taken over at step {step}.")
        for part, space in (("observations", self._env.observation_space), ("actions", self._env.action_space)):
            for name, one in space_parts(space).items():
                shape = dict(named_arrays(getattr(original, part)))[name].shape[1:]
                if shape != one.shape:
                    raise ValueError(f"Its {part} are of shape {shape}, and those of the environment {one.shape}.")
        self._original, self._begun_at = original, step
        self._states = [np.array(state) for state in original.states[: step + 1]]
        self._observations = [_step_of(original, number) for number in range(step + 1)]
        self._actions = list(original.actions[:step])
        self._rewards = list(original.true_rewards[:step])
        self._over = False
        self.controls.release_all()
        self._env.reset(seed=_SEED)
        if self._task is not None:
            self._task.restore(original.states[step])
        elif self._adapter is not None:
            self._adapter.set_state(self._env.unwrapped, original.states[step])

    @property
    def original(self) -> Segment:
        """The segment that was taken over.

        Raises:
            ValueError: before `begin`.
        """
        if self._original is None:
            raise ValueError("No segment was taken over: call begin first.")
        return self._original

    @property
    def begun_at(self) -> int:
        """From which step on a person acts."""
        return self._begun_at

    @property
    def steps(self) -> int:
        """How many steps of the segment there are by now."""
        return len(self._actions)

    @property
    def over(self) -> bool:
        """Whether the person's actions have ended the episode."""
        return self._over

    @property
    def complete(self) -> bool:
        """Whether nothing remains to be done."""
        return self._over or self.steps == len(self.original)

    @property
    def state(self) -> NDArray[Any]:
        """What can be seen now, as the segment's states are; after the last step still what was seen before it."""
        return self._states[-1]

    def act(self, action: Any | None = None) -> None:
        """Act for one step, by default as the environment's keys do while none is held.

        Raises:
            ValueError: if nothing remains to be done.
        """
        if self.complete:
            raise ValueError(f"The {len(self.original)} steps of the segment are over.")
        action = self.controls.idle_action if action is None else action
        observation, reward, terminated, _, info = self._env.step(action)
        self._actions.append(np.asarray(action))
        self._rewards.append(np.float32(info.get("true_reward", reward)))
        if terminated and self._restarts:
            observation, _ = self._env.reset(seed=_SEED + self.steps)
        self._over = terminated and not self._restarts
        if not self.complete:
            self._observations.append(observation)
            self._states.append(self._capture())

    def act_by_keys(self, held: Sequence[str]) -> None:
        """Act for one step as when these keys are held; keys without a meaning are ignored."""
        self.controls.release_all()
        for key in held:
            self.controls.press(key)
        self.act(self.controls.action())
        self.controls.release_all()

    def segment(self) -> Segment:
        """The original up to where it was taken over, and then what the person did.

        Raises:
            ValueError: while something remains to be done.
        """
        original, length = self.original, len(self.original)
        if not self.complete:
            raise ValueError(f"{length - self.steps} of {length} steps remain to be done.")
        assert original.states is not None

        def filled(steps: Sequence[Any], like: NDArray[Any]) -> NDArray[Any]:
            array = np.zeros_like(like)
            array[: len(steps)] = steps
            return array

        by_step = self._observations
        observations = map_observations(
            lambda like, *steps: filled(steps, like), original.observations, *by_step[: self.steps]
        )
        states = [*self._states, *[self._states[-1]] * (length - len(self._states))]
        absorbing = np.arange(length) >= self.steps
        return Segment(
            observations,
            filled(self._actions, original.actions),
            filled(self._rewards, original.true_rewards),
            np.stack(states),
            absorbing=absorbing if absorbing.any() else None,
        )

    def _capture(self) -> NDArray[Any]:
        if self._task is not None:
            return self._task.snapshot()
        assert self._adapter is not None
        return self._adapter.get_state(self._env.unwrapped)


def can_be_corrected(query: Query) -> bool:
    """Whether a person may take over segments of a query: those that a run asks, where they hold states."""
    return query.purpose in QUEUE and any(segment.states is not None for segment in query.segments)


def corrector(environment: EnvironmentRef | None) -> Corrector | None:
    """A corrector for an environment; None where it cannot be restored or acted in, or is not known here."""
    if environment is None:
        return None
    try:
        return Corrector(environment)
    except (ValueError, gym.error.Error) as reason:
        _log.info("There are no corrections: %s", reason)
    except Exception as problem:  # whatever a third-party environment raises
        _log.warning("There are no corrections: %s", problem)
    return None


def _step_of(segment: Segment, number: int) -> Any:
    return map_observations(lambda array: array[number], segment.observations)
