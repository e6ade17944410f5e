"""A policy that is a causal language model with a value head, for environments whose actions are tokens."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import Space
from numpy.typing import NDArray
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from rlhf_envs.envs.prose.language_model import OWN, UNTRAINED, GrowingTexts, are_of_tokens, load_model, read_ends


class LanguageModelPolicy(ActorCriticPolicy):
    """The probabilities of actions are those that a language model gives to the next token.

    The value head is a perceptron on the model's features, whose error does not reach the model. All weights of the
    model are trained. What acts deterministically draws tokens as well, by random numbers that are a function of the
    text: a text of the likeliest tokens alone goes round in circles (Holtzman et al. 2020, "The curious case of neural
    text degeneration").

    Args:
        observation_space: MultiDiscrete, a window of tokens, left-aligned and filled up with the number of tokens.
        action_space: Discrete, a token.
        lr_schedule: as of any policy of Stable-Baselines3.
        language_model: "prose", this package's own; "prose-untrained", the same before any training; or the folder of
            a causal model of Hugging Face.
        **arguments: those of `ActorCriticPolicy`; `net_arch` and `activation_fn` are of the value head.

    Attributes:
        language_model: the model's name.
        is_pretrained: whether it has been trained before, so that there is something to stay near to.

    Raises:
        ValueError: if there is no such model, or the spaces are not those of its tokens.
    """

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        lr_schedule: Schedule,
        language_model: str = OWN,
        **arguments: Any,
    ) -> None:
        self.language_model = language_model
        super().__init__(observation_space, action_space, lr_schedule, **arguments)

    @property
    def is_pretrained(self) -> bool:
        """Whether the model was trained before."""
        return self.language_model != UNTRAINED

    def _build(self, lr_schedule: Schedule) -> None:
        model = load_model(self.language_model)
        count, space = model.vocabulary, self.observation_space
        if not are_of_tokens(space, self.action_space, count):
            raise ValueError(
                f"The language model {self.language_model} writes in {count:,} tokens, and the environment has "
                f"actions in {self.action_space}; it needs Discrete({count}) and a window of as many values and one."
            )
        if len(space.nvec) > model.context:  # type: ignore[attr-defined]
            raise ValueError(
                f"The language model {self.language_model} reads {model.context} tokens, fewer than the window has."
            )
        units = list(self.net_arch) if isinstance(self.net_arch, list) else []
        widths = [model.width, *units]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), self.activation_fn()]
        self.value_net = nn.Sequential(*layers, nn.Linear(widths[-1], 1))  # type: ignore[assignment]
        if self.ortho_init:
            self.value_net.apply(partial(self.init_weights, gain=1.0))
        self.model = model
        self._growing = [GrowingTexts(model)]
        make_optimizer: Any = self.optimizer_class
        self.optimizer = make_optimizer(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "language_model": self.language_model}

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (N,), values (N, 1) and log-probabilities (N,); most windows (N, T) are one longer than before."""
        windows = _windows(obs)
        features = self._growing[0].read(windows).to(self.device)
        distribution = self._distribution(features)
        if deterministic:
            probabilities = torch.softmax(self.model.logits(features).double(), dim=1).cumsum(dim=1)
            drawn = torch.from_numpy(_uniforms(windows)).to(self.device)[:, None] * probabilities[:, -1:]
            actions = torch.searchsorted(probabilities, drawn).squeeze(1).clamp_(max=self.model.vocabulary - 1)
        else:
            actions = distribution.sample()
        return actions, self.value_net(features), distribution.log_prob(actions)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (B, 1), log-probabilities (B,) and entropies (B,); windows of one episode are read in one pass."""
        features = self._read(obs)
        distribution = self._distribution(features)
        return self.value_net(features.detach()), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Of the next token."""
        return self._distribution(self._read(obs))

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """(B, 1)."""
        values: Tensor = self.value_net(self._read(obs).detach())
        return values

    @torch.no_grad()
    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        return self.forward(observation, deterministic)[0]  # type: ignore[arg-type]

    def _read(self, obs: PyTorchObs) -> Tensor:
        return read_ends(self.model, _windows(obs))

    def _distribution(self, features: Tensor) -> Distribution:
        return self.action_dist.proba_distribution(action_logits=self.model.logits(features))


def _windows(observations: PyTorchObs) -> NDArray[np.int64]:
    assert isinstance(observations, Tensor)
    windows: NDArray[np.int64] = observations.cpu().numpy().astype(np.int64, copy=False)
    return windows


def _uniforms(windows: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each text, that looks random and is always the same one."""
    mixed = np.full(len(windows), 0x9E3779B97F4A7C15, np.uint64)
    for tokens in windows.astype(np.uint64).T:
        mixed = (mixed ^ tokens) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
    mixed = mixed * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(32))).astype(np.float64) / 2.0**64
