"""Everything that a run leaves behind, and where."""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from agents.configuration import RunConfig

_PACKAGES = ("rlhf-envs", "gymnasium", "stable-baselines3", "torch", "numpy", "SQLAlchemy", "pygame-ce", "safetensors")


class RunDirectory:
    """The files of one run.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.json"
        self.progress_path = self.path / "progress.csv"
        self.store_path = self.path / "feedback.db"
        self.reward_model_path = self.path / "reward_model.safetensors"
        self.policy_path = self.path / "policy.zip"
        self.checkpoints_path = self.path / "checkpoints"
        self.tensorboard_path = self.path / "tensorboard"
        self.report_path = self.path / "report.html"
        self.demonstrations_path = self.path / "demonstrations.safetensors"
        self.film_path = self.path / "film.mp4"

    def check_free(self) -> None:
        """Make sure that a new run can have this folder.

        Raises:
            ValueError: if a run is there already, or the folder holds other files.
        """
        if self.config_path.exists():
            raise ValueError(
                f"{self.path} holds a run already; add --resume to go on with it, or choose another --run-dir."
            )
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; --run-dir must name a new folder.")
        # Somebody may have played first, to train from it.
        allowed = (_unfinished(self.config_path), self.demonstrations_path)
        if self.path.is_dir() and any(path not in allowed for path in self.path.iterdir()):
            raise ValueError(f"{self.path} holds files that are no run's; choose another --run-dir.")

    def create(self, config: RunConfig) -> None:
        """Make the folder and write the configuration, with the versions of what it runs on.

        Raises:
            ValueError: if the folder is not free, see `check_free`, or cannot be made.
        """
        self.check_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.path} cannot be made: {error.strerror}.") from error
        try:
            write_json(self.config_path, {"config": config.to_json(), "versions": versions()})
        except OSError as error:
            raise ValueError(
                f"Nothing can be written into {self.path} ({error.strerror}); make room there, or choose another "
                "--run-dir."
            ) from error

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run has come as far as its first checkpoint."""
        return bool(complete_checkpoints(self.checkpoints_path))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from training in this folder meanwhile.

        Raises:
            ValueError: if another one does so already, or nothing can be written there.
        """
        try:
            file = (self.path / "lock").open("w")
        except OSError as error:
            raise ValueError(f"Nothing can be written into {self.path} ({error.strerror}); mend that first.") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(f"Another process is training in {self.path}; wait for it, or stop it.") from error
            yield

    def read_config(self) -> RunConfig:
        """The configuration that the run was started with.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
        """
        if not self.config_path.is_file():
            raise ValueError(f"{self.path} holds no run: there is no {self.config_path.name} in it.")
        content = read_json(self.config_path)
        if not isinstance(content.get("config"), dict):
            raise ValueError(f"{self.config_path} is damaged: it does not hold a run's configuration.")
        return RunConfig.from_json(content["config"])

    def store_place(self, config: RunConfig) -> str:
        """Where the run's store is: a path, or a URL."""
        return config.store or os.fspath(self.store_path)

    def read_metrics(self) -> dict[str, Any]:
        """The figures of a finished run.

        Raises:
            ValueError: if the run has not finished.
        """
        if not self.metrics_path.is_file():
            raise ValueError(f"The run in {self.path} has not finished: there is no {self.metrics_path.name} yet.")
        return read_json(self.metrics_path)


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that were written to their end, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


def versions() -> dict[str, str]:
    """The versions of everything that can change a run's numbers."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ValueError: if the file is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged and cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object.")
    return content


def strict_json(value: Any) -> Any:
    """A JSON value without NaN and infinities, which JSON has no words for: they become null."""
    if isinstance(value, Mapping):
        return {name: strict_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of strict JSON so that after a crash there is the old one or the new one, whole.

    Raises:
        OSError: if the disk is full or cannot be written; an older file stays as it was.
    """
    temporary = _unfinished(path)
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(strict_json(content), file, indent=2, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _unfinished(path: Path) -> Path:
    """Where a file is written before it takes its name; a process that is killed leaves it there."""
    return path.with_name(path.name + ".new")
