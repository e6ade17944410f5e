"""What paying the learned reward costs, beside collecting the rollouts that it is paid for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from agents.building import build_environment, build_policy
from agents.configuration import RunConfig
from rlhf_envs.observations import Observations
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.sb3 import PreferenceVecEnv, ScoringCallback
from scripts.benchmarks.markdown import markdown_table
from scripts.benchmarks.runs import ENVIRONMENTS, configure

_WARM_UP_ROLLOUTS = 2


@dataclass(frozen=True)
class Inference:
    """Time the scoring of whole rollouts, beside collecting them and beside scoring step by step.

    Attributes:
        env: the environments.
        rollouts: how many are timed of each, after some that are not counted.
    """

    name: ClassVar[str] = "inference"
    env: tuple[str, ...] = ENVIRONMENTS
    rollouts: int = 15

    def __post_init__(self) -> None:
        if self.rollouts < 1:
            raise ValueError(f"rollouts must be at least 1, not {self.rollouts}.")

    def measure(self, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        """The seconds of each rollout.

        Raises:
            ValueError: if there is no such environment; before any work is done.
        """
        torch.set_num_threads(1)
        planned = [configure(environment_id, "true", seed=0) for environment_id in dict.fromkeys(self.env)]
        measured = []
        for config in planned:
            tell(f"{config.env}: {self.rollouts} rollouts")
            measured.append(self._environment(config))
        return {"environments": measured}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row per environment."""
        rows = []
        for each in measured["environments"]:
            collecting, whole, stepwise = (np.array(each["seconds"][name]) for name in _TimedScoring.PARTS)
            rows.append(
                [
                    f"`{each['env']}`",
                    f"{each['num_envs']} × {each['n_steps']}",
                    *(f"{1000 * np.median(part):.1f}" for part in (collecting, whole, stepwise)),
                    f"{np.median(whole / collecting):.1%}",
                    f"{np.median(stepwise / collecting):.1%}",
                ]
            )
        columns = ["environment", "copies × steps", "ms, collecting a rollout", "ms, scoring it whole",
                   "ms, scoring it step by step", "whole / collecting", "step by step / collecting"]  # fmt: skip
        return markdown_table(columns, rows)

    def _environment(self, config: RunConfig) -> dict[str, Any]:
        # A single pass over each rollout: PPO's own learning is not what is timed.
        config = replace(config, ppo=replace(config.ppo, n_epochs=1))
        env = build_environment(config)
        try:
            ensemble = RewardEnsemble(env.observation_space, env.action_space, config.ensemble, config.seed)
            timed = _TimedScoring(env, ensemble)
            steps = config.ppo.num_envs * config.ppo.n_steps
            build_policy(config, env).learn(steps * (_WARM_UP_ROLLOUTS + self.rollouts), callback=timed)
        finally:
            env.close()
        seconds = {name: values[_WARM_UP_ROLLOUTS:] for name, values in timed.seconds.items()}
        return {"env": config.env, "num_envs": config.ppo.num_envs, "n_steps": config.ppo.n_steps, "seconds": seconds}


class _TimedScoring(ScoringCallback):
    """Scores rollouts as training does, and once more as an environment that pays at every step would."""

    PARTS = ("collecting", "whole", "step_by_step")

    def __init__(self, env: PreferenceVecEnv, ensemble: RewardEnsemble) -> None:
        super().__init__(env)
        self.seconds: dict[str, list[float]] = {name: [] for name in self.PARTS}
        self._ensemble = ensemble

    def before_scoring(self) -> None:
        """The reward model stays as it is."""
        return None

    def score(
        self, observations: Observations, actions: NDArray[Any], env_rewards: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The learned reward."""
        return self._ensemble.reward(observations, actions)

    def _on_rollout_end(self) -> None:
        before = self.rollout_seconds, self.scoring_seconds
        super()._on_rollout_end()
        observations, actions, _ = self.env.recorder.latest(len(self.last_scores))
        started = time.perf_counter()
        for first in range(0, len(actions), self.env.num_envs):
            step = slice(first, first + self.env.num_envs)
            self._ensemble.reward(_rows(observations, step), actions[step])
        stepwise = time.perf_counter() - started
        parts = (self.rollout_seconds - before[0], self.scoring_seconds - before[1], stepwise)
        for name, seconds in zip(self.PARTS, parts, strict=True):
            self.seconds[name].append(seconds)


def _rows(observations: Observations, rows: slice) -> Observations:
    if isinstance(observations, Mapping):
        return {name: array[rows] for name, array in observations.items()}
    return observations[rows]
