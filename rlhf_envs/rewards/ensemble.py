"""The preference model: an ensemble of reward functions of observation and action."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rlhf_envs.objectives import OBJECTIVES, Objective
from rlhf_envs.observations import (
    Observations,
    Transitions,
    concatenate_observations,
    merge_leading_axes,
    stack_observations,
)
from rlhf_envs.rewards.encoding import Encoded, InputEncoder
from rlhf_envs.rewards.network import PROJECTED_ABOVE, EnsembleConfig, MemberNetwork, segment_events
from rlhf_envs.segments import Segment

INPUT_CLIP = 5.0
"""Normalised inputs are cut to this many standard deviations, so that a rare state cannot yield an extreme reward."""

ALL_COLUMNS_UP_TO = 64
"""Numbers of an observation up to which the network reads all of them. Of more, it reads those that vary in the
labelled segments: about the others the labels say nothing, and they would cost as much."""

_CHUNK = 1024
_IMAGE_CHUNK = 64
_COLUMNS_AT_ONCE = 512
_SEGMENTS_AT_ONCE = 64
_SMALLEST_STD = 1e-6


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
        columns: (read,) int64 tensor on that device, the columns of `encoder` that the network reads, in their order:
            all of them before the first fit, see `read_varying`.
        observed: how many of these, the first ones, are of the observation.
        input_mean, input_std: (encoder.columns,) float32 tensors on that device, frozen between fits.
        member_mean, member_std: (K,) float32 tensors, of raw rewards over recent experience.
        offset, scale: bring the reward to zero mean and unit std over recent experience.
        anchored: whether the reward is measured from that of steps after a termination, see above. `member_mean` then
            is each member's raw reward of these, `member_std` the root mean square from there, and `offset` 0.
        fits: how many fits there were; part of the seed of the next one.
        labels_at_fresh_start: how many labels the last fit from fresh parameters had.
        labels_at_choice_of_form: how many the last one had that chose between rewards of steps and potentials.
        penalties: how many times the penalties of `FitConfig` the last fit charged.
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
        self.penalties = 1.0
        self.resampling = ""
        self.encoder = InputEncoder(observation_space, action_space, absorbing, self.config.language_model)
        self.anchored = False
        self.input_mean = torch.zeros(self.encoder.columns)
        self.input_std = torch.ones(self.encoder.columns)
        self.member_mean = torch.zeros(self.config.members)
        self.member_std = torch.ones(self.config.members)
        self.offset, self.scale = 0.0, 1.0
        self.device = torch.device("cpu")
        self.columns = torch.arange(self.encoder.columns)
        self.network = self.fresh_network()

    @property
    def observed(self) -> int:
        """See above."""
        return int((self.columns < self.encoder.observed).sum())

    def fresh_network(self) -> MemberNetwork:
        """A network with initial parameters, which depend on the seed and the number of fits so far."""
        network = MemberNetwork(self.encoder, self.config, self.generator(stream=0), len(self.columns), self.observed)
        return network.to(self.device)

    def read_varying(self, steps: Encoded, *, fresh: bool) -> None:
        """Take mean and std of the inputs from steps, and let the network read what varies in them.

        That is every column, unless the observation has more than `ALL_COLUMNS_UP_TO`: then those of its columns are
        left out that are constant in these steps, of which no reward can be learned.

        Args:
            steps: encoded ones; those after a termination do not count.
            fresh: whether the parameters are about to be replaced by `fresh_network`. Otherwise what the network reads
                already stays as it is, since a reward would change with its normaliser, and columns that have begun to
                vary come in with weights of 0, up to `PROJECTED_ABOVE` of the observation unless it is more already.
        """
        if not fresh and len(self.columns) == self.encoder.columns:
            return
        vector = torch.from_numpy(self.encoder.lived_steps(steps).vector)
        wanted = torch.from_numpy(self.encoder.normalised)
        # A part at a time: a whole of thousands of columns would be copied in twice its size.
        parts = [part.double() for part in vector.split(_COLUMNS_AT_ONCE, dim=1)]
        deviations = torch.cat([part.std(dim=0, correction=0) for part in parts])
        mean = torch.where(wanted, torch.cat([part.mean(dim=0) for part in parts]), 0.0).float()
        varying = deviations > _SMALLEST_STD
        std = torch.where(wanted & varying, deviations, 1.0).float()
        read = torch.ones_like(varying)
        if self.encoder.observed > ALL_COLUMNS_UP_TO and varying[: self.encoder.observed].any():
            read[: self.encoder.observed] = varying[: self.encoder.observed]
        if not fresh:
            known = torch.zeros_like(read)
            known[self.columns.cpu()] = True
            read |= known
            if self.network.projection is None and int(read[: self.encoder.observed].sum()) > PROJECTED_ABOVE:
                # As many need another network.
                read = known
            mean = torch.where(known, self.input_mean.cpu(), mean)
            std = torch.where(known, self.input_std.cpu(), std)
        before, self.columns = self.columns, read.nonzero()[:, 0].to(self.device)
        self.input_mean, self.input_std = mean.to(self.device), std.to(self.device)
        if not fresh and len(before) < len(self.columns):
            self.network.read_more(torch.searchsorted(self.columns, before), len(self.columns), self.observed)

    def to(self, device: str | torch.device) -> Self:
        """Compute on this device from now on. What goes in and comes out is on the CPU as before."""
        self.device = torch.device(device)
        self.network.to(self.device)
        self.input_mean, self.input_std = self.input_mean.to(self.device), self.input_std.to(self.device)
        self.columns = self.columns.to(self.device)
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
            cautious -= np.float32(self.config.pessimism) * _spread(rewards)
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
        return _spread(self.member_rewards(observations, actions)) * np.float32(self.scale)

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
        """Of vector columns (B, encoder.columns) those that the network reads, (B, read).

        They are in standard deviations from the mean of the data seen, cut at `INPUT_CLIP`.
        """
        normalised = self._standardise(vector, self.columns)
        if self.encoder.absorbing:
            # After a termination nothing but the indicator is seen.
            normalised[..., :-1] *= 1 - vector[..., -1:]
        return normalised

    def _normalise_observed(self, vector: NDArray[np.float32]) -> Tensor:
        """The observation's columns of (B, columns) that the network reads, normalised."""
        observed = torch.from_numpy(vector[:, : self.encoder.observed]).to(self.device)
        return self._standardise(observed, self.columns[: self.observed])

    def _standardise(self, vector: Tensor, columns: Tensor) -> Tensor:
        if len(columns) < vector.shape[-1]:
            vector = vector[..., columns]
        return ((vector - self.input_mean[columns]) / self.input_std[columns]).clamp_(-INPUT_CLIP, INPUT_CLIP)

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


def _spread(rewards: NDArray[np.float32]) -> NDArray[np.float32]:
    """The std of the members' rewards (K, B) of each step, (B,); infinite where those of a damaged model are huge."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread: NDArray[np.float32] = rewards.std(axis=0)
    return spread
