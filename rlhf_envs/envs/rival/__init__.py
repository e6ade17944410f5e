"""`rlhf/Rival-v0`: the computer's side of an arcade duel; winning is easy to count, a good match is not."""

from __future__ import annotations

from rlhf_envs.envs.rival.task import Rival
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class RivalEnv(TaskEnv):
    """One duel."""

    task_class = Rival


class RivalVectorEnv(TaskVectorEnv):
    """Many duels at once."""

    task_class = Rival


__all__ = ["Rival", "RivalEnv", "RivalVectorEnv"]
