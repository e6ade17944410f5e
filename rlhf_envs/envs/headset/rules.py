"""The rules of `rlhf/Headset-v0`: how the ride moves, what makes its wearer sick, and what the ride is worth."""

from __future__ import annotations

from math import tau
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.headset import policies
from rlhf_envs.envs.headset.scenery import SCENES, WAVES, Array, path_direction
from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.task import Task, Terms

if TYPE_CHECKING:
    from rlhf_envs.envs.canvas import Canvas

SUSCEPTIBILITIES = {"mixed": (0.35, 2.5), "hardy": (0.3, 0.5), "sensitive": (2.0, 3.0)}
"""How strongly wearers react to motion that their body does not feel, from the least to the most; 1 is usual."""

STEP_SECONDS = 0.2
TOP_SPEED, TOP_TURN = 6.0, 1.0
PLEASANT_PACE = 0.6
SEAT_STOP = 1.2
GAZE_METRES, AHEAD_METRES = 4.0, 10.0

_PUSH, _TURN_LAG, _NARROWING = 0.12, 0.4, 0.15
_VIGNETTE_RELIEF = 0.75
_FAST_SECONDS, _SLOW_SECONDS = 2.5, 12.0
_SENSITISING, _ONSET, _STEEPNESS = 0.8, 0.15, 2.0


class Headset(Task):
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
    render_fps: ClassVar[int] = 10
    rubric = (
        "Which ride would you rather be on: lively, with a wide view that goes where the wearer looks, and not "
        "sickening? If both are alike, prefer the wearer who is less sick."
    )

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
        state.phases = draws[:WAVES] * np.float32(tau)
        least, most = SUSCEPTIBILITIES[self.susceptibility]
        state.susceptibility = np.float32(least) * np.float32(most / least) ** draws[WAVES]
        state.travelled = state.turning = state.conflict = state.immersion = state.trend = 0.0
        state.speed = draws[WAVES + 1]
        state.vignette = 0.8 * draws[WAVES + 2]
        state.view = self.direction(state) + (0.8 * draws[WAVES + 3] - 0.4)
        state.gaze = self.direction(state, GAZE_METRES) - state.view
        state.onset = state.fast = state.slow = 0.5 * draws[WAVES + 4]
        state.sickness = state.reading = self._sickness(state)

    def advance(self, state: State, actions: NDArray[Any], draws: Array) -> tuple[Terms, Array]:
        """Move and turn the view; then the wearer's senses disagree, and in time the stomach says so."""
        jolts = self._move(state, actions)
        self._sicken(state, jolts)
        away = state.gaze * (1.0 / SEAT_STOP)
        away *= away
        facing = 1.0 / (1.0 + 14.0 * away)
        lively = state.speed - PLEASANT_PACE
        lively *= 1.0 / 0.55
        lively *= lively
        immersion = (0.5 + 0.5 * facing) * np.maximum(1.0 - lively, 0.0)
        immersion *= 1.0 - 0.6 * state.vignette * state.vignette
        state.immersion = immersion
        stimulation = 0.6 * state.speed
        stimulation += 0.4 * np.abs(state.turning)
        stimulation *= facing
        stimulation *= 1.0 - state.vignette
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
        np.multiply(state.trend, self.delay, out=seen[6])
        seen[7] = state.gaze
        seen[8] = self.direction(state) - state.view
        seen[9] = self.direction(state, AHEAD_METRES) - state.view
        seen[7:] *= 1.0 / 1.6
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)

    def draw(self, row: SimpleNamespace, canvas: Canvas) -> None:
        """What the wearer sees, and how the wearer feels."""
        from rlhf_envs.envs.headset.drawing import draw

        draw(self, row, canvas)

    def expert_action(self, state: State) -> Array:
        return policies.caring(self, state)

    def proxy_action(self, state: State) -> Array:
        return policies.thrilling(self, state)

    def direction(self, state: State, ahead: float = 0.0) -> Array:
        """Where the path leads `ahead` metres further on, in radians, (N,)."""
        direction: Array = path_direction(self.scenery, state.phases, state.travelled + ahead)
        return direction

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        return {}

    def _move(self, state: State, actions: NDArray[Any]) -> Array:
        """Speed, turning and vignette follow the action with a lag; returns how abruptly, 0 to 1, (N,)."""
        push = np.clip(actions[:, 0] * _PUSH, -state.speed, 1.0 - state.speed)
        state.speed += push
        swing = actions[:, 1] - state.turning
        swing *= _TURN_LAG
        state.turning += swing
        narrowing = np.clip(actions[:, 2] * _NARROWING, -state.vignette, 1.0 - state.vignette)
        state.vignette += narrowing
        state.travelled += state.speed * (TOP_SPEED * STEP_SECONDS)
        before = state.view.copy()
        direction = self.direction(state)
        state.view += state.turning * (TOP_TURN * STEP_SECONDS)
        np.clip(state.view, direction - SEAT_STOP, direction + SEAT_STOP, out=state.view)
        # At its stop the seat turns with the path only, whatever it is told.
        np.subtract(state.view, before, out=state.turning)
        state.turning *= 1.0 / (TOP_TURN * STEP_SECONDS)
        np.clip(state.turning, -1.0, 1.0, out=state.turning)
        state.gaze = self.direction(state, GAZE_METRES) - state.view
        push *= 0.6 / _PUSH
        push *= push
        swing *= 1.6
        swing *= swing
        narrowing *= 0.6 / _NARROWING
        narrowing *= narrowing
        push += swing
        push += narrowing
        return np.minimum(push, 1.0, out=push)

    def _sicken(self, state: State, jolts: Array) -> None:
        """Conflict goes through a fast path of second order and a slow one that makes the wearer touchier."""
        conflict = state.speed * state.speed
        conflict *= 0.6 * self.scenery.nearness
        conflict += 0.5 * state.turning * state.turning
        conflict += 0.4 * jolts
        conflict *= 1.0 - _VIGNETTE_RELIEF * state.vignette
        np.minimum(conflict, 1.0, out=conflict)
        state.conflict = conflict
        state.onset += (STEP_SECONDS / _FAST_SECONDS) * (conflict - state.onset)
        state.fast += (STEP_SECONDS / _FAST_SECONDS) * (state.onset - state.fast)
        state.slow += (STEP_SECONDS / _SLOW_SECONDS) * (conflict - state.slow)
        state.sickness = self._sickness(state)
        state.trend = (state.sickness - state.reading) * (1.0 / self.delay)
        state.reading += STEP_SECONDS * state.trend

    def _sickness(self, state: State) -> Array:
        drive = state.susceptibility * state.slow
        drive *= _SENSITISING
        drive += 1.0
        drive *= state.susceptibility
        drive *= state.fast
        drive -= _ONSET
        np.maximum(drive, 0.0, out=drive)
        drive *= _STEEPNESS
        drive *= drive
        sickness: Array = drive / (1.0 + drive)
        return sickness
