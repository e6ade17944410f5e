"""Choosing among pictures in bounded memory and time. Limits are several times what is measured on an idle machine."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from rlhf_envs.kinds import KINDS
from rlhf_envs.loop import FeedbackConfig, choosing
from rlhf_envs.loop.candidates import make_candidates
from rlhf_envs.loop.choosing import QueryChooser, SegmentPool, SideRecording
from rlhf_envs.queries import Purpose, Query
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.segments import Segment

MIB = 2**20
STEPS, COPIES, LENGTH = 64, 8, 15
STATES = np.zeros((LENGTH, 1), np.uint8)


def recorded(space: spaces.Box, terminated_every: int | None = None) -> SegmentRecorder:
    recorder = SegmentRecorder(space, spaces.Discrete(3), COPIES, STEPS)
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        shown = (255 * rng.random((COPIES, *space.shape), np.float32)).astype(space.dtype)
        ended = np.full(COPIES, terminated_every is not None and step % terminated_every == 0)
        recorder.record(shown, rng.integers(0, 3, COPIES), rng.random(COPIES), ended, ended)
    return recorder


def pixels(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


@pytest.mark.parametrize("space", [pixels(4, 84, 84), pixels(96, 96, 3), spaces.Box(-1, 1, (9000,), np.float32)])
def test_choosing_among_1000_candidates_takes_little_memory_and_time(space: spaces.Box) -> None:
    ensemble = RewardEnsemble(space, spaces.Discrete(3))
    recorder = recorded(space)
    chooser = QueryChooser(FeedbackConfig(segment_length=LENGTH), KINDS, 500, seed=0)
    torch.set_num_threads(1)
    tracemalloc.start()
    started = time.process_time()
    queries = chooser.choose(recorder, ensemble, 0, {"comparison": 100}, 0)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    asked = sum(segment.nbytes for query in queries for segment in query.segments)
    assert len(queries) == 100
    assert peak - asked < 300 * MIB
    assert seconds < 2


def test_choosing_pictures_by_information_takes_little_memory() -> None:
    space = pixels(96, 96, 3)
    ensemble = RewardEnsemble(space, spaces.Discrete(3))
    ensemble.fits = 1
    chooser = QueryChooser(FeedbackConfig(segment_length=LENGTH, selection="information"), KINDS, 500, seed=0)
    tracemalloc.start()
    queries = chooser.choose(recorded(space), ensemble, 0, {"comparison": 100}, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    asked = sum(segment.nbytes for query in queries for segment in query.segments)
    assert len(queries) == 100 and peak - asked < 300 * MIB


def test_every_step_of_a_pool_is_scored_as_if_alone() -> None:
    space = pixels(40, 40, 3)
    ensemble = RewardEnsemble(space, spaces.Discrete(3), absorbing=True)
    recorder, rng = recorded(space, terminated_every=10), np.random.default_rng(1)
    past = [recorder.segment(windows := recorder.sample_windows(9, LENGTH, rng), index) for index in range(9)]
    assert windows.absorbing.any()
    pool = SegmentPool(recorder, 40, LENGTH, past, 0.4, rng)
    candidates = make_candidates(ensemble, pool, 2, rng)
    returns = ensemble.segment_returns(candidates.observations, candidates.actions, candidates.absorbing)
    np.testing.assert_allclose(candidates.returns, returns, rtol=1e-4, atol=1e-5)
    segments = [pool.segment(index) for index in range(len(pool))]
    np.testing.assert_array_equal(candidates.observations, np.stack([segment.observations for segment in segments]))
    assert candidates.described.mean(axis=(0, 1)) == pytest.approx(0, abs=1e-4)
    assert candidates.described.shape[2] < 400


def test_segments_of_several_rollouts_are_scored_as_if_alone_and_keep_their_places() -> None:
    space = pixels(40, 40, 3)
    ensemble = RewardEnsemble(space, spaces.Discrete(3), absorbing=True)
    recorder, other, rng = recorded(space), recorded(space, terminated_every=10), np.random.default_rng(1)
    past = [recorder.segment(recorder.sample_windows(9, LENGTH, rng), index) for index in range(9)]
    side = [SideRecording(0.3, other), SideRecording(0.2, other, lambda segment: replace(segment, states=STATES))]
    pool = SegmentPool(recorder, 60, LENGTH, past, 0.2, rng, side)
    rows = pool.windows.rows
    assert len(pool) == 60 and sorted(Counter((rows[rows >= 0] // COPIES).tolist()).items()) == [
        (0, 27),
        (1, 16),
        (2, 11),
    ]
    assert len(set((rows[:15] // COPIES).tolist())) > 1
    candidates = make_candidates(ensemble, pool, 2, rng)
    returns = ensemble.segment_returns(candidates.observations, candidates.actions, candidates.absorbing)
    np.testing.assert_allclose(candidates.returns, returns, rtol=1e-4, atol=1e-5)
    segments = [pool.segment(index) for index in range(len(pool))]
    np.testing.assert_array_equal(candidates.observations, np.stack([segment.observations for segment in segments]))
    np.testing.assert_array_equal(candidates.actions, np.stack([segment.actions for segment in segments]))
    np.testing.assert_allclose(candidates.hidden, ensemble.segment_features(segments), rtol=1e-3, atol=1e-4)
    assert [segment.states is STATES for segment in segments] == (rows // COPIES == 2).tolist()
    assert any(segment.absorbing is not None for segment in segments)


def test_pictures_that_differ_are_told_apart_by_their_thumbnails() -> None:
    space = pixels(64, 64, 3)
    recorder = SegmentRecorder(space, spaces.Discrete(3), 2, LENGTH)
    for step in range(LENGTH):
        moving: NDArray[np.uint8] = np.zeros((2, *space.shape), np.uint8)
        moving[0, 4 * step : 4 * step + 8, :32] = 255
        moving[1, 4 * step : 4 * step + 8, 32:] = 255
        recorder.record(moving, np.zeros(2), np.zeros(2), np.zeros(2, bool))
    pool = SegmentPool(recorder, 64, LENGTH, [], 0, np.random.default_rng(0))
    candidates = make_candidates(RewardEnsemble(space, spaces.Discrete(3)), pool, 2, np.random.default_rng(0))
    assert len(candidates)
    assert (pool.windows.rows[candidates.groups[:, 0]] != pool.windows.rows[candidates.groups[:, 1]]).all()


def test_only_so_many_bytes_of_what_was_asked_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    def query(number: int) -> Query:
        pair = [
            Segment(np.full((4, 100), number + side, np.uint8), np.zeros(4, np.int64), np.zeros(4, np.float32))
            for side in (0.0, 0.5)
        ]
        return Query(f"{number}", number, tuple(pair), purpose=Purpose.TRAIN)

    one = sum(segment.nbytes for segment in query(0).segments)
    assert one == 2 * (4 * 100 + 4 * 8 + 4 * 4)
    monkeypatch.setattr(choosing, "_REMEMBERED_BYTES", 3 * one)
    chooser = QueryChooser(FeedbackConfig(segment_length=4), KINDS, 10, seed=0)
    chooser.remember([query(number) for number in range(5)])
    assert [query.key for query in chooser._asked] == ["2", "3", "4"]
