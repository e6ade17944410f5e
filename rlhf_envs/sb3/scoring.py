"""Pays algorithms of Stable-Baselines3 by the newest reward: they collect unpaid, and are paid before they learn."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictRolloutBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from rlhf_envs.observations import Observations, Transitions, map_observations, merge_leading_axes, space_parts
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.sb3.kl import KLPenalty
from rlhf_envs.sb3.vec_env import PreferenceVecEnv

Score = Callable[[Transitions], NDArray[np.float32]]
"""Rewards (B,) of B transitions, whose observations and actions are as the environment has them."""

MOST_STEPS_IN_ROUND = 1_000
"""Environment steps, over all copies, after which a round ends with the rollout, unless a setting says otherwise."""

_FEWEST_ROUNDS = 100
"""How many rounds a training has at least, if its rollouts are short enough."""

_REMEMBERED_OFF_POLICY, _REMEMBERED_BYTES = 10_000, 2**27
"""Of how many recent steps, and in how much memory, segments are cut where an algorithm has no rollouts of its own."""

_FIRST_EPISODES, _FIRST_SHARE = 10, 20
"""So many episodes are collected before the first questions, but no more than this part of the training."""

_ROWS_AT_ONCE, _IMAGES_AT_ONCE = 2**20, 2**14
"""Transitions of a replay buffer that are paid anew at once; they take a few seconds."""

_CHUNK = 2**14
_CATCHING_UP = 32
"""How many old transitions are paid anew for each new one, where a buffer holds more than are at once."""

_NEVER = sys.maxsize

_TRANSPARENT = (VecNormalize, VecMonitor, VecCheckNan)


class RewardSink(ABC):
    """How rewards reach an algorithm, which has collected without any."""

    @property
    @abstractmethod
    def rollout_steps(self) -> int:
        """Steps of every copy in a rollout."""

    @property
    def first_steps(self) -> int:
        """Environment steps, over all copies, that should be collected before anything is asked."""
        return 0

    @property
    def remembered_steps(self) -> int:
        """Steps of every copy that have to be remembered, for paying and as segments to ask about."""
        return self.rollout_steps

    @abstractmethod
    def pay(self, score: Score, changed: bool) -> NDArray[np.float32]:
        """Give the algorithm its rewards at the end of a rollout.

        Args:
            score: gives the rewards of steps.
            changed: whether it gives others than before, since it was fitted anew.

        Returns:
            The rewards of the rollout, (steps, copies).
        """

    def begin(self) -> None:
        """Called when training begins, or goes on: all that was collected before has been paid."""
        return None

    def hold(self) -> None:
        """Keep the algorithm from learning, because there is no reward yet, if it can go on collecting meanwhile."""
        return None

    def release(self) -> None:
        """Let it learn."""
        return None

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of the payments, as JSON values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        return None


class RolloutRewards(RewardSink):
    """Rewards into the rollout buffer of an on-policy algorithm, whose advantages are computed again.

    The environment pays nothing while a rollout is collected, so the buffer holds only what Stable-Baselines3 adds
    itself at a truncation: the discounted value of the last observation. The rewards are added to that.

    Args:
        model: such as PPO, A2C, RecurrentPPO and MaskablePPO.
        env: the environment that it trains on, whose recorder has what happened.
        kl: what each step is charged for the policy's distance from a reference; None charges nothing.

    Raises:
        ValueError: if it has no rollout buffer.
    """

    def __init__(self, model: BaseAlgorithm, env: PreferenceVecEnv, kl: KLPenalty | None = None) -> None:
        buffer = getattr(model, "rollout_buffer", None)
        if not isinstance(buffer, RolloutBuffer | DictRolloutBuffer):
            raise ValueError(f"{type(model).__name__} has no rollout buffer to score.")
        self._model: Any = model
        self._buffer, self._env, self.kl = buffer, env, kl

    @property
    def rollout_steps(self) -> int:
        """Steps of every copy in a rollout."""
        return self._buffer.buffer_size

    def pay(self, score: Score, changed: bool) -> NDArray[np.float32]:
        """Add the rewards of the rollout, less what the KL penalty charges; compute returns and advantages again.

        Returns:
            The rewards (steps, copies), before that charge.
        """
        transitions = self._env.latest_transitions(self.rollout_steps)
        rewards = score(transitions).reshape(self.rollout_steps, -1).astype(np.float32)
        self._buffer.rewards += rewards
        if self.kl is not None:
            self._buffer.rewards -= self.kl.charge(self._buffer)
        self._buffer.compute_returns_and_advantage(self._last_values(), self._model._last_episode_starts)
        return rewards

    def _last_values(self) -> torch.Tensor:
        """The value of the observations that the rollout has ended with, (N,).

        The collecting method has them as a local variable, but the algorithms of sb3-contrib do not show it.
        """
        model = self._model
        shown = obs_as_tensor(model._last_obs, model.device)
        memory = getattr(model, "_last_lstm_states", None)
        with torch.no_grad():
            if memory is None:
                values: torch.Tensor = model.policy.predict_values(shown)
            else:
                begun = torch.as_tensor(model._last_episode_starts, dtype=torch.float32, device=model.device)
                values = model.policy.predict_values(shown, memory.vf, begun)
        return values


class ReplayRewards(RewardSink):
    """Rewards into the replay buffer of an off-policy algorithm: all that it holds is paid anew after each fit.

    New transitions are paid at the end of the rollout that has brought them, before the algorithm can draw them. When
    the reward has changed, the whole buffer is paid anew, the newest transitions first; of pictures, which take longer,
    so many at once that it takes seconds, and the others during the following rollouts. As long as there is no reward,
    the algorithm acts at random (`learning_starts` is put off) and learns nothing.

    Args:
        model: such as SAC, TD3, DQN and TQC.
        env: the environment that it trains on.

    Raises:
        ValueError: if it has no replay buffer of Stable-Baselines3, one that takes its rewards elsewhere, or one that
            holds observations that the reward model cannot know.
    """

    def __init__(self, model: OffPolicyAlgorithm, env: PreferenceVecEnv) -> None:
        name, buffer = type(model).__name__, model.replay_buffer
        if isinstance(buffer, HerReplayBuffer):
            raise ValueError(
                f"{name} learns from a HerReplayBuffer, which asks the environment for its rewards, so that learned "
                "ones cannot reach it; use the usual buffer."
            )
        if not isinstance(buffer, ReplayBuffer) or buffer.optimize_memory_usage:
            raise ValueError(
                f"{name} needs Stable-Baselines3's own replay buffer, with optimize_memory_usage=False, to be paid by "
                "a learned reward."
            )
        self._model, self._buffer, self._env = model, buffer, env
        self._observed = _what_the_environment_showed(model.get_env(), env, name)
        self._learning_starts = model.learning_starts
        images = any(len(part.shape or ()) > 1 for part in space_parts(env.observation_space).values())
        self._at_once = max(1, (_IMAGES_AT_ONCE if images else _ROWS_AT_ONCE) // env.num_envs)
        self._chunk = max(1, _CHUNK // env.num_envs)
        self._collected = model.num_timesteps
        self._outdated = 0

    @property
    def rollout_steps(self) -> int:
        """Steps of every copy between two gradient steps; at least, where rollouts are counted in episodes."""
        frequency: Any = self._model.train_freq
        return int(frequency.frequency) if frequency.unit.value == "step" else 1

    @property
    def first_steps(self) -> int:
        """The steps that the algorithm takes at random, and enough of them to choose from."""
        total = self._model._total_timesteps
        enough = min(_FIRST_EPISODES * self._env.horizon, total // _FIRST_SHARE)
        return min(max(self._learning_starts, enough), 2 * total // _FIRST_SHARE)

    @property
    def remembered_steps(self) -> int:
        """So many as give a choice of segments and do not take much memory."""
        wanted = min(_REMEMBERED_OFF_POLICY // self._env.num_envs, _REMEMBERED_BYTES // self._env.recorder.step_bytes)
        return max(self.rollout_steps, wanted)

    def begin(self) -> None:
        """Pay what is collected from here on."""
        self._collected = self._model.num_timesteps

    def hold(self) -> None:
        """Put learning off; until then actions are random, so that there is something different to ask about."""
        self._model.learning_starts = _NEVER

    def release(self) -> None:
        """Let it learn from its next rollout on."""
        self._model.learning_starts = self._learning_starts

    def pay(self, score: Score, changed: bool) -> NDArray[np.float32]:
        """Pay the transitions of the rollout; where the reward has changed, pay the whole buffer anew."""
        buffer, collected = self._buffer, self._model.num_timesteps
        size = buffer.buffer_size if buffer.full else buffer.pos
        new = min((collected - self._collected) // self._env.num_envs, size)
        self._collected = collected
        self._pay(score, 0, new)
        if changed:
            self._outdated = size - new
            now = self._at_once
        else:
            # Those that the new ones have overwritten were the oldest.
            self._outdated = min(self._outdated, size - new)
            now = _CATCHING_UP * new
        if now := min(now, self._outdated):
            age = size - self._outdated
            self._pay(score, age, age + now)
            self._outdated -= now
        return buffer.rewards[self._rows(0, new)][::-1]

    def state(self) -> dict[str, Any]:
        """How many of the oldest transitions of every copy still have to be paid anew."""
        return {"outdated": self._outdated}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
        self._outdated = int(state["outdated"])

    def _pay(self, score: Score, youngest: int, oldest: int) -> None:
        """Pay the steps of these ages, counted backwards from the newest, which is 0."""
        space, buffer = self._env.action_space, self._buffer
        for start in range(youngest, oldest, self._chunk):
            rows = self._rows(start, min(start + self._chunk, oldest))
            observations, following = (
                self._observed(merge_leading_axes(map_observations(lambda array, rows=rows: array[rows], held)))
                for held in (buffer.observations, buffer.next_observations)
            )
            shape: Any = space.shape
            actions = buffer.actions[rows].reshape(-1, *shape)
            if isinstance(space, spaces.Box):
                actions = self._model.policy.unscale_action(actions)
            ended = buffer.dones[rows].reshape(-1) != 0
            terminated = ended & (buffer.timeouts[rows].reshape(-1) == 0)
            rewards = score(Transitions(observations, actions.astype(space.dtype), following, ended, terminated))
            buffer.rewards[rows] = rewards.reshape(len(rows), -1)

    def _rows(self, youngest: int, oldest: int) -> NDArray[np.intp]:
        return (self._buffer.pos - 1 - np.arange(youngest, oldest)) % self._buffer.buffer_size


def reward_sink(model: BaseAlgorithm, env: PreferenceVecEnv, kl: KLPenalty | None = None) -> RewardSink:
    """How rewards reach an algorithm, by the kind of buffer that it learns from.

    Args:
        model: such as PPO or SAC.
        env: the environment that it trains on.
        kl: see `RolloutRewards`.

    Raises:
        ValueError: if there is no buffer of a known kind.
    """
    if isinstance(model, OffPolicyAlgorithm):
        return ReplayRewards(model, env)
    return RolloutRewards(model, env, kl)


def _what_the_environment_showed(
    outer: VecEnv | None, env: PreferenceVecEnv, name: str
) -> Callable[[Observations], Observations]:
    """From observations as a replay buffer holds them (B, ...) to those of the environment, (B, *obs)."""
    undone: list[Callable[[Observations], Observations]] = []
    while outer is not env and isinstance(outer, VecEnvWrapper):
        if isinstance(outer, VecTransposeImage):
            undone.append(partial(_transposed, outer))
        elif isinstance(outer, VecFrameStack):
            undone.append(partial(_last_frames, outer))
        elif not isinstance(outer, _TRANSPARENT):
            raise ValueError(
                f"{name} remembers what {type(outer).__name__} shows it, from which the reward model cannot tell what "
                "the environment showed; put a Gymnasium wrapper into the EnvironmentRef in its place."
            )
        outer = outer.venv

    def shaped(part: NDArray[Any], space: Space[Any]) -> NDArray[Any]:
        return part.reshape(len(part), *(space.shape or ()))

    def observed(observations: Observations) -> Observations:
        for undo in undone:
            observations = undo(observations)
        space: Any = env.observation_space
        found: Observations = map_observations(
            shaped, observations, space.spaces if isinstance(space, spaces.Dict) else space
        )
        return found

    return observed


def _transposed(wrapper: VecTransposeImage, observations: Observations) -> Observations:
    """Pictures with their channels last again."""
    if wrapper.skip:
        return observations
    if isinstance(observations, dict):
        keys = wrapper.image_space_keys
        return {key: np.moveaxis(part, 1, -1) if key in keys else part for key, part in observations.items()}
    return np.moveaxis(observations, 1, -1)


def _last_frames(wrapper: VecFrameStack, observations: Observations) -> Observations:
    """The last one of frames that are stacked."""
    channels_first: Any = wrapper.stacked_obs.channels_first

    def last(part: NDArray[Any], space: Space[Any], first: bool) -> NDArray[Any]:
        shape: Any = space.shape
        axis, channels = (1, shape[0]) if first else (-1, shape[-1])
        return np.take(part, np.arange(part.shape[axis] - channels, part.shape[axis]), axis=axis)

    inner: Any = wrapper.venv.observation_space
    if isinstance(observations, dict):
        return {key: last(part, inner[key], channels_first[key]) for key, part in observations.items()}
    return last(observations, inner, channels_first)


class ScoringCallback(BaseCallback):
    """Decides on the rewards of a training, and tells how it goes; a subclass says what the rewards are.

    Rollouts of some algorithms are as short as a step, so more is done at the end of a *round* only: a rollout, or as
    many of them as make `visit_every` steps.

    Args:
        env: the environment that the algorithm trains on.
        visit_every: environment steps, over all copies, in a round at least; a hundredth of the training, but no more
            than `MOST_STEPS_IN_ROUND`, where None.

    Attributes:
        kl: what each step is charged for the policy's distance from a reference, for algorithms with a rollout buffer;
            None, as it is at first, charges nothing. It is set before training starts.
        round_ended: whether a round ended with the last rollout.
        scoring_seconds, rollout_seconds: time spent in scoring and in collecting rollouts so far.
        last_scores: the rewards of the last round, (steps, copies).
    """

    def __init__(self, env: PreferenceVecEnv, visit_every: int | None = None) -> None:
        super().__init__()
        self.env, self.visit_every = env, visit_every
        self.kl: KLPenalty | None = None
        self.rewards: RewardSink | None = None
        self.round_ended = False
        self.scoring_seconds = 0.0
        self.rollout_seconds = 0.0
        self.last_scores: NDArray[np.float32] = np.zeros((0, env.num_envs), dtype=np.float32)
        self._round_began = 0
        self._rollout_started = time.perf_counter()

    @abstractmethod
    def score(self, transitions: Transitions) -> NDArray[np.float32]:
        """The rewards (B,) of B transitions."""

    def before_scoring(self) -> bool:
        """Called when a round is complete, before it is scored; whether `score` gives other rewards from now on."""
        return False

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what a resumed run needs into a checkpoint's folder, and return JSON values for `restore`."""
        state = {"round_began": self._round_began, "rewards": {} if self.rewards is None else self.rewards.state()}
        return state if self.kl is None else {**state, "kl": self.kl.save(folder)}

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Take back what `save` wrote and returned.

        Raises:
            ValueError, KeyError: if it is damaged.
        """
        if type(state["round_began"]) is not int:
            raise ValueError(f"state.json: round_began must be a whole number, not {state['round_began']!r}")
        self._round_began = state["round_began"]
        if self.rewards is not None:
            self.rewards.restore(state["rewards"])
        if self.kl is not None:
            self.kl.restore(folder, state["kl"])

    def find_rewards(self) -> RewardSink | None:
        """How the rewards reach the algorithm, by its buffer; None where they need no help.

        Raises:
            ValueError: if there is no buffer of a known kind.
        """
        return reward_sink(self.model, self.env, self.kl)

    def connect(self, rewards: RewardSink) -> None:
        """Say how the rewards reach the algorithm, before training starts; otherwise that is found out then."""
        self.rewards = rewards
        self.env.remember(rewards.remembered_steps)

    def save_result(self, path: Path) -> None:
        """Write the reward model, if one was learned.

        Raises:
            NothingAskedError: if one should have been learned, but nothing was asked.
        """

    def close(self) -> None:
        """Close what the callback has opened."""

    @property
    def mean_return(self) -> float:
        """What the rewards of the last round sum up to in an episode of average length."""
        return float(self.last_scores.mean()) * self.env.mean_episode_length

    def steps_in_round(self) -> int:
        """Environment steps, over all copies, in a round at least."""
        if self.visit_every is not None:
            return self.visit_every
        return min(self.model._total_timesteps // _FEWEST_ROUNDS, MOST_STEPS_IN_ROUND)

    def pay(self, changed: bool) -> NDArray[np.float32]:
        """Give the algorithm the rewards of the rollout that has ended, and return them, (steps, copies).

        Args:
            changed: whether `score` gives other rewards than before.
        """
        assert self.rewards is not None
        return self.rewards.pay(self.score, changed)

    def recent_scores(self, steps: int) -> NDArray[np.float32]:
        """The rewards of the last steps that are remembered, (steps, copies)."""
        return self.score(self.env.latest_transitions(steps)).reshape(-1, self.env.num_envs).astype(np.float32)

    def _on_training_start(self) -> None:
        if not _wraps(self.training_env, self.env):
            raise ValueError(
                f"{type(self.model).__name__} trains on another environment than the one that its callback scores; "
                "give both the same one, from make_vec_env."
            )
        if self.rewards is None and (found := self.find_rewards()) is not None:
            self.connect(found)
        if self.rewards is not None:
            self.rewards.begin()
        self._round_began = min(self._round_began, self.num_timesteps)
        self.env.remember(-(-self.steps_in_round() // self.env.num_envs))

    def _on_rollout_start(self) -> None:
        self._rollout_started = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.rollout_seconds += time.perf_counter() - self._rollout_started
        in_round = self.num_timesteps - self._round_began
        self.round_ended = in_round >= self.steps_in_round()
        changed = self.before_scoring() if self.round_ended else False
        started = time.perf_counter()
        scores = self.pay(changed)
        if self.kl is not None:
            self.logger.record("kl/mean", self.kl.mean)
            self.logger.record("kl/coefficient", self.kl.coefficient)
        if self.round_ended:
            steps = min(in_round // self.env.num_envs, len(self.env.recorder))
            self.last_scores = scores if len(scores) >= steps else self.recent_scores(steps)
            self._round_began = self.num_timesteps
            self.logger.record("rollout/score_mean", float(self.last_scores.mean()))
            if self.env.true_returns:
                self.logger.record("rollout/true_return_mean", float(np.mean(self.env.true_returns)))
        self.scoring_seconds += time.perf_counter() - started


def _wraps(outer: VecEnv, inner: VecEnv) -> bool:
    while outer is not inner and isinstance(outer, VecEnvWrapper):
        outer = outer.venv
    return outer is inner


class RewardModelCallback(ScoringCallback):
    """Trains on a reward model that is finished: nothing is asked, and no store is needed.

    Args:
        env: the environment that the algorithm trains on, from `make_vec_env`.
        ensemble: the reward model, such as `rlhf_envs.rewards.load` gives it.
        visit_every: see `ScoringCallback`.

    Raises:
        ValueError: if the model has learned nothing, or was made for another environment.
    """

    def __init__(self, env: PreferenceVecEnv, ensemble: RewardEnsemble, visit_every: int | None = None) -> None:
        super().__init__(env, visit_every)
        if not ensemble.fits:
            raise ValueError("This reward model has learned nothing yet; fit it first, or load one that was.")
        ensemble.check_fits(env.observation_space, env.action_space, env.terminates)
        self.ensemble = ensemble

    def score(self, transitions: Transitions) -> NDArray[np.float32]:
        """The learned reward."""
        return self.ensemble.transition_reward(transitions)


class EnvironmentRewardCallback(ScoringCallback):
    """Tells how a training on the environment's own rewards goes: the baseline, plain Stable-Baselines3.

    Args:
        env: made with `hide_reward=False`, so that it pays what the environment pays: its true reward, or with
            `objective="proxy"` the proxy.
        visit_every: see `ScoringCallback`.

    Raises:
        ValueError: if the environment hides its rewards.
    """

    def __init__(self, env: PreferenceVecEnv, visit_every: int | None = None) -> None:
        super().__init__(env, visit_every)
        if env.hides_reward:
            raise ValueError("A baseline learns from what the environment pays; make it with hide_reward=False.")

    def find_rewards(self) -> RewardSink | None:
        """None, as the environment pays, unless there is something to charge."""
        return None if self.kl is None else super().find_rewards()

    def score(self, transitions: Transitions) -> NDArray[np.float32]:
        """Nothing besides what the environment has paid."""
        return np.zeros(len(transitions.actions), dtype=np.float32)

    def pay(self, changed: bool) -> NDArray[np.float32]:
        """Nothing, as the environment has paid; only the KL penalty is charged."""
        if self.rewards is not None:
            super().pay(changed)
        return self.last_scores[:0]

    def recent_scores(self, steps: int) -> NDArray[np.float32]:
        """What the environment has paid in the last steps, (steps, copies)."""
        return self.env.recorder.latest(steps)[2].reshape(-1, self.env.num_envs)
