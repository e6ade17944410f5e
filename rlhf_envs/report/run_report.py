"""The report of a run as one page, with its figures beside it as JSON and CSV.

The page has returns on an honest scale, learning curves, a film of the policy, what the reward model has learned and by
which inputs it goes, what was asked of whom, and where the time went.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.palette import DARK, LIGHT, css_colors
from rlhf_envs.envs.registration import declared_measures
from rlhf_envs.evaluation.attribution import RewardAttributor, most_important
from rlhf_envs.evaluation.episodes import FIRST_SEED, make_copies, play
from rlhf_envs.evaluation.judging.scores import wilson_interval
from rlhf_envs.evaluation.measurements import Measurements
from rlhf_envs.evaluation.policies import AnyPolicy, SB3Policy, bind
from rlhf_envs.evaluation.returns import IN_WORDS, Scale
from rlhf_envs.evaluation.reward_model import (
    REWARD_MODEL,
    ModelScores,
    RewardAgreement,
    agreement_with_truth,
    correlation_metrics,
    measured_correlation,
    predict_stored,
)
from rlhf_envs.feedback import ANNOTATORS, PreferenceStore
from rlhf_envs.feedback.guidance import Guidance, guidance
from rlhf_envs.feedback.quality import QualityReport, Share, quality_report, write_quality_report
from rlhf_envs.files import write_atomically, write_csv
from rlhf_envs.kinds import KINDS
from rlhf_envs.observations import Transitions, concatenate_observations
from rlhf_envs.queries import DEMONSTRATOR, Purpose
from rlhf_envs.report import charts
from rlhf_envs.report.charts import decimals, rounded
from rlhf_envs.report.film import Explanation, film, transitions_of
from rlhf_envs.report.pictures import (
    QueryPicture,
    ScoredSegment,
    SegmentPicture,
    pictures_of_answers,
    pictures_of_segments,
    query_pictures,
    scored_segments,
    wrong_answers,
)
from rlhf_envs.rewards import PreferenceDataset, RewardEnsemble
from rlhf_envs.rewards.joint_fitting import estimate_from_held_out
from rlhf_envs.rewards.metrics import Calibration, Predictions
from rlhf_envs.runs import RunDirectory, RunSettings, read_progress, write_json
from rlhf_envs.templates import render
from rlhf_envs.wrappers.rewards import rewards_of

FEWEST_PER_BIN, FEWEST_BINS = 10, 3
"""Answers that a bin of a reliability diagram takes to say anything, and bins that a diagram takes."""

_PEOPLE = ("window", "web", "elsewhere")
_THIS_RUN = "this policy"
_FILM_SECONDS = 20.0
_MOST_WRONG, _MOST_LIKED, _MOST_INPUTS = 6, 3, 6
_REFERENCE_SEGMENTS = 500
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
    "wait_seconds": "waiting for answers",
    "rollout_seconds": "rollouts",
    "reward_fit_seconds": "fitting the reward",
    "reward_inference_seconds": "reward inference",
}


@dataclass
class _LearnedReward:
    """What the page shows of a learned reward and of who taught it.

    Attributes:
        model: the reward model.
        predictions: what it says to the answers.
        agreements: how it agrees with the true reward on fresh rollouts.
        quality: how good the answers are.
        truth: of each annotator's preferences, those that the true return bears out.
        guidance: what annotators read.
        queries: what was asked.
        wrong: answers that it predicts wrongly; wrong_count: of how many these are some.
        segments: that were asked about, the best first; best, worst: pictures of some.
        kinds: of feedback that were asked.
        attributor: of the learned reward; None where that cannot be found.
    """

    model: RewardEnsemble
    predictions: Predictions
    agreements: Mapping[str, RewardAgreement]
    guidance: Guidance
    quality: QualityReport | None = None
    truth: Mapping[str, Share] = field(default_factory=dict)
    queries: Sequence[QueryPicture] = ()
    wrong: Sequence[QueryPicture] = ()
    wrong_count: int = 0
    segments: Sequence[ScoredSegment] = ()
    best: Sequence[SegmentPicture] = ()
    worst: Sequence[SegmentPicture] = ()
    kinds: Sequence[str] = ()
    attributor: RewardAttributor | None = None

    @property
    def scores(self) -> ModelScores:
        """How well it predicts answers."""
        return ModelScores.of(self.predictions)


@dataclass(frozen=True)
class _Episode:
    """The first episode of the film, step by step.

    Attributes:
        columns: values of each step by name, (T,) each.
        inputs: mean absolute share of each input in the learned reward, the most important first.
    """

    columns: Mapping[str, NDArray[np.float64]]
    inputs: Mapping[str, float]


def write_report(directory: RunDirectory) -> Path:
    """Write report.html and film.mp4 of a finished run, the folder report/ with their figures, and quality.html.

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
    learned = None if reward_model is None else _learned(directory, reward_model, policy, environment, measurements)
    attributor = None if learned is None else learned.attributor
    episode = measurements.take(
        "the first episode step by step", lambda: _play(policy, environment, reward_model, attributor)
    )
    page: dict[str, Any] = {
        "run": run,
        "metrics": metrics,
        "scale": _scale(metrics),
        "curves": Markup(charts.learning_curves(rows, {name: mean for name, mean, _ in others})) if rows else None,
        "over_kl": Markup(charts.over_kl(rows)) if any(row.get("kl") for row in rows) else None,
        "comparison": Markup(charts.policy_returns(entries, _THIS_RUN)) if entries else None,
        "terms": terms,
        "measures": _measures(metrics, environment),
        "term_places": decimals(value for by in terms.values() for value in (*by.values(), sum(by.values()))),
        "timings": _timings(metrics, run),
        "computing": _seconds_of_computing(metrics),
        "settings": flat_settings(run.all),
        "versions": directory.read_versions(),
        "commands": directory.read_commands(),
        "decimals": decimals,
        "rounded": rounded,
        "light": css_colors(LIGHT),
        "dark": css_colors(DARK),
        "learned": learned,
        "model": None if learned is None else _model(learned, rows),
        "annotators": [] if learned is None else _annotators(learned),
        "inputs": None,
        "people": run.feedback in _PEOPLE,
    }
    explanation = None
    if episode is not None and episode.inputs and attributor is not None:
        page["inputs"] = Markup(charts.input_shares(episode.inputs))
        explanation = _explanation(attributor, list(episode.inputs)[:_MOST_INPUTS])
    page |= _film(directory.film_path, environment, policy, reward_model, explanation)
    page["missing"] = measurements.sentences()
    folder = directory.report_folder
    folder.mkdir(exist_ok=True)
    page["files"] = _write_figures(folder, directory, metrics, learned, episode, page)
    if learned is not None and learned.quality is not None and learned.quality.answers:
        for path in (directory.quality_path, directory.quality_path.with_suffix(".json")):
            write_quality_report(learned.quality, path)
    return write_atomically(directory.report_path, render("rlhf_envs.report", "report.html", **page))


def _learned(
    directory: RunDirectory,
    model: RewardEnsemble,
    policy: AnyPolicy,
    environment: EnvironmentRef,
    measurements: Measurements,
) -> _LearnedReward:
    """All that is told of a learned reward; what cannot be found out is left out, and `measurements` has the reason."""
    take = measurements.take
    with directory.open_store() as store:
        length = directory.read_settings().segment_length or store.environment.segment_length or 1
        dataset = PreferenceDataset(model.encoder)
        answers = (answer for answer in store.each_live_answer(Purpose.TRAIN) if answer.kind in KINDS)
        dataset.add_answers(answers, store)
        agreements = measured_correlation(measurements, model, policy, environment, length)
        found = _LearnedReward(
            model, predict_stored(model, store, dataset), agreements or {}, guidance(store.environment)
        )
        found.quality = take(
            "the quality of answers",
            lambda: quality_report(store.each_live_answer(), estimate_from_held_out(model, dataset)),
        )
        right = take("how far answers agree with the truth", lambda: agreement_with_truth(_answers(store), store))
        found.truth = {name: Share(*counts) for name, counts in (right or {}).items()}
        found.kinds = sorted({answer.kind for answer in store.each_live_answer(Purpose.TRAIN)})
        found.queries = take("what was asked", lambda: query_pictures(store, environment)) or []
        wrong = wrong_answers(found.predictions)
        found.wrong_count = len(wrong)
        shown = wrong[:_MOST_WRONG]
        found.wrong = take("where the model is wrong", lambda: pictures_of_answers(store, environment, shown)) or []
        segments = found.segments = take("the best and worst segments", lambda: scored_segments(store, model)) or []
        most = min(_MOST_LIKED, len(segments) // 2)
        ends = [*segments[:most], *segments[len(segments) - most :]]
        pictures = take("the best and worst segments", lambda: pictures_of_segments(store, environment, ends)) or []
        found.best, found.worst = pictures[:most], pictures[most:][::-1]
        reference = np.linspace(0, len(segments) - 1, min(len(segments), _REFERENCE_SEGMENTS)).round().astype(int)
        found.attributor = take(
            "which inputs the learned reward goes by",
            lambda: RewardAttributor(model, store.segments(segments[place].id for place in reference), environment),
        )
    return found


def _answers(store: PreferenceStore) -> Iterable[Any]:
    return (answer for answer in store.each_live_answer() if answer.purpose in (Purpose.TRAIN, Purpose.TEST))


def _play(
    policy: AnyPolicy, environment: EnvironmentRef, model: RewardEnsemble | None, attributor: RewardAttributor | None
) -> _Episode:
    """Play the first episode of the film, and explain its learned reward."""
    with closing(make_copies(environment, 1)) as copies:
        played = list(play(bind(policy, copies), copies, FIRST_SEED))
    names = dict.fromkeys(name for transition in played for name in transition.result.terms)
    columns = {"true_reward": np.array([transition.result.true_rewards[0] for transition in played])}
    for name in names:
        # A term that an environment names only now and then was 0 otherwise.
        columns[f"term: {name}"] = np.array([transition.result.terms.get(name, [0.0])[0] for transition in played])
    inputs: dict[str, float] = {}
    if model is not None:
        steps = [transitions_of(transition) for transition in played]
        together = Transitions(
            concatenate_observations([step.observations for step in steps]),
            np.concatenate([step.actions for step in steps]),
            concatenate_observations([step.next_observations for step in steps]),
            np.concatenate([transition.result.done for transition in played]),
            np.concatenate([transition.result.terminated for transition in played]),
        )
        columns["learned_reward"] = np.asarray(rewards_of(model, together), np.float64)
        columns["spread"] = np.asarray(model.spread(together.observations, together.actions), np.float64)
        if attributor is not None:
            shares = attributor(together)
            columns |= {f"input: {name}": shares[:, place] for place, name in enumerate(attributor.names)}
            size = np.abs(shares).mean(axis=0)
            order = most_important(attributor.names, shares, len(attributor.names))
            inputs = {name: float(size[attributor.names.index(name)]) for name in order}
    return _Episode(columns, inputs)


def _explanation(attributor: RewardAttributor, names: Sequence[str]) -> Explanation:
    """Says of single steps what these inputs add to their learned reward."""
    places = [attributor.names.index(name) for name in names]

    def explain(transition: Transitions) -> dict[str, float]:
        shares = attributor(transition)[0]
        return {name: float(shares[place]) for name, place in zip(names, places, strict=True)}

    return explain


def _annotators(learned: _LearnedReward) -> list[dict[str, Any]]:
    """A row for everybody who answered: how many answers, how fast, how consistent, and how often the truth agrees."""
    if learned.quality is None:
        return []
    rows = []
    for name, figures in learned.quality.annotators.items():
        if name == DEMONSTRATOR:
            continue
        estimate = learned.quality.reliability.get(name)
        rows.append(
            {
                "annotator": name,
                "answers": figures.answers,
                "scripted": name in ANNOTATORS,
                "seconds": None if figures.seconds is None else figures.seconds[1],
                "consistent": figures.consistent,
                "left": figures.left,
                "agrees": figures.agrees,
                "truth": learned.truth.get(name, Share(0, 0)),
                "error_rate": estimate and estimate.measured_error_rate,
                "error_interval": estimate and estimate.error_interval,
            }
        )
    return rows


def _write_figures(
    folder: Path,
    directory: RunDirectory,
    metrics: Mapping[str, Any],
    learned: _LearnedReward | None,
    episode: _Episode | None,
    page: Mapping[str, Any],
) -> list[str]:
    """Write what the page shows as JSON and CSV; the names of the files, from the folder of the page."""
    figures: dict[str, Any] = {
        "commands": page["commands"],
        "versions": page["versions"],
        "settings": page["settings"],
        "scale": page["scale"],
        "seconds": {part["name"]: part["seconds"] for part in page["timings"]},
        "reward_terms": page["terms"],
        "measures": page["measures"],
        "metrics": metrics,
        "missing": page["missing"],
    }
    tables: dict[str, list[dict[str, Any]]] = {}
    if episode is not None:
        count = len(episode.columns["true_reward"])
        values = {name: column.tolist() for name, column in episode.columns.items()}
        tables["steps"] = [{"step": row, **{name: by[row] for name, by in values.items()}} for row in range(count)]
        figures["inputs"] = episode.inputs
    if learned is not None:
        calibration = learned.scores.calibration
        figures |= {
            **learned.scores.to_metrics(),
            **(correlation_metrics(learned.agreements) if learned.agreements else {}),
            "calibration_has_enough_answers": _enough(calibration),
            "rubric": learned.guidance.rubric,
            "annotators": [{**row, **{n: _share(row[n]) for n in _SHARES}} for row in page["annotators"]],
        }
        tables["answers"] = [
            {
                "query": answer.query_id,
                "answer": answer.id,
                "annotator": answer.annotator,
                "kind": answer.kind,
                "choice": answer.choice,
                "label_right": label,
                "predicted_right": predicted,
            }
            for answer, label, predicted in zip(
                learned.predictions.answers,
                learned.predictions.labels.tolist(),
                learned.predictions.predicted.tolist(),
                strict=True,
            )
        ]
        tables["segments"] = [asdict(segment) for segment in learned.segments]
        tables["annotators"] = [
            {**row, **{f"{n}_{part}": value for n in _SHARES for part, value in _share(row[n]).items()}}
            for row in page["annotators"]
        ]
        for row in tables["annotators"]:
            for name in (*_SHARES, "error_interval"):
                del row[name]
    write_json(folder / "figures.json", figures)
    for name, rows in tables.items():
        if rows:
            write_csv(folder / f"{name}.csv", rows)
    names = ["figures.json", *(f"{name}.csv" for name, rows in tables.items() if rows)]
    return [f"{folder.name}/{name}" for name in names]


_SHARES = ("consistent", "left", "agrees", "truth")


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval or (None, None)
    return {"count": share.count, "of": share.of, "low": low, "high": high}


def _enough(calibration: Calibration) -> bool:
    """Whether there are enough answers for a reliability diagram."""
    return sum(one.count >= FEWEST_PER_BIN for one in calibration.bins) >= FEWEST_BINS


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


def _measures(metrics: Mapping[str, Any], environment: EnvironmentRef) -> list[dict[str, Any]]:
    """The figures of whole episodes that the environment gives, one a row: what it is, and its mean for each policy."""
    own = metrics.get("measures")
    if not own:
        return []
    declared = declared_measures(environment.id)
    found = {_THIS_RUN: own, **metrics.get("baseline_measures", {})}
    return [
        {
            "name": name.replace("_", " "),
            "unit": declared[name].unit if name in declared else "",
            "about": declared[name].about if name in declared else "",
            "values": {policy: figures.get(name) for policy, figures in found.items()},
        }
        for name in own
    ]


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


def _model(learned: _LearnedReward, rows: list[dict[str, str]]) -> dict[str, Any]:
    """What the page shows of the reward model's figures."""
    model, agreements = learned.scores, learned.agreements
    scores, calibrated = model.scores, model.calibration
    told = [one for one in calibrated.bins if one.count >= FEWEST_PER_BIN]
    terms = charts.measured_terms(agreements["mixture"].terms) if agreements else {}
    return {
        "scores": scores,
        "source": model.source,
        # A prediction of exactly 0.5 is half a hit.
        "hits": f"{scores.accuracy * scores.decided:g}",
        "interval": wilson_interval(scores.accuracy, scores.decided) if scores.decided else None,
        "calibration_error": calibrated.expected_error,
        "reliability": Markup(charts.reliability(calibrated, FEWEST_PER_BIN)) if _enough(calibrated) else None,
        "bins": len(told),
        "fewest_per_bin": FEWEST_PER_BIN,
        "fewest_bins": FEWEST_BINS,
        "accuracy": Markup(charts.accuracy_curve(rows, model.source)) if rows else None,
        "agreement": Markup(charts.agreement(agreements)) if agreements else None,
        "agreements": agreements,
        "terms": Markup(charts.tracked_terms(terms)) if terms else None,
    }


def _film(
    path: Path,
    environment: EnvironmentRef,
    policy: AnyPolicy,
    reward_model: RewardEnsemble | None,
    explanation: Explanation | None,
) -> dict[str, Any]:
    """The film as a data URI, and its width over its height; or None and why there is none."""
    try:
        content = film(
            policy,
            environment,
            path=path,
            seconds=_FILM_SECONDS,
            reward_model=reward_model,
            explanation=explanation,
        )
    except Exception as error:
        # Whatever an environment raises where it is drawn, the figures of the run are to be read.
        known = isinstance(error, ValueError | RuntimeError)
        return {"film": None, "film_note": str(error) if known else f"{type(error).__name__}: {error}"}
    with av.open(io.BytesIO(content)) as opened:
        proportion = opened.streams.video[0].width / opened.streams.video[0].height
    uri = "data:video/mp4;base64," + base64.b64encode(content).decode()
    return {"film": uri, "film_proportion": proportion, "explained": explanation is not None}


def _seconds_of_computing(metrics: Mapping[str, Any]) -> float:
    """Of the training whose steps metrics.json counts: without waiting for answers, and without a second training."""
    second = (metrics.get("fresh_policy") or {}).get("wall_seconds") or 0.0
    return max((metrics.get("wall_seconds") or 0.0) - (metrics.get("wait_seconds") or 0.0) - second, 0.0)


def _timings(metrics: Mapping[str, Any], run: RunSettings) -> list[dict[str, Any]]:
    """The parts of the run's wall time, as shares; the rest is the learner's own."""
    wall = metrics.get("wall_seconds") or 0.0
    if wall <= 0:
        return []
    spent = {title: float(metrics.get(name) or 0.0) for name, title in _SPENT.items()}
    if run.feedback in _PEOPLE:
        spent = {"waiting for people": spent.pop(_SPENT["wait_seconds"]), **spent}
    spent["improving the policy, and the rest"] = max(wall - sum(spent.values()), 0.0)
    return [{"name": name, "seconds": seconds, "share": seconds / wall} for name, seconds in spent.items() if seconds]


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and JSON values."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat
