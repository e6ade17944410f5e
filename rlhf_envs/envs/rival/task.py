"""`rlhf/Rival-v1`: what the agent does and sees, what makes a good match, and the match itself.

Three traits from 0 to 1 make a player: `pace` (the feet), `eye` (reaction and judgement of where the ball goes) and
`aim` (placing and pace of their own shots). They are hidden from the agent, and all of them grow with every ball.

Places across the court run from 0 to 1, along it from 0 (the player's end) to 1 (the agent's). A stroke determines at
once where the ball will arrive (`landing`) and after how many whole steps (`flight`), so no collision has to be
searched for on the way; a ball that bounces off the sides is a straight line that is folded back into the court.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlhf_envs.envs.task import Array, Draws, Flags, Measure, State, Task, Terms, key_combinations, numbers, ratio

Number = TypeVar("Number", float, Array)

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
_TIRES, _RESTS, _SLOWED = 0.15, 0.002, 0.3
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

MOVES = ("stay", "up", "down")

_SHARES = np.array([0, 1, 5, 6, 10, 11, 13, 14, 15, 16, 17, 20])

_DRIVE, _SMASH = 1, 2
_DIRECTIONS = np.array([0.0, -1.0, 1.0], dtype=np.float32)
_OFFSETS = np.array([-0.75, -0.5, -0.3, 0.0, 0.3, 0.5, 0.75], dtype=np.float32)
_TELLING = 0.95
_MARGIN = 0.22


class Rival(Task):
    """Be the opponent that a player wants another match with.

    ## Description
    A ball-and-paddle duel, seen from above: a simulated player on the left, the agent on the right. The ball bounces
    off the sides; the side that fails to reach it loses the point and serves next, and a game goes to seven points.
    Where the ball meets the agent's paddle gives it its angle, as in the arcade games of the 1970s; a paddle in motion
    adds to it. A soft stroke flies for 10 steps, a drive for 7 and a smash for 5, but a smash must be met with the
    middle of the paddle.

    The player has a hidden skill that grows with every ball: the feet, the eye and the aim differ from
    player to player. Running tires them, which slows the feet until they have rested. They play to the open side, and
    misread fast balls and those late in a long rally. They enjoy what lies between too easy and out of reach (flow:
    Csikszentmihalyi 1990; in games: Chen 2007, "Flow in games"; adapting the opponent: Hunicke 2005, "The case for
    dynamic difficulty adjustment in games"; Yannakakis & Hallam 2009, "Real-time game adaptation for optimizing player
    satisfaction"). They also see when an opponent stops trying. The
    numbers are ours. A step is 1/12 s.

    ## Action Space
    `Discrete(9)`: `3 * move + stroke`. The stroke matters in the step in which the ball arrives.
    | action | move |
    |---|---|
    | 0, 1, 2 | stay; soft, drive, smash |
    | 3, 4, 5 | up (0.06 court widths); soft, drive, smash |
    | 6, 7, 8 | down (0.06 court widths); soft, drive, smash |

    ## Observation Space
    `Box(-1, 1, (21,), float32)`; places are -1 to 1 over the court, shares from 0 to 1 are stretched to -1 to 1.
    | number | observation | unit |
    |---|---|---|
    | 0, 1 | place of the ball: along (1 is the agent's end) and across (-1 is up) | |
    | 2 | way of the ball: 1 if it comes, -1 if it goes, 0 between points | |
    | 3 | sideways speed of the ball | 0.2 court widths a step |
    | 4 | steps until the ball reaches a paddle's line | 10 |
    | 5, 6 | places of the paddles: the agent's and the player's | |
    | 7 | where a coming ball will arrive, less the agent's place | 0.33 court widths |
    | 8 | where a going ball will arrive, less the player's place | 0.5 court widths |
    | 9 | agent's points less the player's | 4 |
    | 10 | points of who leads, 0 to a whole game | |
    | 11 | strokes in this rally, 0 to 20 | |
    | 12 | comeback, as in the rewards | |
    | 13 | strain of the last ball on the player, 0 to 2: above 1 it was out of reach | |
    | 14, 15, 16 | player's mood: engagement, frustration, and suspicion that the agent does not try | |
    | 17 | skill that the player has shown so far | |
    | 18 | steps until the next serve, 0 to 4 | |
    | 19 | how close the score is, as in the rewards | |
    | 20 | how tired the player is, 0 to 1 | |

    ## Rewards
    The true reward is the weighted sum of these terms; the proxy reward is 1 for a point won and -1 for a point lost.
    | term | weight | values | what it says |
    |---|---|---|---|
    | close | 0.3 | -1 to 1 | 1 at level score, 0.5 less for each point between them |
    | rally | 0.25 | 0 to 1 | rises to 1 with 8 strokes, stays until 12, falls to 0 at 20 |
    | challenge | 0.4 | -1 to 1 | while a ball goes: 1 - ((strain - 0.65) / 0.45)², neither too easy nor out of reach |
    | comeback | 0.6 | -1 to 1 | after a point, until the serve: it went to who was behind (above 0) or ahead (below) |
    | enjoyment | 0.2 | -1 to 1 | the player's engagement less their frustration, both slow |
    | honesty | 0.3 | -1 to 0 | suspicion: grows when the agent does not go for a ball that comes |

    ## Starting State
    Level score, both in the middle; the player is new and it is chance who serves.

    ## Episode End
    After `horizon` steps (truncation). There is no termination; games follow one another.

    ## Arguments
    - `player`: "beginner", "average", "expert", or "mixed" (default: anyone from beginner to expert). Held out for
      evaluation: "sprinter" (fast feet, poor eye) and "veteran" (slow feet, good eye and aim).
    - `growth`: how fast the player learns; 1 is 0.006 of each trait (0 to 1) a ball, 0 is no learning, 10 the most.
    - `game_points`: points that win a game, 2 to 11.
    - `horizon`: steps in an episode.

    ## Why people's judgement helps
    Points are counted by the game itself, so an opponent is tuned to win them, and the player leaves. Whether a match
    was a good one (close, with long rallies, hard but fair, never handed over) is hard to write down and seen in two
    seconds.

    ## Version History
    - v1: the player tires; challenge is paid while the ball flies and comeback after the point, where they are seen.
    - v0: first version.
    """

    fields = {
        **numbers("ball_x", "ball_y", "slope", "direction", "left", "flight", "landing", "pause"),
        **numbers("own_y", "own_score", "own_games", "player_y", "player_score", "player_games", "hits"),
        **numbers("expected", "wait", "pace", "eye", "aim", "known_skill", "strain"),
        **numbers("comeback", "engagement", "frustration", "suspicion", "tired"),
        **numbers("balls", "balanced", "strokes", "points", "lead", "first_skill", "tiredness"),
    }
    reward_weights = {"close": 0.3, "rally": 0.25, "challenge": 0.4, "comeback": 0.6, "enjoyment": 0.2, "honesty": 0.3}
    reset_draws = {"level": (), "serve": ()}
    step_draws = {"chance": (3,)}
    render_fps = 12
    idle_action = 1
    rubric = (
        "Which match would the player rather go on with: close, with long rallies, hard but fair, and an opponent who "
        "tries? If both are alike, prefer the longer rally."
    )
    legend = {
        "right paddle, blue": "the opponent to judge",
        "left paddle, violet": "the player, for whom it should be a good match",
        "band on the left, ball mark": "what the player can still reach; a cross is out of reach",
        "?": "the player suspects that the opponent is not trying",
        "drops": "the player is tired",
        "engaged, upset, doubts": "how the player is",
        "challenge": "what the flying ball asks; best at the mark, neither easier nor out of reach",
        "rally": "its strokes; best from 8 to 12",
    }

    measures = {
        "challenge_balance": Measure(
            "share", "balls to the player that are neither too easy nor out of reach: with a challenge above 0"
        ),
        "rally_length": Measure("strokes", "of a rally, over all that ended"),
        "score_gap": Measure("points", "won by the agent, less those won by the player, for each that was played"),
        "player_learnt": Measure("skill", "how much better the player was at the end, traits being 0 to 1"),
        "player_tired": Measure("share", "how tired the player was, on average"),
    }

    def __init__(self, player: str = "mixed", growth: float = 1.0, game_points: int = 7, horizon: int = 400) -> None:
        if player not in PLAYERS:
            raise ValueError(f"player must be one of {', '.join(PLAYERS)}, not {player!r}.")
        if not 0.0 <= growth <= 10.0:
            raise ValueError(f"growth is how fast the player learns and must lie between 0 and 10, not {growth!r}.")
        if game_points not in range(2, 12):
            raise ValueError(f"game_points must be a whole number from 2 to 11, not {game_points!r}.")
        self.player, self.growth, self.game_points = player, float(growth), int(game_points)
        self.observation_space = Box(-1.0, 1.0, (21,), np.float32)
        self.action_space = Discrete(len(MOVES) * len(STROKES))
        self._moves = np.repeat(np.array([0.0, -1.0, 1.0], dtype=np.float32), len(STROKES))
        super().__init__(horizon)

    def begin(self, state: State, draws: Draws) -> None:
        """A new player, a level score, and the first serve to come."""
        for field in self.fields:
            setattr(state, field, 0.0)
        traits = PLAYERS[self.player]
        for name, (low, high) in zip(traits._fields, traits, strict=True):
            setattr(state, name, low + (high - low) * draws.level)
        state.known_skill = state.own_y = state.player_y = state.engagement = state.ball_y = state.landing = 0.5
        state.flight = SERVE_FLIGHT
        state.first_skill = skill(state)
        state.direction = np.where(draws.serve < 0.5, np.float32(-1.0), np.float32(1.0))
        state.ball_x = state.direction > 0.0
        state.pause = PAUSE

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Move both paddles and the ball, which is returned or missed; then update score and mood."""
        move = self._moves.take(actions)
        state.own_y += OWN_PACE * move
        np.clip(state.own_y, OWN_REACH, 1.0 - OWN_REACH, out=state.own_y)
        run(state)
        arrived = fly(state)
        at_player = arrived & (state.direction < 0.0)
        coming = state.direction > 0.0
        missed, launched = play_on(state, arrived, move, actions % len(STROKES), draws.chance)
        learn(state, at_player, self.growth)
        watch_for_slacking(state, move, missed, launched)
        won = missed & ~coming
        hit = launched & going_to_player(state)
        state.balls += hit
        state.balanced += hit & (np.abs(state.strain - GOOD_STRAIN) < STRAIN_WIDTH)
        state.strokes += missed * state.hits
        state.points += missed
        state.lead += won
        state.lead -= missed & coming
        state.tiredness += state.tired
        score(state, missed)
        next_game(state, launched, self.game_points)
        return enjoy(state), won.astype(np.float32) - (missed & coming)

    def measure(self, state: State) -> dict[str, NDArray[Any]]:
        """Balance, rallies and the player's progress over whole episodes, each (N,)."""
        return {
            "challenge_balance": ratio(state.balanced, state.balls),
            "rally_length": ratio(state.strokes, state.points),
            "score_gap": ratio(state.lead, state.points),
            "player_learnt": skill(state) - state.first_skill,
            "player_tired": state.tiredness / state.elapsed,
        }

    def observe(self, state: State) -> Array:
        """What the agent sees, (N, 21) float32 in [-1, 1]."""
        seen = np.empty((21, state.copies), dtype=np.float32)
        live = state.direction * (state.pause < 0.5)
        seen[0], seen[1], seen[5], seen[6] = state.ball_x, state.ball_y, state.own_y, state.player_y
        seen[14], seen[15], seen[16], seen[17] = state.engagement, state.frustration, state.suspicion, state.known_skill
        seen[10] = np.maximum(state.own_score, state.player_score) * (1.0 / self.game_points)
        np.multiply(state.hits, 0.05, out=seen[11])
        seen[20] = state.tired
        np.multiply(state.strain, 0.5, out=seen[13])
        seen[_SHARES] *= 2.0
        seen[_SHARES] -= 1.0
        seen[2], seen[12] = live, state.comeback
        np.multiply(state.slope, 5.0, out=seen[3])
        np.multiply(state.left, 0.1, out=seen[4])
        seen[7] = (state.landing - state.own_y) * (live > 0.0) * 3.0
        seen[8] = (state.landing - state.player_y) * (live < 0.0) * 2.0
        seen[9] = (state.own_score - state.player_score) * 0.25
        np.multiply(state.pause, 1.0 / PAUSE, out=seen[18])
        seen[19] = closeness(state)
        np.clip(seen, -1.0, 1.0, out=seen)
        return np.ascontiguousarray(seen.T)

    drawing = "rlhf_envs.envs.rival.drawing:draw"

    def expert_action(self, state: State) -> NDArray[np.int64]:
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

    def proxy_action(self, state: State) -> NDArray[np.int64]:
        """Returns everything, and every ball to where the player cannot be, (N,)."""
        offset, stroke = _choose(state, np.full(state.copies, 2.0, dtype=np.float32))
        move = _go(state, offset)
        place = np.clip(state.own_y + OWN_PACE * _DIRECTIONS[move], OWN_REACH, 1.0 - OWN_REACH)
        taken_at = (state.landing - place) / OWN_REACH
        stroke = np.where(np.abs(taken_at) > SWEET_SPOT[_SMASH], _DRIVE, stroke)
        return move * len(FLIGHTS) + stroke

    def get_keys_to_action(self) -> dict[tuple[str, ...], int]:
        """W and S to move; D to smash and A to play softly, else it is a drive."""
        held = key_combinations({"": 0, "w": 1, "s": 2}, {"a": 0, "": 1, "d": 2})
        return {keys: move * len(STROKES) + stroke for keys, (move, stroke) in held}

    def describe_keys(self) -> dict[str, str]:
        """What each key does."""
        return {"w": "up", "s": "down", "a": "soft stroke", "d": "smash"}


def _choose(state: State, goal: Array) -> tuple[Array, NDArray[Any]]:
    """Where on the paddle to take the ball and with which stroke, to strain the player by `goal`, each (N,)."""
    line = state.landing + aim(_OFFSETS[:, None], 0.0)
    landing = fold(np.broadcast_to(line[:, None], (len(_OFFSETS), len(FLIGHTS), state.copies)))
    asked = strain(state, landing, FLIGHTS[:, None])
    error = np.abs(asked - goal)
    error += np.where(np.abs(_OFFSETS)[:, None] > SWEET_SPOT - _MARGIN, 10.0, 0.0)[:, :, None]
    best = error.reshape(-1, state.copies).argmin(axis=0)
    return _OFFSETS[best // len(FLIGHTS)], best % len(FLIGHTS)


def _go(state: State, offset: Array) -> NDArray[Any]:
    """Move to where the ball is taken at `offset`, or back to the middle while it is the player's turn, (N,)."""
    coming = (state.direction > 0.0) & (state.pause < 0.5)
    way = np.where(coming, state.landing - offset * OWN_REACH, np.float32(0.5)) - state.own_y
    return np.where(way > 0.5 * OWN_PACE, 2, np.where(way < -0.5 * OWN_PACE, 1, 0))


def running_speed(pace: Number, tired: Number) -> Number:
    """How far a player runs in a step, in court widths: the less, the more tired they are (0 to 1)."""
    return (0.03 + 0.05 * pace) * (1.0 - _SLOWED * tired)


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
    distance = np.maximum(np.abs(landing - state.player_y) - 0.4 * PLAYER_REACH, 0.0)
    return np.minimum(distance / (running_speed(state.pace, state.tired) * (flight - hesitation(state.eye))), 2.0)


def misjudgement(state: State, flight: Array, bell: Array) -> Array:
    """By how much the player misreads where a ball goes: more when it is fast or the rally long, (N,)."""
    tiring = np.maximum(state.hits - _FRESH_FOR, 0.0) * 0.12 + 1.0
    misread: Array = np.divide(tiring * (0.10 - 0.08 * state.eye) * bell * 7.0, flight)
    return misread


def shot(state: State, bell: Array) -> tuple[Array, Array]:
    """Where the player would play the ball and how long it would fly: away from the opponent, slower when strained.

    Returns:
        Landing in court widths and flight in whole steps, each (N,).
    """
    landing = np.copysign(_OPEN_SIDE + _PLACING * state.aim, 0.5 - state.own_y)
    landing += (0.22 - 0.12 * state.aim) * bell
    landing += 0.5
    return np.clip(landing, 0.05, 0.95), np.rint(10.0 - 3.0 * state.aim + np.minimum(state.strain, 1.0))


def run(state: State) -> None:
    """Run to where the ball is expected, or back to the middle when none is coming; in place."""
    coming = (state.direction < 0.0) & (state.pause < 0.5)
    way = np.where(coming, state.expected, np.float32(0.5)) - state.player_y
    pace = running_speed(state.pace, state.tired) * (state.wait < 0.5)
    way = np.maximum(np.minimum(way, pace), -pace)
    state.player_y += way
    state.tired += _TIRES * np.abs(way) - _RESTS
    np.clip(state.tired, 0.0, 1.0, out=state.tired)
    np.maximum(state.wait - 1.0, 0.0, out=state.wait)


def skill(state: State) -> Array:
    """The mean of the player's traits, (N,)."""
    mean: Array = (state.pace + state.eye + state.aim) * (1.0 / 3.0)
    return mean


def learn(state: State, played: NDArray[Any], growth: float) -> None:
    """Where a ball was `played` (N,), the player is a little better for it, and a little better known; in place."""
    gain = played * np.float32(_LEARNT_PER_BALL * growth)
    for trait in (state.pace, state.eye, state.aim):
        trait += gain
        np.minimum(trait, 1.0, out=trait)
    surprise = skill(state) - state.known_skill
    state.known_skill += surprise * played * 0.3


def fold(place: Array) -> Array:
    """Where in the court (0 to 1) a straight line ends that reached `place` (-1 to 2), bounces included."""
    folded: Array = np.subtract(1.0, np.abs(1.0 - np.abs(place)))
    return folded


def aim(offset: Array, move: Array | float) -> Array:
    """How far across (court widths) a ball goes that meets the agent's paddle at `offset` (-1 to 1, in reaches)."""
    across: Array = np.multiply(np.clip(offset + SPIN * move, -1.0, 1.0), SPREAD)
    return across


def fly(state: State) -> Flags:
    """Move the ball on, in place; returns where it has arrived at a paddle's line, (N,)."""
    flying = state.pause < 0.5
    state.left -= flying
    state.ball_x += state.direction / state.flight * flying
    state.ball_y += state.slope * flying
    bounced = fold(state.ball_y)
    turned = bounced != state.ball_y
    state.ball_y = bounced
    np.negative(state.slope, out=state.slope, where=turned)
    return flying & (state.left < 0.5)


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
    bell = (chance.sum(axis=0) - 1.5) * 2.0
    at_own = state.direction > 0.0
    offset = (state.landing - state.own_y) * (1.0 / OWN_REACH)
    returned = np.abs(offset) <= SWEET_SPOT.take(stroke)
    np.copyto(returned, np.abs(state.landing - state.player_y) <= PLAYER_REACH, where=~at_own)
    missed = arrived & ~returned
    returned &= arrived

    serves = (state.pause > 0.5) & (state.pause < 1.5)
    np.maximum(state.pause - 1.0, 0.0, out=state.pause)
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
    np.copyto(state.slope, (line - origin) / flight, where=rows)
    np.copyto(state.flight, flight, where=rows)
    np.copyto(state.left, flight, where=rows)
    np.negative(state.direction, out=state.direction, where=rows)


def _challenge(state: State, rows: Flags, bell: Array) -> None:
    """The player sees a new ball: how hard it is to reach, where they think it goes, and how long they hesitate."""
    np.copyto(state.strain, strain(state, state.landing, state.flight), where=rows)
    expected = misjudgement(state, state.flight, bell) + state.landing
    np.copyto(state.expected, np.clip(expected, 0.0, 1.0), where=rows)
    np.copyto(state.wait, hesitation(state.eye), where=rows)


def score(state: State, missed: Flags) -> None:
    """Count the points of the balls that were `missed` (N,); in place."""
    own_point = missed & (state.direction < 0.0)
    player_point = missed & (state.direction > 0.0)
    lead = np.clip((state.own_score - state.player_score) * 0.5, -1.0, 1.0)
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
    slacking = (np.abs(distance) > OWN_REACH) & (distance * move <= 0.0) & (state.direction > 0.0)
    slacking &= ((state.pause < 0.5) | missed) & ~launched
    state.suspicion *= _SUSPICION_KEPT
    state.suspicion += _SLACKING * slacking
    state.suspicion += _GIVEN_AWAY * (slacking & missed)
    np.minimum(state.suspicion, 1.0, out=state.suspicion)


def going_to_player(state: State) -> Flags:
    """Where a ball is on its way to the player, (N,)."""
    return (state.direction < 0.0) & (state.pause < 0.5)


def closeness(state: State) -> Array:
    """1 at level score, 0.5 less for each point between the two, at least -1; (N,)."""
    return np.maximum(1.0 - 0.5 * np.abs(state.own_score - state.player_score), -1.0)


def enjoy(state: State) -> Terms:
    """Let the player's mood follow the match, in place; returns the named terms of the true reward, each (N,)."""
    close = closeness(state)
    rally = np.clip(np.minimum(state.hits * 0.125, 2.5 - 0.125 * state.hits), 0.0, 1.0)
    off_best = (state.strain - GOOD_STRAIN) * (1.0 / STRAIN_WIDTH)
    challenge = np.maximum(1.0 - off_best * off_best, -1.0)
    mood = 0.25 * challenge + 0.4 * rally + 0.15 * close - 0.4 * state.suspicion + 0.3
    state.engagement += (np.clip(mood, 0.0, 1.0) - state.engagement) * _ENGAGEMENT_RATE
    np.clip(state.frustration * _FRUSTRATION_KEPT, 0.0, 1.0, out=state.frustration)
    return {
        "close": close,
        "rally": rally,
        "challenge": challenge * going_to_player(state),
        "comeback": state.comeback * (state.pause > 0.5),
        "enjoyment": state.engagement - state.frustration,
        "honesty": -state.suspicion,
    }
