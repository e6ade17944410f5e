"""The nouns of feedback: what is asked, and what is answered."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from rlhf_envs.segments import Segment
from rlhf_envs.terminal import counted

DEMONSTRATOR = "demonstrator"
"""The annotator that prefers demonstrations over the agent's segments without anybody being asked."""

CORRECTION = "correction/"
"""The keys of comparisons with corrections begin with it."""

LONGEST_ANSWER = 60.0
"""Seconds; who took longer has made a pause."""


_FEW = 30
"""Answers of which it says more how many were predicted than what share."""

LONGEST_NAME = 64
"""Characters of the name of an annotator or a reason, and of a token."""

LONGEST_KEY = 256
"""Characters of a query's key, which may hold the name of an annotator and an earlier key."""

MOST_REASONS = 20


_LOOK_ALIKES = str.maketrans("авеіјкмнорсԛѕтуѡхһԁαβεικνορτυχγωıɑοօ01", "abeijkmhopcqstywxhdabeikvoptuxywiaoool")
"""Small Cyrillic and Greek letters, and digits, that can be taken for Latin letters; the commonest ones."""

_LIKE_AN_L = str.maketrans("I|", "ll")


def require_line(text: object, what: str, longest: int = LONGEST_NAME) -> str:
    """Return `text` if it can be shown on one line of any screen and stored anywhere.

    What cannot be printed is refused: terminals act upon control characters, and half a surrogate pair cannot be
    encoded, so that it would keep an export or a report from being written.

    Args:
        text: from a user, a browser or a file.
        what: names it, for the message.
        longest: how many characters it may have.

    Raises:
        ValueError: if it is no text, too long, or holds something that cannot be printed.
    """
    if not isinstance(text, str) or len(text) > longest or not text.isprintable():
        shown = f"{text[:longest]!r}{' ...' if len(text) > longest else ''}" if isinstance(text, str) else repr(text)
        raise ValueError(f"{what} is one line of at most {longest} characters that can be printed, not {shown}.")
    return text


def check_name(annotator: object) -> None:
    """Raise `ValueError` for an annotator without a name, or with one that is not a line of text."""
    if not require_line(annotator, "The name of an annotator").strip():
        raise ValueError("An annotator needs a name, such as 'oracle' or a person's initials.")


def look_of(name: str) -> tuple[str, str]:
    """A name as people see it, in two ways: without case, accents and spaces; and with capitals like small letters.

    Letters of other scripts count as the Latin one that they can be taken for. Names that share one of the two may be
    taken for each other: Ann and ann, Al and AI.
    """
    written = unicodedata.normalize("NFKC", name)
    return _plain(written.casefold()), _plain(written.translate(_LIKE_AN_L)).replace("rn", "m").replace("vv", "w")


def _plain(name: str) -> str:
    seen = unicodedata.normalize("NFKD", name.translate(_LOOK_ALIKES))
    return "".join(each for each in seen if not unicodedata.combining(each) and not each.isspace())


def check_token(token: object) -> None:
    """Raise `ValueError` for a token that names nothing, or is not a line of text; None is no token."""
    if token is not None and not require_line(token, "A token"):
        raise ValueError("A token names one submission: give some text that no other one has, or None.")


def check_reasons(reasons: Sequence[object]) -> None:
    """Raise `ValueError` for reasons that are not lines of text, or too many."""
    if len(reasons) > MOST_REASONS:
        raise ValueError(f"An answer has at most {MOST_REASONS} reasons, not {len(reasons):,}.")
    for reason in reasons:
        require_line(reason, "A reason")


class Choice(StrEnum):
    """An answer to a comparison. A tie says "equally good"; a skip says "I cannot tell", and teaches nothing."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    SKIP = "skip"

    @classmethod
    def _missing_(cls, value: object) -> Choice:
        raise ValueError(f"{value!r} is no answer to a comparison; say left, right, tie or skip.")

    @property
    def probability_right(self) -> float | None:
        """The label that a preference model is trained on: 0 for left, 1 for right, 0.5 for a tie, None for a skip."""
        return {Choice.LEFT: 0.0, Choice.RIGHT: 1.0, Choice.TIE: 0.5, Choice.SKIP: None}[self]


class Purpose(StrEnum):
    """What an answer is for.

    TRAIN answers train the preference model, TEST answers are held out to test it. CHECK repeats a pair to see whether
    the same annotator answers it alike. PRACTICE has a known answer and is there to learn the task. JUDGE compares
    policies, not segments of one.
    """

    TRAIN = "train"
    TEST = "test"
    CHECK = "check"
    PRACTICE = "practice"
    JUDGE = "judge"


@dataclass(frozen=True, eq=False)
class Query:
    """A question about segments: a comparison shows two (left, right), a ranking k, a rating one.

    Attributes:
        key: names the question within its run, such as "3/train/7". Asking the same key again asks nothing new, so a
            resumed run cannot ask twice.
        round: the feedback round of the run that asks it, counted from 0.
        segments: what is shown, in screen order.
        kind: the name of a kind of feedback in `rlhf_envs.kinds.KINDS`.
        purpose: see `Purpose`.
        context: figures that an annotator may need, such as "average_return" and "horizon" for thresholds of
            scripted teachers. JSON values only.
        only_for: the one annotator who is asked; None asks anybody.
        id: the store's number; None until it was asked.
        segment_ids: the store's numbers of the segments, in the same order; empty until it was asked.
    """

    key: str
    round: int
    segments: tuple[Segment, ...]
    kind: str = "comparison"
    purpose: Purpose = Purpose.TRAIN
    context: Mapping[str, Any] = field(default_factory=dict)
    only_for: str | None = None
    id: int | None = None
    segment_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Submission:
    """An answer on its way to the store.

    Attributes:
        query_id: the query that is answered.
        annotator: who answers.
        choice: the answer to a comparison. A ranking or a rating has a payload instead (`ranking_payload`,
            `rating_payload`), or is skipped.
        reasons: names of reward terms that the annotator gave as reason.
        shown_at, answered_at: seconds since the epoch when the clips came on screen and when the answer was given.
        payload: what else the kind of query asks for; JSON values only.
        token: names this submission. Submitting the same token again stores nothing new, so a browser may retry.
    """

    query_id: int
    annotator: str
    choice: Choice | None
    reasons: tuple[str, ...] = ()
    shown_at: float | None = None
    answered_at: float | None = None
    payload: Mapping[str, Any] | None = None
    token: str | None = None


@dataclass(frozen=True, eq=False)
class Correction:
    """A segment, and what a person did in the place of the agent from one of its steps on.

    It says that what they did is better; see `AnnotatorSession.correct`.

    Attributes:
        query_id, position: the query on screen, and which of its segments is corrected, from 0.
        step: from which step of the segment on the person acted, from 0.
        segment: the corrected one, as long as the original, and the same before that step.
        shown_at, answered_at: seconds since the epoch when the person took over, and when they had it stored.
        token: names this correction; storing it again stores nothing new.
    """

    query_id: int
    position: int
    step: int
    segment: Segment
    shown_at: float | None
    answered_at: float | None
    token: str


@dataclass(frozen=True, kw_only=True)
class Answer(Submission):
    """What one annotator said to one query. Stored rows are never changed: an undo is a row of its own, without choice.

    Attributes:
        id: the store's number, rising in the order of arrival; a reader's cursor is the last id that it has read.
        undoes: the id of the answer that this row takes back, or None.
    """

    id: int
    undoes: int | None = None

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Self:
        """The answer in a row of a store or an archive, from its columns by their names; others are ignored."""
        values = {name: columns[name] for name in cls.__dataclass_fields__}
        choice = None if values["choice"] is None else Choice(values["choice"])
        return cls(**values | {"choice": choice, "reasons": tuple(values["reasons"])})

    @property
    def seconds(self) -> float | None:
        """Time from seeing the query to answering it; see `seconds_taken`."""
        return seconds_taken(self.shown_at, self.answered_at)


@dataclass(frozen=True, kw_only=True)
class LiveAnswer(Answer):
    """An answer that was not taken back, with what a learner needs to know of its query, and no segment loaded.

    Attributes:
        segment_ids: what was shown, in screen order; `PreferenceStore.segments` loads them.
        round, kind, purpose, context: as in `Query`.
    """

    segment_ids: tuple[int, ...]
    round: int
    kind: str
    purpose: Purpose
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def was_asked(self) -> bool:
        """Whether the agent's segments were compared because the run chose to ask about them.

        Demonstrations and corrections say of themselves that they are better; how many of them a reward model predicts
        says little about what else it knows.
        """
        return self.annotator != DEMONSTRATOR and "corrects" not in self.context


def seconds_taken(shown_at: float | None, answered_at: float | None) -> float | None:
    """Time from seeing a query to answering it; None where it is not known, or over a minute, which is a pause."""
    taken = -1.0 if shown_at is None or answered_at is None else answered_at - shown_at
    return taken if 0 <= taken <= LONGEST_ANSWER else None


class AccuracySource(StrEnum):
    """Which answers a reward model's accuracy is about.

    HELD_OUT ones none of its members was trained on. OUT_OF_FOLD are all that it was trained on, each predicted by only
    the members that did not train on it.
    """

    HELD_OUT = "held-out answers"
    OUT_OF_FOLD = "out of fold"

    def sentence(self, accuracy: float, answers: int | None = None) -> str:
        """Such as "83% of 40 held-out answers predicted", or of few "3 of 3 held-out answers predicted (100%)".

        Args:
            accuracy: share of the answers that were predicted.
            answers: how many there are, each comparison that one contains counted; left out where None.
        """
        held_out = self is AccuracySource.HELD_OUT
        noun, how = ("held-out answer", "predicted") if held_out else ("comparison", "predicted out of fold")
        if answers is None:
            return f"{accuracy:.0%} of {noun}s {how}"
        if answers < _FEW:
            return f"{round(accuracy * answers)} of {counted(answers, noun)} {how} ({accuracy:.0%})"
        return f"{accuracy:.0%} of {counted(answers, noun)} {how}"


@dataclass(frozen=True)
class Tally:
    """What one annotator has done.

    Attributes:
        given: answers that stand.
        seconds: how long each of the latest of them took, pauses left out.
    """

    given: int
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class QueryCounts:
    """How far the queries of one purpose have come: asked = answered + open + skipped.

    Attributes:
        asked: all queries.
        answered: those that need no more answers, and have one that teaches something.
        open: those that still need an answer.
        skipped: those that need no more answers and have nothing but skips.
        wanted: how many answers all of them want, of all annotators together; comparisons with demonstrations, which
            nobody is asked, want none.
        corrections: those that are comparisons with corrections, which came with their answers.
    """

    asked: int = 0
    answered: int = 0
    open: int = 0
    skipped: int = 0
    wanted: int = 0
    corrections: int = 0
