"""What else the machine does while something is measured."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scripts.benchmarks.labelling import ENVIRONMENT

ALONE, TRAINING = "nothing", "a training"


def check_rehearsal(answers: int, pause: float) -> None:
    """Raise `ValueError` for fewer than two answers, or no time between them."""
    if answers < 2 or not pause > 0:
        raise ValueError(f"Two answers or more and a pause above 0 are needed, not {answers} and {pause}.")


def alone_and_beside(
    answers: int, rehearse: Callable[[Path], dict[str, Any]], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Rehearse first alone and then beside a training, each time with a new store; a row of figures for each.

    Args:
        answers: how many each time.
        rehearse: makes a store at this place and answers in it; its figures.
        tell: told what is measured.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for what in (ALONE, TRAINING):
            tell(f"{answers} answers beside {what}")
            with _beside(what, Path(folder)):
                rows.append({"beside": what, **rehearse(Path(folder) / f"{len(rows)}.db")})
    return {"rows": rows}


@contextmanager
def _beside(what: str, folder: Path) -> Iterator[None]:
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
