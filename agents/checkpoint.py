"""Saves a run between two rollouts and restores it, so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents.interruption import StopRequest
from agents.run_directory import read_json
from rlhf_envs.loop import LoopState
from rlhf_envs.rewards import load, save
from rlhf_envs.sb3 import EnvironmentRewardCallback, PreferenceCallback, PreferenceVecEnv, ScoringCallback

_KEPT = 2


class Checkpoints:
    """The checkpoints of one run: folders named by timesteps, complete or not there at all.

    Each holds the policy with its optimiser, the reward model, every random stream, the environments' states where they
    can be taken, the recent rollouts, and how far the feedback loop has come.

    Args:
        folder: where they lie.
        model, env, scoring: what they are of.
    """

    def __init__(self, folder: Path, model: PPO, env: PreferenceVecEnv, scoring: ScoringCallback) -> None:
        self.folder = folder
        self.seed = model.seed or 0
        self.model, self.env, self.scoring = model, env, scoring

    def save(self, notes: dict[str, Any]) -> None:
        """Write a checkpoint of this moment; `notes` are further JSON values that `restore` gives back."""
        name = f"{self.model.num_timesteps:012d}"
        new = self.folder / f".{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        torch.save(self.model.get_parameters(), new / "policy.pt")
        if isinstance(self.scoring, PreferenceCallback):
            save(self.scoring.loop.ensemble, new / "reward_model.safetensors")
        save_file({key: np.ascontiguousarray(value) for key, value in self._arrays().items()}, new / "arrays.safetensors")
        (new / "state.json").write_text(json.dumps(self._state() | {"notes": notes}), encoding="utf-8")
        for file in new.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        final = self.folder / name
        shutil.rmtree(final, ignore_errors=True)
        os.replace(new, final)
        for old in self._complete()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def restore(self) -> dict[str, Any] | None:
        """Go back to the newest checkpoint; its notes, or None where there is none yet.

        Raises:
            ValueError: if it is damaged.
        """
        complete = self._complete()
        if not complete:
            return None
        folder = complete[-1]
        state = read_json(folder / "state.json")
        arrays = load_file(folder / "arrays.safetensors")
        self.model.set_parameters(torch.load(folder / "policy.pt", weights_only=True), exact_match=True)
        self.model.num_timesteps = state["timesteps"]
        self.model._n_updates = state["updates"]
        self._restore_environment(arrays)
        if isinstance(self.scoring, PreferenceCallback):
            self.scoring.loop.ensemble = load(folder / "reward_model.safetensors")
            self.scoring.loop.restore(LoopState(**state["loop"]))
        elif isinstance(self.scoring, EnvironmentRewardCallback):
            self.scoring.mean, self.scoring.variance, self.scoring.count = state["standard"]
        _restore_random_state(state["random"], arrays)
        notes: dict[str, Any] = state["notes"]
        return notes

    def _complete(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name.isdigit())

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {f"env/{name}": array for name, array in self.env.arrays().items()}
        snapshot = self.env.snapshot()
        if snapshot is not None:
            arrays["simulation"] = snapshot
        arrays["episode_starts"] = np.asarray(self.model._last_episode_starts)
        arrays["torch_random"] = torch.get_rng_state().numpy()
        arrays["numpy_random"] = np.asarray(np.random.get_state(legacy=True)[1])
        return arrays

    def _state(self) -> dict[str, Any]:
        numpy_state = np.random.get_state(legacy=True)
        state: dict[str, Any] = {
            "timesteps": self.model.num_timesteps,
            "updates": self.model._n_updates,
            "random": {"python": random.getstate(), "numpy": [numpy_state[0], *numpy_state[2:]]},
        }
        if isinstance(self.scoring, PreferenceCallback):
            state["loop"] = asdict(self.scoring.loop.state())
        elif isinstance(self.scoring, EnvironmentRewardCallback):
            state["standard"] = [self.scoring.mean, self.scoring.variance, self.scoring.count]
        return state

    def _restore_environment(self, arrays: dict[str, NDArray[Any]]) -> None:
        model = self.model
        if "simulation" in arrays:
            model._last_obs = self.env.restore_snapshot(arrays["simulation"])
            model._last_episode_starts = arrays["episode_starts"]
            own = {name.removeprefix("env/"): array for name, array in arrays.items() if name.startswith("env/")}
            self.env.restore(own, model._last_obs)
        else:
            # Such an environment cannot be put back where it was: its copies begin new episodes, from other seeds
            # than those that they began with, so that they do not show the same starts again.
            self.env.seed(self.seed + model.num_timesteps)
            model._last_obs = self.env.reset()  # type: ignore[assignment]
            model._last_episode_starts = np.ones(self.env.num_envs, dtype=bool)


class CheckpointCallback(BaseCallback):
    """Saves a checkpoint before a rollout when enough time has passed since the last one, or a stop was asked for."""

    def __init__(self, checkpoints: Checkpoints, every_seconds: float, notes: Callable[[], dict[str, Any]], stop: StopRequest) -> None:
        super().__init__()
        self._stop = stop
        self._checkpoints = checkpoints
        self._every = every_seconds
        self._notes = notes
        self._last = time.monotonic()

    def save_now(self) -> None:
        """Save a checkpoint of this moment."""
        self._checkpoints.save(self._notes())
        self._last = time.monotonic()

    def _on_rollout_start(self) -> None:
        if self._stop.requested or time.monotonic() - self._last >= self._every:
            self.save_now()
            self._stop.check()

    def _on_step(self) -> bool:
        return True


def _restore_random_state(state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, *rest = state["numpy"]
    np.random.set_state((kind, arrays["numpy_random"], *rest))
    torch.set_rng_state(torch.from_numpy(arrays["torch_random"]))
