"""Experiment trackers by choice: a training run is shown in Weights & Biases or in trackio while it goes on.

Weights & Biases has a callback for Stable-Baselines3 and takes figures from TensorBoard, as its documentation describes
(`wandb.integration.sb3.WandbCallback`, `sync_tensorboard`). trackio has neither for Stable-Baselines3; its interface is
that of wandb (`init`, `log`, `finish`), and figures reach it through an output of Stable-Baselines3's logger.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from rlhf_envs.runs import RunDirectory

Tracker = Literal["none", "wandb", "trackio"]

_FINAL = "final/"


def check_tracker(tracker: Tracker) -> None:
    """Raise `ValueError` if the package of a tracker is not installed."""
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise ValueError(f"--tracker {tracker} needs the package {tracker}: pip install 'rlhf-envs[{tracker}]'.")


@dataclass
class Tracking:
    """How a run reaches its tracker.

    Attributes:
        callbacks: for `learn`.
        writers: outputs for the logger.
        summarise: called with the final figures, by their names.
    """

    callbacks: list[BaseCallback] = field(default_factory=list)
    writers: list[KVWriter] = field(default_factory=list)
    summarise: Callable[[dict[str, float]], None] = lambda figures: None

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Add the final figures of a run, those that are numbers, as in metrics.json."""
        self.summarise({f"{_FINAL}{name}": value for name, value in metrics.items() if _is_figure(value)})


class TrackioWriter(KVWriter):
    """Sends what Stable-Baselines3 logs to trackio, with the environment steps so far as its step."""

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Send the figures of a dump; what is no finite number is left out."""
        import trackio

        figures = {name: float(value) for name, value in key_values.items() if _is_figure(value)}
        if figures:
            trackio.log(figures, step=step)

    def close(self) -> None:
        """Nothing to close: the run is finished after its final figures."""
        return None


@contextmanager
def tracking(tracker: Tracker, project: str, directory: RunDirectory, config: Mapping[str, Any]) -> Iterator[Tracking]:
    """Show a run in a tracker as long as the context lasts; a resumed run goes on where it was.

    Weights & Biases takes what is logged through TensorBoard writers that are made afterwards.

    Args:
        tracker: which; "none" shows it nowhere.
        project: in which it is shown.
        directory: of the run, whose name and id it has there.
        config: every setting, as JSON values.

    Raises:
        ValueError: if the package is not installed, or the tracker cannot be reached.
    """
    check_tracker(tracker)
    if tracker == "wandb":
        yield from _in_wandb(project, directory, config)
    elif tracker == "trackio":
        yield from _in_trackio(project, directory, config)
    else:
        yield Tracking()


def _in_wandb(project: str, directory: RunDirectory, config: Mapping[str, Any]) -> Iterator[Tracking]:
    import wandb
    from wandb.integration import tensorboard
    from wandb.integration.sb3 import WandbCallback

    try:
        run = wandb.init(
            project=project,
            name=directory.path.name,
            id=directory.read_id(),
            resume="allow",
            dir=directory.path,
            config=dict(config),
            sync_tensorboard=True,
        )
    except (wandb.Error, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"Weights & Biases cannot be reached ({reason}); log in with `wandb login`, or set WANDB_MODE=offline."
        ) from error
    try:
        yield Tracking([WandbCallback()], summarise=run.summary.update)
    finally:
        run.finish()
        tensorboard.unpatch()


def _in_trackio(project: str, directory: RunDirectory, config: Mapping[str, Any]) -> Iterator[Tracking]:
    import trackio

    name = f"{directory.path.name}-{directory.read_id()[:8]}"
    trackio.init(project=project, name=name, config=dict(config), resume="allow", embed=False)
    try:
        yield Tracking(writers=[TrackioWriter()], summarise=trackio.log)
    finally:
        trackio.finish()


def _is_figure(value: Any) -> bool:
    if isinstance(value, bool | str):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
