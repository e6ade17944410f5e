"""The rules of `rlhf/Headset-v0`: how the ride moves, what it is worth, and what the headset knows."""

from __future__ import annotations

from math import tau
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.headset.ride import AHEAD_METRES, GAZE_METRES, SEAT_STOP, direction, ride
from rlhf_envs.envs.headset.scenery import SCENES, WAVES, Array
from rlhf_envs.envs.headset.senses import STEP_SECONDS, SUSCEPTIBILITIES, felt_sickness, upset
from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.task import Task, Terms

PLEASANT_PACE, PACE_SPREAD = 0.6, 0.55
_FACING_SHARPNESS = 5.0


class HeadsetRules(Task):
    """The ride, and how its wearer takes it; `Headset` is drawn and ridden, too."""

    fields = {
        "phases": Field(shape=(WAVES,)),
        "susceptibility": Field(),
        "travelled": Field(),
        "view": Field(),
        "gaze": Field(),
        "speed": Field(),
        "turning": Field(),
        "vignette": Field(),
        "conflict": Field(),
        "onset": Field(),
        "fast": Field(),
        "slow": Field(),
        "sickness": Field(),
        "reading": Field(),
        "trend": Field(),
        "immersion": Field(),
    }
    reward_weights = {"immersion": 1.0, "sickness": -1.0, "disorientation": -0.8, "jolts": -0.3}
    draws_per_reset = WAVES + 5

    def __init__(
        self, susceptibility: str = "mixed", scene: str = "forest", delay: float = 1.5, horizon: int = 200
    ) -> None:
        if susceptibility not in SUSCEPTIBILITIES:
            raise ValueError(f"susceptibility must be one of {', '.join(SUSCEPTIBILITIES)}, not {susceptibility!r}.")
        if scene not in SCENES:
            raise ValueError(f"scene must be one of {', '.join(SCENES)}, not {scene!r}.")
        if not STEP_SECONDS <= delay <= 10.0:
            raise ValueError(f"delay is in seconds and must be from {STEP_SECONDS} to 10, not {delay!r}.")
        self.susceptibility, self.scene, self.delay = susceptibility, scene, float(delay)
        self.scenery = SCENES[scene]
        self.observation_space = Box(-1.0, 1.0, (10,), np.float32)
        self.action_space = Box(-1.0, 1.0, (3,), np.float32)
        super().__init__(horizon)

    def begin(self, state: State, draws: Array) -> None:
        """A new wearer, somewhere on the path, looking roughly along it."""
        person, pace, vignette, aside, earlier = draws[WAVES:]
        state.phases = draws[:WAVES] * np.float32(tau)
        least, most = SUSCEPTIBILITIES[self.susceptibility]
        state.susceptibility = np.float32(least) * np.float32(most / least) ** person
        state.travelled = state.turning = state.conflict = state.immersion = state.trend = 0.0
        state.speed, state.vignette = pace, 0.8 * vignette
        state.view = direction(self.scenery, state) + (0.8 * aside - 0.4)
        state.gaze = direction(self.scenery, state, GAZE_METRES) - state.view
        state.onset = state.fast = state.slow = 0.5 * earlier
        state.sickness = state.reading = felt_sickness(state)

    def advance(self, state: State, actions: NDArray[Any], draws: Array) -> tuple[Terms, Array]:
        """Ride on; the senses feel it now, the stomach later."""
        jolts = ride(self.scenery, state, actions)
        upset(state, jolts, self.scenery.nearness, self.delay)
        facing = state.gaze * (1.0 / SEAT_STOP)
        facing *= facing
        facing *= _FACING_SHARPNESS
        facing += 1.0
        np.reciprocal(facing, out=facing)
        immersion = state.speed - PLEASANT_PACE
        immersion *= 1.0 / PACE_SPREAD
        immersion *= immersion
        np.maximum(1.0 - immersion, 0.0, out=immersion)
        immersion *= 1.0 - 0.6 * state.vignette * state.vignette
        immersion *= 0.5 + 0.5 * facing
        state.immersion = immersion
        stimulation: Array = np.abs(state.turning)
        stimulation *= 0.4
        stimulation += 0.6 * state.speed
        stimulation *= 1.0 - state.vignette
        stimulation *= facing
        terms = {
            "immersion": immersion,
            "sickness": state.sickness,
            "disorientation": 1.0 - facing,
            "jolts": jolts,
        }
        return terms, stimulation

    def observe(self, state: State) -> Array:
        """What the headset knows, (N, 10) float32 in [-1, 1]."""
        seen = np.empty((10, state.copies), dtype=np.float32)
        seen[0] = state.speed
        seen[1] = state.vignette
        seen[2] = state.reading
        seen[3] = state.fast
        seen[4] = state.slow
        seen[:5] *= 2.0
        seen[:5] -= 1.0
        seen[5] = state.turning
        np.multiply(state.trend, self.delay / STEP_SECONDS, out=seen[6])
        np.multiply(state.gaze, 2.0, out=seen[7])
        np.subtract(direction(self.scenery, state), state.view, out=seen[8])
        np.subtract(direction(self.scenery, state, AHEAD_METRES), state.view, out=seen[9])
        seen[7:] *= 1.0 / 1.6
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)
