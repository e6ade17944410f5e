"""Gives every episode the same length, for those who want its length to say nothing about the reward."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded


class FixedHorizon(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Makes every episode last exactly `horizon` steps: it never terminates and is truncated at the horizon.

    Where the wrapped environment ends an episode before, by termination or by a time limit of its own, it is reset,
    going on with its own random stream. The step returns the first observation of its new episode, with the reward of
    the last step of the old one, and `info["restarted"]` is True, and `info["cut"]` as well if it was the time limit.
    Around an environment that never ends early it changes nothing.

    Args:
        env: any environment.
        horizon: steps in an episode; by default the time limit that the environment was registered or made with.

    Raises:
        ValueError: if no horizon is given and none is known, or if it is below 1.
    """

    def __init__(self, env: gym.Env[Any, Any], horizon: int | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, horizon=horizon)
        gym.Wrapper.__init__(self, env)
        if horizon is None:
            horizon = env.spec.max_episode_steps if env.spec is not None else None
        if horizon is None:
            raise ValueError(f"{env} has no time limit to take the horizon from; give FixedHorizon a horizon.")
        if horizon < 1:
            raise ValueError(f"horizon is the number of steps in an episode and must be at least 1, not {horizon}.")
        self.horizon = horizon
        self._elapsed = horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._elapsed = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one step; `info["restarted"]` says whether the wrapped environment began anew.

        Raises:
            ResetNeeded: before the first reset and after the horizon.
        """
        if self._elapsed >= self.horizon:
            raise ResetNeeded(f"Call reset() before the first step() and after each episode of {self.horizon} steps.")
        self._elapsed += 1
        truncated = self._elapsed == self.horizon
        observation, reward, terminated, cut, info = self.env.step(action)
        info["restarted"] = (terminated or cut) and not truncated
        info["cut"] = cut and not terminated and not truncated
        if info["restarted"]:
            observation, _ = self.env.reset()
        return observation, float(reward), False, truncated, info
