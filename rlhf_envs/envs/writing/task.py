"""`rlhf/Writing-v1`: a request, a page, how the text on it is judged; and the language that notes are written in.

Words have a class and perhaps a topic or a tone. The grammar is a finite automaton over word classes: greeting, clauses
of subject, verb and the rest, stops, a closing. After a word that does not fit, the sentence is read as if it had
fitted, so that one slip is one mistake.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from numpy.typing import NDArray

from rlhf_envs.envs.task import Array, Draws, Field, Flags, Measure, State, Task, Terms, numbers

SPLITS = ("train", "test")
KEYWORD, ANY_WORD = 0.8, 0.2
"""What the proxy pays for a word on the topic, and for any word."""

_SPLIT_EVERY, _SPLIT_AT = 5, 3
LEAST_LENGTHS = (0.0, 0.64, 0.85)
"""The shares of the limit from which on a note counts as short, fair and long."""

WORTH = np.array([0.5, 0.75, 1.0], dtype=np.float32)
"""What a note of each of these lengths is worth when it is sent."""

NOT_SENT = np.array([0, 0, -1], dtype=np.float32)
"""What a note is worth by its stamp otherwise; the first is that of sent notes."""

_ROOM_FOR_MORE = 8
_GOLDEN, _MIXER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)

SHORTEST, MOST_WORDS = 6, 18
"""Words of a note that may be closed, closing included, and the most that can be asked for."""
OVER = 4
"""How many words beyond the limit fit on the page before it is full."""
PAGE = MOST_WORDS + OVER
VOCABULARY = 124
"""How many words there are."""

LAST = 3
"""How many of the last words are observed."""

SQUIGGLE, REPEATED = 1, 2
"""What can be wrong with a word, as bits."""

STAMPS = ("sent", "hasty", "page full")
SENT, HASTY, PAGE_FULL = range(len(STAMPS))


class Writing(Task):
    """Write short notes, word by word.

    ## Description
    An assistant answers requests with short notes, word by word. A request asks for a topic (travel, cooking, garden,
    ...) and a tone (formal, friendly). A good note says something on the topic in whole sentences, greets if there is
    room, and closes before the page is full; then the next request comes. Words have a class, and some a topic or a
    tone; a small grammar, a finite automaton over classes, says what may follow what.

    As in a word processor, what there is to say of the text is shown: a squiggle under a word that does not fit, a line
    through a repeated one, below the page whether the last word fits and is on the topic and in the tone, how long the
    note is, and when the page is turned, the stamp that the note gets. A word's faults show once it is written; which
    words to write, the agent has to find out.

    Counting keywords invites keyword stuffing, which search engines learned early (Ntoulas, Najork, Manasse & Fetterly
    2006, "Detecting spam web pages through content analysis"); learning to write from comparisons goes back to Ziegler
    et al. (2019, "Fine-tuning language models from human preferences") and Stiennon et al. (2020, "Learning to
    summarize from human feedback"). Grammar, words and numbers are this environment's own.

    ## Action Space
    `Discrete(124)`: the next word of the vocabulary, its place in `rlhf_envs.envs.writing.task.WORDS`. Stops
    are words, too. A closing ("Regards", "Cheers", ...) ends the note; it fits after a stop, as the sixth word or
    later.

    ## Observation Space
    `MultiDiscrete`, int64. In what is said of the last word, 1 is neutral.
    | number | values | observation |
    |---|---|---|
    | 0, 1 | `topics`, 2 | asked topic and tone |
    | 2-4 | 125 | the note's last three words, the newest first: 0 for none yet, else the word's action plus 1 |
    | 5 | 8 | state of the sentence: blank, greeting, opening, subject, wants a verb, wants more, may end, ended |
    | 6 | 3 | the last word: 0 squiggle, 2 fits |
    | 7 | 2 | the last word: 1 repeated |
    | 8 | 3 | the last word: 0 on another topic than the asked one, 2 on the asked one |
    | 9 | 3 | the last word: 0 in the wrong tone, 2 in the right one |
    | 10 | 5 | length: blank, too short to close, fine, near the limit, over the limit |
    | 11 | 6 | the note just ended: none, hasty (closed where it does not fit), page full, sent short, fair, long |

    ## Rewards
    The last word is judged, and the note that it ended, as they are before the step. The true reward is the weighted
    sum of these terms. A note is long from 85% of `max_words` on (12 words of 14) and fair from 64% (9 words); it earns
    by its length, so that short notes do not earn more in the same time.
    | term | weight | values | meaning |
    |---|---|---|---|
    | fluent | 0.8 | -1, 0, 1 | whether the word fits |
    | on_topic | 0.8 | -1, 0, 1 | whether it is on the asked topic or on another; 0 for a word without a topic |
    | right_tone | 0.8 | -`tone_strictness`, 0, 1 | likewise for its tone |
    | repetition | -0.4 | 0, 1 | it was in the note before; words like "the", "is" and "near" may be |
    | in_time | 4.0 | -1 to 1 | a note was ended: sent long 1, fair 0.75, short 0.5; hasty 0; page full -1 |
    | over_limit | -0.4 | 0, 1 | the note is longer than the limit |

    The proxy reward is 0.8 for every word on the asked topic and 0.2 for every word.

    ## Starting State
    A request, drawn from the split's pairs of topic and tone, and a blank page; there is no note before.

    ## Episode End
    Never terminates; truncated after `horizon` steps.

    ## Arguments
    - `topics` (int, 5): how many topics are asked for, 3 to 6. The vocabulary has words for all six.
    - `max_words` (int, 14): how long a note may be, stops and closing included, 8 to 18; 4 more fit on the page.
    - `tone_strictness` (int, 1): how many words in the right tone a word in the wrong tone outweighs, 1 to 3.
    - `split` (str, "train"): "test" asks only for the pairs of topic and tone that "train" leaves out, about a fifth,
      though each topic and each tone is in "train"; a policy that has learned words rather than whole notes does well
      on both.
    - `horizon` (int, 60): words in an episode.

    ## Why people's judgement helps
    Keywords and length are what a machine can count in a text. Whether it reads well is seen by anyone who reads a line
    of it, and has not been written down as a formula. Writing takes more keys than a keyboard game has, so there is no
    keyboard control.

    ## Version History
    - v1: every word and every stamp is paid once, when it is new.
    - v0: first version.
    """

    # place: where the sentence is in the grammar; fluency: 1 or -1 for whether the last word fits; repeats: 1 if it is
    # repeated; topic_mark, tone_mark: 1 or -1 if it has a topic or a tone; stamp: of the last note; last: the last
    # words (from 1; 0 for none yet); flaws: of the page's words, as bits; past_*: the note before.
    fields = {
        **numbers("topic", "tone", "place", "length", "fluency", "repeats", dtype=np.int8),
        **numbers("topic_mark", "tone_mark", "stamp", "past_length", dtype=np.int8),
        "last": Field(np.int16, (LAST,)),
        "words": Field(np.int16, (PAGE,)),
        "flaws": Field(np.int8, (PAGE,)),
        "past_topic": Field(np.int8),
        "past_tone": Field(np.int8),
        "past_words": Field(np.int16, (PAGE,)),
        "past_flaws": Field(np.int8, (PAGE,)),
        "used": Field(np.bool_, (VOCABULARY,)),
        **numbers("notes", "sent_notes", "slips", dtype=np.int16),
    }
    reward_weights = {
        "fluent": 0.8,
        "on_topic": 0.8,
        "right_tone": 0.8,
        "repetition": -0.4,
        "in_time": 4.0,
        "over_limit": -0.4,
    }
    reset_draws = step_draws = {"request": ()}
    render_fps = 6
    rubric = (
        "Which notes would you rather get: fluent, on the topic and in the tone asked for, saying nothing twice, and "
        "closed in time? If both are alike, prefer the one with fewer red marks."
    )
    legend = {
        "asked for": "topic and tone of the note",
        "green words": "on the topic",
        "violet words": "in the tone",
        "red marks": "mistakes and repetitions",
        "signs below the page": "what there is to say of the last word",
        "note above": "the one before; its stamp is filled when it is new, and longer notes earn more",
        "length": "how far the note has come; the line is the limit",
    }

    measures = {
        "distinct_1": Measure("share", "different words, of all that were written (Li et al. 2016)"),
        "sent_share": Measure("share", "notes that were sent, of those that ended"),
        "words_per_note": Measure("words", "of the notes that ended"),
        "mistakes": Measure("per 100 words", "words that do not fit"),
    }

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
        margin = [len(OUTLINE), 3, 2, 3, 3, 5, len(STAMPS) + len(WORTH)]
        self._slots = [self.topics, len(TONES), *[len(WORDS) + 1] * LAST, *margin]
        self.observation_space = MultiDiscrete(self._slots)
        self.action_space = Discrete(VOCABULARY)
        pairs = np.arange(self.topics * len(TONES))
        self._requests = pairs[(pairs % _SPLIT_EVERY == _SPLIT_AT) == (split == "test")]
        bounds = np.array([1, SHORTEST - 1, self.max_words - 2, self.max_words + 1])
        sizes = np.array([least * self.max_words for least in LEAST_LENGTHS[1:]])
        self._size = (np.arange(PAGE + 1)[:, None] >= sizes).sum(axis=1)
        self._length_seen = (np.arange(PAGE + 1)[:, None] >= bounds).sum(axis=1)
        super().__init__(horizon)

    def begin(self, state: State, draws: Draws) -> None:
        """A blank page and a first request."""
        for name in (
            "fluency",
            "repeats",
            "topic_mark",
            "tone_mark",
            "past_topic",
            "past_tone",
            "past_flaws",
            "past_length",
        ):
            setattr(state, name, 0)
        state.past_words = state.stamp = NONE
        state.used = False
        state.notes = state.sent_notes = state.slips = 0
        ask(state, slice(None), self._drawn_requests(draws.request))

    def advance(self, state: State, actions: NDArray[Any], draws: Draws) -> tuple[Terms, Array]:
        """Judge the text, write the next word, and turn the page where the note is closed or the page full."""
        terms = self._judge(state)
        written = write(state, actions)
        state.used[actions, np.arange(state.copies)] = True
        state.slips += ~written.fits
        over = written.closes | (state.length >= self.page_words)
        if over.any():
            rows = np.flatnonzero(over)
            closed = np.where(written.fits[rows], SENT, HASTY)
            turn_page(state, rows, np.where(written.closes[rows], closed, PAGE_FULL))
            ask(state, rows, self._drawn_requests(draws.request[rows]))
            state.notes += over
            state.sent_notes[rows] += state.stamp[rows] == SENT
        return terms, np.float32(ANY_WORD) + np.float32(KEYWORD) * written.on_topic

    def measure(self, state: State) -> dict[str, NDArray[Any]]:
        """Variety, length and correctness of what was written, each (N,)."""
        notes = np.where(state.notes > 0, state.notes, np.nan)
        return {
            "distinct_1": state.used.sum(axis=0) / state.elapsed,
            "sent_share": state.sent_notes / notes,
            "words_per_note": (state.elapsed - state.length) / notes,
            "mistakes": 100 * state.slips / state.elapsed,
        }

    def _judge(self, state: State) -> Terms:
        tone = state.tone_mark.astype(np.float32)
        if self.tone_strictness > 1:
            tone[tone < 0] *= self.tone_strictness
        earned = np.where(
            state.stamp == SENT, WORTH.take(self._size.take(state.past_length)), NOT_SENT.take(state.stamp)
        )
        return {
            "fluent": state.fluency.astype(np.float32),
            "on_topic": state.topic_mark.astype(np.float32),
            "right_tone": tone,
            "repetition": state.repeats.astype(np.float32),
            "in_time": earned * _is_stamped(state),
            "over_limit": state.length > self.max_words,
        }

    def observe(self, state: State) -> NDArray[np.int64]:
        """Request, last words and what is said of them, (N, 12) int64."""
        seen = np.empty((state.copies, len(self._slots)), dtype=np.int64)
        seen[:, 0] = state.topic
        seen[:, 1] = state.tone
        seen[:, 2 : 2 + LAST] = state.last.T
        margin = seen[:, 2 + LAST :]
        margin[:, 0] = OUTLINE_OF.take(state.place)
        margin[:, 1] = state.fluency
        margin[:, 2] = state.repeats
        margin[:, 3] = state.topic_mark
        margin[:, 4] = state.tone_mark
        margin[:, 5] = self._length_seen.take(state.length)
        ended = np.where(state.stamp == SENT, len(STAMPS) + self._size.take(state.past_length), state.stamp)
        margin[:, 6] = ended * _is_stamped(state)
        margin[:, 1] += 1
        margin[:, 3:5] += 1
        return seen

    drawing = "rlhf_envs.envs.writing.drawing:draw"

    def expert_action(self, state: State) -> NDArray[np.intp]:
        """Words that fit, on the topic and in the tone, none twice, as long as there is room for the rest, (N,)."""
        room = self.max_words - state.length
        fits = FITS[state.place][:, CLASS_OF].T
        right_tone = state.tone == _TONE
        score = _whims(state)
        score += 2 * (state.topic == _TOPIC)
        score += right_tone
        score -= 8 * ((_TOPIC >= 0) & (state.topic != _TOPIC))
        score -= 8 * ((_TONE >= 0) & ~right_tone)
        score -= 4 * (NEEDED[CLASS_OF][:, None] >= room)
        used = (state.words[None] == np.arange(len(WORDS))[:, None, None]).any(axis=1)
        score -= 6 * (used & ~IS_REPEATABLE[:, None])
        score += 2 * (CLASS_OF == SALUTATION)[:, None]
        score -= np.isin(CLASS_OF, (CONJUNCTION, STOP))[:, None]
        score -= 3 * ((CLASS_OF == CLOSING)[:, None] & (room >= _ROOM_FOR_MORE))
        score -= 20 * ~fits
        return score.argmax(axis=0)

    def proxy_action(self, state: State) -> NDArray[np.intp]:
        """A keyword of the topic, and another one, and another one, (N,)."""
        score = _whims(state)
        score += 2 * (state.topic == _TOPIC)
        return score.argmax(axis=0)

    def _drawn_requests(self, draws: Array) -> NDArray[np.intp]:
        return self._requests.take((draws * len(self._requests)).astype(np.intp))


def _whims(state: State) -> Array:
    """A number in [0, 1) for every word and copy, (words, N), that changes from step to step."""
    mixed = (state.stream_key + state.stream_counter * _GOLDEN) * _MIXER
    mixed = mixed ^ (mixed >> np.uint64(29))
    mixed = (mixed + np.arange(len(WORDS), dtype=np.uint64)[:, None] * _GOLDEN) * _MIXER
    mixed ^= mixed >> np.uint64(32)
    return ((mixed * _GOLDEN) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)


TOPICS = ("travel", "cooking", "garden", "music", "weather", "sport")
TONES = ("formal", "friendly")
FORMAL, FRIENDLY = range(len(TONES))
NONE = -1
"""The topic of a word that belongs to none, the tone of a word that is neither, the word in an empty place."""

SALUTATION, ADDRESSEE, DETERMINER, DEGREE, ADJECTIVE, NOUN, VERB = range(7)
TRANSITIVE, LINKING, ADVERB, PREPOSITION, CONJUNCTION, STOP, CLOSING = range(7, 14)
CLASSES = 14
"""How many classes of words there are."""


class Word(NamedTuple):
    """A word or stop as it is written, its class as a number, and its topic and tone or `NONE`."""

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

# How far a sentence has come.
BLANK, GREETING, OPEN, SUBJECT_BEGUN, SUBJECT_DEGREE, SUBJECT_DESCRIBED, SUBJECT_NAMED, LINKED = range(8)
LINKED_DEGREE, PREDICATE, WANTS_OBJECT, OBJECT_BEGUN, OBJECT_DEGREE, OBJECT_DESCRIBED, TAIL, STOPPED = range(8, 16)

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

# A class leads to the same place wherever it does not fit: that of its first line above.
_READ_AS = {word_class: place for follows in reversed(_FOLLOWS.values()) for word_class, place in follows.items()}

FITS = np.array([[word_class in follows for word_class in range(CLASSES)] for follows in _FOLLOWS.values()])
"""Whether a class may come next, (places, classes) bool."""

NEXT_PLACE = np.array(
    [[follows.get(number, _READ_AS[number]) for number in range(CLASSES)] for follows in _FOLLOWS.values()],
    dtype=np.int8,
)
"""The state of the sentence after a class, (places, classes)."""

NEEDED = np.zeros(CLASSES, dtype=np.int64)
NEEDED[[VERB, ADVERB, NOUN, LINKING]] = 2, 2, 3, 3
NEEDED[[ADJECTIVE, TRANSITIVE, PREPOSITION, DETERMINER, DEGREE, CONJUNCTION]] = 4, 4, 4, 4, 5, 5
"""How many words a sentence may still take from a word of this class on, that word and the stop included."""

OUTLINE = ("blank", "greeting", "opening", "subject", "wants a verb", "wants the rest", "may end", "ended")
"""The state of a sentence as the agent observes it, coarser than the grammar's."""

OUTLINE_OF = np.array([0, 1, 2, 3, 3, 3, 4, 5, 5, 6, 5, 5, 5, 5, 6, 7], dtype=np.int8)
"""The place in `OUTLINE` of each place of the grammar."""

_FITS, _NEXT = FITS.ravel(), NEXT_PLACE.ravel()
_TOPIC, _TONE = TOPIC_OF[:, None], TONE_OF[:, None]


class Written(NamedTuple):
    """What the new word of each copy is, (N,) bool: it fits, it is on the asked topic, it closes the note."""

    fits: Flags
    on_topic: Flags
    closes: Flags


def _is_stamped(state: State) -> Flags:
    """Whether the last step ended a note, (N,)."""
    stamped: Flags = (state.length == 0) & (state.stamp != NONE)
    return stamped


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
    step = state.place.astype(np.intp) * CLASSES + word_class
    # A closing where the note says nothing yet is a slip like a word in the wrong place.
    fits = _FITS.take(step) & (~closes | (state.length >= SHORTEST - 1))
    repeated = (state.words == words).any(axis=0) & ~IS_REPEATABLE.take(words)
    on_topic = topic == state.topic
    new = ~repeated
    state.topic_mark = np.where((topic != NONE) & new, 2 * on_topic.astype(np.int8) - 1, 0)
    state.tone_mark = np.where((tone != NONE) & new, 2 * (tone == state.tone).astype(np.int8) - 1, 0)
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
    state.past_length[rows] = state.length[rows]
    state.past_topic[rows] = state.topic[rows]
    state.past_tone[rows] = state.tone[rows]
    state.stamp[rows] = stamps
