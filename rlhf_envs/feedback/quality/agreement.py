"""Agreement between annotators about the same pairs of segments, and cycles in what they prefer."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import krippendorff
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import Choice, LiveAnswer

LONGEST_CYCLE = 8
"""Longer ones are not listed: with so many answers nobody can say which is the wrong one."""

_SOURCES_PER_SEARCH, _MOST_SEARCHES = 256, 100
_SEARCHED = 2**22
"""Sources times nodes of a search, which bounds its memory."""

_MOST_CYCLES = 20


class Preferences:
    """What annotators prefer of pairs of segments, whichever side each was shown on, in 22 bytes for each.

    They are the comparisons that the kind of feedback says an answer implies, without those that follow from two others
    of the same answer: of a ranking, segments next to each other. Skips express none, and neither does a pair of a
    segment with itself.

    Args:
        answers: to add.

    Attributes:
        names: of annotators, each where its number in `who` says.
    """

    def __init__(self, answers: Iterable[LiveAnswer] = ()) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._who, self._first, self._second = array("i"), array("q"), array("q")
        self._second_better, self._alone = array("b"), array("b")
        for live in answers:
            self.add(live)

    def add(self, live: LiveAnswer) -> None:
        """Add what an answer expresses."""
        for left, right, right_better in _implied_pairs(live):
            first, second = live.segment_ids[left], live.segment_ids[right]
            if first == second:
                continue
            pair, sign = ((first, second), 1) if first < second else ((second, first), -1)
            if live.annotator not in self._numbers:
                self._numbers[live.annotator] = len(self.names)
                self.names.append(live.annotator)
            self._who.append(self._numbers[live.annotator])
            self._first.append(pair[0])
            self._second.append(pair[1])
            self._second_better.append(sign * right_better)
            self._alone.append(len(live.segment_ids) == 2)

    @property
    def who(self) -> NDArray[np.int32]:
        """(P,) the numbers of annotators, in the order of the answers."""
        return np.frombuffer(self._who, np.int32)

    @property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(P,) each: the ids of the two segments, the smaller ones first."""
        return np.frombuffer(self._first, np.int64), np.frombuffer(self._second, np.int64)

    @property
    def second_better(self) -> NDArray[np.int8]:
        """(P,): -1 if the first of a pair is better, 1 if the second is, 0 for a tie."""
        return np.frombuffer(self._second_better, np.int8)

    @property
    def alone(self) -> NDArray[np.bool_]:
        """(P,): whether the query showed these two segments and no others."""
        return np.frombuffer(self._alone, np.int8) != 0

    def number_of(self, name: str) -> int:
        """The number of an annotator; -1 for who prefers nothing."""
        return self._numbers.get(name, -1)


def _implied_pairs(live: LiveAnswer) -> list[tuple[int, int, int]]:
    """(position, other position, whether the other is better: -1, 0 or 1) of each pair that an answer is about."""
    if live.kind not in KINDS or live.choice is Choice.SKIP:
        return []
    implied = KINDS[live.kind].implied_comparisons(live.choice, live.payload, len(live.segment_ids))
    signs = {(left, right): int(np.sign(right_better - 0.5)) for left, right, right_better in implied}
    better = {(left, right) if sign < 0 else (right, left) for (left, right), sign in signs.items() if sign}

    def follows(first: int, last: int) -> bool:
        return any({(first, between), (between, last)} <= better for between in range(len(live.segment_ids)))

    return [
        (left, right, sign) for (left, right), sign in signs.items() if not follows(left, right) | follows(right, left)
    ]


@dataclass(frozen=True)
class PairAgreement:
    """How far two annotators agree.

    Attributes:
        first, second: who, in alphabetical order.
        compared: pairs of segments that both compared, skips left out.
        alike: of how many of these they said the same. A tie is like nothing but a tie.
    """

    first: str
    second: str
    compared: int
    alike: int

    @property
    def share(self) -> float:
        """alike / compared."""
        return self.alike / self.compared


@dataclass(frozen=True)
class Agreement:
    """How far all annotators agree.

    Attributes:
        alpha: Krippendorff's alpha, ordinal over (first better, tie, second better): 1 is full agreement, 0 is what
            chance would give, below 0 is worse. None where no two compared the same pair, or all answers are the same.
        shared: pairs of segments that two annotators or more compared.
        pairs: agreement of each two annotators who compared a same pair.
        ac1: Gwet's AC1 over the same three answers. Where nearly all answers are the same, agreement by chance is near
            1 for alpha, which can then be near 0 although hardly anybody disagrees; AC1 stays near the share that
            agrees. None where no two compared the same pair.
    """

    alpha: float | None
    shared: int
    pairs: tuple[PairAgreement, ...]
    ac1: float | None = None

    def with_others(self, annotator: str) -> tuple[int, int]:
        """(compared, alike) of one annotator with everybody else."""
        theirs = [pair for pair in self.pairs if annotator in (pair.first, pair.second)]
        return sum(pair.compared for pair in theirs), sum(pair.alike for pair in theirs)


def agreement(answers: Iterable[LiveAnswer] | Preferences) -> Agreement:
    """Agreement between annotators about pairs of segments that several of them compared.

    Which side a segment was shown on does not matter. Only an annotator's first answer about a pair counts. Alpha is
    that of Krippendorff (2004, "Content Analysis", chapter 11), with skips as missing values.
    """
    given = answers if isinstance(answers, Preferences) else Preferences(answers)
    names = sorted(given.names)
    ranks = np.array([names.index(name) for name in given.names], np.int64)
    rows = np.flatnonzero(given.alone)
    first, second, who = given.pairs[0][rows], given.pairs[1][rows], ranks[given.who[rows]]
    said = given.second_better[rows].astype(np.int64)
    order = np.lexsort((np.arange(len(rows)), who, second, first))
    first, second, who, said = first[order], second[order], who[order], said[order]
    new_pair = np.ones(len(rows), np.bool_)
    new_pair[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    kept = new_pair.copy()
    kept[1:] |= np.diff(who) != 0
    unit, who, said = (np.cumsum(new_pair) - 1)[kept], who[kept], said[kept]
    counts = np.bincount(3 * unit + said + 1, minlength=3 * int(new_pair.sum())).reshape(-1, 3)
    counts = counts[counts.sum(axis=1) > 1]
    compared: Counter[tuple[int, int]] = Counter()
    alike: Counter[tuple[int, int]] = Counter()
    # Two who compared a same pair lie so far from each other in the order of pairs and annotators.
    for distance in range(1, int(counts.sum(axis=1).max(initial=0))):
        together = unit[distance:] == unit[:-distance]
        two = who[:-distance][together] * len(names) + who[distance:][together]
        equal = (said[distance:] == said[:-distance])[together]
        for tally, keys in ((compared, two), (alike, two[equal])):
            for key, count in zip(*np.unique(keys, return_counts=True), strict=True):
                tally[divmod(int(key), len(names))] += int(count)
    pairs = tuple(PairAgreement(names[two[0]], names[two[1]], compared[two], alike[two]) for two in sorted(compared))
    varied = np.count_nonzero(counts.sum(axis=0)) > 1
    alpha = float(krippendorff.alpha(value_counts=counts, level_of_measurement="ordinal")) if varied else None
    return Agreement(alpha, len(counts), pairs, gwet_ac1(counts) if len(counts) else None)


def gwet_ac1(counts: NDArray[np.int64]) -> float:
    """Gwet's AC1 of ratings (2008, British Journal of Mathematical and Statistical Psychology 61, equations 5 to 7).

    Agreement by chance is 1 / (q - 1) times the sum over the q categories of p (1 - p), where p is how often a category
    is chosen: it falls where one is chosen nearly always, other than that of Cohen's kappa or Krippendorff's alpha.

    Args:
        counts: (U, q) how many raters chose each category, of U units with at least two raters each.
    """
    raters = counts.sum(axis=1)
    agreeing = float(np.mean((counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))))
    shares = (counts / raters[:, None]).mean(axis=0)
    by_chance = float((shares * (1 - shares)).sum() / (counts.shape[1] - 1))
    return (agreeing - by_chance) / (1 - by_chance)


@dataclass(frozen=True)
class Cycle:
    """A shortest cycle of preferences.

    Attributes:
        segments: ids of segments, each better than the next and the last one better than the first.
        annotators: whose preferences these are, in alphabetical order.
    """

    segments: tuple[int, ...]
    annotators: tuple[str, ...]


@dataclass(frozen=True)
class CycleFigures:
    """How far preferences can be put into one order.

    Attributes:
        decided: pairs of segments of which more answers prefer one than the other.
        on_a_cycle: how many of these lie on some cycle, of any length.
        shortest: the shortest cycles found.
    """

    decided: int
    on_a_cycle: int
    shortest: tuple[Cycle, ...]


def preference_cycles(answers: Iterable[LiveAnswer] | Preferences, annotator: str | None = None) -> CycleFigures:
    """Cycles in the preferences that answers express, the shortest first.

    Where a pair was answered several times, the majority counts, and an even split counts as no preference:
    contradictions about one pair are a matter of self-consistency and agreement. Through each preference that lies on a
    cycle, one of the shortest cycles is found; where there are many thousand segments, through some of them.

    Args:
        answers: live answers of any kind.
        annotator: whose answers count; those of all where None.
    """
    given = answers if isinstance(answers, Preferences) else Preferences(answers)
    rows = slice(None) if annotator is None else np.flatnonzero(given.who == given.number_of(annotator))
    said = _Said(given, rows)
    better, worse = said.majority()
    ids, places = np.unique(np.concatenate([better, worse]), return_inverse=True)
    better, worse = places[: len(better)], places[len(better) :]
    graph = csr_array((np.ones(len(better)), (better, worse)), shape=(len(ids), len(ids)))
    # An edge lies on a cycle exactly where both its ends lie in one strongly connected component.
    _, component = connected_components(graph, connection="strong") if len(ids) else (0, np.zeros(0, np.int32))
    inside = component[better] == component[worse] if len(ids) else np.zeros(0, bool)
    found: dict[tuple[int, ...], None] = {}
    if inside.any():
        cyclic, ends = np.unique(np.concatenate([better[inside], worse[inside]]), return_inverse=True)
        for cycle in _shortest(ends[: inside.sum()], ends[inside.sum() :], len(cyclic), _MOST_CYCLES):
            found.setdefault(tuple(int(ids[cyclic[row]]) for row in cycle))
    listed = sorted(found, key=lambda cycle: (len(cycle), cycle))[:_MOST_CYCLES]
    return CycleFigures(len(better), int(inside.sum()), tuple(Cycle(cycle, said.annotators(cycle)) for cycle in listed))


class _Said:
    """Some of the preferences, in the order of their pairs.

    Args:
        given: all of them.
        rows: which.
    """

    def __init__(self, given: Preferences, rows: Any) -> None:
        self._names = given.names
        first, second = given.pairs[0][rows], given.pairs[1][rows]
        order = np.lexsort((second, first))
        self._first, self._second = first[order], second[order]
        self._who, self._second_better = given.who[rows][order], given.second_better[rows][order]

    def majority(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The better and the worse segment of each pair that is decided, (E,) each."""
        starts = np.flatnonzero(np.r_[True, (np.diff(self._first) != 0) | (np.diff(self._second) != 0)])
        if not len(self._first):
            return self._first, self._second
        lead = np.add.reduceat(self._second_better, starts, dtype=np.int64)
        first, second = self._first[starts], self._second[starts]
        better, worse = np.where(lead < 0, first, second), np.where(lead < 0, second, first)
        return better[lead != 0], worse[lead != 0]

    def annotators(self, cycle: tuple[int, ...]) -> tuple[str, ...]:
        """Who said so of any two segments that follow each other on a cycle, in alphabetical order."""
        found: set[str] = set()
        for better, worse in zip(cycle, cycle[1:] + cycle[:1], strict=True):
            first, second = sorted((better, worse))
            start, stop = (np.searchsorted(self._first, first, side) for side in ("left", "right"))
            of_pair = slice(
                *(start + np.searchsorted(self._second[start:stop], second, side) for side in ("left", "right"))
            )
            agree = self._second_better[of_pair] == (1 if better == second else -1)
            found |= {self._names[who] for who in self._who[of_pair][agree].tolist()}
        return tuple(sorted(found))


def _shortest(better: NDArray[np.intp], worse: NDArray[np.intp], nodes: int, limit: int) -> Iterator[tuple[int, ...]]:
    """Cycles of nodes, each beginning with its smallest; the shortest ones are among them."""
    graph = csr_array((np.ones(len(better)), (better, worse)), shape=(nodes, nodes))
    # A search takes memory for all nodes from each of its sources.
    at_once = max(min(_SOURCES_PER_SEARCH, _SEARCHED // nodes), 1)
    starts = np.arange(0, nodes, at_once)
    if len(starts) > _MOST_SEARCHES:
        starts = starts[np.linspace(0, len(starts) - 1, _MOST_SEARCHES).round().astype(int)]
    for start in starts.tolist():
        sources = np.arange(start, min(start + at_once, nodes))
        distances, predecessors = dijkstra(
            graph, indices=sources, unweighted=True, limit=LONGEST_CYCLE - 1, return_predecessors=True
        )
        closing = np.flatnonzero((worse >= start) & (worse < start + at_once))
        lengths = distances[worse[closing] - start, better[closing]]
        order = np.argsort(lengths, kind="stable")
        seen: set[tuple[int, ...]] = set()
        for edge in order[: np.isfinite(lengths).sum()]:
            cycle = _path(predecessors[worse[closing[edge]] - start], int(better[closing[edge]]))
            smallest = cycle.index(min(cycle))
            seen.add(tuple(cycle[smallest:] + cycle[:smallest]))
            if len(seen) >= limit:
                break
        yield from seen


def _path(predecessors: NDArray[np.int32], end: int) -> list[int]:
    path = [end]
    while predecessors[path[-1]] >= 0:
        path.append(int(predecessors[path[-1]]))
    return path[::-1]
