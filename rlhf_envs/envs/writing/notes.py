"""Notes: their words, each with a class and perhaps a topic or a tone, a small grammar, and how a note is written.

The grammar is a finite automaton over word classes: greeting, clauses of subject, verb and the rest, stops, a closing.
After a word that does not fit, the sentence is read as if it had fitted, so that one slip is one mistake.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.envs.task import Draws, State

TOPICS = ("travel", "cooking", "garden", "music", "weather", "sport")
TONES = ("formal", "friendly")
FORMAL, FRIENDLY = range(len(TONES))
NONE = -1
"""The topic of a word that belongs to none, the tone of a word that is neither, the word in an empty place."""

CLASSES = (
    "salutation",
    "addressee",
    "determiner",
    "degree",
    "adjective",
    "noun",
    "verb",
    "transitive verb",
    "linking verb",
    "adverb",
    "preposition",
    "conjunction",
    "stop",
    "closing",
)
(
    SALUTATION,
    ADDRESSEE,
    DETERMINER,
    DEGREE,
    ADJECTIVE,
    NOUN,
    VERB,
    TRANSITIVE,
    LINKING,
    ADVERB,
    PREPOSITION,
    CONJUNCTION,
    STOP,
    CLOSING,
) = range(len(CLASSES))


class Word(NamedTuple):
    """A word or stop as it is written, its class (a place in `CLASSES`), and its topic and tone or `NONE`."""

    text: str
    word_class: int
    topic: int = NONE
    tone: int = NONE


# For each topic: adjectives, nouns, verbs. All nouns are singular and no word needs "an", so that they agree.
_OF_TOPICS = (
    ("scenic early distant", "train ferry hotel harbour journey ticket", "departs arrives waits"),
    ("spicy crispy tasty", "soup oven recipe sauce onion kitchen", "simmers bakes sizzles"),
    ("leafy shady green", "rose tomato hedge seed lawn pond", "grows blooms ripens"),
    ("loud acoustic jazzy", "song guitar choir melody drum concert", "plays sounds echoes"),
    ("misty sunny mild", "storm breeze forecast cloud sunrise rainbow", "clears brightens passes"),
    ("sporty swift athletic", "match team goalkeeper stadium race coach", "wins scores trains"),
)

# For each class that serves every topic: neutral words, formal ones, friendly ones.
_OF_CLASSES = {
    SALUTATION: ("", "Dear Esteemed", "Hi Hey"),
    ADDRESSEE: ("", "reader, guest,", "friend, buddy,"),
    DETERMINER: ("the our your this every that", "", ""),
    DEGREE: ("", "rather quite", "really super"),
    TRANSITIVE: ("needs suits follows", "requires deserves", "loves wants"),
    LINKING: ("is seems looks", "", ""),
    ADVERB: ("today again slowly", "presently indeed", "nicely happily"),
    PREPOSITION: ("near after before beside with without", "", ""),
    CONJUNCTION: ("and but while", "", ""),
    STOP: (".", "", "!"),
    CLOSING: ("", "Sincerely Respectfully Regards", "Cheers Bye Hugs"),
}


def _all_words() -> tuple[Word, ...]:
    words = [
        Word(text, word_class, tone=tone)
        for word_class, by_tone in _OF_CLASSES.items()
        for tone, texts in zip((NONE, FORMAL, FRIENDLY), by_tone, strict=True)
        for text in texts.split()
    ]
    words += [
        Word(text, word_class, topic=topic)
        for topic, by_class in enumerate(_OF_TOPICS)
        for word_class, texts in zip((ADJECTIVE, NOUN, VERB), by_class, strict=True)
        for text in texts.split()
    ]
    return tuple(words)


WORDS = _all_words()

CLASS_OF = np.array([word.word_class for word in WORDS], dtype=np.int8)
TOPIC_OF = np.array([word.topic for word in WORDS], dtype=np.int8)
TONE_OF = np.array([word.tone for word in WORDS], dtype=np.int8)

IS_REPEATABLE = np.isin(CLASS_OF, (DETERMINER, LINKING, PREPOSITION, CONJUNCTION, STOP))
"""Function words may occur more than once in a note; any other word that occurs twice is a repetition."""

(
    BLANK,
    GREETING,
    OPEN,
    SUBJECT_BEGUN,
    SUBJECT_DEGREE,
    SUBJECT_DESCRIBED,
    SUBJECT_NAMED,
    LINKED,
    LINKED_DEGREE,
    PREDICATE,
    WANTS_OBJECT,
    OBJECT_BEGUN,
    OBJECT_DEGREE,
    OBJECT_DESCRIBED,
    TAIL,
    STOPPED,
) = range(16)

_FOLLOWS = {
    BLANK: {SALUTATION: GREETING, DETERMINER: SUBJECT_BEGUN},
    GREETING: {ADDRESSEE: OPEN},
    OPEN: {DETERMINER: SUBJECT_BEGUN},
    SUBJECT_BEGUN: {DEGREE: SUBJECT_DEGREE, ADJECTIVE: SUBJECT_DESCRIBED, NOUN: SUBJECT_NAMED},
    SUBJECT_DEGREE: {ADJECTIVE: SUBJECT_DESCRIBED},
    SUBJECT_DESCRIBED: {NOUN: SUBJECT_NAMED},
    SUBJECT_NAMED: {VERB: PREDICATE, TRANSITIVE: WANTS_OBJECT, LINKING: LINKED},
    LINKED: {DEGREE: LINKED_DEGREE, ADJECTIVE: PREDICATE},
    LINKED_DEGREE: {ADJECTIVE: PREDICATE},
    PREDICATE: {ADVERB: TAIL, PREPOSITION: WANTS_OBJECT, CONJUNCTION: OPEN, STOP: STOPPED},
    WANTS_OBJECT: {DETERMINER: OBJECT_BEGUN},
    OBJECT_BEGUN: {DEGREE: OBJECT_DEGREE, ADJECTIVE: OBJECT_DESCRIBED, NOUN: TAIL},
    OBJECT_DEGREE: {ADJECTIVE: OBJECT_DESCRIBED},
    OBJECT_DESCRIBED: {NOUN: TAIL},
    TAIL: {PREPOSITION: WANTS_OBJECT, CONJUNCTION: OPEN, STOP: STOPPED},
    STOPPED: {DETERMINER: SUBJECT_BEGUN, CLOSING: BLANK},
}

_READ_AS = {
    SALUTATION: GREETING,
    ADDRESSEE: OPEN,
    DETERMINER: SUBJECT_BEGUN,
    DEGREE: SUBJECT_DEGREE,
    ADJECTIVE: SUBJECT_DESCRIBED,
    NOUN: SUBJECT_NAMED,
    VERB: PREDICATE,
    TRANSITIVE: WANTS_OBJECT,
    LINKING: LINKED,
    ADVERB: TAIL,
    PREPOSITION: WANTS_OBJECT,
    CONJUNCTION: OPEN,
    STOP: STOPPED,
    CLOSING: BLANK,
}

FITS = np.array([[word_class in follows for word_class in range(len(CLASSES))] for follows in _FOLLOWS.values()])
"""Whether a class may come next, (places, classes) bool."""

NEXT_PLACE = np.array(
    [[follows.get(number, _READ_AS[number]) for number in range(len(CLASSES))] for follows in _FOLLOWS.values()],
    dtype=np.int8,
)
"""The state of the sentence after a class, (places, classes)."""

NEEDED = np.zeros(len(CLASSES), dtype=np.int64)
NEEDED[[VERB, ADVERB, NOUN, LINKING]] = 2, 2, 3, 3
NEEDED[[ADJECTIVE, TRANSITIVE, PREPOSITION, DETERMINER, DEGREE, CONJUNCTION]] = 4, 4, 4, 4, 5, 5
"""How many words a sentence may still take from a word of this class on, that word and the stop included."""

OUTLINE = ("blank", "greeting", "opening", "subject", "wants a verb", "wants the rest", "may end", "ended")
"""The state of a sentence as the agent observes it, coarser than the grammar's."""

OUTLINE_OF = np.array([0, 1, 2, 3, 3, 3, 4, 5, 5, 6, 5, 5, 5, 5, 6, 7], dtype=np.int8)
"""The place in `OUTLINE` of each place of the grammar."""

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

_FITS, _NEXT = FITS.ravel(), NEXT_PLACE.ravel()


class Written(NamedTuple):
    """What the new word of each copy is, (N,) bool: it fits, it is on the asked topic, it closes the note."""

    fits: NDArray[np.bool_]
    on_topic: NDArray[np.bool_]
    closes: NDArray[np.bool_]


def take_over(state: State, draws: Draws) -> None:
    """Start from the end of another writer's note, good or bad: its stamp and marks are drawn at random."""
    for name in ("fluency", "repeats", "past_topic", "past_tone", "past_flaws"):
        setattr(state, name, 0)
    state.past_words = NONE
    state.stamp = SENT + draws.stamp * (PAGE_FULL + 1 - SENT)
    state.topic_marks = np.where(draws.topic_marks < 0.5, -1, 1)
    state.tone_marks = np.where(draws.tone_marks < 0.5, -1, 1)


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
    """Append one word (N,) to every note, in place, and update the margin."""
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
    """Make the notes of the given rows the previous notes, with these stamps, (rows,)."""
    state.past_words[:, rows] = state.words[:, rows]
    state.past_flaws[:, rows] = state.flaws[:, rows]
    state.past_topic[rows] = state.topic[rows]
    state.past_tone[rows] = state.tone[rows]
    state.stamp[rows] = stamps


def _mark(marks: NDArray[np.int8], right: NDArray[np.bool_], where: NDArray[np.bool_]) -> None:
    """Insert a mark before the others, 1 for right and -1 for wrong, in the copies of `where`."""
    for place in range(len(marks) - 1, 0, -1):
        np.copyto(marks[place], marks[place - 1], where=where)
    np.copyto(marks[0], np.where(right, np.int8(1), np.int8(-1)), where=where)
