"""Small queries, and a store to ask them in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.segments import Segment

MakeSegment = Callable[..., Segment]
MakeQuery = Callable[..., Query]


@pytest.fixture
def make_segment() -> MakeSegment:
    def make(rewards: Any = (0.0,) * 5, seed: int = 0) -> Segment:
        rewards = np.asarray(rewards, np.float32)
        observations = np.random.default_rng(seed).normal(size=(len(rewards), 3)).astype(np.float32)
        return Segment(observations, np.zeros((len(rewards), 1), np.float32), rewards)

    return make


@pytest.fixture
def make_query(make_segment: MakeSegment) -> MakeQuery:
    def make(key: str = "0/train/0", left: Any = (0.0,) * 5, right: Any = (1.0,) * 5, **fields: Any) -> Query:
        seed = crc32(key.encode())
        segments = (make_segment(left, seed), make_segment(right, seed + 1))
        described: dict[str, Any] = {"round": 0, "segments": segments} | fields
        return Query(key, **described)

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.db"


@pytest.fixture
def store(path: Path) -> Iterator[PreferenceStore]:
    with PreferenceStore.create(path, environment={"id": "CartPole-v1", "segment_length": 5}) as made:
        yield made
