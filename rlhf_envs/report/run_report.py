"""The report of a run as one page: returns, learning curves, reward model, queries, and a film of the policy."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pygame
from markupsafe import Markup
from numpy.typing import NDArray

from rlhf_envs.clips import ClipPainter, clip_painter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.palette import DARK, LIGHT, css_colors
from rlhf_envs.evaluation.judging.scores import wilson_interval
from rlhf_envs.evaluation.measurements import Measurements
from rlhf_envs.evaluation.policies import AnyPolicy, SB3Policy
from rlhf_envs.evaluation.returns import IN_WORDS, Scale
from rlhf_envs.evaluation.reward_model import (
    REWARD_MODEL,
    ModelScores,
    RewardAgreement,
    measured_correlation,
    predict_stored,
)
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.files import write_atomically
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import LiveAnswer, Purpose
from rlhf_envs.report import charts
from rlhf_envs.report.charts import decimals, rounded
from rlhf_envs.report.film import film
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.runs import RunDirectory, read_progress
from rlhf_envs.segments import Segment
from rlhf_envs.templates import render

_THIS_RUN = "this policy"
_FILM_SECONDS = 20.0
_QUERY_SIZE, _QUERY_FRAMES = (240, 160), 4
_BASELINES = {
    "random": "random actions",
    "idle": "best constant action",
    "pretrained": "pretrained start",
    "proxy": "gaming the proxy",
    "ppo": "PPO on the true reward",
    "expert": "scripted expert",
}
"""Policies to compare with: metrics.json may hold `<name>_return_mean` and `<name>_return_std` for each of them."""

_SPENT = {
    "rollout_seconds": "rollouts",
    "reward_fit_seconds": "fitting the reward",
    "reward_inference_seconds": "reward inference",
}


def write_report(directory: RunDirectory) -> Path:
    """Write report.html and film.mp4 of a finished run.

    The page is one file and loads nothing from elsewhere. What only a preference model has is left out for runs that
    trained on the environment's own reward, and what could not be measured is named.

    Returns:
        The path of the page.

    Raises:
        ValueError: if the run has not finished, or one of its files is damaged.
        StoreError: if its answers cannot be read.
    """
    run, environment, metrics = directory.read_settings(), directory.read_environment(), directory.read_metrics()
    rows = read_progress(directory.progress_path)
    policy = SB3Policy(directory.load_policy())
    measurements = Measurements(metrics.get("not_measured"))
    reward_model = None if REWARD_MODEL in measurements.missing else directory.load_reward_model()
    own, others, terms = metrics.get("true_return_mean"), _baselines(metrics), _terms(metrics)
    entries = [(_THIS_RUN, own, metrics.get("true_return_std") or 0.0), *others] if own is not None else others
    page: dict[str, Any] = {
        "run": run,
        "metrics": metrics,
        "scale": _scale(metrics),
        "curves": Markup(charts.learning_curves(rows, {name: mean for name, mean, _ in others})) if rows else None,
        "over_kl": Markup(charts.over_kl(rows)) if any(row.get("kl") for row in rows) else None,
        "comparison": Markup(charts.policy_returns(entries, _THIS_RUN)) if entries else None,
        "terms": terms,
        "term_places": decimals(value for by in terms.values() for value in (*by.values(), sum(by.values()))),
        "timings": _timings(metrics),
        "settings": _flat(run.all),
        "versions": directory.read_versions(),
        "decimals": decimals,
        "rounded": rounded,
        "light": css_colors(LIGHT),
        "dark": css_colors(DARK),
        "model": None,
        "queries": [],
    }
    if reward_model is not None:
        with directory.open_store() as store:
            length = run.segment_length or store.environment.segment_length or 1
            scores = ModelScores.of(predict_stored(reward_model, store))
            page["queries"] = measurements.take("what was asked", lambda: query_pictures(store, environment)) or []
        agreements = measured_correlation(measurements, reward_model, policy, environment, length)
        page["model"] = _model(scores, agreements or {}, rows)
    page |= _film(directory.film_path, environment, policy, reward_model)
    page["missing"] = measurements.sentences()
    return write_atomically(directory.report_path, render("rlhf_envs.report", "report.html", **page))


def _baselines(metrics: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The policies to compare with whose returns are in metrics.json: (name, mean, standard deviation)."""
    pretraining = metrics.get("pretraining") or {}
    known = {
        **metrics,
        "pretrained_return_mean": pretraining.get("true_return_mean"),
        "pretrained_return_std": pretraining.get("true_return_std"),
    }
    return [
        (title, known[f"{name}_return_mean"], known.get(f"{name}_return_std") or 0.0)
        for name, title in _BASELINES.items()
        if known.get(f"{name}_return_mean") is not None
    ]


def _terms(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean contribution of each named term to a step's true reward, by policy; empty where none are named."""
    own = metrics.get("reward_terms")
    if not own:
        return {}
    found = {_THIS_RUN: own, **metrics.get("baseline_reward_terms", {})}
    # A term that an environment names only now and then was 0 otherwise.
    names = dict.fromkeys(name for terms in found.values() for name in terms)
    return {policy: {name: terms.get(name) or 0.0 for name in names} for policy, terms in found.items()}


def _scale(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is 0 and what is 1 for this run, in words, and where between them its return lies."""
    # The return of PPO on the true reward is known only where someone has added it to metrics.json.
    scale, own = Scale.of_metrics(metrics, "ppo", "expert"), metrics.get("true_return_mean")
    if scale is None or own is None:
        return None
    return {
        "share": scale.score(own),
        "zero": IN_WORDS[scale.zero_policy],
        "one": scale.one_policy and IN_WORDS[scale.one_policy],
        "is_above_zero": own > scale.zero,
    }


def _model(model: ModelScores, agreements: Mapping[str, RewardAgreement], rows: list[dict[str, str]]) -> dict[str, Any]:
    """What the page shows of the reward model."""
    scores, calibrated = model.scores, model.calibration
    return {
        "scores": scores,
        "source": model.source,
        # A prediction of exactly 0.5 is half a hit.
        "hits": f"{scores.accuracy * scores.decided:g}",
        "interval": wilson_interval(scores.accuracy, scores.decided) if scores.decided else None,
        "calibration_error": calibrated.expected_error,
        "reliability": Markup(charts.reliability(calibrated)) if calibrated.bins else None,
        "accuracy": Markup(charts.accuracy_curve(rows, model.source)) if rows else None,
        "agreement": Markup(charts.agreement(agreements)) if agreements else None,
        "agreements": agreements,
    }


def _film(
    path: Path, environment: EnvironmentRef, policy: AnyPolicy, reward_model: RewardEnsemble | None
) -> dict[str, Any]:
    """The film as a data URI, and its width over its height; or None and why there is none."""
    try:
        content = film(policy, environment, path=path, seconds=_FILM_SECONDS, reward_model=reward_model)
    except Exception as error:
        # Whatever an environment raises where it is drawn, the figures of the run are to be read.
        known = isinstance(error, ValueError | RuntimeError)
        return {"film": None, "film_note": str(error) if known else f"{type(error).__name__}: {error}"}
    with av.open(io.BytesIO(content)) as opened:
        proportion = opened.streams.video[0].width / opened.streams.video[0].height
    uri = "data:video/mp4;base64," + base64.b64encode(content).decode()
    return {"film": uri, "film_proportion": proportion}


def _timings(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of the run's wall time, as shares; the rest is the learner's own."""
    wall = metrics.get("wall_seconds") or 0.0
    if wall <= 0:
        return []
    spent = {title: float(metrics.get(name) or 0.0) for name, title in _SPENT.items()}
    spent["improving the policy, and the rest"] = max(wall - sum(spent.values()), 0.0)
    return [{"name": name, "seconds": seconds, "share": seconds / wall} for name, seconds in spent.items() if seconds]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and JSON values."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat


@dataclass(frozen=True)
class SegmentPicture:
    """A segment of a query as the report shows it.

    Attributes:
        name: left and right of two, else its number on the screen.
        picture: images or a chart, as HTML.
        true_return: of the segment.
        preferred: whether the answer prefers it to all others.
    """

    name: str
    picture: Markup
    true_return: float
    preferred: bool


@dataclass(frozen=True)
class QueryPicture:
    """A query as the report shows it.

    Attributes:
        round: in which it was asked, counted from 1.
        annotator: the name of who answered.
        answer: left, right, tie or skip, or what the kind of feedback has in its place.
        segments: in screen order.
    """

    round: int
    annotator: str
    answer: str
    segments: tuple[SegmentPicture, ...]


def query_pictures(store: PreferenceStore, environment: EnvironmentRef, most: int = 12) -> list[QueryPicture]:
    """Pictures of queries that the reward model was trained on, oldest first.

    Args:
        store: the run's.
        environment: that of the segments.
        most: how many at most; where there are more, they are spread evenly over those that were answered.
    """
    count = sum(tally.given for tally in store.tallies(purposes=[Purpose.TRAIN]).values())
    if not count:
        return []
    chosen = set(np.linspace(0, count - 1, most).round().astype(int).tolist())
    painter = clip_painter(environment, _QUERY_SIZE)
    answered = enumerate(store.each_live_answer(Purpose.TRAIN))
    return [_picture(store, painter, live, index) for index, live in answered if index in chosen]


def _picture(store: PreferenceStore, painter: ClipPainter, live: LiveAnswer, number: int) -> QueryPicture:
    segments = store.segments(live.segment_ids)
    names = ("left", "right") if len(segments) == 2 else tuple(str(place + 1) for place in range(len(segments)))
    wins = _wins(live)
    pictures = (
        SegmentPicture(
            name,
            _shown(painter, segment, f"query-{number}-{name}"),
            float(segment.true_rewards.sum()),
            len(segments) > 1 and won == len(segments) - 1,
        )
        for name, segment, won in zip(names, segments, wins, strict=True)
    )
    return QueryPicture(live.round + 1, live.annotator, _answer(live, names, wins), tuple(pictures))


def _wins(live: LiveAnswer) -> list[int]:
    """Of how many others each segment is preferred to."""
    wins = [0] * len(live.segment_ids)
    if live.kind in KINDS:
        kind = KINDS[live.kind]
        for first, second, second_better in kind.implied_comparisons(live.choice, live.payload, len(wins)):
            if second_better != 0.5:
                wins[second if second_better > 0.5 else first] += 1
    return wins


def _answer(live: LiveAnswer, names: Sequence[str], wins: Sequence[int]) -> str:
    """The answer in a few words: a choice with what stands beside it, an order, or else the kind of feedback."""
    if live.choice is not None:
        texts = KINDS[live.kind].columns if live.kind in KINDS else {}
        beside = [str(live.payload[name]) for name in texts if live.payload and name in live.payload]
        return ", ".join([str(live.choice), *beside])
    if len(set(wins)) == len(names) > 1:
        return " > ".join(name for _, name in sorted(zip(wins, names, strict=True), reverse=True))
    return live.kind


def _shown(painter: ClipPainter, segment: Segment, name: str) -> Markup:
    try:
        frames = painter.frames(segment)
    except (ValueError, RuntimeError):
        return Markup(charts.observations(segment, name))
    moments = np.linspace(0, len(frames) - 1, _QUERY_FRAMES).round().astype(int)
    images = [
        Markup('<img src="data:image/png;base64,{}" alt="step {}">').format(
            base64.b64encode(_png(frames[moment])).decode(), moment + 1
        )
        for moment in moments
    ]
    return Markup('<div class="strip">{}</div>').format(Markup().join(images))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    height, width = pixels.shape[:2]
    written = io.BytesIO()
    pygame.image.save(pygame.image.frombuffer(pixels.tobytes(), (width, height), "RGB"), written, "frame.png")
    return written.getvalue()
