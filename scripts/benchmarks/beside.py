"""What else the machine does while something is measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.labelling import ENVIRONMENT

ALONE, TRAINING = "nothing", "a training"


@contextmanager
def beside(what: str, folder: Path) -> Iterator[None]:
    """Nothing, or a training run in `folder` that goes on for as long as the context and is stopped then."""
    if what == ALONE:
        yield
        return
    command = [sys.executable, "-m", "scripts.train", "--env", str(ENVIRONMENT["id"]), "--timesteps", "100000000"]
    with (folder / "said.txt").open("w") as said:
        run = subprocess.Popen([*command, "--run-dir", str(folder / "run")], stdout=said, stderr=said)
        try:
            yield
        finally:
            run.kill()
            run.wait()
