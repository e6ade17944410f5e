"""Fitting a reward ensemble to answers."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.fit_problem import FitProblem

GROWTH_FOR_FRESH_START = 1.5
"""How many times the labels of the last fresh start make `fit` start afresh."""

_STEPS_BETWEEN_CHECKS = 5
_UNCHECKED = 1 / 3
_FINAL_RATE = 0.1
_SMALLEST_STD = 1e-6


@dataclass(frozen=True)
class FitReport:
    """What a fit did.

    Attributes:
        labels: how many answers there were, of all kinds.
        steps: steps of the optimiser.
        train_loss, held_out_loss: mean over members and labels, of the parameters kept. NaN where there is no label.
        held_out_accuracy: how often members put two segments in the right order about which they know only from labels
            that they did not train on: those of a comparison, any two of a ranking, one rating and the next. Ties do
            not count. NaN where there is none.
        seconds: wall time.
    """

    labels: int
    steps: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float
    seconds: float


def fit(
    ensemble: RewardEnsemble, dataset: PreferenceDataset, config: FitConfig | None = None, *, fresh: bool | None = None
) -> FitReport:
    """Fit the ensemble to all labels of the dataset, and normalise its reward over their segments.

    Each member trains on its own sample of the labels, and keeps the parameters of lowest loss on those that it holds
    out. The same ensemble, dataset and config give the same result, bit for bit.

    Args:
        fresh: whether to start from new parameters, or to go on from those of the last fit, which takes less than half
            of the time. None starts anew when the labels have grown by half since the last fresh start: parameters that
            were fitted to few labels never quite lose what they wrongly made of them.

    Raises:
        ValueError: if the dataset is empty or belongs to other spaces.
    """
    started = time.perf_counter()
    config = config or FitConfig()
    labels = len(dataset)
    if not labels:
        raise ValueError("Fitting a reward needs at least one answer that teaches something, and there is none.")
    if fresh is None:
        fresh = labels >= GROWTH_FOR_FRESH_START * ensemble.labels_at_fresh_start
    fresh = fresh or ensemble.fits == 0
    if fresh:
        ensemble.labels_at_fresh_start = labels
        ensemble.network = ensemble.fresh_network()
    _fit_input_normaliser(ensemble, dataset, keep_function=not fresh)
    problem = FitProblem(ensemble, dataset, config)
    steps = _train(problem, labels, config, ensemble.generator(stream=1), 1.0 if fresh else config.refit)
    ensemble.fits += 1
    ensemble.normalise_encoded(dataset.flat_steps)
    train_loss, held_out_loss, accuracy = problem.summary()
    return FitReport(labels, steps, train_loss, held_out_loss, accuracy, time.perf_counter() - started)


def _train(problem: FitProblem, labels: int, config: FitConfig, generator: torch.Generator, share: float) -> int:
    batch = min(config.batch, labels)
    epoch = -(-labels // batch)
    total = max(1, round(max(config.steps, config.epochs * epoch) * share))
    between_checks = max(epoch, _STEPS_BETWEEN_CHECKS)
    optimiser = torch.optim.AdamW(
        problem.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    order = torch.empty(0, dtype=torch.int64)
    last_better = step = 0
    for step in range(1, total + 1):
        if len(order) < batch:
            order = torch.cat([order, torch.randperm(labels, generator=generator)])
        chosen, order = order[:batch], order[batch:]
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - (1 - _FINAL_RATE) * step / total)
        optimiser.zero_grad()
        problem.train_loss(chosen).backward()
        optimiser.step()
        if step == total or (step > total * _UNCHECKED and step % between_checks == 0):
            if problem.check():
                last_better = step
            elif last_better and step - last_better >= config.patience * between_checks:
                break
    problem.restore_best()
    return step


def _fit_input_normaliser(ensemble: RewardEnsemble, dataset: PreferenceDataset, keep_function: bool) -> None:
    columns = torch.from_numpy(dataset.flat_steps.vector).double()
    deviations = columns.std(dim=0, correction=0)
    wanted = torch.from_numpy(ensemble.encoder.normalised)
    mean = torch.where(wanted, columns.mean(dim=0), 0.0).float()
    std = torch.where(wanted & (deviations > _SMALLEST_STD), deviations, 1.0).float()
    if keep_function:
        # Moving the normaliser under trained parameters would change the reward; the first layer makes up for it.
        with torch.no_grad():
            columns_in = ensemble.network.weights[0][:, : len(mean)]
            shift = ((mean - ensemble.input_mean) / ensemble.input_std).expand(ensemble.config.members, 1, -1)
            ensemble.network.biases[0] += shift @ columns_in
            columns_in *= (std / ensemble.input_std)[:, None]
    ensemble.input_mean, ensemble.input_std = mean, std
