"""The training run: roll out, select, ask, read answers, fit, improve; then judge and report."""

from __future__ import annotations

from typing import Any

import torch
from rich.console import Console
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from agents.building import build_environment, build_policy, build_scoring
from agents.checkpoint import CheckpointCallback, Checkpoints
from agents.configuration import RunConfig
from agents.convergence import ConvergenceCallback
from agents.interruption import StopRequest
from agents.measuring import measure, measure_pretrained
from agents.pretraining import PretrainConfig, pretrain
from agents.progress import ProgressCallback, ProgressTable
from agents.report import write_report
from agents.run_directory import RunDirectory, write_json
from rlhf_envs.demonstrations import resolve
from rlhf_envs.rewards import save
from rlhf_envs.sb3 import PreferenceCallback


def train(config: RunConfig, directory: RunDirectory, console: Console, resume: bool = False) -> dict[str, Any]:
    """Train a policy, judge it, and leave everything in the run directory.

    Each round of `PPO.learn` rolls out; then `PreferenceCallback` selects queries, asks, reads answers, fits the reward
    and scores the rollout with it; then PPO improves the policy on those scores.

    Args:
        config: the run; with `resume` the one that the directory holds.
        directory: an existing run directory.
        console: where progress is told.
        resume: go on from the newest checkpoint.

    Returns:
        The run's figures, as in metrics.json.

    Raises:
        ValueError: if the settings do not fit the environment.
        StoreError: if the store cannot do its work.
        RunInterrupted: if the run was asked to stop; it can be resumed.
    """
    torch.set_num_threads(config.threads)
    stop = StopRequest()
    progress = ProgressCallback(config.timesteps, console, stop)
    env = build_environment(config)
    model = build_policy(config, env)
    scoring = build_scoring(config, directory, env, progress.on_round, progress.on_wait)
    checkpoints = Checkpoints(directory.checkpoints_path, model, env, scoring)
    notes = checkpoints.restore() if resume else None
    if notes is None:
        notes = {} if config.pretrain == 0 else _pretrained(config, model)
    table = ProgressTable(directory.progress_path, resume_at=model.num_timesteps)
    progress.begin(scoring, table, notes)
    saving = CheckpointCallback(checkpoints, config.checkpoint_seconds, progress.notes, stop)
    callbacks: list[BaseCallback] = [scoring, progress, saving]
    if config.patience is not None:
        callbacks.append(ConvergenceCallback(scoring, progress, config.patience))
    model.set_logger(configure(str(directory.tensorboard_path), ["tensorboard"]))
    with stop.listening(), progress.shown():
        if model.num_timesteps < config.timesteps:
            remaining = config.timesteps - model.num_timesteps
            model.learn(remaining, callback=callbacks, reset_num_timesteps=model.num_timesteps == 0)
            saving.save_now()
    model.save(directory.policy_path)
    if isinstance(scoring, PreferenceCallback):
        save(scoring.loop.ensemble, directory.reward_model_path)
    metrics = measure(config, model, scoring, progress.notes())
    write_json(directory.metrics_path, metrics)
    write_report(directory)
    return metrics


def _pretrained(config: RunConfig, model: PPO) -> dict[str, Any]:
    """Let the policy imitate demonstrations, and note how well that went."""
    demonstrations = resolve(config.demonstrations, config.env, config.env_kwargs, config.pretrain, config.seed)
    report = pretrain(model, demonstrations, PretrainConfig(), config.seed)
    return {"pretraining": measure_pretrained(config, model, report)}
