"""The ego car: how pedals and steering move it, and how much its passenger feels of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.driving.traffic import Array
from rlhf_envs.envs.state import State

STEP_SECONDS = 0.2
LANE_WIDTH = 3.8
THROTTLE, BRAKE = 3.0, 6.0
MOST_HEADING = 0.1
SCENERY_LENGTH = 400.0
"""Metres after which the roadside repeats, and so where `travelled` starts again from 0."""

_PEDAL_LAG, _STEERING_LAG = 0.4, 0.4
_SHOULDER = 0.9
_GRASS_DRAG = 0.4
_HARD_JERK, _HARD_SWERVE = 10.0, 4.0


def control(state: State, actions: NDArray[Any], lanes: int, top_speed: float) -> Array:
    """Move the ego of every copy along and across the road for one step, in place.

    Args:
        state: `acceleration` (m/s²), `heading` (rad), `speed` (m/s), `lateral` (lanes) and `travelled` (m) change.
        actions: pedals and steering, (N, 2) in [-1, 1].
        lanes: how many there are; half a lane beside them the car runs on grass, which slows it.
        top_speed: in m/s.

    Returns:
        Discomfort from 0 to 1, (N,): (jerk / 10 m/s³)² + (sideways acceleration / 4 m/s²)².
    """
    jolt = _approach(state.acceleration, _demand(actions[:, 0]), _PEDAL_LAG)
    swerve = _approach(state.heading, np.multiply(actions[:, 1], MOST_HEADING), _STEERING_LAG)
    swerve *= state.speed
    state.lateral += state.heading * state.speed * (STEP_SECONDS / LANE_WIDTH)
    np.clip(state.lateral, -_SHOULDER, lanes - 1.0 + _SHOULDER, out=state.lateral)
    grass = np.abs(state.lateral - 0.5 * (lanes - 1.0)) > 0.5 * lanes
    drag = grass * (_GRASS_DRAG * STEP_SECONDS)
    state.speed += state.acceleration * STEP_SECONDS
    state.speed -= drag * state.speed
    np.clip(state.speed, 0.0, top_speed, out=state.speed)
    state.travelled += state.speed * STEP_SECONDS
    np.fmod(state.travelled, SCENERY_LENGTH, out=state.travelled)
    jolt *= 1.0 / (STEP_SECONDS * _HARD_JERK)
    swerve *= 1.0 / (STEP_SECONDS * _HARD_SWERVE)
    jolt *= jolt
    swerve *= swerve
    jolt += swerve
    return np.minimum(jolt, 1.0, out=jolt)


def _demand(pedals: NDArray[Any]) -> Array:
    acceleration: Array = np.maximum(pedals, 0.0) * THROTTLE
    acceleration += np.minimum(pedals, 0.0) * BRAKE
    return acceleration


def _approach(value: Array, aim: Array, share: float) -> Array:
    """Bring `value` nearer to `aim` in place; returns the change, in the array of `aim`."""
    aim -= value
    aim *= share
    value += aim
    return aim
