"""How far annotators agree with each other about the same pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import krippendorff
import numpy as np

from rlhf_envs.feedback.quality.verdicts import comparison_verdicts, first_verdicts
from rlhf_envs.queries import LiveAnswer


@dataclass(frozen=True)
class PairAgreement:
    """How far two annotators agree.

    Attributes:
        first, second: who, in the order of the alphabet.
        compared: pairs of segments that both answered, skips left out.
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
            chance would give, below 0 is worse. None where no two answered the same pair, or all answers are the same.
        shared: pairs of segments that two annotators or more answered.
        pairs: agreement of each two who answered a same pair.
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

    Which side a segment was shown on plays no part. What an annotator says about a pair the second time is left out.
    Alpha is that of Krippendorff (2004, "Content Analysis", chapter 11), with skips as missing values.
    """
    verdicts = first_verdicts(comparison_verdicts(answers))
    shared = [by_annotator for by_annotator in verdicts.values() if len(by_annotator) > 1]
    compared: Counter[tuple[str, str]] = Counter()
    alike: Counter[tuple[str, str]] = Counter()
    for by_annotator in shared:
        for two in combinations(sorted(by_annotator), 2):
            compared[two] += 1
            alike[two] += by_annotator[two[0]] == by_annotator[two[1]]
    pairs = tuple(PairAgreement(*two, compared[two], alike[two]) for two in sorted(compared))
    counts = np.array([[list(said.values()).count(value) for value in (-1, 0, 1)] for said in shared]).reshape(-1, 3)
    varied = np.count_nonzero(counts.sum(axis=0)) > 1
    alpha = float(krippendorff.alpha(value_counts=counts, level_of_measurement="ordinal")) if varied else None
    return Agreement(alpha, len(shared), pairs)
