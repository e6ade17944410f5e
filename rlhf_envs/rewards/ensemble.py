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
from rlhf_envs.observations import (
    Observations,
    Transitions,
    concatenate_observations,
    merge_leading_axes,
    stack_observations,
)
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

EVENT_SCALE = 20.0
"""How fast potentials and worths of an end learn. A reward counts at every step of a segment, and these once in it."""

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
        potential: whether a reward function may have a potential besides, a sum of such curves of the observation, and
            pay its change from each step to the next: r(s, a) + P(s') - P(s), the form that Ng, Harada and Russell
            (1999) gave to shaping. What makes a clip good may be that something gets better in it, that an agent comes
            closer or slows down, which a reward of single steps can hardly say. Whenever the labels have grown by half,
            a fit is made of rewards of steps alone, of both, and of a potential alone, and the form that predicts
            held-out answers clearly better is kept until then. Pictures and categories with many values have none.
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
    hidden: tuple[int, ...] = (64, 64)
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
        labels_at_choice_of_form: how many the last one had that chose between rewards of steps and potentials.
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
        self.labels_at_choice_of_form = 0
        self.resampling = ""
        self.encoder = InputEncoder(observation_space, action_space, absorbing, self.config.language_model)
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
        """The learned reward of B steps by themselves, without a potential's change, (B,) float32; arguments as above.

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

    def transition_reward(self, transitions: Transitions) -> NDArray[np.float32]:
        """The learned reward of B transitions, (B,) float32: `reward`, the change of the potential, and ends.

        The latter two are the members' mean. Where an episode ended, or what follows is not known, the potential does
        not change.

        Raises:
            ValueError: if the arrays do not belong to the spaces.
        """
        learned = self.reward(transitions.observations, transitions.actions)
        if self.network.pays_events:
            events = self._events(transitions) / self.member_std[:, None]
            learned += events.mean(dim=0).numpy() * np.float32(self.scale)
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
        raw = self.raw_rewards(steps) + self._segment_events(steps, length)
        returns: NDArray[np.float32] = raw.view(len(raw), -1, length).sum(dim=2).numpy()
        return returns

    def raw_events(self, vector: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """The potential of B observations, and what it is worth that the episode terminates after them, each (K, B).

        They are 0 where the reward has none.

        Args:
            vector: (B, columns), not yet normalised, of which the first ones are the observation.
        """
        if not self.network.pays_events:
            return torch.zeros(self.config.members, len(vector)), torch.zeros(self.config.members, len(vector))
        with torch.inference_mode():
            potential, ending = self.network.events(self._normalise_observed(vector))
            return potential.cpu(), ending.cpu()

    def _segment_events(self, steps: Encoded, length: int) -> Tensor:
        """Changes of the potential and worths of ends, at the steps of M segments of this length, (K, M * length)."""
        potential, ending = (each.view(self.config.members, -1, length) for each in self.raw_events(steps.vector))
        absorbing = None
        if self.encoder.absorbing:
            absorbing = torch.from_numpy(steps.vector[:, -1] != 0).view(-1, length)
        return segment_events(potential, ending, absorbing).flatten(1)

    def _events(self, transitions: Transitions) -> Tensor:
        """Changes of the potential and worths of ends in B transitions under each member, (K, B)."""
        batch, following = len(transitions.actions), transitions.next_observations
        if not self.network.pays_events:
            return torch.zeros(self.config.members, batch)
        before, ending = self.raw_events(self.encoder.encode_numbers(transitions.observations, batch))
        change = torch.zeros_like(before)
        if following is not None:
            change = self.raw_events(self.encoder.encode_numbers(following, batch))[0] - before
        if transitions.ended is not None:
            change[:, torch.from_numpy(transitions.ended)] = 0
        if transitions.terminated is not None:
            change += ending * torch.from_numpy(transitions.terminated)
        return change

    def step_features(self, steps: Encoded) -> Tensor:
        """What the last layer of each member reads of B encoded steps, (K, B, width) float32."""
        features = torch.empty(self.config.members, len(steps), self.network.width)
        for part in self._chunks(len(steps)):
            with torch.inference_mode():
                features[:, part] = self.network.features(*self._network_input(steps[part])).cpu()
        return features

    def segment_features(self, segments: Sequence[Segment]) -> NDArray[np.float32]:
        """What the last layer of each member reads of M segments of T steps, summed over these, (K, M, width) float32.

        A raw return is linear in them: the product with `last_weights`, and a constant. What potential and ends read is
        among them.
        """
        features = np.empty((self.config.members, len(segments), self.last_weights.shape[1]), np.float32)
        for start in range(0, len(segments), _SEGMENTS_AT_ONCE):
            some = segments[start : start + _SEGMENTS_AT_ONCE]
            encoded = self.encoder.encode(
                concatenate_observations([segment.observations for segment in some]),
                np.concatenate([segment.actions for segment in some]),
                np.concatenate([segment.is_absorbing for segment in some]),
            )
            rows = slice(start, start + len(some))
            read = self.step_features(encoded)
            features[:, rows, : self.network.width] = read.unflatten(1, (len(some), -1)).sum(dim=2).numpy()
            first = np.cumsum([0, *(len(segment) for segment in some[:-1])])
            last = first + [max(segment.lived - 1, 0) for segment in some]
            terminated = np.array([bool(segment.is_absorbing.any()) for segment in some])
            curves = self.event_curves(encoded.vector)
            features[:, rows, self.network.width :] = self.event_features(curves[first], curves[last], terminated)
        return features

    def event_curves(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """What potentials and ends read of B observations, (B, width) float32; argument as for `raw_events`."""
        if not self.network.has_events:
            return np.zeros((len(vector), 0), np.float32)
        curves: NDArray[np.float32] = self.network.event_curves(self._normalise_observed(vector)).cpu().numpy()
        return curves

    def event_features(
        self, first: NDArray[np.float32], last: NDArray[np.float32], terminated: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """The last columns of `segment_features`, (M, width) float32.

        Args:
            first, last: `event_curves` of the first and the last step of each segment that was lived.
            terminated: (M,) bool, whether the episode was terminated after that.
        """
        parts = [last - first] if self.network.has_potential else []
        if self.encoder.absorbing and self.network.has_events:
            parts.append(np.where(terminated[:, None], last, 0))
        return np.concatenate([np.zeros((len(first), 0), np.float32), *parts], axis=1)

    @property
    def last_weights(self) -> NDArray[np.float32]:
        """The weights of the last layer of each member, and of its potential and ends, (K, width) float32."""
        layers = [self.network.weights[-1], *self.network.event_weights.values()]
        weights: NDArray[np.float32] = torch.cat(layers, dim=1).detach().squeeze(2).cpu().numpy()
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

    def normalise(self, transitions: Transitions) -> None:
        """Take each member's mean and std, and the scale of the reward, from recent experience of B steps.

        Raises:
            ValueError: if there is no step, or the arrays do not belong to the spaces.
        """
        steps = self.encoder.encode(transitions.observations, transitions.actions)
        self._normalise(self.raw_rewards(steps), self._events(transitions))

    def normalise_encoded(self, steps: Encoded, length: int) -> None:
        """`normalise` for the encoded steps of segments of this length; those after a termination do not count."""
        rewards, events = self.raw_rewards(steps), self._segment_events(steps, length)
        if self.encoder.absorbing:
            lived = torch.from_numpy(steps.vector[:, -1] == 0)
            rewards, events = rewards[:, lived], events[:, lived]
        self._normalise(rewards, events)

    def _normalise(self, rewards: Tensor, events: Tensor) -> None:
        """Take mean, std and scale from raw rewards of single steps, and what is paid for events there, each (K, B)."""
        if not rewards.shape[1]:
            raise ValueError("Normalising the reward needs at least one step of experience.")
        alone = rewards.double()
        raw = alone + events
        if self.anchored:
            self.member_mean = self.raw_rewards(self.encoder.absorbing_steps(1))[:, 0]
            deviations = (raw - self.member_mean[:, None]).square().mean(dim=1).sqrt()
        else:
            self.member_mean = raw.mean(dim=1).float()
            deviations = raw.std(dim=1, correction=0)
        self.member_std = torch.where(deviations > _SMALLEST_STD, deviations, 1.0).float()
        normalised = (raw - self.member_mean[:, None]) / self.member_std[:, None]
        # What happens once, or is given back, cannot be sought again and again, so there is no need to be cautious.
        spread = ((alone - self.member_mean[:, None]) / self.member_std[:, None]).std(dim=0, correction=0)
        cautious = normalised.mean(dim=0) - self.config.pessimism * spread
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

    def _normalise_observed(self, vector: NDArray[np.float32]) -> Tensor:
        """The observation's columns of (B, columns), normalised."""
        columns = slice(self.encoder.observed)
        observed = torch.from_numpy(vector[:, columns]).to(self.device)
        return ((observed - self.input_mean[columns]) / self.input_std[columns]).clamp_(-INPUT_CLIP, INPUT_CLIP)

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
        has_potential, has_events: whether there are weights of a potential; or of any events.
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
        self._observed = encoder.observed
        # Events are read off the observation: a constant, and curves of its numbers.
        width = 3 * encoder.observed + 1
        self.has_potential = config.potential and encoder.observed > 0
        self.event_weights = nn.ParameterDict()
        if self.has_potential:
            self.event_weights["potential"] = nn.Parameter(torch.zeros(members, width, 1))
        if config.additive and encoder.absorbing:
            self.event_weights["ending"] = nn.Parameter(torch.zeros(members, width, 1))
        self.has_events = bool(self.event_weights)

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
        values = self.features(vector, images, categories, embedded)
        return torch.baddbmm(self.biases[-1], values, self.weights[-1]).squeeze(2)

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
        curves = self.event_curves(vector)
        nothing = curves.new_zeros(self.members, len(curves))
        potential, ending = (
            (curves @ self.event_weights[name]).squeeze(2) if name in self.event_weights else nothing
            for name in ("potential", "ending")
        )
        return potential, ending

    def event_curves(self, vector: Tensor) -> Tensor:
        """What potential and ends are weighted sums of, (B, width); argument as for `events`."""
        curves = _curves(vector[:, : self._observed])
        return EVENT_SCALE * torch.cat([curves, curves.new_ones(len(curves), 1)], dim=1)

    def embed(self, categories: Tensor) -> list[Tensor]:
        """The rows that B steps have in each embedding table, under each member: (K, B, EMBEDDING_WIDTH) each."""
        return [table[:, categories[:, column]] for column, table in enumerate(self.embeddings)]

    def hidden(
        self, vector: Tensor, images: Sequence[Tensor], categories: Tensor, embedded: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Activations of the last hidden layer of each member, (K, B, width); arguments as in `forward`."""
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
