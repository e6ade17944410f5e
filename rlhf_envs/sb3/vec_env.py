"""Vector environments for Stable-Baselines3: any of Gymnasium's, and the one that a policy learns preferences in."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from rlhf_envs.clips import FrameCapture, snapshot_source
from rlhf_envs.copies import CopiesInProcesses, SeparateCopies, usable_cores
from rlhf_envs.environment import EnvironmentRef, WrapperRef
from rlhf_envs.envs.views import TaskVectorEnv
from rlhf_envs.observations import Observations, Transitions, named_arrays
from rlhf_envs.recording import SegmentRecorder, SnapshotSource
from rlhf_envs.sb3 import simulator_states
from rlhf_envs.wrappers import HideReward, LearnedReward, RecordSegments, true_rewards
from rlhf_envs.wrappers.rewards import COPY_INFOS, require_same_step
from rlhf_envs.wrappers.spaces import adaptation_of

_REMEMBERED_EPISODES = 100

_TIMED_STEPS, _TIMED_SECONDS = 50, 0.5
"""How long the step of one copy is timed: for so many steps, or at most so long."""

_MESSAGE_SECONDS = 1e-4
"""About what it takes to tell a process its action and to hear from it; see docs/benchmarks.md."""

_CLEARLY = 2.0

_logger = logging.getLogger(__name__)


class VectorEnvBridge(VecEnv):
    """Steps a gymnasium vector environment for Stable-Baselines3, without a process or thread per copy.

    Args:
        env: a vector environment that resets itself in SAME_STEP mode.
        stagger: whether the first episodes are cut to different lengths (for environments of this suite), so that a
            batch of rollouts holds every phase of an episode.

    Attributes:
        true_rewards: the true reward of the last step, (N,), whatever objective the environment pays.

    Raises:
        ValueError: for another autoreset mode. NEXT_STEP inserts a step without an action into every episode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], stagger: bool = False) -> None:
        require_same_step(env)
        self.env = env
        self.stagger = stagger
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: NDArray[Any] = np.empty(0)
        self.true_rewards: NDArray[Any] = np.zeros(env.num_envs)
        self._nothing: dict[str, Any] = {}

    def reset(self) -> VecEnvObs:
        """Reset every copy, with the seeds of `seed` if it was called."""
        seeds = list(self._seeds) if any(seed is not None for seed in self._seeds) else None
        options = {"stagger": True} if self.stagger else None
        observations, _ = self.env.reset(seed=seeds, options=options)  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step every copy.

        Where they run as one batch, the infos of rows whose episode goes on are empty but for "true_reward", which they
        have where the environment pays another one.
        """
        observations, rewards, terminated, truncated, info = self.env.step(self._actions)
        hidden = isinstance(self.env, HideReward | LearnedReward)
        self.true_rewards = info["true_reward"] if hidden else true_rewards(rewards, info)
        dones = terminated | truncated
        infos: list[dict[str, Any]] = info.get(COPY_INFOS) or [self._nothing] * self.num_envs
        for row in np.flatnonzero(dones):
            infos[row] = {
                **infos[row],
                "terminal_observation": info["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
            }
        if hidden:
            truth = self.true_rewards.tolist()
            infos = [{**own, "true_reward": reward} for own, reward in zip(infos, truth, strict=True)]
        return observations, rewards.astype(np.float32), dones, infos

    @property
    def can_restore(self) -> bool:
        """Whether the state of the environment can be saved and restored: of the suite's, and of classic control."""
        env = self.env.unwrapped
        known = isinstance(env, SeparateCopies) and all(simulator_states.is_known(copy) for copy in env.envs)
        return known or isinstance(env, TaskVectorEnv)

    def snapshot(self) -> NDArray[np.uint8] | None:
        """The whole state of every copy, (N, bytes), where it can be restored; otherwise None."""
        env = self.env.unwrapped
        if isinstance(env, SeparateCopies) and self.can_restore:
            return simulator_states.read(env.envs)
        return env.snapshot() if isinstance(env, TaskVectorEnv) else None

    def restore_snapshot(self, snapshots: NDArray[np.uint8]) -> None:
        """Restore what `snapshot` returned.

        Raises:
            ValueError, KeyError: if the state of this environment cannot be restored, or the snapshot is another's.
        """
        env = self.env.unwrapped
        if isinstance(env, TaskVectorEnv):
            env.restore(snapshots)
        elif isinstance(env, SeparateCopies) and self.can_restore:
            simulator_states.write(env.envs, snapshots)
        else:
            raise ValueError(f"The state of {env} cannot be restored.")

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One frame per copy."""
        frames = self.env.render()
        return list(frames) if isinstance(frames, tuple | list) else [frames]  # type: ignore[arg-type]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of each of these copies; where they run as one batch, that of the batch for each."""
        env, rows = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(env, SeparateCopies | CopiesInProcesses):
            return env.call_copies(rows, attr_name)
        value = getattr(env, attr_name)
        return [value for _ in rows]

    def has_attr(self, attr_name: str) -> bool:
        """Whether every copy has an attribute or method of this name."""
        env = self.env.unwrapped
        if isinstance(env, SeparateCopies):
            return all(copy.has_wrapper_attr(attr_name) for copy in env.envs)
        return hasattr(env, attr_name) if not isinstance(env, CopiesInProcesses) else super().has_attr(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each of these copies; where they run as one batch, they share it."""
        env = self.env.unwrapped
        if isinstance(env, SeparateCopies | CopiesInProcesses):
            env.call_copies(list(self._get_indices(indices)), "set_wrapper_attr", attr_name, value)
        else:
            setattr(env, attr_name, value)

    def env_method(
        self, method_name: str, *arguments: Any, indices: VecEnvIndices = None, **keywords: Any
    ) -> list[Any]:
        """Call a method of each of these copies; where they run as one batch, once, and give each its row."""
        env, rows = self.env.unwrapped, list(self._get_indices(indices))
        if isinstance(env, SeparateCopies | CopiesInProcesses):
            return env.call_copies(rows, method_name, *arguments, **keywords)
        result = getattr(env, method_name)(*arguments, **keywords)
        return [result[row] if result is not None else None for row in rows]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No copy has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]


class PreferenceVecEnv(VectorEnvBridge):
    """Hides the true reward from the algorithm, and records what segments and scores are made from.

    The reward it pays is 0: the `PreferenceCallback` scores whole rollouts and buffers with the newest reward model,
    which is many times faster than scoring every step and never trains on an outdated reward. `make_vec_env` makes one.

    Args:
        env: a vector environment whose segments are recorded.
        horizon: steps in an episode.
        ref: which environment it is, for stores; None where that has no name.
        stagger: see `VectorEnvBridge`.
        notes: sentences on what is otherwise than in the environment itself, for people.
        hide_reward: False pays what the environment pays.

    Attributes:
        horizon: steps in an episode.
        ref, notes: as given.
        hides_reward: whether it pays 0.
        true_returns, episode_lengths: of the last episodes that ended, for telling how training goes.
    """

    def __init__(
        self,
        env: RecordSegments,
        horizon: int,
        ref: EnvironmentRef | None = None,
        stagger: bool = False,
        notes: Sequence[str] = (),
        hide_reward: bool = True,
    ) -> None:
        super().__init__(HideReward(env) if hide_reward else env, stagger)
        self.hides_reward = hide_reward
        self.horizon, self.ref, self.notes = horizon, ref, tuple(notes)
        self._recording = env
        self.true_returns: deque[float] = deque(maxlen=_REMEMBERED_EPISODES)
        self.episode_lengths: deque[int] = deque(maxlen=_REMEMBERED_EPISODES)
        self._running_returns = np.zeros(self.num_envs, dtype=np.float64)
        self._running_lengths = np.zeros(self.num_envs, dtype=np.int64)
        # Staggered first episodes are cut short; their returns would say nothing about the policy.
        self._whole = np.ones(self.num_envs, dtype=np.bool_)

    @property
    def terminates(self) -> bool:
        """Whether episodes may end before the horizon, as far as is known."""
        return self.ref is None or self.ref.terminates

    @property
    def takes_pictures(self) -> bool:
        """Whether pictures are recorded, as no simulator states can be."""
        return self._recording.takes_pictures

    @property
    def mean_episode_length(self) -> float:
        """Of the last episodes that ended; the horizon before there was one."""
        return float(np.mean(self.episode_lengths)) if self.episode_lengths else float(self.horizon)

    @property
    def recorder(self) -> SegmentRecorder:
        """The recent rollouts, with what the environment paid: the true reward, by which scripted teachers judge,
        unless it was made with another objective."""
        return self._recording.recorder

    def latest_transitions(self, steps: int) -> Transitions:
        """What happened in the last steps of all copies, oldest step first, (steps * N).

        Raises:
            ValueError: if fewer steps are remembered.
        """
        return self.recorder.latest_transitions(steps, self._recording.observations)

    def remember(self, steps: int) -> None:
        """Make sure that at least this many steps of every copy are remembered; forgets what is there if not."""
        self._recording.remember(steps)

    def reset(self) -> VecEnvObs:
        """Reset every copy."""
        self._running_returns[:] = 0.0
        self._running_lengths[:] = 0
        self._whole[:] = not self.stagger
        return super().reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step every copy; `info["true_reward"]` has the true reward."""
        observations, rewards, dones, infos = super().step_wait()
        self._running_returns += self.true_rewards
        self._running_lengths += 1
        for row in np.flatnonzero(dones):
            if self._whole[row]:
                self.true_returns.append(float(self._running_returns[row]))
                self.episode_lengths.append(int(self._running_lengths[row]))
            self._whole[row] = True
            self._running_returns[row] = 0.0
            self._running_lengths[row] = 0
        return observations, rewards, dones, infos

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint needs of the recording; `restore` takes it back."""
        own = {
            "running_returns": self._running_returns,
            "running_lengths": self._running_lengths,
            "true_returns": np.array(self.true_returns, dtype=np.float64),
            "episode_lengths": np.array(self.episode_lengths, dtype=np.int64),
            "whole": self._whole,
        }
        recorded = {f"recorder/{name}": array for name, array in self.recorder.arrays().items()}
        return {
            **recorded,
            **{f"shown/{key}": shown for key, shown in named_arrays(self._recording.observations)},
            **own,
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> Observations:
        """Take back what `arrays` gave, and return what the environment showed last, (N, *obs)."""
        self._running_returns[:] = arrays["running_returns"]
        self._running_lengths[:] = arrays["running_lengths"]
        self._whole[:] = arrays["whole"]
        self.true_returns.extend(arrays["true_returns"].tolist())
        self.episode_lengths.extend(arrays["episode_lengths"].tolist())
        prefix = "recorder/"
        self.remember(len(arrays[f"{prefix}actions"]))
        self.recorder.restore({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})
        parts = {name.removeprefix("shown/"): part for name, part in arrays.items() if name.startswith("shown/")}
        self._recording.observations = parts if isinstance(self.observation_space, gym.spaces.Dict) else parts[""]
        shown: Observations = self._recording.observations
        return shown


def make_vec_env(
    environment: EnvironmentRef | str,
    num_envs: int,
    seed: int = 0,
    *,
    processes: bool | None = False,
    snapshots: bool = True,
    frames: bool = False,
    stagger: bool = True,
    capacity_steps: int = 512,
    wrappers: Sequence[str | WrapperRef | Callable[..., Any]] | str = (),
    hide_reward: bool = True,
) -> PreferenceVecEnv:
    """Copies of an environment for Stable-Baselines3, true reward hidden, segments recorded.

    The suite's environments run as one batch. Third-party ones run one after another, or with `processes` in as many
    processes; their episodes may end early, see `EnvironmentRef`.

    Args:
        environment: any registered id, or a reference with arguments.
        num_envs: how many copies.
        seed: copy i starts from seed + i.
        processes: run third-party copies in processes of their own. None does so where it wins and nothing is lost by
            it: where steps, which are timed on one copy, are slow, there are several cores, and simulator states can
            be recorded in no case. Programs that use processes run their work under `if __name__ == "__main__":`.
        snapshots: record simulator states, where they can be had, so that segments can be drawn later.
        frames: take pictures during rollouts where no states can be had, which people need to see segments of such
            environments. It costs the time of rendering some of the copies at every step.
        stagger: spread the first episodes of the suite's environments over the horizon.
        capacity_steps: how many steps of every copy are remembered.
        wrappers: put around each copy, outside those of the reference: as "module:Class" or
            'module:Class={"argument": 1}', or classes that can be imported.
        hide_reward: False pays what the environment pays, for a baseline.

    Raises:
        ValueError: for an unknown id, no copies, arguments that the environment does not take, a horizon that is not
            known or that the environment sets itself, or spaces that cannot be learned from.
    """
    ref = EnvironmentRef.of(environment)
    ref = replace(ref, wrappers=(*ref.wrappers, *WrapperRef.all_of(wrappers)))
    notes: tuple[str, ...] = ()
    if ref.is_native and not ref.wrappers:
        frames, processes = False, False
    else:
        if not ref.is_native:
            _logger.info("%s: %s", ref.id, ref.about_episodes())
        drawable, notes, step_seconds = _try_one_copy(ref, timed=processes is None)
        if processes is None:
            processes = not drawable and processes_pay(num_envs, step_seconds)
            if processes:
                taken = (
                    f"a step takes {1000 * step_seconds:.1f} ms, so the {num_envs} copies run in processes of their own"
                )
                notes += (f"{taken}; --processes False keeps them in this one.",)
        for note in notes:
            _logger.info("%s: %s", ref.id, note)
        # Only pictures need a render mode; where states can be had, they are cheaper.
        frames = frames and not (drawable and snapshots and not processes)
    env = ref.make_vector(num_envs, processes=processes, render_mode="rgb_array" if frames else None)
    try:
        separate = isinstance(env, SeparateCopies)
        if separate or frames:
            env.reset(seed=seed)
        source: SnapshotSource | None = snapshot_source(env) if snapshots else None
        unwrapped: Any = env.unwrapped
        pictures = partial(FrameCapture, partial(_render, unwrapped), num_envs) if frames and source is None else None
        recording = RecordSegments(env, capacity_steps, source, pictures)
        venv = PreferenceVecEnv(recording, unwrapped.horizon, ref, stagger and not separate, notes, hide_reward)
        venv.seed(seed)
        return venv
    except ValueError:
        env.close()
        raise


def _render(copies: SeparateCopies | CopiesInProcesses, rows: Sequence[int]) -> list[Any]:
    return copies.call_copies(rows, "render")


def processes_pay(copies: int, step_seconds: float, cores: int | None = None) -> bool:
    """Whether copies of an environment step clearly faster in processes of their own than one after another.

    `scripts.benchmark copies` measures what it takes to tell a process its action and to hear from it.

    Args:
        copies: how many.
        step_seconds: of one copy.
        cores: how many there are; by default those that this process may use.
    """
    turns = math.ceil(copies / (usable_cores() if cores is None else cores))
    return (copies - turns) * step_seconds > _CLEARLY * copies * _MESSAGE_SECONDS


def _try_one_copy(ref: EnvironmentRef, timed: bool) -> tuple[bool, tuple[str, ...], float]:
    """Try an environment out, and refuse it where it cannot be learned in.

    Args:
        ref: which.
        timed: whether to find out how long a step takes.

    Returns:
        Whether simulator states can be taken, sentences on adapted spaces, and the seconds of a step, 0 if not timed.
    """
    env = ref.make()
    try:
        env.reset(seed=0)
        adapted, drawable = adaptation_of(env), snapshot_source(env) is not None
        notes = () if adapted is None else adapted.space_notes
        return drawable, notes, _step_seconds(env) if timed and not drawable else 0.0
    finally:
        env.close()


def _step_seconds(env: gym.Env[Any, Any]) -> float:
    """The median time of some steps with random actions; 0 where they fail, for the training to say why."""
    env.action_space.seed(0)
    began = time.perf_counter()
    seconds: list[float] = []
    try:
        while len(seconds) < _TIMED_STEPS and time.perf_counter() - began < _TIMED_SECONDS:
            started = time.perf_counter()
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seconds.append(time.perf_counter() - started)
            if terminated or truncated:
                env.reset()
    except Exception:  # whatever a third-party environment raises, of an action that it does not allow for example
        return 0.0
    return float(np.median(seconds))
