"""Small queries, and a store to ask them in."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.feedback import PreferenceStore, Query
from rlhf_envs.segments import Segment
from tests.feedback.postgresql import SERVER_VARIABLE, empty_database, programs, running_server

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a store on both databases, except tests that need an SQLite file by its path."""
    if "backend" in metafunc.fixturenames:
        here = metafunc.definition.path.parent == Path(__file__).parent
        both = here and "path" not in metafunc.fixturenames
        metafunc.parametrize("backend", ["sqlite", "postgresql"] if both else ["sqlite"], scope="session")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    if not os.environ.get(SERVER_VARIABLE) and programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with running_server() as url:
        yield url


@pytest.fixture
def place(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store can be made: a path, or the URL of an empty PostgreSQL database."""
    if backend == "sqlite":
        yield str(tmp_path / "feedback.db")
    else:
        with empty_database(request.getfixturevalue("postgresql_server")) as url:
            yield url


@pytest.fixture
def store(place: str) -> Iterator[PreferenceStore]:
    with PreferenceStore.create(place, StoredEnvironment(EnvironmentRef("CartPole-v1"), 5)) as made:
        yield made
