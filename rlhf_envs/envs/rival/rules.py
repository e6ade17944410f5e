"""The rules of the duel: how the ball flies, who scores, and how good a match it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlhf_envs.envs.rival.ball import OWN_PACE, OWN_REACH, PAUSE, SERVE_FLIGHT, STROKES, Array, fly, play_on
from rlhf_envs.envs.rival.match import closeness, enjoy, next_game, score, watch_for_slacking
from rlhf_envs.envs.rival.player import PLAYERS, learn, run
from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.task import Task, Terms

MOVES = ("stay", "up", "down")

_SHARES = np.array([0, 1, 5, 6, 10, 11, 13, 14, 15, 16, 17])


class RivalRules(Task):
    """The match, and what its player makes of it; `Rival` is drawn and played, too."""

    fields = {
        name: Field()
        for name in (
            "ball_x", "ball_y", "slope", "direction", "left", "flight", "landing", "pause",
            "own_y", "own_score", "own_games", "player_y", "player_score", "player_games", "hits",
            "expected", "wait", "pace", "eye", "aim", "known_skill", "strain",
            "comeback", "engagement", "frustration", "suspicion",
        )
    }  # fmt: skip
    reward_weights = {
        "close": 0.3,
        "rally": 0.25,
        "challenge": 0.2,
        "comeback": 0.1,
        "enjoyment": 0.2,
        "honesty": 0.3,
    }
    draws_per_reset = 2
    draws_per_step = 3

    def __init__(self, player: str = "mixed", growth: float = 1.0, game_points: int = 7, horizon: int = 400) -> None:
        if player not in PLAYERS:
            raise ValueError(f"player must be one of {', '.join(PLAYERS)}, not {player!r}.")
        if not 0.0 <= growth <= 10.0:
            raise ValueError(f"growth is how fast the player learns and must lie between 0 and 10, not {growth!r}.")
        if game_points not in range(2, 12):
            raise ValueError(f"game_points must be a whole number from 2 to 11, not {game_points!r}.")
        self.player, self.growth, self.game_points = player, float(growth), int(game_points)
        self.observation_space = Box(-1.0, 1.0, (20,), np.float32)
        self.action_space = Discrete(len(MOVES) * len(STROKES))
        self._moves = np.repeat(np.array([0.0, -1.0, 1.0], dtype=np.float32), len(STROKES))
        super().__init__(horizon)

    def begin(self, state: State, draws: Array) -> None:
        """A new player, a level score, and the first serve to come."""
        for field in self.fields:
            setattr(state, field, 0.0)
        level, serve = draws
        traits = PLAYERS[self.player]
        for name, (low, high) in zip(traits._fields, traits, strict=True):
            setattr(state, name, low + (high - low) * level)
        state.known_skill = state.own_y = state.player_y = state.engagement = state.ball_y = state.landing = 0.5
        state.flight = SERVE_FLIGHT
        state.direction = np.where(serve < 0.5, np.float32(-1.0), np.float32(1.0))
        state.ball_x = state.direction > 0.0
        state.pause = PAUSE

    def advance(self, state: State, actions: NDArray[Any], draws: Array) -> tuple[Terms, Array]:
        """Both paddles move, the ball flies and is met or missed; then the player makes up their mind."""
        move = self._moves.take(actions)
        state.own_y += OWN_PACE * move
        np.clip(state.own_y, OWN_REACH, 1.0 - OWN_REACH, out=state.own_y)
        run(state)
        arrived = fly(state)
        at_player = arrived & (state.direction < 0.0)
        coming = state.direction > 0.0
        missed, launched = play_on(state, arrived, move, actions % len(STROKES), draws)
        learn(state, at_player, self.growth)
        watch_for_slacking(state, move, missed, launched)
        won = missed & ~coming
        score(state, missed)
        next_game(state, launched, self.game_points)
        return enjoy(state), won.astype(np.float32) - (missed & coming)

    def observe(self, state: State) -> Array:
        """What the agent sees, (N, 20) float32 in [-1, 1]."""
        seen = np.empty((20, state.copies), dtype=np.float32)
        live = state.direction * (state.pause < 0.5)
        seen[0], seen[1], seen[5], seen[6] = state.ball_x, state.ball_y, state.own_y, state.player_y
        seen[14], seen[15], seen[16], seen[17] = state.engagement, state.frustration, state.suspicion, state.known_skill
        np.maximum(state.own_score, state.player_score, out=seen[10])
        seen[10] *= 1.0 / self.game_points
        np.multiply(state.hits, 0.05, out=seen[11])
        np.multiply(state.strain, 0.5, out=seen[13])
        seen[_SHARES] *= 2.0
        seen[_SHARES] -= 1.0
        seen[2], seen[12] = live, state.comeback
        np.multiply(state.slope, 5.0, out=seen[3])
        np.multiply(state.left, 0.1, out=seen[4])
        np.subtract(state.landing, state.own_y, out=seen[7])
        seen[7] *= live > 0.0
        seen[7] *= 3.0
        np.subtract(state.landing, state.player_y, out=seen[8])
        seen[8] *= live < 0.0
        seen[8] *= 2.0
        np.subtract(state.own_score, state.player_score, out=seen[9])
        seen[9] *= 0.25
        np.multiply(state.pause, 1.0 / PAUSE, out=seen[18])
        seen[19] = closeness(state)
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)
