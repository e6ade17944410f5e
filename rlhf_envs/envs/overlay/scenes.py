"""The scenes, how objects and the wearer's head move in them, and how good labels are.

Gait sways the head once per stride and nods it twice (Grossman et al. 1988, "Frequency and velocity of rotational head
perturbations during locomotion": pitch at no less than twice the frequency of yaw, below 90 degrees a second).
"""

from __future__ import annotations

from itertools import combinations
from math import tau
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.task import Draws, State

Array = NDArray[np.float32]

MOST_OBJECTS = 4
STEP_SECONDS = 1.0 / 15.0
HALF_VIEW = np.array([[22.5], [15.0]], dtype=np.float32)
"""The display reaches so many degrees to either side of its centre, and up and down; (2, 1)."""

HEAD_MOTIONS = {"calm": 0.25, "walking": 1.0, "running": 2.0}
"""How much the wearer's gait shakes the head; 1 is walking."""

HALF_LABEL = np.array([[3.6], [1.25]], dtype=np.float32)
"""Half the width and half the height of a label (degrees), (2, 1)."""

READABLE, ATTACHED, COVERING, CROWDING, TREMBLING = range(5)
QUALITIES = 5
"""What is judged of every label, 0 to 1 each, in the order of the reward's terms."""

_GLANCE_REACH = np.array([[6.0], [3.0]], dtype=np.float32)
_SECONDS_TO_GLANCE, _EAGERNESS = 1.6, 4.5
_SWAY, _NOD = 0.8, 0.7
_TREMOR, _TREMOR_KEPT = 0.06, 0.7

_COMFORTABLE, _LONG_LEADER = 0.8, 3.0
_FAST = 8.0
_NEAR = 5.0
_TREMBLING_KEPT = 0.6


class Scene(NamedTuple):
    """A place to walk through.

    Attributes:
        names: what each label says.
        halves: half the width and half the height of each object (degrees).
        spread: how far to either side, and up and down, objects have their homes (degrees).
        swing: how far an object moves about its home (degrees).
        seconds: how long that takes, for each object.
        glare: half the width and half the height of what is too bright to read against (degrees).
    """

    names: tuple[str, ...]
    halves: tuple[tuple[float, float], ...]
    spread: tuple[float, float]
    swing: tuple[float, float]
    seconds: tuple[float, ...]
    glare: tuple[float, float]


SCENES = {
    "workshop": Scene(
        names=("Pump 42°", "Tank 68%", "Motor 9 A", "Valve 35%"),
        halves=((2.6, 2.1), (1.8, 2.4), (2.6, 1.8), (1.9, 2.2)),
        spread=(12.0, 6.0),
        swing=(2.4, 1.6),
        seconds=(9.0, 12.0, 7.5, 10.5),
        glare=(2.6, 2.4),
    ),
    "street": Scene(
        names=("Bus 12", "Café open", "Bike 3 km", "Lift 40 m"),
        halves=((3.3, 2.0), (2.4, 2.5), (2.4, 1.8), (1.7, 2.4)),
        spread=(12.0, 4.0),
        swing=(5.0, 0.8),
        seconds=(8.0, 14.0, 7.0, 11.0),
        glare=(2.8, 2.8),
    ),
}


def place_objects(scene: Scene, state: State, draws: Draws, objects: int) -> None:
    """Give every object of a new scene its home, and the glare its place."""
    spread = np.array(scene.spread, dtype=np.float32)[:, None]
    order = np.arange(objects)[:, None] + np.floor(draws.order * objects)
    homes = 2.0 * draws.homes - 1.0
    homes[:, 0] *= 0.8 / objects
    homes[:, 0] += (2.0 * (order % objects) + 1.0) / objects - 1.0
    state.homes[0] = draws.glare * [[24.0], [8.0]] - [[12.0], [11.0]]
    state.homes[1 : objects + 1] = homes * spread
    state.phases[:objects] = draws.phases * np.float32(tau)
    move_objects(scene, state, objects)


def move_objects(scene: Scene, state: State, objects: int) -> None:
    """Move the objects one step about their homes, in place, and place them on the display by where the head points."""
    seconds = np.array(scene.seconds[:objects], dtype=np.float32)[:, None, None]
    phases = state.phases[:objects]
    phases += np.array([[1.0], [0.77]], dtype=np.float32) * (np.float32(tau * STEP_SECONDS) / seconds)
    seen = state.seen[: objects + 1]
    np.subtract(state.homes[: objects + 1], state.head, out=seen)
    seen[1:] += np.sin(phases) * np.array(scene.swing, dtype=np.float32)[:, None]


def move_head(state: State, draws: Draws, intensity: float) -> None:
    """Move the wearer's head one step, in place: glances, gait and tremor.

    A glance is a critically damped turn towards a new place.
    """
    new_aim = (2.0 * draws.aim - 1.0) * _GLANCE_REACH
    np.copyto(state.glance, new_aim, where=draws.glance < STEP_SECONDS / _SECONDS_TO_GLANCE)
    pull = state.glance - state.gaze
    pull *= _EAGERNESS
    pull -= 2.0 * state.gaze_rate
    state.gaze_rate += (STEP_SECONDS * _EAGERNESS) * pull
    state.gaze += STEP_SECONDS * state.gaze_rate
    state.tremor *= _TREMOR_KEPT
    state.tremor += (2.0 * _TREMOR * intensity) * (draws.tremor - 0.5)
    state.stride += tau * STEP_SECONDS * strides_per_second(intensity)
    head = state.gaze + state.tremor
    head[0] += (_SWAY * intensity) * np.sin(state.stride)
    head[1] += (_NOD * intensity) * np.sin(2.0 * state.stride)
    rate = head - state.head
    rate *= 1.0 / STEP_SECONDS
    np.subtract(rate, state.head_rate, out=state.head_change)
    state.head_rate = rate
    state.head = head


def gait_intensity(head_motion: str | float) -> float:
    """How much gait shakes the head, by its name or as a number.

    Raises:
        ValueError: if there is no such gait.
    """
    if isinstance(head_motion, str):
        if head_motion not in HEAD_MOTIONS:
            raise ValueError(f"head_motion must be a number or one of {', '.join(HEAD_MOTIONS)}, not {head_motion!r}.")
        return HEAD_MOTIONS[head_motion]
    if not 0.0 <= head_motion <= 2.5:
        raise ValueError(f"head_motion must be a number from 0 to 2.5 (walking is 1), not {head_motion!r}.")
    return float(head_motion)


def strides_per_second(intensity: float) -> float:
    """Two steps make a stride; a gait that shakes the head more is faster."""
    return 0.6 + 0.4 * intensity


def as_column(pairs: Any) -> Array:
    """Pairs of numbers (K, 2) as float32 of shape (K, 2, 1), to be used over all copies."""
    return np.array(pairs, dtype=np.float32)[..., None]


class Judge:
    """Judges the labels of one scene at their places on the display.

    Args:
        scene: whose objects are labelled.
        objects: how many of them.
    """

    def __init__(self, scene: Scene, objects: int) -> None:
        self.objects = objects
        halves = as_column((scene.glare, *scene.halves[:objects]))
        self.touching = halves + HALF_LABEL
        """How near centres come when a label touches the glare (0) or an object (1 ...), (objects + 1, 2, 1)."""
        self._comfort = self.touching[1:] + np.float32(_COMFORTABLE)
        self._room = 1.0 / (2.0 * np.minimum(halves, HALF_LABEL))
        self._pairs = tuple(combinations(range(objects), 2))
        self._first, self._second = np.array(self._pairs).T

    def overlaps(self, places: Array, seen: Array) -> Array:
        """What labels share with the glare and with each object: 1 where one lies right across the other.

        Args:
            places: of labels, (..., 1, 2, N).
            seen: of the glare and of the objects, (objects + 1, 2, N).

        Returns:
            (..., objects + 1, N), 0 to 1.
        """
        apart = np.abs(places - seen)
        np.subtract(self.touching, apart, out=apart)
        apart *= self._room
        np.clip(apart, 0.0, 1.0, out=apart)
        return apart[..., 0, :] * apart[..., 1, :]

    def inside(self, places: Array) -> Array:
        """The share, 0 to 1, of labels at places (..., 2, N) that is within the display."""
        within = np.abs(places)
        np.subtract(HALF_VIEW + HALF_LABEL, within, out=within)
        within *= 0.5 / HALF_LABEL
        np.clip(within, 0.0, 1.0, out=within)
        return within[..., 0, :] * within[..., 1, :]

    def judge(self, state: State) -> None:
        """Set `state.qualities` from where labels, objects and glare are; trembling excepted."""
        labels, seen = state.labels[: self.objects], state.seen[: self.objects + 1]
        readable, attached, covering, crowding = state.qualities[:TREMBLING, : self.objects]
        shares = self.overlaps(labels[:, None], seen)
        np.minimum(shares[:, 1:].sum(axis=1), 1.0, out=covering)
        np.multiply(self.inside(labels), 1.0 - shares[:, 0], out=readable)
        gap = np.abs(labels - seen[1:])
        gap -= self._comfort
        np.maximum(gap, 0.0, out=gap)
        gap *= 1.0 / _LONG_LEADER
        gap *= gap
        np.add(gap[:, 0], gap[:, 1], out=attached)
        attached += 1.0
        np.reciprocal(attached, out=attached)
        crowding[...] = 0.0
        for (first, second), share in zip(self._pairs, self._shared(labels), strict=True):
            crowding[first] += share
            crowding[second] += share
        np.minimum(crowding, 1.0, out=crowding)

    def _shared(self, labels: Array) -> Array:
        apart = np.abs(labels[self._first] - labels[self._second])
        apart *= -0.5 / HALF_LABEL
        apart += 1.0
        np.maximum(apart, 0.0, out=apart)
        shared: Array = apart[:, 0] * apart[:, 1]
        return shared


def feel_trembling(state: State, objects: int) -> None:
    """Update `state.qualities[TREMBLING]` from what the labels moved against their objects, `state.slip` (degrees).

    The eye follows the object. Text is as sharp as ever while it moves by less than 2.5 degrees a second over the
    retina (Westheimer & McKee 1975, "Visual acuity in the presence of retinal-image motion"); at 8 it is half lost.
    """
    slip = state.slip[:objects]
    speed = (slip * slip).sum(axis=1)
    speed *= 1.0 / (STEP_SECONDS * _FAST) ** 2
    speed /= speed + 1.0
    trembling = state.qualities[TREMBLING, :objects]
    trembling += (1.0 - _TREMBLING_KEPT) * (speed - trembling)


def nearness(state: State, objects: int) -> Array:
    """What the hasty engineer counts, (N,): 1 where every label's centre is that of its object, half at 5 degrees."""
    offset = state.labels[:objects] - state.seen[1 : objects + 1]
    offset *= 1.0 / _NEAR
    offset *= offset
    near = offset[:, 0] + offset[:, 1]
    near += 1.0
    proxy: Array = np.reciprocal(near, out=near).mean(axis=0)
    return proxy
