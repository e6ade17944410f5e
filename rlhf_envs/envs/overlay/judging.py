"""What a wearer minds about labels: what they hide, how well they can be read, whose they are, how they tremble."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from rlhf_envs.envs.overlay.scenes import HALF_VIEW, STEP_SECONDS, Array, Scene, as_column
from rlhf_envs.envs.state import State

HALF_LABEL = np.array([[3.6], [1.25]], dtype=np.float32)
"""Half the width and half the height of a label (degrees), (2, 1)."""

READABLE, ATTACHED, COVERING, CROWDING, TREMBLING = range(5)
QUALITIES = 5
"""What is judged of every label, 0 to 1 each, in the order of the reward's terms."""

_COMFORTABLE, _LONG_LEADER = 0.8, 3.0
_FAST = 8.0
_NEAR = 5.0
_TREMBLING_KEPT = 0.6


class Judge:
    """Judges the labels of one scene as they stand on the display.

    Args:
        scene: whose objects are labelled.
        objects: how many of them.
    """

    def __init__(self, scene: Scene, objects: int) -> None:
        self.objects = objects
        halves = as_column((scene.glare, *scene.halves[:objects]))
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
        apart = np.abs(places - seen)
        np.subtract(self.touching, apart, out=apart)
        apart *= self._room
        np.clip(apart, 0.0, 1.0, out=apart)
        return apart[..., 0, :] * apart[..., 1, :]

    def inside(self, places: Array) -> Array:
        """The share, 0 to 1, of labels at places (..., 2, N) that is within the display."""
        within = np.abs(places)
        np.subtract(HALF_VIEW + HALF_LABEL, within, out=within)
        within *= 0.5 / HALF_LABEL
        np.clip(within, 0.0, 1.0, out=within)
        return within[..., 0, :] * within[..., 1, :]

    def judge(self, state: State) -> None:
        """Set `state.qualities` from where labels, objects and glare are; trembling excepted."""
        labels, seen = state.labels[: self.objects], state.seen[: self.objects + 1]
        readable, attached, covering, crowding = state.qualities[:TREMBLING, : self.objects]
        shares = self.overlaps(labels[:, None], seen)
        np.minimum(shares[:, 1:].sum(axis=1), 1.0, out=covering)
        np.multiply(self.inside(labels), 1.0 - shares[:, 0], out=readable)
        gap = np.abs(labels - seen[1:])
        gap -= self._comfort
        np.maximum(gap, 0.0, out=gap)
        gap *= 1.0 / _LONG_LEADER
        gap *= gap
        np.add(gap[:, 0], gap[:, 1], out=attached)
        attached += 1.0
        np.reciprocal(attached, out=attached)
        crowding[...] = 0.0
        for (first, second), share in zip(self._pairs, self._shared(labels), strict=True):
            crowding[first] += share
            crowding[second] += share
        np.minimum(crowding, 1.0, out=crowding)

    def _shared(self, labels: Array) -> Array:
        apart = np.abs(labels[self._first] - labels[self._second])
        apart *= -0.5 / HALF_LABEL
        apart += 1.0
        np.maximum(apart, 0.0, out=apart)
        shared: Array = apart[:, 0] * apart[:, 1]
        return shared


def watch_trembling(state: State, objects: int) -> None:
    """Let what the labels moved against their objects in this step, `state.slip` (degrees), be felt as trembling.

    The eye follows the object. Text is as sharp as ever while it moves by less than 2.5 degrees a second over the
    retina (Westheimer & McKee 1975, "Visual acuity in the presence of retinal-image motion"); at 8 it is half lost.
    """
    slip = state.slip[:objects]
    speed = (slip * slip).sum(axis=1)
    speed *= 1.0 / (STEP_SECONDS * _FAST) ** 2
    speed /= speed + 1.0
    trembling = state.qualities[TREMBLING, :objects]
    trembling += (1.0 - _TREMBLING_KEPT) * (speed - trembling)


def nearness(state: State, objects: int) -> Array:
    """What the hasty engineer counts, (N,): 1 where every label's centre is that of its object, half at 5 degrees."""
    offset = state.labels[:objects] - state.seen[1 : objects + 1]
    offset *= 1.0 / _NEAR
    offset *= offset
    near = offset[:, 0] + offset[:, 1]
    near += 1.0
    proxy: Array = np.reciprocal(near, out=near).mean(axis=0)
    return proxy
