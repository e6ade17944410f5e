"""Gives every episode the same length, because an early end would tell the agent something about the reward."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded

AFTER_TERMINATION = {
    "absorb": "the last observation is repeated and pays 0 until the horizon",
    "restart": "the environment begins anew and goes on until the horizon",
}
"""What can be done with the steps between the end of an inner episode and the horizon."""


class FixedHorizon(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Makes every episode last exactly `horizon` steps: it never terminates and is truncated at the horizon.

    Where the wrapped environment ends an episode before, by termination or by a time limit of its own, the episode
    goes on in one of two ways:

    - "absorb": the wrapped environment is not stepped any more. Its last observation is repeated, the reward is 0 and
      `info["absorbed"]` is True, so the sum of rewards is the return of the wrapped episode.
    - "restart": the wrapped environment is reset, going on with its own random stream. The step returns the first
      observation of its new episode, with the reward of the last step of the old one, and `info["restarted"]` is True.

    Around an environment that never ends early it changes nothing.

    Args:
        env: any environment.
        horizon: steps in an episode; by default the time limit that the environment was registered or made with.
        on_termination: "absorb" or "restart".
        absorbed_steps: truncate an episode after this many absorbed steps instead of at the horizon, or never where
            None. For training: a few absorbed steps teach what the end is worth, further ones add nothing. An
            algorithm that bootstraps from the last observation of a truncated episode, as Stable-Baselines3's do,
            learns the same values from it, and the length of an episode still tells nothing about the reward.

    Raises:
        ValueError: if no horizon is given and none is known, if it or `absorbed_steps` is below 1, if
            `on_termination` is not known, or if the environment's own time limit is shorter than the horizon and it
            would be absorbed in every episode.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        horizon: int | None = None,
        on_termination: str = "absorb",
        absorbed_steps: int | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, horizon=horizon, on_termination=on_termination, absorbed_steps=absorbed_steps
        )
        gym.Wrapper.__init__(self, env)
        if on_termination not in AFTER_TERMINATION:
            raise ValueError(f"on_termination must be one of {', '.join(AFTER_TERMINATION)}, not {on_termination!r}.")
        if absorbed_steps is not None and absorbed_steps < 1:
            raise ValueError(
                f"absorbed_steps must be at least 1, or None to absorb up to the horizon, not {absorbed_steps}."
            )
        self.on_termination = on_termination
        self.absorbed_steps = absorbed_steps
        self.horizon = _chosen_horizon(env, horizon, on_termination)
        self._elapsed = self.horizon
        self._absorbed = 0
        self._absorbing: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._elapsed = 0
        self._absorbed = 0
        self._absorbing = None
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act for one step. `info` has "absorbed" or "restarted", as `on_termination` says.

        Raises:
            ResetNeeded: before the first reset and after the horizon.
        """
        if self._elapsed >= self.horizon:
            raise ResetNeeded(f"Call reset() before the first step() and after each episode of {self.horizon} steps.")
        self._elapsed += 1
        truncated = self._elapsed == self.horizon
        if self._absorbing is not None:
            self._absorbed += 1
            if self._absorbed == self.absorbed_steps:
                truncated = True
                self._elapsed = self.horizon
            return deepcopy(self._absorbing), 0.0, False, truncated, {"absorbed": True, "true_reward": 0.0}
        observation, reward, terminated, cut, info = self.env.step(action)
        ended_early = (terminated or cut) and not truncated
        if self.on_termination == "absorb":
            info["absorbed"] = False
            if ended_early:
                self._absorbing = deepcopy(observation)
        else:
            info["restarted"] = ended_early
            if ended_early:
                observation, _ = self.env.reset()
        return observation, float(reward), False, truncated, info


def _chosen_horizon(env: gym.Env[Any, Any], horizon: int | None, on_termination: str) -> int:
    limit = env.spec.max_episode_steps if env.spec is not None else None
    if horizon is None:
        if limit is None:
            raise ValueError(f"{env} has no time limit to take the horizon from; give FixedHorizon a horizon.")
        return limit
    if horizon < 1:
        raise ValueError(f"horizon is the number of steps in an episode and must be at least 1, not {horizon}.")
    if on_termination == "absorb" and limit is not None and limit < horizon:
        raise ValueError(
            f"{env} has a time limit of {limit} steps, which would leave every episode absorbed before the horizon of "
            f"{horizon}; make it with max_episode_steps=-1 to lift the limit, or choose a horizon of at most {limit}."
        )
    return horizon
