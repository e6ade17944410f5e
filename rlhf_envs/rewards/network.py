"""The network of a reward ensemble: K small reward functions on one batch, and curves of single inputs beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlhf_envs.rewards.encoding import InputEncoder

EMBEDDING_WIDTH = 16
"""Columns that a category with an embedding table contributes."""

EMBEDDING_SCALE = 0.1
"""Of embeddings, which are fitted ten times as large: so they begin small and learn slowly. A table has many columns
and most of its rows are hardly ever seen: at the scale of one-hots they would drown what the other inputs say, and
learning as fast they would put down to each value by itself what a few answers happened to say where it was seen."""

IMAGE_CHANNELS = (8, 16)
"""Filters of the convolutions, each of which halves the picture."""

IMAGE_FEATURES = 64
"""What the layers read of a picture."""

OUTPUT_SCALE = 0.1
"""A fresh member starts close to zero everywhere, so that what no label speaks about adds little to its reward."""

ADDITIVE_SCALE, NETWORK_SCALE = 2.0, 0.3
"""How fast the additive part of a reward learns beside the network. With few labels the simpler part should explain
what it can, and the network what is left."""

SQUARE_CLIP = 4.0
"""Squares of normalised inputs are cut here, two standard deviations from the mean: a policy seeks out extremes, and a
parabola that goes on rising beyond what was judged would pay it for them."""

SMALLEST_SQUARE = 1e-8
"""Added to squares below a root, which has no slope at 0."""

PROJECTED_ABOVE, PROJECTIONS = 512, 64
"""With more numbers of an observation than that, the network reads so many random mixtures of them (Johnson and
Lindenstrauss 1984) in their place, and the curves of single inputs read the numbers themselves. Otherwise nearly all of
the time would go into first layers of which a few hundred answers determine next to nothing."""

EVENT_SCALE = 20.0
"""How fast potentials and worths of an end learn. A reward counts at every step of a segment, and these once in it."""


@dataclass(frozen=True)
class EnsembleConfig:
    """The size of an ensemble.

    Attributes:
        members: how many reward functions. Their mean is the reward, their spread the uncertainty.
        hidden: widths of the hidden layers of each.
        additive: whether each reward function is a sum of curves of single inputs (a generalised additive model, Hastie
            and Tibshirani 1986), each spanned by x, |x| and a clipped x^2, beside the network, which then has to
            explain only what is left. Much of what people want is of this form (near the middle, not too fast, smooth),
            and a hundred answers determine it far better than they determine a network alone.
        potential: whether a reward function may have a potential besides, a sum of such curves of the observation, and
            pay its change from each step to the next: r(s, a) + P(s') - P(s), the form that Ng, Harada and Russell
            (1999) gave to shaping. What makes a clip good may be that something gets better in it, that an agent comes
            closer or slows down, which a reward of single steps can hardly say. Whenever the labels have grown by half,
            a fit begins with rewards of steps alone, with both, and with a potential alone, and gives up those that are
            far behind after a third. Rewards of steps are kept unless another form predicts held-out answers clearly
            better, or just better where episodes terminate or where it was kept before. Of a picture it is one of its
            thumbnail; categories with many values have none.
        pessimism: how many spreads the reward lies below the members' mean. A policy that is trained on a learned
            reward seeks out what the reward overrates, and the members disagree most about what they have not been told
            of; a lower confidence bound keeps the policy near what people have judged.
        language_model: reads the tokens of a window that the observation is, for the reward: "prose" for this package's
            own, or the folder of one of Hugging Face. The reward is then one of how likely the model finds each token,
            of whether it repeats what is there, and of which token it is, through the model's embeddings and ones of
            its own. Empty where observations are read as they are.
        objective: how returns become the probability of an answer: by a logistic curve ("bradley_terry"), by the normal
            distribution ("probit"), or by an objective of one's own, as "module:Name".
    """

    members: int = 7
    hidden: tuple[int, ...] = (32, 32)
    additive: bool = True
    potential: bool = True
    pessimism: float = 1.0
    language_model: str = ""
    objective: str = "bradley_terry"

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"An ensemble needs at least one member, not {self.members}.")
        if not 0 <= self.pessimism < math.inf:
            raise ValueError(f"pessimism must be 0 or more and finite, not {self.pessimism}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(
                f"An ensemble needs hidden layers of at least one unit, such as (64, 64), not {self.hidden}."
            )


class MemberNetwork(nn.Module):
    """K independent reward functions on one shared batch, without a loop over members: multi-layer perceptrons, whose
    last layer also reads curves of single inputs where the reward is additive.

    Args:
        encoder: says which images and categories come in.
        config: the size.
        generator: draws the initial parameters; the global random state is left alone.
        columns: of the vector, that come in.
        observed: how many of these, the first ones, are of the observation.

    Attributes:
        members: K.
        width: how many numbers the last layer reads.
        has_potential, has_events: whether there are weights of a potential; or of any events.
        projection: (observed, PROJECTIONS), the mixtures of a wide observation that the network reads; None where it
            reads the numbers themselves.
    """

    projection: Tensor | None

    def __init__(
        self, encoder: InputEncoder, config: EnsembleConfig, generator: torch.Generator, columns: int, observed: int
    ) -> None:
        super().__init__()
        members, hidden = config.members, config.hidden
        self.members = members
        self._additive = config.additive and columns > 0
        # Of categories with many values the network alone can say anything, and of pictures nearly so.
        self._network_scale = 1.0 if encoder.image_shapes or encoder.vocabularies else NETWORK_SCALE
        self.image_encoders = nn.ModuleList(
            _ImageEncoder(shape, members, IMAGE_FEATURES, generator) for shape in encoder.image_shapes
        )
        self.embeddings = nn.ParameterList(
            _normal((members, count, EMBEDDING_WIDTH), 1.0, generator) for count in encoder.vocabularies
        )
        inputs, projection = columns, None
        if observed > PROJECTED_ABOVE:
            # Of unit variance again, as the numbers are.
            projection = torch.randn(observed, PROJECTIONS, generator=generator) / math.sqrt(observed)
            inputs = PROJECTIONS + columns - observed
        self.register_buffer("projection", projection)
        width = inputs + IMAGE_FEATURES * len(encoder.image_shapes) + EMBEDDING_WIDTH * len(encoder.vocabularies)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, outputs in enumerate((*hidden, 1)):
            scale = (1 if layer < len(hidden) else OUTPUT_SCALE) / math.sqrt(max(width, 1))
            self.weights.append(_normal((members, width, outputs), scale, generator))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, outputs)))
            width = outputs
        self.width = hidden[-1]
        if self._additive:
            # Curves begin flat.
            curves = torch.zeros(members, 3 * columns, 1)
            self.width += curves.shape[1]
            self.weights[-1] = nn.Parameter(torch.cat([self.weights[-1].detach(), curves], dim=1))
        self._columns, self._observed = columns, observed
        # Events are read off the observation: a constant, and curves of its numbers.
        width = 3 * observed + 1
        self.has_potential = config.potential and observed > 0
        self.event_weights = nn.ParameterDict()
        if self.has_potential:
            self.event_weights["potential"] = nn.Parameter(torch.zeros(members, width, 1))
        if config.additive and encoder.absorbing:
            self.event_weights["ending"] = nn.Parameter(torch.zeros(members, width, 1))
        self.has_events = bool(self.event_weights)

    def read_more(self, places: Tensor, columns: int, observed: int) -> None:
        """Take more vector columns from now on. Their weights are 0, so that no reward changes before the next fit.

        Args:
            places: (columns so far,) int64, where these are among those that come in from now on.
            columns, observed: of those, as above.
        """
        before, seen = self._columns, self._observed
        width = self.weights[-1].shape[1] - 3 * before
        if self.projection is None:
            behind = torch.arange(self.weights[0].shape[1] - before, device=places.device)
            self.weights[0] = _moved(self.weights[0], torch.cat([places, columns + behind]), columns + len(behind))
        else:
            self.projection = _moved(self.projection[None], places[:seen], observed).detach()[0]
        if self._additive:
            hidden = torch.arange(width, device=places.device)
            rows = torch.cat([hidden, *(width + curve * columns + places for curve in range(3))])
            self.weights[-1] = _moved(self.weights[-1], rows, width + 3 * columns)
            self.width = width + 3 * columns
        constant = places.new_tensor([3 * observed])
        rows = torch.cat([*(curve * observed + places[:seen] for curve in range(3)), constant])
        for name, weights in self.event_weights.items():
            self.event_weights[name] = _moved(weights, rows, 3 * observed + 1)
        self._columns, self._observed = columns, observed

    def forward(
        self, vector: Tensor, images: Sequence[Tensor], categories: Tensor, embedded: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Rewards of B steps under each member, before any normalisation.

        Args:
            vector: (B, columns), normalised.
            images: float32 tensors (B, channels, height, width), as `Encoded` has them.
            categories: (B, tables), int64.
            embedded: what `embed` makes of the categories; None to look them up.

        Returns:
            (K, B).
        """
        hidden = self.hidden(vector, images, categories, embedded)
        if self._additive:
            # One product for all members: copies of the curves for each would take most of the time and memory.
            network, curved = self.weights[-1].split([hidden.shape[2], 3 * self._columns], dim=1)
            rewards = torch.baddbmm(self.biases[-1], self._network_scale * hidden, network).squeeze(2)
            return rewards + ADDITIVE_SCALE * _curves_times(vector, curved.squeeze(2))
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1]).squeeze(2)

    def features(
        self, vector: Tensor, images: Sequence[Tensor], categories: Tensor, embedded: Sequence[Tensor] | None = None
    ) -> Tensor:
        """What the last layer of each member reads, (K, B, width); arguments as in `forward`."""
        hidden = self.hidden(vector, images, categories, embedded)
        if not self._additive:
            return hidden
        curves = ADDITIVE_SCALE * _curves(vector)
        return torch.cat([self._network_scale * hidden, curves.expand(self.members, *curves.shape)], dim=2)

    @property
    def pays_events(self) -> bool:
        """Whether anything is paid for events: a potential that a fit has left out has weights of 0."""
        return any(bool(weights.any()) for weights in self.event_weights.values())

    def events(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The potential of B observations and what an end after them is worth, under each member, each (K, B).

        Args:
            vector: (B, columns), normalised; only the observation's columns are read.
        """
        nothing = vector.new_zeros(self.members, len(vector))
        if self.projection is not None and self.event_weights:
            weights = torch.cat([*self.event_weights.values()], dim=0).squeeze(2)
            values = _curves_times(vector[:, : self._observed], weights[:, :-1]) + weights[:, -1:]
            found = dict(zip(self.event_weights, (EVENT_SCALE * values).split(self.members), strict=True))
            return found.get("potential", nothing), found.get("ending", nothing)
        curves = self.event_curves(vector)
        potential, ending = (
            (curves @ self.event_weights[name]).squeeze(2) if name in self.event_weights else nothing
            for name in ("potential", "ending")
        )
        return potential, ending

    def event_curves(self, vector: Tensor) -> Tensor:
        """What potential and ends are weighted sums of, (B, width); argument as for `events`."""
        curves = _curves(vector[:, : self._observed])
        return EVENT_SCALE * torch.cat([curves, curves.new_ones(len(curves), 1)], dim=1)

    def penalties(self) -> tuple[Tensor, Tensor]:
        """What `FitConfig.group_lasso` and `FitConfig.ridge` charge for, summed over the members.

        Returns:
            two scalars: the sum over inputs of the length of their curves' three weights, nothing beside embeddings;
            and that of the squares of the weights of the hidden layers.
        """
        squares = torch.stack([weights.square().sum() for weights in self.weights[:-1]]).sum()
        if not self._additive or len(self.embeddings):
            # Embeddings are free of charge, and would be given what curves are charged for.
            return squares * 0, squares
        curves = self.weights[-1][:, -3 * self._columns :].view(self.members, 3, self._columns)
        lengths = (curves.square().sum(dim=1) + SMALLEST_SQUARE).sqrt()
        return lengths.sum(), squares

    def embed(self, categories: Tensor) -> list[Tensor]:
        """The rows that B steps have in each embedding table, under each member: (K, B, EMBEDDING_WIDTH) each."""
        return [EMBEDDING_SCALE * table[:, categories[:, column]] for column, table in enumerate(self.embeddings)]

    def hidden(
        self, vector: Tensor, images: Sequence[Tensor], categories: Tensor, embedded: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Activations of the last hidden layer of each member, (K, B, width); arguments as in `forward`."""
        if self.projection is not None:
            observed = vector[:, : self._observed] @ self.projection
            vector = torch.cat([observed, vector[:, self._observed :]], dim=1)
        shared = vector.expand(self.members, *vector.shape)
        features = [encode(pixels) for encode, pixels in zip(self.image_encoders, images, strict=True)]
        features += self.embed(categories) if embedded is None else embedded
        values = torch.cat([shared, *features], dim=2) if features else shared
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            # The backward pass needs the values from before; without one, writing over them is faster.
            values = functional.silu(torch.baddbmm(bias, values, weight), inplace=not torch.is_grad_enabled())
        return values


def segment_events(potential: Tensor, ending: Tensor, absorbing: Tensor | None) -> Tensor:
    """What is paid for events at the steps of M segments, (K, M, T).

    That is the change of the potential to the next step, none at the last one that was lived, and what the end is
    worth at the step that terminates the episode.

    Args:
        potential, ending: of each step, (K, M, T).
        absorbing: (M, T) bool, the steps after a termination; None for none.
    """
    changes = potential[..., 1:] - potential[..., :-1]
    if absorbing is not None:
        terminates = absorbing[:, 1:] & ~absorbing[:, :-1]
        changes = changes * ~absorbing[:, 1:] + ending[..., :-1] * terminates
    return functional.pad(changes, (0, 1))


def _curves(vector: Tensor) -> Tensor:
    return torch.cat([vector, vector.square().clamp(max=SQUARE_CLIP), vector.abs()], dim=1)


def _curves_times(vector: Tensor, weights: Tensor) -> Tensor:
    """What weights (N, 3 * columns) make of `_curves`, (N, B), without putting the curves of many columns together."""
    plain, square, absolute = weights.chunk(3, dim=1)
    summed: Tensor = vector @ plain.T + vector.square().clamp_(max=SQUARE_CLIP) @ square.T + vector.abs() @ absolute.T
    return summed.T


class _ImageEncoder(nn.Module):
    """K small convolutional networks as grouped convolutions; (B, C, H, W) from 0 to 1 to (K, B, features)."""

    def __init__(self, shape: tuple[int, int, int], members: int, features: int, generator: torch.Generator) -> None:
        super().__init__()
        self.members = members
        channels, height, width = shape
        self.filters = nn.ParameterList()
        self.offsets = nn.ParameterList()
        for outputs in IMAGE_CHANNELS:
            scale = math.sqrt(2 / (channels * 9))
            self.filters.append(_normal((members * outputs, channels, 3, 3), scale, generator))
            self.offsets.append(nn.Parameter(torch.zeros(members * outputs)))
            channels = outputs
            height, width = (height - 1) // 2 + 1, (width - 1) // 2 + 1
        size = channels * height * width
        self.weight = _normal((members, size, features), math.sqrt(2 / size), generator)
        self.bias = nn.Parameter(torch.zeros(members, 1, features))

    def forward(self, pixels: Tensor) -> Tensor:
        values = pixels
        for layer, (filters, offsets) in enumerate(zip(self.filters, self.offsets, strict=True)):
            # All members look at the same picture, so only the layers behind the first need groups.
            groups = self.members if layer else 1
            values = functional.relu(functional.conv2d(values, filters, offsets, 2, 1, groups=groups))
        values = values.reshape(len(pixels), self.members, -1).transpose(0, 1)
        return functional.silu(torch.baddbmm(self.bias, values, self.weight))


def _moved(weights: Tensor, rows: Tensor, count: int) -> nn.Parameter:
    """Weights (K, before, outputs) as those of `count` inputs, (K, count, outputs), of which those rows are given."""
    moved = weights.new_zeros(weights.shape[0], count, weights.shape[2])
    moved[:, rows] = weights.detach()
    return nn.Parameter(moved)


def _normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=generator) * scale)
