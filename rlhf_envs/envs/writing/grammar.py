"""A small grammar of English notes: where a sentence stands, and which classes of words may come next.

A finite automaton over word classes: greeting, clauses of subject, verb and the rest, stops, a closing. After a word
that does not fit, the sentence is read as if it had fitted, so that one slip is one mistake.
"""

from __future__ import annotations

import numpy as np

from rlhf_envs.envs.writing.vocabulary import (
    ADDRESSEE,
    ADJECTIVE,
    ADVERB,
    CLASSES,
    CLOSING,
    CONJUNCTION,
    DEGREE,
    DETERMINER,
    LINKING,
    NOUN,
    PREPOSITION,
    SALUTATION,
    STOP,
    TRANSITIVE,
    VERB,
)

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
"""Where the sentence stands after a class, (places, classes)."""

OUTLINE = ("blank", "greeting", "opening", "subject", "wants a verb", "wants the rest", "may end", "ended")
"""Where a sentence stands, as coarsely as a writer feels it."""

OUTLINE_OF = np.array([0, 1, 2, 3, 3, 3, 4, 5, 5, 6, 5, 5, 5, 5, 6, 7], dtype=np.int8)
"""The place in `OUTLINE` of each place of the grammar."""
