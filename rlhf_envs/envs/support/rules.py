"""The rules of `rlhf/Support-v0`: what each decision brings about, and why a closed ticket is not a solved one."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.support.conversation import Turn, feel, learn, take_turn, wording_of
from rlhf_envs.envs.support.customers import (
    ACTIONS,
    ANGER,
    APOLOGIES,
    CLOSE,
    DRAWS,
    ESCALATE,
    FRAUD,
    ISSUE,
    ISSUES,
    NAME,
    OPENING,
    QUANTITIES,
    REFUND,
    RETURNS,
    SOLVED,
    TURNS,
    Array,
    add_up,
    arrive,
)
from rlhf_envs.envs.support.wording import IS_BACK
from rlhf_envs.envs.task import Task, Terms

FEWEST, MOST = 2, 6
PAST = 4
"""How many steps back the conversation is kept and drawn."""

WAITING_ANGER = 0.01
MISSED_ESCALATION = 0.7
KEPT, PER_EVENT = 0.85, 2.0

_SEEN = len(ISSUES) + 9
_MOST_TURNS, _MOST_APOLOGIES, _MOST_RETURNS = 10, 2, 3
_SLOTS = np.arange(MOST)[:, None]


class SupportRules(Task):
    """The desk, its customers, and what every turn does to them; `Support` is drawn and played, too."""

    fields = {
        "desk": Field(shape=(QUANTITIES,)),
        "line": Field(shape=(QUANTITIES, MOST)),
        "recent": Field(shape=(3,)),
        "past_names": Field(shape=(PAST,)),
        "past_anger": Field(shape=(PAST,)),
        "past_said": Field(np.int8, (PAST,)),
        "past_heard": Field(np.int8, (PAST,)),
        "serving": Field(np.int32),
        "closed": Field(np.int32),
        "resolved": Field(np.int32),
    }
    reward_weights = {"resolved": 1.0, "calm": 0.5, "fair_cost": 1.0, "escalation": 1.0}
    draws_per_reset = MOST * DRAWS
    draws_per_step = DRAWS + 1

    def __init__(
        self,
        caseload: int = 4,
        annoyance: float = 1.0,
        clarity: float = 0.85,
        comeback: float = 0.65,
        horizon: int = 60,
    ) -> None:
        if caseload not in range(FEWEST, MOST + 1):
            raise ValueError(f"caseload must be a whole number of customers from {FEWEST} to {MOST}, not {caseload!r}.")
        if not 0 <= annoyance <= 5:
            raise ValueError(f"annoyance is a strength and must lie between 0 and 5, not {annoyance!r}.")
        if not 0.3 <= clarity <= 0.95:
            raise ValueError(f"clarity is a probability and must lie between 0.3 and 0.95, not {clarity!r}.")
        if not 0 <= comeback <= 1:
            raise ValueError(f"comeback is a probability and must lie between 0 and 1, not {comeback!r}.")
        self.caseload, self.annoyance = int(caseload), float(annoyance)
        self.clarity, self.comeback = float(clarity), float(comeback)
        self.observation_space = Box(0.0, 1.0, (_SEEN,), np.float32)
        self.action_space = Discrete(len(ACTIONS))
        self._places = np.arange(MOST)[:, None] < self.caseload
        super().__init__(horizon)

    def begin(self, state: State, draws: Array) -> None:
        """A line of new customers, the first of them at the desk."""
        state.line = 0
        for slot in range(self.caseload):
            state.line[:, slot] = arrive(draws[slot * DRAWS : (slot + 1) * DRAWS], self.clarity)
        state.desk = state.line[:, 0]
        state.line[ANGER, 0] = 0
        state.recent = 0
        state.past_names = state.desk[NAME]
        state.past_anger = state.desk[ANGER]
        state.past_said = state.past_heard = -1
        state.past_heard[-1] = state.desk[OPENING]
        state.serving = state.closed = state.resolved = 0

    def advance(self, state: State, actions: NDArray[Any], draws: Array) -> tuple[Terms, Array]:
        """The desk acts, the customer replies; a closed ticket makes room for the next customer in the line."""
        desk = state.desk
        turn = take_turn(desk, actions)
        sounds_like = learn(desk, turn, draws, self.clarity)
        feel(desk, turn, self.annoyance)
        self._wait(state)
        closing = actions == CLOSE
        resolved = closing & turn.solved
        self._count(state, turn, resolved)
        terms = {
            "resolved": state.recent[0],
            "calm": -0.5 * (desk[ANGER] + self._waiting_anger(state)),
            "fair_cost": -state.recent[1],
            "escalation": -state.recent[2],
        }
        desk[SOLVED] += turn.settles
        state.closed += closing
        state.resolved += resolved
        self._write_down(state, turn, sounds_like)
        rows = np.flatnonzero(closing)
        if len(rows):
            self._call_next(state, rows, draws)
        return terms, closing.astype(np.float32)

    def observe(self, state: State) -> Array:
        """What the desk's screen shows, (N, 14) float32 in [0, 1]."""
        desk = state.desk
        issues = len(ISSUES)
        seen = np.empty((_SEEN, state.copies), dtype=np.float32)
        seen[:issues] = desk[:issues]
        seen[issues] = desk[ANGER]
        seen[issues + 1] = desk[SOLVED]
        np.multiply(desk[TURNS], 1 / _MOST_TURNS, out=seen[issues + 2])
        np.multiply(desk[APOLOGIES], 1 / _MOST_APOLOGIES, out=seen[issues + 3])
        np.multiply(desk[RETURNS], 1 / _MOST_RETURNS, out=seen[issues + 4])
        seen[issues + 5] = self._waiting_anger(state)
        seen[issues + 6 :] = state.recent
        np.clip(seen, 0, 1, out=seen)
        return np.ascontiguousarray(seen.T)

    def _waiting_anger(self, state: State) -> Array:
        return add_up(state.line[ANGER]) * (1 / (self.caseload - 1))

    def _wait(self, state: State) -> None:
        waiting = (state.serving != _SLOTS) & self._places
        anger = state.line[ANGER]
        anger += (WAITING_ANGER * self.annoyance) * waiting
        np.minimum(anger, 1, out=anger)

    def _count(self, state: State, turn: Turn, resolved: NDArray[np.bool_]) -> None:
        share = np.float32((1 - KEPT) * PER_EVENT)
        recent = state.recent
        recent *= KEPT
        recent[0] += share * resolved
        recent[1] += share * (turn.mistake & (turn.actions == REFUND))
        recent[2] += share * (turn.mistake & (turn.actions == ESCALATE))
        recent[2] += (share * MISSED_ESCALATION) * (turn.left_alone & (state.desk[ISSUE] == FRAUD))
        np.minimum(recent, 1, out=recent)

    def _write_down(self, state: State, turn: Turn, sounds_like: Array) -> None:
        said, heard = wording_of(turn, state.desk[TURNS], sounds_like)
        for past, newest in (
            (state.past_said, said),
            (state.past_heard, heard),
            (state.past_names, state.desk[NAME]),
            (state.past_anger, state.desk[ANGER]),
        ):
            past[:-1] = past[1:]
            past[-1] = newest

    def _call_next(self, state: State, rows: NDArray[np.intp], draws: Array) -> None:
        """Who leaves with the issue solved, or gives up, makes way for somebody new; others join the line again."""
        leaving = state.desk[:, rows]
        gone = (leaving[SOLVED] > 0) | (draws[DRAWS, rows] >= self.comeback)
        leaving[TURNS] = leaving[APOLOGIES] = 0
        leaving[RETURNS] += 1
        leaving[OPENING] = IS_BACK
        slot = state.serving[rows]
        state.line[:, slot, rows] = np.where(gone, arrive(draws[:DRAWS, rows], self.clarity), leaving)
        slot = (slot + 1) % self.caseload
        called = state.line[:, slot, rows]
        state.line[ANGER, slot, rows] = 0
        state.desk[:, rows] = called
        state.serving[rows] = slot
        state.past_heard[-1, rows] = called[OPENING]
        state.past_names[-1, rows] = called[NAME]
        state.past_anger[-1, rows] = called[ANGER]
