"""Saves a run between two rollouts and restores it, so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecTransposeImage

from agents.interruption import StopRequest
from agents.random_state import RandomState
from agents.run_directory import complete_checkpoints, read_json, strict_json
from rlhf_envs.loop import LoopState
from rlhf_envs.rewards import load, save
from rlhf_envs.sb3 import EnvironmentRewardCallback, PreferenceCallback, PreferenceVecEnv, ScoringCallback

_KEPT = 2
_UNFINISHED = "."
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RuntimeError),
    SafetensorError,
)


class Checkpoints:
    """The checkpoints of one run: folders named by timesteps, complete or not there at all.

    Each holds the policy with its optimiser, the reward model, every random stream, the environments' states where they
    can be taken, the recent rollouts, and how far the feedback loop has come.

    Args:
        folder: where they lie.
        model, env, scoring: what they are of.
        seed: of the run.
    """

    def __init__(
        self, folder: Path, model: PPO, env: PreferenceVecEnv, scoring: ScoringCallback, seed: int = 0
    ) -> None:
        self.folder, self.seed = folder, seed
        self.model, self.env, self.scoring = model, env, scoring

    def save(self, notes: dict[str, Any]) -> None:
        """Write a checkpoint of this moment, unless there is one; `restore` gives back `notes`, further JSON values.

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
            self._write(new, notes)
            os.replace(new, final)
            for old in complete_checkpoints(self.folder)[:-_KEPT]:
                # A folder is renamed before it is emptied, so that none with a proper name is ever half there.
                os.replace(old, old.with_name(f"{_UNFINISHED}{old.name}"))
            self._clear()
        except (OSError, RuntimeError, SafetensorError) as error:
            raise OSError(
                f"A checkpoint could not be written to {self.folder} ({_reason(error)}); free some space or mend the "
                "disk, and go on with --resume: the checkpoint before and all answers are kept."
            ) from error

    def restore(self) -> dict[str, Any] | None:
        """Go back to the newest checkpoint; its notes, or None where there is none yet.

        Raises:
            ValueError: if it is damaged.
        """
        complete = complete_checkpoints(self.folder)
        if not complete:
            return None
        folder = complete[-1]
        try:
            return self._read(folder)
        except _DAMAGE as error:
            raise self._damaged(folder, error) from error

    def _write(self, new: Path, notes: dict[str, Any]) -> None:
        torch.save(self.model.get_parameters(), new / "policy.pt")
        if isinstance(self.scoring, PreferenceCallback):
            save(self.scoring.loop.ensemble, new / "reward_model.safetensors")
        random_state = RandomState.now()
        arrays = {**self._arrays(), **random_state.arrays}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, new / "arrays.safetensors")
        state = self._state() | {"random": random_state.values, "notes": strict_json(notes)}
        (new / "state.json").write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
        for file in new.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())

    def _read(self, folder: Path) -> dict[str, Any]:
        state = read_json(folder / "state.json")
        _check_state(state)
        arrays = load_file(folder / "arrays.safetensors")
        self.model.set_parameters(_load_tensors(folder / "policy.pt"), exact_match=True)
        self.model.num_timesteps = state["timesteps"]
        self.model._n_updates = state["updates"]
        self._restore_environment(arrays)
        if isinstance(self.scoring, PreferenceCallback):
            self.scoring.loop.ensemble = load(folder / "reward_model.safetensors")
            self.scoring.loop.restore(LoopState(**state["loop"]))
        elif isinstance(self.scoring, EnvironmentRewardCallback):
            self.scoring.mean, self.scoring.variance, self.scoring.count = state["standard"]
        self.random_state = RandomState(state["random"], arrays)
        # Tried now, while it can still be told that it is damaged; it is needed only once training begins.
        before = RandomState.now()
        try:
            self.random_state.restore()
        finally:
            before.restore()
        notes: dict[str, Any] = state["notes"]
        return notes

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

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"timesteps": self.model.num_timesteps, "updates": self.model._n_updates}
        if isinstance(self.scoring, PreferenceCallback):
            state["loop"] = asdict(self.scoring.loop.state())
        elif isinstance(self.scoring, EnvironmentRewardCallback):
            state["standard"] = [self.scoring.mean, self.scoring.variance, self.scoring.count]
        return state

    def _restore_environment(self, arrays: dict[str, NDArray[Any]]) -> None:
        model = self.model
        # Stable-Baselines3 puts a wrapper of its own around environments that show pictures.
        outer = model.get_env()
        if "simulation" in arrays:
            shown = self.env.restore_snapshot(arrays["simulation"])
            own = {name.removeprefix("env/"): array for name, array in arrays.items() if name.startswith("env/")}
            self.env.restore(own, shown)
            model._last_obs = outer.transpose_observations(shown) if isinstance(outer, VecTransposeImage) else shown
            model._last_episode_starts = arrays["episode_starts"]
        else:
            # Such an environment cannot be put back where it was: its copies begin new episodes, from seeds that
            # neither they nor the evaluation have seen, so that they do not show the same starts again.
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
        notes: asked what else to keep.
        stop: whether somebody wants the run to stop.
        resumed: whether the run goes on from one.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every_seconds: float,
        notes: Callable[[], dict[str, Any]],
        stop: StopRequest,
        resumed: bool,
    ) -> None:
        super().__init__()
        self._stop = stop
        self._checkpoints = checkpoints
        self._every = every_seconds
        self._notes = notes
        self._resumed = resumed
        self._last = time.monotonic() if resumed else float("-inf")

    def save_now(self) -> None:
        """Save a checkpoint of this moment."""
        self._checkpoints.save(self._notes())
        self._last = time.monotonic()

    def _on_rollout_start(self) -> None:
        if self._resumed:
            self._resumed = False
            # Only now: whatever was drawn while the run was put together again, it was not drawn the first time.
            self._checkpoints.random_state.restore()
        if self._stop.requested or time.monotonic() - self._last >= self._every:
            self.save_now()
            self._stop.check()
        model: Any = self.model
        if model.use_sde:
            # Stable-Baselines3 drew the noise of this rollout just before the checkpoint; drawn again after it, the
            # noise is the same in a run that goes on from there.
            model.policy.reset_noise(model.n_envs)

    def _on_step(self) -> bool:
        return True


def _check_state(state: dict[str, Any]) -> None:
    loop = state.get("loop", {})
    if not isinstance(loop, dict):
        raise ValueError(f"state.json: loop must be an object, not {loop!r}")
    counts = {name: state[name] for name in ("timesteps", "updates")}
    counts |= {name: loop[name] for name in ("round", "asked", "asked_test", "cursor", "labels") if name in loop}
    for name, value in counts.items():
        if type(value) is not int or value < 0:
            raise ValueError(f"state.json: {name} must be a whole number, not {value!r}")
    figures = [*state.get("standard", []), loop.get("test_accuracy") or 0.0]
    if any(type(value) not in (int, float) for value in figures):
        raise ValueError(f"state.json: {figures} must be numbers")
    notes = state["notes"]
    if not isinstance(notes, dict) or not all(isinstance(part, dict) for part in notes.values()):
        raise ValueError("state.json: notes must be an object of objects")


def _load_tensors(path: Path) -> dict[str, Any]:
    try:
        tensors: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:
        # The restricted reader meets damaged bytes with whatever its step that stumbles over them happens to raise.
        raise ValueError(f"{path.name}: {_reason(error)}") from error
    return tensors


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
