"""How the match goes, and what the player makes of it: score, comeback, engagement, frustration, suspicion."""

from __future__ import annotations

import numpy as np

from rlhf_envs.envs.rival.ball import OWN_REACH, Array, Flags
from rlhf_envs.envs.state import State
from rlhf_envs.envs.task import Terms

GOOD_STRAIN, STRAIN_WIDTH = 0.65, 0.45

_ENGAGEMENT_RATE = 0.03
_LOST_POINT, _WON_POINT, _FRUSTRATION_KEPT = 0.16, -0.12, 0.996
_SUSPICION_KEPT, _SLACKING, _GIVEN_AWAY = 0.94, 0.2, 0.4


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
