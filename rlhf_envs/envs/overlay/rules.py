"""The rules of `rlhf/Overlay-v0`: how labels, head and objects move, what a wearer minds, and what the glasses know."""

from __future__ import annotations

from math import tau
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from rlhf_envs.envs.overlay.judging import QUALITIES, Judge, nearness, watch_trembling
from rlhf_envs.envs.overlay.scenes import (
    HALF_VIEW,
    MOST_OBJECTS,
    SCENES,
    STEP_SECONDS,
    Array,
    gait_intensity,
    move_head,
    move_objects,
    place_objects,
)
from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.task import Task, Terms

TOP_SPEED = 30.0
_SCATTER = np.array([[20.0], [14.0]], dtype=np.float32)


class OverlayRules(Task):
    """The scene, its labels, and how good they are; `Overlay` is drawn and played, too."""

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
    draws_per_reset = 9 + 6 * MOST_OBJECTS
    draws_per_step = 5 + 2 * MOST_OBJECTS

    top_speed = TOP_SPEED

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
        self.observation_space = Box(-1.0, 1.0, (6 + 9 * self.objects,), np.float32)
        self.action_space = Box(-1.0, 1.0, (2 * self.objects,), np.float32)
        super().__init__(horizon)

    def begin(self, state: State, draws: Array) -> None:
        """Spread objects and labels, and set the wearer walking."""
        objects = self.objects
        stride, head, scene, scatter = np.split(draws[: 9 + 6 * objects], [1, 6, 9 + 4 * objects])
        state.head = state.gaze = state.gaze_rate = state.glance = state.tremor = 0.0
        state.stride = np.float32(tau) * stride[0]
        move_head(state, head, self.intensity)
        state.head_rate = state.head_change = 0.0
        place_objects(self.scenery, state, scene, objects)
        things, labels = state.seen[1 : objects + 1], state.labels[:objects]
        state.tracked[:objects] = things
        np.add(things, (scatter.reshape(objects, 2, -1) - 0.5) * _SCATTER, out=labels)
        np.clip(labels, -HALF_VIEW, HALF_VIEW, out=labels)
        state.slip = state.qualities = 0.0
        self.judge.judge(state)

    def advance(self, state: State, actions: NDArray[Any], draws: Array) -> tuple[Terms, Array]:
        """Judge the frame that was observed, then move the labels, the head and the objects on to the next."""
        objects = self.objects
        means = state.qualities[:, :objects].mean(axis=1)
        terms = dict(zip(self.reward_weights, means, strict=True))
        proxy = nearness(state, objects)
        labels, seen, slip = state.labels[:objects], state.seen[1 : objects + 1], state.slip[:objects]
        np.subtract(seen, labels, out=slip)
        labels += actions.T.reshape(objects, 2, -1) * np.float32(TOP_SPEED * STEP_SECONDS)
        np.clip(labels, -HALF_VIEW, HALF_VIEW, out=labels)
        move_head(state, draws[:5], self.intensity)
        move_objects(self.scenery, state, objects)
        slip += labels
        slip -= seen
        watch_trembling(state, objects)
        noise = draws[5 : 5 + 2 * objects].reshape(objects, 2, -1)
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
