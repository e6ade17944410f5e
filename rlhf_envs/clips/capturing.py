"""Takes pictures during rollouts, of environments that cannot be drawn from states afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.clips.painting import CLIP_SIZE, fit

MOST_BYTES = 256 * 2**20
"""What the pictures of a recorder may take. Where more copies run than fit, segments come from the first ones."""


class FrameCapture:
    """Pictures of the first copies of an environment, made small enough to be kept.

    Args:
        render: gives the pictures of the copies whose numbers it is given, each (rows, columns, 3) uint8.
        copies: how many run.
        capacity_steps: how many pictures of each have to be kept at a time.
        most: (width, height) in pixels that a picture is shrunk into, its proportions kept; never enlarged.

    Raises:
        ValueError: if the environment gives no pictures.
    """

    def __init__(
        self,
        render: Callable[[Sequence[int]], Sequence[Any]],
        copies: int,
        capacity_steps: int,
        most: tuple[int, int] = CLIP_SIZE,
    ) -> None:
        self._render = render
        picture = _checked(render([0])[0])
        rows, columns = picture.shape[:2]
        scale = min(most[0] / columns, most[1] / rows, 1.0)
        self._size = (max(round(columns * scale), 1), max(round(rows * scale), 1))
        self.shape = (self._size[1], self._size[0], 3)
        fitting = MOST_BYTES // (capacity_steps * self.shape[0] * self.shape[1] * 3)
        self.copies = int(np.clip(fitting, 1, copies))
        self._watched = list(range(self.copies))

    def capture(self, out: NDArray[np.uint8]) -> None:
        """Take a picture of each watched copy into `out`, (copies, height, width, 3)."""
        for row, picture in enumerate(self._render(self._watched)):
            out[row] = fit(_checked(picture), self._size, (0, 0, 0))


def _checked(picture: Any) -> NDArray[np.uint8]:
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[-1] != 3 or array.dtype != np.uint8:
        raise ValueError(
            "People cannot be shown this environment: with render_mode='rgb_array' its render() must give an array "
            f"(rows, columns, 3) of uint8, not {array.dtype} of shape {array.shape}."
        )
    return array
