"""The rules of the road: what the ego car does, what is valued, and what its driver sees."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.driving.traffic import (
    CARS,
    QUANTITIES,
    SIGHT_AHEAD,
    SIGHT_BEHIND,
    Array,
    advance_traffic,
    look_around,
    put_in_order,
    room_behind,
)
from rlhf_envs.envs.driving.vehicle import BRAKE, MOST_HEADING, STEP_SECONDS, control
from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.task import Task, Terms

CAR_SPACING = {"light": 120.0, "medium": 80.0, "dense": 55.0}
"""Metres from car to car in one lane, on average."""

SAFE_TIME_GAP = 1.5
TOP_SPEED = 1.4

_SHARE_AHEAD = 0.6


class DrivingRules(Task):
    """The traffic and what it does to the ego; `Driving` is drawn and driven, too."""

    fields = {
        "speed": Field(),
        "acceleration": Field(),
        "heading": Field(),
        "lateral": Field(),
        "travelled": Field(),
        "roughness": Field(),
        "collided": Field(),
        "cars": Field(shape=(QUANTITIES, CARS)),
        "gaps": Field(shape=(2, 3)),
        "speeds": Field(shape=(2, 3)),
    }
    reward_weights = {
        "progress": 1.0,
        "speeding": 0.8,
        "headway": 0.8,
        "comfort": 0.4,
        "courtesy": 0.6,
        "lane": 0.4,
        "collision": 2.0,
    }
    draws_per_reset = 2 * CARS + 2 + 4
    draws_per_step = 2

    def __init__(self, traffic: str = "medium", lanes: int = 3, speed_limit: float = 25.0, horizon: int = 200) -> None:
        if traffic not in CAR_SPACING:
            raise ValueError(f"traffic must be one of {', '.join(CAR_SPACING)}, not {traffic!r}.")
        if lanes not in (2, 3, 4):
            raise ValueError(f"lanes must be 2, 3 or 4, not {lanes}.")
        if not 10.0 <= speed_limit <= 40.0:
            raise ValueError(f"speed_limit is in metres per second and must be from 10 to 40, not {speed_limit}.")
        self.traffic, self.lanes, self.speed_limit = traffic, int(lanes), float(speed_limit)
        self.top_speed = TOP_SPEED * self.speed_limit
        self.spacing = CAR_SPACING[traffic]
        length = self.spacing * CARS / lanes
        self.ring = (length * (1.0 - _SHARE_AHEAD), length * _SHARE_AHEAD)
        self.observation_space = Box(-1.0, 1.0, (17,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        super().__init__(horizon)

    def begin(self, state: State, draws: Array) -> None:
        """Spread the others evenly over the road and put the ego into a gap."""
        own_lane = np.floor(draws[1] * self.lanes)
        phases, jitter, wishes = draws[2:6], draws[6 : 6 + CARS], draws[6 + CARS :]
        state.speed = (0.6 + 0.3 * draws[0]) * self.speed_limit
        state.acceleration = state.heading = state.travelled = state.roughness = state.collided = 0.0
        state.lateral = own_lane
        along, lane, lateral, speed, desired, acceleration = state.cars
        lane[...] = (np.arange(CARS) % self.lanes)[:, None]
        place = (np.arange(CARS) // self.lanes)[:, None] + 0.3 * (jitter - 0.5)
        # Cars of the ego's own lane stand half a spacing off, so that it starts in the middle of a gap.
        place += np.where(lane == own_lane, np.float32(0.5), phases[np.arange(CARS) % self.lanes])
        along[...] = (place * self.spacing + self.ring[0]) % sum(self.ring) - self.ring[0]
        lateral[...] = lane
        desired[...] = (0.6 + 0.35 * wishes) * self.speed_limit
        speed[...] = 0.95 * desired
        acceleration[...] = 0.0
        put_in_order(state.cars)
        state.gaps, state.speeds = look_around(state.cars, own_lane, self.lanes, self.speed_limit)

    def advance(self, state: State, actions: NDArray[Any], draws: Array) -> tuple[Terms, Array]:
        """Move the ego, then the others; then see who is near, and judge."""
        discomfort = control(state, actions, self.lanes, self.top_speed)
        own_lane = self._nearest_lane(state)
        advance_traffic(state.cars, own_lane, state.speed, draws, self.lanes, self.ring, STEP_SECONDS)
        gaps, speeds = look_around(state.cars, own_lane, self.lanes, self.speed_limit)
        state.gaps, state.speeds = gaps, speeds
        touching = np.minimum(gaps[0, 1], gaps[1, 1]) < 0.0
        state.collided = touching
        np.copyto(state.speed, np.minimum(state.speed, 0.7 * speeds[0, 1]), where=touching)
        state.roughness += 0.3 * (discomfort - state.roughness)
        return self._terms(state, discomfort, own_lane), np.multiply(state.speed, 1.0 / self.top_speed)

    def observe(self, state: State) -> Array:
        """What the driver sees, (N, 17) float32 in [-1, 1]."""
        seen = np.empty((17, state.copies), dtype=np.float32)
        half_limit = 0.5 * self.speed_limit
        np.multiply(state.speed - self.speed_limit, 1.0 / half_limit, out=seen[0])
        np.multiply(state.acceleration, 1.0 / BRAKE, out=seen[1])
        np.multiply(state.heading, 1.0 / MOST_HEADING, out=seen[2])
        np.subtract(state.lateral, self._nearest_lane(state), out=seen[3])
        np.divide(state.gaps[0, 1], np.maximum(state.speed, 1.0), out=seen[4])
        seen[4] *= 2.0 / 3.0
        np.multiply(state.gaps[0], 2.0 / SIGHT_AHEAD, out=seen[5:8])
        np.multiply(state.gaps[1], 2.0 / SIGHT_BEHIND, out=seen[8:11])
        seen[4:11] -= 1.0
        relative = seen[11:].reshape(2, 3, -1)
        np.subtract(state.speeds, state.speed, out=relative)
        relative *= 1.0 / half_limit
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)

    def _nearest_lane(self, state: State) -> Array:
        lane: Array = np.rint(state.lateral)
        return np.clip(lane, 0.0, self.lanes - 1.0, out=lane)

    def _terms(self, state: State, discomfort: Array, own_lane: Array) -> Terms:
        pace = state.speed * (1.0 / self.speed_limit)
        off_centre = state.lateral - own_lane
        off_centre *= 2.0
        off_centre *= off_centre
        return {
            "progress": np.minimum(pace, 1.0),
            "speeding": -np.clip((pace - 1.05) * 4.0, 0.0, 1.0),
            "headway": _shortfall(state.gaps[0, 1], np.multiply(state.speed, SAFE_TIME_GAP)),
            "comfort": -discomfort,
            "courtesy": _shortfall(state.gaps[1, 1], room_behind(state.speed, state.speeds[1, 1])),
            "lane": -np.minimum(off_centre, 1.0),
            "collision": -state.collided,
        }


def _shortfall(room: Array, needed: Array) -> Array:
    """-1 to 0: the share of the needed room that is missing; both (N,) in metres."""
    missing: Array = np.divide(room, np.maximum(needed, 0.1))
    missing -= 1.0
    return np.clip(missing, -1.0, 0.0, out=missing)
