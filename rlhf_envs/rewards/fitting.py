"""Fitting a reward ensemble to preferences."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.losses import LOSSES
from rlhf_envs.rewards.resampling import RESAMPLING

GROWTH_FOR_FRESH_START = 1.5
"""How many times the labels of the last fresh start make `fit` start afresh."""

_STEPS_BETWEEN_CHECKS = 5
_UNCHECKED = 1 / 3
_FINAL_RATE = 0.1
_SMALLEST_STD = 1e-6


@dataclass(frozen=True)
class FitConfig:
    """How an ensemble is fitted.

    Attributes:
        batch: labels per step of the optimiser.
        steps: steps of a fit from fresh parameters, or more where `epochs` asks for them.
        epochs: passes over the labels that a fit makes at least.
        refit: the share of those steps that a fit from the parameters of the last one takes.
        learning_rate: of AdamW at the first step; it falls linearly to a tenth.
        weight_decay: of AdamW.
        patience: a fit ends when no member's held-out loss has fallen for this many checks. Checks begin after a third
            of the steps, and are an epoch, but at least 5 steps, apart.
        loss: a name in `losses.LOSSES`.
        resampling: a name in `resampling.RESAMPLING`.
    """

    batch: int = 16
    steps: int = 80
    epochs: int = 8
    refit: float = 0.4
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    patience: int = 6
    loss: str = "bradley_terry"
    resampling: str = "folds"

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "epochs", "refit", "learning_rate", "patience"):
            # Written as what must hold, so that NaN, which holds for nothing, is refused as well.
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, not {getattr(self, name)}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be 0 or more and finite, not {self.weight_decay}.")
        if self.loss not in LOSSES:
            raise ValueError(f"There is no loss {self.loss!r}; choose from {', '.join(LOSSES)}.")
        if self.resampling not in RESAMPLING:
            raise ValueError(f"There is no resampling {self.resampling!r}; choose from {', '.join(RESAMPLING)}.")


@dataclass(frozen=True)
class FitReport:
    """What a fit did.

    Attributes:
        labels: how many comparisons there were.
        steps: steps of the optimiser.
        train_loss, held_out_loss: mean over members and labels, of the parameters kept. NaN where there is no label.
        held_out_accuracy: how often members were right about decided labels that they did not train on. NaN where there
            is none.
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
        raise ValueError("Fitting a reward needs at least one comparison that was answered, and there is none.")
    if fresh is None:
        fresh = labels >= GROWTH_FOR_FRESH_START * ensemble.labels_at_fresh_start
    fresh = fresh or ensemble.fits == 0
    if fresh:
        ensemble.labels_at_fresh_start = labels
        ensemble.network = ensemble.fresh_network()
    _fit_input_normaliser(ensemble, dataset, keep_function=not fresh)
    problem = _Problem(ensemble, dataset, config)
    steps = _train(problem, config, ensemble.generator(stream=1), 1.0 if fresh else config.refit)
    ensemble.fits += 1
    ensemble.normalise_encoded(dataset.flat_steps)
    train_loss, held_out_loss, accuracy = problem.summary()
    return FitReport(labels, steps, train_loss, held_out_loss, accuracy, time.perf_counter() - started)


class _Problem:
    """The labels as tensors, the network, and the best parameters of each member so far."""

    def __init__(self, ensemble: RewardEnsemble, dataset: PreferenceDataset, config: FitConfig) -> None:
        self.network = ensemble.network
        self.parameters = list(self.network.parameters())
        self.members = ensemble.config.members
        steps = dataset.steps
        self._vector = ensemble.normalise_inputs(torch.from_numpy(steps.vector))
        self._images = [torch.from_numpy(image) for image in steps.images]
        self._categories = torch.from_numpy(steps.categories)
        self._segments = torch.from_numpy(np.stack([dataset.left, dataset.right]))
        self._loss = LOSSES[config.loss]
        self.labels = torch.from_numpy(dataset.probability_right)
        counts = torch.from_numpy(RESAMPLING[config.resampling](ensemble.seed, len(dataset), self.members))
        counts[(counts == 0).all(dim=1)] = 1
        weights = torch.from_numpy(dataset.weights)
        self.train_weights = counts * weights
        self.held_out_weights = (counts == 0) * weights
        self.best = torch.full((self.members,), torch.inf)
        self._best_parameters = [parameter.detach().clone() for parameter in self.parameters]

    def log_odds(self, labels: Tensor) -> Tensor:
        """Each member's log-odds that right is better, (K, labels), for the labels of the given positions."""
        segments = self._segments[:, labels].reshape(-1)
        steps = self._vector.shape[1]
        rewards = self.network(
            self._vector[segments].flatten(0, 1),
            [image[segments].flatten(0, 1) for image in self._images],
            self._categories[segments].flatten(0, 1),
        )
        returns = rewards.view(self.members, 2, len(labels), steps).sum(dim=3)
        return returns[:, 1] - returns[:, 0]

    def train_loss(self, labels: Tensor) -> Tensor:
        """The loss to minimise: members do not share parameters, so the gradient of their sum trains each by itself."""
        losses = self._loss(self.log_odds(labels), self.labels[labels])
        return (losses * self.train_weights[:, labels]).mean(dim=1).sum()

    def all_log_odds(self) -> Tensor:
        """`log_odds` of all labels, without gradients."""
        with torch.inference_mode():
            chunk = max(1, 512 // self._vector.shape[1])
            return torch.cat([self.log_odds(part) for part in torch.arange(len(self.labels)).split(chunk)], dim=1)

    def check(self) -> bool:
        """Keep the parameters of members whose held-out loss has fallen; say whether there was one."""
        train, held_out = self._losses(self.all_log_odds())
        current = torch.where(held_out.isnan(), train, held_out)
        better = current < self.best
        self.best = torch.where(better, current, self.best)
        with torch.no_grad():
            for kept, parameter in zip(self._best_parameters, self.parameters, strict=True):
                kept.view(self.members, -1)[better] = parameter.view(self.members, -1)[better]
        return bool(better.any())

    def restore_best(self) -> None:
        """Put each member's best parameters into the network."""
        with torch.no_grad():
            for kept, parameter in zip(self._best_parameters, self.parameters, strict=True):
                parameter.copy_(kept)

    def summary(self) -> tuple[float, float, float]:
        """Train loss, held-out loss and held-out accuracy of the network as it is."""
        log_odds = self.all_log_odds()
        train, held_out = self._losses(log_odds)
        decided = (self.held_out_weights > 0) & (self.labels != 0.5)
        right = ((log_odds > 0) == (self.labels > 0.5)) & decided
        accuracy = right.sum() / decided.sum()
        return float(train.nanmean()), float(held_out.nanmean()), float(accuracy)

    def _losses(self, log_odds: Tensor) -> tuple[Tensor, Tensor]:
        losses = self._loss(log_odds, self.labels)
        train = (losses * self.train_weights).sum(dim=1) / self.train_weights.sum(dim=1)
        held_out = (losses * self.held_out_weights).sum(dim=1) / self.held_out_weights.sum(dim=1)
        return train, held_out


def _train(problem: _Problem, config: FitConfig, generator: torch.Generator, share: float) -> int:
    labels = len(problem.labels)
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
