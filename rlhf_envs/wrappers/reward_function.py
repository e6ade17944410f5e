"""What a learned reward must offer so that an environment can pay it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.observations import Observations


@runtime_checkable
class RewardFunction(Protocol):
    """Anything that rewards steps; the reward ensemble is one."""

    def reward(self, observations: Observations, actions: NDArray[Any], /) -> NDArray[np.floating[Any]]:
        """The reward of B steps, (B,), from the observations before them, (B, *obs), and their actions, (B, *act)."""


@runtime_checkable
class UncertainRewardFunction(RewardFunction, Protocol):
    """A reward function that also says how sure it is."""

    def spread(self, observations: Observations, actions: NDArray[Any], /) -> NDArray[np.floating[Any]]:
        """The uncertainty of the reward of B steps, (B,), on the reward's own scale."""


def check_reward_function(reward_function: object) -> None:
    """Refuse what is not a reward function.

    Raises:
        TypeError: if it has no method `reward`.
    """
    if not isinstance(reward_function, RewardFunction) or isinstance(reward_function, type):
        raise TypeError(
            "A reward function needs a method reward(observations, actions) that gives one number per step; "
            f"{reward_function!r} is none."
        )


def learned_rewards(
    reward_function: RewardFunction, observations: Observations, actions: NDArray[Any]
) -> NDArray[np.floating[Any]]:
    """What the function pays for B steps, (B,).

    Raises:
        ValueError: if it does not give one finite number per step.
    """
    return _one_finite_number_each("reward", reward_function.reward(observations, actions), len(actions))


def reward_spreads(
    reward_function: RewardFunction, observations: Observations, actions: NDArray[Any]
) -> NDArray[np.floating[Any]] | None:
    """How unsure the function is of what it pays for B steps, (B,); None if it cannot say.

    Raises:
        ValueError: if it does not give one finite number per step.
    """
    if not isinstance(reward_function, UncertainRewardFunction):
        return None
    return _one_finite_number_each("spread", reward_function.spread(observations, actions), len(actions))


def _one_finite_number_each(name: str, values: Any, steps: int) -> NDArray[np.floating[Any]]:
    values = np.asarray(values)
    if values.shape != (steps,):
        raise ValueError(
            f"The reward function's {name} for {steps} steps must have shape ({steps},), not {values.shape}."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"The reward function's {name} must be finite, but among {steps} steps some are not.")
    return values
