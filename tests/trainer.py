"""Training runs in processes of their own, which can be killed; without importing PyTorch anew for each of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent


class Trainer:
    """Starts `scripts.train` again and again, by forking a process that has imported it."""

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.trainer"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._child: int | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        with self._server:
            self._server.kill()

    def start(
        self, arguments: Sequence[str], output: Path, die: tuple[str, int, str] | None = None, report: bool = True
    ) -> int:
        """Begin a run and return its process id; `finish` must follow.

        Args:
            arguments: of `scripts.train`.
            output: a file for all that it says.
            die: where the process kills itself with SIGKILL: the dotted name of a function, at which call of it
                (counted from 1), and "before" or "after" that call.
            report: whether to write the report, which takes longer than a small training.
        """
        if self._child is not None:
            # A test that failed did not come to wait for its run.
            self.kill()
            self.finish()
        command = {"arguments": list(arguments), "output": str(output), "die": die, "report": report}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(command) + "\n")
        self._server.stdin.flush()
        self._child = self._answer()
        return self._child

    def kill(self) -> None:
        """Kill the run that was started, unless it has ended by itself."""
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)

    def finish(self) -> int:
        """Wait for the run; its exit status, negative where a signal ended it."""
        status = self._answer()
        self._child = None
        return status

    def run(
        self, arguments: Sequence[str], output: Path, die: tuple[str, int, str] | None = None, report: bool = True
    ) -> int:
        """`start` and `finish`."""
        self.start(arguments, output, die, report)
        return self.finish()

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def _serve() -> None:
    import torch._dynamo  # noqa: F401  (the first optimiser of a process would import it)

    import scripts.train  # noqa: F401

    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(**command)
        _tell(child)
        _tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _run(arguments: list[str], output: str, die: list[Any] | None, report: bool) -> None:
    from scripts import train

    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if die is not None:
        _arrange_death(*die)
    train.train = partial(train.train, report=report)
    try:
        status = train.main(arguments)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _arrange_death(place: str, call: int, when: str) -> None:
    parts = place.split(".")
    found: Any = __import__(parts[0])
    for length, part in enumerate(parts[1:-1], start=2):
        if not hasattr(found, part):
            __import__(".".join(parts[:length]))
        found = getattr(found, part)
    original, calls = getattr(found, parts[-1]), 0

    def deadly(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **keywords)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(found, parts[-1], deadly)


if __name__ == "__main__":
    _serve()
