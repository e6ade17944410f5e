"""A pretrained start: behaviour cloning of demonstrations on the policy that the learner then trains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.vec_env import VecNormalize, VecTransposeImage

from rlhf_envs.demonstrations import Demonstrations
from rlhf_envs.observations import map_observations

_EVALUATED_AT_ONCE = 4096


@dataclass(frozen=True)
class PretrainConfig:
    """How demonstrations are imitated.

    Attributes:
        max_epochs: passes over the demonstrations, at most.
        patience: stop when the held-out loss has not fallen for this many passes.
        held_out_share: the share of episodes that is kept to measure the loss on, at least one; of a single episode,
            its last steps.
        batch_size: steps in a mini-batch.
        learning_rate: of Adam.
        entropy_bonus: how much entropy is worth beside the log-likelihood; a little keeps discrete actions explored.
        smallest_std: the smallest standard deviation that a Box policy may come out with, as a share of half the
            action's range (in its own unit where it is unbounded).
    """

    max_epochs: int = 500
    patience: int = 10
    held_out_share: float = 0.2
    batch_size: int = 64
    learning_rate: float = 1e-3
    entropy_bonus: float = 1e-3
    smallest_std: float = 0.2

    def __post_init__(self) -> None:
        for name in ("max_epochs", "patience", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("learning_rate", "smallest_std"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be a number above 0, not {getattr(self, name)}.")
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share must be a share between 0 and 1, not {self.held_out_share}.")
        if not 0 <= self.entropy_bonus < np.inf:
            raise ValueError(f"entropy_bonus must be at least 0, not {self.entropy_bonus}.")


@dataclass(frozen=True)
class PretrainReport:
    """How the imitation went.

    Attributes:
        episodes, steps: of demonstrations, held-out ones included.
        epochs: passes that were made; the policy is that of the best one.
        train_loss, held_out_loss: mean negative log-likelihood of a step's action under that policy, in nats.
        held_out_accuracy: how many of the held-out choices the policy's likeliest action gets right, as a share; None
            for Box actions.
        held_out_mean_squared_error: between the policy's likeliest action, clipped to the space, and the held-out one,
            per number of the action; None unless actions are a Box.
        seconds: wall time.
    """

    episodes: int
    steps: int
    epochs: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float | None
    held_out_mean_squared_error: float | None
    seconds: float


def pretrain(
    model: BaseAlgorithm, demonstrations: Demonstrations, config: PretrainConfig | None = None, seed: int = 0
) -> PretrainReport:
    """Make a policy act as in demonstrations (behaviour cloning: Pomerleau 1991), by maximum likelihood.

    The value network is left alone, as demonstrations say nothing of the learned reward. The learner's optimiser starts
    afresh afterwards, and the global random generators are not used.

    Args:
        model: its policy is changed in place.
        demonstrations: in an environment with the model's spaces.
        config: how; the defaults if None.
        seed: of the held-out episodes and of the order of steps.

    Raises:
        ValueError: if the model's policy is not an actor-critic policy, as those of PPO and A2C are, or the
            demonstrations do not fit it, or are too few to hold any step out.
    """
    began = time.perf_counter()
    config = config or PretrainConfig()
    policy = model.policy
    check_pretrainable(model)
    assert isinstance(policy, ActorCriticPolicy)
    _check(model, demonstrations)
    rng = np.random.default_rng(seed)
    trained_rows, held_out_rows = _split(demonstrations, config.held_out_share, rng)
    cloning = _Cloning(policy, _seen(model, demonstrations), demonstrations, config)
    best = _parameters(policy)
    best_epoch, best_loss = 0, cloning.evaluate(held_out_rows)[0]
    for epoch in range(1, config.max_epochs + 1):
        cloning.improve(trained_rows, rng)
        loss, _ = cloning.evaluate(held_out_rows)
        if loss < best_loss:
            best, best_epoch, best_loss = _parameters(policy), epoch, loss
        elif epoch - best_epoch >= config.patience:
            break
    policy.load_state_dict(best)
    # Momentum belongs to the parameters it was gathered on.
    policy.optimizer.state.clear()
    train_loss, _ = cloning.evaluate(trained_rows)
    held_out_loss, agreement = cloning.evaluate(held_out_rows)
    is_box = isinstance(model.action_space, spaces.Box)
    return PretrainReport(
        demonstrations.episodes,
        len(demonstrations),
        epoch,
        train_loss,
        held_out_loss,
        None if is_box else agreement,
        agreement if is_box else None,
        time.perf_counter() - began,
    )


def check_pretrainable(model: BaseAlgorithm) -> None:
    """Refuse a model that cannot imitate demonstrations.

    Raises:
        ValueError: if its policy is not an actor-critic policy without memory, as those of PPO and A2C are.
    """
    name, policy = type(model).__name__, model.policy
    if not isinstance(policy, ActorCriticPolicy):
        raise ValueError(
            f"{name} cannot be pretrained: its policy does not give the likelihood of an action, as the actor-critic "
            "policies of PPO and A2C do."
        )
    if hasattr(policy, "lstm_actor"):
        raise ValueError(f"{name} cannot be pretrained: its policy acts by its memory as well; PPO and A2C have none.")


class _Cloning:
    """The demonstrations as tensors, and a policy that is drawn towards them."""

    def __init__(
        self,
        policy: ActorCriticPolicy,
        observations: Any,
        demonstrations: Demonstrations,
        config: PretrainConfig,
    ) -> None:
        self.policy = policy
        self.config = config
        self.observations, _ = policy.obs_to_tensor(observations)
        actions = torch.as_tensor(demonstrations.actions, device=policy.device)
        is_discrete = isinstance(policy.action_space, spaces.Discrete)
        self.actions = actions if is_discrete else actions.reshape(len(actions), -1).to(torch.float32)
        self.least_log_std = _least_log_std(policy, config.smallest_std)
        self.optimizer = torch.optim.Adam(policy.parameters(), config.learning_rate, eps=1e-5)

    def improve(self, rows: NDArray[np.intp], rng: np.random.Generator) -> None:
        """One pass over the given steps in random order."""
        self.policy.set_training_mode(True)
        for observations, actions in self._batches(rng.permutation(rows), self.config.batch_size):
            _, log_likelihood, entropy = self.policy.evaluate_actions(observations, actions)
            loss = -log_likelihood.mean()
            if entropy is not None:
                loss = loss - self.config.entropy_bonus * entropy.mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if self.least_log_std is not None:
                with torch.no_grad():
                    self.policy.log_std.clamp_(min=self.least_log_std)

    def evaluate(self, rows: NDArray[np.intp]) -> tuple[float, float]:
        """The loss on the given steps, and how well the likeliest actions agree: a share or a mean squared error."""
        self.policy.set_training_mode(False)
        loss = disagreement = 0.0
        with torch.no_grad():
            for observations, actions in self._batches(rows, _EVALUATED_AT_ONCE):
                distribution = self.policy.get_distribution(observations)
                loss -= float(distribution.log_prob(actions).sum())
                chosen = distribution.mode()
                if isinstance(self.policy.action_space, spaces.Box):
                    low, high = _bounds(self.policy.action_space)
                    errors = (chosen.clamp(low.to(chosen), high.to(chosen)) - actions) ** 2
                else:
                    errors = (chosen == actions).to(torch.float32)
                disagreement += float(errors.reshape(len(actions), -1).mean(dim=1).sum())
        return loss / len(rows), disagreement / len(rows)

    def _batches(self, rows: NDArray[np.intp], size: int) -> Iterator[tuple[PyTorchObs, torch.Tensor]]:
        for start in range(0, len(rows), size):
            chosen = torch.as_tensor(rows[start : start + size], device=self.policy.device)
            yield map_observations(lambda part, chosen=chosen: part[chosen], self.observations), self.actions[chosen]


def _check(model: BaseAlgorithm, demonstrations: Demonstrations) -> None:
    env: Any = model.get_env()
    while isinstance(env, VecTransposeImage | VecNormalize):
        env = env.venv
    demonstrations.check_fits((env or model).observation_space, model.action_space)


def _seen(model: BaseAlgorithm, demonstrations: Demonstrations) -> Any:
    """The observations of demonstrations as the policy sees them.

    Where it sees standardised ones, the demonstrations are the first that count in what they are standardised by.
    """
    observations: Any = demonstrations.observations
    normaliser = model.get_vec_normalize_env()
    if normaliser is None or not normaliser.norm_obs:
        return observations
    statistics: Any = normaliser.obs_rms
    if isinstance(statistics, dict):
        for key, one in statistics.items():
            one.update(observations[key])
    else:
        statistics.update(observations)
    return normaliser.normalize_obs(observations)


def _split(
    demonstrations: Demonstrations, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The steps to train on, and those of the episodes held out."""
    episodes, steps = demonstrations.episodes, len(demonstrations)
    if episodes == 1:
        if steps < 2:
            raise ValueError("Pretraining needs at least 2 steps of demonstrations, one of them held out; there is 1.")
        held_out = np.arange(steps) >= steps - max(1, min(round(share * steps), steps - 1))
    else:
        count = max(1, min(round(share * episodes), episodes - 1))
        held_out = np.isin(demonstrations.episode_of_step, rng.choice(episodes, count, replace=False))
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _least_log_std(policy: ActorCriticPolicy, share: float) -> torch.Tensor | None:
    """A floor below which imitation must not push the deviation of a Box policy; None for other actions.

    Likelihood grows without end as the deviation shrinks around an expert who always does the same. A learner that
    starts from such a policy would try nothing else, and each of its steps would change probabilities beyond all
    bounds. A deviation that was chosen smaller to begin with stays allowed.
    """
    space = policy.action_space
    if not isinstance(space, spaces.Box):
        return None
    low, high = _bounds(space)
    half_range = torch.where(torch.isfinite(high - low), (high - low) / 2, 1.0)
    log_std = policy.log_std.detach()
    return torch.minimum(log_std, torch.log(share * half_range).to(log_std))


def _bounds(space: spaces.Box) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.as_tensor(space.low.reshape(-1)), torch.as_tensor(space.high.reshape(-1))


def _parameters(policy: ActorCriticPolicy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.state_dict().items()}
