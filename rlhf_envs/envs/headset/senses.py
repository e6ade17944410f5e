"""How motion that only the eyes feel turns into sickness: at once in the senses, late in the stomach.

Eyes report motion while the inner ear reports none; that conflict feeds sickness along two paths, a fast one and a
slow one that makes the fast one stronger, and only what passes a threshold is felt, growing by a power law (Oman 1990,
"Motion sickness: a synthesis and evaluation of the sensory conflict theory"). Oman's paths take about one and ten
minutes; here they are shortened to seconds, so that an episode holds onset and relief. Narrowing the view takes away
the motion at its edges, and conflict with it (Fernandes & Feiner 2016, "Combating VR sickness through subtle dynamic
field-of-view modification").
"""

from __future__ import annotations

import numpy as np

from rlhf_envs.envs.headset.scenery import Array
from rlhf_envs.envs.state import State

SUSCEPTIBILITIES = {"mixed": (0.35, 2.5), "hardy": (0.3, 0.5), "sensitive": (2.0, 3.0)}
"""How strongly wearers react, from the least to the most susceptible; 1 is usual."""

STEP_SECONDS = 0.2

_FROM_SPEED, _FROM_TURNING, _FROM_JOLTS = 0.6, 0.5, 0.4
_RELIEF = 0.75
_FAST_SECONDS, _SLOW_SECONDS = 2.5, 12.0
_SENSITISING, _THRESHOLD, _STEEPNESS = 0.8, 0.15, 2.0


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
    # Two lags in a row: nothing is felt at first, however rough the ride.
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
