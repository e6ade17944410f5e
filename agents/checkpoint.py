"""Saves a run between two rollouts and restores it, so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecTransposeImage

from agents.callbacks import StopRequest
from rlhf_envs.learners import Learner
from rlhf_envs.runs import complete_checkpoints, read_json, strict_json
from rlhf_envs.sb3 import ScoringCallback

_MOST = 2
_UNFINISHED = "."
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RuntimeError),
    SafetensorError,
)


@dataclass(frozen=True, eq=False)
class RandomState:
    """State of the global random generators that Stable-Baselines3 draws from: PyTorch's, numpy's and Python's.

    Attributes:
        values: the JSON part.
        arrays: the large part, by name; further arrays among these are ignored.
    """

    values: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def now(cls) -> Self:
        """The state at this moment."""
        kind, numbers, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
        arrays = {"torch_random": torch.get_rng_state().numpy(), "numpy_random": np.asarray(numbers)}
        return cls({"python": random.getstate(), "numpy": [kind, *rest]}, arrays)

    def restore(self) -> None:
        """Set the generators to this state."""
        version, numbers, gauss = self.values["python"]
        random.setstate((version, tuple(numbers), gauss))
        kind, *rest = self.values["numpy"]
        np.random.set_state((kind, self.arrays["numpy_random"], *rest))  # noqa: NPY002
        torch.set_rng_state(torch.from_numpy(self.arrays["torch_random"]))


class Resumable(Protocol):
    """A part of a run whose state goes into checkpoints."""

    def state(self) -> dict[str, Any]:
        """JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` was at a checkpoint."""


class Checkpoints:
    """The checkpoints of one run: folders named by timesteps, complete or not there at all.

    Each holds the policy with its optimiser, the reward model, every random state, the environments' states where they
    can be taken, the recent rollouts, and how far the feedback loop has come.

    Args:
        folder: of all checkpoints.
        learner: saves and restores the model.
        model, scoring: what they are of, with the environment of the latter.
        parts: further parts of the run, by name.
        seed: of the run.
    """

    def __init__(
        self,
        folder: Path,
        learner: Learner[Any],
        model: BaseAlgorithm,
        scoring: ScoringCallback,
        parts: Mapping[str, Resumable],
        seed: int = 0,
    ) -> None:
        self.folder, self.learner, self.seed = folder, learner, seed
        self.model, self.env, self.scoring, self.parts = model, scoring.env, scoring, parts

    def save(self) -> None:
        """Write a checkpoint of this moment, unless there is one.

        Raises:
            OSError: if the disk is full or cannot be written; the checkpoints before are kept.
        """
        final = self.folder / f"{self.model.num_timesteps:012d}"
        if final.exists():
            return
        new = final.with_name(f"{_UNFINISHED}{final.name}")
        try:
            self._clear()
            new.mkdir(parents=True)
            self._write(new)
            os.replace(new, final)
            for old in complete_checkpoints(self.folder)[:-_MOST]:
                # A folder is renamed before it is emptied, so that none with a proper name is ever half there.
                os.replace(old, old.with_name(f"{_UNFINISHED}{old.name}"))
            self._clear()
        except (OSError, RuntimeError, SafetensorError) as error:
            raise OSError(
                f"A checkpoint could not be written to {self.folder} ({_reason(error)}); free some space or mend the "
                "disk, and go on with --resume: the checkpoint before and all answers are kept."
            ) from error

    def restore(self) -> bool:
        """Restore the newest checkpoint; whether there is one.

        Raises:
            ValueError: if it is damaged.
        """
        complete = complete_checkpoints(self.folder)
        if not complete:
            return False
        folder = complete[-1]
        try:
            self._read(folder)
            return True
        except _DAMAGE as error:
            raise self._damaged(folder, error) from error

    def _write(self, new: Path) -> None:
        self.learner.save(self.model, new)
        scoring = self.scoring.save(new)
        random_state = RandomState.now()
        arrays = {**self._arrays(), **random_state.arrays}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, new / "arrays.safetensors")
        state = {
            "timesteps": self.model.num_timesteps,
            "updates": self.model._n_updates,
            "scoring": scoring,
            "random": random_state.values,
            "parts": {name: strict_json(part.state()) for name, part in self.parts.items()},
        }
        (new / "state.json").write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
        for file in new.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())

    def _read(self, folder: Path) -> None:
        state = read_json(folder / "state.json")
        _check_state(state)
        arrays = load_file(folder / "arrays.safetensors")
        self.learner.restore(self.model, folder)
        self.model.num_timesteps = state["timesteps"]
        self.model._n_updates = state["updates"]
        self._restore_environment(arrays)
        self.scoring.restore(folder, state["scoring"])
        self.random_state = RandomState(state["random"], arrays)
        # Tried now, while damage can still be reported; it is needed only once training begins.
        before = RandomState.now()
        try:
            self.random_state.restore()
        finally:
            before.restore()
        for name, part in self.parts.items():
            part.restore(state["parts"][name])

    def _clear(self) -> None:
        """Delete what an earlier process has left half written or half deleted."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                # A file is none of ours: some file managers leave hidden ones wherever they have looked.
                if path.name.startswith(_UNFINISHED) and path.is_dir():
                    shutil.rmtree(path)

    def _damaged(self, folder: Path, error: Exception) -> ValueError:
        return ValueError(
            f"The checkpoint {folder} is damaged and cannot be read ({_reason(error)}); delete that folder to go on "
            "from the checkpoint before it."
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {f"env/{name}": array for name, array in self.env.arrays().items()}
        snapshot = self.env.snapshot()
        if snapshot is not None:
            arrays["simulation"] = snapshot
        arrays["episode_starts"] = np.asarray(self.model._last_episode_starts)
        return arrays

    def _restore_environment(self, arrays: dict[str, NDArray[Any]]) -> None:
        model = self.model
        # Stable-Baselines3 puts a wrapper of its own around environments with image observations.
        outer = model.get_env()
        if "simulation" in arrays:
            shown = self.env.restore_snapshot(arrays["simulation"])
            own = {name.removeprefix("env/"): array for name, array in arrays.items() if name.startswith("env/")}
            self.env.restore(own, shown)
            model._last_obs = outer.transpose_observations(shown) if isinstance(outer, VecTransposeImage) else shown
            model._last_episode_starts = arrays["episode_starts"]
        else:
            # The state of such an environment cannot be restored: its copies begin new episodes, from seeds that
            # neither they nor the evaluation have used, so that the same starts are not seen again.
            seeds = np.random.SeedSequence([self.seed, model.num_timesteps]).generate_state(1)
            self.env.seed(int(seeds[0]))
            model._last_obs = (outer or self.env).reset()  # type: ignore[assignment]
            model._last_episode_starts = np.ones(self.env.num_envs, dtype=bool)


class CheckpointCallback(BaseCallback):
    """Saves a checkpoint before a rollout when enough time has passed since the last one, or a stop was asked for.

    The first rollout of a run begins with one, so that a pretrained policy is not lost.

    Args:
        checkpoints: where they go.
        every_seconds: at least this time lies between two of them.
        stop: whether the run should stop.
        resumed: whether the run resumes from a checkpoint.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every_seconds: float,
        stop: StopRequest,
        resumed: bool,
    ) -> None:
        super().__init__()
        self._stop = stop
        self._checkpoints = checkpoints
        self._every = every_seconds
        self._resumed = resumed
        self._last = time.monotonic() if resumed else float("-inf")

    def save_now(self) -> None:
        """Save a checkpoint of this moment."""
        self._checkpoints.save()
        self._last = time.monotonic()

    def _on_rollout_start(self) -> None:
        if self._resumed:
            self._resumed = False
            # Only now, because building the run again has drawn numbers that the first run did not draw.
            self._checkpoints.random_state.restore()
        if self._stop.requested or time.monotonic() - self._last >= self._every:
            self.save_now()
            self._stop.check()
        model: Any = self.model
        if getattr(model, "use_sde", False):
            # Stable-Baselines3 drew the noise of this rollout just before the checkpoint; drawn again after it, the
            # noise is the same in a run that goes on from there.
            model.policy.reset_noise(model.n_envs)

    def _on_step(self) -> bool:
        return True


def _check_state(state: dict[str, Any]) -> None:
    for name in ("timesteps", "updates"):
        if type(state[name]) is not int or state[name] < 0:
            raise ValueError(f"state.json: {name} must be a whole number, not {state[name]!r}")
    for name in ("scoring", "parts"):
        if not isinstance(state[name], dict):
            raise ValueError(f"state.json: {name} must be an object, not {state[name]!r}")
    if not all(isinstance(part, dict) for part in state["parts"].values()):
        raise ValueError("state.json: parts must be an object of objects")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
