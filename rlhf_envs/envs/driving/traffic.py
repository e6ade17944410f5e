"""The other cars: they follow one another, change lanes when it is easy, and are found by looking around.

Cars are rows of an array (6, CARS, N), always sorted by lane and then by position, so that the car ahead is simply the
next one in the list: `along, lane, lateral, speed, desired, acceleration = cars`. `along` is in metres relative to the
ego car, `lane` the lane a car belongs to, `lateral` where it is on its way there (both in lanes, 0 is the left one).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CARS = 12
QUANTITIES = 6
CAR_LENGTH = 4.8
SIGHT_AHEAD, SIGHT_BEHIND = 80.0, 45.0

# The lanes are laid end to end on one long axis: a car of another lane is then simply very far away.
_LANE_STRIDE = 2000.0
_NOBODY = 1e6
_SIDES = np.array([[-1.0], [0.0], [1.0]], dtype=np.float32)
_SIGHT = np.array([[SIGHT_AHEAD], [SIGHT_BEHIND]], dtype=np.float32)

# Intelligent driver model (Treiber, Hennecke & Helbing 2000, Phys. Rev. E 62, equations 3 and 4).
_TIME_GAP, _STANDSTILL_GAP = 1.2, 2.0
_ACCELERATION, _BRAKING, _HARDEST_BRAKING = 1.5, 2.0, 8.0

_LEAST_TIME_GAP, _GENTLE_BRAKING = 0.8, 3.0

_LANE_CHANGE_RATE = 0.8
_ROOM_TO_CHANGE = 20.0


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
    cars: Array, ego_lane: Array, ego_speed: Array, draws: Array, lanes: int, ring: tuple[float, float], seconds: float
) -> None:
    """Move all other cars on, in place, and put them back in order.

    Args:
        cars: (6, CARS, N).
        ego_lane: the lane that the ego occupies, (N,).
        ego_speed: m/s, (N,).
        draws: uniform numbers, (2, N): which driver thinks about changing lanes, and to which side.
        lanes: how many there are.
        ring: how far the road reaches behind and ahead of the ego (m); who leaves at one end comes back at the other.
        seconds: how long the step is.
    """
    along, lane, lateral, speed, desired, acceleration = cars
    gap, leader_speed = _leaders(cars, ego_lane, ego_speed)
    acceleration[...] = follow(speed, desired, gap, leader_speed)
    _change_lanes(cars, gap, ego_lane, draws, lanes)
    speed += acceleration * seconds
    np.maximum(speed, 0.0, out=speed)
    relative = speed - ego_speed
    relative *= seconds
    along += relative
    sideways = lane - lateral
    np.clip(sideways, -_LANE_CHANGE_RATE * seconds, _LANE_CHANGE_RATE * seconds, out=sideways)
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

    Where nobody is in sight, it is as if a car drove at the speed limit at the end of sight; where there is no lane, as
    if something stood right there.

    Returns:
        Bumper-to-bumper gaps (2, 3, N) in metres, negative in a collision, and the speeds (2, 3, N) of those cars in
        m/s; first ahead then behind, each left, own, right.
    """
    copies = cars.shape[-1]
    key = np.empty((CARS + 2, copies), dtype=np.float32)
    key[0], key[-1] = -_NOBODY, _NOBODY
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
    gap[-1] = _NOBODY
    leader_speed = np.empty_like(key)
    leader_speed[:-1] = speed[1:]
    leader_speed[-1] = 0.0
    to_ego = ego_lane * _LANE_STRIDE - key
    to_ego[to_ego <= 0.0] = _NOBODY
    ego_leads = to_ego < gap
    np.minimum(gap, to_ego, out=gap)
    leader_speed = np.where(ego_leads, ego_speed, leader_speed)
    gap -= CAR_LENGTH
    return gap, leader_speed


def _change_lanes(cars: Array, gap: Array, ego_lane: Array, draws: Array, lanes: int) -> None:
    """One driver in each copy thinks about it, and goes if held up and if the other lane is free beside them."""
    along, lane, _, speed, desired, _ = cars
    copies = along.shape[1]
    driver: NDArray[Any] = (draws[0] * CARS).astype(np.int64)
    slot = driver * copies
    slot += np.arange(copies)
    held_up = gap.take(slot) < 1.5 * speed.take(slot)
    held_up &= speed.take(slot) < desired.take(slot) - 1.0
    rows = np.flatnonzero(held_up)
    if not len(rows):
        return
    drivers = driver[rows]
    target = lane[drivers, rows] + np.where(draws[1, rows] < 0.5, np.float32(-1.0), np.float32(1.0))
    place = along[drivers, rows]
    free = (target >= 0.0) & (target < lanes)
    free &= (np.abs(place) > _ROOM_TO_CHANGE) | (target != ego_lane[rows])
    nearest = np.abs(along[:, rows] - place + (lane[:, rows] - target) * _LANE_STRIDE).min(axis=0)
    free &= nearest > _ROOM_TO_CHANGE
    lane[drivers[free], rows[free]] = target[free]
