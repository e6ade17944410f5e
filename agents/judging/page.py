"""A judgement as one page that loads nothing from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agents import charts
from agents.judging import drawing, wording
from agents.judging.judgement import Judgement
from agents.judging.reward_model import JUDGEMENTS
from agents.svg import css_colors
from rlhf_envs.envs.palette import DARK, LIGHT

_TEMPLATE = "judgement.html.j2"


def write_page(found: Judgement, path: Path) -> Path:
    """Write the page and return its path; an older one stays until the new one is complete."""
    judged = any(pair.rate is not None for pair in found.pairs)
    diagram = found.model.get(JUDGEMENTS) or next(iter(found.model.values()), None)
    content = {
        "found": found,
        "names": {policy.key: policy.name for policy in found.policies},
        "percent": wording.percent,
        "several": found.pairs if len(found.annotators) > 1 else (),
        "counts": wording.counts_sentence(found),
        "scale": wording.scale_sentence(found),
        "agreed": wording.agreement_sentence(found),
        "win_rates": Markup(drawing.win_rates(found)) if judged else None,
        "scores": Markup(drawing.scores(found)) if judged else None,
        "reliability": Markup(charts.reliability(diagram.calibration)) if diagram is not None else None,
        "light": css_colors(LIGHT),
        "dark": css_colors(DARK),
    }
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(templates.get_template(_TEMPLATE).render(content), encoding="utf-8")
    os.replace(temporary, path)
    return path
