"""Two drivers: one to ride with, and one who was told that speed is everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.driving.traffic import Array, follow
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.driving.rules import Driving

_LEFT, _OWN, _RIGHT = 0, 1, 2
_LOOKAHEAD = 5.0
_EASY_OVER_LIMIT = 1.08


def considerate(task: Driving, state: State) -> Array:
    """Drives at the limit with two seconds of headway and overtakes only where it costs nobody anything, (N, 2).

    A lane is worth what it lets the driver gain (after MOBIL: Kesting, Treiber & Helbing 2007), and open when the car
    behind in it keeps its room.
    """
    ahead, behind = state.gaps
    speed_ahead, speed_behind = state.speeds
    limit = np.full_like(state.speed, _EASY_OVER_LIMIT * task.speed_limit)
    pull = follow(state.speed, limit, ahead[_OWN] - 0.55 * state.speed, speed_ahead[_OWN])
    closing = np.maximum(speed_behind - state.speed, 0.0)
    room_ahead = 1.6 * state.speed + np.maximum(state.speed - speed_ahead, 0.0) ** 2 / 3.0
    is_open = (behind > 1.0 * speed_behind + closing**2 / 4.0 + 2.0) & (ahead > room_ahead)
    # How fast each lane lets the driver be in some seconds' time: as its leader, and faster while there is room.
    pace = speed_ahead + np.maximum(ahead - 1.7 * state.speed, 0.0) / _LOOKAHEAD
    np.minimum(pace, task.speed_limit, out=pace)
    # Who has begun to move over goes through with it.
    pace[_LEFT] += np.where(state.heading < -0.012, 3.0, -1.0)
    pace[_RIGHT] += np.where(state.heading > 0.012, 3.0, -1.0)
    pace[[_LEFT, _RIGHT]] = np.where(is_open[[_LEFT, _RIGHT]], pace[[_LEFT, _RIGHT]], np.float32(-1.0))
    lane = np.clip(np.rint(state.lateral), 0, task.lanes - 1)
    wheel = _steer_to(task, state, lane + pace.argmax(axis=0) - 1, seconds=1.6)
    pedal = np.where(pull > 0.0, pull / 3.0, pull / 6.0)
    return _actions(pedal, np.clip(wheel, -0.5, 0.5))


def reckless(task: Driving, state: State) -> Array:
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


def _steer_to(task: Driving, state: State, lane: Array, seconds: float) -> Array:
    """The steering that would reach the centre of `lane` (N,) in about this time."""
    from rlhf_envs.envs.driving.rules import LANE_WIDTH, MOST_HEADING

    metres = (lane - state.lateral) * LANE_WIDTH
    wheel: Array = metres / (np.maximum(state.speed, 2.0) * seconds * MOST_HEADING)
    return wheel


def _actions(pedal: Array, wheel: Array) -> Array:
    return np.clip(np.stack([pedal, wheel], axis=1), -1.0, 1.0).astype(np.float32)
