"""`rlhf/Headset-v0`: what the ride is worth, what the headset knows, and two policies."""

from __future__ import annotations

from itertools import product
from math import tau
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.headset import drawing
from rlhf_envs.envs.headset.ride import (
    AHEAD_METRES,
    GAZE_METRES,
    SCENES,
    SEAT_STOP,
    STEP_SECONDS,
    SUSCEPTIBILITIES,
    TOP_SPEED,
    TOP_TURN,
    WAVES,
    Array,
    direction,
    felt_sickness,
    ride,
    upset,
)
from rlhf_envs.envs.task import Draws, Field, State, Task, Terms, numbers

PLEASANT_PACE, PACE_SPREAD = 0.6, 0.55
_FACING_SHARPNESS = 5.0
_EAGERNESS = 4.0


class Headset(Task):
    """Guide a person through a landscape in virtual reality.

    ## Description
    The wearer of a headset sits still and rides along a winding path; the agent sets the pace, turns the view and
    narrows it. Motion that the eyes see and the body does not feel makes sick, turning and haste most of all, but only
    after some seconds, too late to be connected with its cause; and people differ in it by a factor of seven. How
    susceptible a wearer is cannot be observed, only inferred from how sick so much motion has made them. A vignette (a
    view narrowed from its edges) relieves, and a slight one is hardly noticed.

    Sickness follows the sensory conflict model of Oman 1990 ("Motion sickness: a synthesis and evaluation of the
    sensory conflict theory"), its minutes shortened to seconds; the relief by a narrower view Fernandes & Feiner 2016
    ("Combating VR sickness through subtle dynamic field-of-view modification"). The numbers are ours. A step is 0.2 s.

    ## Action Space
    `Box(-1, 1, (3,), float32)`
    | number | action | -1 | 1 |
    |---|---|---|---|
    | 0 | pace | slow down by 0.72 m/s in the step | speed up as much; the top speed is 6 m/s |
    | 1 | turning of the view, followed with a lag | 1 rad/s to the left | 1 rad/s to the right |
    | 2 | vignette | open by 15% in the step | narrow by 15% in the step |

    ## Observation Space
    `Box(-1, 1, (10,), float32)`
    | number | observation | range before scaling |
    |---|---|---|
    | 0 | speed | 0 to 6 m/s |
    | 1 | vignette | 0 (none) to 1 (hardly anything to see) |
    | 2 | sickness as the headset reads it from the wearer's body, `delay` late | 0 to 1 |
    | 3, 4 | sensory conflict that the ride has caused, as it comes through the fast and the slow path | 0 to 1 |
    | 5 | turning, positive to the right | -1 to 1 rad/s |
    | 6 | how much the reading of sickness rises, in `delay` at this rate | -1 to 1 |
    | 7 | gaze: where the wearer looks (the path 4 m ahead), less where the view points | -0.8 to 0.8 rad |
    | 8, 9 | direction of the path at hand and 10 m ahead, less where the view points | -1.6 to 1.6 rad |

    ## Rewards
    The true reward is the weighted sum of these terms; the proxy reward, stimulation, is the image motion at the gaze:
    (0.6 speed + 0.4 turning) x (1 - vignette) x facing, speed and turning as shares of the most there is.
    | term | weight | values | what it says |
    |---|---|---|---|
    | immersion | 1.0 | 0 to 1 | liveliness x (1 - 0.6 vignette²) x (1 + facing) / 2 |
    | sickness | -1.0 | 0 to 1 | how sick the wearer feels |
    | disorientation | -0.8 | 0 to 1 | 1 - facing, where facing = 1 / (1 + 5 (gaze / 1.2 rad)²) |
    | jolts | -0.3 | 0 to 1 | sudden changes of pace, turning and vignette, squared |

    Liveliness is 1 - ((speed / 6 m/s - 0.6) / 0.55)², at least 0: a crawl bores, and haste leaves no time to look.

    ## Starting State
    A new wearer, of a susceptibility drawn evenly on a logarithmic scale, perhaps still a little sick from an earlier
    ride; a random pace and vignette, a view up to 0.4 rad off the path, which begins its waves anywhere.

    ## Episode End
    After `horizon` steps (truncation). There is no termination.

    ## Arguments
    - `susceptibility`: "mixed" (0.35 to 2.5), or "hardy" (0.3 to 0.5) or "sensitive" (2 to 3) wearers only.
    - `scene`: "meadow" (wide bends, everything far), "forest" or "gorge" (tight bends, rocks at hand).
    - `delay`: seconds by which the reading of sickness lags, 0.2 to 10.
    - `horizon`: steps in an episode.

    Train on the defaults and evaluate on `scene="gorge"` or `susceptibility="sensitive"` to see what carries over.

    ## Why people's judgement helps
    Stimulation can be measured in every frame; it is what a ride is sold by, and it makes sick. Sickness comes too late
    and too differently from wearer to wearer for a formula of the motion. A person who sees a pale face under a headset
    knows at once that the ride was too much, and a person who sees a crawl through a keyhole that it was too little.

    ## Version History
    - v0: first version.
    """

    fields = {
        "phases": Field(shape=(WAVES,)),
        **numbers("susceptibility", "travelled", "view", "gaze", "speed", "turning", "vignette", "conflict"),
        **numbers("onset", "fast", "slow", "sickness", "reading", "trend", "immersion"),
    }
    reward_weights = {"immersion": 1.0, "sickness": -1.0, "disorientation": -0.8, "jolts": -0.3}
    reset_draws = {"phases": (WAVES,), "susceptibility": (), "speed": (), "vignette": (), "view": (), "sickness": ()}
    render_fps = 10
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

    def begin(self, state: State, draws: Draws) -> None:
        """A new wearer, somewhere on the path, looking roughly along it."""
        state.phases = draws.phases * np.float32(tau)
        least, most = SUSCEPTIBILITIES[self.susceptibility]
        state.susceptibility = np.float32(least) * np.float32(most / least) ** draws.susceptibility
        state.travelled = state.turning = state.conflict = state.immersion = state.trend = 0.0
        state.speed, state.vignette = draws.speed, 0.8 * draws.vignette
        state.view = direction(self.scenery, state) + (0.8 * draws.view - 0.4)
        state.gaze = direction(self.scenery, state, GAZE_METRES) - state.view
        state.onset = state.fast = state.slow = 0.5 * draws.sickness
        state.sickness = state.reading = felt_sickness(state)

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Move the ride, then the wearer's sensory conflict and sickness; then compute the terms."""
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
        terms = {"immersion": immersion, "sickness": state.sickness, "disorientation": 1.0 - facing, "jolts": jolts}
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

    draw = drawing.draw

    def expert_action(self, state: State) -> Array:
        """Turns where the wearer looks, as fast as this wearer can bear, narrowing the view in bends, (N, 3).

        Susceptibility is hidden; it is inferred from the sickness that so much motion has caused.
        """
        felt = state.reading + state.trend * (self.delay / STEP_SECONDS)
        touchiness = felt / (state.slow + 0.1)
        wheel = self._follow_gaze(state)
        pace = np.clip(0.59 - 0.3 * touchiness, 0.25, 0.6)
        narrow = np.clip(0.2 * touchiness + 0.45 * np.abs(wheel) - 0.08, 0.0, 0.7)
        return _actions(_EAGERNESS * (pace - state.speed), wheel, _EAGERNESS * (narrow - state.vignette))

    def proxy_action(self, state: State) -> Array:
        """Full speed with the widest view, straight at whatever the wearer looks at, (N, 3)."""
        full = np.ones(state.copies, dtype=np.float32)
        return _actions(full, self._follow_gaze(state), -full)

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """W and S for the pace, A and D to turn, Q and E to narrow and to open the view."""
        choices = product(((), ("w",), ("s",)), ((), ("a",), ("d",)), ((), ("q",), ("e",)))
        effect = {"w": (0, 0.7), "s": (0, -0.7), "a": (1, -0.6), "d": (1, 0.6), "q": (2, 0.7), "e": (2, -0.7)}
        keys_to_action = {}
        for keys in (sum(choice, ()) for choice in choices):
            action = np.zeros(3, dtype=np.float32)
            for key in keys:
                number, amount = effect[key]
                action[number] = amount
            if keys:
                keys_to_action[keys] = action
        return keys_to_action

    def _follow_gaze(self, state: State) -> Array:
        """The turning that keeps the gaze in the middle of the view, through the bend that is coming, (N,)."""
        bend = direction(self.scenery, state, AHEAD_METRES) - direction(self.scenery, state)
        bend *= state.speed * (TOP_SPEED / (AHEAD_METRES * TOP_TURN))
        return np.clip(4.0 * state.gaze + bend, -0.9, 0.9)


def _actions(push: Array, wheel: Array, narrowing: Array) -> Array:
    return np.clip(np.stack([push, wheel, narrowing], axis=1), -1.0, 1.0).astype(np.float32)
