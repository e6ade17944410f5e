"""Figures of each annotator's own answers: consistency, side bias, pace, and agreement with others."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from rlhf_envs.feedback.quality.agreement import Agreement, Preferences, agreement
from rlhf_envs.kinds import KINDS, Comparison
from rlhf_envs.queries import Choice, LiveAnswer, Purpose

TOO_FAST = 0.7
"""Seconds in which nobody can watch two clips and decide."""

_CODES: dict[Choice | None, int] = {Choice.LEFT: 0, Choice.RIGHT: 1, Choice.TIE: 2}
_NOTHING = -1
"""How choices are kept; a skip says nothing that could be repeated."""

_UNSWAPPED = {Choice.LEFT: Choice.RIGHT, Choice.RIGHT: Choice.LEFT}


@dataclass(frozen=True)
class Share:
    """A share of a number of cases, with its 95% Wilson score interval (Wilson 1927); None where there is no case."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """count / of."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The lower and the upper end."""
        if not self.of:
            return None
        found = binomtest(self.count, self.of).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    @property
    def p_value_of_half(self) -> float | None:
        """How likely a share at least as far from a half is where it is a half (exact binomial test, two-sided)."""
        return float(binomtest(self.count, self.of).pvalue) if self.of else None


@dataclass(frozen=True)
class AnnotatorFigures:
    """Figures of one annotator's answers.

    Attributes:
        answers: how many answers stand, practice left out.
        choices: how many comparisons, of any kind that is one, were answered by "left", "right", "tie" and "skip";
            `other` counts answers to other kinds of query.
        consistent: repeated pairs that were answered as the first time, whichever side they were shown on.
        left: decided comparisons answered "left", repetitions not counted; its `p_value_of_half` tests whether sides
            matter.
        seconds: the quartiles (25%, 50%, 75%) of the time from seeing a query to answering it, pauses of over a minute
            left out; None where no times are known.
        seconds_histogram: how many answers took each time, in half seconds: [0, 0.5), [0.5, 1), ... up to 10 s, and one
            more for all that took longer.
        too_fast: comparisons answered in less than `TOO_FAST` seconds.
        agrees: answers that are the same as another annotator's to the same pair.
    """

    answers: int
    choices: dict[str, int]
    other: int
    consistent: Share
    left: Share
    seconds: tuple[float, float, float] | None
    seconds_histogram: tuple[int, ...]
    too_fast: Share
    agrees: Share


class AnswerStatistics:
    """What is counted of answers as they are read one after another, in some tens of bytes for each.

    Answers of the practice round are left out.

    Args:
        answers: live answers of all annotators (`PreferenceStore.each_live_answer`).

    Attributes:
        preferences: what they prefer of pairs of segments.
    """

    def __init__(self, answers: Iterable[LiveAnswer]) -> None:
        self.preferences = Preferences()
        self._people: dict[str, _Counted] = {}
        for live in answers:
            if live.purpose is not Purpose.PRACTICE:
                self.preferences.add(live)
                self._people.setdefault(live.annotator, _Counted()).add(live)

    @property
    def names(self) -> list[str]:
        """Everybody who answered, in alphabetical order."""
        return sorted(self._people)

    def figures(self, agreed: Agreement) -> dict[str, AnnotatorFigures]:
        """The figures of everybody who answered, by name in alphabetical order."""
        return {name: self._people[name].figures(*agreed.with_others(name)) for name in self.names}


class _Counted:
    """Counts the answers of one annotator."""

    def __init__(self) -> None:
        self._answers = self._other = 0
        self._choices: Counter[Choice | None] = Counter()
        self._first: Counter[Choice | None] = Counter()
        self._seconds = array("d")
        self._paces = self._too_fast = 0
        self._queries, self._said = array("q"), array("b")
        self._repeated, self._said_again = array("q"), array("b")

    def add(self, live: LiveAnswer) -> None:
        self._answers += 1
        seconds = live.seconds
        if seconds is not None:
            self._seconds.append(seconds)
        if not isinstance(KINDS.get(live.kind), Comparison):
            self._other += 1
            return
        if seconds is not None:
            self._paces += 1
            self._too_fast += seconds < TOO_FAST
        self._choices[live.choice] += 1
        self._queries.append(live.query_id)
        self._said.append(_CODES.get(live.choice, _NOTHING))
        if live.purpose is not Purpose.CHECK:
            self._first[live.choice] += 1
            return
        again = live.choice
        if live.context.get("swapped") and again is not None:
            again = _UNSWAPPED.get(again, again)
        self._repeated.append(live.context.get("repeats", -1))
        self._said_again.append(_CODES.get(again, _NOTHING))

    def figures(self, compared: int, alike: int) -> AnnotatorFigures:
        return AnnotatorFigures(
            answers=self._answers,
            choices={choice.value: self._choices[choice] for choice in Choice},
            other=self._other,
            consistent=self._consistent(),
            left=Share(self._first[Choice.LEFT], self._first[Choice.LEFT] + self._first[Choice.RIGHT]),
            seconds=_quartiles(self._seconds),
            seconds_histogram=_histogram(self._seconds),
            too_fast=Share(self._too_fast, self._paces),
            agrees=Share(alike, compared),
        )

    def _consistent(self) -> Share:
        """Repeated pairs that were answered as the first time; those without an answer, or skipped, do not count."""
        queries, said = np.frombuffer(self._queries, np.int64), np.frombuffer(self._said, np.int8)
        order = np.argsort(queries, kind="stable")
        repeated, again = np.frombuffer(self._repeated, np.int64), np.frombuffer(self._said_again, np.int8)
        places = np.searchsorted(queries[order], repeated, side="right") - 1
        known = places >= 0
        known[known] = queries[order[places[known]]] == repeated[known]
        before, again = said[order[places[known]]], again[known]
        counted = (before != _NOTHING) & (again != _NOTHING)
        return Share(int((before == again)[counted].sum()), int(counted.sum()))


def annotator_figures(answers: Iterable[LiveAnswer], agreed: Agreement | None = None) -> dict[str, AnnotatorFigures]:
    """The figures of everybody who answered, by name in alphabetical order.

    Args:
        answers: live answers of all annotators (`PreferenceStore.live_answers`).
        agreed: their agreement, where it was computed before.
    """
    counted = AnswerStatistics(answers)
    return counted.figures(agreement(counted.preferences) if agreed is None else agreed)


def _quartiles(seconds: Sequence[float]) -> tuple[float, float, float] | None:
    if not seconds:
        return None
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def _histogram(seconds: Sequence[float]) -> tuple[int, ...]:
    counts, _ = np.histogram(seconds, np.append(np.arange(0, 10.5, 0.5), np.inf))
    return tuple(int(count) for count in counts)
