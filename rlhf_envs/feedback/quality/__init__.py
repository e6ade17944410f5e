"""How good answers are: consistency, bias, pace, agreement, cycles, and the estimated reliability of annotators.

rich and matplotlib are imported only when a report is printed or drawn. Reliability is estimated by
`rlhf_envs.rewards.joint_fitting`.
"""

from __future__ import annotations

import os
from pathlib import Path

from rlhf_envs.feedback.quality.agreement import (
    Agreement,
    agreement,
    preference_cycles,
)
from rlhf_envs.feedback.quality.annotators import AnnotatorFigures, Share, annotator_figures
from rlhf_envs.feedback.quality.report import (
    QualityReport,
    print_quality,
    quality_report,
    quality_warnings,
)

__all__ = [
    "Agreement",
    "AnnotatorFigures",
    "QualityReport",
    "Share",
    "agreement",
    "annotator_figures",
    "preference_cycles",
    "print_quality",
    "quality_report",
    "quality_warnings",
    "write_quality_report",
]


def write_quality_report(report: QualityReport, path: str | os.PathLike[str]) -> Path:
    """Write a report as .html, .png, .svg or .json and return the path; see `rlhf_envs.feedback.quality.page`."""
    from rlhf_envs.feedback.quality import page

    return page.write_quality_report(report, path)
