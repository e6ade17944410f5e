"""Circles in what annotators prefer: A is better than B, B than C, and C than A."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from rlhf_envs.feedback.quality.verdicts import Verdict, comparison_verdicts, ranking_verdicts
from rlhf_envs.queries import LiveAnswer

LONGEST_CYCLE = 8
"""Longer ones are not listed: nobody can say which of so many answers is the odd one."""

_AT_ONCE = 256


@dataclass(frozen=True)
class Cycle:
    """A shortest circle of preferences.

    Attributes:
        segments: ids of segments, each better than the next and the last one better than the first.
        annotators: who said so, in the order of the alphabet.
    """

    segments: tuple[int, ...]
    annotators: tuple[str, ...]


@dataclass(frozen=True)
class CycleFigures:
    """How far preferences can be put into one order.

    Attributes:
        decided: pairs of segments of which more answers prefer one than the other.
        on_a_cycle: how many of these lie on some circle, of any length.
        shortest: the shortest circles found.
    """

    decided: int
    on_a_cycle: int
    shortest: tuple[Cycle, ...]


def preference_cycles(answers: Iterable[LiveAnswer], limit: int = 20) -> CycleFigures:
    """Circles in the preferences that some answers express, the shortest first; for one annotator, give theirs.

    Where a pair was answered several times, the majority counts, and an even split says nothing: contradictions about
    one pair are a matter of self-consistency and agreement. Through each preference that lies on a circle, one of the
    shortest is found.

    Args:
        answers: live answers; comparisons and rankings count.
        limit: how many circles to list at most.

    Raises:
        ValueError: if the limit is negative.
    """
    if limit < 0:
        raise ValueError(f"The number of cycles to list must be 0 or more, not {limit}.")
    answers = list(answers)
    said_by, better, worse = _majority(comparison_verdicts(answers) + ranking_verdicts(answers))
    ids, places = np.unique(np.concatenate([better, worse]), return_inverse=True)
    better, worse = places[: len(better)], places[len(better) :]
    graph = csr_array((np.ones(len(better)), (better, worse)), shape=(len(ids), len(ids)))
    # An edge lies on a circle exactly where both its ends lie in one strongly connected part.
    _, part = connected_components(graph, connection="strong") if len(ids) else (0, np.zeros(0, np.int32))
    inside = part[better] == part[worse] if len(ids) else np.zeros(0, bool)
    found: dict[tuple[int, ...], None] = {}
    if limit and inside.any():
        cyclic, rows = np.unique(np.concatenate([better[inside], worse[inside]]), return_inverse=True)
        for cycle in _shortest(rows[: inside.sum()], rows[inside.sum() :], len(cyclic), limit):
            found.setdefault(tuple(int(ids[cyclic[row]]) for row in cycle))
    listed = sorted(found, key=lambda cycle: (len(cycle), cycle))[:limit]
    return CycleFigures(
        len(better), int(inside.sum()), tuple(Cycle(cycle, _annotators(cycle, said_by)) for cycle in listed)
    )


def _majority(
    verdicts: Iterable[Verdict],
) -> tuple[dict[tuple[int, ...], set[str]], NDArray[np.int64], NDArray[np.int64]]:
    """Who said (better, worse), and the better and the worse segment of each pair that is decided."""
    balance: Counter[tuple[int, int]] = Counter()
    said_by: dict[tuple[int, ...], set[str]] = defaultdict(set)
    for verdict in verdicts:
        balance[verdict.pair] += verdict.second_better
        if verdict.second_better:
            said_by[verdict.pair[:: -verdict.second_better]].add(verdict.annotator)
    decided = [pair[::-1] if lead > 0 else pair for pair, lead in balance.items() if lead]
    better, worse = np.array(decided, np.int64).reshape(-1, 2).T
    return said_by, better, worse


def _shortest(better: NDArray[np.intp], worse: NDArray[np.intp], nodes: int, limit: int) -> Iterator[tuple[int, ...]]:
    """Circles of nodes, each beginning with its smallest; the shortest ones are among them."""
    graph = csr_array((np.ones(len(better)), (better, worse)), shape=(nodes, nodes))
    for start in range(0, nodes, _AT_ONCE):
        sources = np.arange(start, min(start + _AT_ONCE, nodes))
        distances, before = dijkstra(
            graph, indices=sources, unweighted=True, limit=LONGEST_CYCLE - 1, return_predecessors=True
        )
        closing = np.flatnonzero((worse >= start) & (worse < start + _AT_ONCE))
        lengths = distances[worse[closing] - start, better[closing]]
        order = np.argsort(lengths, kind="stable")
        seen: set[tuple[int, ...]] = set()
        for edge in order[: np.isfinite(lengths).sum()]:
            cycle = _path(before[worse[closing[edge]] - start], int(better[closing[edge]]))
            smallest = cycle.index(min(cycle))
            seen.add(tuple(cycle[smallest:] + cycle[:smallest]))
            if len(seen) >= limit:
                break
        yield from seen


def _path(before: NDArray[np.int32], end: int) -> list[int]:
    path = [end]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _annotators(cycle: tuple[int, ...], said_by: dict[tuple[int, ...], set[str]]) -> tuple[str, ...]:
    edges = zip(cycle, cycle[1:] + cycle[:1], strict=True)
    return tuple(sorted(set().union(*(said_by[edge] for edge in edges))))
