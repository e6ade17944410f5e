"""Pictures of segments as the report shows them: of what was asked, what the model gets wrong, what it likes best."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from markupsafe import Markup

from rlhf_envs.clips import ClipPainter, clip_painter, encode_picture
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import LiveAnswer, Purpose
from rlhf_envs.report import charts
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.rewards.metrics import Predictions
from rlhf_envs.segments import Segment
from rlhf_envs.wrappers.rewards import rewards_of

_SIZE, _FRAMES = (300, 200), 4
_MOST_SCORED, _SCORED_AT_ONCE = 2_000, 200
"""Segments of which the best and the worst are looked for, spread over all that were asked about."""


@dataclass(frozen=True)
class SegmentPicture:
    """A segment of a query as the report shows it.

    Attributes:
        name: left and right of two, else its number on the screen.
        picture: images or a chart, as HTML.
        true_return: of the segment.
        preferred: whether the answer prefers it to all others.
        learned_return: of the segment; None where it does not matter.
    """

    name: str
    picture: Markup
    true_return: float
    preferred: bool = False
    learned_return: float | None = None


@dataclass(frozen=True)
class QueryPicture:
    """A query as the report shows it.

    Attributes:
        round: in which it was asked, counted from 1.
        annotator: the name of who answered.
        answer: left, right, tie or skip, or what the kind of feedback has in its place.
        segments: in screen order.
        predicted: how likely the reward model held what was answered; None where that is not shown.
    """

    round: int
    annotator: str
    answer: str
    segments: tuple[SegmentPicture, ...]
    predicted: float | None = None


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
    painter = clip_painter(environment, _SIZE)
    answered = enumerate(store.each_live_answer(Purpose.TRAIN))
    return [_picture(store, painter, live, f"query-{index}") for index, live in answered if index in chosen]


def wrong_answers(predictions: Predictions) -> list[tuple[LiveAnswer, float]]:
    """The answers that a reward model predicts wrongly, with how likely it held them; the most certain mistakes first.

    Of an answer that contains several comparisons, the worst one counts.
    """
    likely = np.where(predictions.labels == 1, predictions.predicted, 1 - predictions.predicted)
    found: dict[int, tuple[LiveAnswer, float]] = {}
    for place in np.argsort(likely, kind="stable"):
        if predictions.labels[place] in (0, 1) and likely[place] < 0.5:
            answer = predictions.answers[place]
            found.setdefault(answer.id, (answer, float(likely[place])))
    return list(found.values())


def pictures_of_answers(
    store: PreferenceStore, environment: EnvironmentRef, answers: Iterable[tuple[LiveAnswer, float]]
) -> list[QueryPicture]:
    """Pictures of answers, each with how likely the reward model held it."""
    painter = clip_painter(environment, _SIZE)
    return [_picture(store, painter, live, f"wrong-{live.id}", predicted) for live, predicted in answers]


@dataclass(frozen=True)
class ScoredSegment:
    """A segment that was asked about.

    Attributes:
        id: its number in the store.
        learned_return, true_return: sums of both rewards over its steps.
    """

    id: int
    learned_return: float
    true_return: float


def scored_segments(store: PreferenceStore, ensemble: RewardEnsemble) -> list[ScoredSegment]:
    """Segments that were asked about, the one with the highest learned return first; of many some, evenly spread."""
    asked = chain.from_iterable(live.segment_ids for live in store.each_live_answer(Purpose.TRAIN))
    ids = list(dict.fromkeys(asked))
    if len(ids) > _MOST_SCORED:
        ids = [ids[place] for place in np.linspace(0, len(ids) - 1, _MOST_SCORED).round().astype(int)]
    found = []
    for start in range(0, len(ids), _SCORED_AT_ONCE):
        part = ids[start : start + _SCORED_AT_ONCE]
        for id, segment in zip(part, store.segments(part), strict=True):
            learned = float(rewards_of(ensemble, segment.transitions).sum())
            found.append(ScoredSegment(id, learned, float(segment.true_rewards.sum())))
    return sorted(found, key=lambda one: (-one.learned_return, one.id))


def pictures_of_segments(
    store: PreferenceStore, environment: EnvironmentRef, chosen: Iterable[ScoredSegment]
) -> list[SegmentPicture]:
    """Pictures of scored segments, in their order."""
    painter = clip_painter(environment, _SIZE)
    return [
        SegmentPicture(
            f"segment {one.id}",
            _shown(painter, store.segment(one.id), f"segment-{one.id}"),
            one.true_return,
            learned_return=one.learned_return,
        )
        for one in chosen
    ]


def _picture(
    store: PreferenceStore, painter: ClipPainter, live: LiveAnswer, name: str, predicted: float | None = None
) -> QueryPicture:
    segments = store.segments(live.segment_ids)
    names = ("left", "right") if len(segments) == 2 else tuple(str(place + 1) for place in range(len(segments)))
    wins = _wins(live)
    pictures = (
        SegmentPicture(
            side,
            _shown(painter, segment, f"{name}-{side}"),
            float(segment.true_rewards.sum()),
            len(segments) > 1 and won == len(segments) - 1,
        )
        for side, segment, won in zip(names, segments, wins, strict=True)
    )
    return QueryPicture(live.round + 1, live.annotator, _answer(live, names, wins), tuple(pictures), predicted)


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
    moments = np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)
    images = [
        Markup('<img src="data:image/png;base64,{}" alt="step {}">').format(
            base64.b64encode(encode_picture(frames[moment], "png")).decode(), moment + 1
        )
        for moment in moments
    ]
    return Markup('<div class="strip">{}</div>').format(Markup().join(images))
