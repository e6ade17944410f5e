"""`rlhf/Writing-v0`: an assistant writes short notes, word by word; keywords are easy to count, good writing is not."""

from __future__ import annotations

from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv
from rlhf_envs.envs.writing.task import Writing


class WritingEnv(TaskEnv):
    """One writer."""

    task_class = Writing


class WritingVectorEnv(TaskVectorEnv):
    """Many writers at once."""

    task_class = Writing


__all__ = ["Writing", "WritingEnv", "WritingVectorEnv"]
