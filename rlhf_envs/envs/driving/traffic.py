"""The cars: how the ego car moves, how the others follow and change lanes, and which cars are nearest.

The other cars are rows of an array (6, CARS, N), always sorted by lane and then by position, so that the car ahead is
the next one in the list: `along, lane, lateral, speed, desired, acceleration = cars`. `along` is in metres relative to
the ego car, `lane` the lane a car belongs to, `lateral` its place on the way there (both in lanes, 0 is the left one).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.task import State

Array = NDArray[np.float32]

STEP_SECONDS = 0.2
LANE_WIDTH = 3.8
THROTTLE, BRAKE = 3.0, 6.0
MOST_HEADING = 0.1
SAFE_TIME_GAP = 1.5
TOP_SPEED = 1.4
"""As a multiple of the speed limit."""
SCENERY_LENGTH = 400.0
"""Metres after which the roadside repeats, and so where `travelled` starts again from 0."""

CARS = 12
QUANTITIES = 6
CAR_LENGTH = 4.8
SIGHT_AHEAD, SIGHT_BEHIND = 80.0, 45.0

# The lanes are placed end to end on one long axis: a car of another lane is then simply very far away.
_LANE_STRIDE = 2000.0
_NO_CAR = 1e6
_SIDES = np.array([[-1.0], [0.0], [1.0]], dtype=np.float32)
_SIGHT = np.array([[SIGHT_AHEAD], [SIGHT_BEHIND]], dtype=np.float32)

# Intelligent driver model (Treiber, Hennecke & Helbing 2000, Phys. Rev. E 62, equations 3 and 4).
_TIME_GAP, _STANDSTILL_GAP = 1.2, 2.0
_ACCELERATION, _BRAKING, _HARDEST_BRAKING = 1.5, 2.0, 8.0

_LEAST_TIME_GAP, _GENTLE_BRAKING = 0.8, 3.0

_LANE_CHANGE_RATE = 0.8
_ROOM_TO_CHANGE = 20.0

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


def follow(speed: Array, desired: Array, gap: Array, leader_speed: Array) -> Array:
    """Accelerations (m/s²) of drivers by the intelligent driver model; all arrays of one shape, in m and m/s."""
    wanted = speed - leader_speed
    wanted *= 0.5 / (_ACCELERATION * _BRAKING) ** 0.5
    wanted += _TIME_GAP
    wanted *= speed
    wanted += _STANDSTILL_GAP
    np.maximum(wanted, 0.0, out=wanted)
    wanted /= np.maximum(gap, 0.5)
    wanted *= wanted
    free = speed / desired
    free *= free
    free *= free
    free += wanted
    free -= 1.0
    free *= -_ACCELERATION
    return np.maximum(free, -_HARDEST_BRAKING, out=free)


def advance_traffic(
    cars: Array, ego_lane: Array, ego_speed: Array, driver: Array, side: Array, lanes: int, ring: tuple[float, float]
) -> None:
    """Move all other cars by one step, in place, and sort them again.

    Args:
        cars: (6, CARS, N).
        ego_lane: the lane that the ego occupies, (N,).
        ego_speed: m/s, (N,).
        driver, side: uniform numbers, (N,): which driver considers changing lanes, and to which side.
        lanes: how many there are.
        ring: how far the road reaches behind and ahead of the ego (m); a car that leaves at one end enters at the
            other.
    """
    along, lane, lateral, speed, desired, acceleration = cars
    gap, leader_speed = _leaders(cars, ego_lane, ego_speed)
    acceleration[...] = follow(speed, desired, gap, leader_speed)
    _change_lanes(cars, gap, ego_lane, driver, side, lanes)
    speed += acceleration * STEP_SECONDS
    np.maximum(speed, 0.0, out=speed)
    relative = speed - ego_speed
    relative *= STEP_SECONDS
    along += relative
    sideways = lane - lateral
    np.clip(sideways, -_LANE_CHANGE_RATE * STEP_SECONDS, _LANE_CHANGE_RATE * STEP_SECONDS, out=sideways)
    lateral += sideways
    turns = along + ring[0]
    turns *= 1.0 / (ring[0] + ring[1])
    np.floor(turns, out=turns)
    turns *= ring[0] + ring[1]
    along -= turns
    put_in_order(cars)


def put_in_order(cars: Array) -> None:
    """Sort the cars (6, CARS, N) of every copy by lane and position, in place."""
    key = cars[1] * _LANE_STRIDE
    key += cars[0]
    rows = np.flatnonzero((key[1:] < key[:-1]).any(axis=0))
    if len(rows):
        order = key[:, rows].argsort(axis=0)
        cars[:, :, rows] = cars[:, order, rows]


def look_around(cars: Array, ego_lane: Array, lanes: int, speed_limit: float) -> tuple[Array, Array]:
    """The nearest car ahead and behind in the left, own and right lane.

    Where no car is in sight, the result is that of a car at the end of sight that drives at the speed limit; where
    there is no lane, that of an obstacle at gap 0.

    Returns:
        Bumper-to-bumper gaps (2, 3, N) in metres, negative in a collision, and the speeds (2, 3, N) of those cars in
        m/s; first ahead then behind, each left, own, right.
    """
    copies = cars.shape[-1]
    key = np.empty((CARS + 2, copies), dtype=np.float32)
    key[0], key[-1] = -_NO_CAR, _NO_CAR
    np.multiply(cars[1], _LANE_STRIDE, out=key[1:-1])
    key[1:-1] += cars[0]
    sides = ego_lane + _SIDES
    here = sides * _LANE_STRIDE
    behind_here = key[1:-1] < here[:, None]
    slots = np.empty((2, 3, copies), dtype=np.int64)
    slots[1] = np.add.reduce(behind_here.view(np.int8), axis=1, dtype=np.int8)
    np.add(slots[1], 1, out=slots[0])
    slots *= copies
    slots += np.arange(copies)
    gaps = key.take(slots)
    gaps -= here
    np.negative(gaps[1], out=gaps[1])
    gaps -= CAR_LENGTH
    padded = np.zeros((CARS + 2, copies), dtype=np.float32)
    padded[1:-1] = cars[3]
    speeds = padded.take(slots)
    sight = _SIGHT[:, :, None]
    speeds = np.where(gaps > sight, np.float32(speed_limit), speeds)
    np.minimum(gaps, sight, out=gaps)
    exists = sides >= 0.0
    exists &= sides < lanes
    gaps *= exists
    speeds *= exists
    return gaps, speeds


def room_behind(speed: Array, speed_behind: Array) -> Array:
    """The room (m) that a car behind needs: 0.8 s, and what braking gently to the speed ahead takes; speeds in m/s."""
    closing = np.maximum(speed_behind - speed, 0.0)
    closing *= closing
    closing *= 0.5 / _GENTLE_BRAKING
    needed: Array = closing + _LEAST_TIME_GAP * speed_behind
    return needed


def _leaders(cars: Array, ego_lane: Array, ego_speed: Array) -> tuple[Array, Array]:
    along, lane, _, speed, _, _ = cars
    key = lane * _LANE_STRIDE
    key += along
    gap = np.empty_like(key)
    np.subtract(key[1:], key[:-1], out=gap[:-1])
    gap[-1] = _NO_CAR
    leader_speed = np.empty_like(key)
    leader_speed[:-1] = speed[1:]
    leader_speed[-1] = 0.0
    to_ego = ego_lane * _LANE_STRIDE - key
    to_ego[to_ego <= 0.0] = _NO_CAR
    ego_leads = to_ego < gap
    np.minimum(gap, to_ego, out=gap)
    leader_speed = np.where(ego_leads, ego_speed, leader_speed)
    gap -= CAR_LENGTH
    return gap, leader_speed


def _change_lanes(cars: Array, gap: Array, ego_lane: Array, driver: Array, side: Array, lanes: int) -> None:
    """One driver in each copy considers it, and goes if held up and if the other lane is free beside them."""
    along, lane, _, speed, desired, _ = cars
    copies = along.shape[1]
    number: NDArray[Any] = (driver * CARS).astype(np.int64)
    slot = number * copies
    slot += np.arange(copies)
    held_up = gap.take(slot) < 1.5 * speed.take(slot)
    held_up &= speed.take(slot) < desired.take(slot) - 1.0
    rows = np.flatnonzero(held_up)
    if not len(rows):
        return
    drivers = number[rows]
    target = lane[drivers, rows] + np.where(side[rows] < 0.5, np.float32(-1.0), np.float32(1.0))
    place = along[drivers, rows]
    free = (target >= 0.0) & (target < lanes)
    free &= (np.abs(place) > _ROOM_TO_CHANGE) | (target != ego_lane[rows])
    nearest = np.abs(along[:, rows] - place + (lane[:, rows] - target) * _LANE_STRIDE).min(axis=0)
    free &= nearest > _ROOM_TO_CHANGE
    lane[drivers[free], rows[free]] = target[free]


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
