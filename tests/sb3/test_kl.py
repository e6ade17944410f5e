"""Steps are charged for the divergence from the reference policy, exactly, and that keeps the policy near it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.sb3 import EnvironmentRewardCallback, KLPenalty, make_vec_env
from tests.agents.test_pretraining import Rooms

SEEN = spaces.Box(-1, 1, (3,), np.float32)


def model_for(actions: spaces.Space[Any], **settings: Any) -> PPO:
    env = DummyVecEnv([lambda: Rooms(SEEN, actions)])
    return PPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0, device="cpu", **settings)


def moved(model: PPO) -> PPO:
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return model


@pytest.mark.parametrize(
    "actions",
    [
        spaces.Discrete(4),
        spaces.MultiDiscrete([3, 5]),
        spaces.MultiBinary(3),
        spaces.Box(-1, 1, (2,), np.float32),
    ],
    ids=lambda space: type(space).__name__,
)
def test_the_divergence_is_the_mean_log_ratio_of_many_actions(actions: spaces.Space[Any]) -> None:
    model = model_for(actions)
    penalty = KLPenalty(model, 0.1)
    observations = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    np.testing.assert_allclose(penalty.divergence(observations), 0, atol=1e-6)
    moved(model)
    exact = penalty.divergence(observations)
    torch.manual_seed(0)
    seen = torch.from_numpy(observations)
    now, then = model.policy.get_distribution(seen), penalty._reference.get_distribution(seen)
    with torch.no_grad():
        ratios = []
        for _ in range(4000):
            drawn = now.sample()
            ratios.append(now.log_prob(drawn) - then.log_prob(drawn))
    np.testing.assert_allclose(exact, torch.stack(ratios).mean(dim=0).numpy(), rtol=0.1, atol=0.01)
    assert exact.min() > 0


def test_a_gaussian_divergence_is_that_of_the_formula() -> None:
    model = model_for(spaces.Box(-1, 1, (2,), np.float32))
    penalty = KLPenalty(model, 1.0)
    with torch.no_grad():
        model.policy.action_net.bias += torch.tensor([0.5, -1.0])
        model.policy.log_std += 0.4
    wide = np.exp(0.8)
    expected = sum(0.5 * (wide + shift**2 - 1) - 0.4 for shift in (0.5, -1.0))
    np.testing.assert_allclose(penalty.divergence(np.zeros((1, 3), np.float32)), [expected], rtol=1e-5)


class Charged(BaseCallback):
    """What was charged for each rollout, and how far the policy was at its end."""

    def __init__(self, scoring: EnvironmentRewardCallback) -> None:
        super().__init__()
        self.scoring = scoring
        self.means: list[float] = []
        self.coefficients: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        penalty = self.scoring.kl
        assert penalty is not None and penalty.mean is not None
        self.means.append(penalty.mean)
        self.coefficients.append(penalty.coefficient)


def trained(algorithm: type[PPO] | type[A2C], coefficient: float, target: float | None = None) -> Charged:
    env = make_vec_env(EnvironmentRef("CartPole-v1"), 4, seed=0, hide_reward=False)
    settings = {"batch_size": 64} if algorithm is PPO else {}
    model = algorithm("MlpPolicy", env, n_steps=32, seed=0, device="cpu", learning_rate=3e-3, **settings)
    scoring = EnvironmentRewardCallback(env)
    scoring.kl = KLPenalty(model, coefficient, target)
    charged = Charged(scoring)
    model.learn(24 * 128, callback=[scoring, charged])
    env.close()
    return charged


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_a_larger_coefficient_keeps_the_policy_nearer(algorithm: type[PPO] | type[A2C]) -> None:
    free, held = trained(algorithm, 1e-9), trained(algorithm, 30.0)
    assert free.means[0] == held.means[0] == pytest.approx(0, abs=1e-6)
    assert np.mean(held.means[-6:]) < 0.3 * np.mean(free.means[-6:])


def test_the_charge_is_taken_from_the_rewards() -> None:
    env = make_vec_env(EnvironmentRef("CartPole-v1"), 4, seed=0, hide_reward=False)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, seed=0, device="cpu")
    scoring = EnvironmentRewardCallback(env)
    scoring.kl = KLPenalty(model, 2.0)
    before = deepcopy(model.policy)
    moved(model)

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            buffer = model.rollout_buffer
            seen = torch.from_numpy(buffer.observations.reshape(-1, 4))
            with torch.no_grad():
                then = before.get_distribution(seen).log_prob(torch.from_numpy(buffer.actions.reshape(-1))).numpy()
            charged = 2 * (buffer.log_probs - then.reshape(32, 4))
            assert np.isclose(buffer.rewards, 1 - charged, rtol=1e-4, atol=1e-5).all()
            assert abs(charged.mean()) > 0.1
            np.testing.assert_allclose(buffer.returns, buffer.advantages + buffer.values, rtol=1e-5)

    model.learn(128, callback=[scoring, Watch()])
    env.close()


def test_a_target_adapts_the_coefficient_as_ziegler_et_al_do() -> None:
    charged = trained(PPO, 0.01, target=0.02)
    before = 0.01
    for mean, coefficient in zip(charged.means, charged.coefficients, strict=True):
        error = min(max(mean / 0.02 - 1, -0.2), 0.2)
        assert coefficient == pytest.approx(before * (1 + 0.1 * error))
        before = coefficient
    assert len(set(charged.coefficients)) > 2


def test_what_costs_nothing_is_measured_and_changes_nothing() -> None:
    env = make_vec_env(EnvironmentRef("CartPole-v1"), 4, seed=0, hide_reward=False)
    policies = []
    for coefficient in (None, 0.0):
        env.seed(0)
        model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, seed=0, device="cpu", learning_rate=3e-3)
        scoring = EnvironmentRewardCallback(env)
        scoring.kl = None if coefficient is None else KLPenalty(model, coefficient)
        model.learn(4 * 128, callback=scoring)
        policies.append(model.policy)
    env.close()
    assert scoring.kl is not None and scoring.kl.mean is not None and scoring.kl.mean > 0
    for free, measured in zip(policies[0].parameters(), policies[1].parameters(), strict=True):
        torch.testing.assert_close(free, measured, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="must begin above 0"):
        KLPenalty(model, 0.0, 0.5)


def test_the_reference_is_kept_in_a_checkpoint(tmp_path: Path) -> None:
    model = model_for(spaces.Discrete(4))
    penalty = KLPenalty(model, 0.1, 0.5)
    moved(model)
    observations = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    apart = penalty.divergence(observations)
    penalty.coefficient = 0.07
    state = penalty.save(tmp_path)
    other = KLPenalty(model, 0.1, 0.5)
    assert not np.allclose(other.divergence(observations), apart)
    other.restore(tmp_path, state)
    np.testing.assert_array_equal(other.divergence(observations), apart)
    assert other.coefficient == 0.07


def test_policies_without_a_distribution_are_refused() -> None:
    box = spaces.Box(-1, 1, (2,), np.float32)
    env = DummyVecEnv([lambda: Rooms(SEEN, box)])
    for model in (SAC("MlpPolicy", env, device="cpu"), RecurrentPPO("MlpLstmPolicy", env, device="cpu")):
        with pytest.raises(ValueError, match="actor-critic policies without memory of PPO and A2C"):
            KLPenalty(model, 0.1)


def test_taking_a_reference_draws_no_random_numbers() -> None:
    model = model_for(spaces.Discrete(4))
    before = torch.get_rng_state()
    KLPenalty(model, 0.1)
    assert torch.equal(before, torch.get_rng_state())
