"""All that the answers in a store say of their own quality, in one value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rlhf_envs.feedback.quality.agreement import Agreement, agreement
from rlhf_envs.feedback.quality.annotators import AnnotatorFigures, annotator_figures
from rlhf_envs.feedback.quality.cycles import CycleFigures, preference_cycles
from rlhf_envs.feedback.quality.estimation import ReliabilityEstimate
from rlhf_envs.feedback.quality.verdicts import counted
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.queries import LiveAnswer


@dataclass(frozen=True)
class QualityReport:
    """How good the labels are.

    Attributes:
        annotators: everybody's own figures, by name.
        agreement: how far annotators agree with each other.
        cycles: circles in the preferences of all annotators together.
        cycles_within: circles within each annotator's own preferences, by name.
        reliability: estimated temperatures and error rates, by name; empty where no reward was fitted.
    """

    annotators: Mapping[str, AnnotatorFigures]
    agreement: Agreement
    cycles: CycleFigures
    cycles_within: Mapping[str, CycleFigures]
    reliability: Mapping[str, ReliabilityEstimate]

    @property
    def answers(self) -> int:
        """How many answers there are, of everybody."""
        return sum(figures.answers for figures in self.annotators.values())

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def quality_report(
    store: PreferenceStore, reliability: Mapping[str, ReliabilityEstimate] | None = None
) -> QualityReport:
    """The quality of all answers in a store that were not taken back, practice left out.

    Args:
        reliability: estimates to show besides (`rlhf_envs.rewards.reliability_fitting`).
    """
    return report_on(store.live_answers(), reliability)


def report_on(
    answers: Iterable[LiveAnswer], reliability: Mapping[str, ReliabilityEstimate] | None = None
) -> QualityReport:
    """The quality of some answers; see `quality_report`."""
    given = counted(answers)
    agreed = agreement(given)
    by_annotator: dict[str, list[LiveAnswer]] = defaultdict(list)
    for live in given:
        by_annotator[live.annotator].append(live)
    return QualityReport(
        annotators=annotator_figures(given, agreed),
        agreement=agreed,
        cycles=preference_cycles(given),
        cycles_within={name: preference_cycles(by_annotator[name]) for name in sorted(by_annotator)},
        reliability=dict(reliability or {}),
    )
