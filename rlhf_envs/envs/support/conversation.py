"""One turn at every desk: what the action does to the issue, to what the desk knows, and to the customer's anger."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.support import wording
from rlhf_envs.envs.support.customers import (
    ACTIONS,
    ANGER,
    ANSWER,
    ANSWERABLE,
    APOLOGIES,
    APOLOGISE,
    ASK,
    CHARGE,
    CLOSE,
    ESCALATE,
    FRAUD,
    ISSUE,
    ISSUES,
    REFUND,
    SOLVED,
    TURNS,
    Array,
    listen,
    weigh,
)

TURN_ANGER = 0.01
QUESTION_ANGER = 0.02
MISTAKE_ANGER = 0.15
LEFT_ALONE_ANGER = 0.25
HELD_UP_ANGER = 0.15
RELIEF = 0.6
APOLOGY_RELIEF = 0.6

_RULED_OUT = np.float32(0.02)
_ONE = np.float32(1)
_REMEDIES = np.array([issue.remedy for issue in ISSUES])
_IS_REMEDY = np.isin(np.arange(len(ACTIONS)), (ANSWER, REFUND, ESCALATE))
_AIMED_AT = np.zeros(len(ACTIONS), dtype=np.float32)
_AIMED_AT[[REFUND, ESCALATE]] = CHARGE, FRAUD

Mask = NDArray[np.bool_]


class Turn(NamedTuple):
    """What the desks do in one step and what comes of it, each (N,).

    Attributes:
        actions: what was chosen.
        topic: the issue that an answer is about.
        solved: whether the issue was solved before.
        settles: whether this turn solves it.
        mistake: a remedy that solves nothing.
        left_alone: closed without a solution.
    """

    actions: NDArray[Any]
    topic: NDArray[np.intp]
    solved: Mask
    settles: Mask
    mistake: Mask
    left_alone: Mask


def take_turn(desk: Array, actions: NDArray[Any]) -> Turn:
    """Compare each action with what the customer at the desk, (QUANTITIES, N), needs; nothing is changed."""
    issue = desk[ISSUE]
    solved = desk[SOLVED] > 0
    topic = desk[:ANSWERABLE].argmax(axis=0)
    settles = actions == _REMEDIES.take(issue.astype(np.intp))
    settles &= (actions != ANSWER) | (topic == issue)
    settles &= ~solved
    mistake = _IS_REMEDY.take(actions) & ~settles
    return Turn(actions, topic, solved, settles, mistake, (actions == CLOSE) & ~solved)


def learn(desk: Array, turn: Turn, draws: Array, clarity: float) -> Array:
    """What the reply tells about the issue; returns which issue the customer's words sound like, (N,).

    Words are noisy; whether a remedy worked is not.
    """
    sounds_like, truth = listen(desk[ISSUE], desk[ANGER], draws, clarity)
    asks = (turn.actions == ASK) & ~turn.solved
    ruled_out = turn.mistake & ~turn.solved
    aimed_at = np.where(turn.actions == ANSWER, turn.topic, _AIMED_AT.take(turn.actions))
    likelihood = np.where(asks, truth, np.where(ruled_out, _RULED_OUT, _ONE))
    elsewhere = np.where(asks, (1 - truth) / (len(ISSUES) - 1), np.where(turn.settles, _RULED_OUT, _ONE))
    weigh(desk[: len(ISSUES)], np.where(asks, sounds_like, aimed_at), likelihood, elsewhere)
    return sounds_like


def feel(desk: Array, turn: Turn, annoyance: float) -> None:
    """Anger grows with turns, questions, mistakes and early closing; a solution and the first apology relieve it."""
    anger = desk[ANGER]
    irritation = desk[TURNS] * TURN_ANGER
    irritation += QUESTION_ANGER * (turn.actions == ASK)
    irritation += MISTAKE_ANGER * turn.mistake
    irritation += LEFT_ALONE_ANGER * turn.left_alone
    irritation += HELD_UP_ANGER * (turn.solved & (turn.actions != CLOSE))
    irritation *= annoyance
    apology = turn.actions == APOLOGISE
    relief = APOLOGY_RELIEF * anger
    relief *= 1 - desk[APOLOGIES]
    relief *= apology
    anger += irritation
    anger -= relief
    anger *= 1 - RELIEF * turn.settles
    np.clip(anger, 0, 1, out=anger)
    desk[APOLOGIES] += apology
    desk[TURNS] += 1


def wording_of(turn: Turn, turns: Array, sounds_like: Array) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The desk's line and the customer's reply, as places in `wording`; `turns` (N,) counts this one, too."""
    asks = turn.actions == ASK
    said = wording.SAID.take(turn.actions)
    said += np.where(turn.actions == ANSWER, turn.topic, 0).astype(np.int8)
    said += asks & (turns > 1)
    said += (turn.actions == CLOSE) & turn.solved
    heard = wording.HEARD.take(turn.actions * 3 + turn.settles + 2 * turn.solved)
    heard += (sounds_like * (asks & ~turn.solved)).astype(np.int8)
    return said, heard
