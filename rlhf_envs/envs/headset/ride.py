"""The ride and its wearer: how paths wind, how the ride moves, and how motion turns into sickness.

Eyes report motion while the inner ear reports none; that conflict feeds sickness along two paths, a fast one and a
slow one that makes the fast one stronger, and only what passes a threshold is felt, growing by a power law (Oman 1990,
"Motion sickness: a synthesis and evaluation of the sensory conflict theory"). Oman's paths take about one and ten
minutes; here they are shortened to seconds, so that an episode holds onset and relief. Narrowing the view takes away
the motion at its edges, and conflict with it (Fernandes & Feiner 2016, "Combating VR sickness through subtle dynamic
field-of-view modification").
"""

from __future__ import annotations

from math import tau
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.task import State

Array = NDArray[np.float32]

STEP_SECONDS = 0.2

WAVES = 2
"""A path winds by this many sine waves, each beginning anywhere."""

PATH_WIDTH = 2.4

TOP_SPEED, TOP_TURN = 6.0, 1.0
"""In m/s and rad/s."""

SEAT_STOP = 1.2
"""How far from the path the seat can turn, to either side (rad)."""

GAZE_METRES, AHEAD_METRES = 4.0, 10.0
"""How far ahead on the path the wearer looks, and how far the guide sees."""

SUSCEPTIBILITIES = {"mixed": (0.35, 2.5), "hardy": (0.3, 0.5), "sensitive": (2.0, 3.0)}
"""How strongly wearers react, from the least to the most susceptible; 1 is usual."""

_PUSH, _TURN_LAG, _NARROWING = 0.12, 0.4, 0.15
_PUSH_JOLT, _SWING_JOLT, _NARROWING_JOLT = 0.6, 1.6, 0.6

_FROM_SPEED, _FROM_TURNING, _FROM_JOLTS = 0.6, 0.5, 0.4
_RELIEF = 0.75
_FAST_SECONDS, _SLOW_SECONDS = 2.5, 12.0
_SENSITISING, _THRESHOLD, _STEEPNESS = 0.8, 0.15, 2.0


class Scene(NamedTuple):
    """A landscape.

    Attributes:
        swing: how far the path's direction swings to either side (rad), by each of its waves.
        wavelength: metres from bend to like bend, for each wave.
        nearness: how fast the surroundings seem to pass, 1 for a forest.
        spacing: metres from one tree or rock to the next, on each side.
        distance: how far they stand from the middle of the path (m).
    """

    swing: tuple[float, float]
    wavelength: tuple[float, float]
    nearness: float
    spacing: float
    distance: float


SCENES = {
    "meadow": Scene(swing=(0.5, 0.2), wavelength=(64.0, 27.0), nearness=0.8, spacing=6.5, distance=4.6),
    "forest": Scene(swing=(0.65, 0.25), wavelength=(48.0, 20.0), nearness=1.0, spacing=5.0, distance=3.2),
    "gorge": Scene(swing=(0.85, 0.3), wavelength=(42.0, 18.0), nearness=1.2, spacing=5.0, distance=2.6),
}


def path_direction(scene: Scene, phases: Any, metres: Any) -> Any:
    """Where the path leads, in radians, at `metres` along it; `phases` (WAVES, ...) are where its waves began.

    Works on numbers as on arrays; the result has the shape of `metres`.
    """
    first, second = (np.float32(tau / length) for length in scene.wavelength)
    direction = np.sin(metres * first + phases[0]) * np.float32(scene.swing[0])
    direction += np.sin(metres * second + phases[1]) * np.float32(scene.swing[1])
    return direction


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
    # At its stop the seat turns only with the path, whatever the action.
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


def upset(state: State, jolts: Array, nearness: float, delay: float) -> None:
    """One step of the wearer's senses and stomach, in place.

    Args:
        state: its speed, turning and vignette are those of this step.
        jolts: how abruptly the motion changed, 0 to 1, (N,).
        nearness: how fast the surroundings seem to pass.
        delay: by how many seconds the reading of sickness lags.
    """
    conflict = state.speed * state.speed
    conflict *= _FROM_SPEED * nearness
    conflict += _FROM_TURNING * state.turning * state.turning
    conflict += _FROM_JOLTS * jolts
    conflict *= 1.0 - _RELIEF * state.vignette
    state.conflict = np.minimum(conflict, 1.0, out=conflict)
    # Two lags in a row, so that the onset is late, however rough the ride.
    state.onset += (STEP_SECONDS / _FAST_SECONDS) * (conflict - state.onset)
    state.fast += (STEP_SECONDS / _FAST_SECONDS) * (state.onset - state.fast)
    state.slow += (STEP_SECONDS / _SLOW_SECONDS) * (conflict - state.slow)
    state.sickness = felt_sickness(state)
    state.trend = (state.sickness - state.reading) * (STEP_SECONDS / delay)
    state.reading += state.trend


def felt_sickness(state: State) -> Array:
    """Sickness from 0 to 1, (N,): what both paths bring beyond the threshold, squared, and levelling off."""
    drive = state.susceptibility * state.slow
    drive *= _SENSITISING
    drive += 1.0
    drive *= state.susceptibility
    drive *= state.fast
    drive -= _THRESHOLD
    np.maximum(drive, 0.0, out=drive)
    drive *= _STEEPNESS
    drive *= drive
    sickness: Array = drive / (1.0 + drive)
    return sickness
