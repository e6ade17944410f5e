"""Figures of each annotator's own answers: consistency, side bias, pace, and agreement with others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from rlhf_envs.feedback.quality.agreement import Agreement, agreement
from rlhf_envs.kinds import KINDS, Comparison
from rlhf_envs.queries import Choice, LiveAnswer, Purpose

TOO_FAST = 0.7
"""Seconds in which nobody can watch two clips and decide."""

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


def without_practice(answers: Iterable[LiveAnswer]) -> list[LiveAnswer]:
    """All answers but those of the practice round."""
    return [live for live in answers if live.purpose is not Purpose.PRACTICE]


def by_annotator(answers: Iterable[LiveAnswer]) -> dict[str, list[LiveAnswer]]:
    """The answers of each annotator, by name in alphabetical order."""
    found: dict[str, list[LiveAnswer]] = defaultdict(list)
    for live in answers:
        found[live.annotator].append(live)
    return dict(sorted(found.items()))


def annotator_figures(answers: Iterable[LiveAnswer], agreed: Agreement | None = None) -> dict[str, AnnotatorFigures]:
    """The figures of everybody who answered, by name in alphabetical order.

    Args:
        answers: live answers of all annotators (`PreferenceStore.live_answers`).
        agreed: their agreement, where it was computed before.
    """
    answers = without_practice(answers)
    agreed = agreement(answers) if agreed is None else agreed
    return {name: _figures(given, *agreed.with_others(name)) for name, given in by_annotator(answers).items()}


def _figures(given: Sequence[LiveAnswer], compared: int, alike: int) -> AnnotatorFigures:
    comparisons = [live for live in given if isinstance(KINDS.get(live.kind), Comparison)]
    choices = Counter(str(live.choice) for live in comparisons)
    first = Counter(live.choice for live in comparisons if live.purpose is not Purpose.CHECK)
    left = Share(first[Choice.LEFT], first[Choice.LEFT] + first[Choice.RIGHT])
    seconds = _seconds(given)
    paces = _seconds(comparisons)
    return AnnotatorFigures(
        answers=len(given),
        choices={choice.value: choices[choice.value] for choice in Choice},
        other=len(given) - len(comparisons),
        consistent=_consistent(comparisons),
        left=left,
        seconds=_quartiles(seconds),
        seconds_histogram=_histogram(seconds),
        too_fast=Share(sum(taken < TOO_FAST for taken in paces), len(paces)),
        agrees=Share(alike, compared),
    )


def _consistent(comparisons: Sequence[LiveAnswer]) -> Share:
    first_choice = {live.query_id: live.choice for live in comparisons}
    alike = []
    for live in comparisons:
        before = first_choice.get(live.context.get("repeats", -1)) if live.purpose is Purpose.CHECK else None
        if before is None or live.choice is None or Choice.SKIP in (before, live.choice):
            continue
        again = _UNSWAPPED.get(live.choice, live.choice) if live.context.get("swapped") else live.choice
        alike.append(again is before)
    return Share(sum(alike), len(alike))


def _seconds(given: Sequence[LiveAnswer]) -> list[float]:
    return [live.seconds for live in given if live.seconds is not None]


def _quartiles(seconds: Sequence[float]) -> tuple[float, float, float] | None:
    if not seconds:
        return None
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def _histogram(seconds: Sequence[float]) -> tuple[int, ...]:
    counts, _ = np.histogram(seconds, np.append(np.arange(0, 10.5, 0.5), np.inf))
    return tuple(int(count) for count in counts)
