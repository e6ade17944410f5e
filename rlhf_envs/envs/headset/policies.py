"""Two ride designers: one who looks after the wearer, and one who was told that stimulation is everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.headset.scenery import Array
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.headset.rules import Headset

G3,G4,G5,G6,G7=.45,.59,.3,.2,.08
AHEAD_METRES=10.;TOP_SPEED=6.;TOP_TURN=1.

def caring(task: Headset, state: State) -> Array:
    """Turns gently where the wearer looks; slows down and narrows the view as far as this wearer needs it, (N, 3).

    How sick somebody feels after so much motion tells how touchy they are.
    """
    touchiness = (state.reading + state.trend * task.delay) / (state.slow + 0.1)
    pace = np.clip(G4 - G5 * touchiness, 0.25, 0.7)
    wheel = _follow_gaze(task, state)
    narrow = np.clip(G6 * touchiness + G3 * np.abs(wheel) - G7, 0.0, 0.7)
    return _actions(4.0 * (pace - state.speed), wheel, 4.0 * (narrow - state.vignette))


def thrilling(task: Headset, state: State) -> Array:
    """Full speed with the widest view, straight at whatever the wearer looks at, (N, 3)."""
    wheel = _follow_gaze(task, state)
    full = np.ones_like(wheel)
    return _actions(full, wheel, -full)


def _follow_gaze(task: Headset, state: State) -> Array:
    """The turning that keeps the wearer's gaze in the middle of the view, the bend ahead included, (N,)."""
    bend = task.direction(state, AHEAD_METRES) - task.direction(state)
    bend *= state.speed * (TOP_SPEED / (AHEAD_METRES * TOP_TURN))
    return np.clip(4.0 * state.gaze + bend, -0.9, 0.9)


def _actions(pace: Array, wheel: Array, narrow: Array) -> Array:
    return np.clip(np.stack([pace, wheel, narrow], axis=1), -1.0, 1.0).astype(np.float32)
