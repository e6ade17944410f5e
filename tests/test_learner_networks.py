"""Policies read small pictures and long vocabularies."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from rlhf_envs.learners.networks import TokenExtractor, policy_for


class OneStep(gym.Env):
    """Ends after every step."""

    action_space = spaces.Discrete(3)

    def __init__(self, observation_space: spaces.Space) -> None:
        self.observation_space = observation_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(0, 255, (28, 28, 1), np.uint8),
        spaces.Box(0, 255, (3, 64, 64), np.uint8),
        spaces.Box(-1, 1, (2, 3, 4), np.float32),
        spaces.MultiDiscrete([5, 120, 120]),
        spaces.MultiDiscrete([5, 4]),
        spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)}),
    ],
    ids=["small picture", "picture", "floats of three axes", "tokens", "categories", "dict"],
)
def test_ppo_takes_steps_on_every_kind_of_observation(space):
    policy, arguments = policy_for(space)
    model = PPO(policy, OneStep(space), n_steps=8, batch_size=8, n_epochs=1, policy_kwargs=arguments, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(8)
    assert any(not torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))


def test_a_word_is_read_alike_at_every_place():
    space = spaces.MultiDiscrete([3, 50, 50])
    extractor = TokenExtractor(space, dimensions=8)
    one_hots = torch.zeros(1, 103)
    one_hots[0, [1, 3 + 17, 53 + 17]] = 1
    features = extractor(one_hots)[0]
    assert features.shape == (extractor.features_dim,) == (3 + 8 + 8,)
    assert torch.equal(features[3:11], features[11:]) and torch.equal(features[:3], torch.tensor([0.0, 1, 0]))
