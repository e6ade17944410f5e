"""What a fit minimises: the labels of all kinds under a form of the reward."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlhf_envs.kinds import Comparison, LabelBatch
from rlhf_envs.objectives import LEAST_ERROR
from rlhf_envs.rewards.dataset import Labels, PreferenceDataset
from rlhf_envs.rewards.encoding import Encoded
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.forms import ENDING, STEPS, Form
from rlhf_envs.rewards.network import segment_events
from rlhf_envs.rewards.resampling import draw_samples
from rlhf_envs.rewards.unlabelled import Dynamics, PseudoLabels, windows

_CHUNK = 512
_EVERY_STEP = _EVERY_LABEL = slice(None)


class FitProblem:
    """The labels of all kinds as one thing to minimise, the network, and the best parameters of each member so far."""

    def __init__(
        self,
        ensemble: RewardEnsemble,
        dataset: PreferenceDataset,
        config: FitConfig,
        unlabelled: Encoded | None,
        form: Form,
    ) -> None:
        self.config, self.objective = config, ensemble.objective
        parts, self._penalties = form
        self.network = ensemble.network
        trained = parts | {ENDING}
        self._pays_events = not trained.isdisjoint(self.network.event_weights.keys())
        self.parameters = []
        for name, parameter in self.network.named_parameters():
            event = name.removeprefix("event_weights.")
            if (event if event != name else STEPS) in trained:
                self.parameters.append(parameter)
        self._pays_steps = STEPS in parts
        if not self._pays_steps:
            nn.init.zeros_(self.network.weights[-1])
        self.members = ensemble.config.members
        steps, labelled = dataset.steps, len(dataset.steps)
        self.device = device = ensemble.device
        self._absorbing = ensemble.encoder.absorbing
        self.segment_length = steps.vector.shape[1]
        if unlabelled is not None:
            steps = _joined(steps, unlabelled)
        self._vector = ensemble.normalise_inputs(torch.from_numpy(steps.vector).to(device))
        self._images = [torch.from_numpy(image).to(device) for image in steps.images]
        self._categories = torch.from_numpy(steps.categories).to(device)
        samples, self.members_with_a_sample = draw_samples(ensemble, dataset, config.resampling)
        self._terms = [
            _Term(ensemble, dataset.labels(kind), sample, config.label_smoothing) for kind, sample in samples.items()
        ]
        self._unlabelled = torch.arange(labelled, len(steps), device=device)
        self._pseudo_labels: PseudoLabels | None = None
        self._dynamics: Dynamics | None = None
        if config.dynamics:
            self._dynamics = Dynamics(
                self._vector,
                ensemble.observed,
                ensemble.encoder.absorbing,
                self.members,
                ensemble.config.hidden[-1],
                ensemble.generator(stream=2),
            )
        self.best = torch.full((self.members,), torch.inf, device=device)
        self._best_parameters = [parameter.detach().clone() for parameter in self.parameters]

    @property
    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """What is trained besides the network, and dropped at the end."""
        return [] if self._dynamics is None else list(self._dynamics.parameters())

    def go_by_predictions(self, generator: torch.Generator) -> None:
        """From now on, use what the members predict: as labels of their own, and against labels that they doubt."""
        if self.config.pseudo_labels and len(self._unlabelled) > 1:
            with torch.inference_mode():
                chunks = self._unlabelled.split(max(1, _CHUNK // self.segment_length))
                returns = torch.cat([self.rewards(some).sum(dim=2) for some in chunks], dim=1)
            # Tensors of inference mode may not take part in a backward pass.
            pseudo_labels = PseudoLabels(
                returns.clone(), self._unlabelled, self.config.pseudo_labels, self.objective, generator
            )
            self._pseudo_labels = pseudo_labels if len(pseudo_labels) else None
        if self.config.small_loss:
            for term, predicted in zip(self._terms, self.predictions(), strict=True):
                term.doubt(predicted, self.config.small_loss)

    def rewards(self, segments: Tensor, steps: Tensor | slice = _EVERY_STEP) -> Tensor:
        """Each member's rewards of steps of some segments, (K, segments, steps).

        Args:
            segments: (segments,), their rows; or (segments, 1) beside (segments, steps).
            steps: which of each segment, one after another.
        """
        inputs, shape = self._inputs(segments, steps)
        rewards: Tensor
        if self._pays_steps:
            rewards = self.network(*inputs).view(self.members, *shape)
        else:
            rewards = inputs[0].new_zeros(self.members, *shape)
        if self._pays_events:
            potential, ending = (each.view(self.members, *shape) for each in self.network.events(inputs[0]))
            absorbing = inputs[0][:, -1].view(shape) != 0 if self._absorbing else None
            rewards = rewards + segment_events(potential, ending, absorbing)
        return rewards

    def _hidden(self, segments: Tensor, steps: Tensor) -> Tensor:
        """Each member's last hidden layer, (K, segments, steps, width); arguments as in `rewards`."""
        inputs, shape = self._inputs(segments, steps)
        return self.network.hidden(*inputs).unflatten(1, shape)

    def _inputs(
        self, segments: Tensor, steps: Tensor | slice
    ) -> tuple[tuple[Tensor, list[Tensor], Tensor], tuple[int, int]]:
        vector = self._vector[segments, steps]
        images = [image[segments, steps].flatten(0, 1) for image in self._images]
        categories = self._categories[segments, steps].flatten(0, 1)
        return (vector.flatten(0, 1), images, categories), (vector.shape[0], vector.shape[1])

    def train_loss(self, labels: Tensor, length: int, generator: torch.Generator) -> Tensor:
        """The loss to minimise: members do not share parameters, so the gradient of their sum trains each by itself.

        Args:
            labels: positions in all labels of all kinds, one kind after another.
            length: of the windows that segments are cut to.
            generator: draws where these begin.
        """
        losses = []
        shorter = length < self.segment_length
        for cropped, chosen in groupby(self._by_kind(labels), lambda part: shorter and part[0].kind.ordinal):
            parts = list(chosen)
            rows = [term.rows(some) for term, some in parts]
            segments = torch.cat(rows)
            if cropped:
                places = windows(len(segments), self.segment_length, length, generator)
                rewards = self.rewards(segments[:, None], places.to(self.device))
            else:
                rewards = self.rewards(segments)
            losses += [
                term.train_losses(term.predict(predicted), some) * term.train_weights[:, some]
                for (term, some), predicted in zip(
                    parts, rewards.split([len(some) for some in rows], dim=1), strict=True
                )
            ]
        loss = torch.cat(losses, dim=1).mean(dim=1).sum()
        if self.config.penalised:
            curves, layers = self.network.penalties()
            loss = loss + self._penalties * (self.config.group_lasso * curves + self.config.ridge * layers)
        if self._pseudo_labels is not None:
            loss = loss + self._pseudo_labels.loss(self.rewards, self.segment_length, length, generator)
        if self._dynamics is not None:
            loss = loss + self.config.dynamics * self._dynamics.loss(self._hidden, generator)
        return loss

    def predictions(self) -> list[Tensor]:
        """What the members predict for all labels of each kind, without gradients."""
        chunk = max(1, _CHUNK // self.segment_length)
        with torch.inference_mode():
            return [
                torch.cat(
                    [
                        term.predict(self.rewards(term.rows(part)))
                        for part in torch.arange(len(term), device=self.device).split(chunk)
                    ],
                    dim=1,
                )
                for term in self._terms
            ]

    def check(self) -> bool:
        """Keep the parameters of members whose held-out loss has fallen; say whether there was one."""
        train, held_out = self._losses(self.predictions())
        current = torch.where(held_out.isnan(), train, held_out)
        better = current < self.best
        self.best = torch.where(better, current, self.best)
        with torch.no_grad():
            for best, parameter in zip(self._best_parameters, self.parameters, strict=True):
                best.view(self.members, -1)[better] = parameter.view(self.members, -1)[better]
        return bool(better.any())

    def restore_best(self) -> None:
        """Put each member's best parameters into the network."""
        with torch.no_grad():
            for best, parameter in zip(self._best_parameters, self.parameters, strict=True):
                parameter.copy_(best)

    def summary(self) -> tuple[float, float, float]:
        """Train loss, held-out loss and held-out accuracy of the network as it is."""
        predictions = self.predictions()
        train, held_out = self._losses(predictions)
        pairs = [
            torch.stack([torch.as_tensor(count, dtype=torch.float64) for count in term.held_out_pairs(predicted)])
            for term, predicted in zip(self._terms, predictions, strict=True)
        ]
        right, decided = torch.stack(pairs).sum(dim=0)
        return float(train.nanmean()), float(held_out.nanmean()), float(right / decided)

    def held_out_losses(self) -> NDArray[np.float64]:
        """The loss on each label that members hold out, their weighted mean, (labels,)."""
        losses, held_out = [], []
        for term, predicted in zip(self._terms, self.predictions(), strict=True):
            losses.append(term.losses(predicted, _EVERY_LABEL))
            held_out.append(term.held_out_weights)
        weights = torch.cat(held_out, dim=1)
        some = weights.sum(dim=0) > 0
        means = (torch.cat(losses, dim=1) * weights).sum(dim=0)[some] / weights.sum(dim=0)[some]
        found: NDArray[np.float64] = means.double().cpu().numpy()
        return found

    def _by_kind(self, labels: Tensor) -> list[tuple[_Term, Tensor]]:
        if len(self._terms) == 1:
            return [(self._terms[0], labels)]
        chosen, start = [], 0
        for term in self._terms:
            inside = labels[(labels >= start) & (labels < start + len(term))]
            if len(inside):
                chosen.append((term, inside - start))
            start += len(term)
        return chosen

    def _losses(self, predictions: list[Tensor]) -> tuple[Tensor, Tensor]:
        losses = torch.cat(
            [term.losses(predicted, _EVERY_LABEL) for term, predicted in zip(self._terms, predictions, strict=True)],
            dim=1,
        )
        train = torch.cat([term.train_weights for term in self._terms], dim=1)
        held_out = torch.cat([term.held_out_weights for term in self._terms], dim=1)
        return _weighted_mean(losses, train), _weighted_mean(losses, held_out)


class _Term:
    """The labels of one kind, and how much each counts in training, and in judging, each member: (K, N)."""

    def __init__(
        self, ensemble: RewardEnsemble, labels: Labels, sample: NDArray[np.float32], label_smoothing: float
    ) -> None:
        self.kind, self.objective = labels.kind, ensemble.objective
        device = ensemble.device
        sampled = torch.from_numpy(sample).to(device)
        counted = torch.from_numpy(labels.weights * np.float32(labels.kind.weight)).to(device)
        self.train_weights = sampled * counted
        self.held_out_weights = (sampled == 0) * counted
        self._undoubted_weights = self.train_weights
        most = int((labels.rows >= 0).sum(axis=1).max())
        rows = torch.from_numpy(labels.rows[:, :most]).to(device)
        # Absent places show the first segment again, and the losses leave them out.
        self._rows = torch.where(rows >= 0, rows, rows[:, :1]).T.contiguous()
        self._batch = LabelBatch(
            rows >= 0,
            torch.from_numpy(labels.targets).to(device),
            torch.from_numpy(labels.temperatures.astype(np.float32)).to(device),
            torch.from_numpy(labels.error_rates.clip(LEAST_ERROR, 1 - LEAST_ERROR).astype(np.float32)).to(device),
        )
        self._train_batch = self._batch
        if label_smoothing and labels.kind.name == Comparison.name:
            smoothed = (1 - label_smoothing) * self._batch.targets + label_smoothing / 2
            self._train_batch = replace(self._batch, targets=smoothed)

    def __len__(self) -> int:
        return self.train_weights.shape[1]

    def rows(self, labels: Tensor) -> Tensor:
        """The segments of some labels: all first ones, and after them all second ones, (places * labels,)."""
        return self._rows[:, labels].reshape(-1)

    def predict(self, rewards: Tensor) -> Tensor:
        """What the members' rewards (K, rows, T) of those segments say, (K, labels, ...)."""
        return self.kind.predict(rewards.unflatten(1, (len(self._rows), -1)))

    def losses(self, predictions: Tensor, labels: Tensor | slice) -> Tensor:
        """The loss of each member on each label, (K, labels)."""
        return self.kind.loss(predictions, self._batch[labels], self.objective)

    def train_losses(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """The same with smoothed targets."""
        return self.kind.loss(predictions, self._train_batch[labels], self.objective)

    def doubt(self, predictions: Tensor, trusted_loss: float) -> None:
        """Let labels count less on which the members that do not train on them have a larger loss than that.

        Args:
            predictions: of all labels.
            trusted_loss: up to which a label counts in full.
        """
        if not self.kind.ordinal:
            return
        held_out = self.held_out_weights > 0
        losses = (self.losses(predictions, _EVERY_LABEL) * held_out).sum(dim=0) / held_out.sum(dim=0)
        trust = torch.where(losses > trusted_loss, trusted_loss / losses, 1.0)
        self.train_weights = self._undoubted_weights * trust

    def held_out_pairs(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """See `FeedbackKind.held_out_pairs`."""
        return self.kind.held_out_pairs(predictions, self._batch, self.held_out_weights > 0)


def _joined(steps: Encoded, unlabelled: Encoded) -> Encoded:
    """Labelled segments and, behind them, unlabelled ones."""
    if unlabelled.vector.shape[1:] != steps.vector.shape[1:]:
        raise ValueError(
            f"Unlabelled segments must be like the labelled ones, (T, columns) {steps.vector.shape[1:]}, not "
            f"{unlabelled.vector.shape[1:]}."
        )
    return Encoded(
        np.concatenate([steps.vector, unlabelled.vector]),
        tuple(np.concatenate(both) for both in zip(steps.images, unlabelled.images, strict=True)),
        np.concatenate([steps.categories, unlabelled.categories]),
    )


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum(dim=1) / weights.sum(dim=1)
