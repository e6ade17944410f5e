"""Policies compared side by side, from equal starts and without names, by people or by a scripted judge."""

from rlhf_envs.evaluation.judging.scores import Judgement
from rlhf_envs.evaluation.judging.session import JudgingConfig, judge

__all__ = ["Judgement", "JudgingConfig", "judge"]
