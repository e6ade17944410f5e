"""Evaluation of policies on the true reward, and of reward models on held-out answers and the true reward."""

from rlhf_envs.evaluation.measurements import Measurements
from rlhf_envs.evaluation.policies import (
    AnyPolicy,
    Policy,
    RandomPolicy,
    SB3Policy,
    ScriptedPolicy,
    named_policy,
)
from rlhf_envs.evaluation.returns import Evaluation, baselines, evaluate
from rlhf_envs.evaluation.reward_model import ModelScores, learned_return, reward_correlation

__all__ = [
    "AnyPolicy",
    "Evaluation",
    "Measurements",
    "ModelScores",
    "Policy",
    "RandomPolicy",
    "SB3Policy",
    "ScriptedPolicy",
    "baselines",
    "evaluate",
    "learned_return",
    "named_policy",
    "reward_correlation",
]
