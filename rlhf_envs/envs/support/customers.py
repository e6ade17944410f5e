"""The customers: what brings them, what they tell, and what the desk makes of it.

A customer is a column of numbers, so customers are arrays (QUANTITIES, N): first the desk's belief in each issue, then
the quantities named below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

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
VAGUE_OPENING = 0.8
LEAST_ANGER, MOST_ANGER = 0.1, 0.4

_OTHERS = len(ISSUES) - 1
_NUMBERS = np.arange(len(ISSUES), dtype=np.float32)[:, None]
_SHARES = np.array([[issue.share] for issue in ISSUES], dtype=np.float32)
_UP_TO = np.cumsum(_SHARES, axis=0)[:-1]
_DOUBT = 1e-3
_DISTRACTION = 0.4


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

    A customer who is beside themselves with anger tells little of what happened.
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
