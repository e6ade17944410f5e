"""How often each policy was preferred to each other one, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from agents.judging.bradley_terry import TWO_SIDED_95
from rlhf_envs.feedback import Choice, LiveAnswer

_WORTH_TO_LEFT = {Choice.LEFT: 1.0, Choice.TIE: 0.5, Choice.RIGHT: 0.0}


@dataclass(frozen=True)
class PairFigures:
    """What was said about two policies.

    Attributes:
        first, second: keys of the policies.
        comparisons: different pairs of clips that were judged; skips are not.
        wins, losses, ties, skips: answers that prefer the first, the second, neither, or cannot tell.
        rate: how often the first was preferred, a tie counted half; where several annotators judged the same clips,
            they count as one. None before anybody has judged.
        interval: where the rate lies with 95% confidence; None as `rate`.
    """

    first: str
    second: str
    comparisons: int
    wins: int
    losses: int
    ties: int
    skips: int
    rate: float | None
    interval: tuple[float, float] | None


def concerned(answers: Sequence[LiveAnswer], keys: Sequence[str]) -> list[LiveAnswer]:
    """The judgements about policies of these keys."""
    return [live for live in answers if live.context.get("left") in keys and live.context.get("right") in keys]


def pair_figures(answers: Sequence[LiveAnswer], keys: Sequence[str]) -> tuple[PairFigures, ...]:
    """The figures of each two policies.

    Args:
        answers: judgements about policies of these keys (`concerned`).
        keys: the policies, in the order in which they are told.
    """
    return tuple(_figures(answers, first, second) for first, second in combinations(keys, 2))


def win_matrix(pairs: Sequence[PairFigures], keys: Sequence[str]) -> NDArray[np.float64]:
    """(K, K), how many comparisons i won against j, ties counted half."""
    wins = np.zeros((len(keys), len(keys)))
    for pair in pairs:
        if pair.rate is not None:
            first, second = keys.index(pair.first), keys.index(pair.second)
            wins[first, second] = pair.rate * pair.comparisons
            wins[second, first] = (1 - pair.rate) * pair.comparisons
    return wins


def wilson_interval(rate: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a rate over `count` cases (Wilson 1927), which need not be whole: ties are half wins.

    Half wins vary less than whole ones, so that with ties the interval is rather too wide than too narrow.
    """
    square = TWO_SIDED_95**2
    middle = (rate + square / (2 * count)) / (1 + square / count)
    margin = TWO_SIDED_95 / (1 + square / count) * math.sqrt(rate * (1 - rate) / count + square / (4 * count**2))
    # Rounding may miss the rate where an end is the rate itself, at 0 and 1.
    return max(min(middle - margin, rate), 0.0), min(max(middle + margin, rate), 1.0)


def _figures(answers: Sequence[LiveAnswer], first: str, second: str) -> PairFigures:
    said: Counter[str] = Counter()
    by_clips: dict[int, list[float]] = defaultdict(list)
    for live in answers:
        if {live.context["left"], live.context["right"]} != {first, second} or live.choice is None:
            continue
        worth = _WORTH_TO_LEFT.get(live.choice)
        if worth is None:
            said["skips"] += 1
            continue
        worth = worth if live.context["left"] == first else 1 - worth
        by_clips[live.query_id].append(worth)
        said["wins" if worth == 1 else "losses" if worth == 0 else "ties"] += 1
    count = len(by_clips)
    rate = float(np.mean([np.mean(worths) for worths in by_clips.values()])) if count else None
    return PairFigures(
        first,
        second,
        count,
        said["wins"],
        said["losses"],
        said["ties"],
        said["skips"],
        rate,
        None if rate is None else wilson_interval(rate, count),
    )
