"""The folder of a training run: its files, and what can be read of the run without the program that trained it."""

from __future__ import annotations

import csv
import fcntl
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.files import write_atomically
from rlhf_envs.json_values import settings_from_json
from rlhf_envs.observations import Observations
from rlhf_envs.versions import software_versions

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rlhf_envs.feedback import PreferenceStore
    from rlhf_envs.rewards import RewardEnsemble

PROGRESS_COLUMNS = (
    "timesteps",
    "seconds",
    "true_return_mean",
    "learned_return_mean",
    "labels",
    "held_out_loss",
    "held_out_accuracy",
    "test_accuracy",
    "steps_per_second",
    "fit_seconds",
    "kl",
    "kl_coef",
)
"""The columns of progress.csv, one row per rollout, or per round of short ones. Empty where there is no figure yet."""

_LOCK = "lock"

PACKAGES = ("gymnasium", "stable-baselines3", "torch", "numpy", "SQLAlchemy", "pygame-ce", "safetensors")
"""Those whose versions can change the numbers of a run."""


@dataclass(frozen=True)
class RunSettings:
    """What config.json says about a run, as far as using its results needs it.

    Attributes:
        environment: where the policy was trained; None for a run that learned a reward only.
        reward: what the policy was trained on: "learned", "true" or "proxy".
        feedback: who answered.
        learner: the algorithm, as `find_learner` takes it.
        learner_settings: its settings, as JSON.
        seed: of everything random.
        store: the URL of the run's feedback store; None for the file in the run's folder.
        segment_length: steps in a segment; None where that was left to the environment, and the store knows it.
        kinds: shares of the kinds of feedback that the run asked besides comparisons; names as `find_kind` takes them.
        all: every setting, as JSON.
    """

    environment: EnvironmentRef | None
    reward: str
    feedback: str
    learner: str
    learner_settings: Mapping[str, Any]
    seed: int
    store: str | None
    segment_length: int | None
    kinds: Mapping[str, Any]
    all: Mapping[str, Any]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSettings:
        """Read the configuration of a run.

        Raises:
            ValueError: if a setting is missing, or of another type than it should be.
        """
        environment, labels = values.get("environment"), values.get("labels")
        found: dict[str, Any] = {
            "reward": values.get("reward"),
            "feedback": values.get("feedback"),
            "learner": values.get("learner"),
            "learner_settings": values.get("learner_settings"),
            "seed": values.get("seed"),
            "store": values.get("store"),
            "segment_length": labels.get("segment_length") if isinstance(labels, Mapping) else None,
            "kinds": labels.get("kinds") if isinstance(labels, Mapping) else None,
        }
        types = {
            **{"learner_settings": dict, "seed": int, "segment_length": int | None},
            **{"kinds": dict, "store": str | None},
        }
        for name, value in found.items():
            if not isinstance(value, types.get(name, str)) or isinstance(value, bool):
                raise ValueError(f"{name} is {value!r}")
        return cls(None if environment is None else EnvironmentRef.from_json(environment), **found, all=values)


class RunInUseError(ValueError):
    """Another process is training in the folder."""


_MAPS_OF_NUMBERS = ("reward_terms", "baseline_reward_terms", "measures", "baseline_measures")
"""Figures of a run that are numbers by name, or by policy and name."""


class RunDirectory:
    """The files of one run.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Environments may change the working directory.
        self.path = Path(path).absolute()
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.json"
        self.progress_path = self.path / "progress.csv"
        self.store_path = self.path / "feedback.db"
        self.reward_model_path = self.path / "reward_model.safetensors"
        self.policy_path = self.path / "policy.zip"
        self.normaliser_path = self.path / "normaliser.safetensors"
        self.checkpoints_path = self.path / "checkpoints"
        self.fresh_policy_path = self.path / "fresh_policy"
        self.tensorboard_path = self.path / "tensorboard"
        self.report_path = self.path / "report.html"
        self.report_folder = self.path / "report"
        self.quality_path = self.path / "quality.html"
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
        # Demonstrations may have been recorded there before, to train from them.
        allowed = (self.demonstrations_path.name, f".{self.config_path.name}.unfinished", _LOCK)
        if self.path.is_dir() and any(path.name not in allowed for path in self.path.iterdir()):
            raise ValueError(f"{self.path} holds files that are no run's; choose another --run-dir.")

    def create(self, config: Mapping[str, Any], command: str | None = None) -> None:
        """Make the folder and write config.json, with the versions of the packages in use.

        Args:
            config: every setting of the run, as JSON values.
            command: the command line that starts the run; None where code does.

        Raises:
            ValueError: if the folder is not free, see `check_free`, or cannot be made.
        """
        self.check_free()
        self._make_folder()
        try:
            run = {"id": uuid.uuid4().hex}
            commands = [] if command is None else [command]
            versions = software_versions(PACKAGES)
            write_json(self.config_path, {"run": run, "config": config, "versions": versions, "commands": commands})
        except OSError as error:
            raise ValueError(
                f"Nothing can be written into {self.path} ({error.strerror}); free some space there, or choose another "
                "--run-dir."
            ) from error

    @contextmanager
    def starting(self, config: Mapping[str, Any], command: str | None = None) -> Iterator[None]:
        """Make the folder and config.json, and if what follows is refused, leave nothing of them.

        Args:
            config, command: as in `create`.

        Raises:
            ValueError: as `create`, or if another process is about to start a run in the folder.
        """
        self.check_free()
        before = set(self.path.iterdir()) if self.path.is_dir() else None
        self._make_folder()
        with self.locked():
            self.create(config, command)
            try:
                yield
            except (ValueError, RuntimeError, OSError):
                # The lock makes sure that all of this is of the start that was refused.
                for path in set(self.path.iterdir()) - (before or set()):
                    path.unlink()
                if before is None:
                    self.path.rmdir()
                raise

    @property
    def has_checkpoint(self) -> bool:
        """Whether the run has come as far as its first checkpoint."""
        return bool(complete_checkpoints(self.checkpoints_path))

    @property
    def trained_timesteps(self) -> int:
        """How many timesteps the newest checkpoint has trained for; 0 without one."""
        return max((int(path.name) for path in complete_checkpoints(self.checkpoints_path)), default=0)

    def rewrite_config(self, config: Mapping[str, Any]) -> None:
        """Write other settings of the same run into config.json.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
            OSError: if it cannot be written; the settings are then as they were.
        """
        self.read_id()
        write_json(self.config_path, {**read_json(self.config_path), "config": config})

    def add_command(self, command: str) -> None:
        """Note in config.json the command line that goes on with the run.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
            OSError: if it cannot be written.
        """
        content = read_json(self.config_path)
        write_json(self.config_path, {**content, "commands": [*self.read_commands(), command]})

    def read_commands(self) -> list[str]:
        """The command lines that started the run and went on with it; none where code did.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
        """
        self.read_config()
        commands = read_json(self.config_path).get("commands", [])
        if not isinstance(commands, list) or not all(isinstance(command, str) for command in commands):
            raise ValueError(f"{self.config_path} is damaged: its commands are {commands!r}.")
        return commands

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in this folder meanwhile.

        Raises:
            RunInUseError: if another one does so already.
            ValueError: if nothing can be written there.
        """
        try:
            file = (self.path / _LOCK).open("w")
        except OSError as error:
            raise ValueError(f"Nothing can be written into {self.path} ({error.strerror}); mend that first.") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunInUseError(f"Another process is training in {self.path}; wait for it, or stop it.") from error
            yield

    def read_config(self) -> dict[str, Any]:
        """Every setting of the run, as JSON values.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
        """
        if not self.config_path.is_file():
            raise ValueError(f"{self.path} holds no run: there is no {self.config_path.name} in it.")
        content = read_json(self.config_path).get("config")
        if not isinstance(content, dict):
            raise ValueError(f"{self.config_path} is damaged: it does not hold a run's configuration.")
        return content

    def read_id(self) -> str:
        """What tells this run from all others.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
        """
        self.read_config()
        run = read_json(self.config_path).get("run")
        if not isinstance(run, dict) or not isinstance(run.get("id"), str):
            raise ValueError(f"{self.config_path} is damaged: it does not say which run it is of.")
        return str(run["id"])

    def read_versions(self) -> dict[str, str]:
        """The versions of the packages that the run was started with.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
        """
        return dict(read_json(self.config_path).get("versions", {}))

    def read_settings(self) -> RunSettings:
        """The settings that using the run's results needs.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
        """
        config = self.read_config()
        try:
            return RunSettings.from_json(config)
        except ValueError as error:
            raise ValueError(f"{self.config_path} is damaged: {str(error).rstrip('.')}.") from error

    def read_environment(self) -> EnvironmentRef:
        """The environment that the run's policy was, or is being, trained in.

        Raises:
            ValueError: if there is no run, its configuration is damaged, or it learns a reward only.
        """
        environment = self.read_settings().environment
        if environment is None:
            raise ValueError(
                f"The run in {self.path} has learned a reward only and has no policy; --offline trains one too where "
                "--env names an environment."
            )
        return environment

    def read_metrics(self) -> dict[str, Any]:
        """The figures of a finished run.

        Raises:
            ValueError: if the run has not finished, or a figure of it is no number.
        """
        if not self.metrics_path.is_file():
            raise ValueError(f"The run in {self.path} has not finished: there is no {self.metrics_path.name} yet.")
        metrics = read_json(self.metrics_path)
        for name, value in metrics.items():
            if name.endswith(("_mean", "_std")) or name in _MAPS_OF_NUMBERS:
                self._require_numbers(name, value, nested=name in _MAPS_OF_NUMBERS)
        return metrics

    def _require_numbers(self, name: str, value: Any, nested: bool) -> None:
        if nested and isinstance(value, dict):
            for inner, part in value.items():
                self._require_numbers(f"{name} {inner}", part, nested)
        elif value is not None and not isinstance(value, int | float):
            raise ValueError(f"{self.metrics_path} is damaged: {name} is {value!r:.40}, which is no number.")

    @property
    def store_place(self) -> str:
        """Where the run's feedback store is: a path, or the URL that its settings name.

        Raises:
            ValueError: if there is no run, or its configuration is damaged.
        """
        return self.read_settings().store or os.fspath(self.store_path)

    def open_store(self) -> PreferenceStore:
        """The run's feedback store. Kinds of feedback of the user's own that the run asked are registered.

        Raises:
            ValueError: if there is no run, its configuration is damaged, or a kind of feedback cannot be imported.
            StoreOfAnotherRunError: if the store is of another run, or about another environment.
            StoreError: if there is no store yet, or it cannot be read.
        """
        from rlhf_envs.feedback import PreferenceStore
        from rlhf_envs.kinds import find_kind

        for kind in self.read_settings().kinds:
            find_kind(kind)
        store = PreferenceStore.open(self.store_place)
        try:
            self._require_own(store)
        except BaseException:
            store.close()
            raise
        return store

    def _require_own(self, store: PreferenceStore) -> None:
        from rlhf_envs.feedback import StoreOfAnotherRunError

        own, settings = self.read_id(), self.read_settings()
        if store.run != own:
            whose = "no run" if store.run is None else f"run {store.run}"
            raise StoreOfAnotherRunError(
                f"The feedback store {store.database.place} belongs to {whose}, and {self.path} holds run {own}: put "
                "the run's own store back, or name another place for a new run."
            )
        if settings.all.get("offline") is not None or settings.environment is None or store.environment.ref is None:
            return  # answers that an offline run has taken over are about whatever they were about
        about, trained = store.environment.ref.to_json(), settings.environment.to_json()
        for name in dict.fromkeys([*about, *trained]):
            if about.get(name) != trained.get(name):
                raise StoreOfAnotherRunError(
                    f"The feedback store {store.database.place} is about an environment with {name} = "
                    f"{about.get(name)!r}, and {self.config_path} says {trained.get(name)!r}: restore that file as it "
                    "was, or start another run."
                )

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{self.path} cannot be made: {error.strerror}.") from error

    def load_reward_model(self) -> RewardEnsemble | None:
        """The reward model of a finished run; None where the policy was trained on the environment's own reward.

        Raises:
            ValueError: if the run has not finished, or the file is damaged.
        """
        from rlhf_envs.rewards import OBJECTIVES, load

        settings = self.read_settings()
        if settings.reward != "learned":
            return None
        self._require(self.reward_model_path)
        ensemble = settings.all.get("ensemble")
        objective = ensemble.get("objective") if isinstance(ensemble, Mapping) else None
        return load(
            self.reward_model_path, objective=OBJECTIVES.resolve(objective) if isinstance(objective, str) else None
        )

    def load_policy(self) -> BaseAlgorithm:
        """The policy of a finished run, for acting: `predict(observations)` gives its actions.

        The algorithm is built anew from the run's settings, and only tensors are read from the file.

        Raises:
            ValueError: if the run has no policy, or none yet, or the file is damaged or of other settings than
                config.json says.
        """
        from rlhf_envs.learners import find_learner
        from rlhf_envs.learners.normaliser import load_normaliser, normalised
        from rlhf_envs.sb3 import VectorEnvBridge

        environment, run = self.read_environment(), self.read_settings()
        self._require(self.policy_path)
        learner = find_learner(run.learner)
        settings = settings_from_json(learner.settings_class, run.learner_settings, "learner_settings")
        env = VectorEnvBridge(environment.make_vector(1))
        try:
            trial = learner.for_trial(settings)
            model = learner.build(normalised(env, trial), trial, run.seed)
            learner.load_for_acting(model, self.policy_path)
            load_normaliser(model, self.normaliser_path, acting=True)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{self.policy_path} is damaged or does not fit the run's settings: {reason}.") from error
        finally:
            env.close()
        return model

    def load_critic(self) -> PolicyCritic:
        """The critic of a finished run on the true reward: how much of it is to come.

        Raises:
            ValueError: if the run has none, as `load_policy`, or was trained on another reward.
        """
        from stable_baselines3.common.policies import ActorCriticPolicy

        from rlhf_envs.learners.normaliser import reward_scale

        run = self.read_settings()
        if run.reward != "true":
            raise ValueError(
                f"The run in {self.path} was trained on the {run.reward} reward; a critic is wanted of one with "
                "--reward true."
            )
        model: Any = self.load_policy()
        if not isinstance(model.policy, ActorCriticPolicy) or hasattr(model.policy, "lstm_actor"):
            raise ValueError(
                f"The learner {run.learner} of the run in {self.path} has no critic that values single observations; "
                "one is wanted with --learner ppo or a2c."
            )
        scale = 1.0
        if run.learner_settings.get("normalize_rewards"):
            self._require(self.normaliser_path)
            scale = reward_scale(self.normaliser_path)
        return PolicyCritic(model, float(model.gamma), scale)

    def _require(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(
                f"The run in {self.path} has not finished: there is no {path.name} yet; go on with --resume."
            )


class PolicyCritic:
    """The critic of a trained actor-critic policy.

    Args:
        model: Stable-Baselines3's algorithm with the policy.
        gamma: the discount that it was trained with.
        scale: what the rewards were divided by in training.
    """

    def __init__(self, model: Any, gamma: float, scale: float = 1.0) -> None:
        self.gamma, self._scale = gamma, scale
        self._policy, self._normaliser = model.policy, model.get_vec_normalize_env()
        self._policy.set_training_mode(False)

    def values(self, observations: Observations) -> NDArray[np.float64]:
        """How much reward is to come, (B,), after each of B observations (B, *obs), or a dict of such arrays."""
        import torch

        seen = observations if self._normaliser is None else self._normaliser.normalize_obs(observations)
        with torch.inference_mode():
            found = self._policy.predict_values(self._policy.obs_to_tensor(seen)[0])
        values: NDArray[np.float64] = self._scale * found.cpu().numpy().reshape(-1).astype(np.float64)
        return values


def load_critic(folder: str | os.PathLike[str], environment: EnvironmentRef) -> PolicyCritic:
    """The critic of a finished run on the true reward of an environment.

    Raises:
        ValueError: if there is no such run, it has no critic, or it is of another environment.
    """
    directory = RunDirectory(folder)
    trained = directory.read_environment()
    if (trained.id, dict(trained.kwargs), trained.wrappers) != (
        environment.id,
        dict(environment.kwargs),
        environment.wrappers,
    ):
        raise ValueError(
            f"The run in {directory.path} was trained in {trained.id}{_arguments(trained)}, and its critic cannot "
            f"value what happens in {environment.id}{_arguments(environment)}."
        )
    return directory.load_critic()


def _arguments(environment: EnvironmentRef) -> str:
    parts = [json.dumps(dict(environment.kwargs))] if environment.kwargs else []
    parts += map(str, environment.wrappers)
    return f" with {', '.join(parts)}" if parts else ""


def check_same_spaces(trained: EnvironmentRef, other: EnvironmentRef) -> None:
    """Refuse an environment in which a policy cannot act, because its observations or actions are of other spaces.

    Args:
        trained: where the policy was trained.
        other: where it shall act.

    Raises:
        ValueError: if the spaces differ, or one of the environments cannot be made.
    """
    spaces = []
    for ref in (trained, other):
        env = ref.make()
        spaces.append((env.observation_space, env.action_space))
        env.close()
    if spaces[0] != spaces[1]:
        raise ValueError(
            f"With {dict(other.kwargs)} {other.id} shows {spaces[1][0]} and takes {spaces[1][1]}; the policy knows "
            f"{spaces[0][0]} and {spaces[0][1]}."
        )


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that were written to their end, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


def read_progress(path: Path) -> list[dict[str, str]]:
    """The rows of progress.csv, without those that are cut short or damaged, for it is only a log."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error):
        return []
    return [row for row in rows if _is_whole(row)]


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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of strict JSON so that after a crash there is the old one or the new one, whole.

    Raises:
        OSError: if the disk is full or cannot be written; an older file stays as it was.
    """
    write_atomically(path, json.dumps(strict_json(content), indent=2, allow_nan=False) + "\n")


def _is_whole(row: dict[str, Any]) -> bool:
    if row.keys() != set(PROGRESS_COLUMNS) or None in row.values() or not row["timesteps"].isdecimal():
        return False
    try:
        for value in row.values():
            float(value or 0)
    except ValueError:
        return False
    return True
