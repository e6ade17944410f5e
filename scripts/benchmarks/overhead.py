"""What learning from preferences costs in time: of whole training runs, and of scoring rollouts."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from agents.train import build
from rlhf_envs.envs.registration import find_spec
from rlhf_envs.observations import Transitions, map_observations
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.sb3 import PreferenceVecEnv, ScoringCallback
from scripts.benchmarks import Log, markdown_table, require_positive
from scripts.benchmarks.runs import ENVIRONMENTS, TrainingRun, configure

_WARM_UP_ROLLOUTS = 3
_UNCOUNTED_ROLLOUTS = 2
_FIGURES = ("wall_seconds", "rollout_seconds", "reward_inference_seconds", "reward_fit_seconds")


@dataclass(frozen=True)
class Overhead:
    """Time whole training runs on preferences and on the true reward, alternately.

    Timed is the training: building everything, rollouts, asking, fitting, scoring, PPO's updates and checkpoints, but
    not the evaluation of the finished policy and the report. All runs are done one after another in this process, after
    a short pair that is not counted.

    Attributes:
        env: the environments.
        answers: the budget.
        timesteps: environment steps of a run; by default those of the learning benchmark.
        repeats: pairs of runs; the seeds of pair i are i.
    """

    name: ClassVar[str] = "overhead"
    env: tuple[str, ...] = ("Pendulum-v1", "rlhf/Driving-v1")
    answers: int = 240
    timesteps: int | None = None
    repeats: int = 5

    def __post_init__(self) -> None:
        require_positive(self, "repeats")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Every pair's figures. All runs start from scratch and leave nothing in `out`.

        Raises:
            ValueError: if a setting is not possible; before any work is done.
            RunInterrupted: if it was stopped.
        """
        measured = []
        with tempfile.TemporaryDirectory() as folder:
            planned = {environment_id: self._pairs(environment_id, Path(folder)) for environment_id in self.env}
            for environment_id, pairs in planned.items():
                for run in pairs[0]:
                    _warm_up(run)
                for seed, (on_true, on_preferences) in enumerate(pairs):
                    pair = {"true": _seconds(on_true), "preferences": _seconds(on_preferences)}
                    true, preferences = (pair[kind]["wall_seconds"] for kind in ("true", "preferences"))
                    log(
                        f"{environment_id}, pair {seed + 1} of {self.repeats}: {true:.1f} s on the true reward, "
                        f"{preferences:.1f} s on preferences, {preferences / true:.2f} times as long"
                    )
                    timesteps = on_true.config.timesteps
                    measured.append({"env": environment_id, "timesteps": timesteps, "seed": seed, **pair})
        return {"answers": self.answers, "pairs": measured}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row per environment."""
        rows = []
        for environment_id in dict.fromkeys(pair["env"] for pair in measured["pairs"]):
            pairs = [pair for pair in measured["pairs"] if pair["env"] == environment_id]
            true = np.array([pair["true"]["wall_seconds"] for pair in pairs])
            whole, rollouts, inference, fitting = (
                np.array([pair["preferences"][name] for pair in pairs]) for name in _FIGURES
            )
            rows.append(
                {
                    "environment": f"`{environment_id}`, {pairs[0]['timesteps']:,} steps",
                    "seconds, true reward": f"{np.median(true):.1f}",
                    "seconds, preferences": f"{np.median(whole):.1f}",
                    # The two runs of a pair follow one another, so other load on the machine affects both.
                    "median ratio": f"{np.median(whole / true):.2f}",
                    "ratio of each pair": ", ".join(f"{ratio:.2f}" for ratio in whole / true),
                    "reward inference / rollouts": f"{np.median(inference / rollouts):.1%}",
                    "reward fitting / whole run": f"{np.median(fitting / whole):.1%}",
                }
            )
        return f"{measured['answers']} answers, medians:\n\n{markdown_table(rows)}"

    def _pairs(self, environment_id: str, folder: Path) -> list[tuple[TrainingRun, TrainingRun]]:
        # The policy is evaluated in a single episode, as that part of a run is not timed.
        common: dict[str, Any] = {"timesteps": self.timesteps, "episodes": 1}
        name = environment_id.replace("/", "-")
        return [
            (
                TrainingRun(configure(environment_id, "true", seed, **common), folder / f"{name}-true-{seed}"),
                TrainingRun(
                    configure(environment_id, "learned", seed, answers=self.answers, **common),
                    folder / f"{name}-preferences-{seed}",
                ),
            )
            for seed in range(self.repeats)
        ]


def _warm_up(run: TrainingRun) -> None:
    settings = run.config.learner_settings
    config = replace(run.config, timesteps=_WARM_UP_ROLLOUTS * settings.num_envs * settings.n_steps)
    TrainingRun(config, run.path.with_name(f"{run.path.name}-warm-up")).finish()


def _seconds(run: TrainingRun) -> dict[str, float]:
    metrics = run.finish()
    return {name: metrics[name] for name in _FIGURES}


@dataclass(frozen=True)
class Inference:
    """Time the scoring of whole rollouts, and for comparison collecting them and scoring them step by step.

    Attributes:
        env: the environments.
        rollouts: how many are timed of each, after some that are not counted.
    """

    name: ClassVar[str] = "inference"
    env: tuple[str, ...] = ENVIRONMENTS
    rollouts: int = 15

    def __post_init__(self) -> None:
        require_positive(self, "rollouts")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """The seconds of each rollout.

        Raises:
            ValueError: if there is no such environment; before any work is done.
        """
        torch.set_num_threads(1)
        for environment_id in self.env:
            find_spec(environment_id)
        measured = []
        for environment_id in dict.fromkeys(self.env):
            log(f"{environment_id}: {self.rollouts} rollouts")
            measured.append(self._environment(environment_id))
        return {"environments": measured}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row per environment."""
        rows = []
        for each in measured["environments"]:
            collecting, whole, stepwise = (np.array(each["seconds"][name]) for name in _TimedScoring.PARTS)
            rows.append(
                {
                    "environment": f"`{each['env']}`",
                    "copies × steps": f"{each['num_envs']} × {each['n_steps']}",
                    "ms, collecting a rollout": f"{1000 * np.median(collecting):.1f}",
                    "ms, scoring it whole": f"{1000 * np.median(whole):.1f}",
                    "ms, scoring it step by step": f"{1000 * np.median(stepwise):.1f}",
                    "whole / collecting": f"{np.median(whole / collecting):.1%}",
                    "step by step / collecting": f"{np.median(stepwise / collecting):.1%}",
                }
            )
        return markdown_table(rows)

    def _environment(self, environment_id: str) -> dict[str, Any]:
        config = configure(environment_id, "true", seed=0)
        # A single pass over each rollout: PPO's own learning is not what is timed.
        ppo = replace(config.learner_settings, n_epochs=1)
        env, model = build(replace(config, learner_settings=ppo))
        try:
            ensemble = RewardEnsemble(
                env.observation_space, env.action_space, config.ensemble, config.seed, absorbing=env.terminates
            )
            timed = _TimedScoring(env, ensemble)
            steps = ppo.num_envs * ppo.n_steps
            model.learn(steps * (_UNCOUNTED_ROLLOUTS + self.rollouts), callback=timed)
        finally:
            env.close()
        seconds = {name: values[_UNCOUNTED_ROLLOUTS:] for name, values in timed.seconds.items()}
        return {"env": environment_id, "num_envs": ppo.num_envs, "n_steps": ppo.n_steps, "seconds": seconds}


class _TimedScoring(ScoringCallback):
    """Scores rollouts as training does, and once more step by step, as a reward wrapper would."""

    PARTS = ("collecting", "whole", "step_by_step")

    def __init__(self, env: PreferenceVecEnv, ensemble: RewardEnsemble) -> None:
        super().__init__(env)
        self.seconds: dict[str, list[float]] = {name: [] for name in self.PARTS}
        self._ensemble = ensemble

    def score(self, transitions: Transitions) -> NDArray[np.float32]:
        """The learned reward."""
        return self._ensemble.transition_reward(transitions)

    def _on_rollout_end(self) -> None:
        before = self.rollout_seconds, self.scoring_seconds
        super()._on_rollout_end()
        observations, actions, _ = self.env.recorder.latest(len(self.last_scores))
        started = time.perf_counter()
        for first in range(0, len(actions), self.env.num_envs):
            step = slice(first, first + self.env.num_envs)
            self._ensemble.reward(map_observations(lambda array, rows=step: array[rows], observations), actions[step])
        stepwise = time.perf_counter() - started
        parts = (self.rollout_seconds - before[0], self.scoring_seconds - before[1], stepwise)
        for name, seconds in zip(self.PARTS, parts, strict=True):
            self.seconds[name].append(seconds)
