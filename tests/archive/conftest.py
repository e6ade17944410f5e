"""A store with answers of every kind, and its export."""

from pathlib import Path

import pytest

from rlhf_envs.archive import export_store
from tests.archive.stores import fill, new_store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.db"
    with new_store(path) as store:
        fill(store)
    return path


@pytest.fixture
def exported(source: Path, tmp_path: Path) -> Path:
    export_store(source, tmp_path / "exported", clips=False)
    return tmp_path / "exported"
