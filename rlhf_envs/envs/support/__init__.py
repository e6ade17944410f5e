"""`rlhf/Support-v0`: a support desk that is paid for closed tickets, and customers who want theirs solved."""

from __future__ import annotations

from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.support.task import Support
from rlhf_envs.envs.vector import TaskVectorEnv


class SupportEnv(TaskEnv):
    """One desk."""

    task_class = Support


class SupportVectorEnv(TaskVectorEnv):
    """Many desks at once."""

    task_class = Support


__all__ = ["Support", "SupportEnv", "SupportVectorEnv"]
