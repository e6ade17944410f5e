"""The ball: its flight, the strokes that turn it round, and the points it brings.

Places across the court run from 0 to 1, along it from 0 (the player's end) to 1 (the agent's). A stroke settles at once
where the ball will arrive (`landing`) and after how many whole steps (`flight`), so nothing has to be searched for on
the way, and a ball that bounces off the sides is a straight line that is folded back into the court.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.rival import player
from rlhf_envs.envs.state import State

Array = NDArray[np.float32]
Flags = NDArray[np.bool_]

STROKES = ("soft", "drive", "smash")
FLIGHTS = np.array([10.0, 7.0, 5.0], dtype=np.float32)
SERVE_FLIGHT = 8.0
OWN_REACH = 0.14
"""Half the length of the agent's paddle, in court widths."""
OWN_PACE = 0.06
"""How far the agent's paddle moves in a step, in court widths."""
PAUSE = 4.0
"""Steps from a point to the next serve."""

SPREAD, SPIN = 0.8, 0.4
SWEET_SPOT = np.array([1.0, 1.0, 0.6], dtype=np.float32)
"""The share of the paddle, around its middle, that returns a ball with each stroke."""


def fold(place: Array) -> Array:
    """Where in the court (0 to 1) a straight line ends that reached `place` (-1 to 2), bounces included."""
    folded = np.abs(place)
    np.subtract(1.0, folded, out=folded)
    np.abs(folded, out=folded)
    return np.subtract(1.0, folded, out=folded)


def aim(offset: Array, move: Array | float) -> Array:
    """How far across (court widths) a ball goes that meets the agent's paddle at `offset` (-1 to 1, in reaches)."""
    steer: Array = offset + SPIN * move
    np.clip(steer, -1.0, 1.0, out=steer)
    steer *= SPREAD
    return steer


def fly(state: State) -> Flags:
    """Move the ball on, in place; returns where it has arrived at a paddle's line, (N,)."""
    flying = state.pause < 0.5
    state.left -= flying
    pace = state.direction / state.flight
    pace *= flying
    state.ball_x += pace
    state.ball_y += state.slope * flying
    bounced = fold(state.ball_y)
    turned = bounced != state.ball_y
    state.ball_y = bounced
    np.negative(state.slope, out=state.slope, where=turned)
    flying &= state.left < 0.5
    return flying


def play_on(state: State, arrived: Flags, move: Array, stroke: NDArray[Any], draws: Array) -> tuple[Flags, Flags]:
    """Return the balls that are reached, score those that are not, and serve where it is time; in place.

    Args:
        state: of N copies.
        arrived: where the ball is at a paddle's line, (N,).
        move: the agent's, -1, 0 or 1, (N,).
        stroke: the agent's, as an index of STROKES, (N,).
        draws: uniform numbers, (3, N).

    Returns:
        Where a ball was missed, and where one was struck or served, each (N,).
    """
    bell = draws.sum(axis=0)
    bell -= 1.5
    bell *= 2.0
    at_own = state.direction > 0.0
    offset = state.landing - state.own_y
    offset *= 1.0 / OWN_REACH
    returned = np.abs(offset) <= SWEET_SPOT.take(stroke)
    np.copyto(returned, np.abs(state.landing - state.player_y) <= player.REACH, where=~at_own)
    missed = arrived & ~returned
    returned &= arrived

    serves = (state.pause > 0.5) & (state.pause < 1.5)
    state.pause -= 1.0
    np.maximum(state.pause, 0.0, out=state.pause)
    np.copyto(state.pause, np.float32(PAUSE), where=missed)

    line, flight = player.shot(state, bell)
    np.copyto(line, state.landing + aim(offset, move), where=at_own)
    np.copyto(flight, FLIGHTS.take(stroke), where=at_own)
    np.copyto(line, 0.3 + 0.4 * draws[0], where=serves)
    np.copyto(flight, np.float32(SERVE_FLIGHT), where=serves)
    origin = np.where(at_own, state.own_y, state.player_y)
    np.copyto(origin, state.landing, where=returned)
    launched = returned | serves
    _launch(state, launched, origin, line, flight)
    _challenge(state, launched & at_own, bell)
    state.hits += returned
    state.hits *= ~serves
    return missed, launched


def _launch(state: State, rows: Flags, origin: Array, line: Array, flight: Array) -> None:
    """Send the ball of these copies from `origin` along `line`, to arrive after `flight` steps at the other end."""
    np.copyto(state.ball_y, origin, where=rows)
    np.copyto(state.ball_x, state.direction > 0.0, where=rows)
    np.copyto(state.landing, fold(line), where=rows)
    line -= origin
    line /= flight
    np.copyto(state.slope, line, where=rows)
    np.copyto(state.flight, flight, where=rows)
    np.copyto(state.left, flight, where=rows)
    np.negative(state.direction, out=state.direction, where=rows)


def _challenge(state: State, rows: Flags, bell: Array) -> None:
    """The player sees a new ball: how hard it is to reach, where they think it goes, and how long they hesitate."""
    np.copyto(state.strain, player.strain(state, state.landing, state.flight), where=rows)
    expected = player.misjudgement(state, state.flight, bell)
    expected += state.landing
    np.clip(expected, 0.0, 1.0, out=expected)
    np.copyto(state.expected, expected, where=rows)
    np.copyto(state.wait, player.hesitation(state.eye), where=rows)
