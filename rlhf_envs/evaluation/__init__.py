"""Evaluation of policies on the true reward, and of reward models on held-out answers and the true reward."""

from rlhf_envs.evaluation.episodes import Copies, StepResult, Transition, make_copies, play
from rlhf_envs.evaluation.measurements import Measurements
from rlhf_envs.evaluation.policies import (
    AnyPolicy,
    MixedPolicy,
    Policy,
    RandomPolicy,
    ScriptedPolicy,
    named_policy,
    sb3_policy,
)
from rlhf_envs.evaluation.returns import Evaluation, baselines, evaluate, normalised
from rlhf_envs.evaluation.reward_model import ModelScores, RewardAgreement, reward_correlation

__all__ = [
    "AnyPolicy",
    "Copies",
    "Evaluation",
    "Measurements",
    "MixedPolicy",
    "ModelScores",
    "Policy",
    "RandomPolicy",
    "RewardAgreement",
    "ScriptedPolicy",
    "StepResult",
    "Transition",
    "baselines",
    "evaluate",
    "make_copies",
    "named_policy",
    "normalised",
    "play",
    "reward_correlation",
    "sb3_policy",
]
