"""What a fit learns from steps that no answer is about: how they follow each other, and answers that it is sure of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from rlhf_envs.objectives import Objective
from rlhf_envs.rewards.ensemble import INPUT_CLIP

OfSteps = Callable[[Tensor, Tensor], Tensor]
"""What the network makes of steps: from the rows of M segments, (M, 1), and which L steps of each, (M, L), to
(members, M, L, ...)."""

TRANSITIONS_PER_STEP = 160
"""That a step of the optimiser predicts: a quarter of the steps of the segments that its 16 labels are about."""

PAIRS_PER_STEP = 16
"""Of segments with an answer of the ensemble's own, in a step of the optimiser."""

PSEUDO_LABEL_WEIGHT = 0.1
"""How much the pairs of a step count, beside 1 of its labels. An answer of one's own is no new evidence."""

_PAIRINGS = 4
_HEAD_SCALE = 0.1
_SMALLEST_STD = 1e-6


class Dynamics:
    """A linear head on the last hidden layer of every member that predicts how the observation changes in a step.

    The layers below are shared with the reward, so that they learn what in an observation moves, and with which action,
    from steps that nobody was asked about: the self-supervised objective of REED (Metcalf et al. 2022, arXiv
    2211.06527). There the next observation is predicted in a learned space; here its numbers themselves are, as the
    encoder gives them, which need no second network. With b steps of (s, a, s'), d = (s' - s) / std(s' - s) by column
    and h the hidden layer,

        L = mean over b and columns of (W h(s, a) - d)^2.

    Args:
        vector: (segments, T, columns) float32, normalised inputs of all steps there are.
        observed: how many of the first columns are the observation; the others are the action.
        absorbing: whether the last column says which steps come after a termination; nothing moves there.
        members: of the ensemble.
        width: of the hidden layer.
        generator: draws the initial head.

    Raises:
        ValueError: if the observation holds no numbers, only large categories.
    """

    def __init__(
        self, vector: Tensor, observed: int, absorbing: bool, members: int, width: int, generator: torch.Generator
    ) -> None:
        if not observed:
            raise ValueError(
                "Predicting the next observation needs one with numbers, and this one is only large categories; "
                "set dynamics to 0."
            )
        self._observations = vector[..., :observed]
        lived = torch.ones_like(vector[:, 1:, 0], dtype=torch.bool)
        if absorbing:
            lived = vector[:, 1:, -1] == 0
        self._transitions = lived.nonzero()
        changes = (self._observations[:, 1:] - self._observations[:, :-1])[lived]
        std = changes.std(dim=0, correction=0) if len(changes) else changes.new_ones(observed)
        self._std = torch.where(std > _SMALLEST_STD, std, 1.0)
        head = torch.randn((members, width, observed), generator=generator) * _HEAD_SCALE
        self._weight = nn.Parameter(head.to(vector.device))
        self._bias = nn.Parameter(torch.zeros(members, 1, observed, device=vector.device))

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the head, which no reward model keeps."""
        yield self._weight
        yield self._bias

    def loss(self, hidden: OfSteps, generator: torch.Generator) -> Tensor:
        """The squared error of transitions that are drawn, summed over the members.

        Args:
            hidden: the last hidden layer, (members, M, L, width).
            generator: draws the transitions.
        """
        if not len(self._transitions):
            return self._bias.sum() * 0
        drawn = torch.randint(len(self._transitions), (TRANSITIONS_PER_STEP,), generator=generator)
        rows, steps = self._transitions[drawn.to(self._transitions.device)].unbind(dim=1)
        change = (self._observations[rows, steps + 1] - self._observations[rows, steps]) / self._std
        predicted = torch.baddbmm(self._bias, hidden(rows[:, None], steps[:, None]).squeeze(2), self._weight)
        return (predicted - change.clamp(-INPUT_CLIP, INPUT_CLIP)).square().mean(dim=(1, 2)).sum()


class PseudoLabels:
    """Pairs of segments that the ensemble is sure of, as labels: which of two has the higher return.

    These are the pseudo-labels of SURF (Park et al. 2022, arXiv 2203.10050, section 4.1): where the predicted
    probability of one side is above a threshold, it is taken for an answer. Here all members must agree, so that none
    has learned the side from an answer that another does not know.

    Args:
        returns: (members, segments), of the segments that may be paired, under each member.
        rows: (segments,) int64, where the segments are.
        threshold: the mean probability of a side from which it is an answer.
        objective: how returns become probabilities.
        generator: draws the pairs.
    """

    def __init__(
        self, returns: Tensor, rows: Tensor, threshold: float, objective: Objective, generator: torch.Generator
    ) -> None:
        self._objective = objective
        orders = [torch.randperm(len(rows), generator=generator).to(rows.device) for _ in range(_PAIRINGS)]
        left, right = torch.cat(orders), torch.cat([order.roll(1) for order in orders])
        probabilities = objective.choice_probability(returns[:, right] - returns[:, left])
        right_wins = probabilities.mean(dim=0) >= 0.5
        agreed = ((probabilities > 0.5) == right_wins).all(dim=0)
        sure = torch.where(right_wins, probabilities, 1 - probabilities).mean(dim=0) >= threshold
        kept = agreed & sure
        self._rows = rows[torch.stack([left[kept], right[kept]])]
        self._right = right_wins[kept].float()

    def __len__(self) -> int:
        return len(self._right)

    def loss(self, rewards: OfSteps, steps: int, length: int, generator: torch.Generator) -> Tensor:
        """The weighted cross-entropy of pairs that are drawn, summed over the members.

        Args:
            rewards: of steps, (members, M, L).
            steps: T, of a segment.
            length: of the windows that are looked at, each at a place of its own.
            generator: draws pairs and places.
        """
        drawn = torch.randint(len(self), (PAIRS_PER_STEP,), generator=generator).to(self._rows.device)
        rows = self._rows[:, drawn].reshape(-1)
        returns = rewards(rows[:, None], windows(len(rows), steps, length, generator).to(rows.device)).sum(dim=2)
        left, right = returns.chunk(2, dim=1)
        losses = self._objective.comparison_loss(right - left, self._right[drawn])
        return PSEUDO_LABEL_WEIGHT * losses.mean(dim=1).sum()


def windows(count: int, steps: int, length: int, generator: torch.Generator) -> Tensor:
    """The steps of a window of `length` in each of `count` segments of `steps`, drawn uniformly, (count, length)."""
    starts = torch.rand(count, 1, generator=generator) * (steps - length + 1)
    return starts.long() + torch.arange(length)
