"""All answers of a dataset as one thing to minimise."""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf_envs.rewards.dataset import PreferenceDataset
from rlhf_envs.rewards.ensemble import RewardEnsemble
from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.losses import LOSSES
from rlhf_envs.rewards.objectives import ComparisonObjective, Objective, RankingObjective, RatingObjective
from rlhf_envs.rewards.resampling import RESAMPLING


class FitProblem:
    """The labels as objectives, the network, and the best parameters of each member so far."""

    def __init__(self, ensemble: RewardEnsemble, dataset: PreferenceDataset, config: FitConfig) -> None:
        self.network = ensemble.network
        self.parameters = list(self.network.parameters())
        self.members = ensemble.config.members
        steps = dataset.steps
        self._vector = ensemble.normalise_inputs(torch.from_numpy(steps.vector))
        self._images = [torch.from_numpy(image) for image in steps.images]
        self._categories = torch.from_numpy(steps.categories)
        self._objectives = _objectives(ensemble, dataset, config)
        self.best = torch.full((self.members,), torch.inf)
        self._best_parameters = [parameter.detach().clone() for parameter in self.parameters]

    def rewards(self, segments: Tensor) -> Tensor:
        """Each member's rewards of the steps of some segments, (K, segments, T)."""
        rewards: Tensor = self.network(
            self._vector[segments].flatten(0, 1),
            [image[segments].flatten(0, 1) for image in self._images],
            self._categories[segments].flatten(0, 1),
        )
        return rewards.view(self.members, len(segments), self._vector.shape[1])

    def train_loss(self, labels: Tensor) -> Tensor:
        """The loss to minimise: members do not share parameters, so the gradient of their sum trains each by itself.

        Args:
            labels: positions in all labels of all kinds, one kind after another.
        """
        chosen = self._by_objective(labels)
        rows = [objective.rows(places) for objective, places in chosen]
        rewards = self.rewards(torch.cat(rows)).split([len(some) for some in rows], dim=1)
        losses = [
            objective.losses(objective.predict(some), places) * objective.train_weights[:, places]
            for (objective, places), some in zip(chosen, rewards, strict=True)
        ]
        return torch.cat(losses, dim=1).mean(dim=1).sum()

    def predictions(self) -> list[Tensor]:
        """What each objective predicts for all of its labels, without gradients."""
        chunk = max(1, 512 // self._vector.shape[1])
        with torch.inference_mode():
            return [
                torch.cat(
                    [
                        objective.predict(self.rewards(objective.rows(part)))
                        for part in torch.arange(len(objective)).split(chunk)
                    ],
                    dim=1,
                )
                for objective in self._objectives
            ]

    def check(self) -> bool:
        """Keep the parameters of members whose held-out loss has fallen; say whether there was one."""
        train, held_out = self._losses(self.predictions())
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
        predictions = self.predictions()
        train, held_out = self._losses(predictions)
        pairs = [
            torch.stack(objective.held_out_pairs(predicted))
            for objective, predicted in zip(self._objectives, predictions, strict=True)
        ]
        right, decided = torch.stack(pairs).sum(dim=0)
        return float(train.nanmean()), float(held_out.nanmean()), float(right / decided)

    def _by_objective(self, labels: Tensor) -> list[tuple[Objective, Tensor]]:
        if len(self._objectives) == 1:
            return [(self._objectives[0], labels)]
        chosen, start = [], 0
        for objective in self._objectives:
            inside = labels[(labels >= start) & (labels < start + len(objective))]
            if len(inside):
                chosen.append((objective, inside - start))
            start += len(objective)
        return chosen

    def _losses(self, predictions: list[Tensor]) -> tuple[Tensor, Tensor]:
        all_labels = slice(None)
        losses = torch.cat(
            [
                objective.losses(predicted, all_labels)
                for objective, predicted in zip(self._objectives, predictions, strict=True)
            ],
            dim=1,
        )
        train = torch.cat([objective.train_weights for objective in self._objectives], dim=1)
        held_out = torch.cat([objective.held_out_weights for objective in self._objectives], dim=1)
        return _weighted_mean(losses, train), _weighted_mean(losses, held_out)


def _objectives(ensemble: RewardEnsemble, dataset: PreferenceDataset, config: FitConfig) -> list[Objective]:
    """One objective for each kind of answer that there is."""
    resample = RESAMPLING[config.resampling]
    comparisons, rankings, ratings = dataset.comparisons, dataset.rankings, dataset.ratings
    # Each kind has a stream of its own, so that an answer of one kind changes no draw for another.
    counts = [
        resample(ensemble.seed + stream, count, ensemble.config.members)
        for stream, count in enumerate((len(comparisons), len(rankings), len(ratings)))
    ]
    objectives: list[Objective] = []
    if len(comparisons):
        objectives.append(ComparisonObjective(comparisons, counts[0], LOSSES[config.loss]))
    if len(rankings):
        objectives.append(RankingObjective(rankings, counts[1]))
    if len(ratings):
        objectives.append(RatingObjective(ratings, counts[2], config.rating_gamma, config.rating_weight))
    return objectives


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum(dim=1) / weights.sum(dim=1)
