"""`rlhf/Driving-v1`: what the ego car does, what is valued, what its driver sees, and how the other cars move.

The other cars are rows of an array (7, CARS, N), always sorted by lane and then by position, so that the car ahead is
the next one in the list: `along, lane, lateral, speed, desired, acceleration, ease = cars`. `along` is in metres
relative to the ego car, `lane` the lane a car belongs to, `lateral` its place on the way there (both in lanes, 0 is the
left one), `ease` the share of the desired speed that its driver goes for, below 1 after braking for something.
"""

from __future__ import annotations

from math import tau
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.task import Array, Draws, Field, Measure, State, Task, Terms, key_combinations, numbers, ratio

CAR_SPACING = {"light": 120.0, "medium": 80.0, "dense": 55.0}
"""Metres from car to car in one lane, on average."""

MOST_LANES = 4
_SHARE_AHEAD = 0.6
_LEFT, _OWN, _RIGHT = 0, 1, 2

STEP_SECONDS = 0.2
LANE_WIDTH = 3.8
THROTTLE, BRAKE = 4.0, 4.0
MOST_HEADING = 0.16
SAFE_TIME_GAP = 1.5
TOP_SPEED = 1.4
"""As a multiple of the speed limit."""
SCENERY_LENGTH = 400.0
"""Metres after which the roadside repeats, and so where `travelled` starts again from 0."""

BEND_PULL = 0.08
"""By how many radians the tightest bend turns a car whose wheel is held straight off the road's direction."""

CARS = 12
QUANTITIES = 7
CAR_LENGTH = 4.8
SIGHT_AHEAD, SIGHT_BEHIND = 65.0, 32.0
"""Metres, bumper to bumper; all of it is in the picture."""

SLOW_VAN = 0.52
"""Drivers who want less than this share of the limit drive vans."""

_SLOWEST_PAID = 0.4
_EXPERT_TIME_GAP = 1.45
_BEHIND_VAN = 0.5
_START_SPEED, _FREE_START_SPEED = (0.25, 0.15), (0.25, 0.45)
_VAN_SPEED, _CAR_SPEED, _VANS = (0.4, 0.1), (0.6, 0.35), 0.1
_BRAKES_PER_STEP, _BRAKES_TO, _RECOVERY = 0.08, 0.5, 0.06

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
_ROOM_TO_CUT_IN = 14.0

_PEDAL_LAG, _STEERING_LAG = 0.4, 0.4
_BENDS, _TIGHTER, _LOOK_AHEAD = 1.0, 3.0, 15.0
_SHOULDER = 0.9
_GRASS_DRAG = 0.4
_HARD_JERK, _HARD_SWERVE = 10.0, 4.0


class Driving(Task):
    """Drive along a busy road.

    ## Description
    A winding road with several lanes, seen from above and moving with the ego car, which the agent controls. The other
    cars follow the intelligent driver model (Treiber, Hennecke & Helbing 2000, "Congested traffic states in empirical
    observations and microscopic simulations"), each with a desired speed of its own: cars 60-95% of the limit, slow
    vans 40-50%. Now and then a driver brakes hard for something of their own; one who is held up changes lanes where
    there is room, in front of the ego too. They brake for the ego as well. A step is 0.2 s; the ego's pedals and
    steering follow the action with a lag of about 0.4 s, and in a bend a car whose wheel is held straight runs wide, by
    up to 0.08 rad. A collision does not end the episode: it costs, and it slows the ego.

    The ego starts slowly behind a van, or in traffic at a speed of its own, so that it takes driving to get along: to
    gather speed, to steer through the bends, and to overtake. How hard drivers brake, how many vans there are and how
    the road winds are choices of ours.

    ## Action Space
    `Box(-1, 1, (2,), float32)`
    | number | action | -1 | 1 |
    |---|---|---|---|
    | 0 | pedals | brake with 4 m/s² | accelerate with 4 m/s² |
    | 1 | steering | 0.16 rad to the left of the road | 0.16 rad to the right |

    ## Observation Space
    `Box(-1, 1, (19,), float32)`; a car that is not in sight counts as one at the end of sight (65 m ahead, 32 m behind)
    that drives at the speed limit, a lane that does not exist as an obstacle at hand.
    | number | observation | unit |
    |---|---|---|
    | 0 | speed, 0 to 1.4 times the limit as -1 to 1 | |
    | 1 | acceleration | 4 m/s² |
    | 2 | heading, positive to the right | 0.16 rad |
    | 3 | distance from the lane's centre, positive to the right | lane width |
    | 4 | time gap to the car ahead, 0 to 2 s as -1 to 1 | |
    | 5-7 | gap to the car ahead: left, own and right lane, as -1 to 1 | 65 m |
    | 8-10 | gap to the car behind: left, own and right lane, as -1 to 1 | 32 m |
    | 11-13 | speed of the car ahead, less the ego's: left, own, right lane | the limit |
    | 14-16 | speed of the car behind, less the ego's: left, own, right lane | the limit |
    | 17, 18 | how far the bend turns the car off the road, here and 15 m ahead, positive to the right | 0.16 rad |

    ## Rewards
    The true reward is the weighted sum of these terms; the proxy reward is speed / (1.4 x limit).
    | term | weight | values | what it says |
    |---|---|---|---|
    | progress | 1.0 | -0.3 to 1 | from 22% (-0.3) over 40% (0) to 100% (1) of the limit |
    | speeding | 1.2 | -1 to 0 | from 5% (0) to 20% (-1) above the limit |
    | headway | 1.5 | -1 to 0 | the share that is missing of 1.5 s to the car ahead |
    | comfort | 0.4 | -1 to 0 | (jerk / 10 m/s³)² + (sideways acceleration / 4 m/s²)², at most 1 |
    | courtesy | 0.6 | -1 to 0 | the share that is missing of the room the car behind needs to brake gently |
    | lane | 0.4 | -1 to 0 | (distance from the lane's centre / half a lane)², -1 beside the road |
    | collision | 2.0 | -1 or 0 | touching another car |

    ## Starting State
    The ego is centred in a random lane anywhere along the bends; in half of the episodes at 25-40% of the limit with a
    slow van ahead, otherwise at 25-70% with whoever comes next. The others are spread evenly, with some jitter.

    ## Episode End
    After `horizon` steps (truncation). There is no termination.

    ## Arguments
    - `traffic`: "light", "medium" or "dense": 120, 80 or 55 m from car to car in a lane.
    - `lanes`: 2 to 4.
    - `speed_limit`: in m/s, 10 to 40.
    - `horizon`: steps in an episode.

    ## Why people's judgement helps
    Speed is easy to measure, so it is what gets rewarded; a driver who is paid for speed tailgates, weaves and speeds.
    What a passenger wants (to get there, without fear, without being rude to others) takes seven terms and their
    weights to write down, and two seconds to recognise.

    ## Version History
    - v1: bends, vans, drivers who brake and cut in, slow starts; pedals that do as much either way, and a quicker
      wheel; every speed is observed, and time gaps of up to 2 s; sight ends where the picture does.
    - v0: first version, on a straight road.
    """

    fields = {
        **numbers("speed", "acceleration", "heading", "lateral", "travelled", "roughness", "collided"),
        **numbers("metres", "crashes", "followed", "headways"),
        "cars": Field(shape=(QUANTITIES, CARS)),
        "gaps": Field(shape=(2, 3)),
        "speeds": Field(shape=(2, 3)),
    }
    reward_weights = {
        "progress": 1.0,
        "speeding": 1.2,
        "headway": 1.5,
        "comfort": 0.4,
        "courtesy": 0.6,
        "lane": 0.4,
        "collision": 2.0,
    }
    reset_draws = {
        **dict.fromkeys(("speed", "lane", "place"), ()),
        "phases": (MOST_LANES,),
        "jitter": (CARS,),
        "desired": (CARS,),
        "van": (),
    }
    step_draws = {"driver": (), "side": (), "brake": ()}
    render_fps = 10
    rubric = (
        "Who would you rather ride with? Getting along briskly, up to the limit, counts most. Being much too close to "
        "the car ahead (!!), or touching one, outweighs it; being close (!) does so in part. Then comes a smooth ride, "
        "well in a lane, without cutting others off."
    )
    legend = {
        "blue car": "the one to judge",
        "grey cars, pale vans": "other traffic; red lights brake",
        "coloured area ahead of it": "the room to the car in front: green is enough, ! is close, !! too close",
        "coloured area behind it": "a car behind has too little room",
        "upper left": "its speed, and a mark at the limit",
        "two bars": "well in its lane, and how smooth the ride is",
        "ring": "it touches another car",
    }

    measures = {
        "crashes_per_100_km": Measure("per 100 km", "how often it began to touch another car"),
        "time_headway": Measure(
            "s", "gap to the car ahead, bumper to bumper, over speed, where one is in sight; 2 s is commonly advised"
        ),
        "mean_speed": Measure("km/h", "how fast it was on average"),
    }

    def __init__(self, traffic: str = "medium", lanes: int = 3, speed_limit: float = 25.0, horizon: int = 200) -> None:
        if traffic not in CAR_SPACING:
            raise ValueError(f"traffic must be one of {', '.join(CAR_SPACING)}, not {traffic!r}.")
        if lanes not in range(2, MOST_LANES + 1):
            raise ValueError(f"lanes must be 2, 3 or 4, not {lanes}.")
        if not 10.0 <= speed_limit <= 40.0:
            raise ValueError(f"speed_limit is in metres per second and must be from 10 to 40, not {speed_limit}.")
        self.traffic, self.lanes, self.speed_limit = traffic, int(lanes), float(speed_limit)
        self.top_speed = TOP_SPEED * self.speed_limit
        self.spacing = CAR_SPACING[traffic]
        length = self.spacing * CARS / lanes
        self.ring = (length * (1.0 - _SHARE_AHEAD), length * _SHARE_AHEAD)
        self.observation_space = Box(-1.0, 1.0, (19,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        super().__init__(horizon)

    def begin(self, state: State, draws: Draws) -> None:
        """Spread the others evenly over the road and put the ego into a gap."""
        own_lane = np.floor(draws.lane * self.lanes)
        behind_van = draws.van < _BEHIND_VAN
        slow, fast = (least + spread * draws.speed for least, spread in (_START_SPEED, _FREE_START_SPEED))
        state.speed = np.where(behind_van, slow, fast) * np.float32(self.speed_limit)
        state.acceleration = state.heading = state.roughness = state.collided = 0.0
        state.metres = state.crashes = state.followed = state.headways = 0.0
        state.travelled = SCENERY_LENGTH * draws.place
        state.lateral = own_lane
        along, lane, lateral, speed, desired, acceleration, ease = state.cars
        lane[...] = (np.arange(CARS) % self.lanes)[:, None]
        place = (np.arange(CARS) // self.lanes)[:, None] + 0.3 * (draws.jitter - 0.5)
        # Cars of the ego's own lane are shifted by half a spacing, so that it starts in the middle of a gap.
        place += np.where(lane == own_lane, np.float32(0.5), draws.phases[np.arange(CARS) % self.lanes])
        along[...] = (place * self.spacing + self.ring[0]) % sum(self.ring) - self.ring[0]
        lateral[...] = lane
        is_van = draws.desired < _VANS
        is_van |= behind_van & (lane == own_lane) & (along > 0.0) & (along < self.spacing)
        least = np.where(is_van, np.float32(_VAN_SPEED[0]), np.float32(_CAR_SPEED[0]))
        spread = np.where(is_van, np.float32(_VAN_SPEED[1]), np.float32(_CAR_SPEED[1]))
        desired[...] = (least + spread * draws.desired) * self.speed_limit
        speed[...] = 0.95 * desired
        acceleration[...] = 0.0
        ease[...] = 1.0
        put_in_order(state.cars)
        state.gaps, state.speeds = look_around(state.cars, own_lane, self.lanes, self.speed_limit)

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Move the ego, then the others; then find the nearest cars and compute the terms."""
        discomfort = control(state, actions, self.lanes, self.top_speed)
        own_lane = self._nearest_lane(state)
        advance_traffic(state.cars, own_lane, state.speed, draws, self.lanes, self.ring)
        gaps, speeds = look_around(state.cars, own_lane, self.lanes, self.speed_limit)
        state.gaps, state.speeds = gaps, speeds
        touching = np.minimum(gaps[0, 1], gaps[1, 1]) < 0.0
        state.crashes += touching & (state.collided < 0.5)
        state.collided = touching
        np.copyto(state.speed, np.minimum(state.speed, 0.7 * speeds[0, 1]), where=touching)
        state.metres += state.speed * STEP_SECONDS
        follows = (gaps[0, 1] < SIGHT_AHEAD) & (state.speed > 1.0)
        state.followed += follows
        state.headways += follows * np.maximum(gaps[0, 1], 0.0) / np.maximum(state.speed, 1.0)
        state.roughness += 0.6 * (discomfort - state.roughness)
        return self._terms(state, discomfort, own_lane), np.multiply(state.speed, 1.0 / self.top_speed)

    def _terms(self, state: State, discomfort: Array, own_lane: Array) -> Terms:
        pace = state.speed * (1.0 / self.speed_limit)
        off_centre = (state.lateral - own_lane) * 2.0
        return {
            "progress": np.clip((pace - _SLOWEST_PAID) * (1.0 / (1.0 - _SLOWEST_PAID)), -0.3, 1.0),
            "speeding": -np.clip((pace - 1.05) * (1.0 / 0.15), 0.0, 1.0),
            "headway": _shortfall(state.gaps[0, 1], room_ahead(state.speed)),
            "comfort": -discomfort,
            "courtesy": _shortfall(state.gaps[1, 1], room_behind(state.speed, state.speeds[1, 1])),
            "lane": -np.minimum(off_centre * off_centre, 1.0),
            "collision": -state.collided,
        }

    def measure(self, state: State) -> dict[str, NDArray[Any]]:
        """Crashes, headway and speed of whole episodes, each (N,)."""
        return {
            "crashes_per_100_km": ratio(state.crashes, state.metres) * 1e5,
            "time_headway": ratio(state.headways, state.followed),
            "mean_speed": state.metres / (state.elapsed * STEP_SECONDS) * 3.6,
        }

    def observe(self, state: State) -> Array:
        """What the driver sees, (N, 19) float32 in [-1, 1]."""
        seen = np.empty((19, state.copies), dtype=np.float32)
        np.multiply(state.speed, 2.0 / self.top_speed, out=seen[0])
        seen[0] -= 1.0
        np.multiply(state.acceleration, 1.0 / BRAKE, out=seen[1])
        np.multiply(state.heading, 1.0 / MOST_HEADING, out=seen[2])
        np.subtract(state.lateral, self._nearest_lane(state), out=seen[3])
        seen[4] = state.gaps[0, 1] / np.maximum(state.speed, 1.0)
        np.multiply(state.gaps[0], 2.0 / SIGHT_AHEAD, out=seen[5:8])
        np.multiply(state.gaps[1], 2.0 / SIGHT_BEHIND, out=seen[8:11])
        seen[4:11] -= 1.0
        np.multiply(state.speeds - state.speed, 1.0 / self.speed_limit, out=seen[11:17].reshape(2, 3, -1))
        np.multiply(bend_pull(state.travelled), 1.0 / MOST_HEADING, out=seen[17])
        np.multiply(bend_pull(state.travelled + _LOOK_AHEAD), 1.0 / MOST_HEADING, out=seen[18])
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)

    drawing = "rlhf_envs.envs.driving.drawing:draw"

    def expert_action(self, state: State) -> Array:
        """Drives at the limit, well clear of the car ahead, and overtakes where that cuts nobody off, (N, 2).

        A lane is worth the speed that it allows within a few seconds (after MOBIL: Kesting, Treiber & Helbing 2007),
        and open when the cars ahead and behind in it leave room. Pedals follow a constant-time-gap law, as adaptive
        cruise control does: the gap's error and the difference in speed, each with a gain.
        """
        ahead, behind = state.gaps
        speed_ahead, speed_behind = state.speeds
        speed, limit = state.speed, np.float32(1.04 * self.speed_limit)
        is_clear = ahead >= SIGHT_AHEAD
        spare = ahead - np.float32(_EXPERT_TIME_GAP) * speed
        worth = np.where(is_clear, limit, np.minimum(speed_ahead + np.maximum(spare, 0.0) * 0.25, limit))
        closing, losing = np.maximum(speed_behind - speed, 0.0), np.maximum(speed - speed_ahead, 0.0)
        # Out of sight nobody is near enough to be cut off.
        is_open = (behind >= SIGHT_BEHIND) | (behind > 0.3 * speed_behind + closing**2 / 8.0 + 2.0)
        is_open &= is_clear | (ahead > 0.8 * speed + losing**2 / 6.0)
        lane = self._nearest_lane(state)
        offset = state.lateral - lane
        # A driver who has begun to change lanes completes it.
        gain = np.where(is_open, worth, np.float32(-100.0))
        gain[_LEFT] += np.where(offset < -0.15, 2.0, -1.0)
        gain[_RIGHT] += np.where(offset > 0.15, 2.0, -1.0)
        gain[_OWN] = worth[_OWN]
        wheel = self._steer_to(state, lane + gain.argmax(axis=0) - 1.0, seconds=1.3)
        free = 0.8 * (limit - speed)
        held = 0.5 * spare[_OWN] + 0.8 * (speed_ahead[_OWN] - speed)
        wanted = np.where(is_clear[_OWN], free, np.minimum(free, held))
        return _actions(np.where(wanted > 0.0, wanted / THROTTLE, wanted / BRAKE), wheel)

    def proxy_action(self, state: State) -> Array:
        """Full throttle into the emptiest lane; brakes at the last moment, only because a crash costs speed, (N, 2)."""
        ahead, behind = state.gaps
        speed_ahead, _ = state.speeds
        closing = np.maximum(state.speed - speed_ahead, 0.0)
        reach = ahead - closing**2 / 10.0
        reach[_OWN] += 10.0
        reach[[_LEFT, _RIGHT]] -= np.where(
            (behind[[_LEFT, _RIGHT]] < 1.0) | (ahead[[_LEFT, _RIGHT]] < 2.0), 1000.0, 0.0
        )
        lane = np.clip(np.rint(state.lateral), 0, self.lanes - 1)
        wheel = self._steer_to(state, lane + reach.argmax(axis=0) - 1, seconds=0.7)
        late = ahead[_OWN] < 3.0 + 0.1 * state.speed + closing[_OWN] * 0.3 + closing[_OWN] ** 2 / 9.0
        return _actions(np.where(late, -1.0, 1.0), wheel)

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W and S for the pedals, A and D to steer left and right."""
        held = key_combinations({"w": 0.6, "s": -0.6, "": 0.0}, {"a": -0.5, "d": 0.5, "": 0.0})
        return {keys: np.array(action, dtype=np.float32) for keys, action in held}

    def describe_keys(self) -> dict[str, str]:
        """What each key does."""
        return {"w": "faster", "s": "brake", "a": "left", "d": "right"}

    def _nearest_lane(self, state: State) -> Array:
        lane: Array = np.clip(np.rint(state.lateral), 0.0, self.lanes - 1.0)
        return lane

    def _steer_to(self, state: State, lane: Array, seconds: float) -> Array:
        """The steering that would reach the centre of `lane` (N,) in about this time."""
        metres = (lane - state.lateral) * LANE_WIDTH
        wheel: Array = metres / (np.maximum(state.speed, 2.0) * seconds)
        # The wheel takes effect a little later, and by then the bend is another.
        wheel -= bend_pull(state.travelled + 2.0 * STEP_SECONDS * state.speed)
        wheel *= 1.0 / MOST_HEADING
        return wheel


def _shortfall(room: Array, needed: Array) -> Array:
    """-1 to 0: the share of the needed room that is missing; both (N,) in metres."""
    return np.clip(room / np.maximum(needed, 0.1) - 1.0, -1.0, 0.0)


def _actions(pedal: Array, wheel: Array) -> Array:
    return np.clip(np.stack([pedal, wheel], axis=1), -1.0, 1.0).astype(np.float32)


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
    pedals = actions[:, 0]
    jolt = _approach(state.acceleration, np.where(pedals > 0.0, pedals * THROTTLE, pedals * BRAKE), _PEDAL_LAG)
    heading = np.multiply(actions[:, 1], MOST_HEADING)
    heading += bend_pull(state.travelled)
    swerve = _approach(state.heading, heading, _STEERING_LAG) * state.speed
    lateral = state.lateral + state.heading * state.speed * (STEP_SECONDS / LANE_WIDTH)
    np.clip(lateral, -_SHOULDER, lanes - 1.0 + _SHOULDER, out=state.lateral)
    grass = np.abs(state.lateral - 0.5 * (lanes - 1.0)) > 0.5 * lanes
    drag = grass * (_GRASS_DRAG * STEP_SECONDS)
    state.speed += state.acceleration * STEP_SECONDS
    state.speed -= drag * state.speed
    np.clip(state.speed, 0.0, top_speed, out=state.speed)
    np.fmod(state.travelled + state.speed * STEP_SECONDS, SCENERY_LENGTH, out=state.travelled)
    jolt *= 1.0 / (STEP_SECONDS * _HARD_JERK)
    swerve *= 1.0 / (STEP_SECONDS * _HARD_SWERVE)
    return np.minimum(jolt * jolt + swerve * swerve, 1.0)


def bend_pull(travelled: NDArray[Any]) -> Array:
    """How far (rad, positive to the right) the road's bend turns a car off it whose wheel is straight, (N,).

    Two waves, of which a whole number fits into the `SCENERY_LENGTH` after which the road repeats.
    """
    turn = travelled * (_BENDS * tau / SCENERY_LENGTH)
    pull: Array = np.sin(turn)
    pull += np.sin(turn * _TIGHTER + 1.0)
    pull *= -0.5 * BEND_PULL
    return pull


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
    cars: Array, ego_lane: Array, ego_speed: Array, draws: Draws, lanes: int, ring: tuple[float, float]
) -> None:
    """Move all other cars by one step, in place, and sort them again.

    Args:
        cars: (7, CARS, N).
        ego_lane: the lane that the ego occupies, (N,).
        ego_speed: m/s, (N,).
        draws: `driver` and `side`, (N,): which driver considers changing lanes, and to which side; `brake`: whether
            this driver brakes for something instead.
        lanes: how many there are.
        ring: how far the road reaches behind and ahead of the ego (m); a car that leaves at one end enters at the
            other.
    """
    along, lane, lateral, speed, desired, acceleration, ease = cars
    # Large arrays: here and in `follow` they are changed in place, which saves allocating others.
    gap, leader_speed = _leaders(cars, ego_lane, ego_speed)
    driver: NDArray[Any] = (draws.driver * CARS).astype(np.int64)
    ease += (1.0 - ease) * np.float32(_RECOVERY)
    brakes = np.flatnonzero(draws.brake < _BRAKES_PER_STEP)
    ease[driver[brakes], brakes] = _BRAKES_TO
    acceleration[...] = follow(speed, desired * ease, gap, leader_speed)
    _change_lanes(cars, gap, ego_lane, driver, draws.side, lanes)
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
    """Sort the cars (7, CARS, N) of every copy by lane and position, in place."""
    key = cars[1] * _LANE_STRIDE + cars[0]
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


def room_ahead(speed: Array) -> Array:
    """The room (m) to the car ahead that a passenger wants at a speed in m/s; no more of it than is in sight."""
    needed: Array = np.minimum(speed * np.float32(SAFE_TIME_GAP), np.float32(SIGHT_AHEAD))
    return needed


def room_behind(speed: Array, speed_behind: Array) -> Array:
    """The room (m) that a car behind needs: 0.8 s, and what braking gently to the speed ahead takes; speeds in m/s.

    It is no more than is in sight.
    """
    closing = np.maximum(speed_behind - speed, 0.0)
    needed: Array = closing * closing * (0.5 / _GENTLE_BRAKING) + _LEAST_TIME_GAP * speed_behind
    return np.minimum(needed, np.float32(SIGHT_BEHIND))


def _leaders(cars: Array, ego_lane: Array, ego_speed: Array) -> tuple[Array, Array]:
    along, lane, _, speed, *_ = cars
    key = lane * _LANE_STRIDE + along
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


def _change_lanes(cars: Array, gap: Array, ego_lane: Array, number: NDArray[Any], side: Array, lanes: int) -> None:
    """One driver in each copy, by `number` (N,), considers it, and goes if held up and the other lane is free there.

    In front of the ego a driver needs less room than elsewhere: they cut in.
    """
    along, lane, _, speed, desired, _, _ = cars
    copies = along.shape[1]
    slot = number * copies + np.arange(copies)
    held_up = (gap.take(slot) < 1.5 * speed.take(slot)) & (speed.take(slot) < desired.take(slot) - 1.0)
    rows = np.flatnonzero(held_up)
    if not len(rows):
        return
    drivers = number[rows]
    target = lane[drivers, rows] + np.where(side[rows] < 0.5, np.float32(-1.0), np.float32(1.0))
    place = along[drivers, rows]
    free = (target >= 0.0) & (target < lanes)
    free &= (place > _ROOM_TO_CUT_IN) | (place < -_ROOM_TO_CHANGE) | (target != ego_lane[rows])
    nearest = np.abs(along[:, rows] - place + (lane[:, rows] - target) * _LANE_STRIDE).min(axis=0)
    free &= nearest > _ROOM_TO_CHANGE
    lane[drivers[free], rows[free]] = target[free]


def _approach(value: Array, aim: Array, share: float) -> Array:
    """Bring `value` nearer to `aim` in place; returns the change."""
    change: Array = (aim - value) * share
    value += change
    return change
