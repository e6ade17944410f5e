"""The VecEnv that a policy trains on when preferences are the reward: true reward hidden, segments recorded."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.sb3.bridge import VectorEnvBridge
from rlhf_envs.wrappers import HideReward, RecordSegments

_REMEMBERED_EPISODES = 100


class PreferenceVecEnv(VectorEnvBridge):
    """Hides the true reward from the algorithm, and records what segments and scores are made from.

    The reward it pays is 0: the `PreferenceCallback` scores each whole rollout at once when it is complete, with the
    newest reward model, which is many times faster than scoring every step and never trains on an outdated reward.
    `make_vec_env` makes one.

    Args:
        env: a vector environment whose segments are recorded.
        horizon: steps in an episode.
        ref: which environment it is, for stores; None where that has no name.
        stagger: see `VectorEnvBridge`.

    Attributes:
        horizon: steps in an episode.
        true_returns: of the last episodes that ended, for telling how training goes.
    """

    def __init__(
        self,
        env: RecordSegments,
        horizon: int,
        ref: EnvironmentRef | None = None,
        stagger: bool = False,
    ) -> None:
        super().__init__(HideReward(env), stagger)
        self.horizon, self.ref = horizon, ref
        self._recording = env
        self.true_returns: deque[float] = deque(maxlen=_REMEMBERED_EPISODES)
        self._running_returns = np.zeros(self.num_envs, dtype=np.float64)
        # Staggered first episodes are cut short; their returns would say nothing about the policy.
        self._whole = np.ones(self.num_envs, dtype=np.bool_)

    @property
    def recorder(self) -> SegmentRecorder:
        """The recent rollouts, with what the environment paid: the true reward, by which scripted teachers judge,
        unless it was made with another objective."""
        return self._recording.recorder

    def remember(self, steps: int) -> None:
        """Make sure that at least this many steps of every copy are remembered; forgets what is there if not."""
        self._recording.remember(steps)

    def reset(self) -> VecEnvObs:
        """Reset every copy."""
        self._running_returns[:] = 0.0
        self._whole[:] = not self.stagger
        return super().reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step every copy; `info["true_reward"]` has the true reward."""
        observations, rewards, dones, infos = super().step_wait()
        self._running_returns += self.true_rewards
        for row in np.flatnonzero(dones):
            if self._whole[row]:
                self.true_returns.append(float(self._running_returns[row]))
            self._whole[row] = True
            self._running_returns[row] = 0.0
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
        self._recording.observations = observations
