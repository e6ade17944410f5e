"""What the reader sees: the digit as far as it was looked at, and the lamps along two sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.glimpse.answers import GAVE_UP, HONEST, LOOKING, PATIENCE, READ, SILENT, WRONG
from rlhf_envs.envs.glimpse.data import CELL, CELLS, IN_WINDOW, PLACES, REMEMBERED, SIDE, Pictures
from rlhf_envs.envs.state import State

LAMPS = 4
"""Pixels that the lamps take on the right and below."""
VIEW = SIDE + LAMPS

_WRONG_LAMP = np.zeros(5, dtype=np.uint8)
_WRONG_LAMP[[WRONG, GAVE_UP]] = 255
_RIGHT_LAMP = np.zeros(5, dtype=np.uint8)
_RIGHT_LAMP[[READ, HONEST]] = 255, 128
_LAMP = 8


def see(pictures: Pictures, state: State, marks: bool) -> NDArray[np.uint8]:
    """The views of all copies, (N, VIEW, VIEW, 1); without `marks` nothing tells how an answer turned out."""
    copies = state.copies
    view = np.zeros((copies, VIEW, VIEW, 1), dtype=np.uint8)
    tiles = pictures.tiles.take(_tile_indices(pictures, state), axis=0)
    by_place = view[:, :SIDE, :SIDE].reshape(copies, CELLS, CELL, CELLS, CELL)
    by_place[...] = tiles.reshape(copies, CELLS, CELLS, CELL, CELL).transpose(0, 1, 3, 2, 4)
    if marks:
        _light(view, slice(0, _LAMP), slice(SIDE, VIEW), _RIGHT_LAMP.take(state.verdict))
        _light(view, slice(_LAMP, 2 * _LAMP), slice(SIDE, VIEW), _WRONG_LAMP.take(state.verdict))
    looked = np.where(state.verdict > LOOKING, state.looked, 0) * 255
    _light(view, slice(2 * _LAMP, SIDE), slice(SIDE, VIEW), looked.astype(np.uint8))
    _light(view, slice(SIDE, VIEW), slice(SIDE, VIEW), (state.waited * (255 / PATIENCE)).astype(np.uint8))
    answered = np.flatnonzero(state.answer != SILENT)
    for half in (0, 1):
        view[answered, SIDE:, 2 * state.answer[answered] + half] = 255
    return view


def _tile_indices(pictures: Pictures, state: State) -> NDArray[np.intp]:
    """Which tile is seen in each place, (N, PLACES)."""
    level = np.where(state.verdict > LOOKING, IN_WINDOW, state.seen * REMEMBERED)
    level[state.place, np.arange(state.copies)] = IN_WINDOW
    level *= len(pictures.labels)
    level += state.picture
    level *= PLACES
    level += np.arange(PLACES)[:, None]
    return level.T


def _light(view: NDArray[np.uint8], rows: slice, columns: slice, brightness: NDArray[np.uint8]) -> None:
    view[:, rows, columns] = brightness[:, None, None, None]
