"""What there is to see, and how it moves: the objects of each scene about their homes, all of it with the head.

Gait sways the head once per stride and nods it twice (Grossman et al. 1988, "Frequency and velocity of rotational head
perturbations during locomotion": pitch at no less than twice the frequency of yaw, below 90 degrees a second).
"""

from __future__ import annotations

from math import tau
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.state import State

Array = NDArray[np.float32]

MOST_OBJECTS = 4
STEP_SECONDS = 1.0 / 15.0
HALF_VIEW = np.array([[22.5], [15.0]], dtype=np.float32)
"""The display reaches so many degrees to either side of its centre, and up and down; (2, 1)."""

HEAD_MOTIONS = {"calm": 0.25, "walking": 1.0, "running": 2.0}
"""How much the wearer's gait shakes the head; 1 is walking."""

_GLANCE_REACH = np.array([[6.0], [3.0]], dtype=np.float32)
_SECONDS_TO_GLANCE, _EAGERNESS = 1.6, 4.5
_SWAY, _NOD = 0.8, 0.7
_TREMOR, _TREMOR_KEPT = 0.06, 0.7


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


def place_objects(scene: Scene, state: State, draws: Array, objects: int) -> None:
    """Give every object of a new scene its home, and the glare its place, from draws (4 * objects + 3, N)."""
    spread = np.array(scene.spread, dtype=np.float32)[:, None]
    jitter, phases = draws[: 4 * objects].reshape(2, objects, 2, -1)
    order = np.arange(objects)[:, None] + np.floor(draws[-3] * objects)
    homes = 2.0 * jitter - 1.0
    homes[:, 0] *= 0.8 / objects
    homes[:, 0] += (2.0 * (order % objects) + 1.0) / objects - 1.0
    state.homes[0] = draws[-2:] * [[24.0], [8.0]] - [[12.0], [11.0]]
    state.homes[1 : objects + 1] = homes * spread
    state.phases[:objects] = phases * np.float32(tau)
    move_objects(scene, state, objects)


def move_objects(scene: Scene, state: State, objects: int) -> None:
    """Move the objects one step about their homes, in place, and place them on the display by where the head points."""
    seconds = np.array(scene.seconds[:objects], dtype=np.float32)[:, None, None]
    phases = state.phases[:objects]
    phases += np.array([[1.0], [0.77]], dtype=np.float32) * (np.float32(tau * STEP_SECONDS) / seconds)
    seen = state.seen[: objects + 1]
    np.subtract(state.homes[: objects + 1], state.head, out=seen)
    seen[1:] += np.sin(phases) * np.array(scene.swing, dtype=np.float32)[:, None]


def move_head(state: State, draws: Array, intensity: float) -> None:
    """Move the wearer's head one step, in place, from draws (5, N): glances, gait and tremor.

    A glance is a critically damped turn towards a new place.
    """
    chance, aim, tremor = draws[0], draws[1:3], draws[3:5]
    new_aim = (2.0 * aim - 1.0) * _GLANCE_REACH
    np.copyto(state.glance, new_aim, where=chance < STEP_SECONDS / _SECONDS_TO_GLANCE)
    pull = state.glance - state.gaze
    pull *= _EAGERNESS
    pull -= 2.0 * state.gaze_rate
    state.gaze_rate += (STEP_SECONDS * _EAGERNESS) * pull
    state.gaze += STEP_SECONDS * state.gaze_rate
    state.tremor *= _TREMOR_KEPT
    state.tremor += (2.0 * _TREMOR * intensity) * (tremor - 0.5)
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
    """Two steps make a stride; who shakes more walks faster."""
    return 0.6 + 0.4 * intensity


def as_column(pairs: Any) -> Array:
    """Pairs of numbers (K, 2) as float32 of shape (K, 2, 1), to be used over all copies."""
    return np.array(pairs, dtype=np.float32)[..., None]
