"""A run that begins with a reward model from before: to train another policy on it, or to ask on where it left off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agents.config import RunConfig
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.objectives import OBJECTIVES
from rlhf_envs.rewards import EnsembleConfig, RewardEnsemble, load, save
from rlhf_envs.runs import RunDirectory

_INITIAL = "initial_reward_model.safetensors"


def labels_with(place: str, labels: FeedbackConfig) -> FeedbackConfig:
    """What is asked by default in a run with a reward model: nothing, or if anything, segments as long as before.

    Args:
        place: of the reward model, as `RunConfig.reward_model` says.
        labels: what would be asked without it.

    Raises:
        ValueError: if the configuration of the run in that folder is damaged.
    """
    directory = RunDirectory(place)
    length = directory.read_settings().segment_length if directory.config_path.is_file() else labels.segment_length
    return replace(labels, answers=0, segment_length=length)


def begin_with_model(config: RunConfig) -> RunConfig:
    """The settings of a run as its reward model settles them.

    Raises:
        ValueError: if there is no reward model at that place, the settings bring another one, or answers are asked for
            and those that the model was learned from are not there, or about something else.
    """
    place = config.reward_model or ""
    if config.reward != "learned":
        raise ValueError(f"--reward-model brings the reward; leave --reward {config.reward} out.")
    if config.offline is not None:
        raise ValueError("--reward-model brings a reward, and --offline learns one anew; leave one of them out.")
    model = load_reward_model(place)
    if config.ensemble not in (EnsembleConfig(), model.config):
        raise ValueError("--reward-model brings its own ensemble; leave what changes --ensemble out.")
    if config.labels.answers > 0:
        _check_going_on(place, config.required_environment, config.labels.steps)
    return replace(config, ensemble=model.config)


def load_reward_model(place: str) -> RewardEnsemble:
    """The reward model of a finished run, by its folder, or one that was saved by itself.

    Raises:
        ValueError: if there is none, or it is damaged.
    """
    directory = RunDirectory(place)
    if directory.config_path.is_file():
        model = directory.load_reward_model()
        if model is None:
            raise ValueError(
                f"The run in {place} was trained on the {directory.read_settings().reward} reward and has no reward "
                "model."
            )
    else:
        try:
            model = load(Path(place) / "reward_model" if Path(place).is_dir() else place)
        except FileNotFoundError as error:
            raise ValueError(
                f"There is no reward model at {place}; --reward-model names the folder of a finished run, or a file "
                "that rlhf_envs.rewards.save has written."
            ) from error
    if not model.fits:
        raise ValueError(f"The reward model at {place} has learned nothing yet.")
    return model


def initial_model(place: str | None, objective: str, directory: RunDirectory) -> RewardEnsemble | None:
    """The reward model that a run begins with, of which it keeps a copy in its folder; None where it has none.

    Args:
        place: as `RunConfig.reward_model` says.
        objective: what the model was learned with.
        directory: of the run.

    Raises:
        ValueError: if it cannot be read.
        OSError: if it cannot be copied.
    """
    if place is None:
        return None
    copy = directory.path / _INITIAL
    if copy.is_file():
        # The copy is what a resumed run goes on with, whatever has become of the other run since.
        return load(copy, objective=OBJECTIVES.resolve(objective))
    model = load_reward_model(place)
    save(model, copy)
    return model


def _check_going_on(place: str, environment: EnvironmentRef, steps: int) -> None:
    """Refuse to ask on where the answers so far are not there, or are about another environment or other segments.

    A variant, with other arguments, is not another environment: what is asked there comes to the answers before.
    """
    before = RunDirectory(place)
    if not before.config_path.is_file():
        raise ValueError(
            f"{place} is a reward model without its answers, so it cannot learn on; name the folder of "
            "its run, or leave --answers out to train on it as it is."
        )
    settings = before.read_settings()
    asked_in = settings.environment
    if asked_in is None or replace(asked_in, kwargs=environment.kwargs) != environment:
        raise ValueError(
            f"The answers of the run in {before.path} are not about {environment.id} with these "
            "wrappers and this horizon; leave --answers out to train on its reward model as it is."
        )
    with before.open_store() as store:
        length = store.environment.segment_length
    if length != steps:
        raise ValueError(
            f"The answers of the run in {before.path} are about segments of {length} steps, so those of this run must "
            f"be, not of {steps}."
        )
