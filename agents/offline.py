"""Learning a reward from answers that were given before.

With an environment, a policy trains on that reward and nothing more is asked. Without one, only the reward model is
learned, and no environment has to be installed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import Space
from rich.console import Console

from agents.config import RunConfig, TeacherChanges
from agents.presets import feedback_for
from rlhf_envs.archive import Archive, RecordSource, StoreSnapshot, import_archive, import_records
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation import ModelScores
from rlhf_envs.evaluation.reward_model import predict_stored
from rlhf_envs.feedback import LiveAnswer, PreferenceStore, Purpose, StoreMissingError
from rlhf_envs.loop import FeedbackConfig
from rlhf_envs.rewards import (
    InputEncoder,
    PreferenceDataset,
    RewardEnsemble,
    correlation,
    fit,
    save,
)
from rlhf_envs.runs import RunDirectory, write_json
from rlhf_envs.terminal import counted

_NOT_ABOUT_ASKING = ("reliability", "on_alarm")
"""The settings of `FeedbackConfig` that mean something where nothing is asked."""


def settle(config: RunConfig) -> RunConfig:
    """The settings of an offline run as the answers settle them: how many there are, of what length, and from where.

    Raises:
        ValueError: if the answers cannot be read, or none of them is there to train on, or the settings bring a store
            or say what should be asked, or of whom.
        StoreError: if they are in a store that cannot be read.
    """
    if config.store is not None:
        raise ValueError("--offline brings its own answers; leave --store out.")
    if config.reward != "learned":
        raise ValueError(f"--offline learns the reward from answers; leave --reward {config.reward} out.")
    if config.feedback != RunConfig.feedback:
        raise ValueError(f"--offline asks nobody anything; leave --feedback {config.feedback} out.")
    if config.teacher != TeacherChanges():
        raise ValueError("--offline asks nobody anything; leave what changes a --teacher out.")
    usual = (FeedbackConfig(), feedback_for(config.environment))
    for part in fields(FeedbackConfig):
        wanted = getattr(config.labels, part.name)
        if part.name not in _NOT_ABOUT_ASKING and all(wanted != getattr(one, part.name) for one in usual):
            raise ValueError(f"--offline asks nothing; leave --{part.name.replace('_', '-')} out.")
    with open_source(config.offline or "") as source:
        asked = [query.purpose for query in source.queries()]
        length = source.environment.segment_length or len(next(source.segments())[1])
    held_out = asked.count(Purpose.TEST)
    labels = replace(
        config.labels,
        answers=max(len(asked), 1),
        held_out_share=held_out / len(asked) if held_out < len(asked) else 0.0,
        segment_length=length,
        # Queries that are still open stay so, and training does not wait for them.
        max_open=len(asked),
    )
    return replace(config, feedback="elsewhere", labels=labels)


def check_answers_fit(offline: str, environment_id: str, encoder: InputEncoder) -> None:
    """Refuse answers about another environment than a policy is to train in.

    Args:
        offline: where the answers are, as `RunConfig.offline` says.
        environment_id: where the policy is to train, for messages.
        encoder: of that environment's spaces.

    Raises:
        ValueError: if the answers' observations or actions are of other spaces.
    """
    with open_source(offline) as source:
        described = source.spaces() if isinstance(source, Archive) else None
        shown = next(source.segments())[1]
    wanted = (encoder.observation_space, encoder.action_space)
    try:
        encoder.encode(shown.observations, shown.actions)
    except ValueError as error:
        raise ValueError(f"{offline} does not fit {environment_id}: {error}") from error
    if described is not None and described != wanted:
        raise ValueError(
            f"{offline} is about observations of {described[0]} and actions of {described[1]}, and {environment_id} "
            f"has {wanted[0]} and {wanted[1]}."
        )


def source_place(offline: str) -> str:
    """Where the answers are: an exported folder, or a store; that of a run where its folder is named.

    Raises:
        ValueError: if a run's configuration is damaged.
        StoreError: if the run's store cannot be read, or is another run's.
    """
    directory = RunDirectory(offline)
    if not directory.config_path.is_file():
        return offline
    directory.open_store().close()
    return directory.store_place


def is_export(place: str) -> bool:
    """Whether a place from `source_place` is a folder, which no store is."""
    return "://" not in place and Path(place).is_dir()


@contextmanager
def open_source(offline: str) -> Iterator[RecordSource]:
    """The answers, readable as long as the context lasts.

    Raises:
        ValueError: if they cannot be read.
        StoreError: if they are in a store that cannot be read.
    """
    place = source_place(offline)
    if is_export(place):
        yield Archive(place)
    else:
        with StoreSnapshot(place) as source:
            yield source


def open_answers(offline: str, directory: RunDirectory, environment: EnvironmentRef | None = None) -> PreferenceStore:
    """The run's own copy of the answers, made if it is not there or was not finished.

    Args:
        offline: where the answers are.
        directory: of the run, for whose store the copy becomes.
        environment: that the copy is about, where more will be asked in a variant of the one that the answers are
            about.

    Raises:
        ValueError: if the answers cannot be read, make no sense, or teach nothing.
        StoreError: if the store cannot be made or read.
    """
    try:
        store = directory.open_store()
        if any(count.asked for count in store.counts().values()):
            return store
        store.close()
    except StoreMissingError:
        pass
    found = source_place(offline)
    if is_export(found):
        import_archive(found, directory.store_place, run=directory.read_id())
    else:
        with open_source(offline) as source:
            import_records(source, directory.store_place, run=directory.read_id(), environment=environment)
    store = directory.open_store()
    if not any(_teaches(live) for live in store.each_live_answer(Purpose.TRAIN)):
        store.close()
        raise ValueError(f"{offline} holds no answer to learn from: nothing but skips, or nothing at all.")
    return store


def shows_terminations(store: PreferenceStore) -> bool:
    """Whether any segment that was asked about goes on after the termination of its episode."""
    return any(segment.absorbing is not None for query in store.queries() for segment in query.segments)


def learn_reward(config: RunConfig, directory: RunDirectory, console: Console) -> dict[str, Any]:
    """Learn a reward model, judge it on answers that it has not seen, and leave both in the run directory.

    Answers to TEST queries are held out. Where there are none, each comparison is predicted by the members of the
    ensemble that were not trained on it.

    Args:
        config: the run, as `settle` gave it; its environment is not needed.
        directory: an existing run directory.
        console: for messages.

    Returns:
        The figures, as in metrics.json.

    Raises:
        ValueError: if the answers cannot be read, teach nothing, or do not say what the spaces are.
        StoreError: if a store cannot do its work.
        OSError: if the disk is full.
    """
    torch.set_num_threads(config.run.threads)
    started = time.perf_counter()
    offline = config.offline or ""
    with directory.locked(), open_answers(offline, directory) as store:
        observation_space, action_space = _spaces(offline, store)
        training = [live for live in store.each_live_answer(Purpose.TRAIN) if _teaches(live)]
        ensemble = RewardEnsemble(
            observation_space, action_space, config.ensemble, config.seed, absorbing=shows_terminations(store)
        )
        dataset = PreferenceDataset(ensemble.encoder)
        dataset.add_answers(training, store)
        console.print(f"Learning from {counted(len(dataset), 'answer')}.", highlight=False)
        report = fit(ensemble, dataset, config.fit)
        save(ensemble, directory.reward_model_path)
        metrics = {
            "offline": offline,
            "env": None,
            "reward": "learned",
            "seed": config.seed,
            "labels": len(dataset),
            **{f"{kind}s": dataset.counts.get(kind, 0) for kind in ("comparison", "ranking", "rating")},
            "annotators": len(dataset.annotators),
            **ModelScores.of(predict_stored(ensemble, store, dataset)).to_metrics(),
            "reward_correlation": _agreement(store, ensemble, training),
            "fit": asdict(report),
            "reward_fit_seconds": report.seconds,
            "wall_seconds": time.perf_counter() - started,
        }
    write_json(directory.metrics_path, metrics)
    return metrics


def _spaces(offline: str, store: PreferenceStore) -> tuple[Space[Any], Space[Any]]:
    """The spaces that the answers are about: as the archive says, or else as the environment has them."""
    place = source_place(offline)
    described = Archive(place).spaces() if is_export(place) else None
    if described is not None:
        return described
    try:
        env = store.environment.required.make(limited=False)
    except (ValueError, ImportError) as error:
        raise ValueError(
            f"{offline} does not say what its observations and actions are, and its environment cannot be made "
            f"({str(error) or type(error).__name__}); export it where the environment is installed."
        ) from error
    env.close()
    return env.observation_space, env.action_space


def _teaches(live: LiveAnswer) -> bool:
    return live.choice is None or live.choice.probability_right is not None


def _agreement(store: PreferenceStore, ensemble: RewardEnsemble, training: Sequence[LiveAnswer]) -> float:
    """Correlation of the learned with the recorded true rewards, over the segments of the training answers.

    Steps after a termination do not count: their reward is 0 by definition.
    """
    ids = dict.fromkeys(id for live in training for id in live.segment_ids)
    pairs = [
        (
            ensemble.transition_reward(segment.transitions),
            segment.true_rewards[: segment.lived],
        )
        for segment in store.segments(ids)
    ]
    return correlation(*(np.concatenate(side) for side in zip(*pairs, strict=True))).pearson
