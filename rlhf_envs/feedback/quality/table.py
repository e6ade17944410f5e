"""The quality report as rows of text, for every medium that shows it."""

from __future__ import annotations

from rlhf_envs.feedback.quality.annotators import AnnotatorFigures, Share
from rlhf_envs.feedback.quality.cycles import Cycle
from rlhf_envs.feedback.quality.estimation import ReliabilityEstimate
from rlhf_envs.feedback.quality.report import QualityReport
from rlhf_envs.feedback.quality.sentences import percent

COLUMNS = (
    "annotator",
    "answers",
    "left",
    "right",
    "tie",
    "skip",
    "left share",
    "consistent",
    "agrees",
    "seconds",
    "too fast",
    "error rate",
    "temperature",
    "on circles",
)

UNKNOWN = "–"
_MOST_CYCLES = 10


def rows(report: QualityReport) -> list[tuple[str, ...]]:
    """One row of `COLUMNS` for each annotator; what is not known is a dash."""
    return [
        (name, *_own(figures), *_reliability(report.reliability.get(name)), str(report.cycles_within[name].on_a_cycle))
        for name, figures in report.annotators.items()
    ]


def alpha_sentence(report: QualityReport) -> str:
    """How far everybody agrees, in one sentence."""
    agreed = report.agreement
    if not agreed.shared:
        return "No pair was compared by two annotators, so their agreement is not known."
    if agreed.alpha is None:
        return f"All said the same of the {agreed.shared} pairs that several compared, so alpha is not defined."
    return f"Krippendorff's alpha is {agreed.alpha:.2f} over {agreed.shared} pairs that several annotators compared."


def cycle_sentence(report: QualityReport) -> str:
    """How many preferences lie on circles, in one sentence."""
    cycles = report.cycles
    return f"{cycles.on_a_cycle} of {cycles.decided} preferences lie on circles."


def cycle_lines(report: QualityReport) -> list[str]:
    """The shortest circles of segments, such as "3 > 8 > 5 > 3 (ann, bob)"."""
    return [_circle(cycle) for cycle in report.cycles.shortest[:_MOST_CYCLES]]


def _circle(cycle: Cycle) -> str:
    around = " > ".join(str(segment) for segment in (*cycle.segments, cycle.segments[0]))
    return f"{around} ({', '.join(cycle.annotators)})"


def _own(figures: AnnotatorFigures) -> tuple[str, ...]:
    seconds = UNKNOWN
    if figures.seconds is not None:
        low, middle, high = figures.seconds
        seconds = f"{middle:.1f} ({low:.1f} to {high:.1f})"
    return (
        f"{figures.answers:,}",
        *(str(figures.choices[choice]) for choice in ("left", "right", "tie", "skip")),
        _share(figures.left),
        _share(figures.consistent),
        _share(figures.agrees),
        seconds,
        _share(figures.too_fast),
    )


def _share(share: Share) -> str:
    return UNKNOWN if share.value is None else f"{percent(share.value)} of {share.of}"


def _reliability(estimate: ReliabilityEstimate | None) -> tuple[str, str]:
    if estimate is None:
        return UNKNOWN, UNKNOWN
    return (
        f"{percent(estimate.error_rate)} ± {percent(estimate.error_rate_std_error)}",
        f"{estimate.temperature:.2f} ± {estimate.temperature_std_error:.2f}",
    )
