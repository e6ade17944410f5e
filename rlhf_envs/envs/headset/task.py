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

from rlhf_envs.envs.task import Array, Draws, Field, Measure, State, Task, Terms, key_combinations, numbers

STEP_SECONDS = 0.2

WAVES = 2
"""A path winds by this many sine waves, each beginning anywhere."""

PATH_WIDTH = 2.4

TOP_SPEED, TOP_TURN = 6.0, 1.0
"""In m/s and rad/s."""

SEAT_STOP = 1.2
"""How far from the path the seat can turn, to either side (rad)."""

GAZE_METRES, AHEAD_METRES = 4.0, 10.0
"""How far ahead on the path the wearer looks where there is no sight, and how far the guide sees."""

SIGHT_FROM, SIGHT_UNTIL, SIGHT_BESIDE = 14.0, 2.5, 4.0
"""How far ahead a sight draws the wearer's eyes, how near it lets them go, how far it stands beside the path (m)."""

_NEAREST_SIGHT, _SIGHTS_SPREAD, _SIGHT_KNOWN = 26.0, 18.0, 30.0

SUSCEPTIBILITIES = {"mixed": (0.35, 2.5), "hardy": (0.3, 0.5), "sensitive": (2.0, 3.0)}
"""How strongly wearers react, from the least to the most susceptible; 1 is usual."""

_PUSH, _TURN_LAG, _NARROWING = 0.12, 0.4, 0.15
_DRAG = 0.03
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
    "meadow": Scene(swing=(1.0, 0.2), wavelength=(84.0, 27.0), nearness=0.8, spacing=6.5, distance=4.6),
    "forest": Scene(swing=(1.2, 0.25), wavelength=(64.0, 20.0), nearness=1.0, spacing=5.0, distance=3.2),
    "gorge": Scene(swing=(1.4, 0.3), wavelength=(56.0, 18.0), nearness=1.2, spacing=5.0, distance=2.6),
}

TRAVEL_PACE, SIGHT_PACE, PACE_SPREAD = 0.65, 0.35, 0.35
"""The pleasantest pace between sights and at a sight, and how far from it a ride is no longer lively; shares of the top
speed."""

SSQ_MOST = 3.74 * 3 * 21
"""The most that the Simulator Sickness Questionnaire gives in total: 3.74 times the sum of the raw scores of nausea,
oculomotor strain and disorientation, of seven items each from 0 to 3 (Kennedy et al. 1993). That the sickness of this
environment is proportional to it is ours."""

_FACING_SHARPNESS = 16.0
_EAGERNESS = 4.0


class Headset(Task):
    """Guide a person through a landscape in virtual reality.

    ## Description
    The wearer of a headset sits still and rides along a winding path; the agent sets the pace, turns the view and
    narrows it. Now and then a sight stands beside the path, a tower or a fountain: the wearer looks at it, wants the
    view to follow, and has more of it slowly; between sights they would rather get on. A carriage that is not pushed
    rolls out.

    Motion that the eyes see and the body does not feel makes sick, turning and haste most of all, but only after some
    seconds, too late to be connected with its cause; and people differ in it by a factor of seven. How susceptible a
    wearer is cannot be observed, only inferred from how sick so much motion has made them. A vignette (a view narrowed
    from its edges) relieves, and a slight one is hardly noticed.

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
    `Box(-1, 1, (15,), float32)`
    | number | observation | range before scaling |
    |---|---|---|
    | 0 | speed | 0 to 6 m/s |
    | 1 | vignette | 0 (none) to 1 (hardly anything to see) |
    | 2 | sickness as the headset reads it from the wearer's body, `delay` late | 0 to 1 |
    | 3, 4 | sensory conflict that the ride has caused, as it comes through the fast and the slow path | 0 to 1 |
    | 5 | jolt: how abruptly the motion changed in the last step (the term `jolts`) | 0 to 1 |
    | 6 | way to the next sight; it is looked at from 14 m on until 2.5 m before it | 0 to 30 m |
    | 7 | side of the next sight | -1 left, 1 right |
    | 8 | turning, positive to the right | -1 to 1 rad/s |
    | 9 | how much the reading of sickness rises, in `delay` at this rate | -1 to 1 |
    | 10 | gaze: where the wearer looks (a sight, or the path 4 m ahead), less where the view points | -0.8 to 0.8 rad |
    | 11, 12 | direction of the path at hand and 10 m ahead, less where the view points | -1.6 to 1.6 rad |
    | 13, 14 | the terms `immersion` and `disorientation`, as their bars show them | 0 to 1 |

    ## Rewards
    The true reward is the weighted sum of these terms, each as its bar shows it when the step begins. The proxy reward,
    stimulation, is the image motion at the gaze: (0.6 speed + 0.4 turning) x (1 - vignette) x facing, speed and turning
    as shares of the most there is.
    | term | weight | values | what it says |
    |---|---|---|---|
    | immersion | 1.0 | 0 to 1 | liveliness x (1 - 0.6 vignette²) x facing |
    | sickness | -1.0 | 0 to 1 | how sick the wearer feels |
    | disorientation | -0.5 | 0 to 1 | the view misses the gaze: 1 - facing |
    | jolts | -0.25 | 0 to 1 | sudden changes of pace, turning and vignette, squared |

    Facing is 1 / (1 + 16 (gaze / 1.2 rad)²). Liveliness is 1 - ((speed / 6 m/s - pleasant) / 0.35)², at least 0, where
    0.65 is pleasant between sights and 0.35 at a sight: a crawl bores, and haste leaves no time to look.

    ## Starting State
    A new wearer, of a susceptibility drawn evenly on a logarithmic scale, perhaps still a little sick from an earlier
    ride; a random pace and vignette, a view up to 0.4 rad off the path, which begins its waves anywhere, and a first
    sight within 25 m.

    ## Episode End
    After `horizon` steps (truncation). There is no termination.

    ## Arguments
    - `susceptibility`: "mixed" (0.35 to 2.5), or "hardy" (0.3 to 0.5) or "sensitive" (2 to 3) wearers only.
    - `scene`: "meadow" (wide bends, everything far), "forest" or "gorge" (tight bends, rocks at hand).
    - `delay`: seconds by which the reading of sickness lags, 0.2 to 10.
    - `horizon`: steps in an episode.

    Train on the defaults and evaluate on `scene="gorge"` or `susceptibility="sensitive"` to see what carries over.

    ## Sources of the constants
    | what | value | source |
    |---|---|---|
    | time constants of the two paths | 2.5 s, 12 s | Oman 1990: about 1 and 10 min; the shortening is ours |
    | what is felt grows by a power law beyond a threshold | power 2, threshold 0.15 | Oman 1990; the values are ours |
    | conflict grows with speed | squared, up to 6 m/s | So, Lo & Ho 2001: from 3 to 10 m/s; the form is ours |
    | a narrower view relieves | by up to 75% | Fernandes & Feiner 2016; the share is ours |
    | how much wearers differ | 0.35 to 2.5 | Golding 2006: by a multiple; the values are ours |
    | total score of the questionnaire | 3.74 x 63 = 235.62 at most | Kennedy, Lane, Berbaum & Lilienthal 1993 |

    ## Why people's judgement helps
    Stimulation can be measured in every frame; it is what a ride is sold by, and it makes sick. Sickness comes too late
    and too differently from wearer to wearer for a formula of the motion. A person who sees a pale face under a headset
    knows at once that the ride was too much, and a person who sees a crawl through a keyhole that it was too little.

    ## Version History
    - v1: sights; the carriage rolls out; a step pays what its picture shows, and its bars are observed.
    - v0: first version.
    """

    fields = {
        "phases": Field(shape=(WAVES,)),
        **numbers("susceptibility", "travelled", "view", "gaze", "speed", "turning", "vignette", "conflict"),
        **numbers("onset", "fast", "slow", "sickness", "reading", "trend", "immersion", "astray", "jolts"),
        **numbers("sight", "side", "suffered"),
    }
    reward_weights = {"immersion": 1.0, "sickness": -1.0, "disorientation": -0.5, "jolts": -0.25}
    reset_draws = {
        "phases": (WAVES,),
        **dict.fromkeys(("susceptibility", "speed", "vignette", "view", "sickness", "sight", "side"), ()),
    }
    step_draws = {"sight": (), "side": ()}
    render_fps = 10
    rubric = (
        "Which ride would you rather be on: lively, with a wide view that goes where the wearer looks, slow at sights, "
        "and not sickening? If both are alike, prefer the wearer who is less sick."
    )
    legend = {
        "picture": "what the wearer sees; a tower or a fountain is a sight to look at slowly",
        "blue ring": "where the wearer looks; the view should follow it",
        "dark corners": "a narrowed view, which sickens less and shows less",
        "bars": "immersion is good; sickness, looking past the view, and jolts are bad; a longer bar counts for more",
    }

    measures = {
        "ssq_total": Measure(
            "points",
            "total score of the Simulator Sickness Questionnaire at the end, sickness as a share of its most, 235.62 "
            "(Kennedy, Lane, Berbaum & Lilienthal 1993); above 20 a simulator is bad (Stanney, Kennedy & Drexler 1997)",
        ),
        "ssq_mean": Measure("points", "the same on average of the ride"),
        "mean_speed": Measure("m/s", "how fast the ride was"),
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
        self.observation_space = Box(-1.0, 1.0, (15,), np.float32)
        self.action_space = Box(-1.0, 1.0, (3,), np.float32)
        super().__init__(horizon)

    def begin(self, state: State, draws: Draws) -> None:
        """A new wearer, somewhere on the path, looking roughly along it."""
        state.phases = draws.phases * np.float32(tau)
        least, most = SUSCEPTIBILITIES[self.susceptibility]
        state.susceptibility = np.float32(least) * np.float32(most / least) ** draws.susceptibility
        state.travelled = state.turning = state.conflict = state.trend = state.jolts = 0.0
        state.suffered = 0.0
        state.sight = _SIGHTS_SPREAD * draws.sight + 0.5 * SIGHT_FROM
        state.side = np.where(draws.side < 0.5, -1.0, 1.0)
        state.speed, state.vignette = draws.speed, 0.8 * draws.vignette
        state.view = direction(self.scenery, state) + (0.8 * draws.view - 0.4)
        state.gaze = _gaze_direction(self.scenery, state) - state.view
        state.onset = state.fast = state.slow = 0.5 * draws.sickness
        state.sickness = state.reading = felt_sickness(state)
        _enjoy(state)

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Pay for what can be seen, then move the ride, and the wearer's sensory conflict and sickness with it."""
        terms = {
            "immersion": state.immersion.copy(),
            "sickness": state.sickness.copy(),
            "disorientation": state.astray.copy(),
            "jolts": state.jolts.copy(),
        }
        stimulation: Array = 0.4 * np.abs(state.turning) + 0.6 * state.speed
        stimulation *= (1.0 - state.vignette) * (1.0 - state.astray)
        state.jolts = ride(self.scenery, state, actions)
        passed = state.sight - state.travelled < SIGHT_UNTIL
        if passed.any():
            np.copyto(state.sight, state.sight + draws.sight * _SIGHTS_SPREAD + _NEAREST_SIGHT, where=passed)
            np.copyto(state.side, np.where(draws.side < 0.5, np.float32(-1.0), np.float32(1.0)), where=passed)
        state.gaze = _gaze_direction(self.scenery, state) - state.view
        upset(state, state.jolts, self.scenery.nearness, self.delay)
        state.suffered += state.sickness
        _enjoy(state)
        return terms, stimulation

    def measure(self, state: State) -> dict[str, NDArray[Any]]:
        """The questionnaire's score and the pace of a ride, each (N,)."""
        return {
            "ssq_total": SSQ_MOST * state.sickness,
            "ssq_mean": SSQ_MOST * state.suffered / state.elapsed,
            "mean_speed": state.travelled / (state.elapsed * STEP_SECONDS),
        }

    def observe(self, state: State) -> Array:
        """What the headset knows, (N, 15) float32 in [-1, 1]."""
        seen = np.empty((15, state.copies), dtype=np.float32)
        seen[0] = state.speed
        seen[1] = state.vignette
        seen[2] = state.reading
        seen[3] = state.fast
        seen[4] = state.slow
        seen[5] = state.jolts
        np.multiply(state.sight - state.travelled, 1.0 / _SIGHT_KNOWN, out=seen[6])
        seen[:7] *= 2.0
        seen[:7] -= 1.0
        seen[7] = state.side
        seen[8] = state.turning
        np.multiply(state.trend, self.delay / STEP_SECONDS, out=seen[9])
        np.multiply(state.gaze, 2.0, out=seen[10])
        np.subtract(direction(self.scenery, state), state.view, out=seen[11])
        np.subtract(direction(self.scenery, state, AHEAD_METRES), state.view, out=seen[12])
        seen[10:13] *= 1.0 / 1.6
        seen[13] = state.immersion
        seen[14] = state.astray
        seen[13:] *= 2.0
        seen[13:] -= 1.0
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
        slowly = state.sight - state.travelled < SIGHT_FROM + 2.0
        pace = np.clip(np.where(slowly, 0.37, 0.64) - 0.25 * touchiness, 0.22, 0.65)
        narrow = np.clip(0.2 * touchiness + 0.45 * np.abs(wheel) - 0.08, 0.0, 0.7)
        push = _EAGERNESS * (pace - state.speed) + (_DRAG / _PUSH) * state.speed
        return _actions(push, wheel, _EAGERNESS * (narrow - state.vignette))

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

    @classmethod
    def describe_term(cls, name: str) -> str:
        """A reward term's name as the picture and people say it."""
        return {"disorientation": "looks past the view"}.get(name, name)

    def _follow_gaze(self, state: State) -> Array:
        """The turning that keeps the gaze in the middle of the view, past a sight or through the next bend, (N,)."""
        bend = direction(self.scenery, state, AHEAD_METRES) - direction(self.scenery, state)
        away = state.sight - state.travelled
        passing = state.side * (AHEAD_METRES * SIGHT_BESIDE) / (away * away + SIGHT_BESIDE * SIGHT_BESIDE)
        turn = np.where(away < SIGHT_FROM, passing + bend, bend) * state.speed * (TOP_SPEED / (AHEAD_METRES * TOP_TURN))
        return np.clip(4.0 * state.gaze + turn, -0.9, 0.9)


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


def direction(scene: Scene, state: State, ahead: Any = 0.0) -> Array:
    """Where the path leads `ahead` metres further on (a number or (N,)), in radians, (N,)."""
    along: Array = path_direction(scene, state.phases, state.travelled + ahead)
    return along


def _gaze_direction(scene: Scene, state: State) -> Array:
    """Where the wearer looks, in radians, (N,): along the path, or at a sight that is near enough."""
    away = state.sight - state.travelled
    looks = away < SIGHT_FROM
    # A sight lies off the path by its angle from the chord, which the path's direction half way there is close to.
    beside = np.arctan2(state.side * SIGHT_BESIDE, away) * looks
    return direction(scene, state, np.where(looks, 0.5 * away, np.float32(GAZE_METRES))) + beside


def _enjoy(state: State) -> None:
    """What the ride is worth as it can be seen: how lively it is, and how far the view misses the gaze; in place."""
    aside = state.gaze * (1.0 / SEAT_STOP)
    facing = np.reciprocal(aside * aside * _FACING_SHARPNESS + 1.0)
    pleasant = np.where(state.sight - state.travelled < SIGHT_FROM, np.float32(SIGHT_PACE), np.float32(TRAVEL_PACE))
    off_pace = (state.speed - pleasant) * (1.0 / PACE_SPREAD)
    liveliness = np.maximum(1.0 - off_pace * off_pace, 0.0)
    state.immersion = liveliness * (1.0 - 0.6 * state.vignette * state.vignette) * facing
    state.astray = 1.0 - facing


def ride(scene: Scene, state: State, actions: NDArray[Any]) -> Array:
    """One step of the ride, in place, for actions (N, 3); returns how abrupt it was, 0 to 1, (N,)."""
    push: Array = np.clip(actions[:, 0] * _PUSH, -state.speed, 1.0 - state.speed)
    state.speed += push
    state.speed *= 1.0 - _DRAG
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
