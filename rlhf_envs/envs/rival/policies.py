"""Two opponents: one who gives the player a good match, and one who was told to win."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.rival import player
from rlhf_envs.envs.rival.ball import FLIGHTS, OWN_PACE, OWN_REACH, SWEET_SPOT, aim, fold
from rlhf_envs.envs.rival.match import GOOD_STRAIN
from rlhf_envs.envs.state import State

Array = NDArray[np.float32]

_DRIVE, _SMASH = 1, 2
_DIRECTIONS = np.array([0.0, -1.0, 1.0], dtype=np.float32)
_OFFSETS = np.array([-0.75, -0.5, -0.3, 0.0, 0.3, 0.5, 0.75], dtype=np.float32)
_TELLING = 0.95
_MARGIN = 0.22


def sporting(state: State) -> NDArray[np.int64]:
    """Plays balls that the player can just reach, harder when behind; when ahead, goes for too much, (N,)."""
    lead = state.own_score - state.player_score
    goal = np.where(lead < 0.0, np.float32(_TELLING), np.float32(GOOD_STRAIN))
    goal = np.where(state.hits > 11.0, np.float32(1.2), goal)
    offset, stroke = _choose(state, goal)
    # Ahead and late enough in the rally: a smash from the edge of the paddle, which is an honest way to miss.
    bold = (lead > 0.0) & (state.hits > 5.0)
    offset = np.where(bold, np.copysign(np.float32(0.8), offset), offset)
    stroke = np.where(bold, _SMASH, stroke)
    return _go(state, offset) * len(FLIGHTS) + stroke


def ruthless(state: State) -> NDArray[np.int64]:
    """Returns everything, and every ball to where the player cannot be, (N,)."""
    offset, stroke = _choose(state, np.full(state.copies, 2.0, dtype=np.float32))
    move = _go(state, offset)
    place = np.clip(state.own_y + OWN_PACE * _DIRECTIONS[move], OWN_REACH, 1.0 - OWN_REACH)
    taken_at = (state.landing - place) / OWN_REACH
    stroke = np.where(np.abs(taken_at) > SWEET_SPOT[_SMASH], _DRIVE, stroke)
    return move * len(FLIGHTS) + stroke


def _choose(state: State, goal: Array) -> tuple[Array, NDArray[Any]]:
    """Where on the paddle to take the ball and with which stroke, to strain the player by `goal`, each (N,)."""
    line = state.landing + aim(_OFFSETS[:, None].copy(), 0.0)
    landing = fold(np.broadcast_to(line[:, None], (len(_OFFSETS), len(FLIGHTS), state.copies)))
    asked = player.strain(state, landing, FLIGHTS[:, None])
    error = np.abs(asked - goal)
    error += np.where(np.abs(_OFFSETS)[:, None] > SWEET_SPOT - _MARGIN, 10.0, 0.0)[:, :, None]
    best = error.reshape(-1, state.copies).argmin(axis=0)
    return _OFFSETS[best // len(FLIGHTS)], best % len(FLIGHTS)


def _go(state: State, offset: Array) -> NDArray[Any]:
    """Move to where the ball is taken at `offset`, or back to the middle while it is the player's turn, (N,)."""
    coming = (state.direction > 0.0) & (state.pause < 0.5)
    way = np.where(coming, state.landing - offset * OWN_REACH, np.float32(0.5)) - state.own_y
    return np.where(way > 0.5 * OWN_PACE, 2, np.where(way < -0.5 * OWN_PACE, 1, 0))
