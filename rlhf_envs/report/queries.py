"""Queries of a run as pictures: a few, spread over its rounds, with their answers."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import pygame
from markupsafe import Markup
from numpy.typing import NDArray

from rlhf_envs.clips import ClipPainter, clip_painter
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.feedback import Choice, LiveAnswer, PreferenceStore, Purpose
from rlhf_envs.kinds import Comparison
from rlhf_envs.report.charts import observations
from rlhf_envs.segments import Segment

FRAME_SIZE = (240, 160)
_FRAMES = 4


@dataclass(frozen=True)
class QueryPicture:
    """One comparison as the report shows it.

    Attributes:
        round: in which it was asked, counted from 1.
        annotator: the name of who answered.
        choice: the answer: left, right, tie or skip.
        left, right: images or a chart, as HTML.
        true_left, true_right: the true returns of the segments.
    """

    round: int
    annotator: str
    choice: str
    left: Markup
    right: Markup
    true_left: float
    true_right: float


def query_pictures(store: PreferenceStore, environment: EnvironmentRef, most: int = 12) -> list[QueryPicture]:
    """Pictures of comparisons that the reward model was trained on, oldest first.

    Args:
        store: the run's.
        environment: that of the segments.
        most: how many at most; where there are more, they are spread evenly over those that were answered.
    """
    answered = [
        live for live in store.live_answers(Purpose.TRAIN) if live.kind == Comparison.name and live.choice is not None
    ]
    if not answered:
        return []
    chosen = np.unique(np.linspace(0, len(answered) - 1, most).round().astype(int))
    painter = clip_painter(environment, FRAME_SIZE)
    return [_picture(store, painter, answered[index], index) for index in chosen]


def _picture(store: PreferenceStore, painter: ClipPainter, live: LiveAnswer, number: int) -> QueryPicture:
    left, right = store.segments(live.segment_ids)
    return QueryPicture(
        live.round + 1,
        live.annotator,
        live.choice or Choice.SKIP,
        _shown(painter, left, f"query-{number}-left"),
        _shown(painter, right, f"query-{number}-right"),
        float(left.true_rewards.sum()),
        float(right.true_rewards.sum()),
    )


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
