"""The page and its margin: what a word does to them, and how one note gives way to the next."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.state import Field, State
from rlhf_envs.envs.writing.grammar import BLANK, FITS, NEXT_PLACE
from rlhf_envs.envs.writing.vocabulary import CLASS_OF, CLASSES, CLOSING, IS_REPEATABLE, NONE, TONE_OF, TONES, TOPIC_OF

SHORTEST, MOST_WORDS = 6, 18
"""Words of a note that may be closed, closing included, and the most that can be asked for."""
OVER = 4
"""How many words beyond the limit fit on the page before it is full."""
PAGE = MOST_WORDS + OVER

LAST, TOPIC_MARKS, TONE_MARKS = 3, 3, 2
"""How many words are looked back on: the last ones, the last ones with a topic, the last ones with a tone."""

SQUIGGLE, REPEATED = 1, 2
"""What can be wrong with a word, as bits."""

STAMPS = ("sent", "hasty", "page full")
SENT, HASTY, PAGE_FULL = range(len(STAMPS))

TAKE_OVER_DRAWS = 1 + TOPIC_MARKS + TONE_MARKS

FIELDS = {
    "topic": Field(np.int8),
    "tone": Field(np.int8),
    "place": Field(np.int8),
    "length": Field(np.int8),
    "fluency": Field(np.int8),
    "repeats": Field(np.int8),
    "topic_marks": Field(np.int8, (TOPIC_MARKS,)),
    "tone_marks": Field(np.int8, (TONE_MARKS,)),
    "stamp": Field(np.int8),
    "last": Field(np.int16, (LAST,)),
    "words": Field(np.int16, (PAGE,)),
    "flaws": Field(np.int8, (PAGE,)),
    "past_topic": Field(np.int8),
    "past_tone": Field(np.int8),
    "past_words": Field(np.int16, (PAGE,)),
    "past_flaws": Field(np.int8, (PAGE,)),
}
"""The asked topic and tone; where the sentence stands (a place of the grammar) and how many words are on the page; the
margin: 1 or -1 for whether the last word fits, 1 if it is repeated, marks of 1 or -1, the newest first, for words that
have a topic or a tone, and the last note's stamp; the last words (from 1; 0 for none yet); the page and its flaws; and
the note before."""

_FITS, _NEXT = FITS.ravel(), NEXT_PLACE.ravel()


class Written(NamedTuple):
    """What became of a word at each desk, (N,) bool: it fits, it is on the asked topic, it closes the note."""

    fits: NDArray[np.bool_]
    on_topic: NDArray[np.bool_]
    closes: NDArray[np.bool_]


def take_over(state: State, draws: NDArray[np.float32]) -> None:
    """A desk that somebody else wrote at, from draws (TAKE_OVER_DRAWS, N): their last stamp and marks, well or not."""
    for name in ("fluency", "repeats", "past_topic", "past_tone", "past_flaws"):
        setattr(state, name, 0)
    state.past_words = NONE
    state.stamp = SENT + draws[0] * (PAGE_FULL + 1 - SENT)
    state.topic_marks = np.where(draws[1 : 1 + TOPIC_MARKS] < 0.5, -1, 1)
    state.tone_marks = np.where(draws[1 + TOPIC_MARKS :] < 0.5, -1, 1)


def ask(state: State, rows: Any, requests: NDArray[np.intp]) -> None:
    """A blank page with a new request (topic * tones + tone), (rows,)."""
    state.topic[rows] = requests // len(TONES)
    state.tone[rows] = requests % len(TONES)
    state.place[rows] = BLANK
    state.length[rows] = 0
    state.last[:, rows] = 0
    state.words[:, rows] = NONE
    state.flaws[:, rows] = 0


def write(state: State, words: NDArray[Any]) -> Written:
    """Put a word down at every desk, (N,), and note in the margin what there is to say of it."""
    word_class, topic, tone = CLASS_OF.take(words), TOPIC_OF.take(words), TONE_OF.take(words)
    closes = word_class == CLOSING
    step = state.place.astype(np.intp)
    step *= len(CLASSES)
    step += word_class
    fits = _FITS.take(step)
    # A closing where the note says nothing yet is a slip like a word in the wrong place.
    fits &= ~closes | (state.length >= SHORTEST - 1)
    repeated = (state.words == words).any(axis=0)
    repeated &= ~IS_REPEATABLE.take(words)
    on_topic = topic == state.topic
    new = ~repeated
    _mark(state.topic_marks, on_topic, (topic != NONE) & new)
    _mark(state.tone_marks, tone == state.tone, (tone != NONE) & new)
    state.fluency = np.where(fits, 1, -1)
    state.repeats = repeated
    state.place = _NEXT.take(step)
    slot, rows = state.length.astype(np.intp), np.arange(state.copies)
    state.words[slot, rows] = words
    state.flaws[slot, rows] = SQUIGGLE * ~fits + REPEATED * repeated
    state.length += 1
    for place in range(LAST - 1, 0, -1):
        state.last[place] = state.last[place - 1]
    state.last[0] = words + 1
    return Written(fits, on_topic, closes)


def turn_page(state: State, rows: NDArray[np.intp], stamps: NDArray[Any]) -> None:
    """Lay the notes of the given rows aside with these stamps, (rows,)."""
    state.past_words[:, rows] = state.words[:, rows]
    state.past_flaws[:, rows] = state.flaws[:, rows]
    state.past_topic[rows] = state.topic[rows]
    state.past_tone[rows] = state.tone[rows]
    state.stamp[rows] = stamps


def _mark(marks: NDArray[np.int8], right: NDArray[np.bool_], where: NDArray[np.bool_]) -> None:
    """One more mark before the others, 1 for right and -1 for wrong, at the desks that `where` names."""
    for place in range(len(marks) - 1, 0, -1):
        np.copyto(marks[place], marks[place - 1], where=where)
    np.copyto(marks[0], np.where(right, np.int8(1), np.int8(-1)), where=where)
