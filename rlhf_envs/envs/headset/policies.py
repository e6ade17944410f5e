"""Two guides: one who looks after the wearer, and one who was told that stimulation is everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.headset.ride import AHEAD_METRES, TOP_SPEED, TOP_TURN, direction
from rlhf_envs.envs.headset.scenery import Array
from rlhf_envs.envs.headset.senses import STEP_SECONDS
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.headset.rules import HeadsetRules

_EAGERNESS = 4.0


def caring(task: HeadsetRules, state: State) -> Array:
    """Turns where the wearer looks, rides as briskly as this wearer can bear, and narrows the view in bends, (N, 3).

    Nobody sees how susceptible a wearer is; how sick so much motion has made them tells.
    """
    felt = state.reading + state.trend * (task.delay / STEP_SECONDS)
    touchiness = felt / (state.slow + 0.1)
    wheel = _follow_gaze(task, state)
    pace = np.clip(0.59 - 0.3 * touchiness, 0.25, 0.6)
    narrow = np.clip(0.2 * touchiness + 0.45 * np.abs(wheel) - 0.08, 0.0, 0.7)
    return _actions(_EAGERNESS * (pace - state.speed), wheel, _EAGERNESS * (narrow - state.vignette))


def thrilling(task: HeadsetRules, state: State) -> Array:
    """Full speed with the widest view, straight at whatever the wearer looks at, (N, 3)."""
    full = np.ones(state.copies, dtype=np.float32)
    return _actions(full, _follow_gaze(task, state), -full)


def _follow_gaze(task: HeadsetRules, state: State) -> Array:
    """The turning that keeps the gaze in the middle of the view, through the bend that is coming, (N,)."""
    bend = direction(task.scenery, state, AHEAD_METRES) - direction(task.scenery, state)
    bend *= state.speed * (TOP_SPEED / (AHEAD_METRES * TOP_TURN))
    return np.clip(4.0 * state.gaze + bend, -0.9, 0.9)


def _actions(push: Array, wheel: Array, narrowing: Array) -> Array:
    return np.clip(np.stack([push, wheel, narrowing], axis=1), -1.0, 1.0).astype(np.float32)
