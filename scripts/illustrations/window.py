"""The labelling window, as it looks in the middle of a sitting."""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pygame

from rlhf_envs.feedback import AnnotatorSession, PreferenceStore, Query
from rlhf_envs.feedback.practice import practice_pairs
from rlhf_envs.feedback.status import TRAINING
from rlhf_envs.feedback.window.labelling import open_window

_SECONDS_TO_DRAW = 2.5
_ANSWERED, _ASKED = 86, 200


def save_window(environment_id: str, path: Path, size: tuple[int, int] = (1200, 760)) -> None:
    """Open the window without a screen on an expert's clip beside one of random actions, and save what it shows.

    Args:
        environment_id: one of the suite.
        path: where the picture goes.
        size: (width, height) of the window in pixels.
    """
    os.environ["SDL_VIDEODRIVER"] = "dummy"
    environment = {"id": environment_id, "kwargs": {}, "segment_length": 25}
    with (
        TemporaryDirectory() as folder,
        PreferenceStore.create(Path(folder) / "feedback.db", environment=environment) as store,
    ):
        pair = practice_pairs(environment, 1)[0]
        queries = [Query(f"0/train/{number}", 0, (pair.bad, pair.good)) for number in range(_ASKED)]
        for id in store.ask(queries)[-_ANSWERED:]:
            store.answer(id, "ann", "left", shown_at=float(2 * id), answered_at=float(2 * id) + 2.6)
        store.post_status(TRAINING, _training())
        with open_window(AnnotatorSession(store, "ann"), size=size) as show:
            until = time.monotonic() + _SECONDS_TO_DRAW
            while time.monotonic() < until:
                show.tick()
            pygame.image.save(show.window.get_surface(), path)


def _training() -> dict[str, object]:
    curve = [[4096 * step, 20.0 + 9.0 * step**0.5, min(0.55 + 0.03 * step, 0.91)] for step in range(1, 50)]
    return {
        "state": "training",
        "waiting_for": 0,
        "timesteps": curve[-1][0],
        "total_timesteps": 500_000,
        "labels": _ANSWERED,
        "comparisons": _ASKED,
        "test_accuracy": 0.91,
        "learned_return": 83.0,
        "true_return": 96.0,
        "curve": curve,
    }
