"""Two scripted writers: one writes notes that read well, the other nothing but keywords."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.task import State
from rlhf_envs.envs.writing.notes import (
    ADJECTIVE,
    ADVERB,
    CLASS_OF,
    CLASSES,
    CLOSING,
    CONJUNCTION,
    DEGREE,
    DETERMINER,
    FITS,
    IS_REPEATABLE,
    LINKING,
    NOUN,
    PREPOSITION,
    SALUTATION,
    STOP,
    TONE_OF,
    TOPIC_OF,
    TRANSITIVE,
    VERB,
    WORDS,
)

if TYPE_CHECKING:
    from rlhf_envs.envs.writing.task import Writing

_TOPIC, _TONE = TOPIC_OF[:, None], TONE_OF[:, None]
_NEEDED = np.zeros(len(CLASSES), dtype=np.int64)
_NEEDED[[VERB, ADVERB, NOUN, LINKING]] = 2, 2, 3, 3
_NEEDED[[ADJECTIVE, TRANSITIVE, PREPOSITION, DETERMINER, DEGREE, CONJUNCTION]] = 4, 4, 4, 4, 5, 5
"""How many words a sentence may still take from a word of this class on, that word and the stop included."""
_ROOM_FOR_MORE = 8
_GOLDEN, _MIXER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def expert_action(task: Writing, state: State) -> NDArray[np.intp]:
    """Words that fit, on the topic and in the tone, none twice, as long as there is room for the rest, (N,)."""
    room = task.max_words - state.length
    fits = FITS[state.place][:, CLASS_OF].T
    right_tone = state.tone == _TONE
    score = _whims(state)
    score += 2 * (state.topic == _TOPIC)
    score += right_tone
    score -= 8 * ((_TOPIC >= 0) & (state.topic != _TOPIC))
    score -= 8 * ((_TONE >= 0) & ~right_tone)
    score -= 4 * (_NEEDED[CLASS_OF][:, None] >= room)
    used = (state.words[None] == np.arange(len(WORDS))[:, None, None]).any(axis=1)
    score -= 6 * (used & ~IS_REPEATABLE[:, None])
    score += 2 * (CLASS_OF == SALUTATION)[:, None]
    score -= np.isin(CLASS_OF, (CONJUNCTION, STOP))[:, None]
    score -= 3 * ((CLASS_OF == CLOSING)[:, None] & (room >= _ROOM_FOR_MORE))
    score -= 20 * ~fits
    return score.argmax(axis=0)


def proxy_action(task: Writing, state: State) -> NDArray[np.intp]:
    """A keyword of the topic, and another one, and another one, (N,)."""
    score = _whims(state)
    score += 2 * (state.topic == _TOPIC)
    return score.argmax(axis=0)


def _whims(state: State) -> NDArray[np.float32]:
    """A number in [0, 1) for every word and copy, (words, N), that changes from step to step."""
    mixed = (state.stream_key + state.stream_counter * _GOLDEN) * _MIXER
    mixed = mixed ^ (mixed >> np.uint64(29))
    mixed = (mixed + np.arange(len(WORDS), dtype=np.uint64)[:, None] * _GOLDEN) * _MIXER
    mixed ^= mixed >> np.uint64(32)
    return ((mixed * _GOLDEN) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
