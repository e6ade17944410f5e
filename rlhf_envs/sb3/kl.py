"""Keeps a policy near where it started: every step pays for the Kullback-Leibler divergence from a reference policy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.distributions import Distribution, kl_divergence
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import obs_as_tensor

from rlhf_envs.observations import map_observations, merge_leading_axes, named_arrays

_REFERENCE = "reference_policy.safetensors"
_AT_ONCE = 4096
_GAIN, _MOST_ERROR = 0.1, 0.2


class KLPenalty:
    """Charges each step of a rollout coef * log(policy(a | s) / reference(a | s)), as language models are fine-tuned.

    Its expectation over the action is coef * KL(policy || reference). That expectation itself would be no use as a
    reward: it is the same for all actions of a state, so that a policy gradient would not see which of them leads away
    from the reference. What is measured, logged and adapted to is the divergence itself, exact for categorical,
    Bernoulli and Gaussian policies. With a target the coefficient is adapted after each rollout by the proportional
    controller of Ziegler et al. (2019, "Fine-tuning language models from human preferences", section 2.2):
    coef *= 1 + 0.1 * clip(KL / target - 1, -0.2, 0.2).

    Args:
        model: PPO or A2C; the reference is a copy of its policy, taken now and again by `freeze`.
        coefficient: what a nat costs, in units of the reward; 0 only measures the divergence.
        target: nats per step that the coefficient is adapted to; None keeps it fixed.

    Attributes:
        coefficient: at the moment.
        mean: nats per step in the last rollout; None before the first.

    Raises:
        ValueError: if the policy does not give the distribution of its actions, or a number is out of range.
    """

    def __init__(self, model: BaseAlgorithm, coefficient: float, target: float | None = None) -> None:
        check_penalty(coefficient, target)
        policy = model.policy
        if not isinstance(policy, ActorCriticPolicy) or hasattr(policy, "lstm_actor"):
            raise ValueError(
                f"{type(model).__name__} cannot be held near a reference by a KL coefficient: that needs the "
                "actor-critic policies without memory of PPO and A2C, whose rewards are added to a rollout."
            )
        self.coefficient, self.target = float(coefficient), target
        self.mean: float | None = None
        self._policy = policy
        # Initial weights are drawn for the copy and replaced at once.
        with torch.random.fork_rng(devices=[]):
            self._reference = type(policy)(**policy._get_constructor_parameters()).to(policy.device)
        self._reference.requires_grad_(False)
        self.freeze()

    def freeze(self) -> None:
        """Make the policy as it is now the reference."""
        self._reference.load_state_dict(self._policy.state_dict())
        self._reference.set_training_mode(False)

    def divergence(self, observations: Any) -> NDArray[np.float32]:
        """KL(policy || reference) in nats in each of B states, (B,) float32.

        Args:
            observations: (B, *obs), or a dict of such arrays, as the policy sees them.
        """
        return np.concatenate([_nats(own, reference) for _, own, reference in self._both(observations)])

    def charge(self, buffer: RolloutBuffer | DictRolloutBuffer) -> NDArray[np.float32]:
        """What the steps of a full rollout buffer cost, (steps, copies) float32; adapts the coefficient afterwards."""
        lead = buffer.buffer_size, buffer.n_envs
        actions: NDArray[Any] = buffer.actions.reshape(lead[0] * lead[1], -1)
        if isinstance(self._policy.action_space, spaces.Discrete):
            actions = actions.reshape(-1)
        apart, likely = [], []
        for some, own, reference in self._both(merge_leading_axes(buffer.observations)):
            apart.append(_nats(own, reference))
            likely.append(reference.log_prob(torch.from_numpy(actions[some]).to(self._policy.device)).cpu().numpy())
        self.mean = float(np.concatenate(apart).mean())
        likelihood = np.concatenate(likely).reshape(lead)
        cost = (np.float32(self.coefficient) * (buffer.log_probs - likelihood)).astype(np.float32)
        if self.target is not None:
            error = max(-_MOST_ERROR, min(self.mean / self.target - 1, _MOST_ERROR))
            self.coefficient *= 1 + _GAIN * error
        return cost

    def _both(self, observations: Any) -> Iterator[tuple[slice, Distribution, Distribution]]:
        """Which of the states, and the distributions of actions there: of the policy, and of the reference."""
        self._policy.set_training_mode(False)
        batch = len(next(array for _, array in named_arrays(observations)))
        for start in range(0, batch, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            part: Any = map_observations(lambda array, some=some: array[some], observations)
            seen = obs_as_tensor(part, self._policy.device)
            with torch.no_grad():
                both = self._policy.get_distribution(seen), self._reference.get_distribution(seen)
            yield some, *both

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the reference into a checkpoint's folder, and return JSON values for `restore`."""
        save_file(
            {name: part.cpu().clone() for name, part in self._reference.state_dict().items()}, folder / _REFERENCE
        )
        return {"coefficient": self.coefficient, "mean": self.mean}

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Take back what `save` wrote and returned.

        Raises:
            ValueError, KeyError, RuntimeError, OSError, SafetensorError: if it is damaged.
        """
        self._reference.load_state_dict(load_file(folder / _REFERENCE))
        coefficient, mean = float(state["coefficient"]), state["mean"]
        check_penalty(coefficient, self.target)
        self.coefficient, self.mean = coefficient, None if mean is None else float(mean)


def _nats(own: Distribution, reference: Distribution) -> NDArray[np.float32]:
    apart = kl_divergence(own, reference)
    # Rounding makes that of two equal distributions slightly negative.
    nats: NDArray[np.float32] = apart.reshape(apart.shape[0], -1).sum(dim=1).clamp(min=0).cpu().numpy()
    return nats.astype(np.float32, copy=False)


def check_penalty(coefficient: float, target: float | None) -> None:
    """Refuse numbers that cannot be.

    Raises:
        ValueError: if the coefficient is below 0, the target is not above it, or there is a target without coefficient.
    """
    if not 0 <= coefficient < math.inf:
        raise ValueError(f"kl_coef is the cost of a nat and must be a number of at least 0, not {coefficient}.")
    if target is not None and not 0 < target < math.inf:
        raise ValueError(f"kl_target is a number of nats per step above 0, not {target}.")
    if target is not None and not coefficient:
        raise ValueError("kl_target adapts kl_coef by factors, so that must begin above 0.")
