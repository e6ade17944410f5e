"""How good the labels are: consistency, bias, pace, agreement, circles, and estimated reliability of who answered.

Printing and drawing import rich and matplotlib, and only when they are called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rlhf_envs.feedback.quality.agreement import Agreement, PairAgreement, agreement
from rlhf_envs.feedback.quality.annotators import AnnotatorFigures, Share, annotator_figures
from rlhf_envs.feedback.quality.cycles import Cycle, CycleFigures, preference_cycles
from rlhf_envs.feedback.quality.estimation import ReliabilityEstimate, estimate_reliabilities, estimate_reliability
from rlhf_envs.feedback.quality.report import QualityReport, quality_report, report_on
from rlhf_envs.feedback.quality.sentences import worries

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Agreement",
    "AnnotatorFigures",
    "Cycle",
    "CycleFigures",
    "PairAgreement",
    "QualityReport",
    "ReliabilityEstimate",
    "Share",
    "agreement",
    "annotator_figures",
    "estimate_reliabilities",
    "estimate_reliability",
    "preference_cycles",
    "print_quality",
    "quality_report",
    "report_on",
    "worries",
    "write_quality_report",
]


def print_quality(report: QualityReport, console: Console | None = None) -> None:
    """Print a report on the terminal; see `printing.print_quality`."""
    from rlhf_envs.feedback.quality import printing

    printing.print_quality(report, console)


def write_quality_report(report: QualityReport, path: str | os.PathLike[str]) -> Path:
    """Write a report as .html, .png or .svg and return the path; see `writing.write_quality_report`."""
    from rlhf_envs.feedback.quality import writing

    return writing.write_quality_report(report, path)
