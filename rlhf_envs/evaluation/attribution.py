"""Which inputs a learned reward goes by: integrated gradients of every step, and what each input is called.

Integrated gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365, equation 1) share out the difference between
the learned reward of a step and that of a reference among the inputs, so that the shares add up to it. captum (the
extra `explain`) computes them. The reference is an average step of the segments that people compared: a share says what
an input adds to the reward because it is not what it usually is.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.views import TaskEnv
from rlhf_envs.observations import Transitions
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.rewards.encoding import InputSource
from rlhf_envs.segments import Segment

_PATH_STEPS = 128
"""Points on the way from the reference to a step. Curves are nearly straight between few, networks bend at many."""

_ROWS_AT_ONCE = 4096
_END = "end of the episode"
_PLACES = re.compile(r"(\d+)(?:-(\d+))?")
_DESCRIBING = ("observation", "quantity")
"""Headings of the column that names the numbers, in the table of an observation."""
_LONGEST_NAME = 40


class RewardAttributor:
    """Shares out the learned reward of steps among the inputs of the reward model.

    Args:
        ensemble: the reward model.
        segments: those whose average step is the reference.
        environment: what its documentation calls the inputs; they are numbered where it does not say.

    Attributes:
        names: of the inputs that the model reads, G of them; numbers that the documentation names together are one.

    Raises:
        ValueError: if captum is not installed, or there are no segments.
    """

    def __init__(self, ensemble: RewardEnsemble, segments: Sequence[Segment], environment: EnvironmentRef) -> None:
        if importlib.util.find_spec("captum") is None:
            raise ValueError("captum is not installed: pip install 'rlhf-envs[explain]'.")
        if not segments:
            raise ValueError("nothing was asked, so that there is no average step to compare with.")
        self.ensemble = ensemble
        encoder = ensemble.encoder
        pictures = [InputSource(key, 0) for key in encoder.pictures]
        # The indicator of the absorbing state is no input that has a source.
        self._columns = int((ensemble.columns < len(encoder.column_sources)).sum())
        columns = [encoder.column_sources[column] for column in ensemble.columns[: self._columns].tolist()]
        sources = [*columns, *pictures, *encoder.table_sources]
        named = input_names(environment, sources, set(pictures))
        ends = [_END] if "ending" in ensemble.network.event_weights else []
        self.names = (*dict.fromkeys(named), *ends)
        self._groups = np.array([self.names.index(name) for name in named], np.int64)
        self._reference = [
            torch.stack(parts).mean(dim=0, keepdim=True)
            for parts in zip(*(self._average(segment) for segment in segments), strict=True)
        ]

    def __call__(self, transitions: Transitions) -> NDArray[np.float64]:
        """What each input adds to the learned reward of B transitions, (B, G).

        A row sums to the learned reward less that of the reference. The change of a potential counts with the inputs
        that it is read off, and so does what makes an end worth more or less than one after an average step.

        Raises:
            ValueError: if the arrays do not belong to the spaces.
        """
        from captum.attr import IntegratedGradients

        inputs, baselines = self._inputs(transitions), [*self._reference]
        observed = self.ensemble.observed
        if self.ensemble.network.pays_events:
            # Without a potential and ends, what follows plays no part.
            inputs.append(self._following(transitions))
            baselines.append(self._reference[0][:, :observed])
        batch = len(transitions.actions)
        none = np.zeros(batch, np.bool_)
        ended = torch.from_numpy(none if transitions.ended is None else np.asarray(transitions.ended))
        over = torch.from_numpy(none if transitions.terminated is None else np.asarray(transitions.terminated))
        parts = IntegratedGradients(self._rewards).attribute(
            tuple(inputs),
            tuple(baselines),
            additional_forward_args=(ended, over),
            n_steps=_PATH_STEPS,
            internal_batch_size=_ROWS_AT_ONCE,
        )
        own = [part.detach().double().flatten(1).cpu().numpy() for part in parts]
        if self.ensemble.network.pays_events:
            # What the observation after the step adds counts with the same number of the observation before it.
            own[0][:, :observed] += own.pop()
        shares = [own[0][:, : self._columns], *(part.sum(axis=1, keepdims=True) for part in own[1:])]
        summed = np.zeros((batch, len(self.names)))
        np.add.at(summed.T, self._groups, np.concatenate(shares, axis=1).T)
        if self.names[-1] == _END:
            summed[:, -1] = over.numpy() * self._end_of_average()
        return summed

    def _end_of_average(self) -> float:
        """What it is worth that an episode ends after the average step."""
        ensemble = self.ensemble
        with torch.no_grad():
            _, ending = ensemble.network.events(self._reference[0])
        return float((ending[:, 0].cpu() / ensemble.member_std).mean()) * ensemble.scale

    def _average(self, segment: Segment) -> list[Tensor]:
        return [part.mean(dim=0) for part in self._inputs(segment.transitions)]

    def _inputs(self, transitions: Transitions) -> list[Tensor]:
        """Of B steps: the normalised vector (B, read), each picture, and each embedding, (B, K, width)."""
        ensemble = self.ensemble
        encoded = ensemble.encoder.encode(transitions.observations, transitions.actions)
        vector = ensemble.normalise_inputs(torch.from_numpy(encoded.vector).to(ensemble.device))
        images = [torch.from_numpy(image).to(ensemble.device) for image in encoded.images]
        with torch.no_grad():
            embedded = ensemble.network.embed(torch.from_numpy(encoded.categories).to(ensemble.device))
        return [vector, *images, *(part.transpose(0, 1) for part in embedded)]

    def _following(self, transitions: Transitions) -> Tensor:
        """The normalised observation after each of B steps, (B, observed); before it where that is not known."""
        batch, after = len(transitions.actions), transitions.next_observations
        seen = transitions.observations if after is None else after
        numbers = torch.from_numpy(self.ensemble.encoder.encode_numbers(seen, batch)).to(self.ensemble.device)
        padded = torch.zeros(batch, self.ensemble.encoder.columns, device=self.ensemble.device)
        padded[:, : numbers.shape[1]] = numbers
        return self.ensemble.normalise_inputs(padded)[:, : self.ensemble.observed]

    def _rewards(self, vector: Tensor, *rest: Tensor) -> Tensor:
        """The learned reward of B transitions, (B,), differentiable; see `RewardEnsemble.transition_reward`."""
        ensemble, network = self.ensemble, self.ensemble.network
        *parts, ended, over = rest
        pictures, tables = len(ensemble.encoder.image_shapes), len(ensemble.encoder.vocabularies)
        images, embedded = parts[:pictures], parts[pictures : pictures + tables]
        categories = torch.zeros(len(vector), 0, dtype=torch.int64, device=vector.device)
        raw = network(vector, images, categories, [part.transpose(0, 1) for part in embedded])
        std, mean = ensemble.member_std.to(raw)[:, None], ensemble.member_mean.to(raw)[:, None]
        alone = (raw - mean) / std
        # The square root has no slope at 0, where all members agree.
        spread = (alone - alone.mean(dim=0)).square().mean(dim=0).add(1e-12).sqrt()
        learned = alone.mean(dim=0) - ensemble.config.pessimism * spread - ensemble.offset
        if network.pays_events:
            before, ending = network.events(vector)
            after, _ = network.events(parts[-1])
            events = torch.where(ended, 0.0, after - before) + ending * over
            learned = learned + (events / std).mean(dim=0)
        return learned * ensemble.scale


def input_names(
    environment: EnvironmentRef, sources: Sequence[InputSource], pictures: frozenset[InputSource] | set[InputSource]
) -> list[str]:
    """What inputs are called, in the order of the sources.

    The tables of numbers in the documentation of a task name those of its observation; any other environment may name
    them in its `metadata["observation_names"]`, a list.

    Args:
        environment: whose documentation is asked.
        sources: of the inputs.
        pictures: those that are pictures.
    """
    documented = _documented_names(environment)
    actions = {source.place for source in sources if source.is_action}
    found = []
    for source in sources:
        if source.is_action:
            found.append("action" if len(actions) == 1 else f"action {source.place}")
        elif source in pictures:
            found.append(source.key or "picture")
        elif source.key:
            found.append(f"{source.key} {source.place}")
        else:
            found.append(documented.get(source.place, f"observation {source.place}"))
    return found


def _documented_names(environment: EnvironmentRef) -> dict[int, str]:
    """The names of the numbers of an observation, by their places."""
    try:
        env = environment.make(limited=False)
    except Exception:  # whatever a third-party environment raises; its inputs are numbered then
        return {}
    given = env.metadata.get("observation_names")
    env.close()
    if isinstance(given, Sequence) and not isinstance(given, str):
        return {place: str(name) for place, name in enumerate(given)}
    if not isinstance(env.unwrapped, TaskEnv):
        return {}
    page = (inspect.getdoc(type(env.unwrapped.task)) or "").partition("## Observation Space")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in page.splitlines() if line.startswith("|")
    ]
    named = [place for place, cell in enumerate(rows[0]) if cell in _DESCRIBING] if rows else []
    names: dict[int, str] = {}
    for cells in rows[1:] if named else ():
        for first, last in _PLACES.findall(cells[0]):
            names |= dict.fromkeys(range(int(first), int(last or first) + 1), _short(cells[named[0]]))
    return names


def _short(name: str) -> str:
    """The part of a description that says what is meant, without how it is scaled."""
    name = re.split(r"[,:;(]", name, maxsplit=1)[0].strip()
    return shorten(name, _LONGEST_NAME, placeholder=" …")


def most_important(names: Sequence[str], shares: NDArray[Any], most: int) -> list[str]:
    """The inputs that move the reward most, first the one with the largest mean absolute share.

    Args:
        names: of G inputs.
        shares: (B, G), from `RewardAttributor`.
        most: how many at most.
    """
    order = np.argsort(-np.abs(shares).mean(axis=0), kind="stable")
    return [names[place] for place in order[:most]]
