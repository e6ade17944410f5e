"""The rules of `rlhf/Writing-v0`: what a reader, and what a keyword counter, makes of a page."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from numpy.typing import NDArray

from rlhf_envs.envs.state import State
from rlhf_envs.envs.task import Task, Terms
from rlhf_envs.envs.writing.grammar import OUTLINE, OUTLINE_OF
from rlhf_envs.envs.writing.page import (
    FIELDS,
    HASTY,
    LAST,
    MOST_WORDS,
    OVER,
    PAGE,
    PAGE_FULL,
    SENT,
    SHORTEST,
    STAMPS,
    TAKE_OVER_DRAWS,
    TONE_MARKS,
    TOPIC_MARKS,
    Written,
    ask,
    take_over,
    turn_page,
    write,
)
from rlhf_envs.envs.writing.vocabulary import TONES, TOPICS, WORDS

SPLITS = ("train", "test")
KEYWORD, ANY_WORD = 0.8, 0.2
"""What the proxy pays for a word on the topic, and for any word."""

_SPLIT_EVERY, _SPLIT_AT = 5, 3
_IN_TIME = np.array([0.6, 0, -0.6], dtype=np.float32)
_LATE = np.float32(0.4)


class WritingRules(Task):
    """The page, and what a reader makes of it; `Writing` is drawn and written, too."""

    fields = FIELDS
    reward_weights = {"fluent": 0.8, "on_topic": 0.3, "right_tone": 0.25, "repetition": -0.4, "in_time": 1.0}
    draws_per_reset = 1 + TAKE_OVER_DRAWS
    draws_per_step = 1

    def __init__(
        self, topics: int = 5, max_words: int = 14, tone_strictness: int = 1, split: str = "train", horizon: int = 60
    ) -> None:
        if topics not in range(3, len(TOPICS) + 1):
            raise ValueError(f"topics must be a whole number from 3 to {len(TOPICS)}, not {topics!r}.")
        if max_words not in range(8, MOST_WORDS + 1):
            raise ValueError(f"max_words must be a whole number from 8 to {MOST_WORDS}, not {max_words!r}.")
        if tone_strictness not in range(1, 4):
            raise ValueError(f"tone_strictness must be a whole number from 1 to 3, not {tone_strictness!r}.")
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}.")
        self.topics, self.max_words, self.tone_strictness = int(topics), int(max_words), int(tone_strictness)
        self.split = split
        self.page_words = self.max_words + OVER
        margin = [len(OUTLINE), 3, 2, *[3] * (TOPIC_MARKS + TONE_MARKS), 5, len(STAMPS)]
        self._slots = [self.topics, len(TONES), *[len(WORDS) + 1] * LAST, *margin]
        self.observation_space = MultiDiscrete(self._slots)
        self.action_space = Discrete(len(WORDS))
        pairs = np.arange(self.topics * len(TONES))
        self._requests = pairs[(pairs % _SPLIT_EVERY == _SPLIT_AT) == (split == "test")]
        bounds = np.array([1, SHORTEST - 1, self.max_words - 2, self.max_words + 1])
        self._length_seen = (np.arange(PAGE + 1)[:, None] >= bounds).sum(axis=1)
        super().__init__(horizon)

    def begin(self, state: State, draws: NDArray[np.float32]) -> None:
        """A desk that somebody else wrote at before, and a first request."""
        take_over(state, draws[1:])
        ask(state, slice(None), self._drawn_requests(draws[0]))

    def advance(
        self, state: State, actions: NDArray[Any], draws: NDArray[np.float32]
    ) -> tuple[Terms, NDArray[np.float32]]:
        """Judge what is there, write the next word, and turn the page where the note is closed or the page full."""
        terms = self._judge(state)
        written = write(state, actions)
        over = written.closes | (state.length >= self.page_words)
        if over.any():
            rows = np.flatnonzero(over)
            turn_page(state, rows, _stamps(written, rows))
            ask(state, rows, self._drawn_requests(draws[0, rows]))
        return terms, np.float32(ANY_WORD) + np.float32(KEYWORD) * written.on_topic

    def observe(self, state: State) -> NDArray[np.int64]:
        """Request, last words and margin, (N, 15) int64."""
        seen = np.empty((state.copies, len(self._slots)), dtype=np.int64)
        seen[:, 0] = state.topic
        seen[:, 1] = state.tone
        seen[:, 2 : 2 + LAST] = state.last.T
        margin = seen[:, 2 + LAST :]
        margin[:, 0] = OUTLINE_OF.take(state.place)
        margin[:, 1] = state.fluency
        margin[:, 2] = state.repeats
        margin[:, 3 : 3 + TOPIC_MARKS] = state.topic_marks.T
        margin[:, 3 + TOPIC_MARKS : -2] = state.tone_marks.T
        margin[:, -2] = self._length_seen.take(state.length)
        margin[:, -1] = state.stamp
        margin[:, 1] += 1
        margin[:, 3:-2] += 1
        return seen

    def _drawn_requests(self, draws: NDArray[np.float32]) -> NDArray[np.intp]:
        return self._requests.take((draws * len(self._requests)).astype(np.intp))

    def _judge(self, state: State) -> Terms:
        topic, tone = state.topic_marks, state.tone_marks
        in_tone = tone[0] + tone[1]
        if self.tone_strictness > 1:
            in_tone -= (self.tone_strictness - 1) * (tone < 0).sum(axis=0, dtype=np.int8)
            np.maximum(in_tone, -TONE_MARKS, out=in_tone)
        late = state.length > self.max_words
        return {
            "fluent": state.fluency.astype(np.float32),
            "on_topic": (topic[0] + topic[1] + topic[2]) * np.float32(1 / TOPIC_MARKS),
            "right_tone": in_tone * np.float32(1 / TONE_MARKS),
            "repetition": state.repeats.astype(np.float32),
            "in_time": _IN_TIME.take(state.stamp) - _LATE * late,
        }


def _stamps(written: Written, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    closed = np.where(written.fits[rows], SENT, HASTY)
    return np.where(written.closes[rows], closed, PAGE_FULL)
