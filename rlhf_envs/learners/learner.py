"""What a learner is: how an algorithm is built from settings, how rewards reach it, how it is saved and restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from gymnasium import Space
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecEnv

from rlhf_envs.learners.normaliser import load_normaliser, save_normaliser
from rlhf_envs.learners.replay import restore_replay, save_replay
from rlhf_envs.learners.settings import LearnerConfig
from rlhf_envs.registry import Registry

Settings = TypeVar("Settings")
Config = TypeVar("Config", bound=LearnerConfig)

FOR_DISCRETE = "ppo, a2c and for a Discrete space dqn"
FOR_BOX = "ppo, a2c and for a Box space sac, td3 and tqc"
"""The learners for other kinds of actions (`NamedLearner.others`)."""

_PARAMETERS = "policy.pt"
_NORMALISER = "normaliser.safetensors"


class Learner(ABC, Generic[Settings]):
    """An algorithm that a training run can use. Only `build` has to be written.

    Attributes:
        settings_class: a frozen dataclass in which every field has a default. Its fields are numbers, texts, booleans
            or tuples of whole numbers, so that config.json can hold them, and become flags `--learner.NAME` of the
            command. One is `num_envs`, the number of copies of the environment.

    Example:
        >>> class A2CLearner(Learner[A2CConfig]):
        ...     settings_class = A2CConfig
        ...
        ...     def build(self, env, settings, seed, device="cpu"):
        ...         return A2C("MlpPolicy", env, gamma=settings.gamma, seed=seed, device=device)
    """

    settings_class: ClassVar[type[Any]]

    @abstractmethod
    def build(self, env: VecEnv, settings: Settings, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """The algorithm, untrained.

        Args:
            env: `settings.num_envs` copies that pay nothing, or as a baseline the environment's own rewards; when a
                policy is loaded for acting, a single one. Observations are normalised already where the settings have a
                field `normalize_observations` that is true.
            settings: of `settings_class`.
            seed: of everything random in it.
            device: where it computes, as PyTorch names it.

        Raises:
            ValueError: if the settings do not fit the environment.
        """

    def for_trial(self, settings: Settings) -> Settings:
        """Settings of the same policy for one or two copies and a rollout of a few steps, to try or to load it."""
        return settings

    def save(self, model: BaseAlgorithm, folder: Path) -> None:
        """Write what `restore` needs to go on training into a checkpoint's folder.

        That is the networks and their optimisers, the statistics of observations where these are normalised, and the
        replay buffer, most of which goes into files beside the folder that the next checkpoints share.

        Raises:
            OSError, RuntimeError: if it cannot be written.
        """
        variables = {name: recursive_getattr(model, name) for name in model._get_torch_save_params()[1]}
        torch.save({"parameters": model.get_parameters(), "variables": variables}, folder / _PARAMETERS)
        save_normaliser(model, folder / _NORMALISER)
        if isinstance(model, OffPolicyAlgorithm):
            save_replay(model, folder)

    def restore(self, model: BaseAlgorithm, folder: Path) -> None:
        """Take back what `save` wrote, into a new model of the same settings. Nothing is unpickled.

        Raises:
            ValueError, KeyError, RuntimeError, OSError: if the files are damaged or of other settings.
        """
        saved = _load_tensors(folder / _PARAMETERS)
        model.set_parameters(saved["parameters"], exact_match=True)
        for name, variable in saved["variables"].items():
            # Optimisers hold on to these tensors, so only their content is replaced.
            recursive_getattr(model, name).data.copy_(variable.data)
        load_normaliser(model, folder / _NORMALISER)
        if isinstance(model, OffPolicyAlgorithm):
            restore_replay(model, folder)

    def load_for_acting(self, model: BaseAlgorithm, path: Path) -> None:
        """Read the networks of a finished policy.zip into a new model.

        Only tensors are read, because Stable-Baselines3's own loading would run any code that the file contains.

        Raises:
            ValueError, KeyError, RuntimeError, OSError: if the file is damaged or of other settings.
        """
        try:
            model.set_parameters(str(path), device="cpu")
        except Exception as error:
            raise _unreadable(path, error) from error


class NamedLearner(Learner[Config]):
    """A learner of this package: its settings say all that its algorithm takes, see `LearnerConfig.arguments`.

    Attributes:
        name: in `LEARNERS`.
        algorithm: the class, or the name of one of sb3-contrib, which is imported when it is built.
        trial: settings of `for_trial` besides the number of copies.
        actions: the kinds of action spaces that it can choose from; any where empty.
        others: learners for other kinds, in words.
    """

    name: ClassVar[str]
    algorithm: ClassVar[type[BaseAlgorithm] | str]
    trial: ClassVar[Mapping[str, Any]]
    actions: ClassVar[tuple[type[Space[Any]], ...]] = ()
    others: ClassVar[str] = ""

    def build(self, env: VecEnv, settings: Config, seed: int, device: str = "cpu") -> BaseAlgorithm:
        """The algorithm with the policy that reads the environment's observations."""
        if self.actions and not isinstance(env.action_space, self.actions):
            kinds = " or ".join(kind.__name__ for kind in self.actions)
            raise ValueError(
                f"{self.name} needs actions in a {kinds} space, and here they are {env.action_space}; {self.others} "
                "can be used."
            )
        algorithm: Any = _from_contrib(self.algorithm) if isinstance(self.algorithm, str) else self.algorithm
        model: BaseAlgorithm = algorithm(env=env, seed=seed, device=device, **settings.arguments(env))
        return model

    def for_trial(self, settings: Config) -> Config:
        """Settings of the same policy with rollouts, batches and buffers of a few steps."""
        return replace(settings, num_envs=min(settings.num_envs, 2), **self.trial)


LEARNERS: Registry[Learner[Any]] = Registry("learner", instances=True, type=Learner)
"""Learners by name."""


def find_learner(wanted: str | Learner[Any]) -> Learner[Any]:
    """The learner that is meant: an object, a registered name, or "module:Name" of an object or a class.

    Raises:
        ValueError: if there is none, or it is not a learner with settings.
    """
    learner = LEARNERS.resolve(wanted)
    settings = getattr(learner, "settings_class", None)
    if not (isinstance(settings, type) and is_dataclass(settings)) or not hasattr(settings, "num_envs"):
        raise ValueError(
            f"The learner {wanted!r} needs a settings_class: a dataclass with defaults, of which one is num_envs."
        )
    return learner


def _from_contrib(name: str) -> Any:
    try:
        import sb3_contrib
    except ImportError as error:
        raise ValueError(f'{name} is part of sb3-contrib; install it with pip install "rlhf-envs[contrib]".') from error
    return getattr(sb3_contrib, name)


def _load_tensors(path: Path) -> dict[str, Any]:
    try:
        tensors: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _unreadable(path, error) from error
    return tensors


def _unreadable(path: Path, error: Exception) -> ValueError:
    """What the restricted reader's error says; damaged bytes make it raise whatever its step over them happens to."""
    if type(error).__name__ == "UnpicklingError":
        # PyTorch says how to load it all the same, which would run what the file holds.
        return ValueError(f"{path.name}: it is damaged, or holds more than tensors, which are all that is read")
    return ValueError(f"{path.name}: {(str(error) or type(error).__name__).splitlines()[0].rstrip('.')}")
