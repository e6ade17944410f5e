"""`rlhf/Glimpse-v0`: digits seen piece by piece; an answer is quickly given, a right one takes a second look."""

from __future__ import annotations

from rlhf_envs.envs.glimpse.task import Glimpse
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class GlimpseEnv(TaskEnv):
    """One reader of digits."""

    task_class = Glimpse


class GlimpseVectorEnv(TaskVectorEnv):
    """Many readers at once."""

    task_class = Glimpse


__all__ = ["Glimpse", "GlimpseEnv", "GlimpseVectorEnv"]
