"""Agreement between annotators about the same pairs of segments, and cycles in what they prefer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import krippendorff
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import Choice, LiveAnswer

LONGEST_CYCLE = 8
"""Longer ones are not listed: with so many answers nobody can say which is the wrong one."""

_SOURCES_PER_SEARCH = 256
_MOST_CYCLES = 20


@dataclass(frozen=True)
class PairPreference:
    """What one annotator prefers of two segments, whichever side each was shown on.

    Attributes:
        annotator: who.
        pair: the ids of the two segments, the smaller first.
        second_better: -1 if the first of `pair` is better, 1 if the second is, 0 for a tie.
        alone: whether the query showed these two segments and no others.
    """

    annotator: str
    pair: tuple[int, int]
    second_better: int
    alone: bool


def pair_preferences(answers: Iterable[LiveAnswer]) -> list[PairPreference]:
    """The preferences about pairs that answers express, in the order of the answers.

    They are the comparisons that the kind of feedback says an answer implies, without those that follow from two others
    of the same answer: of a ranking, segments next to each other. Skips express none, and neither does a pair of a
    segment with itself.
    """
    found = []
    for live in answers:
        for left, right, right_better in _implied_pairs(live):
            first, second = live.segment_ids[left], live.segment_ids[right]
            if first != second:
                pair, sign = ((first, second), 1) if first < second else ((second, first), -1)
                found.append(PairPreference(live.annotator, pair, sign * right_better, len(live.segment_ids) == 2))
    return found


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
    """

    alpha: float | None
    shared: int
    pairs: tuple[PairAgreement, ...]

    def with_others(self, annotator: str) -> tuple[int, int]:
        """(compared, alike) of one annotator with everybody else."""
        theirs = [pair for pair in self.pairs if annotator in (pair.first, pair.second)]
        return sum(pair.compared for pair in theirs), sum(pair.alike for pair in theirs)


def agreement(answers: Iterable[LiveAnswer]) -> Agreement:
    """Agreement between annotators about pairs of segments that several of them compared.

    Which side a segment was shown on does not matter. Only an annotator's first answer about a pair counts. Alpha is
    that of Krippendorff (2004, "Content Analysis", chapter 11), with skips as missing values.
    """
    first_answers: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    for preference in pair_preferences(answers):
        if preference.alone:
            first_answers[preference.pair].setdefault(preference.annotator, preference.second_better)
    shared = [by_annotator for by_annotator in first_answers.values() if len(by_annotator) > 1]
    compared: Counter[tuple[str, str]] = Counter()
    alike: Counter[tuple[str, str]] = Counter()
    for by_annotator in shared:
        for two in combinations(sorted(by_annotator), 2):
            compared[two] += 1
            alike[two] += by_annotator[two[0]] == by_annotator[two[1]]
    pairs = tuple(PairAgreement(*two, compared[two], alike[two]) for two in sorted(compared))
    counts = np.array([[list(each.values()).count(value) for value in (-1, 0, 1)] for each in shared]).reshape(-1, 3)
    varied = np.count_nonzero(counts.sum(axis=0)) > 1
    alpha = float(krippendorff.alpha(value_counts=counts, level_of_measurement="ordinal")) if varied else None
    return Agreement(alpha, len(shared), pairs)


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


def preference_cycles(answers: Iterable[LiveAnswer]) -> CycleFigures:
    """Cycles in the preferences that answers express, the shortest first; for one annotator, give theirs.

    Where a pair was answered several times, the majority counts, and an even split counts as no preference:
    contradictions about one pair are a matter of self-consistency and agreement. Through each preference that lies on a
    cycle, one of the shortest cycles is found.

    Args:
        answers: live answers of any kind.
    """
    annotators, better, worse = _majority(pair_preferences(answers))
    ids, places = np.unique(np.concatenate([better, worse]), return_inverse=True)
    better, worse = places[: len(better)], places[len(better) :]
    graph = csr_array((np.ones(len(better)), (better, worse)), shape=(len(ids), len(ids)))
    # An edge lies on a cycle exactly where both its ends lie in one strongly connected component.
    _, component = connected_components(graph, connection="strong") if len(ids) else (0, np.zeros(0, np.int32))
    inside = component[better] == component[worse] if len(ids) else np.zeros(0, bool)
    found: dict[tuple[int, ...], None] = {}
    if inside.any():
        cyclic, rows = np.unique(np.concatenate([better[inside], worse[inside]]), return_inverse=True)
        for cycle in _shortest(rows[: inside.sum()], rows[inside.sum() :], len(cyclic), _MOST_CYCLES):
            found.setdefault(tuple(int(ids[cyclic[row]]) for row in cycle))
    listed = sorted(found, key=lambda cycle: (len(cycle), cycle))[:_MOST_CYCLES]
    return CycleFigures(
        len(better), int(inside.sum()), tuple(Cycle(cycle, _annotators(cycle, annotators)) for cycle in listed)
    )


def _majority(
    preferences: Iterable[PairPreference],
) -> tuple[dict[tuple[int, ...], set[str]], NDArray[np.int64], NDArray[np.int64]]:
    """Who prefers which (better, worse), and the better and the worse segment of each pair that is decided."""
    balance: Counter[tuple[int, int]] = Counter()
    annotators: dict[tuple[int, ...], set[str]] = defaultdict(set)
    for preference in preferences:
        balance[preference.pair] += preference.second_better
        if preference.second_better:
            annotators[preference.pair[:: -preference.second_better]].add(preference.annotator)
    decided = [pair[::-1] if lead > 0 else pair for pair, lead in balance.items() if lead]
    better, worse = np.array(decided, np.int64).reshape(-1, 2).T
    return annotators, better, worse


def _shortest(better: NDArray[np.intp], worse: NDArray[np.intp], nodes: int, limit: int) -> Iterator[tuple[int, ...]]:
    """Cycles of nodes, each beginning with its smallest; the shortest ones are among them."""
    graph = csr_array((np.ones(len(better)), (better, worse)), shape=(nodes, nodes))
    for start in range(0, nodes, _SOURCES_PER_SEARCH):
        sources = np.arange(start, min(start + _SOURCES_PER_SEARCH, nodes))
        distances, predecessors = dijkstra(
            graph, indices=sources, unweighted=True, limit=LONGEST_CYCLE - 1, return_predecessors=True
        )
        closing = np.flatnonzero((worse >= start) & (worse < start + _SOURCES_PER_SEARCH))
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


def _annotators(cycle: tuple[int, ...], annotators: Mapping[tuple[int, ...], set[str]]) -> tuple[str, ...]:
    edges = zip(cycle, cycle[1:] + cycle[:1], strict=True)
    return tuple(sorted(set().union(*(annotators[edge] for edge in edges))))
