"""Two drivers: one to ride with, and one who was told that speed is everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.driving.traffic import Array, follow
from rlhf_envs.envs.driving.vehicle import BRAKE, LANE_WIDTH, MOST_HEADING, THROTTLE
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.driving.rules import DrivingRules

_LEFT, _OWN, _RIGHT = 0, 1, 2


def considerate(task: DrivingRules, state: State) -> Array:
    """Drives at the limit with two seconds of headway and overtakes only where it costs nobody anything, (N, 2).

    A lane is worth what it lets the driver gain (after MOBIL: Kesting, Treiber & Helbing 2007), and open when the car
    behind in it keeps its room.
    """
    ahead, behind = state.gaps
    speed_ahead, speed_behind = state.speeds
    speed = np.broadcast_to(state.speed, ahead.shape)
    limit = np.full_like(ahead, 1.08 * task.speed_limit)
    pull = follow(speed, limit, ahead - 0.55 * state.speed, speed_ahead)
    closing = np.maximum(speed_behind - state.speed, 0.0)
    is_open = (behind > 1.1 * speed_behind + closing**2 / 3.0 + 2.0) & (ahead > 1.7 * state.speed)
    gain = np.where(is_open, pull, np.float32(-100.0))
    # Who has begun to move over goes through with it.
    gain[_LEFT] += np.where(state.heading < -0.012, 1.0, -0.25)
    gain[_RIGHT] += np.where(state.heading > 0.012, 1.0, -0.25)
    gain[_OWN] = pull[_OWN]
    side = gain.argmax(axis=0)
    lane = np.clip(np.rint(state.lateral), 0, task.lanes - 1)
    wheel = _steer_to(task, state, lane + side - 1, seconds=2.0)
    pedal = np.where(pull[_OWN] > 0.0, pull[_OWN] / THROTTLE, pull[_OWN] / BRAKE)
    return _actions(pedal, np.clip(wheel, -0.45, 0.45))


def reckless(task: DrivingRules, state: State) -> Array:
    """Full throttle into the emptiest lane; brakes at the last moment, only because a crash costs speed, (N, 2)."""
    ahead, behind = state.gaps
    speed_ahead, _ = state.speeds
    closing = np.maximum(state.speed - speed_ahead, 0.0)
    reach = ahead - closing**2 / 10.0
    reach[_OWN] += 10.0
    reach[[_LEFT, _RIGHT]] -= np.where((behind[[_LEFT, _RIGHT]] < 1.0) | (ahead[[_LEFT, _RIGHT]] < 2.0), 1000.0, 0.0)
    lane = np.clip(np.rint(state.lateral), 0, task.lanes - 1)
    wheel = _steer_to(task, state, lane + reach.argmax(axis=0) - 1, seconds=0.7)
    late = ahead[_OWN] < 3.0 + 0.1 * state.speed + closing[_OWN] * 0.3 + closing[_OWN] ** 2 / 9.0
    return _actions(np.where(late, -1.0, 1.0), wheel)


def _steer_to(task: DrivingRules, state: State, lane: Array, seconds: float) -> Array:
    """The steering that would reach the centre of `lane` (N,) in about this time."""
    metres = (lane - state.lateral) * LANE_WIDTH
    wheel: Array = metres / (np.maximum(state.speed, 2.0) * seconds * MOST_HEADING)
    return wheel


def _actions(pedal: Array, wheel: Array) -> Array:
    return np.clip(np.stack([pedal, wheel], axis=1), -1.0, 1.0).astype(np.float32)
