"""A trained run that the command's tests can look at, copy and damage."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.settings import DRIVING
from tests.trainer import Trainer


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    with Trainer() as started:
        yield started


@pytest.fixture(scope="module")
def finished(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    arguments = ["--run-dir", str(folder / "run"), *DRIVING, "--teacher.beta", "inf"]
    assert trainer.run(arguments, folder / "said.txt") == 0, (folder / "said.txt").read_text()
    return folder / "run"


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
