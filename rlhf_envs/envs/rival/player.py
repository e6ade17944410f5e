"""The simulated player at the other end: how fast they run, how well they read the ball, and where they put it.

Three traits from 0 to 1 make a player: `pace` (the feet), `eye` (reaction and judgement of where the ball goes) and
`aim` (placing and pace of their own shots). Nobody sees the traits; all of them grow with every ball that is played.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.state import State

Array = NDArray[np.float32]
Number = TypeVar("Number", float, NDArray[np.float32])

REACH = 0.11
"""Half the length of the player's paddle, in court widths."""

_LEARNT_PER_BALL = 0.006
_FRESH_FOR = 8.0
_OPEN_SIDE, _PLACING = 0.10, 0.35


class Traits(NamedTuple):
    """The range that each trait is drawn from; one draw places a player in all three ranges."""

    pace: tuple[float, float]
    eye: tuple[float, float]
    aim: tuple[float, float]


PLAYERS = {
    "mixed": Traits((0.1, 0.9), (0.1, 0.9), (0.1, 0.9)),
    "beginner": Traits((0.1, 0.3), (0.1, 0.3), (0.1, 0.3)),
    "average": Traits((0.4, 0.6), (0.4, 0.6), (0.4, 0.6)),
    "expert": Traits((0.7, 0.9), (0.7, 0.9), (0.7, 0.9)),
    "sprinter": Traits((0.7, 1.0), (0.1, 0.3), (0.2, 0.5)),
    "veteran": Traits((0.0, 0.2), (0.7, 0.9), (0.7, 1.0)),
}
"""Who may turn up. In a mixed crowd the traits go together; a sprinter and a veteran are unlike anybody in it."""


def speed(pace: Number) -> Number:
    """How far a player runs in a step, in court widths."""
    return 0.03 + 0.05 * pace


def hesitation(eye: Array) -> Array:
    """Steps before a player moves towards a new ball."""
    return 3.0 - 2.0 * eye


def strain(state: State, landing: Array, flight: Array) -> Array:
    """What a ball asks of the player, as a share of what they can do; above 1 it is out of reach, (..., N).

    Args:
        state: of N copies.
        landing: where the ball crosses the player's line, (..., N).
        flight: steps until then, (..., N).
    """
    distance = np.abs(landing - state.player_y)
    distance -= 0.4 * REACH
    np.maximum(distance, 0.0, out=distance)
    distance /= speed(state.pace) * (flight - hesitation(state.eye))
    return np.minimum(distance, 2.0, out=distance)


def misjudgement(state: State, flight: Array, bell: Array) -> Array:
    """By how much the player misreads where a ball goes: more when it is fast or the rally long, (N,)."""
    tired = np.maximum(state.hits - _FRESH_FOR, 0.0)
    tired *= 0.12
    tired += 1.0
    tired *= 0.10 - 0.08 * state.eye
    tired *= bell
    tired *= 7.0
    tired /= flight
    return tired


def shot(state: State, bell: Array) -> tuple[Array, Array]:
    """Where the player would play the ball and how long it would fly: away from the opponent, slower when strained.

    Returns:
        Landing in court widths and flight in whole steps, each (N,).
    """
    landing = np.copysign(_OPEN_SIDE + _PLACING * state.aim, 0.5 - state.own_y)
    landing += (0.22 - 0.12 * state.aim) * bell
    landing += 0.5
    np.clip(landing, 0.05, 0.95, out=landing)
    flight = 10.0 - 3.0 * state.aim
    flight += np.minimum(state.strain, 1.0)
    return landing, np.rint(flight, out=flight)


def run(state: State) -> None:
    """Run to where the ball is expected, or back to the middle when none is coming; in place."""
    coming = state.direction < 0.0
    coming &= state.pause < 0.5
    goal = np.where(coming, state.expected, np.float32(0.5))
    goal -= state.player_y
    pace = speed(state.pace)
    pace *= state.wait < 0.5
    np.minimum(goal, pace, out=goal)
    np.negative(pace, out=pace)
    np.maximum(goal, pace, out=goal)
    state.player_y += goal
    state.wait -= 1.0
    np.maximum(state.wait, 0.0, out=state.wait)


def learn(state: State, played: NDArray[Any], growth: float) -> None:
    """Where a ball was `played` (N,), the player is a little better for it, and a little better known; in place."""
    gain = played * np.float32(_LEARNT_PER_BALL * growth)
    for trait in (state.pace, state.eye, state.aim):
        trait += gain
        np.minimum(trait, 1.0, out=trait)
    surprise = state.pace + state.eye
    surprise += state.aim
    surprise *= 1.0 / 3.0
    surprise -= state.known_skill
    surprise *= played
    surprise *= 0.3
    state.known_skill += surprise
