"""Queries of a run as pictures: a few, spread over its rounds, with their answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pygame
from markupsafe import Markup
from numpy.typing import NDArray

from rlhf_envs.clips import ClipPainter, clip_painter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.kinds import KINDS
from rlhf_envs.queries import LiveAnswer, Purpose
from rlhf_envs.report.charts import observations
from rlhf_envs.segments import Segment

FRAME_SIZE = (240, 160)
_FRAMES = 4


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
    answered = store.live_answers(Purpose.TRAIN)
    if not answered:
        return []
    chosen = np.unique(np.linspace(0, len(answered) - 1, most).round().astype(int))
    painter = clip_painter(environment, FRAME_SIZE)
    return [_picture(store, painter, answered[index], index) for index in chosen]


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
        return Markup(observations(segment, name))
    moments = np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)
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
