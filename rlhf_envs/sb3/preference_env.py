"""The VecEnv that a policy trains on when people's preferences are the reward: truth hidden, segments recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rlhf_envs.clips import FrameCapture
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.recording import SegmentRecorder, SnapshotSource
from rlhf_envs.sb3.bridge import VectorEnvBridge

_REMEMBERED_EPISODES = 100


class PreferenceVecEnv(VecEnvWrapper):
    """Hides the true reward from the algorithm, and records what segments and scores are made from.

    The reward it pays is 0: the `PreferenceCallback` scores each whole rollout at once when it is complete, with the
    newest reward model, which is many times faster than scoring every step and never trains on an outdated reward.

    Args:
        venv: the environment.
        capacity_steps: how many steps of every copy are remembered.
        snapshots: where simulator states come from, so that segments can be drawn later.
        horizon: steps in an episode; asked of the environment, which then needs an attribute of that name, where None.
        frames: take pictures during rollouts, for segments that people shall see and that have no states.
        ref: which environment it is, for stores; None where that has no name.

    Attributes:
        horizon: steps in an episode.
        recorder: the recent rollouts, with what the environment paid: the true reward, by which scripted teachers
            judge, unless it was made with another objective.
        true_returns: of the last episodes that ended, for telling how training goes.
    """

    def __init__(
        self,
        venv: VecEnv,
        capacity_steps: int = 512,
        snapshots: SnapshotSource | None = None,
        horizon: int | None = None,
        frames: bool = False,
        ref: EnvironmentRef | None = None,
    ) -> None:
        super().__init__(venv)
        self.ref = ref
        self.horizon = int(venv.get_attr("horizon", 0)[0]) if horizon is None else horizon
        self.snapshots = snapshots
        self.frames = frames
        self.capacity_steps = capacity_steps
        self.recorder = self._new_recorder()
        self.true_returns: deque[float] = deque(maxlen=_REMEMBERED_EPISODES)
        self._running_returns = np.zeros(self.num_envs, dtype=np.float64)
        # Staggered first episodes are cut short; their returns would say nothing about the policy.
        self._whole = np.ones(self.num_envs, dtype=np.bool_)
        self._observations: Any = None
        self._actions: NDArray[Any] = np.empty(0)

    def remember(self, steps: int) -> None:
        """Make sure that at least this many steps of every copy are remembered; forgets what is there if not."""
        if steps > self.capacity_steps:
            self.capacity_steps = steps
            self.recorder = self._new_recorder()

    def reset(self) -> VecEnvObs:
        """Reset every copy; what was recorded is forgotten."""
        self._observations = self.venv.reset()
        self._running_returns[:] = 0.0
        self._whole[:] = not (isinstance(self.venv, VectorEnvBridge) and self.venv.stagger)
        self.recorder.forget()
        return self._observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember where the copies stand, and step them."""
        self.recorder.capture()
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step; `info["true_reward"]` has the true reward."""
        observations, paid, dones, infos = self.venv.step_wait()
        self.recorder.record(self._observations, self._actions, paid, dones)
        true_rewards = self.venv.true_rewards if isinstance(self.venv, VectorEnvBridge) else paid
        rewards = np.zeros(self.num_envs, dtype=np.float32)
        self._running_returns += true_rewards
        for row in np.flatnonzero(dones):
            if self._whole[row]:
                self.true_returns.append(float(self._running_returns[row]))
            self._whole[row] = True
            self._running_returns[row] = 0.0
        infos = [{**info, "true_reward": reward} for info, reward in zip(infos, true_rewards.tolist(), strict=True)]
        self._observations = observations
        return observations, rewards, dones, infos

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a checkpoint needs of the recording; `restore` takes it back."""
        returns = np.array(self.true_returns, dtype=np.float64)
        own = {"running_returns": self._running_returns, "true_returns": returns, "whole": self._whole}
        return {**{f"recorder/{name}": array for name, array in self.recorder.arrays().items()}, **own}

    def restore(self, arrays: dict[str, NDArray[Any]], observations: Any) -> None:
        """Take back what `arrays` gave.

        Args:
            arrays: as `arrays` gave them.
            observations: what the environment showed last, (N, *obs).
        """
        self._running_returns[:] = arrays["running_returns"]
        self._whole[:] = arrays["whole"]
        self.true_returns.extend(arrays["true_returns"].tolist())
        prefix = "recorder/"
        self.recorder.restore({n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)})
        self._observations = observations

    @property
    def can_restore(self) -> bool:
        """Whether `snapshot` and `restore_snapshot` work, as they do for the suite's environments."""
        return isinstance(self.venv, VectorEnvBridge) and self.venv.can_restore

    def snapshot(self) -> NDArray[np.uint8] | None:
        """The environment's whole state, (N, bytes), where it can be put back later; otherwise None."""
        return self.venv.snapshot() if isinstance(self.venv, VectorEnvBridge) else None

    def restore_snapshot(self, snapshots: NDArray[np.uint8]) -> Any:
        """Put back what `snapshot` gave, and see what the environment shows, (N, *obs).

        Raises:
            ValueError: if this environment's state cannot be put back.
        """
        if not isinstance(self.venv, VectorEnvBridge):
            raise ValueError("The state of this environment cannot be put back.")
        return self.venv.restore_snapshot(snapshots)

    def _new_recorder(self) -> SegmentRecorder:
        filmed = FrameCapture(self._render, self.num_envs, self.capacity_steps) if self.frames else None
        return SegmentRecorder(
            self.observation_space, self.action_space, self.num_envs, self.capacity_steps, self.snapshots, filmed
        )

    def _render(self, copies: Sequence[int]) -> list[Any]:
        return self.venv.env_method("render", indices=copies)
