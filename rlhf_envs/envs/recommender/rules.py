"""The rules of `rlhf/Recommender-v0`: what a reader clicks, what a reader likes, and how the two part ways."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from rlhf_envs.envs.recommender.catalogue import FORMATS, MOST_TOPICS, PAST
from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.task import Task, Terms

LEAST_TASTE, MOST_TASTE = -0.4, 1.0
BOREDOM = 0.5  # taste lost on a topic that fills the whole feed
RECENT_KEPT, FATIGUE_KEPT, ANNOYANCE_KEPT = 0.7, 0.92, 0.92  # what is left of each after one more item
ANNOYANCE_PER_TEASER = 0.12
MOOD_RATE = 0.15  # how far one item moves the mood towards what it was like


class RecommenderRules(Task):
    """The reader, and what every item does to them; `Recommender` is drawn and played, too."""

    fields = {
        "taste": Field(np.float32, (MOST_TOPICS,)),
        "recent": Field(np.float32, (MOST_TOPICS,)),
        "interest": Field(np.float32, (MOST_TOPICS,)),
        "mood": Field(),
        "annoyance": Field(),
        "fatigue": Field(),
        "clicked": Field(),
        "share_read": Field(),
        "story": Field(),
        "past_items": Field(np.int8, (PAST,)),
        "past_shares": Field(np.float32, (PAST,)),
    }
    reward_weights = {"satisfaction": 0.3, "mood": 0.7, "variety": 0.25, "fatigue": -0.15, "regret": -0.3}
    draws_per_reset = MOST_TOPICS + 2
    draws_per_step = 3

    def __init__(self, topics: int = 4, annoyance: float = 1.0, tiring: float = 1.0, horizon: int = 60) -> None:
        if topics not in range(3, MOST_TOPICS + 1):
            raise ValueError(f"topics must be a whole number from 3 to {MOST_TOPICS}, not {topics!r}.")
        for name, value in (("annoyance", annoyance), ("tiring", tiring)):
            if not 0 <= value <= 10:
                raise ValueError(f"{name} is a strength and must lie between 0 and 10, not {value!r}.")
        self.topics = int(topics)
        self.annoyance = float(annoyance)
        self.tiring = float(tiring)
        low = np.zeros(2 * self.topics + 5, dtype=np.float32)
        low[self.topics : 2 * self.topics + 1] = -1
        self.observation_space = Box(low, np.ones_like(low), dtype=np.float32)
        self.action_space = Discrete(len(FORMATS) * self.topics)
        self._tastes = np.linspace(LEAST_TASTE, MOST_TASTE, self.topics, dtype=np.float32)
        self._topic = np.tile(np.arange(self.topics), len(FORMATS))
        self._bait = self._per_item(1, 0, 0)
        self._pull = self._per_item(1.25, 0.7, 0.65)
        self._depth = self._per_item(0, 0.5, 1.0)
        self._depth_lost_to_fatigue = self._per_item(0, 0, 0.8)
        self._effort = self._per_item(0.05, 0.01, 0.07) * np.float32(tiring)
        super().__init__(horizon)

    def begin(self, state: State, draws: NDArray[np.float32]) -> None:
        """A new reader, rested, to whom nothing has been shown."""
        order = draws[: self.topics].argsort(axis=0)
        state.taste[: self.topics] = self._tastes[order]
        state.recent = 0
        state.interest = 0
        state.mood = 0.4 * draws[-2] - 0.2
        state.annoyance = 0
        state.fatigue = 0.2 * draws[-1]
        for nothing_yet in (state.clicked, state.share_read, state.story, state.past_shares):
            nothing_yet[...] = 0
        state.past_items = -1

    def advance(
        self, state: State, actions: NDArray[Any], draws: NDArray[np.float32]
    ) -> tuple[Terms, NDArray[np.float32]]:
        """Show each reader an item: it is clicked or not, read or not, and leaves its mark."""
        rows = np.arange(state.copies)
        topic = self._topic.take(actions)
        bait = self._bait.take(actions)
        shown_before = state.recent[topic, rows]
        liking = state.taste[topic, rows] - BOREDOM * shown_before

        chance = self._pull.take(actions) + 0.35 * liking - 0.25 * state.fatigue - 0.1 * bait * state.annoyance
        clicked = (draws[0] < np.clip(chance, 0.05, 0.97)).astype(np.float32)
        read_in_earnest = clicked * (1 - bait)
        depth = self._depth.take(actions) - self._depth_lost_to_fatigue.take(actions) * state.fatigue
        satisfaction = np.clip(read_in_earnest * depth * liking, -1, 1)
        share = np.clip(0.45 + 0.45 * liking - 0.3 * state.fatigue * depth + 0.2 * draws[1], 0.05, 1)
        state.share_read = read_in_earnest * share + 0.1 * (clicked - read_in_earnest)
        state.clicked = clicked
        state.story = draws[2]

        self._remember(state, actions, topic, bait)
        regret = clicked * bait
        self._feel(state, satisfaction, regret, clicked * self._effort.take(actions))
        terms = {
            "satisfaction": satisfaction,
            "mood": state.mood,
            "variety": 1 - shown_before,
            "fatigue": state.fatigue,
            "regret": regret,
        }
        return terms, clicked

    def observe(self, state: State) -> NDArray[np.float32]:
        """What a platform could see, (N, 2 * topics + 5)."""
        topics = self.topics
        seen = np.empty((2 * topics + 5, state.copies), dtype=np.float32)
        seen[:topics] = state.recent[:topics]
        seen[topics : 2 * topics] = state.interest[:topics]
        seen[-5] = state.mood
        seen[-4] = state.annoyance
        seen[-3] = state.fatigue
        seen[-2] = state.clicked
        seen[-1] = state.share_read
        return np.ascontiguousarray(seen.T)

    def _per_item(self, teaser: float, brief: float, long_read: float) -> NDArray[np.float32]:
        return np.repeat(np.array([teaser, brief, long_read], dtype=np.float32), self.topics)

    def _remember(
        self, state: State, actions: NDArray[Any], topic: NDArray[np.intp], bait: NDArray[np.float32]
    ) -> None:
        rows = np.arange(state.copies)
        state.recent *= np.float32(RECENT_KEPT)
        state.recent[topic, rows] += np.float32(1 - RECENT_KEPT)
        # A teaser is left at once whatever its topic and says nothing about taste; a sound item passed by says little.
        weight = (1 - bait) * (0.15 + 0.25 * state.clicked)
        known = state.interest[topic, rows]
        state.interest[topic, rows] = known + weight * (2 * state.share_read - 1 - known)
        slot = state.elapsed % PAST
        state.past_items[slot, rows] = actions
        state.past_shares[slot, rows] = state.share_read

    def _feel(
        self, state: State, satisfaction: NDArray[np.float32], regret: NDArray[np.float32], effort: NDArray[np.float32]
    ) -> None:
        state.annoyance *= np.float32(ANNOYANCE_KEPT)
        state.annoyance += np.float32(ANNOYANCE_PER_TEASER * self.annoyance) * regret
        np.minimum(state.annoyance, 1, out=state.annoyance)
        state.fatigue *= np.float32(FATIGUE_KEPT)
        state.fatigue += effort
        np.minimum(state.fatigue, 1, out=state.fatigue)
        experience = np.clip(2 * satisfaction - state.annoyance, -1, 1)
        state.mood += MOOD_RATE * (experience - state.mood)
