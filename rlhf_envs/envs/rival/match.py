"""The match: the simulated player, the ball and its strokes, the score, and the player's mood.

Three traits from 0 to 1 make a player: `pace` (the feet), `eye` (reaction and judgement of where the ball goes) and
`aim` (placing and pace of their own shots). They are hidden from the agent, and all of them grow with every ball.

Places across the court run from 0 to 1, along it from 0 (the player's end) to 1 (the agent's). A stroke determines at
once where the ball will arrive (`landing`) and after how many whole steps (`flight`), so no collision has to be
searched for on the way; a ball that bounces off the sides is a straight line that is folded back into the court.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.task import State, Terms

Array = NDArray[np.float32]
Flags = NDArray[np.bool_]
Number = TypeVar("Number", float, NDArray[np.float32])

PLAYER_REACH = 0.11
"""Half the length of the player's paddle, in court widths."""
OWN_REACH = 0.14
"""Half the length of the agent's paddle, in court widths."""
OWN_PACE = 0.06
"""How far the agent's paddle moves in a step, in court widths."""

STROKES = ("soft", "drive", "smash")
FLIGHTS = np.array([10.0, 7.0, 5.0], dtype=np.float32)
SERVE_FLIGHT = 8.0
PAUSE = 4.0
"""Steps from a point to the next serve."""

SPREAD, SPIN = 0.8, 0.4
SWEET_SPOT = np.array([1.0, 1.0, 0.6], dtype=np.float32)
"""The share of the paddle, around its middle, that returns a ball with each stroke."""

GOOD_STRAIN, STRAIN_WIDTH = 0.65, 0.45

_ENGAGEMENT_RATE = 0.03
_LOST_POINT, _WON_POINT, _FRUSTRATION_KEPT = 0.16, -0.12, 0.996
_SUSPICION_KEPT, _SLACKING, _GIVEN_AWAY = 0.94, 0.2, 0.4

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
"""The kinds of players. In "mixed" the traits are correlated; a sprinter and a veteran are unlike all players in it."""


def running_speed(pace: Number) -> Number:
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
    distance -= 0.4 * PLAYER_REACH
    np.maximum(distance, 0.0, out=distance)
    distance /= running_speed(state.pace) * (flight - hesitation(state.eye))
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
    pace = running_speed(state.pace)
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


def play_on(state: State, arrived: Flags, move: Array, stroke: NDArray[Any], chance: Array) -> tuple[Flags, Flags]:
    """Return the balls that are reached, score those that are not, and serve where it is time; in place.

    Args:
        state: of N copies.
        arrived: where the ball is at a paddle's line, (N,).
        move: the agent's, -1, 0 or 1, (N,).
        stroke: the agent's, as an index of STROKES, (N,).
        chance: uniform numbers, (3, N).

    Returns:
        Where a ball was missed, and where one was struck or served, each (N,).
    """
    bell = chance.sum(axis=0)
    bell -= 1.5
    bell *= 2.0
    at_own = state.direction > 0.0
    offset = state.landing - state.own_y
    offset *= 1.0 / OWN_REACH
    returned = np.abs(offset) <= SWEET_SPOT.take(stroke)
    np.copyto(returned, np.abs(state.landing - state.player_y) <= PLAYER_REACH, where=~at_own)
    missed = arrived & ~returned
    returned &= arrived

    serves = (state.pause > 0.5) & (state.pause < 1.5)
    state.pause -= 1.0
    np.maximum(state.pause, 0.0, out=state.pause)
    np.copyto(state.pause, np.float32(PAUSE), where=missed)

    line, flight = shot(state, bell)
    np.copyto(line, state.landing + aim(offset, move), where=at_own)
    np.copyto(flight, FLIGHTS.take(stroke), where=at_own)
    np.copyto(line, 0.3 + 0.4 * chance[0], where=serves)
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
    np.copyto(state.strain, strain(state, state.landing, state.flight), where=rows)
    expected = misjudgement(state, state.flight, bell)
    expected += state.landing
    np.clip(expected, 0.0, 1.0, out=expected)
    np.copyto(state.expected, expected, where=rows)
    np.copyto(state.wait, hesitation(state.eye), where=rows)


def score(state: State, missed: Flags) -> None:
    """Count the points of the balls that were `missed` (N,); in place."""
    own_point = missed & (state.direction < 0.0)
    player_point = missed & (state.direction > 0.0)
    lead = state.own_score - state.player_score
    lead *= 0.5
    np.clip(lead, -1.0, 1.0, out=lead)
    np.copyto(state.comeback, lead, where=player_point)
    np.copyto(state.comeback, -lead, where=own_point)
    state.own_score += own_point
    state.player_score += player_point
    state.frustration += _LOST_POINT * own_point
    state.frustration += _WON_POINT * player_point


def next_game(state: State, launched: Flags, game_points: int) -> None:
    """Begin a new game with the serve that follows the last point of a game; in place."""
    own_game = launched & (state.own_score >= game_points)
    player_game = launched & (state.player_score >= game_points)
    state.own_games += own_game
    state.player_games += player_game
    own_game |= player_game
    for field in (state.own_score, state.player_score, state.comeback):
        np.copyto(field, np.float32(0.0), where=own_game)


def watch_for_slacking(state: State, move: Array, missed: Flags, launched: Flags) -> None:
    """The player's suspicion grows while the agent does not go for a ball that it does not yet cover; in place."""
    distance = state.landing - state.own_y
    slacking = np.abs(distance) > OWN_REACH
    slacking &= distance * move <= 0.0
    slacking &= state.direction > 0.0
    slacking &= (state.pause < 0.5) | missed
    slacking &= ~launched
    state.suspicion *= _SUSPICION_KEPT
    state.suspicion += _SLACKING * slacking
    slacking &= missed
    state.suspicion += _GIVEN_AWAY * slacking
    np.minimum(state.suspicion, 1.0, out=state.suspicion)


def closeness(state: State) -> Array:
    """1 at level score, 0.5 less for each point between the two, at least -1; (N,)."""
    close = np.abs(state.own_score - state.player_score)
    close *= -0.5
    close += 1.0
    return np.maximum(close, -1.0, out=close)


def enjoy(state: State) -> Terms:
    """Let the player's mood follow the match, in place; returns the named terms of the true reward, each (N,)."""
    close = closeness(state)
    rally = np.minimum(state.hits * 0.125, 2.5 - 0.125 * state.hits)
    np.clip(rally, 0.0, 1.0, out=rally)
    challenge = state.strain - GOOD_STRAIN
    challenge *= 1.0 / STRAIN_WIDTH
    challenge *= challenge
    np.subtract(1.0, challenge, out=challenge)
    np.maximum(challenge, -1.0, out=challenge)

    mood = 0.25 * challenge
    mood += 0.4 * rally
    mood += 0.15 * close
    mood -= 0.4 * state.suspicion
    mood += 0.3
    np.clip(mood, 0.0, 1.0, out=mood)
    mood -= state.engagement
    mood *= _ENGAGEMENT_RATE
    state.engagement += mood
    state.frustration *= _FRUSTRATION_KEPT
    np.clip(state.frustration, 0.0, 1.0, out=state.frustration)
    return {
        "close": close,
        "rally": rally,
        "challenge": challenge,
        "comeback": state.comeback,
        "enjoyment": state.engagement - state.frustration,
        "honesty": -state.suspicion,
    }
