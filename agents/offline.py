"""Learning a reward from answers that were given before.

With an environment, a policy trains on that reward and nothing more is asked; `build_scoring` sees to that. Without
one, only the reward model is learned, and no environment has to be installed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import Space
from rich.console import Console

from agents.configuration import RunConfig
from agents.given_answers import answers_place, given_answers, is_export
from agents.run_directory import RunDirectory, write_json
from rlhf_envs.archive import Archive, import_archive, import_records
from rlhf_envs.feedback import LiveAnswer, PreferenceStore, Purpose, StoreMissingError
from rlhf_envs.kinds import Comparison
from rlhf_envs.loop import FeedbackLoop, LoopState
from rlhf_envs.rewards import (
    PreferenceDataset,
    RewardEnsemble,
    calibration,
    correlation,
    fit,
    predict_answers,
    save,
)

_HELD_OUT_EVERY = 5


def open_answers(config: RunConfig, directory: RunDirectory) -> PreferenceStore:
    """The run's own copy of the answers, made if it is not there or was not finished.

    Raises:
        ValueError: if the answers cannot be read, make no sense, or teach nothing.
        StoreError: if the store cannot be made or read.
    """
    place = directory.store_place(config)
    try:
        store = PreferenceStore.open(place)
        if any(count.asked for count in store.counts().values()):
            return store
        store.close()
    except StoreMissingError:
        pass
    given = answers_place(config)
    if is_export(given):
        import_archive(given, place)
    else:
        with given_answers(config) as rows:
            import_records(rows, place)
    store = PreferenceStore.open(place)
    if not any(_teaches(live) for live in store.live_answers(Purpose.TRAIN)):
        store.close()
        raise ValueError(f"{config.offline} holds no answer to learn from: nothing but skips, or nothing at all.")
    return store


def ask_nothing(loop: FeedbackLoop) -> None:
    """Have a loop that has not begun take everything in its store as asked: it reads, fits and asks no more."""
    queries = loop.store.queries()
    loop.progress = LoopState(
        round=1 + max((query.round for query in queries), default=0),
        asked=loop.config.comparisons,
        asked_test=loop.config.test_budget,
    )


def learn_reward(config: RunConfig, directory: RunDirectory, console: Console, resume: bool = False) -> dict[str, Any]:
    """Learn a reward model, judge it on answers that it has not seen, and leave both in the run directory.

    Answers to TEST queries are held out. Where there are none, every fifth comparison is, and the reward model that is
    saved never sees it, so that the figures are about that model.

    Args:
        config: the run, as `settled` gave it; its environment is not needed.
        directory: an existing run directory.
        console: where progress is told.
        resume: makes no difference; learning takes seconds, and begins anew.

    Returns:
        The figures, as in metrics.json.

    Raises:
        ValueError: if the answers cannot be read, teach nothing, or do not say what the spaces are.
        StoreError: if a store cannot do its work.
        OSError: if the disk is full.
    """
    torch.set_num_threads(config.threads)
    started = time.perf_counter()
    with directory.claimed(), open_answers(config, directory) as store:
        observation_space, action_space = _spaces(config, store)
        ensemble = RewardEnsemble(observation_space, action_space, config.ensemble, config.seed)
        training, held_out, source = _divided(store)
        dataset = PreferenceDataset(ensemble.encoder)
        dataset.add_answers(training, store)
        console.print(f"Learning from {len(dataset)} answers.", highlight=False)
        report = fit(ensemble, dataset, config.fit)
        save(ensemble, directory.reward_model_path)
        metrics = {
            "offline": config.offline,
            "env": None,
            "reward": "learned",
            "seed": config.seed,
            "labels": len(dataset),
            **{f"{kind}s": dataset.counts.get(kind, 0) for kind in ("comparison", "ranking", "rating")},
            "annotators": len(dataset.annotators),
            "held_out": source,
            **_test_figures(store, ensemble, held_out),
            "reward_correlation": _agreement(store, ensemble, training),
            "fit": asdict(report),
            "reward_fit_seconds": report.seconds,
            "wall_seconds": time.perf_counter() - started,
        }
    write_json(directory.metrics_path, metrics)
    return metrics


def _spaces(config: RunConfig, store: PreferenceStore) -> tuple[Space[Any], Space[Any]]:
    """The spaces that the answers are about: as the archive says, or else as the environment has them."""
    given = answers_place(config)
    described = Archive(given).spaces() if is_export(given) else None
    if described is not None:
        return described
    try:
        env = gym.make(store.environment["id"], disable_env_checker=True, **(store.environment.get("kwargs") or {}))
    except (KeyError, TypeError, ValueError, ImportError, gym.error.Error) as error:
        raise ValueError(
            f"{config.offline} does not say what its observations and actions are, and its environment cannot be made "
            f"({str(error) or type(error).__name__}); export it where the environment is installed."
        ) from error
    env.close()
    return env.observation_space, env.action_space


def _teaches(live: LiveAnswer) -> bool:
    return live.choice is None or live.choice.probability_right is not None


def _divided(store: PreferenceStore) -> tuple[list[LiveAnswer], list[LiveAnswer], str]:
    """Answers to train on, comparisons to test on, and where the latter come from, in words."""
    training = [live for live in store.live_answers(Purpose.TRAIN) if _teaches(live)]
    tests = [live for live in store.live_answers(Purpose.TEST) if live.kind == Comparison.name]
    if tests:
        return training, tests, "answers to test queries"
    compared = dict.fromkeys(live.query_id for live in training if live.kind == Comparison.name)
    # By query, so that what several people say to one pair is all on one side.
    held_out = set(list(compared)[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY])
    return (
        [live for live in training if live.query_id not in held_out],
        [live for live in training if live.query_id in held_out],
        f"every {_HELD_OUT_EVERY}th comparison of those to train on",
    )


def _test_figures(store: PreferenceStore, ensemble: RewardEnsemble, held_out: Sequence[LiveAnswer]) -> dict[str, Any]:
    predictions = predict_answers(ensemble, held_out, store)
    scores = predictions.metrics
    reliability = calibration(predictions.predicted, predictions.labels)
    return {
        **{f"test_{name}": value for name, value in asdict(scores).items()},
        "calibration_error": reliability.expected_error,
        "calibration": [asdict(one) for one in reliability.bins],
    }


def _agreement(store: PreferenceStore, ensemble: RewardEnsemble, training: Sequence[LiveAnswer]) -> float:
    """Correlation of the learned with the recorded true rewards, over the segments of the training answers."""
    ids = dict.fromkeys(id for live in training for id in live.segment_ids)
    pairs = [
        (ensemble.reward(segment.observations, segment.actions), segment.true_rewards)
        for segment in store.segments(ids)
    ]
    return correlation(*(np.concatenate(side) for side in zip(*pairs, strict=True))).pearson
