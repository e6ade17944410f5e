"""The training run: roll out, select, ask, read answers, fit, improve; then judge and report."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import torch
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from agents.asking import asking_people
from agents.building import build_environment, build_policy, build_scoring
from agents.checkpoint import CheckpointCallback, Checkpoints
from agents.configuration import RunConfig
from agents.convergence import Converged, ConvergenceCallback
from agents.early_ends import EarlyEndsCallback
from agents.interruption import StopRequest
from agents.measuring import measure, measure_pretrained
from agents.pretraining import PretrainConfig, pretrain
from agents.progress import ProgressCallback, ProgressTable
from agents.report import write_report
from agents.run_directory import RunDirectory, write_json
from rlhf_envs.demonstrations import resolve
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.rewards import save
from rlhf_envs.sb3 import PreferenceCallback


def train(
    config: RunConfig, directory: RunDirectory, console: Console, resume: bool = False, report: bool = True
) -> dict[str, Any]:
    """Train a policy, judge it, and leave everything in the run directory.

    Each round of `PPO.learn` rolls out; then `PreferenceCallback` selects queries, asks, reads answers, fits the reward
    and scores the rollout with it; then PPO improves the policy on those scores.

    Args:
        config: the run; with `resume` the one that the directory holds.
        directory: an existing run directory.
        console: where progress is told.
        resume: go on from the newest checkpoint, or from the beginning where there is none yet.
        report: whether to write report.html, which takes a few seconds.

    Returns:
        The run's figures, as in metrics.json.

    Raises:
        ValueError: if the settings do not fit the environment, or a checkpoint is damaged.
        StoreError: if the store cannot do its work.
        OSError: if the disk is full.
        RunInterrupted: if the run was asked to stop; it can be resumed.
    """
    torch.set_num_threads(config.threads)
    stop = StopRequest()
    progress = ProgressCallback(config.timesteps, console, stop)
    tell = partial(console.print, highlight=False)
    with directory.claimed(), ExitStack() as put_away:
        env = build_environment(config)
        put_away.callback(env.close)
        model = build_policy(config, env)
        scoring = build_scoring(config, directory, env, progress.on_round, progress.on_wait, resume)
        if isinstance(scoring, PreferenceCallback):
            put_away.callback(scoring.loop.store.close)
        checkpoints = Checkpoints(directory.checkpoints_path, model, env, scoring, config.seed)
        kept = checkpoints.restore() if resume else None
        if kept is not None and not env.can_restore:
            tell(f"The state of {config.env} cannot be put back, so its copies begin new episodes.")
        notes = kept or {"run": _pretrained(config, model), "convergence": {}}
        convergence = ConvergenceCallback(scoring, progress, config.patience, notes["convergence"])
        table = ProgressTable(directory.progress_path, resume_at=model.num_timesteps)
        progress.begin(scoring, table, notes["run"])
        saving = CheckpointCallback(
            checkpoints,
            config.checkpoint_seconds,
            lambda: {"run": progress.notes(), "convergence": convergence.standing},
            stop,
            resumed=kept is not None,
        )
        callbacks: list[BaseCallback] = [scoring, progress, convergence, saving]
        if env.ref is not None and not env.ref.is_native:
            callbacks.append(EarlyEndsCallback(env.ref, tell))
        if config.asks_people:
            put_away.enter_context(asking_people(config, directory, stop, console))
        model.set_logger(configure(str(directory.tensorboard_path), ["tensorboard"]))
        put_away.callback(model.logger.close)
        with stop.listening(), progress.shown(), suppress(Converged):
            remaining = config.timesteps - model.num_timesteps
            if remaining > 0:
                model.learn(remaining, callback=callbacks, reset_num_timesteps=kept is None)
        saving.save_now()
        stop.check()
        if isinstance(scoring, PreferenceCallback) and scoring.loop.progress.asked == 0:
            raise ValueError(
                "Nothing was asked, so nothing was learned: no segment of "
                f"{config.labels.segment_length} steps fitted into the episodes, or all looked the same; a shorter "
                "--segment-length may help."
            )
        model.save(directory.policy_path)
        if isinstance(scoring, PreferenceCallback):
            save(scoring.loop.ensemble, directory.reward_model_path)
        metrics = measure(config, model, scoring, progress.notes())
    write_json(directory.metrics_path, metrics)
    if report:
        write_report(directory)
    return metrics


def _pretrained(config: RunConfig, model: PPO) -> dict[str, Any]:
    """Let the policy imitate demonstrations, if that is wanted, and note how well that went."""
    if config.pretrain == 0:
        return {}
    demonstrations = resolve(
        config.demonstrations, EnvironmentRef(config.env, config.env_kwargs), config.pretrain, config.seed
    )
    report = pretrain(model, demonstrations, PretrainConfig(), config.seed)
    return {"pretraining": measure_pretrained(config, model, report)}
