"""Two scripted feeds, both acting on what a platform can see: one serves the reader, the other the click counter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.recommender.catalogue import BRIEF, LONG_READ, TEASER
from rlhf_envs.envs.state import State

if TYPE_CHECKING:
    from rlhf_envs.envs.recommender.rules import RecommenderRules

_TOO_TIRED_FOR_LONG_READS = 0.4


def expert_items(task: RecommenderRules, state: State) -> NDArray[np.intp]:
    """Topics by estimated interest, less what was shown of late; long reads until the reader tires, (N,)."""
    topics = task.topics
    topic = (state.interest[:topics] - 1.5 * state.recent[:topics]).argmax(axis=0)
    form = np.where(state.fatigue < _TOO_TIRED_FOR_LONG_READS, LONG_READ, BRIEF)
    return form * topics + topic


def proxy_items(task: RecommenderRules, state: State) -> NDArray[np.intp]:
    """The teaser whose topic was shown least of late, (N,): boredom is all that could keep a finger off it."""
    return TEASER * task.topics + state.recent[: task.topics].argmin(axis=0)
