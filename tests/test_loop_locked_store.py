"""A feedback loop whose store another process has locked: it waits and says so, or says what is the matter."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from rlhf_envs.feedback import PreferenceStore, ScriptedTeacher, StoreLockedError, TeacherConfig
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import EnsembleConfig, FitConfig, RewardEnsemble

NUMBERS = spaces.Box(-1, 1, (3,), np.float32)
HORIZON = COPIES = 16
TOTAL = 1000


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[FeedbackLoop]:
    PreferenceStore.create(tmp_path / "feedback.db").close()
    config = FeedbackConfig(answers=50, held_out_share=0.2, segment_length=4)
    ensemble = RewardEnsemble(NUMBERS, NUMBERS, EnsembleConfig(3, (16,)))
    with PreferenceStore.open(tmp_path / "feedback.db", patience=0.05) as hasty:
        oracle = ScriptedTeacher(TeacherConfig(), "oracle")
        yield FeedbackLoop(hasty, ensemble, config, HORIZON, annotator=oracle, fit=FitConfig(steps=20, epochs=1))


@pytest.fixture
def holder(tmp_path: Path, loop: FeedbackLoop) -> Iterator[sqlite3.Connection]:
    """Another process's connection, which holds the lock that every writer needs."""
    connection = sqlite3.connect(tmp_path / "feedback.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def rollouts() -> SegmentRecorder:
    recorder = SegmentRecorder(NUMBERS, NUMBERS, COPIES, 64)
    rng = np.random.default_rng(0)
    for step in range(64):
        observations, actions = rng.uniform(-1, 1, (2, COPIES, 3)).astype(np.float32)
        recorder.record(observations, actions, observations[:, 0], np.full(COPIES, step % HORIZON == HORIZON - 1))
    return recorder


def test_training_waits_while_another_process_has_locked_the_store(
    loop: FeedbackLoop, holder: sqlite3.Connection
) -> None:
    told: list[str] = []

    def release_at_third(awaited: str) -> None:
        told.append(awaited)
        if len(told) == 3:
            holder.execute("ROLLBACK")

    loop.on_wait = release_at_third
    report = loop.visit(rollouts(), 100, TOTAL)
    assert told == ["the feedback store, which another process has locked"] * 3
    assert report.asked == report.labels == 11


def test_a_locked_store_is_an_error_where_nobody_would_hear_of_the_waiting(
    loop: FeedbackLoop, holder: sqlite3.Connection
) -> None:
    with pytest.raises(StoreLockedError, match="locked by another process"):
        loop.visit(rollouts(), 100, TOTAL)


def test_news_that_cannot_be_posted_ends_no_training(loop: FeedbackLoop, holder: sqlite3.Connection) -> None:
    loop.status.report("waiting", immediately=True)
    assert TRAINING not in loop.store.statuses()
    holder.execute("ROLLBACK")
    loop.status.report("training", immediately=True)
    assert loop.store.statuses()[TRAINING].value["state"] == "training"
