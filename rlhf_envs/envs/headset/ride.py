"""How the ride moves: the pace, the turning of the seat, and the vignette."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.headset.scenery import Array, Scene, path_direction
from rlhf_envs.envs.headset.senses import STEP_SECONDS
from rlhf_envs.envs.state import State

TOP_SPEED, TOP_TURN = 6.0, 1.0
"""In m/s and rad/s."""

SEAT_STOP = 1.2
"""How far from the path the seat can turn, to either side (rad)."""

GAZE_METRES, AHEAD_METRES = 4.0, 10.0
"""How far ahead on the path the wearer looks, and how far the guide sees."""

_PUSH, _TURN_LAG, _NARROWING = 0.12, 0.4, 0.15
_PUSH_JOLT, _SWING_JOLT, _NARROWING_JOLT = 0.6, 1.6, 0.6


def direction(scene: Scene, state: State, ahead: float = 0.0) -> Array:
    """Where the path leads `ahead` metres further on, in radians, (N,)."""
    along: Array = path_direction(scene, state.phases, state.travelled + ahead)
    return along


def ride(scene: Scene, state: State, actions: NDArray[Any]) -> Array:
    """One step of the ride, in place, for actions (N, 3); returns how abrupt it was, 0 to 1, (N,)."""
    push: Array = np.clip(actions[:, 0] * _PUSH, -state.speed, 1.0 - state.speed)
    state.speed += push
    swing: Array = np.subtract(actions[:, 1], state.turning)
    swing *= _TURN_LAG
    narrowing: Array = np.clip(actions[:, 2] * _NARROWING, -state.vignette, 1.0 - state.vignette)
    state.vignette += narrowing
    state.travelled += state.speed * (TOP_SPEED * STEP_SECONDS)

    along = direction(scene, state)
    view = state.view + (state.turning + swing) * (TOP_TURN * STEP_SECONDS)
    np.clip(view, along - SEAT_STOP, along + SEAT_STOP, out=view)
    # At its stop the seat turns with the path only, whatever it is told.
    turning = (view - state.view) * (1.0 / (TOP_TURN * STEP_SECONDS))
    state.turning = np.clip(turning, -1.0, 1.0, out=turning)
    state.view = view
    state.gaze = direction(scene, state, GAZE_METRES) - view

    push *= _PUSH_JOLT / _PUSH
    swing *= _SWING_JOLT
    narrowing *= _NARROWING_JOLT / _NARROWING
    jolts = push * push
    jolts += swing * swing
    jolts += narrowing * narrowing
    return np.minimum(jolts, 1.0, out=jolts)
