"""`rlhf/Headset-v1`: what a ride is worth and what the headset knows; how it moves, and how motion becomes sickness.

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
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.task import Array, Draws, Field, State, Task, Terms, key_combinations, numbers

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
    legend = {
        "picture": "what the wearer sees",
        "blue ring": "where the wearer looks",
        "dark corners": "a narrowed view, which sickens less and shows less",
        "face and bars": "how the wearer is",
    }

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
        aside = state.gaze * (1.0 / SEAT_STOP)
        facing = np.reciprocal(aside * aside * _FACING_SHARPNESS + 1.0)
        off_pace = (state.speed - PLEASANT_PACE) * (1.0 / PACE_SPREAD)
        liveliness = np.maximum(1.0 - off_pace * off_pace, 0.0)
        immersion = liveliness * (1.0 - 0.6 * state.vignette * state.vignette) * (0.5 + 0.5 * facing)
        state.immersion = immersion
        stimulation: Array = (0.4 * np.abs(state.turning) + 0.6 * state.speed) * (1.0 - state.vignette) * facing
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

    drawing = "rlhf_envs.envs.headset.drawing:draw"

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
        pace, wheel, view = (
            {"": 0.0, "w": 0.7, "s": -0.7},
            {"": 0.0, "a": -0.6, "d": 0.6},
            {"": 0.0, "q": 0.7, "e": -0.7},
        )
        return {keys: np.array(action, dtype=np.float32) for keys, action in key_combinations(pace, wheel, view)}

    def describe_keys(self) -> dict[str, str]:
        """What each key does."""
        return {"w": "faster", "s": "slower", "a": "turn left", "d": "turn right", "q": "narrow view", "e": "wide view"}

    def _follow_gaze(self, state: State) -> Array:
        """The turning that keeps the gaze in the middle of the view, through the bend that is coming, (N,)."""
        bend = direction(self.scenery, state, AHEAD_METRES) - direction(self.scenery, state)
        bend *= state.speed * (TOP_SPEED / (AHEAD_METRES * TOP_TURN))
        return np.clip(4.0 * state.gaze + bend, -0.9, 0.9)


def _actions(push: Array, wheel: Array, narrowing: Array) -> Array:
    return np.clip(np.stack([push, wheel, narrowing], axis=1), -1.0, 1.0).astype(np.float32)


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
    swing: Array = (actions[:, 1] - state.turning) * _TURN_LAG
    narrowing: Array = np.clip(actions[:, 2] * _NARROWING, -state.vignette, 1.0 - state.vignette)
    state.vignette += narrowing
    state.travelled += state.speed * (TOP_SPEED * STEP_SECONDS)

    along = direction(scene, state)
    view = state.view + (state.turning + swing) * (TOP_TURN * STEP_SECONDS)
    np.clip(view, along - SEAT_STOP, along + SEAT_STOP, out=view)
    # At its stop the seat turns only with the path, whatever the action.
    state.turning = np.clip((view - state.view) * (1.0 / (TOP_TURN * STEP_SECONDS)), -1.0, 1.0)
    state.view = view
    state.gaze = direction(scene, state, GAZE_METRES) - view

    push *= _PUSH_JOLT / _PUSH
    swing *= _SWING_JOLT
    narrowing *= _NARROWING_JOLT / _NARROWING
    return np.minimum(push * push + swing * swing + narrowing * narrowing, 1.0)


def upset(state: State, jolts: Array, nearness: float, delay: float) -> None:
    """One step of the wearer's senses and stomach, in place.

    Args:
        state: its speed, turning and vignette are those of this step.
        jolts: how abruptly the motion changed, 0 to 1, (N,).
        nearness: how fast the surroundings seem to pass.
        delay: by how many seconds the reading of sickness lags.
    """
    moving = state.speed * state.speed * (_FROM_SPEED * nearness) + _FROM_TURNING * state.turning * state.turning
    conflict = np.minimum((moving + _FROM_JOLTS * jolts) * (1.0 - _RELIEF * state.vignette), 1.0)
    state.conflict = conflict
    # Two lags in a row, so that the onset is late, however rough the ride.
    state.onset += (STEP_SECONDS / _FAST_SECONDS) * (conflict - state.onset)
    state.fast += (STEP_SECONDS / _FAST_SECONDS) * (state.onset - state.fast)
    state.slow += (STEP_SECONDS / _SLOW_SECONDS) * (conflict - state.slow)
    state.sickness = felt_sickness(state)
    state.trend = (state.sickness - state.reading) * (STEP_SECONDS / delay)
    state.reading += state.trend


def felt_sickness(state: State) -> Array:
    """Sickness from 0 to 1, (N,): what both paths bring beyond the threshold, squared, and levelling off."""
    both = (state.susceptibility * state.slow * _SENSITISING + 1.0) * state.susceptibility * state.fast
    drive = np.maximum(both - _THRESHOLD, 0.0) * _STEEPNESS
    drive *= drive
    sickness: Array = drive / (1.0 + drive)
    return sickness
