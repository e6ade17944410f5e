"""The landscapes of the ride: how their paths wind, and how near their walls stand."""

from __future__ import annotations

from math import tau
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

WAVES = 2
"""A path winds by this many sine waves, each beginning anywhere."""

PATH_WIDTH = 2.4


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


def path_direction(scene: Scene, phases: Any, metres: Any) -> Any:
    """Where the path leads, in radians, at `metres` along it; `phases` (WAVES, ...) are where its waves began.

    Works on numbers as on arrays; the result has the shape of `metres`.
    """
    first, second = (np.float32(tau / length) for length in scene.wavelength)
    direction = np.sin(metres * first + phases[0]) * np.float32(scene.swing[0])
    direction += np.sin(metres * second + phases[1]) * np.float32(scene.swing[1])
    return direction
