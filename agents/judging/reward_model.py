"""How well a run's preference model predicts what people said: held-out answers of its training, and judgements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from agents.configuration import RunConfig
from agents.evaluation import held_out_predictions
from agents.run_directory import RunDirectory
from agents.trained import load_reward_model
from rlhf_envs.feedback import LiveAnswer, PreferenceStore, StoreMissingError
from rlhf_envs.rewards import RewardEnsemble, calibration, preference_metrics
from rlhf_envs.rewards.metrics import Calibration, PreferenceMetrics

_AT_ONCE = 50

HELD_OUT = "held-out answers"
"""Answers to segments of the training, kept to test the model on."""

JUDGEMENTS = "judgements"
"""Answers about clips of the policies that were compared."""


@dataclass(frozen=True)
class ModelFigures:
    """How well a preference model predicts answers, and whether it is as sure as it should be."""

    scores: PreferenceMetrics
    calibration: Calibration


def model_figures(
    directory: RunDirectory, config: RunConfig, store: PreferenceStore, answers: Sequence[LiveAnswer]
) -> dict[str, ModelFigures]:
    """The figures over each set of answers that has any; empty for a run that learned no reward.

    Args:
        directory, config: the run.
        store: of the judgements.
        answers: the judgements.
    """
    ensemble = load_reward_model(directory)
    if ensemble is None:
        return {}
    found = {}
    try:
        with PreferenceStore.open(directory.store_place(config)) as own:
            found[HELD_OUT] = _figures(*held_out_predictions(own, ensemble))
    except StoreMissingError:
        pass  # the answers may be kept apart from the model that they taught
    found[JUDGEMENTS] = _figures(*_predictions(store, ensemble, answers))
    return {name: figures for name, figures in found.items() if figures.scores.decided}


def _figures(predicted: ArrayLike, said: ArrayLike) -> ModelFigures:
    return ModelFigures(preference_metrics(predicted, said), calibration(predicted, said))


def _predictions(
    store: PreferenceStore, ensemble: RewardEnsemble, answers: Sequence[LiveAnswer]
) -> tuple[ArrayLike, ArrayLike]:
    """The predicted probability of "right" and what was answered, for each judgement; pictures are loaded in parts."""
    decided = [live for live in answers if live.choice is not None]
    predicted: list[float] = []
    for begin in range(0, len(decided), _AT_ONCE):
        some = decided[begin : begin + _AT_ONCE]
        sides = [store.segments(live.segment_ids[side] for live in some) for side in (0, 1)]
        predicted += ensemble.probability_right(*sides).tolist()
    said = [live.choice.probability_right for live in decided if live.choice is not None]
    return np.array(predicted), np.array(said, dtype=np.float64)
