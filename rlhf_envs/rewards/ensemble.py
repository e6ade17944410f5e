"""The preference model: an ensemble of reward functions of observation and action."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rlhf_envs.objectives import OBJECTIVES, Objective
from rlhf_envs.observations import Observations, concatenate_observations, merge_leading_axes, stack_observations
from rlhf_envs.rewards.encoding import Encoded, InputEncoder
from rlhf_envs.segments import Segment

INPUT_CLIP = 5.0
"""Normalised inputs are cut to this many standard deviations, so that a rare state cannot yield an extreme reward."""

EMBEDDING_WIDTH = 16
"""Columns that a category with an embedding table contributes."""

EMBEDDING_SCALE = 0.1
"""Of fresh embeddings. A table has many columns and most of its rows are hardly ever seen: at the scale of one-hots
they would drown what the other inputs say."""

IMAGE_CHANNELS = (8, 16)
"""Filters of the convolutions, each of which halves the picture."""

OUTPUT_SCALE = 0.1
"""A fresh member starts close to zero everywhere, so that what no label speaks about adds little to its reward."""

ADDITIVE_SCALE, NETWORK_SCALE = 2.0, 0.3
"""How fast the additive part of a reward learns beside the network. With few labels the simpler part should explain
what it can, and the network what is left."""

SQUARE_CLIP = 4.0
"""Squares of normalised inputs are cut here, two standard deviations from the mean: a policy seeks out extremes, and a
parabola that goes on rising beyond what was judged would pay it for them."""

_CHUNK = 1024
_IMAGE_CHUNK = 64
_SEGMENTS_AT_ONCE = 64
_SMALLEST_STD = 1e-6


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
        pessimism: how many spreads the reward lies below the members' mean. A policy that is trained on a learned
            reward seeks out what the reward overrates, and the members disagree most about what they have not been told
            of; a lower confidence bound keeps the policy near what people have judged.
        objective: how returns become the probability of an answer: by a logistic curve ("bradley_terry"), by the normal
            distribution ("probit"), or by an objective of one's own, as "module:Name".
    """

    members: int = 7
    hidden: tuple[int, ...] = (64, 64)
    additive: bool = True
    pessimism: float = 1.0
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


class RewardEnsemble:
    """K reward functions of (observation, action), learned from preferences by `rlhf_envs.rewards.fit`.

    The difference of two segments' raw sums is on the scale of the objective: under Bradley-Terry it is the log-odds
    that a person prefers one. Preferences leave a reward's shift and scale open, so each member is normalised to mean 0
    and std 1 over recent experience, and so is the reward that is made of them (`normalise`).

    Where episodes terminate, the shift decides whether ending is worth it: for every learner a terminal state is worth
    0. As soon as answers were about steps after a termination, the reward is therefore anchored there: it is measured
    from what the model learned of these steps, so that theirs is 0 (Knox et al. 2023, arXiv 2310.02456, section 4), and
    scaled to a root mean square of 1 instead of a standard deviation.

    Args:
        observation_space, action_space: of the environment; see `InputEncoder` for the kinds supported.
        config: the size.
        objective: in place of the one that the configuration names.
        absorbing: whether the environment terminates episodes, see `InputEncoder`.
        seed: decides initial parameters, resampling and mini-batches. The global random state is never touched.

    Attributes:
        objective: how returns become probabilities.
        network: the batched network; `encoder`: from spaces to its input.
        device: where the network computes, see `to`.
        input_mean, input_std: (columns,) float32 tensors on that device, frozen between fits.
        member_mean, member_std: (K,) float32 tensors, of raw rewards over recent experience.
        offset, scale: bring the reward to zero mean and unit std over recent experience.
        anchored: whether the reward is measured from that of steps after a termination, see above. `member_mean` then
            is each member's raw reward of these, `member_std` the root mean square from there, and `offset` 0.
        fits: how many fits there were; part of the seed of the next one.
        labels_at_fresh_start: how many labels the last fit from fresh parameters had.
        resampling: which labels its members hold out, as `FitConfig` names it; "" before the first fit, and where a
            member had to train on all labels, because it would have held out all of them.

    Raises:
        ValueError: if a space is of a kind that cannot be encoded, or there is no such objective.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        config: EnsembleConfig | None = None,
        seed: int = 0,
        objective: Objective | None = None,
        absorbing: bool = False,
    ) -> None:
        self.config = config or EnsembleConfig()
        self.objective = objective or OBJECTIVES.resolve(self.config.objective)
        self.seed = seed
        self.fits = 0
        self.labels_at_fresh_start = 0
        self.resampling = ""
        self.encoder = InputEncoder(observation_space, action_space, absorbing)
        self.anchored = False
        self.input_mean = torch.zeros(self.encoder.columns)
        self.input_std = torch.ones(self.encoder.columns)
        self.member_mean = torch.zeros(self.config.members)
        self.member_std = torch.ones(self.config.members)
        self.offset, self.scale = 0.0, 1.0
        self.device = torch.device("cpu")
        self.network = self.fresh_network()

    def fresh_network(self) -> MemberNetwork:
        """A network with initial parameters, which depend on the seed and the number of fits so far."""
        return MemberNetwork(self.encoder, self.config, self.generator(stream=0)).to(self.device)

    def to(self, device: str | torch.device) -> Self:
        """Compute on this device from now on. What goes in and comes out is on the CPU as before."""
        self.device = torch.device(device)
        self.network.to(self.device)
        self.input_mean, self.input_std = self.input_mean.to(self.device), self.input_std.to(self.device)
        return self

    def check_fits(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], terminates: bool
    ) -> None:
        """Refuse an environment that the model was not made for.

        Args:
            observation_space, action_space: of the environment.
            terminates: whether its episodes may end before the horizon.

        Raises:
            ValueError: if a space is another one, or the model does not know what the end of an episode is worth.
        """
        for name, given in (("observation space", observation_space), ("action space", action_space)):
            learned = getattr(self.encoder, name.replace(" ", "_"))
            if learned != given:
                raise ValueError(f"The reward model was learned for the {name} {learned}, and here it is {given}.")
        if terminates and not self.encoder.absorbing:
            raise ValueError(
                "Episodes of this environment may terminate, and the reward model was made where none do, so that it "
                "does not know what an end is worth; make it with absorbing=True, or let the environment begin anew in "
                "place of ending (--on-termination restart)."
            )

    def generator(self, stream: int) -> torch.Generator:
        """A random stream of its own for (seed, fits so far, stream)."""
        state = np.random.SeedSequence([self.seed % 2**64, self.fits, stream]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))

    def member_rewards(
        self, observations: Observations, actions: NDArray[Any], absorbing: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Rewards of B steps under each member, each normalised over recent experience: (K, B).

        Args:
            observations: (B, *observation shape), or a dict of such arrays.
            actions: (B, *action shape).
            absorbing: (B,) bool, the steps after a termination, whose rewards are 0; None for none.

        Raises:
            ValueError: if the arrays do not belong to the spaces.
        """
        raw = self.raw_rewards(self.encoder.encode(observations, actions, absorbing))
        normalised: NDArray[np.float32] = ((raw - self.member_mean[:, None]) / self.member_std[:, None]).numpy()
        if absorbing is not None:
            normalised[:, absorbing] = 0
        return normalised

    def reward(
        self, observations: Observations, actions: NDArray[Any], absorbing: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """The learned reward of B steps, (B,) float32; arguments as above.

        It is the members' mean less `pessimism` times their spread, normalised over recent experience.
        """
        rewards = self.member_rewards(observations, actions, absorbing)
        cautious = rewards.mean(axis=0)
        if self.config.pessimism:
            cautious -= np.float32(self.config.pessimism) * rewards.std(axis=0)
        learned = (cautious - np.float32(self.offset)) * np.float32(self.scale)
        if absorbing is not None:
            learned[absorbing] = 0
        return learned

    def spread(self, observations: Observations, actions: NDArray[Any]) -> NDArray[np.float32]:
        """How far the members disagree about B steps: their std, (B,) float32, in units of the learned reward."""
        return self.member_rewards(observations, actions).std(axis=0) * np.float32(self.scale)

    def segment_returns(
        self, observations: Observations, actions: NDArray[Any], absorbing: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Raw returns of M segments under each member, (K, M) float32.

        The objective makes the difference of two the probability that a person prefers one of them.

        Args:
            observations: (M, T, *observation shape), or a dict of such arrays.
            actions: (M, T, *action shape).
            absorbing: (M, T) bool, the steps after a termination; None for none.
        """
        ended = None if absorbing is None else absorbing.reshape(-1)
        flat_actions = actions.reshape(-1, *actions.shape[2:])
        steps = self.encoder.encode(merge_leading_axes(observations), flat_actions, ended)
        return self.encoded_returns(steps, actions.shape[1])

    def encoded_returns(self, steps: Encoded, length: int) -> NDArray[np.float32]:
        """`segment_returns` for the encoded steps of M segments of this length, one after another, (M * length)."""
        raw = self.raw_rewards(steps)
        returns: NDArray[np.float32] = raw.view(len(raw), -1, length).sum(dim=2).numpy()
        return returns

    def step_features(self, steps: Encoded) -> Tensor:
        """What the last layer of each member reads of B encoded steps, (K, B, width) float32."""
        features = torch.empty(self.config.members, len(steps), self.network.width)
        for part in self._chunks(len(steps)):
            with torch.inference_mode():
                features[:, part] = self.network.features(*self._network_input(steps[part])).cpu()
        return features

    def segment_features(self, segments: Sequence[Segment]) -> NDArray[np.float32]:
        """What the last layer of each member reads of M segments of T steps, summed over these, (K, M, width) float32.

        A raw return is linear in them: the product with `last_weights`, and a constant.
        """
        features = np.empty((self.config.members, len(segments), self.network.width), np.float32)
        for start in range(0, len(segments), _SEGMENTS_AT_ONCE):
            some = segments[start : start + _SEGMENTS_AT_ONCE]
            encoded = self.encoder.encode(
                concatenate_observations([segment.observations for segment in some]),
                np.concatenate([segment.actions for segment in some]),
                np.concatenate([segment.is_absorbing for segment in some]),
            )
            read = self.step_features(encoded)
            features[:, start : start + len(some)] = read.unflatten(1, (len(some), -1)).sum(dim=2).numpy()
        return features

    @property
    def last_weights(self) -> NDArray[np.float32]:
        """The weights of the last layer of each member, (K, width) float32."""
        weights: NDArray[np.float32] = self.network.weights[-1].detach().squeeze(2).cpu().numpy()
        return weights

    def probability_right(self, left: Sequence[Segment], right: Sequence[Segment]) -> NDArray[np.float32]:
        """The predicted probability that a person answers "right" to each of N comparisons, (N,) float32.

        It is the mean over the members and allows for answer noise (`Objective.probability`).
        """
        if not left and not right:
            return np.zeros(0, np.float32)
        difference = self._returns_of(right) - self._returns_of(left)
        probabilities: NDArray[np.float32] = self.objective.probability(difference).mean(dim=0).numpy()
        return probabilities

    def normalise(self, observations: Observations, actions: NDArray[Any]) -> None:
        """Take each member's mean and std, and the scale of the reward, from recent experience of B steps.

        Raises:
            ValueError: if there is no step, or the arrays do not belong to the spaces.
        """
        self.normalise_encoded(self.encoder.encode(observations, actions))

    def normalise_encoded(self, steps: Encoded) -> None:
        """`normalise` for steps that are encoded already; those after a termination do not count."""
        steps = self.encoder.lived_steps(steps)
        if not len(steps):
            raise ValueError("Normalising the reward needs at least one step of experience.")
        raw = self.raw_rewards(steps).double()
        if self.anchored:
            self.member_mean = self.raw_rewards(self.encoder.absorbing_steps(1))[:, 0]
            deviations = (raw - self.member_mean[:, None]).square().mean(dim=1).sqrt()
        else:
            self.member_mean = raw.mean(dim=1).float()
            deviations = raw.std(dim=1, correction=0)
        self.member_std = torch.where(deviations > _SMALLEST_STD, deviations, 1.0).float()
        normalised = (raw - self.member_mean[:, None]) / self.member_std[:, None]
        cautious = normalised.mean(dim=0) - self.config.pessimism * normalised.std(dim=0, correction=0)
        self.offset = 0.0 if self.anchored else float(np.float32(cautious.mean()))
        deviation = float(cautious.square().mean().sqrt() if self.anchored else cautious.std(correction=0))
        self.scale = float(np.float32(1 / deviation)) if deviation > _SMALLEST_STD else 1.0

    def normalise_inputs(self, vector: Tensor) -> Tensor:
        """Vector columns (B, columns) in standard deviations from the mean of the data seen, cut at `INPUT_CLIP`."""
        normalised = ((vector - self.input_mean) / self.input_std).clamp_(-INPUT_CLIP, INPUT_CLIP)
        if self.encoder.absorbing:
            # After a termination nothing but the indicator is seen.
            normalised[..., :-1] *= 1 - vector[..., -1:]
        return normalised

    def raw_rewards(self, steps: Encoded) -> Tensor:
        """Rewards of B encoded steps under each member as they come out of the network, (K, B)."""
        rewards = torch.empty(self.config.members, len(steps))
        for part in self._chunks(len(steps)):
            with torch.inference_mode():
                rewards[:, part] = self.network(*self._network_input(steps[part]))
        return rewards

    def _chunks(self, steps: int) -> Iterator[slice]:
        """Small chunks keep the hidden layers in the processor's cache: 2 to 3 times faster than one large batch."""
        size = _IMAGE_CHUNK if self.encoder.image_shapes else _CHUNK
        return (slice(start, start + size) for start in range(0, steps, size))

    def _network_input(self, steps: Encoded) -> tuple[Tensor, list[Tensor], Tensor]:
        return (
            self.normalise_inputs(torch.from_numpy(steps.vector).to(self.device)),
            [torch.from_numpy(image).to(self.device) for image in steps.images],
            torch.from_numpy(steps.categories).to(self.device),
        )

    def _returns_of(self, segments: Sequence[Segment]) -> Tensor:
        returns = self.segment_returns(
            stack_observations([segment.observations for segment in segments]),
            np.stack([segment.actions for segment in segments]),
            np.stack([segment.is_absorbing for segment in segments]),
        )
        return torch.from_numpy(returns)


class MemberNetwork(nn.Module):
    """K independent reward functions on one shared batch, without a loop over members: multi-layer perceptrons, whose
    last layer also reads curves of single inputs where the reward is additive.

    Args:
        encoder: says which columns, images and categories come in.
        config: the size.
        generator: draws the initial parameters; the global random state is left alone.

    Attributes:
        members: K.
        width: how many numbers the last layer reads.
    """

    def __init__(self, encoder: InputEncoder, config: EnsembleConfig, generator: torch.Generator) -> None:
        super().__init__()
        members, hidden = config.members, config.hidden
        self.members = members
        self._additive = config.additive and encoder.columns > 0
        # Of pictures and of categories with many values, the network alone can say anything.
        self._network_scale = 1.0 if encoder.image_shapes or encoder.vocabularies else NETWORK_SCALE
        self.image_encoders = nn.ModuleList(
            _ImageEncoder(shape, members, hidden[0], generator) for shape in encoder.image_shapes
        )
        self.embeddings = nn.ParameterList(
            _normal((members, count, EMBEDDING_WIDTH), EMBEDDING_SCALE, generator) for count in encoder.vocabularies
        )
        width = encoder.columns + hidden[0] * len(encoder.image_shapes) + EMBEDDING_WIDTH * len(encoder.vocabularies)
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
            curves = torch.zeros(members, 3 * encoder.columns, 1)
            self.width += curves.shape[1]
            self.weights[-1] = nn.Parameter(torch.cat([self.weights[-1].detach(), curves], dim=1))

    def forward(self, vector: Tensor, images: Sequence[Tensor], categories: Tensor) -> Tensor:
        """Rewards of B steps under each member, before any normalisation.

        Args:
            vector: (B, columns), normalised.
            images: float32 tensors (B, channels, height, width), as `Encoded` has them.
            categories: (B, tables), int64.

        Returns:
            (K, B).
        """
        values = self.features(vector, images, categories)
        return torch.baddbmm(self.biases[-1], values, self.weights[-1]).squeeze(2)

    def features(self, vector: Tensor, images: Sequence[Tensor], categories: Tensor) -> Tensor:
        """What the last layer of each member reads, (K, B, width); arguments as in `forward`."""
        hidden = self.hidden(vector, images, categories)
        if not self._additive:
            return hidden
        curves = ADDITIVE_SCALE * torch.cat([vector, vector.square().clamp(max=SQUARE_CLIP), vector.abs()], dim=1)
        return torch.cat([self._network_scale * hidden, curves.expand(self.members, *curves.shape)], dim=2)

    def hidden(self, vector: Tensor, images: Sequence[Tensor], categories: Tensor) -> Tensor:
        """Activations of the last hidden layer of each member, (K, B, width); arguments as in `forward`."""
        shared = vector.expand(self.members, *vector.shape)
        features = [encode(pixels) for encode, pixels in zip(self.image_encoders, images, strict=True)]
        features += [table[:, categories[:, column]] for column, table in enumerate(self.embeddings)]
        values = torch.cat([shared, *features], dim=2) if features else shared
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            # The backward pass needs the values from before; without one, writing over them is faster.
            values = functional.silu(torch.baddbmm(bias, values, weight), inplace=not torch.is_grad_enabled())
        return values


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


def _normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=generator) * scale)
