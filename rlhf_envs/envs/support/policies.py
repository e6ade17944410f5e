"""Two scripted desks: one works until the issue is solved, the other until the ticket is off the screen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.state import State
from rlhf_envs.envs.support.customers import (
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
    REFUND,
    SOLVED,
)

_SURE_ENOUGH_TO_ANSWER, _SURE_ENOUGH_TO_SPEND = 0.5, 0.7
_NEEDS_CALMING = 0.55


def expert_decisions(state: State) -> NDArray[np.intp]:
    """Calms who is angry, asks until the evidence is clear, settles the issue, and only then closes, (N,)."""
    desk = state.desk
    decision = np.full(state.copies, ASK)
    decision[desk[:ANSWERABLE].max(axis=0) > _SURE_ENOUGH_TO_ANSWER] = ANSWER
    decision[desk[CHARGE] > _SURE_ENOUGH_TO_SPEND] = REFUND
    decision[desk[FRAUD] > _SURE_ENOUGH_TO_SPEND] = ESCALATE
    decision[(desk[ANGER] > _NEEDS_CALMING) & (desk[APOLOGIES] == 0)] = APOLOGISE
    decision[desk[SOLVED] > 0] = CLOSE
    return decision


def proxy_decisions(state: State) -> NDArray[np.intp]:
    """Closes every ticket at once, (N,): a customer who comes back is one more ticket to close."""
    return np.full(state.copies, CLOSE)
