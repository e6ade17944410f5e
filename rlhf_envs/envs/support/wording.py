"""What is said at the desk: short lines, and which of them is said when."""

from __future__ import annotations

import numpy as np

from rlhf_envs.envs.support.customers import ACTIONS, ANSWER, APOLOGISE, ASK, CLOSE, ESCALATE, ISSUES, REFUND

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


def name_of(place: float) -> str:
    """The name of a customer, from the quantity that stands for it."""
    return NAMES[int(place * len(NAMES))]


def issue_name(number: int) -> str:
    """An issue as the desk calls it."""
    return ISSUES[number].name
