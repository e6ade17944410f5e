"""The answers that an offline run learns from: where they are, what they settle, and where they fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from agents.configuration import RunConfig, TeacherChanges
from agents.presets import labels_for
from agents.run_directory import RunDirectory
from rlhf_envs.archive import Archive, RecordSource, StoreSnapshot
from rlhf_envs.feedback import Purpose
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import InputEncoder

_NOT_ABOUT_ASKING = ("reliability",)
"""The settings of `FeedbackConfig` that mean something where nothing is asked."""


def settled(config: RunConfig) -> RunConfig:
    """The settings of an offline run as the answers settle them: how many there are, of what length, and from where.

    Raises:
        ValueError: if the answers cannot be read, or none of them is there to train on, or the settings bring a store
            or say what should be asked, or of whom.
        StoreError: if they are in a store that cannot be read.
    """
    _refuse_what_asks(config)
    with given_answers(config) as rows:
        asked = [query.purpose for query in rows.queries()]
        length = rows.environment.get("segment_length")
        if not isinstance(length, int):
            length = len(next(rows.segments())[1])
    labels = replace(
        config.labels,
        comparisons=max(asked.count(Purpose.TRAIN), 1),
        test_comparisons=asked.count(Purpose.TEST),
        segment_length=length,
        # Whatever was left open stays so, and training does not wait for it.
        open_limit=len(asked),
    )
    return replace(config, feedback="elsewhere", labels=labels)


def check_answers_fit(config: RunConfig, encoder: InputEncoder) -> None:
    """Refuse answers about another environment than a policy is to train in.

    Raises:
        ValueError: if their observations or actions are of other spaces.
    """
    with given_answers(config) as rows:
        described = rows.spaces() if isinstance(rows, Archive) else None
        shown = next(rows.segments())[1]
    wanted = (encoder.observation_space, encoder.action_space)
    try:
        encoder.encode(shown.observations, shown.actions)
    except ValueError as error:
        raise ValueError(f"{config.offline} does not fit {config.env}: {error}") from error
    if described is not None and described != wanted:
        raise ValueError(
            f"{config.offline} is about observations of {described[0]} and actions of {described[1]}, and {config.env} "
            f"has {wanted[0]} and {wanted[1]}."
        )


def answers_place(config: RunConfig) -> str:
    """Where the answers are: an exported folder, or a store; that of a run where its folder is named.

    Raises:
        ValueError: if a run's configuration is damaged.
    """
    place = config.offline or ""
    directory = RunDirectory(place)
    return directory.store_place(directory.read_config()) if directory.config_path.is_file() else place


def is_export(place: str) -> bool:
    """Whether a place from `answers_place` is a folder, which no store is."""
    return "://" not in place and Path(place).is_dir()


@contextmanager
def given_answers(config: RunConfig) -> Iterator[RecordSource]:
    """Read the answers as long as the context lasts.

    Raises:
        ValueError: if they cannot be read.
        StoreError: if they are in a store that cannot be read.
    """
    place = answers_place(config)
    if is_export(place):
        yield Archive(place)
    else:
        with StoreSnapshot(place) as rows:
            yield rows


def _refuse_what_asks(config: RunConfig) -> None:
    if config.store is not None:
        raise ValueError("--offline brings its own answers; leave --store out.")
    if config.reward != "learned":
        raise ValueError(f"--offline learns the reward from answers; leave --reward {config.reward} out.")
    if config.feedback != RunConfig.feedback:
        raise ValueError(f"--offline asks nobody anything; leave --feedback {config.feedback} out.")
    if config.teacher != TeacherChanges():
        raise ValueError("--offline asks nobody anything; leave what changes a --teacher out.")
    usual = (FeedbackConfig(), labels_for(config.env))
    for part in fields(FeedbackConfig):
        wanted = getattr(config.labels, part.name)
        if part.name not in _NOT_ABOUT_ASKING and all(wanted != getattr(one, part.name) for one in usual):
            raise ValueError(f"--offline asks nothing; leave --{part.name.replace('_', '-')} out.")
