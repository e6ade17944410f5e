"""The figures of a finished run, for metrics.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from agents.config import RunConfig
from agents.pretraining import PretrainReport
from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.evaluation.policies import sb3_policy
from rlhf_envs.evaluation.returns import Evaluation, baselines, evaluate, normalised
from rlhf_envs.evaluation.reward_model import reward_correlation, test_scores
from rlhf_envs.sb3 import PreferenceCallback, ScoringCallback

_CORRELATION_EPISODES = 20


def measure(config: RunConfig, model: BaseAlgorithm, scoring: ScoringCallback, notes: dict[str, Any]) -> dict[str, Any]:
    """Judge the policy on the true reward over fresh seeds, and the reward model on answers and rewards it never saw.

    Args:
        config: the run.
        model: the trained policy.
        scoring: what rewarded it.
        notes: what the run took, in seconds, and what pretraining came to.

    Returns:
        JSON values by name.
    """
    environment = config.required_environment
    policy = sb3_policy(model)
    judged = evaluate(policy, environment, episodes=config.evaluation_episodes)
    beside = baselines(environment, episodes=config.evaluation_episodes)
    metrics: dict[str, Any] = {
        "env": environment.id,
        "reward": config.reward,
        "feedback": config.feedback if config.reward == "learned" else None,
        "seed": config.seed,
        "timesteps": model.num_timesteps,
        "comparisons": 0,
        "true_return_mean": judged.mean,
        "true_return_std": judged.std,
        "true_return_interval": list(judged.interval()),
        "own_proxy_return_mean": judged.proxy_mean,
        "reward_terms": judged.terms,
        **_named(beside),
        "normalised_against_expert": (
            normalised(judged.mean, beside["random"].mean, beside["expert"].mean) if "expert" in beside else None
        ),
        **notes,
        "env_steps_per_second": model.num_timesteps / notes["wall_seconds"],
    }
    if isinstance(scoring, PreferenceCallback):
        loop = scoring.loop
        metrics["comparisons"] = loop.progress.asked
        metrics["labels"] = len(loop.dataset)
        scores = test_scores(loop.store, loop.ensemble)
        metrics["test_decided"] = scores.decided if scores is not None else 0
        for name in ("accuracy", "precision", "recall", "f1"):
            metrics[f"test_{name}"] = getattr(scores, name) if scores is not None else None
        agreements = reward_correlation(
            loop.ensemble,
            policy,
            environment,
            segment_length=config.labels.segment_length,
            episodes=_CORRELATION_EPISODES,
        )
        metrics["reward_correlation"] = agreements["mixture"].steps.pearson
        metrics["reward_correlations"] = {
            rollouts: {"steps": asdict(agreement.steps), "segments": asdict(agreement.segments)}
            for rollouts, agreement in agreements.items()
        }
    return metrics


def measure_pretrained(
    model: BaseAlgorithm, environment: EnvironmentRef, episodes: int, report: PretrainReport
) -> dict[str, Any]:
    """What a policy is worth that has imitated demonstrations and learned nothing else yet."""
    judged = evaluate(sb3_policy(model), environment, episodes=episodes)
    return {**asdict(report), "true_return_mean": judged.mean, "true_return_std": judged.std}


def _named(evaluations: dict[str, Evaluation]) -> dict[str, float]:
    figures = {}
    for name, evaluation in evaluations.items():
        figures[f"{name}_return_mean"] = evaluation.mean
        figures[f"{name}_return_std"] = evaluation.std
    return figures
