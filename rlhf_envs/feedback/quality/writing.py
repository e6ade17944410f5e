"""The quality report as a file: one page that loads nothing from elsewhere, or the picture alone."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import fields
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from rlhf_envs.envs.palette import THEMES, Palette
from rlhf_envs.feedback.quality.drawing import draw_quality
from rlhf_envs.feedback.quality.report import QualityReport
from rlhf_envs.feedback.quality.sentences import MEANINGS, NO_WORRY, worries
from rlhf_envs.feedback.quality.table import COLUMNS, alpha_sentence, cycle_lines, cycle_sentence, rows

_PICTURES = (".png", ".svg")
_DOTS_PER_INCH = 144


def write_quality_report(report: QualityReport, path: str | os.PathLike[str]) -> Path:
    """Write a report as a page (.html, in light and dark), or its picture alone (.png or .svg, light).

    The file appears under its name only when it is complete.

    Returns:
        The path.

    Raises:
        ValueError: if the path ends in something else, or there are no answers to report on.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".html", *_PICTURES):
        raise ValueError(f"A quality report is written as .html, .png or .svg, not as {path.name!r}.")
    if not report.answers:
        raise ValueError("Nobody has answered yet, so there is nothing to report on.")
    content = _page(report).encode() if kind == ".html" else _picture(report, THEMES["light"], kind[1:])
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
    return path


def _page(report: QualityReport) -> str:
    environment = Environment(
        loader=PackageLoader("rlhf_envs.feedback.quality", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = {name: base64.b64encode(_picture(report, palette, "svg")).decode() for name, palette in THEMES.items()}
    return environment.get_template("quality.html").render(
        themes={name: _colors(palette) for name, palette in THEMES.items()},
        pictures=pictures,
        columns=COLUMNS,
        rows=rows(report),
        worries=worries(report) or [NO_WORRY],
        alpha=alpha_sentence(report),
        cycles=cycle_sentence(report),
        circles=cycle_lines(report),
        meanings=MEANINGS,
        answers=report.answers,
    )


def _picture(report: QualityReport, palette: Palette, kind: str) -> bytes:
    written = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    draw_quality(report, palette).savefig(written, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    return written.getvalue()


def _colors(palette: Palette) -> dict[str, str]:
    plain = {part.name: getattr(palette, part.name) for part in fields(palette) if part.name != "others"}
    return {name.replace("_", "-"): f"rgb{color}" for name, color in plain.items()}
