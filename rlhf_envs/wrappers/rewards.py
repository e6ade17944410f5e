"""Hides the true reward of a vector environment, or pays a learned one in its place; the truth stays in the infos."""

from __future__ import annotations

from math import isfinite
from typing import Any, NoReturn, Protocol, SupportsFloat, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from rlhf_envs.observations import Observations, Transitions, map_observations

COPY_INFOS = "copies"
"""Where the infos of `EnvironmentRef.make_vector` hold those of separate copies: a list of N dicts."""


@runtime_checkable
class RewardFunction(Protocol):
    """Anything that rewards steps; the reward ensemble is one."""

    def reward(self, observations: Observations, actions: NDArray[Any], /) -> NDArray[np.floating[Any]]:
        """The reward of B steps, (B,), from the observations before them, (B, *obs), and their actions, (B, *act)."""


@runtime_checkable
class TransitionRewardFunction(RewardFunction, Protocol):
    """A reward function that also looks at what a step leads to; the reward ensemble is one."""

    def transition_reward(self, transitions: Transitions, /) -> NDArray[np.floating[Any]]:
        """The reward of B transitions, (B,)."""


@runtime_checkable
class UncertainRewardFunction(RewardFunction, Protocol):
    """A reward function with an estimate of its uncertainty."""

    def spread(self, observations: Observations, actions: NDArray[Any], /) -> NDArray[np.floating[Any]]:
        """The uncertainty of the reward of B steps, (B,), on the reward's own scale."""


def rewards_of(reward_function: RewardFunction, transitions: Transitions) -> NDArray[np.floating[Any]]:
    """The rewards of B transitions, (B,), by whatever the reward function looks at."""
    if isinstance(reward_function, TransitionRewardFunction):
        return np.asarray(reward_function.transition_reward(transitions))
    return np.asarray(reward_function.reward(transitions.observations, transitions.actions))


class HideReward(gym.vector.VectorWrapper):
    """Pays 0 at every step of every copy; `info["true_reward"]` has the true rewards, (N,).

    Row i belongs to the step that copy i has just taken, also where that step ended an episode. Where the
    environment reports its true reward in `info`, as those of the suite do for either objective, that is used.

    Args:
        env: a vector environment that begins new episodes in SAME_STEP mode.

    Raises:
        ValueError: for another mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        require_same_step(env)
        super().__init__(env)
        self._all = np.ones(env.num_envs, dtype=np.bool_)

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Act for one step in every copy.

        Raises:
            ValueError: if a reward of the environment is not a finite number.
        """
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        truth = true_rewards(rewards, info)
        info["true_reward"], info["_true_reward"] = truth, self._all
        return observations, np.zeros_like(truth), terminated, truncated, info


class LearnedReward(gym.vector.VectorWrapper):
    """Pays every copy the learned reward of its step: of the observation before it, its action, and what it led to.

    `info` has "true_reward" and "learned_reward", each (N,) and of the step that the copy has just taken. The reward
    function sees observations as this wrapper returns them, so it belongs on top of
    wrappers that change them. It is used, never copied: when it learns, the environment pays accordingly from the next
    step on.

    For a reward model that has been trained already. While preferences are still coming in, `PreferenceCallback`
    scores whole rollouts, which is many times faster.

    Args:
        env: a vector environment that begins new episodes in SAME_STEP mode.
        reward_function: such as a loaded `RewardEnsemble`.

    Raises:
        TypeError: if the reward function has no method `reward`.
        ValueError: for another mode.

    Example:
        >>> env = LearnedReward(EnvironmentRef("Pendulum-v1").make_vector(8), RunDirectory("run").load_reward_model())
        >>> SAC("MlpPolicy", VectorEnvBridge(env)).learn(50_000)
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], reward_function: RewardFunction) -> None:
        if not isinstance(reward_function, RewardFunction) or isinstance(reward_function, type):
            raise TypeError(
                "A reward function needs a method reward(observations, actions) that gives one number per step; "
                f"{reward_function!r} is none."
            )
        require_same_step(env)
        super().__init__(env)
        self.reward_function = reward_function
        self._observations: Any = None
        self._all = np.ones(env.num_envs, dtype=np.bool_)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every copy, or in those of `options["reset_mask"]`."""
        self._observations, info = self.env.reset(seed=seed, options=options)
        return self._observations, info

    def step(self, actions: Any) -> tuple[Any, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Act for one step in every copy.

        Raises:
            ValueError: if a true or a learned reward is not a finite number.
        """
        if self._observations is None:
            raise ResetNeeded("Call reset() before the first step().")
        # An environment may write its next observations into the same array.
        before, actions = map_observations(np.array, self._observations), np.asarray(actions)
        self._observations, rewards, terminated, truncated, info = self.env.step(actions)
        ended = np.asarray(terminated) | np.asarray(truncated)
        transitions = Transitions(before, actions, self._observations, ended, np.asarray(terminated))
        learned = rewards_of(self.reward_function, transitions)
        if learned.shape != (len(actions),) or not np.isfinite(learned).all():
            given = "some that are not finite" if learned.shape == (len(actions),) else f"shape {learned.shape}"
            raise ValueError(f"The reward function must give {len(actions)} steps a finite number each, not {given}.")
        for name, values in (("learned_reward", learned), ("true_reward", true_rewards(rewards, info))):
            info[name], info[f"_{name}"] = values, self._all
        return self._observations, learned, terminated, truncated, info


def true_reward(reward: SupportsFloat, info: dict[str, Any]) -> float:
    """The true reward of one step of a single environment.

    That is `info["true_reward"]` where the environment reports it, as the suite's environments do whatever their
    objective pays, and otherwise the reward that it paid.

    Raises:
        ValueError: if the reward is not a finite number.
    """
    told: Any = info.get("true_reward")
    truth = float(told if _is_number(told) else reward)
    if not isfinite(truth):
        _refuse(truth)
    return truth


def true_rewards(rewards: NDArray[Any], info: dict[str, Any]) -> NDArray[Any]:
    """The true rewards of one step of a vector environment, as a new array.

    In SAME_STEP mode the info of a row whose episode ended is already that of the new episode; that of its last step
    is in `info["final_info"]`, and is read from there.

    Args:
        rewards: as paid, (N,).
        info: of the same step.

    Returns:
        (N,), of the floating dtype that the rewards have.

    Raises:
        ValueError: if a reward is not a finite number.
    """
    rewards = np.asarray(rewards)
    truth = rewards.astype(np.promote_types(rewards.dtype, np.float32))
    for report in (info, info.get("final_info", {})):
        told = report.get("true_reward")
        # Of another form it is somebody else's, who means something else by it.
        if isinstance(told, np.ndarray) and told.shape == truth.shape and told.dtype.kind in "biuf":
            rows = report.get("_true_reward", slice(None))
            truth[rows] = told[rows]
    for row, own in enumerate(info.get(COPY_INFOS, ())):
        if _is_number(own.get("true_reward")):
            truth[row] = own["true_reward"]
    finite = np.isfinite(truth)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        _refuse(truth[row], f" in copy {row}")
    return truth


def require_same_step(env: VectorEnv[Any, Any, Any]) -> None:
    """Refuse a vector environment that begins its new episodes otherwise than in the step that ends one.

    Raises:
        ValueError: for another mode than SAME_STEP. NEXT_STEP inserts a step without an action into every episode.
    """
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.SAME_STEP:
        raise ValueError(
            f"{env} resets itself in mode {mode}, which inserts steps without an action; make it with "
            "autoreset_mode=AutoresetMode.SAME_STEP."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _refuse(reward: float, where: str = "") -> NoReturn:
    raise ValueError(
        f"The environment paid a reward of {reward}{where}; the true reward of every step must be a finite number."
    )
