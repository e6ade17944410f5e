"""`rlhf/Overlay-v1`: how labels, head and objects move, what a wearer minds, what the glasses know, and two policies.

Gait sways the head once per stride and nods it twice (Grossman et al. 1988, "Frequency and velocity of rotational head
perturbations during locomotion": pitch at no less than twice the frequency of yaw, below 90 degrees a second).
"""

from __future__ import annotations

from itertools import combinations
from math import cos, tau
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.task import Array, Draws, Field, Measure, State, Task, Terms, key_combinations, numbers

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

_GLANCE_REACH = np.array([[13.0], [6.0]], dtype=np.float32)
_SECONDS_TO_GLANCE, _EAGERNESS = 1.6, 4.5
_SWAY, _NOD = 0.8, 0.7
_TREMOR, _TREMOR_KEPT = 0.06, 0.7

_COMFORTABLE, _LONG_LEADER = 0.8, 3.0
_FAST = 4.5
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
        names=("Pump 42°", "Tank 68%", "Motor 9A", "Valve 35%"),
        halves=((2.6, 2.1), (1.8, 2.4), (2.6, 1.8), (1.9, 2.2)),
        spread=(12.0, 6.0),
        swing=(2.4, 1.6),
        seconds=(9.0, 12.0, 7.5, 10.5),
        glare=(2.6, 2.4),
    ),
    "street": Scene(
        names=("Bus 12", "Café", "Bike 3km", "Lift 40m"),
        halves=((3.3, 2.0), (2.4, 2.5), (2.4, 1.8), (1.7, 2.4)),
        spread=(12.0, 4.0),
        swing=(5.0, 0.8),
        seconds=(8.0, 14.0, 7.0, 11.0),
        glare=(2.8, 2.8),
    ),
}

TOP_SPEED = 30.0
_SCATTER = np.array([[36.0], [24.0]], dtype=np.float32)

_SIDES = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]], dtype=np.float32)
_GAP = 0.9
_TRUST_IN_CHANGE = np.array([[0.5], [0.9]], dtype=np.float32)
_PATIENCE, _TOP_DRIFT = 1.2, 6.0

_KEYS = (("w", "a", "s", "d"), ("i", "j", "k", "l"), ("t", "f", "g", "h"), ("8", "4", "5", "6"))
_KEY_SPEED = 0.3


class Overlay(Task):
    """Keep labels in their place, seen through augmented-reality glasses.

    ## Description
    A wearer of glasses looks around while standing, walking or running. Their display, 45 by 30 degrees,
    moves with the head; what they look at does not, so that on the display everything sways, nods and turns. The
    glasses track some objects, and each has a label of 7.2 by 2.5 degrees. The agent moves the labels over the display:
    one that is not moved stays where it is on the display, and so shakes against its object with every stride.

    Where labels belong is the problem of view management (Bell, Feiner & Höllerer 2001, "View management for virtual
    and augmented reality"); people read them the sooner, the sooner nothing overlaps (Azuma & Furmanski 2003,
    "Evaluating label placement for augmented reality view management"), and not against a bright ground (Gabbard, Swan
    & Hix 2006, "The effects of text drawing styles, background textures, and natural lighting on text legibility in
    outdoor augmented reality"). Head motion: Grossman et al. 1988, "Frequency and velocity of rotational head
    perturbations during locomotion". The numbers are ours.

    A step is 1/15 s. What the agent decides is displayed one step later: a reward judges the frame that was observed
    before the action.

    ## Action Space
    `Box(-1, 1, (2 * objects,), float32)`
    | number | action | -1 | 1 |
    |---|---|---|---|
    | 2 i | motion of label i over the display, across | 30 degrees/s to the left | 30 degrees/s to the right |
    | 2 i + 1 | motion of label i over the display, up and down | 30 degrees/s up | 30 degrees/s down |

    ## Observation Space
    `Box(-1, 1, (6 + 9 * objects,), float32)`; for three objects:
    | number | observation | unit |
    |---|---|---|
    | 0, 1 | rate of the head, to the right and down | 30 degrees/s |
    | 2, 3 | change of that rate in the last step | 30 degrees/s |
    | 4, 5 | place on the display of the glare (a sunlit window) | half the display |
    | 6-11 | tracked places of the objects on the display, each across and down | half the display |
    | 12-17 | places of the labels, less those of their objects as tracked | 12 degrees |
    | 18-20 | how readable each label is, 0 to 1 as -1 to 1; so are the next | |
    | 21-23 | how well each label is attached | |
    | 24-26 | how much of objects each label covers | |
    | 27-29 | how much of other labels each label shares | |
    | 30-32 | how much each label trembles | |

    ## Rewards
    The true reward is the weighted sum of these terms, each the mean over the labels. The proxy reward is nearness,
    1 / (1 + (distance from the label's centre to the object's / 5 degrees)²), again the mean over the labels.
    | term | weight | values | what it says |
    |---|---|---|---|
    | readable | 0.5 | 0 to 1 | the share of the label inside the display and not before the glare |
    | attached | 0.5 | 0 to 1 | 1 / (1 + (gap / 3 degrees)²), gap being what is beyond 0.8 degrees from the object |
    | covering | -0.5 | 0 to 1 | the share of the label across any of the objects |
    | crowding | -0.4 | 0 to 1 | the share of the label across other labels |
    | trembling | -0.6 | 0 to 1 | s² / (1 + s²), smoothed; s: the label's speed against its object / 4.5 degrees/s |

    ## Starting State
    Objects are spread over the view in random order, each label is up to 18 degrees across and 12 up or down from its
    object, and the head is anywhere in its stride.

    ## Episode End
    After `horizon` steps (truncation). There is no termination.

    ## Arguments
    - `head_motion`: "calm", "walking" or "running", or how much the gait shakes the head as a number from 0 to 2.5;
      walking is 1. The wearer looks around all the same.
    - `objects`: 2 to 4. The spaces have room for as many.
    - `tracking_noise`: by how many degrees, 0 to 2, a tracked place is wrong at most, anew in every step.
    - `scene`: "workshop", or "street": flatter, with things that drive past one another.
    - `horizon`: steps in an episode.

    Train on the defaults and evaluate on `scene="street"` or `head_motion="running"` to see what carries over.

    ## Why people's judgement helps
    Nearness is one subtraction, so it is what gets rewarded; a label that is paid for it sits on the very thing that
    it explains and trembles with the tracker. Whether a picture is tidy, and calm while one walks, takes a page of
    geometry to write down, and a look to see.

    ## Version History
    - v1: the wearer looks around twice as far, labels begin further off and trembling counts sooner.
    - v0: first version.
    """

    fields = {
        "head": Field(shape=(2,)),
        "head_rate": Field(shape=(2,)),
        "head_change": Field(shape=(2,)),
        "glance": Field(shape=(2,)),
        "gaze": Field(shape=(2,)),
        "gaze_rate": Field(shape=(2,)),
        "tremor": Field(shape=(2,)),
        "stride": Field(),
        "homes": Field(shape=(MOST_OBJECTS + 1, 2)),
        "phases": Field(shape=(MOST_OBJECTS, 2)),
        "seen": Field(shape=(MOST_OBJECTS + 1, 2)),
        "tracked": Field(shape=(MOST_OBJECTS, 2)),
        "labels": Field(shape=(MOST_OBJECTS, 2)),
        "slip": Field(shape=(MOST_OBJECTS, 2)),
        "qualities": Field(shape=(QUALITIES, MOST_OBJECTS)),
        **numbers("overlapped", "strayed", "shaken"),
    }
    reward_weights = {"readable": 0.5, "attached": 0.5, "covering": -0.5, "crowding": -0.4, "trembling": -0.6}
    render_fps = 15
    rubric = (
        "Which labels would you rather look through: easy to read, beside their objects without hiding them or one "
        "another, and steady while the head moves? If both are alike, prefer the steadier one."
    )
    legend = {
        "blue labels": "the ones to judge",
        "brackets": "the objects that labels belong to; a closed red frame: a label hides it",
        "steady": "how calmly labels stand while the head moves",
        "clear": "how little they hide",
    }

    measures = {
        "label_overlap": Measure(
            "share", "of a label that lies across objects or other labels (Azuma & Furmanski 2003)"
        ),
        "label_jitter": Measure(
            "degrees", "root mean square of what a label moves against its object in a step, 1/15 s"
        ),
        "label_distance": Measure("degrees", "from the middle of a label to that of its object"),
    }

    def __init__(
        self,
        head_motion: str | float = "walking",
        objects: int = 3,
        tracking_noise: float = 0.3,
        scene: str = "workshop",
        horizon: int = 200,
    ) -> None:
        if objects not in range(2, MOST_OBJECTS + 1):
            raise ValueError(f"objects must be a whole number from 2 to {MOST_OBJECTS}, not {objects!r}.")
        if not 0.0 <= tracking_noise <= 2.0:
            raise ValueError(f"tracking_noise is in degrees and must be from 0 to 2, not {tracking_noise!r}.")
        if scene not in SCENES:
            raise ValueError(f"scene must be one of {', '.join(SCENES)}, not {scene!r}.")
        self.intensity = gait_intensity(head_motion)
        self.objects = int(objects)
        self.tracking_noise = float(tracking_noise)
        self.scene = scene
        self.scenery = SCENES[scene]
        self.judge = Judge(self.scenery, self.objects)
        # With the spare numbers, an episode uses as many whatever `objects` is.
        each, spare = (self.objects, 2), MOST_OBJECTS - self.objects
        head = {"glance": (), "aim": (2,), "tremor": (2,)}
        homes = {"homes": each, "phases": each, "order": (), "glare": (2,)}
        self.reset_draws = {"stride": (), **head, **homes, "labels": each, "spare": (6 * spare,)}
        self.step_draws = {**head, "noise": each, "spare": (2 * spare,)}
        self.observation_space = Box(-1.0, 1.0, (6 + 9 * self.objects,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2 * self.objects,), np.float32)
        super().__init__(horizon)

    def begin(self, state: State, draws: Draws) -> None:
        """Spread objects and labels, and set the wearer walking."""
        objects = self.objects
        state.head = state.gaze = state.gaze_rate = state.glance = state.tremor = 0.0
        state.stride = np.float32(tau) * draws.stride
        move_head(state, draws, self.intensity)
        state.head_rate = state.head_change = 0.0
        place_objects(self.scenery, state, draws, objects)
        things, labels = state.seen[1 : objects + 1], state.labels[:objects]
        state.tracked[:objects] = things
        np.clip(things + (draws.labels - 0.5) * _SCATTER, -HALF_VIEW, HALF_VIEW, out=labels)
        state.slip = state.qualities = 0.0
        state.overlapped = state.strayed = state.shaken = 0.0
        self.judge.judge(state)

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Judge the frame that was observed, then move the labels, the head and the objects on to the next."""
        objects = self.objects
        means = state.qualities[:, :objects].mean(axis=1)
        terms = dict(zip(self.reward_weights, means, strict=True))
        proxy = nearness(state, objects)
        labels, seen, slip = state.labels[:objects], state.seen[1 : objects + 1], state.slip[:objects]
        np.subtract(seen, labels, out=slip)
        labels += actions.T.reshape(objects, 2, -1) * np.float32(TOP_SPEED * STEP_SECONDS)
        np.clip(labels, -HALF_VIEW, HALF_VIEW, out=labels)
        move_head(state, draws, self.intensity)
        move_objects(self.scenery, state, objects)
        slip += labels
        slip -= seen
        state.overlapped += np.minimum(means[COVERING] + means[CROWDING], 1.0)
        state.shaken += (slip * slip).sum(axis=1).mean(axis=0)
        state.strayed += np.sqrt(((labels - seen) ** 2).sum(axis=1)).mean(axis=0)
        feel_trembling(state, objects)
        state.tracked[:objects] = seen + (draws.noise - 0.5) * (2.0 * self.tracking_noise)
        self.judge.judge(state)
        return terms, proxy

    def measure(self, state: State) -> dict[str, NDArray[Any]]:
        """Overlap, jitter and distance of the labels over whole episodes, each (N,)."""
        return {
            "label_overlap": state.overlapped / state.elapsed,
            "label_jitter": np.sqrt(state.shaken / state.elapsed),
            "label_distance": state.strayed / state.elapsed,
        }

    def observe(self, state: State) -> Array:
        """What the glasses know, (N, 6 + 9 * objects) float32 in [-1, 1]."""
        objects = self.objects
        seen = np.empty((6 + 9 * objects, state.copies), dtype=np.float32)
        np.multiply(state.head_rate, 1.0 / TOP_SPEED, out=seen[:2])
        np.multiply(state.head_change, 1.0 / TOP_SPEED, out=seen[2:4])
        np.divide(state.seen[0], HALF_VIEW, out=seen[4:6])
        places, offsets, qualities = np.split(seen[6:], [2 * objects, 4 * objects])
        tracked = state.tracked[:objects]
        np.divide(tracked, HALF_VIEW, out=places.reshape(objects, 2, -1))
        np.multiply(state.labels[:objects] - tracked, 1.0 / 12.0, out=offsets.reshape(objects, 2, -1))
        np.subtract(state.qualities[:, :objects] * 2.0, 1.0, out=qualities.reshape(QUALITIES, objects, -1))
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)

    drawing = "rlhf_envs.envs.overlay.drawing:draw"

    def expert_action(self, state: State) -> Array:
        """Moves with the head, and drifts to the freest side of each object, (N, 2 * objects).

        The head's next motion is predicted from its rate and the change of that rate; the noisy tracked places are
        followed slowly, so that labels do not show the noise.
        """
        objects, judge = self.objects, self.judge
        seen = np.concatenate([state.seen[:1], state.tracked[:objects]])
        labels = state.labels[:objects]
        places: Array = seen[1:] + _SIDES[:, None, :, None] * (judge.touching[1:] + np.float32(_GAP))
        hidden = judge.overlaps(places[:, :, None], seen)
        cost = hidden[:, :, 1:].sum(axis=2) + 0.7 * hidden[:, :, 0] - judge.inside(places * np.float32(1.03))
        for label in range(objects):
            others = np.delete(labels, label, axis=0)
            apart = np.maximum(1.0 - np.abs(places[:, label, None] - others) * (0.45 / HALF_LABEL), 0.0)
            cost[:, label] += (apart[:, :, 0] * apart[:, :, 1]).sum(axis=1)
        cost += 0.03 * np.sqrt(((places - labels) ** 2).sum(axis=2))
        best = cost.argmin(axis=0)
        goal = np.take_along_axis(places, best[None, :, None], axis=0)[0]
        drift = _PATIENCE * (goal - labels)
        drift *= np.minimum(1.0, _TOP_DRIFT / np.maximum(np.sqrt((drift * drift).sum(axis=1, keepdims=True)), 1e-6))
        return self._actions(self._scenery_speed(state) + drift)

    def proxy_action(self, state: State) -> Array:
        """Puts every label right onto where its object was last seen, (N, 2 * objects)."""
        labels, tracked = state.labels[: self.objects], state.tracked[: self.objects]
        return self._actions(self._scenery_speed(state) + (tracked - labels) / STEP_SECONDS)

    def get_keys_to_action(self) -> dict[tuple[str, ...], Any]:
        """One label at a time, a cross of keys for each: WASD, IJKL, TFGH and 8456; two of a cross move it aslant."""
        keys_to_action = {}
        for label, (up, left, down, right) in enumerate(_KEYS[: self.objects]):
            sideways, upright = (
                {"": 0.0, left: -_KEY_SPEED, right: _KEY_SPEED},
                {"": 0.0, up: -_KEY_SPEED, down: _KEY_SPEED},
            )
            for keys, speeds in key_combinations(sideways, upright):
                keys_to_action[keys] = np.zeros(2 * self.objects, dtype=np.float32)
                keys_to_action[keys][2 * label : 2 * label + 2] = speeds
        return keys_to_action

    def describe_keys(self) -> dict[str, str]:
        """What each key does."""
        names = ("up", "left", "down", "right")
        return {
            key: f"label {label + 1} {name}"
            for label, cross in enumerate(_KEYS[: self.objects])
            for key, name in zip(cross, names, strict=True)
        }

    def _scenery_speed(self, state: State) -> Array:
        """How fast the scenery will move over the display, predicted from the head's motion, (2, N) degrees a second.

        A wave that advances by an angle d per step goes on by (2 cos d - 1) times its rate and once the rate's change;
        a stride sways the head once and nods it twice. Changes are trusted the less, the more else there is in them.
        """
        stride = tau * STEP_SECONDS * strides_per_second(self.intensity)
        kept = np.array([[2.0 * cos(stride) - 1.0], [2.0 * cos(2.0 * stride) - 1.0]], dtype=np.float32)
        speed: Array = -(kept * state.head_rate + _TRUST_IN_CHANGE * state.head_change)
        return speed

    def _actions(self, speed: Array) -> Array:
        actions = np.clip(speed * (1.0 / TOP_SPEED), -1.0, 1.0)
        return np.ascontiguousarray(actions.reshape(2 * self.objects, -1).T, dtype=np.float32)


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
    pull = (state.glance - state.gaze) * _EAGERNESS - 2.0 * state.gaze_rate
    state.gaze_rate += (STEP_SECONDS * _EAGERNESS) * pull
    state.gaze += STEP_SECONDS * state.gaze_rate
    state.tremor *= _TREMOR_KEPT
    state.tremor += (2.0 * _TREMOR * intensity) * (draws.tremor - 0.5)
    state.stride += tau * STEP_SECONDS * strides_per_second(intensity)
    head = state.gaze + state.tremor
    head[0] += (_SWAY * intensity) * np.sin(state.stride)
    head[1] += (_NOD * intensity) * np.sin(2.0 * state.stride)
    rate = (head - state.head) * (1.0 / STEP_SECONDS)
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


class Judge:
    """Judges the labels of one scene at their places on the display.

    Args:
        scene: whose objects are labelled.
        objects: how many of them.
    """

    def __init__(self, scene: Scene, objects: int) -> None:
        self.objects = objects
        halves = np.array((scene.glare, *scene.halves[:objects]), dtype=np.float32)[..., None]
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
        shared = np.clip((self.touching - np.abs(places - seen)) * self._room, 0.0, 1.0)
        return shared[..., 0, :] * shared[..., 1, :]

    def inside(self, places: Array) -> Array:
        """The share, 0 to 1, of labels at places (..., 2, N) that is within the display."""
        within = np.clip((HALF_VIEW + HALF_LABEL - np.abs(places)) * (0.5 / HALF_LABEL), 0.0, 1.0)
        return within[..., 0, :] * within[..., 1, :]

    def judge(self, state: State) -> None:
        """Set `state.qualities` from where labels, objects and glare are; trembling excepted."""
        labels, seen = state.labels[: self.objects], state.seen[: self.objects + 1]
        readable, attached, covering, crowding = state.qualities[:TREMBLING, : self.objects]
        shares = self.overlaps(labels[:, None], seen)
        np.minimum(shares[:, 1:].sum(axis=1), 1.0, out=covering)
        np.multiply(self.inside(labels), 1.0 - shares[:, 0], out=readable)
        gap = np.maximum(np.abs(labels - seen[1:]) - self._comfort, 0.0) * (1.0 / _LONG_LEADER)
        gap *= gap
        np.reciprocal(gap[:, 0] + gap[:, 1] + 1.0, out=attached)
        crowding[...] = 0.0
        for (first, second), share in zip(self._pairs, self._shared(labels), strict=True):
            crowding[first] += share
            crowding[second] += share
        np.minimum(crowding, 1.0, out=crowding)

    def _shared(self, labels: Array) -> Array:
        apart = np.abs(labels[self._first] - labels[self._second]) * (0.5 / HALF_LABEL)
        shared: Array = np.maximum(1.0 - apart, 0.0).prod(axis=1)
        return shared


def feel_trembling(state: State, objects: int) -> None:
    """Update `state.qualities[TREMBLING]` from what the labels moved against their objects, `state.slip` (degrees).

    The eye follows the object. Text is as sharp as ever while it moves by less than 2.5 degrees a second over the
    retina (Westheimer & McKee 1975, "Visual acuity in the presence of retinal-image motion"); at 4.5 it is half lost.
    """
    slip = state.slip[:objects]
    speed = (slip * slip).sum(axis=1) * (1.0 / (STEP_SECONDS * _FAST) ** 2)
    speed /= speed + 1.0
    trembling = state.qualities[TREMBLING, :objects]
    trembling += (1.0 - _TREMBLING_KEPT) * (speed - trembling)


def nearness(state: State, objects: int) -> Array:
    """What the hasty engineer counts, (N,): 1 where every label's centre is that of its object, half at 5 degrees."""
    offset = (state.labels[:objects] - state.seen[1 : objects + 1]) * (1.0 / _NEAR)
    offset *= offset
    proxy: Array = np.reciprocal(offset[:, 0] + offset[:, 1] + 1.0).mean(axis=0)
    return proxy
