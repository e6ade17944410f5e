"""What a reader can do, where the window goes, and how an answer turns out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.glimpse.data import CELLS, ILLEGIBLE, PLACES

CANNOT_TELL = ILLEGIBLE
"""The action below which every action names a digit."""
UP, RIGHT, DOWN, LEFT = 11, 12, 13, 14
ACTIONS = 15

SILENT = -1
"""Stands for the answer where none was given."""

LOOKING, READ, HONEST, WRONG, GAVE_UP = range(5)
"""What became of the digit on show: still looked at, or how the answer turned out."""

ENOUGH = 5
"""Places looked at, beyond which looking further earns nothing by itself."""
PATIENCE = 12
"""Steps after which a digit that got no answer is taken away."""

PAST = 8
"""Answers that are kept for the picture."""

CORNERS = np.array([0, CELLS - 1, PLACES - CELLS, PLACES - 1], dtype=np.int8)


def judge(actions: NDArray[Any], labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """How answers (N,) to digits with these labels (N,) turn out; who says nothing is wrong."""
    missed = np.where(actions == CANNOT_TELL, GAVE_UP, WRONG)
    return np.where(actions == labels, np.where(labels == ILLEGIBLE, HONEST, READ), missed)


def _next_places() -> NDArray[np.int8]:
    moves = np.zeros((2, ACTIONS), dtype=np.int8)
    moves[:, [UP, RIGHT, DOWN, LEFT]] = (-1, 0, 1, 0), (0, 1, 0, -1)
    here = np.array(np.unravel_index(np.arange(PLACES), (CELLS, CELLS)))
    there = np.clip(here[:, :, None] + moves[:, None], 0, CELLS - 1)
    return (there[0] * CELLS + there[1]).astype(np.int8)


NEXT_PLACE = _next_places()
"""Where the window is after each action, by where it was, (PLACES, ACTIONS); it stops at the edges."""
