"""Tells Gymnasium about the suite's environments."""

from __future__ import annotations

import gymnasium as gym

ENVIRONMENTS = {
    "rlhf/Driving-v0": "rlhf_envs.envs.driving:Driving",
    "rlhf/Recommender-v0": "rlhf_envs.envs.recommender:Recommender",
}
"""Every id of the suite, and where its views are: the named module has `<Name>Env` and `<Name>VectorEnv`."""


def register_environments() -> None:
    """Register every id of the suite. Doing it twice changes nothing."""
    for environment_id, place in ENVIRONMENTS.items():
        if environment_id not in gym.registry:
            gym.register(
                environment_id, entry_point=f"{place}Env", vector_entry_point=f"{place}VectorEnv", max_episode_steps=None
            )
