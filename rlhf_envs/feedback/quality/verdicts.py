"""Decided answers as verdicts about pairs of segments, whichever side each segment was shown on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from rlhf_envs.queries import Choice, Kind, LiveAnswer, Purpose

_BETTER_IS_SECOND = {Choice.LEFT: -1, Choice.TIE: 0, Choice.RIGHT: 1}


@dataclass(frozen=True)
class Verdict:
    """What one annotator said about two segments.

    Attributes:
        annotator: who said it.
        pair: the ids of the two segments, the smaller first.
        second_better: -1 if the first of `pair` is better, 1 if the second is, 0 for a tie.
    """

    annotator: str
    pair: tuple[int, int]
    second_better: int


def counted(answers: Iterable[LiveAnswer]) -> list[LiveAnswer]:
    """The answers that say something of an annotator's work: all but those given in practice."""
    return [live for live in answers if live.purpose is not Purpose.PRACTICE]


def comparison_verdicts(answers: Iterable[LiveAnswer]) -> list[Verdict]:
    """The verdicts of all comparisons but skips, in the order of the answers; none for a segment beside itself."""
    return [
        _verdict(live.annotator, live.segment_ids[0], live.segment_ids[1], _BETTER_IS_SECOND[live.choice])
        for live in answers
        if live.kind is Kind.COMPARISON
        and live.choice in _BETTER_IS_SECOND
        and live.segment_ids[0] != live.segment_ids[1]
    ]


def ranking_verdicts(answers: Iterable[LiveAnswer]) -> list[Verdict]:
    """For each ranking that was not skipped, a verdict about each two segments that stand next to each other in it."""
    return [
        _verdict(live.annotator, live.segment_ids[better], live.segment_ids[worse], -1)
        for live in answers
        if live.kind is Kind.RANKING and live.payload is not None
        for order in [live.payload["ranking"]]
        for better, worse in pairwise(order)
        if live.segment_ids[better] != live.segment_ids[worse]
    ]


def first_verdicts(verdicts: Iterable[Verdict]) -> Mapping[tuple[int, int], Mapping[str, int]]:
    """pair -> annotator -> `second_better` of what they said first: repetitions are a matter of self-consistency."""
    first: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for verdict in verdicts:
        first[verdict.pair].setdefault(verdict.annotator, verdict.second_better)
    return first


def _verdict(annotator: str, left: int, right: int, right_better: int) -> Verdict:
    if left < right:
        return Verdict(annotator, (left, right), right_better)
    return Verdict(annotator, (right, left), -right_better)
