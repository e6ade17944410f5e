"""The handwritten digits, legible and ruined, and what of them a reader sees through the window.

The images are the UCI optical digits (Alpaydin & Kaynak 1998, https://doi.org/10.24432/C50P49, CC BY 4.0); see
`digits.txt` beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rlhf_envs.envs.task import State

FILE = Path(__file__).with_name("digits.npz")
SPLITS = ("train", "test")
PERIPHERIES = ("dark", "blurred")

SIDE = 24
"""Pixels along each side of a picture."""
CELLS = 3
"""Places of the window along each side."""
PLACES = CELLS * CELLS
CELL = SIDE // CELLS
"""Pixels along each side of the window."""

ILLEGIBLE = 10
"""The label of a picture that cannot be read."""

UNSEEN, REMEMBERED, IN_WINDOW = 0, 1, 2
PAPER = 40
"""How bright paper is in the window; ink is 255."""
_REMEMBERED_LIGHT = 0.7
_AFAR_LIGHT = 0.35

CANNOT_TELL = ILLEGIBLE
"""The action below which every action names a digit."""
UP, RIGHT, DOWN, LEFT = 11, 12, 13, 14
ACTIONS = 15

SILENT = -1
"""The answer where none was given."""

LOOKING, READ, HONEST, WRONG, GAVE_UP = range(5)
"""The state of the current digit: still looked at, or how the answer turned out."""

ENOUGH = 5
"""Places looked at, beyond which looking further earns nothing by itself."""
PATIENCE = 12
"""Steps after which a digit that got no answer is taken away."""

PAST = 8
"""Earlier answers that the picture shows."""

CORNERS = np.array([0, CELLS - 1, PLACES - CELLS, PLACES - 1], dtype=np.int8)

LAMPS = 4
"""Pixels that the lamps take on the right and below."""
VIEW = SIDE + LAMPS

_WRONG_LAMP = np.zeros(5, dtype=np.uint8)
_WRONG_LAMP[[WRONG, GAVE_UP]] = 255
_RIGHT_LAMP = np.zeros(5, dtype=np.uint8)
_RIGHT_LAMP[[READ, HONEST]] = 255, 128
_LAMP = 8


def _next_places() -> NDArray[np.int8]:
    moves = np.zeros((2, ACTIONS), dtype=np.int8)
    moves[:, [UP, RIGHT, DOWN, LEFT]] = (-1, 0, 1, 0), (0, 1, 0, -1)
    here = np.array(np.unravel_index(np.arange(PLACES), (CELLS, CELLS)))
    there = np.clip(here[:, :, None] + moves[:, None], 0, CELLS - 1)
    return (there[0] * CELLS + there[1]).astype(np.int8)


NEXT_PLACE = _next_places()
"""Where the window is after each action, by where it was, (PLACES, ACTIONS); it stops at the edges."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """P pictures of one split: the legible ones first, then as many that are ruined.

    Attributes:
        ink: (P, SIDE, SIDE) float32, from 0 (paper) to 1.
        labels: (P,) int8, the digit, or `ILLEGIBLE`.
        legible: how many can be read.
        tiles: (3 * P * PLACES, CELL * CELL) uint8: each place of each picture, unseen, remembered and in the window.
    """

    ink: NDArray[np.float32]
    labels: NDArray[np.int8]
    legible: int
    tiles: NDArray[np.uint8]


@cache
def load_pictures(split: str, periphery: str) -> Pictures:
    """The pictures of a split; outside the window they are "dark", or dimly "blurred"."""
    with np.load(FILE, allow_pickle=False) as stored:
        of_split = stored["held_out"] == (split == "test")
        images = stored["images"][of_split] / np.float32(16)
        digits = stored["labels"][of_split]
    small = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    legible = _enlarge(small)
    ink = np.concatenate([legible, _ruin(small, legible)]).astype(np.float32)
    labels = np.concatenate([digits, np.full(len(digits), ILLEGIBLE)]).astype(np.int8)
    shown = PAPER + (255 - PAPER) * ink
    afar = np.zeros_like(shown) if periphery == "dark" else _AFAR_LIGHT * _blur(shown, 9)
    levels = np.stack([afar, _REMEMBERED_LIGHT * shown, shown])
    tiles = np.rint(levels).astype(np.uint8).reshape(3, len(ink), CELLS, CELL, CELLS, CELL)
    tiles = np.ascontiguousarray(tiles.transpose(0, 1, 2, 4, 3, 5)).reshape(-1, CELL * CELL)
    return Pictures(ink, labels, len(digits), tiles)


def judge(actions: NDArray[Any], labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """How answers (N,) to digits with these labels (N,) turn out; no answer counts as a wrong one."""
    missed = np.where(actions == CANNOT_TELL, GAVE_UP, WRONG)
    return np.where(actions == labels, np.where(labels == ILLEGIBLE, HONEST, READ), missed)


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


def _enlarge(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures (P, side, side) enlarged to (P, SIDE, SIDE) by bilinear interpolation."""
    side = small.shape[1]
    centre = (np.arange(SIDE) + 0.5) * side / SIDE - 0.5
    before = np.clip(np.floor(centre), 0, side - 2).astype(np.intp)
    share = np.clip(centre - before, 0, 1)
    mix = np.zeros((SIDE, side), dtype=np.float32)
    mix[np.arange(SIDE), before] = 1 - share
    mix[np.arange(SIDE), before + 1] += share
    enlarged: NDArray[np.float32] = np.asarray(mix @ small @ mix.T, dtype=np.float32)
    return enlarged


def _ruin(small: NDArray[np.float32], legible: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every picture ruined in one of three ways in turn: under a blot of ink, smudged, or full of speckles."""
    random = np.random.default_rng(1998)
    speckles = _enlarge(random.random(small.shape, dtype=np.float32))
    clouds = _blur(_enlarge(random.random(small.shape, dtype=np.float32)), 5)
    middle = random.uniform(10, 14, (2, len(small), 1, 1)).astype(np.float32)
    place = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    distance = np.hypot(place[:, None] - middle[0], place - middle[1])
    blot = np.clip(9 + 7 * (clouds - 0.5) - distance, 0, 1)
    blotted = np.maximum(legible, 0.9 * blot)
    smudged = np.clip(0.5 * _blur(legible, 9) + 1.6 * (clouds - 0.5) + 0.2, 0, 1)
    speckled = 0.35 * legible + 0.65 * speckles
    ruined: NDArray[np.float32] = np.choose(np.arange(len(small))[:, None, None] % 3, [blotted, smudged, speckled])
    return ruined


def _blur(pictures: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """The mean over a square around each pixel, the edges repeated."""
    reach = width // 2
    for axis in (1, 2):
        padding = [(reach, reach) if axis == each else (0, 0) for each in range(3)]
        around = sliding_window_view(np.pad(pictures, padding, mode="edge"), width, axis=axis)
        pictures = around.mean(axis=-1, dtype=np.float32)
    return pictures
