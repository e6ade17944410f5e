"""`rlhf/Overlay-v0`: how labels are moved, what a wearer minds, what the glasses know, and two policies."""

from __future__ import annotations

from math import cos, tau
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.overlay import drawing
from rlhf_envs.envs.overlay.scenes import (
    HALF_LABEL,
    HALF_VIEW,
    MOST_OBJECTS,
    QUALITIES,
    SCENES,
    STEP_SECONDS,
    Array,
    Judge,
    feel_trembling,
    gait_intensity,
    move_head,
    move_objects,
    nearness,
    place_objects,
    strides_per_second,
)
from rlhf_envs.envs.task import Draws, Field, State, Task, Terms

TOP_SPEED = 30.0
_SCATTER = np.array([[20.0], [14.0]], dtype=np.float32)

_SIDES = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]], dtype=np.float32)
_GAP = 0.9
_TRUST_IN_CHANGE = np.array([[0.5], [0.9]], dtype=np.float32)
_PATIENCE, _TOP_DRIFT = 1.2, 4.0

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
    | trembling | -0.6 | 0 to 1 | s² / (1 + s²), smoothed, s being the label's speed against its object / 8 degrees/s |

    ## Starting State
    Objects are spread over the view in random order, each label is up to 10 degrees across and 7 up or down from its
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
    }
    reward_weights = {"readable": 0.5, "attached": 0.5, "covering": -0.5, "crowding": -0.4, "trembling": -0.6}
    render_fps = 15
    rubric = (
        "Which labels would you rather look through: easy to read, beside their objects without hiding them or one "
        "another, and steady while the head moves? If both are alike, prefer the steadier one."
    )

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
        np.add(things, (draws.labels - 0.5) * _SCATTER, out=labels)
        np.clip(labels, -HALF_VIEW, HALF_VIEW, out=labels)
        state.slip = state.qualities = 0.0
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
        feel_trembling(state, objects)
        noise = draws.noise
        noise -= 0.5
        noise *= 2.0 * self.tracking_noise
        np.add(seen, noise, out=state.tracked[:objects])
        self.judge.judge(state)
        return terms, proxy

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
        np.subtract(state.labels[:objects], tracked, out=offsets.reshape(objects, 2, -1))
        offsets *= 1.0 / 12.0
        qualities.reshape(QUALITIES, objects, -1)[...] = state.qualities[:, :objects]
        qualities *= 2.0
        qualities -= 1.0
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)

    draw = drawing.draw

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
            for across, sideways in ((), 0), ((left,), -_KEY_SPEED), ((right,), _KEY_SPEED):
                for along, upright in ((), 0), ((up,), -_KEY_SPEED), ((down,), _KEY_SPEED):
                    if across or along:
                        action = np.zeros(2 * self.objects, dtype=np.float32)
                        action[2 * label : 2 * label + 2] = sideways, upright
                        keys_to_action[across + along] = action
        return keys_to_action

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
