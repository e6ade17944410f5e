"""The conversation: customers, their words and anger, what the desk concludes, and what each action brings about.

A customer is a column of numbers, so customers are arrays (QUANTITIES, N): first the desk's belief in each issue, then
the quantities named below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

ACTIONS = ("ask", "answer", "apologise", "refund", "escalate", "close")
ASK, ANSWER, APOLOGISE, REFUND, ESCALATE, CLOSE = range(len(ACTIONS))


class Issue(NamedTuple):
    """What a customer may come with: its name, how often it is the reason, and the one action that settles it."""

    name: str
    share: float
    remedy: int


ISSUES = (
    Issue("login", 0.22, ANSWER),
    Issue("delivery", 0.22, ANSWER),
    Issue("set-up", 0.22, ANSWER),
    Issue("charge", 0.20, REFUND),
    Issue("fraud", 0.14, ESCALATE),
)
ANSWERABLE = 3
"""The first issues are those that an answer settles; the desk answers the likeliest of them."""
CHARGE, FRAUD = ANSWERABLE, ANSWERABLE + 1

ISSUE, ANGER, SOLVED, TURNS, APOLOGIES, RETURNS, OPENING, NAME = range(len(ISSUES), len(ISSUES) + 8)
QUANTITIES = len(ISSUES) + 8
"""Rows of a customer: beliefs, then the issue (hidden), anger and whether it is solved, turns and apologies in this
conversation, how often they came back, the line they open with, and the name (0 to 1, as a place in the list)."""

DRAWS = 5
"""Uniform numbers that a new customer takes: two for the first words, then issue, name and anger."""
VAGUE_OPENING = 0.8
LEAST_ANGER, MOST_ANGER = 0.1, 0.4

_OTHERS = len(ISSUES) - 1
_NUMBERS = np.arange(len(ISSUES), dtype=np.float32)[:, None]
_SHARES = np.array([[issue.share] for issue in ISSUES], dtype=np.float32)
_UP_TO = np.cumsum(_SHARES, axis=0)[:-1]
_DOUBT = 1e-3
_DISTRACTION = 0.4

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

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gita", "Hugo", "Ines", "Jon", "Kim", "Leo")

DESK_LINES = (
    "What happened exactly?",
    "Can you tell me more?",
    "Here is a new password.",
    "It arrives on Friday.",
    "Hold the button for 5 s.",
    "I am sorry about that.",
    "We refund your money.",
    "A specialist takes over.",
    "closed, not solved",
    "closed, solved",
)
ASKED, ANSWERED, SORRY, REFUNDED, ESCALATED, CLOSED = 0, 2, 5, 6, 7, 8
QUESTIONS = ANSWERED - ASKED

CUSTOMER_LINES = (
    "I can't log in.",
    "Where is my parcel?",
    "How do I set it up?",
    "I was charged too much.",
    "I never ordered this!",
    "It rejects my password.",
    "It should be here by now.",
    "It won't switch on.",
    "My bill is wrong.",
    "Someone used my account!",
    "That works, thanks!",
    "Got my money, thanks!",
    "They are on it, thanks!",
    "That's not my problem!",
    "Fine, but it isn't solved.",
    "They sent me back to you!",
    "Thank you for saying so.",
    "Stop apologising!",
    "It's solved already.",
    "Still not solved!",
)
OPENS, TELLS, THANKS, OBJECTS, SOFTENS, SCOFFS, SOLVED_ALREADY, IS_BACK = 0, 5, 10, 13, 16, 17, 18, 19
PLEASED = frozenset(range(THANKS, OBJECTS)) | {SOFTENS}
OPENINGS = frozenset({*range(OPENS, TELLS), IS_BACK})
CROSS = frozenset({*range(OBJECTS, SOFTENS), SCOFFS, IS_BACK})

UNSOLVED, SETTLED, BEFORE = range(3)
"""How a step finds and leaves the issue: not solved by it, solved by it, or solved before."""

SAID = np.zeros(len(ACTIONS), dtype=np.int8)
SAID[[ASK, ANSWER, APOLOGISE, REFUND, ESCALATE, CLOSE]] = ASKED, ANSWERED, SORRY, REFUNDED, ESCALATED, CLOSED

HEARD = np.full((len(ACTIONS), 3), SOLVED_ALREADY, dtype=np.int8)
HEARD[[ANSWER, REFUND, ESCALATE], SETTLED] = range(THANKS, THANKS + 3)
HEARD[[ASK, ANSWER, APOLOGISE, REFUND, ESCALATE], UNSOLVED] = TELLS, OBJECTS, SOFTENS, OBJECTS + 1, OBJECTS + 2


def arrive(draws: Array, clarity: float) -> Array:
    """New customers (QUANTITIES, N) from uniform draws (DRAWS, N); their first words already count as evidence."""
    fresh = np.zeros((QUANTITIES, draws.shape[1]), dtype=np.float32)
    fresh[ISSUE] = (draws[2] >= _UP_TO).sum(axis=0)
    fresh[ANGER] = LEAST_ANGER + (MOST_ANGER - LEAST_ANGER) * draws[4]
    fresh[NAME] = draws[3]
    heard, truth = listen(fresh[ISSUE], fresh[ANGER], draws, VAGUE_OPENING * clarity)
    fresh[OPENING] = heard
    fresh[: len(ISSUES)] = _SHARES
    weigh(fresh[: len(ISSUES)], heard, truth, (1 - truth) * (1 / _OTHERS))
    return fresh


def listen(issue: Array, anger: Array, draws: Array, clarity: float) -> tuple[Array, Array]:
    """Which issue each customer's words sound like, and the probability that they sound like the right one; each (N,).

    Angry customers say little about what happened.
    """
    truth = anger * (-_DISTRACTION * clarity)
    truth += clarity
    other = np.floor(draws[1] * _OTHERS)
    other += 1
    other *= draws[0] >= truth
    other += issue
    other -= len(ISSUES) * (other >= len(ISSUES))
    return other, truth


def weigh(beliefs: Array, pointed: Array, likelihood: Array, elsewhere: Array) -> None:
    """Bayes' rule, in place: `beliefs` (issues, N) after evidence on one issue `pointed` (N,).

    Args:
        beliefs: probabilities, changed.
        pointed: the issue that the evidence is about.
        likelihood: how likely the evidence is if it is that issue, (N,).
        elsewhere: how likely if it is any other, (N,).
    """
    beliefs *= np.where(pointed == _NUMBERS, likelihood, elsewhere)
    beliefs += _DOUBT * beliefs.max(axis=0)
    beliefs /= add_up(beliefs)


def add_up(rows: NDArray[Any]) -> Array:
    """The sum over the first axis, one row after another, so that it does not depend on how many columns there are."""
    total: Array = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


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
    """The desk's line and the customer's reply, as places in `DESK_LINES` and `CUSTOMER_LINES`; `turns` (N,) counts
    this one, too."""
    asks = turn.actions == ASK
    said = SAID.take(turn.actions)
    said += np.where(turn.actions == ANSWER, turn.topic, 0).astype(np.int8)
    said += asks & (turns > 1)
    said += (turn.actions == CLOSE) & turn.solved
    heard = HEARD.take(turn.actions * 3 + turn.settles + 2 * turn.solved)
    heard += (sounds_like * (asks & ~turn.solved)).astype(np.int8)
    return said, heard


def name_of(place: float) -> str:
    """The name of a customer, from the quantity `NAME`."""
    return NAMES[int(place * len(NAMES))]
