"""A policy that is a language model: it starts as that, learns, acts reproducibly, and is read along whole episodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from agents.config import RunConfig
from agents.train import build, kl_penalty
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.prose.language_model import OWN, UNTRAINED, frozen_model
from rlhf_envs.learners.on_policy import MaskablePPOConfig, PPOConfig, RecurrentPPOConfig
from rlhf_envs.sb3 import EnvironmentRewardCallback

PROSE = EnvironmentRef("rlhf/Prose-v0")


def built(reward: str = "true", **settings: Any) -> tuple[Any, PPO, RunConfig]:
    config = replace(RunConfig.for_environment(PROSE), reward=reward)
    small = {"num_envs": 4, "batch_size": 128, "n_epochs": 2, **settings}
    config = replace(config, learner_settings=replace(config.learner_settings, **small))
    env, model = build(config)
    assert isinstance(model, PPO)
    return env, model, config


def test_the_policy_begins_as_the_language_model() -> None:
    env, model, _ = built()
    seen = torch.from_numpy(env.reset())
    with torch.no_grad():
        chosen = model.policy.get_distribution(seen).distribution.logits
        own = frozen_model(OWN)
        expected = torch.log_softmax(own.logits(own.features(seen[:, :12])[:, -1]), dim=1)
    torch.testing.assert_close(chosen, expected, rtol=1e-4, atol=1e-4)
    env.close()


def test_rollout_and_update_agree_on_likelihoods_and_values() -> None:
    env, model, _ = built(n_epochs=1)
    observations = env.reset()
    for _ in range(5):
        seen = torch.from_numpy(observations)
        with torch.no_grad():
            actions, values, likelihood = model.policy(seen)
            again = model.policy.evaluate_actions(seen, actions)
        torch.testing.assert_close(again[0], values, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(again[1], likelihood, rtol=1e-4, atol=1e-4)
        observations = env.step(actions.numpy())[0]
    env.close()


def test_acting_deterministically_draws_the_same_tokens_again_and_as_often_as_they_are_likely() -> None:
    env, model, _ = built()
    seen = env.reset()
    first, second = (model.predict(seen, deterministic=True)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    rng = np.random.default_rng(0)
    many = np.repeat(seen[:1], 3000, axis=0)
    many[:, 0] = rng.integers(0, 2048, 3000)
    with torch.no_grad():
        likely = model.policy.get_distribution(torch.from_numpy(many)).distribution.probs.mean(dim=0).numpy()
    drawn = np.bincount(model.predict(many, deterministic=True)[0], minlength=2048) / 3000
    top = np.argsort(-likely)[:5]
    np.testing.assert_allclose(drawn[top], likely[top], atol=0.03)
    env.close()


def test_the_penalty_holds_a_language_model_near_itself() -> None:
    apart = []
    for coefficient in (1e-6, 20.0):
        env, model, config = built(learning_rate=5e-4)
        scoring = EnvironmentRewardCallback(env)
        scoring.kl = kl_penalty(replace(config, run=replace(config.run, kl_coef=coefficient)), model)
        model.learn(10 * 128, callback=scoring)
        assert scoring.kl is not None and scoring.kl.mean is not None
        apart.append(scoring.kl.mean)
        env.close()
    assert apart[1] < 0.8 * apart[0]


def test_one_that_was_never_trained_has_nothing_to_stay_near_to() -> None:
    env, model, config = built(language_model=UNTRAINED)
    with pytest.raises(ValueError, match="none is pretrained here"):
        kl_penalty(replace(config, run=replace(config.run, kl_coef=0.1)), model)
    env.close()


def test_spaces_that_are_not_of_tokens_are_refused() -> None:
    config = RunConfig.for_environment(EnvironmentRef("rlhf/Support-v1"))
    with pytest.raises(ValueError, match="writes in 2,048 tokens, and the environment has actions in Discrete"):
        build(replace(config, learner_settings=replace(config.learner_settings, language_model=OWN)))


@pytest.mark.parametrize("settings", [RecurrentPPOConfig, MaskablePPOConfig])
def test_learners_with_policies_of_their_own_refuse_one(settings: type[PPOConfig]) -> None:
    env, _, _ = built()
    with pytest.raises(ValueError, match="cannot be a language model; ppo and a2c can"):
        settings(language_model=OWN).arguments(env)
    env.close()
