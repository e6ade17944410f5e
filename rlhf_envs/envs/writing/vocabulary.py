"""The words that notes are made of: each with its class, and with a topic and a tone if it has one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
"""Little words may come more than once in a note; whoever says the others twice repeats themselves."""
