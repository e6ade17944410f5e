"""Two ways to place labels: where they are of use, and as near to their objects as can be."""

from __future__ import annotations

from math import cos, tau
from typing import TYPE_CHECKING

import numpy as np

from rlhf_envs.envs.overlay.judging import HALF_LABEL
from rlhf_envs.envs.overlay.scenes import STEP_SECONDS, Array, strides_per_second
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.overlay.rules import OverlayRules

_SIDES = np.array([[0, -1], [0, 1], [-1, 0], [1, 0]], dtype=np.float32)
_GAP = 0.9
_TRUST_IN_CHANGE = np.array([[0.5], [0.9]], dtype=np.float32)
_PATIENCE, _TOP_DRIFT = 1.2, 4.0


def tidy(task: OverlayRules, state: State) -> Array:
    """Moves with the head, and drifts to the freest side of each object, (N, 2 * objects).

    What the head will do next is told by its rate and by how that changed; the noisy places of the objects are only
    followed slowly, so that their noise is not seen.
    """
    objects, judge = task.objects, task.judge
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
    return _actions(task, _scenery_speed(task, state) + drift)


def clinging(task: OverlayRules, state: State) -> Array:
    """Puts every label right onto where its object was last seen, (N, 2 * objects)."""
    labels, tracked = state.labels[: task.objects], state.tracked[: task.objects]
    return _actions(task, _scenery_speed(task, state) + (tracked - labels) / STEP_SECONDS)


def _scenery_speed(task: OverlayRules, state: State) -> Array:
    """How fast the scenery will move over the display, as far as the head's motion tells, (2, N) degrees a second.

    A wave that advances by an angle d per step goes on by (2 cos d - 1) times its rate and once the rate's change; a
    stride sways the head once and nods it twice. Changes are trusted the less, the more else there is in them.
    """
    stride = tau * STEP_SECONDS * strides_per_second(task.intensity)
    kept = np.array([[2.0 * cos(stride) - 1.0], [2.0 * cos(2.0 * stride) - 1.0]], dtype=np.float32)
    speed: Array = -(kept * state.head_rate + _TRUST_IN_CHANGE * state.head_change)
    return speed


def _actions(task: OverlayRules, speed: Array) -> Array:
    actions = np.clip(speed * (1.0 / task.top_speed), -1.0, 1.0)
    return np.ascontiguousarray(actions.reshape(2 * task.objects, -1).T, dtype=np.float32)
