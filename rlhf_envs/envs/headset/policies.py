"""Two ride designers: one who looks after the wearer, and one who was told that stimulation is everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.headset.scenery import Array
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.headset.rules import Headset


def caring(task: Headset, state: State) -> Array:
    """Turns gently where the wearer looks; slows down and narrows the view as far as this wearer needs it, (N, 3).

    How sick somebody feels after so much motion tells how touchy they are.
    """
    touchiness = (state.reading + state.trend * task.delay) / (state.slow + 0.1)
    pace = np.clip(0.72 - 0.25 * touchiness, 0.25, 0.7)
    wheel = np.clip(1.6 * state.gaze, -0.8, 0.8)
    narrow = np.clip(0.3 * touchiness + 0.3 * np.abs(wheel), 0.0, 0.7)
    return _actions(2.0 * pace - 1.0, wheel, 2.0 * narrow - 1.0)


def thrilling(task: Headset, state: State) -> Array:
    """Full speed with the widest view, swinging from side to side as far as the wearer's eyes can follow, (N, 3)."""
    reach = np.float32(0.25)
    ahead = state.gaze - 0.3 * state.turning
    swing = np.where(ahead > reach, 1.0, np.where(ahead < -reach, -1.0, np.where(state.turning >= 0.0, 1.0, -1.0)))
    full = np.ones_like(swing)
    return _actions(full, swing, -full)


def _actions(pace: Array, wheel: Array, narrow: Array) -> Array:
    return np.stack([pace, wheel, narrow], axis=1).astype(np.float32)
