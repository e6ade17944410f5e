"""The handwritten digits: legible ones, ruined ones, and how each looks in the window, remembered, and from afar.

The images are the UCI optical digits (Alpaydin & Kaynak 1998, https://doi.org/10.24432/C50P49, CC BY 4.0); see
`digits.txt` beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

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
"""The label of a picture that nobody can read."""

UNSEEN, REMEMBERED, IN_WINDOW = 0, 1, 2
PAPER = 40
"""How bright paper is in the window; ink is 255."""
_REMEMBERED_LIGHT = 0.7
_AFAR_LIGHT = 0.35


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
