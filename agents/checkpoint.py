"""Saves a run between two rollouts and restores it, so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
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
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize, VecTransposeImage

from agents.callbacks import StopRequest
from agents.config import refused_change
from rlhf_envs.learners import Learner
from rlhf_envs.observations import Observations
from rlhf_envs.runs import complete_checkpoints, read_json, strict_json
from rlhf_envs.sb3 import ScoringCallback

MANIFEST = "manifest.json"
"""What a checkpoint is of: the run and its configuration, and the SHA-256 of every file."""

_MOST = 2
_UNFINISHED = "."
_SHARED = "replay"
"""The folder beside the checkpoints that holds what several of them need."""
_COUNTS = ("_n_calls", "_episode_num", "_current_progress_remaining", "exploration_rate")
"""What algorithms count besides timesteps and updates, where they have it."""
_NOISE = ("exploration_mat", "exploration_matrices")
"""The state-dependent noise of a rollout."""
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
        if torch.cuda.is_available():
            arrays["cuda_random"] = torch.cuda.get_rng_state().numpy()
        return cls({"python": random.getstate(), "numpy": [kind, *rest]}, arrays)

    def restore(self) -> None:
        """Set the generators to this state."""
        version, numbers, gauss = self.values["python"]
        random.setstate((version, tuple(numbers), gauss))
        kind, *rest = self.values["numpy"]
        np.random.set_state((kind, self.arrays["numpy_random"], *rest))  # noqa: NPY002
        torch.set_rng_state(torch.from_numpy(self.arrays["torch_random"]))
        if "cuda_random" in self.arrays and torch.cuda.is_available():
            torch.cuda.set_rng_state(torch.from_numpy(self.arrays["cuda_random"]))


class Resumable(Protocol):
    """A part of a run whose state goes into checkpoints."""

    def state(self) -> dict[str, Any]:
        """JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` was at a checkpoint."""


class Checkpoints:
    """The checkpoints of one run: folders named by timesteps, complete or not there at all.

    Each holds the policy with its optimiser, the reward model, every random state, the environments' states where they
    can be taken, the recent rollouts, and how far the feedback loop has come; and a manifest, by which a file that was
    damaged or replaced, a checkpoint of another run, and an edited configuration are noticed.

    Args:
        folder: of all checkpoints.
        learner: saves and restores the model.
        model, scoring: what they are of, with the environment of the latter.
        parts: further parts of the run, by name.
        seed: of the run.
        run: identifies the run.
        config: every setting of the run, as JSON values.
    """

    def __init__(
        self,
        folder: Path,
        learner: Learner[Any],
        model: BaseAlgorithm,
        scoring: ScoringCallback,
        parts: Mapping[str, Resumable],
        seed: int = 0,
        run: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.learner, self.seed = folder, learner, seed
        self._run, self._config = run, dict(config or {})
        self._digests: dict[str, str] = {}
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
            ValueError: if it is damaged, of another run, or of other settings than a run may change.
        """
        complete = complete_checkpoints(self.folder)
        if not complete:
            return False
        folder = complete[-1]
        try:
            manifest = _read_manifest(folder)
        except _DAMAGE as error:
            raise self._damaged(folder, error) from error
        if manifest["run"] != self._run:
            raise ValueError(
                f"The checkpoint {folder} is of run {manifest['run']}, and this is run {self._run}; put the run's own "
                "checkpoints back."
            )
        changed = refused_change(manifest["config"], self._config, int(folder.name))
        if changed is not None:
            raise ValueError(
                f"The configuration was edited after the run had begun: the checkpoint {folder} was made with "
                f"{changed}; put that back into config.json, or start another run."
            )
        try:
            self._check_files(folder, manifest["files"])
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
            "counts": {name: getattr(self.model, name) for name in _COUNTS if hasattr(self.model, name)},
            "action_space": self.model.action_space.np_random.bit_generator.state,
            "scoring": scoring,
            "random": random_state.values,
            "parts": {name: strict_json(part.state()) for name, part in self.parts.items()},
        }
        (new / "state.json").write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
        self._write_manifest(new)
        for file in new.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())

    def _write_manifest(self, new: Path) -> None:
        blocks = {f"../{_SHARED}/{path.name}": path for path in sorted((self.folder / _SHARED).glob("*.safetensors"))}
        # What checkpoints share is written once, so its digest is known from then.
        shared = {name: self._digests.get(name) or _sha256(path) for name, path in blocks.items()}
        self._digests = shared
        own = {path.name: _sha256(path) for path in sorted(new.iterdir())}
        content = {"run": self._run, "config": strict_json(self._config), "files": {**own, **shared}}
        manifest = {"digest": _digest(content), **content}
        (new / MANIFEST).write_text(json.dumps(manifest, allow_nan=False), encoding="utf-8")

    def _check_files(self, folder: Path, digests: Mapping[str, str]) -> None:
        for name, digest in digests.items():
            shared = name.startswith("../")
            # Shared blocks that only a checkpoint before this one needed are deleted together with that.
            if not (shared and not (folder / name).exists()) and _sha256(folder / name) != digest:
                raise ValueError(f"{name} is not what was written")
        for path in folder.iterdir():
            if path.name not in digests and path.name != MANIFEST:
                raise ValueError(f"{path.name} is none of its files")
        self._digests = {}

    def _read(self, folder: Path) -> None:
        state = read_json(folder / "state.json")
        _check_state(state)
        arrays = load_file(folder / "arrays.safetensors")
        self.learner.restore(self.model, folder)
        self.model.num_timesteps = state["timesteps"]
        self.model._n_updates = state["updates"]
        for name in _COUNTS:
            if hasattr(self.model, name):
                setattr(self.model, name, state["counts"][name])
        self.model.action_space.np_random.bit_generator.state = state["action_space"]
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
        self._noise = arrays

    def resume(self) -> None:
        """Restore what beginning to train again has drawn anew: the random states, and the noise of actions."""
        self.random_state.restore()
        for place, noise in enumerate(_correlated_noise(self.model)):
            noise.noise_prev = self._noise[f"correlated_noise/{place}"]
        distribution = _noise_distribution(self.model)
        if distribution is not None:
            for name in _NOISE:
                setattr(distribution, name, torch.from_numpy(self._noise[f"noise/{name}"]).to(self.model.device))

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
        return {**arrays, **_exploration(self.model)}

    def _restore_environment(self, arrays: dict[str, NDArray[Any]]) -> None:
        model = self.model
        outer: Any = model.get_env()
        if "simulation" in arrays:
            self.env.restore_snapshot(arrays["simulation"])
            own = {name.removeprefix("env/"): array for name, array in arrays.items() if name.startswith("env/")}
            shown = self.env.restore(own)
            model._last_obs = shown_to_model(outer, self.env, shown)
            model._last_episode_starts = arrays["episode_starts"]
        else:
            # The state of such an environment cannot be restored: its copies begin new episodes, from seeds that
            # neither they nor the evaluation have used, so that the same starts are not seen again.
            seeds = np.random.SeedSequence([self.seed, model.num_timesteps]).generate_state(1)
            self.env.seed(int(seeds[0]))
            model._last_obs = outer.reset()
            model._last_episode_starts = np.ones(self.env.num_envs, dtype=bool)
        normaliser = model.get_vec_normalize_env()
        if normaliser is not None:
            model._last_original_obs = normaliser.get_original_obs()
        memory = getattr(model, "_last_lstm_states", None)
        if memory is not None:
            tensors = [torch.from_numpy(arrays[f"memory/{place}"]).to(model.device) for place in range(4)]
            model._last_lstm_states = type(memory)(tuple(tensors[:2]), tuple(tensors[2:]))  # type: ignore[attr-defined]


class CheckpointCallback(BaseCallback):
    """Saves a checkpoint before a rollout when enough time has passed since the last one, or a stop was asked for.

    The first rollout of a run begins with one, so that a pretrained policy is not lost.

    Args:
        checkpoints: where they go.
        every_seconds: at least this time lies between two of them.
        stop: whether the run should stop.
        resumed: whether the run resumes from a checkpoint.
    """

    def __init__(self, checkpoints: Checkpoints, every_seconds: float, stop: StopRequest, resumed: bool) -> None:
        super().__init__()
        self._checkpoints, self._every, self._stop, self._resumed = checkpoints, every_seconds, stop, resumed
        self._last = time.monotonic() if resumed else float("-inf")

    def save_now(self) -> None:
        """Save a checkpoint of this moment."""
        self._checkpoints.save()
        self._last = time.monotonic()

    def _on_rollout_start(self) -> None:
        if self._resumed:
            self._resumed = False
            # Only now, because building the run again has drawn numbers that the first run did not draw.
            self._checkpoints.resume()
        if self._stop.requested or time.monotonic() - self._last >= self._every:
            self.save_now()
            self._stop.check()

    def _on_step(self) -> bool:
        return True


def shown_to_model(outer: VecEnv, env: VecEnv, observations: Observations) -> Observations:
    """What the wrappers around an environment make of its observations, (N, *obs), without taking a step.

    Args:
        outer: what the model trains on: the environment, in wrappers of Stable-Baselines3.
        env: the environment.
        observations: of the environment.
    """
    if outer is env or not isinstance(outer, VecEnvWrapper):
        return observations
    inner: Any = shown_to_model(outer.venv, env, observations)
    if isinstance(outer, VecTransposeImage):
        shown: Observations = outer.transpose_observations(inner)
        return shown
    if isinstance(outer, VecNormalize):
        outer.old_obs = inner
        shown = outer.normalize_obs(inner)
        return shown
    return inner


def _noise_distribution(model: Any) -> Any:
    """What draws state-dependent noise; None where there is none."""
    if not getattr(model, "use_sde", False):
        return None
    return (model.actor if isinstance(model, OffPolicyAlgorithm) else model.policy).action_dist


def _correlated_noise(model: Any) -> list[OrnsteinUhlenbeckActionNoise]:
    """The noise of actions that depends on what it was before."""
    noise = getattr(model, "action_noise", None)
    each = noise.noises if isinstance(noise, VectorizedActionNoise) else [noise]
    return [one for one in each if isinstance(one, OrnsteinUhlenbeckActionNoise)]


def _exploration(model: Any) -> dict[str, NDArray[Any]]:
    """What a policy remembers between two steps besides its parameters: memory and noise."""
    arrays: dict[str, NDArray[Any]] = {}
    memory = getattr(model, "_last_lstm_states", None)
    if memory is not None:
        for place, tensor in enumerate((*memory.pi, *memory.vf)):
            arrays[f"memory/{place}"] = tensor.cpu().numpy()
    for place, noise in enumerate(_correlated_noise(model)):
        arrays[f"correlated_noise/{place}"] = noise.noise_prev
    distribution = _noise_distribution(model)
    if distribution is not None:
        arrays |= {f"noise/{name}": getattr(distribution, name).detach().cpu().numpy() for name in _NOISE}
    return arrays


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST)
    digest = manifest.pop("digest", None)
    if digest != _digest(manifest):
        raise ValueError(f"{MANIFEST} is not what was written")
    return manifest


def _digest(content: Mapping[str, Any]) -> str:
    """Of JSON values, however they are written down."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
